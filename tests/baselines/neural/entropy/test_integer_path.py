"""The integer network: its grids and tables in exact arithmetic, the float model's numbers."""

import copy
import hashlib
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import nn
from torch.nn import functional

from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy import hyperprior_coder
from baselines.neural.entropy.integer import grid, integer_path
from baselines.neural.entropy.integer.grid import ACTIVATION_LIMIT, CDF_BITS, WeightLimit
from baselines.neural.entropy.integer.integer_path import activation_names, round_to_symbols
from support.networks.drawn import by_slice
from support.networks.integer_network import default_fractional_bits, latents, network
from support.networks.tiny_checkpoint import TINY

SIZES = {
    "tiny": TINY,
    "no support": replace(TINY, support_slices=0),
    "one slice": replace(TINY, slices=(12,), support_slices=1),
}
each_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
# Digest of everything that `make_tables` returns: another one means other streams.
SHA256 = "4e378a307715012742422eed2673bee6e414224c6d492ebb3fcfc977babf27f6"


@pytest.fixture(scope="module")
def tables():
    return grid.make_tables()


def test_the_tables_are_the_ones_that_streams_are_made_with_rounded_by_ratio():
    grid.make_tables()["thresholds"].zero_()  # which changes no later ones
    together = hashlib.sha256()
    for name, table in sorted(grid.make_tables().items()):
        together.update(f"{name} {table.dtype} {tuple(table.shape)}".encode())
        together.update(table.numpy().tobytes())
    assert together.hexdigest() == SHA256
    masses = np.repeat([2.49, 10.4], [1000, 6062]) / 2**CDF_BITS
    counts = grid.frequencies(masses / masses.sum())
    assert counts.sum() == 2**CDF_BITS
    assert set(counts[:1000].tolist()) == {3}
    assert set(counts[1000:].tolist()) == {10, 11}


def test_half_tanh_scales_and_frequencies_are_those_of_exact_functions(tables):
    columns = (tables[name].numpy() for name in ("cdf", "cdf_length", "cdf_offset"))
    for scale, row, num_entries, first in zip(SCALES, *columns, strict=True):
        offset, frequencies = int(first), np.diff(row[:num_entries])  # the last is the escape's
        values = np.arange(offset, -offset + 1)
        lower_tail = ndtr((-0.5 - abs(values)) / scale)
        mass = np.append(ndtr((0.5 - abs(values)) / scale) - lower_tail, 2 * lower_tail[0])
        mass[: len(values)] = np.where(values == 0, 1 - 2 * lower_tail[-offset], mass[:-1])
        assert np.abs(frequencies[:-1] - frequencies[:-1][::-1]).max() <= 1
        # Rounding to 16 bits and the least frequency of one cost this much, and no more.
        is_possible = mass > 0
        entropy = -(mass[is_possible] * np.log2(mass[is_possible])).sum()
        length = -(mass * np.log2(frequencies / 2**CDF_BITS)).sum()
        assert 0 <= length - entropy <= 1.5 * ((mass * 2**CDF_BITS < 1).sum() + 1) / 2**CDF_BITS
    arguments = torch.arange(-4095, 4096, dtype=torch.int16)
    result = grid.half_tanh(arguments, tables["half_tanh"]).numpy()
    assert np.abs(result - 0.5 * np.tanh(arguments.numpy() / 512.0) * 4096).max() <= 0.5 + 1e-9
    assert (result == -result[::-1]).all()
    scales = torch.arange(-5000, 300 * 4096, 7, dtype=torch.int32)
    scales[-3:] = torch.tensor([2**23 - 1, 1 - 2**23, 0])
    result = torch.bucketize(scales, tables["thresholds"]).numpy()
    logarithm = np.log(np.maximum(scales.numpy() / 4096, 1e-3))
    distance = np.abs(logarithm[:, None] - np.log(SCALES)[None])
    assert (np.abs(distance[np.arange(len(result)), result] - distance.min(axis=1)) < 1e-12).all()
    assert (result[scales.numpy() <= 0] == 0).all()
    assert result.max() == 63


def exactly_rounded(value: float, exponent: int) -> int:
    return round(Fraction(value) * Fraction(2) ** exponent)


