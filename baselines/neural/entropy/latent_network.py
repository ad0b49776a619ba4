"""Base class of networks whose latent y is coded with the help of a second latent z.

::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─ mean and scale of y, somehow
       H/16        H/32          H/64

z has a factorised prior (Ballé et al., "Variational image compression with a scale hyperprior",
ICLR 2018). A subclass turns z_hat into means and scales, and names its convolutions for the integer
path (`entropy.fixed`). `sizes` have the fields latent, hyper_latent, hyper_encoder, hyper_decoder
and hyper_kernel.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import at_least, convolution, upsampling
from baselines.neural.entropy.factorised import LEAST_LIKELIHOOD, FactorisedPrior, noised
from baselines.neural.network import Estimate, Network

LEAST_SCALE = 0.11
SQRT_2 = math.sqrt(2)


class CodedLatents(NamedTuple):
    """Latents as a decoder has them, and the bits that an ideal coder would take."""

    latents: Tensor  # (N, M, h, w)
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,)


class LatentNetwork(Network):
    """Base class of networks with a latent y, a hyper-latent z and transforms alike in controls."""

    sizes: Any
    in_unit_range: ClassVar[bool] = False  # whether the transforms see images in [0, 1]
    analysis: Any  # a module
    synthesis: Any
    hyper_analysis: nn.Sequential
    prior: FactorisedPrior

    def analyse(self, images: Tensor, controls: Any = None) -> Tensor:
        """Return y (N, M, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1], multiples of 64."""
        return self.analysis((images + 1) / 2 if self.in_unit_range else images)

    def synthesise(self, latents: Tensor, controls: Any = None) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded."""
        # A layer may overwrite its input while gradients are off.
        images: Tensor = self.synthesis(latents if torch.is_grad_enabled() else latents.clone())
        return images * 2 - 1 if self.in_unit_range else images

    def forward(self, images: Tensor, controls: Any = None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; see `code`."""
        y = self.analyse(images, controls).float()
        decoded, y_bits, z_bits = rounded = self.code(y, noisy=noisy)
        rounded_bits = None
        if self.counts_rounded:
            if noisy:
                with torch.no_grad():
                    rounded = self.code(y, noisy=False)
            rounded_bits = rounded.y_bits + rounded.z_bits
        return Estimate(self.synthesise(decoded, controls), y_bits, z_bits, decoded, rounded_bits)

    def priors(self) -> tuple[FactorisedPrior]:
        """Return the factorised prior of z."""
        return (self.prior,)

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Return z (N, Z, h / 4, w / 4) of y (N, M, h, w)."""
        return self.hyper_analysis(latents)

    def round_hyper(self, hyper: Tensor) -> Tensor:
        """Return z in integer steps from each channel's median, ties to even."""
        return self.prior.rounded(hyper)

    def code_hyper(self, latents: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Return z of y (N, M, h, w) as rounded, and its bits (N,), noisy ones if `noisy`."""
        hyper = self.hyper_analyse(latents).float()
        with torch.autocast(latents.device.type, enabled=False):
            z_bits = self.prior.bits(noised(hyper) if noisy else self.round_hyper(hyper))
        return hyper + (self.round_hyper(hyper) - hyper).detach(), z_bits.sum((1, 2, 3))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w), float32, and count its bits and those of z, noisy if `noisy`.

        Decoded latents are always rounded; in the backward pass rounding is the identity.
        """
        raise NotImplementedError

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the convolution sequences of the entropy model by name, as it runs in integers."""
        raise NotImplementedError

    def entropy_supports(self) -> tuple[str, ...]:
        """Return the names of the activations of the entropy model that no hidden layer gives."""
        return ()

    def follow(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z and the supports by name."""
        raise NotImplementedError


def hyper_analysis(sizes: Any) -> nn.Sequential:
    """Return the layers from y (N, M, h, w) to z (N, Z, h / 4, w / 4)."""
    first, second = sizes.hyper_encoder
    return nn.Sequential(
        convolution(sizes.latent, first, 3),
        nn.ReLU(),
        convolution(first, second, sizes.hyper_kernel, stride=2),
        nn.ReLU(),
        convolution(second, sizes.hyper_latent, sizes.hyper_kernel, stride=2),
    )


def hyper_synthesis(sizes: Any, outputs: int) -> nn.Sequential:
    """Return the layers from z (N, Z, h / 4, w / 4) to (N, outputs, h, w)."""
    first, second = sizes.hyper_decoder
    return nn.Sequential(
        upsampling(sizes.hyper_latent, first, sizes.hyper_kernel),
        nn.ReLU(),
        upsampling(first, second, sizes.hyper_kernel),
        nn.ReLU(),
        convolution(second, outputs, 3),
    )


class Quantised(NamedTuple):
    """Values as a decoder has them, and the bits of each, of the same shape."""

    values: Tensor
    bits: Tensor


def quantise_about(values: Tensor, mean: Tensor, scale: Tensor, *, noisy: bool) -> Quantised:
    """Round `values` in integer steps from `mean`, and count bits, noisy ones if `noisy`."""
    symbols = (values - mean).round()
    residual = noised(values) - mean if noisy else symbols
    bits = gaussian_bits(residual, scale.float())
    return Quantised(values + (symbols + mean - values).detach(), bits)


def gaussian_bits(residuals: Tensor, scales: Tensor) -> Tensor:
    """Return the bits of unit intervals around `residuals`, normal with scales of at least .11."""
    bounded = at_least(scales, LEAST_SCALE)
    distance = residuals.abs()  # in the lower tail, where the difference does not cancel
    # erfc, since torch's ndtr loses the tail in float32: .08 % more bits on the parity crop.
    near, far = (((distance + edge) / (bounded * SQRT_2)).erfc() for edge in (-0.5, 0.5))
    return -at_least(0.5 * (near - far), LEAST_LIKELIHOOD).log2()
