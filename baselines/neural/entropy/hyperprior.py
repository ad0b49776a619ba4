"""The entropy model of networks with a hyperprior: z, and from it mean and scale of y.

::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─┬─ mean stack ──> mean support
       H/16        H/32          H/64                          └─ scale stack ─> scale support

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). The two stacks consist of transposed convolutions, ReLUs and a last convolution; `context`
turns their outputs into means and scales.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.blocks.lower_bound import at_least
from baselines.neural.entropy.context import ChannelContext, ContextSizes
from baselines.neural.entropy.factorised import (
    LEAST_LIKELIHOOD,
    FactorisedPrior,
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

    def code_hyper(self, latents: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Return z of y (N, M, h, w) as rounded, and its bits (N,), noisy ones if `noisy`.

        In the backward pass rounding is the identity. Under autocast, what counts bits stays in
        float32.
        """
        hyper = self.hyper_analyse(latents).float()
        with torch.autocast(latents.device.type, enabled=False):
            z_bits = self.prior.bits(noised(hyper) if noisy else self.round_hyper(hyper))
        return hyper + (self.round_hyper(hyper) - hyper).detach(), z_bits.sum((1, 2, 3))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w), float32, and count its bits and those of z.

        Bits are those of latents with uniform noise if `noisy`, as in training, or of rounded ones.
        What is decoded is always rounded; in the backward pass rounding is the identity. Under
        autocast, what is rounded and what counts bits stays in float32.
        """
        rounded_hyper, z_bits = self.code_hyper(latents, noisy=noisy)
        y_bits: list[Tensor] = []
        slices = torch.split(latents, list(self.sizes.slices) or [self.sizes.latent], dim=1)

        def quantise(index: int, mean: Tensor, scale: Tensor) -> Tensor:
            quantised = quantise_about(slices[index], mean, scale, noisy=noisy)
            y_bits.append(quantised.bits.sum((1, 2, 3)))
            return quantised.values

        decoded = self.context(*self.hyper_synthesise(rounded_hyper), quantise)
        return CodedLatents(decoded, torch.stack(y_bits).sum(0), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the convolution sequences of the entropy model by name, as it runs in integers."""
        named: dict[str, nn.Module] = {
            "hyper.mean": self.hyper_synthesis.mean,
            "hyper.scale": self.hyper_synthesis.scale,
        }
        for i in range(len(self.context.widths)):
            named[f"mean.{i}"] = self.context.mean[i]
            named[f"scale.{i}"] = self.context.scale[i]
            named[f"residual.{i}"] = self.context.residual[i]
        return named

    def entropy_supports(self) -> tuple[str, ...]:
        """Return the names of the activations of the entropy model that no hidden layer gives."""
        return ("support.mean", "support.scale") if self.context.widths else ()

    def follow(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z and the supports by name."""
        rounded = self.round_hyper(self.hyper_analyse(latents))
        record("z", rounded)
        mean_support, scale_support = self.hyper_synthesise(rounded)
        if not self.context.widths:
            return
        record("support.mean", mean_support)
        record("support.scale", scale_support)
        slices = torch.split(latents, list(self.context.widths), dim=1)

        def code(index: int, mean: Tensor, _scale: Tensor) -> Tensor:
            return torch.round(slices[index] - mean) + mean

        decoded = self.context(mean_support, scale_support, code)
        record("support.mean", decoded)  # all slices: the residual's transforms see every one
        informing = sum(self.context.widths[: self.context.support_slices])
        record("support.scale", decoded[:, :informing])


class Quantised(NamedTuple):
    """Values as a decoder has them, and the bits of each, of one shape."""

    values: Tensor
    bits: Tensor


def quantise_about(values: Tensor, mean: Tensor, scale: Tensor, *, noisy: bool) -> Quantised:
    """Round `values` in whole steps from `mean`, and count bits under a normal distribution.

    All are of the same shape. Bits are those of noisy values if `noisy`. In the backward pass
    rounding is the identity.
    """
    symbols = (values - mean).round()
    residual = noised(values) - mean if noisy else symbols
    bits = gaussian_bits(residual, scale.float())
    return Quantised(values + (symbols + mean - values).detach(), bits)


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
