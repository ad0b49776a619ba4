"""The entropy model of networks with a hyperprior: z, and from it mean and scale of y.

::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─┬─ mean stack ──> mean support
       H/16        H/32          H/64                          └─ scale stack ─> scale support

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). The two stacks consist of transposed convolutions, ReLUs and a last convolution; `context`
turns their outputs into means and scales.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.entropy.context import ChannelContext, ContextSizes
from baselines.neural.entropy.factorised import (
    LEAST_LIKELIHOOD,
    FactorisedPrior,
    at_least,
    noised,
)
from baselines.neural.network import Network

LEAST_SCALE = 0.11
SQRT_2 = math.sqrt(2)


class HyperpriorSizes(ContextSizes, Protocol):
    """Widths, in channels, and kernels that the entropy model takes of a configuration."""

    @property
    def hyper_latent(self) -> int:
        """Width of z."""

    @property
    def hyper_encoder(self) -> tuple[int, int]:
        """Hidden widths between y and z."""

    @property
    def hyper_decoder(self) -> tuple[int, int]:
        """Hidden widths of each of the two stacks."""

    @property
    def hyper_kernel(self) -> int:
        """Kernel of the convolutions that change the resolution."""


class CodedLatents(NamedTuple):
    """Latents as a decoder has them, and the bits that an ideal coder would take."""

    latents: Tensor  # (N, M, h, w)
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,)


class HyperpriorNetwork(Network):
    """Base class of networks whose latent y is coded with a hyperprior and a channel context."""

    sizes: HyperpriorSizes

    def add_entropy_model(self, sizes: HyperpriorSizes) -> None:
        """Add the modules of the entropy model to the network, in the order of their parameters."""
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = HyperSynthesis(sizes)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = ChannelContext(sizes)

    def priors(self) -> tuple[FactorisedPrior]:
        """Return the factorised prior of z."""
        return (self.prior,)

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Return z (N, Z, h / 4, w / 4) of y (N, M, h, w)."""
        hyper: Tensor = self.hyper_analysis(latents)
        return hyper

    def round_hyper(self, hyper: Tensor) -> Tensor:
        """Return z in whole steps from each channel's median, ties to even."""
        return self.prior.rounded(hyper)

    def hyper_synthesise(self, rounded_hyper: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale support, each (N, support, h, w), of z as rounded."""
        mean, scale = self.hyper_synthesis(rounded_hyper)
        return mean, scale

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w), float32, and count its bits and those of z.

        Bits are those of latents with uniform noise if `noisy`, as in training, or of rounded ones.
        What is decoded is always rounded; in the backward pass rounding is the identity. Under
        autocast, what is rounded and what counts bits stays in float32.
        """
        hyper = self.hyper_analyse(latents).float()
        with torch.autocast(latents.device.type, enabled=False):
            z_bits = self.prior.bits(noised(hyper) if noisy else self.round_hyper(hyper))
        rounded_hyper = hyper + (self.round_hyper(hyper) - hyper).detach()
        y_bits: list[Tensor] = []
        slices = torch.split(latents, list(self.sizes.slices) or [self.sizes.latent], dim=1)

        def quantise(index: int, mean: Tensor, scale: Tensor) -> Tensor:
            values = slices[index]
            symbols = (values - mean).round()
            residual = noised(values) - mean if noisy else symbols
            y_bits.append(gaussian_bits(residual, scale.float()).sum((1, 2, 3)))
            return values + (symbols + mean - values).detach()

        decoded = self.context(*self.hyper_synthesise(rounded_hyper), quantise)
        return CodedLatents(decoded, torch.stack(y_bits).sum(0), z_bits.sum((1, 2, 3)))


def hyper_analysis(sizes: HyperpriorSizes) -> nn.Sequential:
    """Return the layers from y (N, M, h, w) to z (N, Z, h / 4, w / 4)."""
    first, second = sizes.hyper_encoder
    return nn.Sequential(
        convolution(sizes.latent, first, 3),
        nn.ReLU(),
        convolution(first, second, sizes.hyper_kernel, stride=2),
        nn.ReLU(),
        convolution(second, sizes.hyper_latent, sizes.hyper_kernel, stride=2),
    )


class HyperSynthesis(nn.Module):
    """The hyper-decoder: a stack for the means and one for the scales."""

    def __init__(self, sizes: HyperpriorSizes) -> None:
        super().__init__()
        self.mean = _hyper_stack(sizes)
        self.scale = _hyper_stack(sizes)

    def forward(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale support (N, support, h, w) of z (N, Z, h / 4, w / 4)."""
        return self.mean(decoded), self.scale(decoded)


def _hyper_stack(sizes: HyperpriorSizes) -> nn.Sequential:
    first, second = sizes.hyper_decoder
    return nn.Sequential(
        upsampling(sizes.hyper_latent, first, sizes.hyper_kernel),
        nn.ReLU(),
        upsampling(first, second, sizes.hyper_kernel),
        nn.ReLU(),
        convolution(second, sizes.support, 3),
    )


def gaussian_bits(residuals: Tensor, scales: Tensor) -> Tensor:
    """Return the bits of unit intervals around `residuals`, under normal distributions of mean 0.

    Scales below .11 count as .11. Shapes are the same.

    >>> gaussian_bits(torch.tensor([0.0]), torch.tensor([0.5]))
    tensor([0.5507])
    """
    bounded = at_least(scales, LEAST_SCALE)
    distance = residuals.abs()  # in the lower tail, where the difference does not cancel
    # erfc, since torch's ndtr loses the tail in float32: .08 % more bits on the parity crop.
    near, far = (((distance + edge) / (bounded * SQRT_2)).erfc() for edge in (-0.5, 0.5))
    return -at_least(0.5 * (near - far), LEAST_LIKELIHOOD).log2()
