"""IVR's network, one for all rates: masks scale the channels.

Sun et al., "Interpolation Variable Rate Image Compression" (ACM MM 2021): four convolutions of
stride 2 with masks and GDN, and their mirror. A mask is softplus(w_q) per channel; w is
interpolated between levels. Latents are rounded directly and follow Laplace distributions; the
hyper-encoder sees rounded latents, even in training. Our choices: ReLUs in the hyper-decoder, so
that it runs in integers, and neither of two options, a context and a network after the decoder.
The hyper-decoder outputs logarithms of scales. In a coder, a value of y is the integer nearest to
the mean plus a symbol, whose distribution depends on one of `NUM_SCALES` scales, and on the mean's
offset from an integer, in sixteenths for small scales, in larger steps for larger scales.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.architecture import IvrSizes
from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
from baselines.neural.blocks.control import IndexedLevels, Level, convert_level, interpolate_levels
from baselines.neural.blocks.layers import (
    GDN,
    IMAGE_CHANNELS,
    clamp_below,
    gdn_analysis,
    gdn_synthesis,
)
from baselines.neural.blocks.start_values import start_as_transforms
from baselines.neural.entropy.factorised import add_noise
from baselines.neural.entropy.hyperprior import (
    CodedLatents,
    LatentNetwork,
    hyper_analysis,
    hyper_synthesis,
)
from baselines.neural.entropy.hyperprior_coder import TransformCoder
from baselines.neural.entropy.integer.grid import (
    OUTPUT_FRACTION,
    WeightLimit,
    frequencies,
    stack_rows,
)
from baselines.neural.entropy.integer.integer_path import (
    BranchFormat,
    Decoding,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_from_symbols,
)
from benchmark.errors import CorruptStream

MAX_BITS = 50.0  # per value, as published
MIN_LOG_SCALE, MAX_LOG_SCALE = math.log(0.06), math.log(64.0)
NUM_SCALES = 40
RATE_GRID = ControlGrid("q", 16, 144)  # levels in a stream: 0 to 9 in steps of 1/16
MAX_OFFSETS = 16  # number of positions of a mean between two integers
TAIL = 2e-5  # probability of the escape, outside a row's symbols


def laplace_bits(distances: Tensor, log_scales: Tensor) -> Tensor:
    """Return the bits, at most 50 each, of unit intervals whose centres have these distances."""
    rate = torch.exp(-clamp_below(log_scales, MIN_LOG_SCALE))
    distance = distances.abs()
    tail_mass = 0.5 * torch.exp(-(distance - 0.5).clamp(min=0) * rate) * -torch.expm1(-rate)
    near_decay, far_decay = (
        torch.exp(-edge.clamp(min=0) * rate) for edge in (0.5 - distance, 0.5 + distance)
    )
    mass_around_mean = 1 - 0.5 * (near_decay + far_decay)
    mass = torch.where(distance > 0.5, tail_mass, mass_around_mean)
    return -clamp_below(mass, 2.0**-MAX_BITS).log2()


class LaplacePrior(nn.Module):
    """Laplace distribution for each channel of z."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def medians(self) -> Tensor:
        """Return zeros, (channels,): z is rounded to integers for every mean."""
        return torch.zeros_like(self.mean)

    def rounded(self, values: Tensor) -> Tensor:
        """Round `values` (N, channels, h, w) to integers, ties to even."""
        return values.round()

    def bits(self, values: Tensor) -> Tensor:
        """Return the bits of each of `values`, (N, channels, h, w)."""
        return laplace_bits(values - self.mean[:, None, None], self.log_scale[:, None, None])


