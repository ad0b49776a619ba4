"""The network of IVR: a network for all rates, whose channels are scaled by masks.

Sun, Tan, Sun, Sun, Feng, "Interpolation Variable Rate Image Compression" (ACM MM 2021): four
convolutions of stride 2 with masks and GDN, and their mirror. A mask is softplus(w_q) for each
channel; between two levels, w is interpolated. Latents are rounded as they are and follow Laplace
distributions; the hyper-encoder sees them rounded, in training too.
Our choices: the hyper-decoder has ReLUs where the authors' has leaky ones, so that it runs in
integers; the optional context and the optional network behind the decoder are left out.

A scale is given by its logarithm. In a coder, a value of y is the integer nearest to the mean plus
a symbol; a symbol's distribution has one of `NUM_SCALES` scales, and the place of the mean between
two integers, in sixteenths for small scales, more coarsely for larger ones, which hardly differ.
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
from baselines.neural.blocks.control import Level, PlacedLevels, between_levels, placed_levels
from baselines.neural.blocks.layers import (
    GDN,
    IMAGE_CHANNELS,
    at_least,
    gdn_analysis,
    gdn_synthesis,
)
from baselines.neural.blocks.start_values import start_as_transforms
from baselines.neural.entropy.factorised import noised
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
    stacked_rows,
)
from baselines.neural.entropy.integer.integer_path import (
    Decoding,
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_of,
)
from benchmark.errors import CorruptStream

MOST_BITS = 50.0  # of a value, as published
LEAST_LOG_SCALE, LARGEST_LOG_SCALE = math.log(0.06), math.log(64.0)
NUM_SCALES = 40
RATE_GRID = ControlGrid("q", 16, 144)  # levels that a stream can hold: 0 to 9 in steps of 1/16
FINEST_PLACES = 16  # of the mean between two integers
TAIL = 2e-5  # mass outside a row's symbols, which are escaped


def laplace_bits(distances: Tensor, log_scales: Tensor) -> Tensor:
    """Return the bits, at most 50 each, of unit intervals at `distances` from the means."""
    rate = torch.exp(-at_least(log_scales, LEAST_LOG_SCALE))
    distance = distances.abs()
    outside = 0.5 * torch.exp(-(distance - 0.5).clamp(min=0) * rate) * -torch.expm1(-rate)
    inner, outer = (
        torch.exp(-edge.clamp(min=0) * rate) for edge in (0.5 - distance, 0.5 + distance)
    )
    inside = 1 - 0.5 * (inner + outer)
    mass = torch.where(distance > 0.5, outside, inside)
    return -at_least(mass, 2.0**-MOST_BITS).log2()


class LaplacePrior(nn.Module):
    """A Laplace distribution for each channel of z."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def medians(self) -> Tensor:
        """Return zeros, (channels,): z is rounded to integers, whatever its mean is."""
        return torch.zeros_like(self.mean)

    def rounded(self, values: Tensor) -> Tensor:
        """Return `values` (N, channels, h, w) rounded to integers, ties to even."""
        return values.round()

    def bits(self, values: Tensor) -> Tensor:
        """Return the bits of each of `values` (N, channels, h, w), the same shape."""
        return laplace_bits(values - self.mean[:, None, None], self.log_scale[:, None, None])


def laplace_tables(prior: LaplacePrior) -> dict[str, Tensor]:
    """Return the distributions of y and z by name, and how to choose a row of y's.

    thresholds  int32 (39,): a logarithm of a scale on the grid 2^-12 has as index the number of
                thresholds below it
    row_start   int32 (40,): the first row of each scale
    row_shift   int32 (40,): binary digits by which a place in sixteenths is coarsened there
    cdf, cdf_length, cdf_offset         rows of y, as `entropy.coder.Distributions` reads them
    z_cdf, z_cdf_length, z_cdf_offset   a row for each channel of z
    """
    mean, log_scale = (p.detach().double().numpy() for p in (prior.mean, prior.log_scale))
    scales = np.exp(np.clip(log_scale, LEAST_LOG_SCALE, LARGEST_LOG_SCALE))
    rows = [_row(float(scale), float(place)) for scale, place in zip(scales, mean, strict=True)]
    offsets = [first for first, _ in rows]
    z = stacked_rows([counts for _, counts in rows], offsets, "z_cdf")
    return {**{name: table.clone() for name, table in _tables_of_y().items()}, **z}


@cache
def _tables_of_y() -> dict[str, Tensor]:
    logs = np.linspace(LEAST_LOG_SCALE, LARGEST_LOG_SCALE, NUM_SCALES)
    between = np.floor((logs[:-1] + logs[1:]) / 2 * 2**OUTPUT_FRACTION)
    rows: list[tuple[int, NDArray[np.int32]]] = []
    starts, shifts = [], []
    for scale in np.exp(logs):
        shift = 0 if scale < 1 else 2 if scale < 8 else 4
        places = FINEST_PLACES >> shift
        starts.append(len(rows))
        shifts.append(shift)
        rows += [_row(float(scale), (k + 0.5) / places - 0.5) for k in range(places)]
    return {
        "thresholds": torch.tensor(between, dtype=torch.int32),
        "row_start": torch.tensor(starts, dtype=torch.int32),
        "row_shift": torch.tensor(shifts, dtype=torch.int32),
        **stacked_rows([counts for _, counts in rows], [first for first, _ in rows], "cdf"),
    }