@pytest.mark.parametrize("weight_limit", WeightLimit)
def test_weights_and_biases_are_rounded_as_rational_arithmetic_rounds_them(weight_limit):
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 3) * torch.logspace(-6, 4, 6).view(6, 1, 1, 1)
    weight[2] = torch.tensor(0.5) * torch.arange(-22, 23).view(5, 3, 3)  # many halves
    bias = torch.randn(6)
    layer = grid.integer_weights(weight, bias, out_dim=0, in_fraction=7, weight_limit=weight_limit)
    for channel in range(6):
        scale = int(layer.scale[channel])
        expected = [exactly_rounded(w, scale) for w in weight[channel].flatten().tolist()]
        assert layer.weight[channel].flatten().tolist() == expected
        assert layer.bias[channel] == exactly_rounded(bias[channel].item(), scale + 7)


@pytest.mark.parametrize("weight_limit", WeightLimit)
def test_every_channel_has_the_finest_grid_that_its_largest_weight_allows(weight_limit):
    largest = torch.tensor([1.0, 0.99, 127 / 128, 0.9921, 0.7, 2.0**-11, 3e5, 0.0, 1e-44, 1e-30])
    options = {"out_dim": 0, "in_fraction": 0, "weight_limit": weight_limit}
    layer = grid.integer_weights(-largest.view(-1, 1), None, **options)
    for value, scale in zip(largest[:-3].tolist(), layer.scale[:-3].tolist(), strict=True):
        assert exactly_rounded(value, scale) <= weight_limit < exactly_rounded(value, scale + 1)
    assert layer.weight[-3:].flatten().tolist() == [0, 0, 0], "next to nothing"
    assert layer.scale[-3:].tolist() == [grid.MAX_SCALE] * 3


def test_powers_of_two_are_exact_and_sums_rounded_to_the_nearest_a_half_upwards():
    exponents = range(-1022, 1024)
    powers = grid.power_of_two(torch.tensor(exponents))
    assert [Fraction(power) for power in powers.tolist()] == [Fraction(2) ** e for e in exponents]
    half = Fraction(1, 2)
    for shift in (-3, 0, 1, 2, 13, 30):
        generator = torch.Generator().manual_seed(shift + 3)
        sums = torch.randint(-(2**44), 2**44, (4000,), generator=generator)
        sums[:2000] = torch.arange(-1000, 1000)
        factor, bias = grid.power_of_two(torch.tensor(-shift)), torch.tensor(3.0).double()
        output_grid = grid.OutputGrid(bias, factor, -(2**50), 2**50, torch.int64)
        expected = [floor(Fraction(s + 3) / Fraction(2) ** shift + half) for s in sums.tolist()]
        assert grid.requantise(sums.double(), output_grid).tolist() == expected
    values = torch.arange(-9000, 9000, dtype=torch.int32)
    for bits in (0, 1, 5, 12):  # to a coarser grid
        expected = [floor(Fraction(value, 2**bits) + half) for value in values.tolist()]
        clipped = [max(-100, min(100, value)) for value in expected]
        assert grid.round_to_coarser_grid(values, bits, 100).tolist() == clipped


CPU = torch.device("cpu")
IN_FRACTION, OUT_FRACTION = 7, 6
LAYERS = [
    convolution(8, 16, 5), convolution(5, 3, 3), convolution(24, 8, 1),
    nn.Conv2d(16, 8, 9, padding=4, bias=False),
    *(upsampling(8, 6, kernel) for kernel in (1, 3, 5, 7, 9)),
]  # fmt: skip
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)


def convolve_integers(layer: nn.Module, weight_limit=WeightLimit.FINE, relu=False):
    options = {"relu": relu, "weight_limit": weight_limit, "device": CPU, "name": "layer"}
    return integer_path.IntegerConvolution(layer, (IN_FRACTION, OUT_FRACTION), **options)