def laplace_tables(prior: LaplacePrior) -> dict[str, Tensor]:
    """Return the tables of y's and z's distributions, and the tables that select a row for y.

    thresholds  int32 (39,), in 2^-12: a scale's index is the number of thresholds below its log
    row_start   int32 (40,): the first row of each scale
    row_shift   int32 (40,): bits by which a scale's offsets, in sixteenths, are shifted
    cdf, cdf_length, cdf_offset         rows for y, read by `entropy.coder.Distributions`
    z_cdf, z_cdf_length, z_cdf_offset   a row for each channel of z
    """
    mean, log_scale = (p.detach().double().numpy() for p in (prior.mean, prior.log_scale))
    scales = np.exp(np.clip(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE))
    rows = [
        _laplace_row(float(scale), float(channel_mean))
        for scale, channel_mean in zip(scales, mean, strict=True)
    ]
    offsets = [first_symbol for first_symbol, _ in rows]
    z_tables = stack_rows([counts for _, counts in rows], offsets, "z_cdf")
    return {**{name: table.clone() for name, table in _y_tables().items()}, **z_tables}


@cache
def _y_tables() -> dict[str, Tensor]:
    logs = np.linspace(MIN_LOG_SCALE, MAX_LOG_SCALE, NUM_SCALES)
    midpoints = np.floor((logs[:-1] + logs[1:]) / 2 * 2**OUTPUT_FRACTION)
    rows: list[tuple[int, NDArray[np.int32]]] = []
    starts, shifts = [], []
    for scale in np.exp(logs):
        shift = 0 if scale < 1 else 2 if scale < 8 else 4
        num_offsets = MAX_OFFSETS >> shift
        starts.append(len(rows))
        shifts.append(shift)
        means = [(k + 0.5) / num_offsets - 0.5 for k in range(num_offsets)]
        rows += [_laplace_row(float(scale), mean) for mean in means]
    return {
        "thresholds": torch.tensor(midpoints, dtype=torch.int32),
        "row_start": torch.tensor(starts, dtype=torch.int32),
        "row_shift": torch.tensor(shifts, dtype=torch.int32),
        **stack_rows([counts for _, counts in rows], [symbol for symbol, _ in rows], "cdf"),
    }


def _laplace_row(scale: float, mean: float) -> tuple[int, NDArray[np.int32]]:
    """Return a distribution's first symbol, and the frequencies of symbols and escape."""
    reach = scale * math.log(1 / (2 * TAIL))
    start, end = math.floor(mean - reach), math.ceil(mean + reach)
    start, end = min(start, round(mean) - 1), max(end, round(mean) + 1)
    edges = (np.arange(start, end + 2) - 0.5 - mean) / scale
    lower_tail = np.where(edges < 0, 0.5 * np.exp(np.minimum(edges, 0)), 0)
    upper_tail = np.where(edges >= 0, 0.5 * np.exp(-np.maximum(edges, 0)), 0)
    cumulative = np.where(edges < 0, lower_tail, 1 - upper_tail)
    masses = np.diff(cumulative)
    return start, frequencies(np.append(masses, max(1 - masses.sum(), 0.0)))


OFFSET_BITS = MAX_OFFSETS.bit_length() - 1


class IvrPath(IntegerPath):
    """Integer network of an IVR checkpoint; see `IntegerPath`. y is a single piece."""

    num_thresholds = NUM_SCALES - 1

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self._starts = self._read_table(tables, "row_start", NUM_SCALES)
        self._shifts = self._read_table(tables, "row_shift", NUM_SCALES)
        self.num_rows = int(self._starts[-1]) + (MAX_OFFSETS >> int(self._shifts[-1]))

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        outputs = self.branches["hyper"](self.hyper_activations(z_symbols))
        means, log_scales = channels_first(outputs).chunk(2, dim=1)
        parameters = self.choose_parameters(means, log_scales)
        symbols = yield parameters
        return values_from_symbols(symbols, parameters.means)

    def choose_parameters(self, means: Tensor, log_scales: Tensor) -> PieceParameters:
        """Return rows and integer means of y's symbols; means and log scales are in units of 2^-12.

        A symbol is relative to the integer nearest to its mean; their distance selects the row.
        """
        scales = self.scale_index(log_scales).to(torch.int64)  # indices of scales
        shifted_means = means.to(torch.int64) + (1 << (OUTPUT_FRACTION - 1))
        offsets = (shifted_means & ((1 << OUTPUT_FRACTION) - 1)) >> (OUTPUT_FRACTION - OFFSET_BITS)
        rows = self._starts[scales] + (offsets >> self._shifts[scales])
        nearest_integers = (shifted_means >> OUTPUT_FRACTION) << OUTPUT_FRACTION
        return PieceParameters(rows.to(torch.int32), nearest_integers.to(torch.int32))

    def _branch_format(self, name: str) -> BranchFormat:
        return BranchFormat("z", OUTPUT_FRACTION, WeightLimit.FINE)