def _row(scale: float, mean: float) -> tuple[int, NDArray[np.int32]]:
    """Return the first symbol of a distribution's row, and frequencies with that of the escape."""
    reach = scale * math.log(1 / (2 * TAIL))
    first, last = math.floor(mean - reach), math.ceil(mean + reach)
    first, last = min(first, round(mean) - 1), max(last, round(mean) + 1)
    edges = (np.arange(first, last + 2) - 0.5 - mean) / scale
    below = np.where(edges < 0, 0.5 * np.exp(np.minimum(edges, 0)), 0)
    above = np.where(edges >= 0, 0.5 * np.exp(-np.maximum(edges, 0)), 0)
    cumulative = np.where(edges < 0, below, 1 - above)
    masses = np.diff(cumulative)
    return first, frequencies(np.append(masses, max(1 - masses.sum(), 0.0)))


PLACE_BITS = FINEST_PLACES.bit_length() - 1


class IvrPath(IntegerPath):
    """Integer network of a checkpoint of IVR; see `IntegerPath`. y is a single piece."""

    num_thresholds = NUM_SCALES - 1

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self._starts = self._table(tables, "row_start", NUM_SCALES)
        self._shifts = self._table(tables, "row_shift", NUM_SCALES)
        self.num_rows = int(self._starts[-1]) + (FINEST_PLACES >> int(self._shifts[-1]))

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        outputs = self.branches["hyper"](self.hyper_activations(z_symbols))
        means, log_scales = channels_first(outputs).chunk(2, dim=1)
        parameters = self.parameters_of(means, log_scales)
        symbols = yield parameters
        return values_of(symbols, parameters.means)

    def parameters_of(self, means: Tensor, log_scales: Tensor) -> PieceParameters:
        """Return rows and integers of y's symbols, of means and scales on the grid 2^-12.

        A symbol counts from the integer nearest to its mean; the row depends on their distance.
        """
        scales = self.scale_index(log_scales).to(torch.int64)
        shifted = means.to(torch.int64) + (1 << (OUTPUT_FRACTION - 1))
        place = (shifted & ((1 << OUTPUT_FRACTION) - 1)) >> (OUTPUT_FRACTION - PLACE_BITS)
        rows = self._starts[scales] + (place >> self._shifts[scales])
        nearest = (shifted >> OUTPUT_FRACTION) << OUTPUT_FRACTION
        return PieceParameters(rows.to(torch.int32), nearest.to(torch.int32))

    def _ends(self, name: str) -> Ends:
        return Ends("z", OUTPUT_FRACTION, WeightLimit.FINE)


KERNELS = ((5, 4), (4, 5), (5, 4), (4, 5))  # of the analysis
SLOPE = 0.2
START_MASK = math.log1p(math.e)  # softplus(1): of every mask as published
GAIN = 2.5  # levels of y per unit of an orthonormal transform of [0, 1], at the weight 1
LEAST_SPREAD = 0.15
NOISE = 0.003