def expected_output(layer: nn.Module, activations: torch.Tensor, weight_limit: WeightLimit):
    """torch's own layer on int64 weights and activations, then rounding and clipping."""
    transposed = isinstance(layer, nn.ConvTranspose2d)
    options = {"in_fraction": IN_FRACTION, "weight_limit": weight_limit}
    options["out_dim"] = 1 if transposed else 0
    integer_layer = grid.integer_weights(layer.weight, layer.bias, **options)
    inputs, weight = activations.long().permute(0, 3, 1, 2), integer_layer.weight.long()
    if transposed:
        # In float64, which holds these sums exactly: torch's transposed convolution needs floats.
        inputs, weight = inputs.double(), weight.double()
        sums = functional.conv_transpose2d(inputs, weight, None, 2, layer.padding, 1).long()
    else:
        sums = functional.conv2d(inputs, weight, padding=layer.padding)
    sums += integer_layer.bias.long().view(-1, 1, 1)
    shift = (integer_layer.scale + IN_FRACTION - OUT_FRACTION).view(-1, 1, 1)
    assert shift.min() > 0
    rounded = (sums + (1 << shift >> 1)) >> shift
    return rounded.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).permute(0, 2, 3, 1)


def extreme(shape: tuple[int, ...], limit: int, seed: int) -> torch.Tensor:
    """A third of the numbers at either end of the range, the others anywhere in it."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-limit, limit + 1, shape, generator=generator)
    ends = torch.randint(-1, 2, shape, generator=generator)
    return torch.where(ends == 0, values, ends * limit).to(torch.int16)


@each_layer
@pytest.mark.parametrize("weight_limit", WeightLimit)
@pytest.mark.parametrize("size", [(1, 1), (6, 9)])
def test_a_layer_gives_what_torch_gives_in_64_bit_integers(layer, weight_limit, size):
    activations = extreme((3, *size, layer.in_channels), ACTIVATION_LIMIT, 1)
    expected = expected_output(layer, activations, weight_limit)
    assert torch.equal(convolve_integers(layer, weight_limit)(activations).long(), expected)


def test_a_relu_cuts_what_is_below_zero_and_nothing_else():
    activations = extreme((1, 6, 9, 8), ACTIVATION_LIMIT, 3)
    plain = convolve_integers(LAYERS[0])(activations)
    assert plain.min() < 0
    assert torch.equal(convolve_integers(LAYERS[0], relu=True)(activations), plain.clamp(min=0))


@pytest.mark.parametrize(("bias", "shift"), [(2.0**52, 10), (2.0**40, -12), (0.0, -40)])
def test_a_sum_that_float64_might_not_hold_is_refused_by_name(bias, shift):
    weight = torch.full((1, 1, 1, 1000), 8127, dtype=torch.int16)
    biases = torch.tensor([bias]).double()
    with pytest.raises(integer_path.BoundExceeded, match=r"scale\.0\.0"):
        integer_path.require_bounded_sums(weight, biases, torch.tensor([shift]), "scale.0.0")


@pytest.mark.parametrize("modules", [
    nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1)),
    nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.ReLU()),
    nn.Sequential(nn.Conv2d(2, 2, 1), nn.Sigmoid()),
])  # fmt: skip
def test_modules_that_are_neither_convolution_nor_its_relu_are_refused(modules):
    options = {"weight_limit": WeightLimit.FINE, "device": CPU, "name": "mean.0"}
    with pytest.raises(ValueError, match=r"(?=.*mean\.0).*(ReLU|Sigmoid)"):
        integer_path.IntegerSequence(modules, (7, 7), **options)


def path_of(model, tables, fractional_bits=None):
    """Return the path of a checkpoint that holds these tables and fractional bits."""
    bits = fractional_bits or default_fractional_bits(model)
    stored_tables = {**tables, **integer_path.fractional_bit_tables(bits)}
    return hyperprior_coder.EntropyPath(model, stored_tables)


def z_symbols(count: int, sizes=TINY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(-9, 10, (count, sizes.hyper_latent, 2, 3), generator=generator)


def run(path, hyper, symbols_by_means):
    rows = []

    def symbols_of_piece(parameters):
        rows.append((symbols_by_means(parameters.means), *parameters))
        return rows[-1][0]

    latents = integer_path.run_decoding(path.decoding(hyper), symbols_of_piece)
    return [*(torch.cat(parts, dim=1).long() for parts in zip(*rows, strict=True)), latents.long()]


def decode(path, hyper, symbols):
    parts = iter(symbols.split(path.widths, dim=1))
    return run(path, hyper, lambda _means: next(parts))[1:]


@each_size
def test_the_integers_approach_the_float_model_digit_by_digit(sizes, tables, monkeypatch):
    """Two more binary digits of every activation leave about a quarter of the error."""
    fine = dict.fromkeys(hyperprior_coder.WEIGHT_LIMITS, WeightLimit.FINE)
    monkeypatch.setattr(hyperprior_coder, "WEIGHT_LIMITS", fine)
    model = network(sizes)
    symbols = latents(2, sizes).div(4).round().long()
    expected = float_model(model, z_symbols(2, sizes), symbols)
    errors = []
    for digits in (2, 4, 6):
        fractional_bits = {name: digits + i % 2 for i, name in enumerate(activation_names(model))}
        path = path_of(model, tables, fractional_bits)
        result = means_scales_decoded(path, z_symbols(2, sizes), symbols, monkeypatch)
        floats = map(integer_path.convert_to_float, result)
        errors.append([rms(a - b) for a, b in zip(floats, expected, strict=True)])
    for coarse, fine in pairwise(errors):
        assert all(2.5 < c / f < 6 for c, f in zip(coarse, fine, strict=True))
    assert all(e < 0.03 * rms(exact) for e, exact in zip(errors[-1], expected, strict=True))


def rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def means_scales_decoded(path, hyper, symbols, monkeypatch):
    """Return all three as integers on the grid 2^-12; a patch records the scales."""
    scales = []
    index = path.scale_index

    def record(results):
        scales.append(results.permute(0, 3, 1, 2))
        return index(results)

    with monkeypatch.context() as patch:
        patch.setattr(path, "scale_index", record)
        _, means, decoded = decode(path, hyper, symbols)
    return means, torch.cat(scales, dim=1), decoded


def float_model(model: CRDRNetwork, hyper: torch.Tensor, symbols: torch.Tensor):
    double = copy.deepcopy(model).double()
    parts = symbols.double().split(double.sizes.slices or double.sizes.latent, dim=1)
    with torch.no_grad():
        supports = double.hyper_synthesis(hyper.double() + double.prior.medians()[:, None, None])
        parameters, decoded = by_slice(double, supports, lambda i, mean: mean + parts[i])
    means, scales = (torch.cat(slices, dim=1) for slices in zip(*parameters, strict=True))
    return means, scales, decoded


@each_size
def test_calibrated_fractional_bits_leave_room_and_do_not_waste_it(sizes):
    model = network(sizes)
    values = [latents(2, sizes), latents(1, sizes, seed=3) * 1.5]
    maxima: dict[str, float] = {}

    def record(name, tensor):
        maxima[name] = max(maxima.get(name, 0.0), float(tensor.abs().max()))

    with torch.no_grad():
        model.hyper_synthesis.scale[0].bias[0] = -1e4  # clipped by the ReLU after it
        for value in values:
            rounded = model.prior.rounded(model.hyper_analyse(value))
            record("z", rounded)
            record("hyper.scale.0", model.hyper_synthesis.scale[:2](rounded))
            record("hyper.mean.1", model.hyper_synthesis.mean[:4](rounded))
            mean, scale = model.hyper_synthesis(rounded)
            record("mean.0.0", model.context.mean[0][:2](mean))
            record("support.scale", scale)
            if sizes.support_slices:
                record("support.scale", value[:, : sum(sizes.slices[: sizes.support_slices])])
            record("support.mean", mean)
            record("support.mean", value)  # as decoded, nearly
    state_before = {name: value.clone() for name, value in model.state_dict().items()}
    result = integer_path.calibrate(model, values)
    assert all(torch.equal(state_before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert set(result) == set(activation_names(model))
    for name, max_value in maxima.items():
        reach = ACTIVATION_LIMIT / 2 ** result[name]
        assert max_value < reach
        assert result[name] == integer_path.MAX_FRACTION or reach < 4 * max_value * 1.1


@pytest.mark.parametrize(("largest", "fraction"), [(1016, 2), (1017, 1), (2032, 1), (2033, 0)])
def test_a_fraction_balances_rounding_with_clipping_what_is_twice_as_large(largest, fraction):
    """A channel of six holds `largest`, the others zero; n values in steps s err by n s^2 / 12.

    At the fraction 2 activations end at 8127 / 4 = 2031.75: clipping 2 x 1016 costs .0625 a
    position and rounding 6 / 12 / 16, together less than the 6 / 12 / 4 of the fraction 1. At twice
    1017 the clipping alone costs 5.06.
    """
    model = network()
    with torch.no_grad():
        model.prior.quantiles.zero_()
        last = model.hyper_analysis[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([largest, 0, 0, 0, 0, 0]))
    assert integer_path.calibrate(model, [latents(1)])["z"] == fraction


def test_an_encoder_sends_the_rounded_difference_within_what_can_be_decoded():
    values = torch.tensor([1.4, -7.6, 1e9, -1e9])
    means = torch.tensor([4096, 2048, 0, 0], dtype=torch.int32)
    assert round_to_symbols(values, means).tolist() == [0, -8, 2046, -2046]


def test_fractional_bits_tables_or_medians_that_do_not_fit_are_refused(tables):
    model = network()
    fractional_bits = default_fractional_bits(model)
    for wrong, message in (
        ({**fractional_bits, "mean.9.0": 7}, "mean.9.0"),
        ({name: 7 for name in fractional_bits if name != "z"}, r"\bz\b"),
        ({**fractional_bits, "z": 13}, r"(?=.*\bz\b).* 13\b"),
        ({**fractional_bits, "z": -1}, r"(?=.*\bz\b).* -1\b"),
    ):
        with pytest.raises(ValueError, match=message):
            path_of(model, tables, wrong)
    for name in ("thresholds", "half_tanh"):
        without = {key: table for key, table in tables.items() if key != name}
        for wrong_tables in (without, {**tables, name: tables[name][1:]}):
            with pytest.raises(ValueError, match=rf"\b{name}\b"):
                path_of(model, wrong_tables)
    for median in (float("nan"), float("inf"), -1e30):
        with torch.no_grad():
            model.prior.quantiles[2, 1] = median
        with pytest.raises(ValueError, match="median"):
            path_of(model, tables)


@each_size
def test_a_decoder_has_the_numbers_of_the_encoder(sizes, tables):
    path = path_of(network(sizes), tables)
    parts = iter(latents(2, sizes).split(path.widths, dim=1))
    hyper = z_symbols(2, sizes)
    symbols, *expected = run(path, hyper, lambda means: round_to_symbols(next(parts), means))
    assert len(expected[0].unique()) > 20
    assert all(map(torch.equal, decode(path, hyper, symbols), expected))


@pytest.mark.parametrize("symbol", [2**31 - 1, -(2**31), 5000])
def test_symbols_of_any_size_stay_within_the_bounds(symbol, tables):
    hyper = torch.full((1, TINY.hyper_latent, 2, 3), symbol)
    result = decode(path_of(network(), tables), hyper, torch.full((1, TINY.latent, 8, 12), symbol))
    assert result[2].abs().max() == 2**23 - 1


# For the weights, symbols and fractional bits below: another digest means other streams.
RESULT_SHA256 = "43335d04ffeb32be8e346b051323a8f3364a1d3a64c28c190737dce54c5ba526"


def test_what_a_stream_decodes_to_never_changes(tables):
    """Weights from NumPy's generator, whose numbers stay the same from version to version."""
    random = np.random.default_rng(0)
    model = CRDRNetwork(TINY)
    with torch.no_grad():
        for parameter in (*model.hyper_synthesis.parameters(), *model.context.parameters()):
            spread = 2 / np.sqrt(np.prod(parameter.shape[1:]))
            parameter.copy_(torch.from_numpy(random.normal(0, spread, parameter.shape)))
        model.prior.quantiles.copy_(torch.from_numpy(random.normal(0, 3, (6, 3))))
    hyper = torch.from_numpy(random.integers(-30, 31, (1, 6, 2, 3)))
    symbols = torch.from_numpy(random.integers(-40, 41, (1, 12, 8, 12)))
    fractional_bits = {name: 4 + i % 9 for i, name in enumerate(activation_names(model))}
    result = decode(path_of(model, tables, fractional_bits), hyper, symbols)
    together = b"".join(part.numpy().astype("<i8").tobytes() for part in result)
    assert len(result[0].unique()) > 20
    assert hashlib.sha256(together).hexdigest() == RESULT_SHA256