KERNELS = ((5, 4), (4, 5), (5, 4), (4, 5))  # (rows, columns) of each analysis layer
SLOPE = 0.2  # of the hyper-encoder's leaky ReLUs
INITIAL_MASK = math.log1p(math.e)  # softplus(1), the published initial value of every mask
GAIN = 2.5  # steps of y per unit of an orthonormal transform of [0, 1], at lambda = 1
MIN_INITIAL_STD = 0.15  # minimum of a latent channel
INITIAL_STD = 0.003  # standard deviation of the last hyper-decoder layer's weights


class Mask(nn.Module):
    """Channel-wise x softplus(w(q)), with w linear in q between integer levels."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(levels, channels))

    def forward(self, features: Tensor, rate: IndexedLevels) -> Tensor:
        """Scale `features` (N, C, H, W); in place if gradients are disabled."""
        return rate.map(
            lambda levels: functional.softplus(interpolate_levels(self.weight, levels))
        ).scale(features)


class MaskedTransform(nn.Module):
    """Layers with a mask after each of the four layers that change the resolution."""

    def __init__(self, layers: Iterable[nn.Module], widths: Sequence[int], levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.masks = nn.ModuleList(Mask(width, levels) for width in widths)

    def forward(self, features: Tensor, rate: IndexedLevels) -> Tensor:
        """Apply the layers to (N, C, H, W), with masks at `rate`."""
        masks = iter(self.masks)
        for layer in self.layers:
            features = layer(features)
            if not isinstance(layer, GDN):
                features = next(masks)(features, rate)
        return features


class IvrNetwork(LatentNetwork):
    """IVR's network; its transforms take images in [0, 1], and its controls are q."""

    prior: LaplacePrior  # type: ignore[assignment]

    quantised_bits: Mapping[str, int] = {"hyper_": 8}
    control_block = SingleControl(RATE_GRID)
    coder_type, integer_model_type = f"{__name__}:IvrCoder", f"{__name__}:IvrPath"

    def __init__(self, sizes: IvrSizes) -> None:
        super().__init__()
        self.sizes = sizes
        hidden_widths = (sizes.transform,) * 3
        down_widths, up_widths = (*hidden_widths, sizes.latent), (*hidden_widths, IMAGE_CHANNELS)
        self.analysis = MaskedTransform(
            gdn_analysis(IMAGE_CHANNELS, down_widths, KERNELS), down_widths, sizes.rate_levels
        )
        self.synthesis = MaskedTransform(
            gdn_synthesis(sizes.latent, up_widths, 5), up_widths, sizes.rate_levels
        )
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_analysis[1] = self.hyper_analysis[3] = nn.LeakyReLU(SLOPE)
        self.hyper_synthesis = hyper_synthesis(sizes, 2 * sizes.latent)
        self.prior = LaplacePrior(sizes.hyper_latent)

    def priors(self) -> tuple[nn.Module, ...]:  # type: ignore[override]
        """Return (): z's distributions have no quantiles."""
        return ()

    def symbol_tables(self) -> dict[str, Tensor]:
        """Return the integer tables of y's and z's distributions."""
        return laplace_tables(self.prior)

    def controls_at(
        self, rate: Level | IndexedLevels, realism: Level | IndexedLevels
    ) -> Level | IndexedLevels:
        """Return the rate level; there is no realism weight."""
        return rate

    def freezable_parts(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parameters that a recipe may freeze, by part; the masks are `rate_control`."""
        parts = dict(super().freezable_parts())
        parts["rate_control"] = parts["masks"]
        return parts

    def analyse(self, images: Tensor, controls: Level | IndexedLevels = 0.0) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to y at q; raises `ValueError` out of range."""
        return self.analysis(
            (images + 1) / 2, convert_level(controls, self.sizes.rate_levels - 1, images)
        )

    def synthesise(self, latents: Tensor, controls: Level | IndexedLevels = 0.0) -> Tensor:
        """Map decoded y to images (N, 3, H, W), about [-1, 1] and not clamped."""
        inputs = latents if torch.is_grad_enabled() else latents.clone()  # masks overwrite them
        images: Tensor = self.synthesis(
            inputs, convert_level(controls, self.sizes.rate_levels - 1, latents)
        )
        return images * 2 - 1

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Round y (N, M, h, w), and map it to z (N, Z, h / 4, w / 4)."""
        return self.hyper_analysis(_round_straight_through(latents))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Round y (N, M, h, w) and count the bits of y and z; see `LatentNetwork.code`."""
        rounded_z, z_bits = self.code_hyper(latents, noisy=noisy)
        mean, log_scale = self.hyper_synthesis(rounded_z).float().chunk(2, dim=1)
        values = add_noise(latents) if noisy else latents.round()
        bits = laplace_bits(values - mean, log_scale)
        return CodedLatents(_round_straight_through(latents), bits.sum((1, 2, 3)), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the hyper-decoder, the only part of the entropy model that runs in integers."""
        return {"hyper": self.hyper_synthesis}

    def visit_activations(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z."""
        z = self.prior.rounded(self.hyper_analyse(latents))
        record("z", z)
        self.hyper_synthesis(z)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        latent_width = self.sizes.latent
        encoder, decoder = self.analysis, self.synthesis
        widths = (*(self.sizes.transform,) * 3, latent_width)
        latent_std = start_as_transforms(encoder.layers, decoder.layers, widths, images, 1.0)
        gains = torch.tensor([GAIN / math.sqrt(weight) for weight in lambdas])
        with torch.no_grad():
            for layer in (*encoder.layers, *decoder.layers):
                if not isinstance(layer, GDN):  # compensate for the mask after the layer
                    layer.weight.div_(INITIAL_MASK)
                    layer.bias.div_(INITIAL_MASK)
            for mask, gain in ((encoder.masks[-1], gains), (decoder.masks[0], 1 / gains)):
                target = torch.expm1(gain * INITIAL_MASK).log()[:, None]
                mask.weight.copy_(target.expand_as(mask.weight))
            latent_std = (latent_std * float(gains[len(gains) // 2])).clamp(min=MIN_INITIAL_STD)
            self.hyper_analysis[0].weight.div_(latent_std[:, None, None])  # type: ignore[operator]
            last_layer: nn.Conv2d = self.hyper_synthesis[-1]  # type: ignore[assignment]
            nn.init.normal_(last_layer.weight, std=INITIAL_STD)
            nn.init.zeros_(last_layer.bias)  # type: ignore[arg-type]
            last_layer.bias[latent_width:] = (latent_std / math.sqrt(2)).log()  # type: ignore[index]


def _round_straight_through(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()


class IvrCoder(TransformCoder):
    """Coder that converts between IVR's images, latents and bytes; see `TransformCoder`."""

    network: IvrNetwork

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Map y to images; raises `CorruptStream` for a level that the network does not have."""
        highest = self.network.sizes.rate_levels - 1
        if controls > highest:
            raise CorruptStream(f"the stream has level {controls:g}, but the highest is {highest}")
        return super().synthesise(latents, controls)