class Mask(nn.Module):
    """Channel-wise x softplus(w(q)), w interpolated linearly between whole levels."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(levels, channels))

    def forward(self, features: Tensor, rate: PlacedLevels) -> Tensor:
        """Scale `features` (N, C, H, W); they are overwritten while gradients are off."""
        return rate.map(
            lambda levels: functional.softplus(between_levels(self.weight, levels))
        ).scale(features)


class MaskedTransform(nn.Module):
    """Layers with a mask behind each of the four that change the resolution."""

    def __init__(self, layers: Iterable[nn.Module], widths: Sequence[int], levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.masks = nn.ModuleList(Mask(width, levels) for width in widths)

    def forward(self, features: Tensor, rate: PlacedLevels) -> Tensor:
        """Map (N, C, H, W), masks at `rate`."""
        masks = iter(self.masks)
        for layer in self.layers:
            features = layer(features)
            if not isinstance(layer, GDN):
                features = next(masks)(features, rate)
        return features


class IvrNetwork(LatentNetwork):
    """The network; images are in [-1, 1] outside, in [0, 1] for the transforms; controls are q."""

    prior: LaplacePrior  # type: ignore[assignment]

    quantised_bits: Mapping[str, int] = {"hyper_": 8}
    control_block = SingleControl(RATE_GRID)
    coder_type, path_type = f"{__name__}:IvrCoder", f"{__name__}:IvrPath"

    def __init__(self, sizes: IvrSizes) -> None:
        super().__init__()
        self.sizes = sizes
        inside = (sizes.transform,) * 3
        down, up = (*inside, sizes.latent), (*inside, IMAGE_CHANNELS)
        self.analysis = MaskedTransform(
            gdn_analysis(IMAGE_CHANNELS, down, KERNELS), down, sizes.rate_levels
        )
        self.synthesis = MaskedTransform(gdn_synthesis(sizes.latent, up, 5), up, sizes.rate_levels)
        self.hyper_analysis = hyper_analysis(sizes)
        self.hyper_analysis[1] = self.hyper_analysis[3] = nn.LeakyReLU(SLOPE)
        self.hyper_synthesis = hyper_synthesis(sizes, 2 * sizes.latent)
        self.prior = LaplacePrior(sizes.hyper_latent)

    def priors(self) -> tuple[nn.Module, ...]:  # type: ignore[override]
        """Return none: z's distributions have no quantiles."""
        return ()

    def symbol_tables(self) -> dict[str, Tensor]:
        """Return the integer tables of the distributions of y and z."""
        return laplace_tables(self.prior)

    def controls_at(
        self, rate: Level | PlacedLevels, realism: Level | PlacedLevels
    ) -> Level | PlacedLevels:
        """Return the rate level; there is no realism weight."""
        return rate

    def freezable(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Return the parts by name; `rate_control` are the masks."""
        parts = dict(super().freezable())
        parts["rate_control"] = parts["masks"]
        return parts

    def analyse(self, images: Tensor, controls: Level | PlacedLevels = 0.0) -> Tensor:
        """Return y of images (N, 3, H, W) in [-1, 1] at q; raises `ValueError` out of range."""
        return self.analysis(
            (images + 1) / 2, placed_levels(controls, self.sizes.rate_levels - 1, images)
        )

    def synthesise(self, latents: Tensor, controls: Level | PlacedLevels = 0.0) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1] and not clamped, of y as decoded."""
        seen = latents if torch.is_grad_enabled() else latents.clone()  # masks overwrite it
        images: Tensor = self.synthesis(
            seen, placed_levels(controls, self.sizes.rate_levels - 1, latents)
        )
        return images * 2 - 1

    def hyper_analyse(self, latents: Tensor) -> Tensor:
        """Return z (N, Z, h / 4, w / 4) of y (N, M, h, w), which it rounds."""
        return self.hyper_analysis(_rounded(latents))

    def code(self, latents: Tensor, *, noisy: bool) -> CodedLatents:
        """Round y (N, M, h, w) and count its bits; see `LatentNetwork.code`."""
        rounded_hyper, z_bits = self.code_hyper(latents, noisy=noisy)
        mean, log_scale = self.hyper_synthesis(rounded_hyper).float().chunk(2, dim=1)
        values = noised(latents) if noisy else latents.round()
        bits = laplace_bits(values - mean, log_scale)
        return CodedLatents(_rounded(latents), bits.sum((1, 2, 3)), z_bits)

    def entropy_branches(self) -> dict[str, nn.Module]:
        """Return the hyper-decoder, all of the entropy model that runs in integers."""
        return {"hyper": self.hyper_synthesis}

    def follow(self, latents: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Decode y (N, M, h, w) in floating point, and record z."""
        rounded = self.prior.rounded(self.hyper_analyse(latents))
        record("z", rounded)
        self.hyper_synthesis(rounded)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        transform, latent = self.sizes.transform, self.sizes.latent
        down, up = self.analysis, self.synthesis
        widths = (*(transform,) * 3, latent)
        spread = start_as_transforms(down.layers, up.layers, widths, images, 1.0)
        gains = torch.tensor([GAIN / math.sqrt(weight) for weight in lambdas])
        with torch.no_grad():
            for layer in (*down.layers, *up.layers):
                if not isinstance(layer, GDN):  # the masks behind it are not 1
                    layer.weight.div_(START_MASK)
                    layer.bias.div_(START_MASK)
            for mask, gain in ((down.masks[-1], gains), (up.masks[0], 1 / gains)):
                target = torch.expm1(gain * START_MASK).log()[:, None]
                mask.weight.copy_(target.expand_as(mask.weight))
            spread = (spread * float(gains[len(gains) // 2])).clamp(min=LEAST_SPREAD)
            self.hyper_analysis[0].weight.div_(spread[:, None, None])  # type: ignore[operator]
            last: nn.Conv2d = self.hyper_synthesis[-1]  # type: ignore[assignment]
            nn.init.normal_(last.weight, std=NOISE)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            last.bias[latent:] = (spread / math.sqrt(2)).log()  # type: ignore[index]


def _rounded(values: Tensor) -> Tensor:
    return values + (values.round() - values).detach()


class IvrCoder(TransformCoder):
    """Images to latents to bytes, and back; see `TransformCoder`."""

    network: IvrNetwork

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images of y; raises `CorruptStream` for a level that the network lacks."""
        highest = self.network.sizes.rate_levels - 1
        if controls > highest:
            raise CorruptStream(f"the stream is of level {controls:g}, the highest is {highest}")
        return super().synthesise(latents, controls)
