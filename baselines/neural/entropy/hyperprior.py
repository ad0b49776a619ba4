"""The entropy model of networks with a hyperprior: z, and from it mean and scale of y.

::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─┬─ mean stack ──> mean support
       H/16        H/32          H/64                          └─ scale stack ─> scale support

Minnen, Singh, "Channel-wise autoregressive entropy models for learned image compression" (ICIP
2020). The two stacks consist of transposed convolutions, ReLUs and a last convolution; `context`
turns their outputs into means and scales.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from baselines.neural.entropy.context import ChannelContext, ContextSizes
from baselines.neural.entropy.factorised import FactorisedPrior
from baselines.neural.entropy.latent_network import (
    CodedLatents,
    LatentNetwork,
    LatentSizes,
    Quantised,
    gaussian_bits,
    hyper_analysis,
    hyper_synthesis,
    quantise_about,
)
from baselines.neural.entropy.rounding import Rounding


class HyperpriorSizes(ContextSizes, LatentSizes, Protocol):
    """Widths, in channels, and kernels that the entropy model takes of a configuration."""

    @property
    def latent(self) -> int:
        """Width of y."""


class HyperpriorNetwork(LatentNetwork):
    """Base class of networks whose latent y is coded with a hyperprior and a channel context."""

    sizes: HyperpriorSizes

    def add_entropy_model(self, sizes: HyperpriorSizes, *, own_support: bool = False) -> None:
        """Add the modules of the entropy model to the network, in the order of their parameters.

        own_support: see `ChannelContext`.
        """
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = HyperSynthesis(sizes)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = ChannelContext(sizes, own_support=own_support)

    def hyper_synthesise(self, rounded_hyper: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale support, each (N, support, h, w), of z as rounded."""
        mean, scale = self.hyper_synthesis(rounded_hyper)
        return mean, scale

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w) slice by slice; see `LatentNetwork.code`."""
        rounded_hyper, z_bits = self.code_hyper(latents, noisy=noisy)
        return self._code_slices(
            latents, rounded_hyper, z_bits, partial(quantise_about, noisy=noisy)
        )

    def code_rounded(self, latents: Tensor, hyper: Tensor, rounding: Rounding) -> CodedLatents:
        """Code y (N, M, h, w) and a z (N, Z, h / 4, w / 4) of its own, both rounded by a rule.

        What is decoded, and its bits, have the gradients of the rule. In float32 alone.
        """
        rounded_hyper = self.prior.rounded(hyper, rounding)
        z_bits = self.prior.bits(rounded_hyper).sum((1, 2, 3))

        def quantise(values: Tensor, mean: Tensor, scale: Tensor) -> Quantised:
            symbols = rounding(values - mean)
            return Quantised(symbols + mean, gaussian_bits(symbols, scale))

        return self._code_slices(latents, rounded_hyper, z_bits, quantise)

    def _code_slices(
        self,
        latents: Tensor,
        rounded_hyper: Tensor,
        z_bits: Tensor,
        quantise: Callable[[Tensor, Tensor, Tensor], Quantised],
    ) -> CodedLatents:
        y_bits: list[Tensor] = []
        slices = torch.split(latents, list(self.sizes.slices) or [self.sizes.latent], dim=1)

        def code(index: int, mean: Tensor, scale: Tensor) -> Tensor:
            quantised = quantise(slices[index], mean, scale)
            y_bits.append(quantised.bits.sum((1, 2, 3)))
            return quantised.values

        decoded = self.context(*self.hyper_synthesise(rounded_hyper), code)
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


class HyperSynthesis(nn.Module):
    """The hyper-decoder: a stack for the means and one for the scales."""

    def __init__(self, sizes: HyperpriorSizes) -> None:
        super().__init__()
        self.mean = hyper_synthesis(sizes, sizes.support)
        self.scale = hyper_synthesis(sizes, sizes.support)

    def forward(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale support (N, support, h, w) of z (N, Z, h / 4, w / 4)."""
        return self.mean(decoded), self.scale(decoded)
