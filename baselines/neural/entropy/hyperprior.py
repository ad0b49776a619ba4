"""Entropy model of networks with a hyperprior and a context over channel slices::

    y ─ conv, relu, conv/2, relu, conv/2 ─> z ─ round ─ z_hat ─┬─ mean stack ──> mean support
       H/16        H/32          H/64                          └─ scale stack ─> scale support

    mean support ──┬───────────────┬─ mean_i ── mu_i ───────┐
    slices decoded ┤               │                        ├─ code ─ y_i ─┬─ + ─> decoded slice i
    scale support ─┴─ scale_i ─ sigma_i ────────────────────┘              │  │
                                   └───────────────────────── residual_i ──┘  │
                                                                  └ .5 tanh ──┘

`code` maps (index, mu, sigma) to the slice's values: in training it quantises and counts bits, in a
decoder it reads symbols. Minnen, Singh, "Channel-wise autoregressive entropy models" (ICIP 2020). z
has a factorised prior (Ballé et al., ICLR 2018). `sizes`: see `architecture.Slices`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.blocks.layers import clamp_below, convolution, rectified_stack, upsampling
from baselines.neural.entropy.factorised import (
    MIN_LIKELIHOOD,
    FactorisedPrior,
    Rounding,
    add_noise,
    hyperprior_tables,
)
from baselines.neural.network import Estimate, Network

MIN_SCALE = 0.11
SQRT_2 = math.sqrt(2)


class CodedLatents(NamedTuple):
    """Decoded latents, with the bits that an ideal coder needs."""

    latents: Tensor  # (N, M, h, w)
    y_bits: Tensor  # (N,)
    z_bits: Tensor  # (N,)


class LatentNetwork(Network):
    """Base class of networks with a latent y and a hyper-latent z; controls are optional."""

    coder_type = "baselines.neural.entropy.hyperprior_coder:TransformCoder"
    tables_type = "baselines.neural.entropy.hyperprior_coder:tables_of"
    integer_model_type: ClassVar[str] = "baselines.neural.entropy.hyperprior_coder:EntropyPath"
    uses_unit_range: ClassVar[bool] = False  # whether transforms take [0, 1], not [-1, 1]
    analysis: Any  # a module
    synthesis: Any
    hyper_analysis: nn.Sequential
    prior: FactorisedPrior

    def analyse(self, images: Tensor, controls: Any = None) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1], H and W multiples of 64, to y (N, M, H/16, W/16)."""
        return self.analysis((images + 1) / 2 if self.uses_unit_range else images)

    def synthesise(self, latents: Tensor, controls: Any = None) -> Tensor:
        """Map decoded y to images (N, 3, H, W), about [-1, 1] and not clamped."""
        # Without gradients a layer may overwrite its input.
        images: Tensor = self.synthesis(latents if torch.is_grad_enabled() else latents.clone())
        return images * 2 - 1 if self.uses_unit_range else images

    def forward(self, images: Tensor, controls: Any = None, *, noisy: bool = True) -> Estimate:
        """Code and reconstruct images (N, 3, H, W) in [-1, 1]; see `code`."""
        y = self.analyse(images, controls).float()
        latents, y_bits, z_bits = rounded_latents = self.code(y, noisy=noisy)
        rounded_bits = None
        if self.counts_rounded:
            if noisy:
                with torch.no_grad():
                    rounded_latents = self.code(y, noisy=False)
            rounded_bits = rounded_latents.y_bits + rounded_latents.z_bits
        return Estimate(self.synthesise(latents, controls), y_bits, z_bits, latents, rounded_bits)

    def bits_of_blocks(self, *transforms: str) -> dict[str, int]:
        """Return `quantised_bits` by prefix: 8 for the entropy model and blocks of `transforms`."""
        blocks = {
            f"{path}.{i}.": 8
            for path in transforms
            for i, layer in enumerate(self.get_submodule(path).children())
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        }
        return {"hyper_": 8, "context.": 8, **blocks}

    def priors(self) -> tuple[FactorisedPrior]:
        """Return the factorised prior of z."""
        return (self.prior,)

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Map y (N, M, h, w) to z (N, Z, h / 4, w / 4)."""
        return self.hyper_analysis(latents)

    def code_hyper(self, latents: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Return rounded z for y (N, M, h, w), and z's bits (N,), with noise if `noisy`."""
        z = self.hyper_analyse(latents).float()
        with torch.autocast(latents.device.type, enabled=False):
            z_bits = self.prior.bits(add_noise(z) if noisy else self.prior.rounded(z))
        return z + (self.prior.rounded(z) - z).detach(), z_bits.sum((1, 2, 3))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Round y (N, M, h, w), float32, and count the bits of y and z, with noise if `noisy`."""
        # noise is only counted: returned latents are rounded, with rounding's gradient set to 1
        raise NotImplementedError

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the entropy model's sequences of convolutions, which run in integers, by name."""
        raise NotImplementedError

    def entropy_supports(self) -> tuple[str, ...]:
        """Return the names of the supports: activations that several branches take as input."""
        return ()

    def visit_activations(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z and the supports by name."""
        raise NotImplementedError

    def symbol_tables(self) -> dict[str, Tensor]:
        """Return the integer tables of y's and z's distributions."""
        return hyperprior_tables(self.prior)


def hyper_analysis(sizes: Any) -> nn.Sequential:
    """Make the layers from y (N, M, h, w) to z (N, Z, h / 4, w / 4)."""
    first_width, second_width = sizes.hyper_encoder
    return nn.Sequential(
        convolution(sizes.latent, first_width, 3),
        nn.ReLU(),
        convolution(first_width, second_width, sizes.hyper_kernel, stride=2),
        nn.ReLU(),
        convolution(second_width, sizes.hyper_latent, sizes.hyper_kernel, stride=2),
    )


def hyper_synthesis(sizes: Any, outputs: int) -> nn.Sequential:
    """Make the layers from z (N, Z, h / 4, w / 4) to (N, outputs, h, w)."""
    first_width, second_width = sizes.hyper_decoder
    return nn.Sequential(
        upsampling(sizes.hyper_latent, first_width, sizes.hyper_kernel),
        nn.ReLU(),
        upsampling(first_width, second_width, sizes.hyper_kernel),
        nn.ReLU(),
        convolution(second_width, outputs, 3),
    )


def quantise_about(
    values: Tensor, mean: Tensor, scale: Tensor, *, noisy: bool
) -> tuple[Tensor, Tensor]:
    """Return values rounded to integer steps from `mean`, and bits, with noise if `noisy`."""
    symbols = (values - mean).round()
    residual = add_noise(values) - mean if noisy else symbols
    bits = gaussian_bits(residual, scale.float())
    return values + (symbols + mean - values).detach(), bits


def gaussian_bits(residuals: Tensor, scales: Tensor) -> Tensor:
    """Return the bits of unit intervals around normal `residuals`, with scales of at least .11."""
    bounded_scales = clamp_below(scales, MIN_SCALE)
    distance = residuals.abs()  # evaluated in the tail, where the difference does not cancel
    # Uses erfc, since torch's ndtr loses the tail: .08 % more bits on the crop of the parity test.
    near, far = (((distance + edge) / (bounded_scales * SQRT_2)).erfc() for edge in (-0.5, 0.5))
    return -clamp_below(0.5 * (near - far), MIN_LIKELIHOOD).log2()


# (index of the slice, mean, scale), both (N, c, h, w) -> values (N, c, h, w)
CodeSlice = Callable[[int, Tensor, Tensor], Tensor]
# (values, mean, scale) -> decoded values and their bits
Quantise = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
INITIAL_STD = 0.003  # of the last layers' weights for means and residuals
MIN_INITIAL_STD = 0.15  # minimum of a latent channel


class ChannelContext(nn.Module):
    """Channel-wise autoregressive means and scales, with latent residual prediction."""

    # The first `support_slices` slices inform every later slice. Without slices, the hyper-decoder
    # outputs mean and scale. With `separate_support`, each slice has its own part of its channels.

    def __init__(self, sizes: Any, *, separate_support: bool = False) -> None:
        super().__init__()
        self.widths: tuple[int, ...] = sizes.slices
        self.support_slices: int = sizes.support_slices
        self._channels_per_slice = sizes.support // len(sizes.slices) if separate_support else None
        support_width = self._channels_per_slice or sizes.support
        input_widths = [
            support_width + sum(self.widths[: min(i, self.support_slices)])
            for i in range(len(self.widths))
        ]
        slice_widths = list(zip(input_widths, self.widths, strict=True))

        def transforms(width_pairs: Iterable[tuple[int, int]]) -> nn.ModuleList:
            return nn.ModuleList(
                rectified_stack((inputs, *sizes.context, outputs), sizes.context_kernels)
                for inputs, outputs in width_pairs
            )

        self.mean, self.scale = transforms(slice_widths), transforms(slice_widths)
        self.residual = transforms((inputs + width, width) for inputs, width in slice_widths)

    def support_channels(self, index: int) -> slice:
        """Return the channels of the hyper-decoder's outputs that a slice sees."""
        if self._channels_per_slice is None:
            return slice(None)
        return slice(self._channels_per_slice * index, self._channels_per_slice * (index + 1))

    def support(self, hyper_output: Tensor, decoded_slices: Sequence[Tensor]) -> Tensor:
        """Concatenate the hyper-decoder's output and the slices that inform the next slice."""
        slice_support = hyper_output[:, self.support_channels(len(decoded_slices))]
        return torch.cat([slice_support, *decoded_slices[: self.support_slices]], dim=1)

    def forward(self, mean_support: Tensor, scale_support: Tensor, code: CodeSlice) -> Tensor:
        """Return the decoded latent (N, M, h, w) from two supports (N, support, h, w)."""
        if not self.widths:
            return code(0, mean_support, scale_support)
        decoded_slices: list[Tensor] = []
        for i in range(len(self.widths)):
            mean_inputs = self.support(mean_support, decoded_slices)
            scale_inputs = self.support(scale_support, decoded_slices)
            values = code(i, self.mean[i](mean_inputs), self.scale[i](scale_inputs))
            correction: Tensor = self.residual[i](torch.cat([mean_inputs, values], dim=1))
            decoded_slices.append(values + 0.5 * correction.tanh())
        return torch.cat(decoded_slices, dim=1)


class HyperSynthesis(nn.Module):
    """Hyper-decoder: a stack of layers for means and another for scales."""

    def __init__(self, sizes: Any) -> None:
        super().__init__()
        self.mean = hyper_synthesis(sizes, sizes.support)
        self.scale = hyper_synthesis(sizes, sizes.support)

    def forward(self, rounded_z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (N, Z, h / 4, w / 4) to mean and scale support, (N, support, h, w) each."""
        return self.mean(rounded_z), self.scale(rounded_z)


class HyperpriorNetwork(LatentNetwork):
    """Base class of networks that code y with a hyperprior and a channel context."""

    def add_entropy_model(self, sizes: Any, *, separate_support: bool = False) -> None:
        """Add the entropy model's modules, in the order in which optimisers list parameters."""
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_synthesis = HyperSynthesis(sizes)
        self.prior = FactorisedPrior(sizes.hyper_latent)
        self.context = ChannelContext(sizes, separate_support=separate_support)

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Quantise y (N, M, h, w) slice by slice; see `LatentNetwork.code`."""
        z, z_bits = self.code_hyper(latents, noisy=noisy)
        return self._code_slices(latents, z, z_bits, partial(quantise_about, noisy=noisy))

    def code_rounded(self, latents: Tensor, z: Tensor, rounding: Rounding) -> CodedLatents:
        """Code y (N, M, h, w) and a given z (N, Z, h / 4, w / 4), both with `rounding`."""
        rounded_z = self.prior.rounded(z, rounding)
        z_bits = self.prior.bits(rounded_z).sum((1, 2, 3))

        def quantise(values: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            symbols = rounding(values - mean)
            return symbols + mean, gaussian_bits(symbols, scale)

        return self._code_slices(latents, rounded_z, z_bits, quantise)

    def _slices(self, latents: Tensor) -> tuple[Tensor, ...]:
        return torch.split(latents, list(self.context.widths) or [latents.shape[1]], dim=1)

    def _code_slices(
        self, latents: Tensor, rounded_z: Tensor, z_bits: Tensor, quantise: Quantise
    ) -> CodedLatents:
        y_bits: list[Tensor] = []
        slices = self._slices(latents)

        def code(index: int, mean: Tensor, scale: Tensor) -> Tensor:
            values, bits = quantise(slices[index], mean, scale)
            y_bits.append(bits.sum((1, 2, 3)))
            return values

        decoded_y = self.context(*self.hyper_synthesis(rounded_z), code)
        return CodedLatents(decoded_y, torch.stack(y_bits).sum(0), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the entropy model's sequences of convolutions, which run in integers, by name."""
        branches: dict[str, nn.Module] = {
            "hyper.mean": self.hyper_synthesis.mean,
            "hyper.scale": self.hyper_synthesis.scale,
        }
        for i in range(len(self.context.widths)):
            for kind in ("mean", "scale", "residual"):
                branches[f"{kind}.{i}"] = getattr(self.context, kind)[i]
        return branches

    def entropy_supports(self) -> tuple[str, ...]:
        """Return the names of the supports: activations that several branches take as input."""
        return ("support.mean", "support.scale") if self.context.widths else ()

    def visit_activations(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z and the supports by name."""
        z = self.prior.rounded(self.hyper_analyse(latents))
        record("z", z)
        mean_support, scale_support = self.hyper_synthesis(z)  # the caller's hooks record layers
        if not self.context.widths:
            return
        record("support.mean", mean_support)
        record("support.scale", scale_support)
        slices = self._slices(latents)

        def code(index: int, mean: Tensor, _scale: Tensor) -> Tensor:
            return torch.round(slices[index] - mean) + mean

        decoded_y = self.context(mean_support, scale_support, code)
        record("support.mean", decoded_y)  # all slices, since the residual networks see all
        support_channels = sum(self.context.widths[: self.context.support_slices])
        record("support.scale", decoded_y[:, :support_channels])


def initialise_entropy_model(network: HyperpriorNetwork, latent_std: Tensor) -> None:
    """Set initial scales to y's standard deviations (M,), and divide the input of z by them."""
    first_layer: nn.Conv2d = network.hyper_analysis[0]  # type: ignore[assignment]
    with torch.no_grad():
        first_layer.weight /= latent_std.clamp(min=MIN_INITIAL_STD)[:, None, None]
    if not network.context.widths:
        _set_bias(network.hyper_synthesis.scale[-1], latent_std)
        return
    slice_stds = torch.split(latent_std, list(network.context.widths))
    for slice_std, transform in zip(slice_stds, network.context.scale, strict=True):
        _set_bias(transform[-1], slice_std)  # type: ignore[index]
    for transforms in (network.context.mean, network.context.residual):
        for transform in transforms:
            nn.init.normal_(transform[-1].weight, std=INITIAL_STD)  # type: ignore[index]


def _set_bias(layer: nn.Module, std: Tensor) -> None:
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.bias.copy_(std.clamp(min=MIN_INITIAL_STD))  # type: ignore[union-attr]
