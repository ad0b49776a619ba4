"""Integer networks of entropy models: exact convolutions, and the fractional bits of activations.

A transposed convolution of stride 2 is an ordinary convolution with explicit padding and four times
the channels, a group for each phase of the output; the values of groups are interleaved::

    out[o] = sum_i x[i] w[o + p - 2 i]         (an axis; kernel 2 p + 1, padding p)
    o + p = 2 q + r, 0 <= r < 2   =>   out[o] = sum_j x[q - j] w[2 j + r],   0 <= j <= p

Products and partial sums, in any order, are integers below 2^51 (`require_bounded_sums`), so
float64 holds them exactly on any device; `require_exact` detects faulty libraries.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import half_kernel
from baselines.neural.entropy.hyperprior import LatentNetwork
from baselines.neural.entropy.integer.grid import (
    ACTIVATION_LIMIT,
    NUM_SCALES,
    OUTPUT_FRACTION,
    OUTPUT_LIMIT,
    OutputGrid,
    WeightLimit,
    integer_weights,
    power_of_two,
    requantise,
    round_to_coarser_grid,
)
from baselines.neural.network import cudnn_flags
from benchmark.errors import Unavailable

Layer = nn.Conv2d | nn.ConvTranspose2d
FLOAT64_BOUND = 2.0**51  # two bits less than 2^53, for the bias and the half added in rounding
# Convolutions to test (inputs, kernel, outputs, height = width): with sums beyond 2^24, with sizes
# that are not multiples of eight, and with a single position.
CASES = ((320, 5, 16, 6), (64, 3, 24, 11), (21, 3, 13, 9), (5, 1, 3, 1))
MAX_MEDIAN = 1e6  # far beyond the range of z, -8127..8127
MAX_FRACTION = OUTPUT_FRACTION
FRACTION_PREFIX = "fraction."  # of tables with fractional bits
HEADROOM = 2.0  # factor by which activations may exceed those in the calibration


def exact_sums(activations: Tensor, weight: Tensor) -> Tensor:
    """Convolve int16 (N, H, W, in) with int16 (out, in, k, k): float64 (N, rows, cols, out)."""
    channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
    # cuDNN may use Fourier transforms, which are not exact.
    with cudnn_flags(enabled=False):
        return functional.conv2d(channels_first, weight.double()).permute(0, 2, 3, 1)


@cache
def require_exact(device: torch.device) -> None:
    """Raise `Unavailable` unless a device's sums equal int64 sums, even for extreme values."""
    generator = np.random.default_rng(0)

    def random_integers(limit: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
        values = generator.integers(-limit, limit + 1, shape)
        extremes = limit - generator.integers(0, 2, shape)
        values[0::4], values[1::4] = extremes[0::4], -extremes[1::4]
        return values.astype(np.int16)

    for inputs, side, outputs, size in CASES:
        weight = random_integers(WeightLimit.FINE, (outputs, inputs, side, side))
        activations = random_integers(ACTIVATION_LIMIT, (4, size, size, inputs))
        sums = exact_sums(
            torch.from_numpy(activations).to(device), torch.from_numpy(weight).to(device)
        )
        if not np.array_equal(sums.cpu().numpy(), integer_sums(weight, activations)):
            raise Unavailable(f"float64 convolutions are not exact on {device}: use the device cpu")


def integer_sums(weight: NDArray[np.int16], activations: NDArray[np.int16]) -> NDArray[np.int64]:
    """Convolve like `exact_sums`, but in NumPy's int64, tap by tap."""
    side = weight.shape[2]
    rows, columns = (length - side + 1 for length in activations.shape[1:3])
    sums = np.zeros((len(activations), rows, columns, len(weight)), np.int64)
    for y in range(side):
        for x in range(side):
            window = activations[:, y : y + rows, x : x + columns]
            sums += window.astype(np.int64) @ weight[:, :, y, x].T.astype(np.int64)
    return sums


class BoundExceeded(ValueError):  # noqa: N818
    """Weights are too large for exact sums: the layer cannot run in integers."""


def require_bounded_sums(weight: Tensor, bias: Tensor, shift: Tensor, name: str) -> None:
    """Raise `BoundExceeded` unless the layer is computed exactly for all inputs.

    weight: integers (out, in, kernel height, kernel width). bias: float64 integers (out,). shift:
    int64 (out,), the number of bits removed by requantisation.
    """
    magnitudes = weight.flatten(1).abs().to(torch.int64).sum(dim=1)
    sums = magnitudes.double() * ACTIVATION_LIMIT + bias.abs()
    max_sum = float(torch.maximum(sums, sums * power_of_two(-shift)).max())
    if not max_sum < FLOAT64_BOUND:
        raise BoundExceeded(
            f"{name}: a sum may reach {max_sum:.3g}, beyond 2^51: weights or bias are too large"
        )


class IntegerConvolution:
    """Convolution of integers with bias, optional ReLU, and rounding to the output's grid.

    fractional_bits: of input and output. The output, int16 or int32, is clipped to -limit..limit,
    or 0..limit after a ReLU. Raises `BoundExceeded`, and the errors of `half_kernel`.
    """

    def __init__(
        self,
        layer: Layer,
        fractional_bits: tuple[int, int],
        limit: int = ACTIVATION_LIMIT,
        *,
        relu: bool,
        weight_limit: WeightLimit,
        device: torch.device,
        name: str,
    ) -> None:
        in_bits, out_bits = fractional_bits
        self.transposed, half_width = isinstance(layer, nn.ConvTranspose2d), half_kernel(layer)
        # Number of zeros around the input, and of outputs to drop at the start
        self.padding, self.skip = (
            ((half_width + 1) // 2, half_width % 2) if self.transposed else (half_width, 0)
        )
        integers = integer_weights(
            layer.weight,
            layer.bias,
            out_dim=int(self.transposed),
            in_fraction=in_bits,
            weight_limit=weight_limit,
        )
        weight, phases = integers.weight, 1
        if self.transposed:
            weight, phases = phase_weights(integers.weight), 4
        bias = integers.bias.repeat(phases)
        shift = (integers.scale + (in_bits - out_bits)).repeat(phases)
        require_bounded_sums(weight, bias, shift, name)
        lowest = 0 if relu else -limit
        dtype = torch.int16 if limit <= torch.iinfo(torch.int16).max else torch.int32
        factor = power_of_two(-shift).to(device)
        self.grid = OutputGrid(bias.to(device), factor, lowest, limit, dtype)
        # int16 until they are used, since float64 needs four times the memory
        self.weight = weight.contiguous().to(device)

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in) within the limit to (N, H, W, out), or (N, 2 H, 2 W, out)."""
        padded = functional.pad(activations, (0, 0, *(self.padding,) * 4))
        values = requantise(exact_sums(padded, self.weight), self.grid)
        if not self.transposed:
            return values
        rows, columns = (slice(self.skip, self.skip + 2 * n) for n in activations.shape[1:3])
        interleaved_values = (
            values.view(*values.shape[:3], 2, 2, -1).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        )
        return interleaved_values[:, rows, columns]


def phase_weights(weight: Tensor) -> Tensor:
    """Reorder a transposed layer's weight (in, out, k, k) to (4 * out, in, taps, taps)."""
    inputs, outputs, side, _ = weight.shape
    taps = (side + 1) // 2
    padded = functional.pad(weight, (0, 1, 0, 1))
    by_phase = padded.view(inputs, outputs, taps, 2, taps, 2).flip(2, 4)
    return by_phase.permute(3, 5, 1, 0, 2, 4).reshape(-1, inputs, taps, taps)


class IntegerSequence:
    """`nn.Sequential(convolution, ReLU, convolution, ...)`, computed exactly in integers."""

    # fractional_bits: of the input, then of each convolution's output; options: for each layer

    def __init__(
        self,
        modules: nn.Module,
        fractional_bits: Sequence[int],
        *,
        name: str,
        output_limit: int = ACTIVATION_LIMIT,
        **options: Any,
    ) -> None:
        layers = list(convolutions(modules, name))
        limits = [ACTIVATION_LIMIT] * (len(layers) - 1) + [output_limit]
        formats = zip(layers, pairwise(fractional_bits), limits, strict=True)
        self.layers = [
            IntegerConvolution(layer, bits, limit, relu=relu, name=f"{name}.{i}", **options)
            for i, ((layer, relu), bits, limit) in enumerate(formats)
        ]

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within ACTIVATION_LIMIT, to (N, H', W', out)."""
        for layer in self.layers:
            activations = layer(activations)
        return activations


def convolutions(modules: nn.Module, name: str) -> Iterator[tuple[Layer, bool]]:
    """Yield each convolution and whether a ReLU follows; `ValueError` for other modules."""
    children = [None, *modules.children(), None]
    for previous, module, following in zip(children, children[1:], children[2:], strict=False):
        if isinstance(module, Layer):
            yield module, isinstance(following, nn.ReLU)
        elif not (isinstance(module, nn.ReLU) and isinstance(previous, Layer)):
            raise ValueError(f"{name}: {module} cannot run in integers")


def activation_names(model: LatentNetwork) -> list[str]:
    """Return the names of all activations: z, hidden layers (hyper.mean.0, ...), slice inputs."""
    names = ["z"]
    for branch, modules in model.entropy_branches().items():
        num_hidden = len(list(convolutions(modules, branch))) - 1
        names += [f"{branch}.{i}" for i in range(num_hidden)]
    return [*names, *model.entropy_supports()]


def fractional_bit_tables(fractional_bits: Mapping[str, int]) -> dict[str, Tensor]:
    """Convert fractional bits to int8 entries of a checkpoint: fraction.z, ..."""
    return {
        f"{FRACTION_PREFIX}{name}": torch.tensor(value, dtype=torch.int8)
        for name, value in fractional_bits.items()
    }


def _read_fractional_bits(tables: Mapping[str, Tensor], model: LatentNetwork) -> dict[str, int]:
    fractions = {
        name.removeprefix(FRACTION_PREFIX): int(table)
        for name, table in tables.items()
        if name.startswith(FRACTION_PREFIX)
    }
    differing_names = sorted(set(fractions) ^ set(activation_names(model)))
    if differing_names:
        raise ValueError(
            f"the fractional bits do not fit the model: {', '.join(differing_names[:5])}"
        )
    for name, fraction in fractions.items():
        if not 0 <= fraction <= MAX_FRACTION:
            raise ValueError(f"{name} has {fraction} fractional bits, not 0..{MAX_FRACTION}")
    return fractions


@torch.no_grad()
def calibrate(model: LatentNetwork, latents: Iterable[Tensor]) -> dict[str, int]:
    """Return the fractional bits of each activation that minimise the squared error.

    latents: y (N, M, h, w). Errors are those of rounding values, and of clipping HEADROOM * values.
    """
    errors = {name: torch.zeros(MAX_FRACTION + 1).double() for name in activation_names(model)}

    def add_errors(name: str, values: Tensor) -> None:
        exact = values.detach().double()
        for fraction in range(MAX_FRACTION + 1):
            step = 2.0**-fraction
            clipping_error = (
                (exact.abs() * HEADROOM - ACTIVATION_LIMIT * step).clamp(min=0).square().sum()
            )
            errors[name][fraction] += float(clipping_error) + exact.numel() * step**2 / 12

    def add_hook(name: str, layer: nn.Module, relu: bool) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_hook(
            lambda _module, _inputs, output: add_errors(name, output.relu() if relu else output)
        )

    hooks = [
        add_hook(f"{branch}.{i}", layer, relu)
        for branch, modules in model.entropy_branches().items()
        for i, (layer, relu) in enumerate(convolutions(modules, branch))
        if f"{branch}.{i}" in errors
    ]
    try:
        for latent in latents:
            model.visit_activations(latent, add_errors)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: int(sums.argmin()) for name, sums in errors.items()}


class BranchFormat(NamedTuple):
    """Number formats at both ends of a branch."""

    input_activation: str  # key in the fractional bits
    output_bits: int  # fractional bits of the output
    weight_limit: WeightLimit
    limit: int = OUTPUT_LIMIT  # maximum magnitude of the output


class PieceParameters(NamedTuple):
    """Distributions of a piece's symbols; both tensors have the shape of the symbols."""

    indices: Tensor  # int32, rows of the table `cdf`
    means: Tensor  # int32, on the grid 2^-12


# Generator that yields each piece's parameters, receives the piece's symbols, and returns y, int32
# (N, M, h, w) on the grid 2^-12, which is exact in float32.
Decoding = Generator[PieceParameters, Tensor, Tensor]


class IntegerPath:
    """A checkpoint's entropy model in integers on a device; subclasses define branches and pieces.

    Raises `ValueError` if tables belong to another model, `BoundExceeded` if weights may give an
    inexact sum, `Unavailable` if the device's sums are not exact.
    """

    num_thresholds: ClassVar[int] = NUM_SCALES - 1  # thresholds between scales
    num_rows: int = NUM_SCALES  # number of distributions of y's symbols

    def __init__(
        self,
        model: LatentNetwork,
        tables: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.fractional_bits = bits = _read_fractional_bits(tables, model)
        self._thresholds = self._read_table(tables, "thresholds", self.num_thresholds)
        medians = model.prior.medians().detach().to("cpu", torch.float64)
        if not (medians.abs() < MAX_MEDIAN).all():
            raise ValueError(f"a median of z is not a number below {MAX_MEDIAN:g}")
        self.medians = torch.round(medians * 2.0 ** bits["z"]).to(self.device, torch.int64)
        self._prepare(model, tables)
        require_exact(self.device)
        self.branches = {
            name: self._make_branch(name, modules)
            for name, modules in model.entropy_branches().items()
        }

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        """Set a subclass's attributes before branches are made."""

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        raise NotImplementedError

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Split y (N, M, h, w) into pieces, which have the shape of their symbols."""
        return [latents]

    def _branch_format(self, name: str) -> BranchFormat:
        raise NotImplementedError

    def _make_branch(self, name: str, modules: nn.Module) -> IntegerSequence:
        num_hidden = len(list(convolutions(modules, name))) - 1
        branch_format, bits = self._branch_format(name), self.fractional_bits
        return IntegerSequence(
            modules,
            [
                bits[branch_format.input_activation],
                *(bits[f"{name}.{i}"] for i in range(num_hidden)),
                branch_format.output_bits,
            ],
            name=name,
            output_limit=branch_format.limit,
            weight_limit=branch_format.weight_limit,
            device=self.device,
        )

    def _read_table(self, tables: Mapping[str, Tensor], name: str, size: int) -> Tensor:
        table = tables.get(name)
        if table is None or table.shape != (size,):
            raise ValueError(f"the checkpoint has no table {name} of {size} entries")
        return table.to(self.device)

    def hyper_activations(self, z_symbols: Tensor) -> Tensor:
        """Convert z's symbols (N, Z, h / 4, w / 4) to activations, int16 channels last."""
        symbols = z_symbols.to(self.device, torch.int64).permute(0, 2, 3, 1)
        limit = ACTIVATION_LIMIT >> self.fractional_bits["z"]
        z = (symbols.clamp(-limit, limit) << self.fractional_bits["z"]) + self.medians
        return z.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).to(torch.int16)

    def scale_index(self, scales: Tensor) -> Tensor:
        """Return the number of thresholds below each of `scales`, int32 on the grid 2^-12."""
        return torch.bucketize(scales.contiguous(), self._thresholds, out_int32=True)

    def quantise_activation(self, values: Tensor, activation: str) -> Tensor:
        """Convert y, int32 on the grid 2^-12, to the grid of `activation`, int16 of y's shape."""
        bits = OUTPUT_FRACTION - self.fractional_bits[activation]
        return round_to_coarser_grid(values, bits, ACTIVATION_LIMIT)


def round_to_symbols(latents: Tensor, means: Tensor) -> Tensor:
    """Round latents minus means to the symbols to code, int32 of the same shape."""
    max_symbol = (OUTPUT_LIMIT >> OUTPUT_FRACTION) - 1
    symbols = torch.round(latents - convert_to_float(means.to(latents.device)))
    return symbols.clamp(-max_symbol, max_symbol).to(torch.int32)


def values_from_symbols(symbols: Tensor, means: Tensor) -> Tensor:
    """Return y = symbols + means, int32 on the grid 2^-12; symbols: integers of the same shape."""
    return clip_values((symbols.to(means.device, torch.int64) << OUTPUT_FRACTION) + means)


def clip_values(values: Tensor) -> Tensor:
    """Clip integers on the grid 2^-12 to y's range, as int32."""
    return values.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT).to(torch.int32)


def convert_to_float(integers: Tensor) -> Tensor:
    """Convert integers on the grid 2^-12 to float32, exactly."""
    return integers.float() * 2.0**-OUTPUT_FRACTION


def run_decoding(steps: Decoding, symbols_of_piece: Callable[[PieceParameters], Tensor]) -> Tensor:
    """Run a decoding and return y; symbols_of_piece maps parameters of a piece to symbols."""
    parameters = next(steps)
    while True:
        try:
            parameters = steps.send(symbols_of_piece(parameters))
        except StopIteration as end:
            return end.value


def channels_first(values: Tensor) -> Tensor:
    """Convert (N, h, w, C) to contiguous (N, C, h, w)."""
    return values.permute(0, 3, 1, 2).contiguous()
