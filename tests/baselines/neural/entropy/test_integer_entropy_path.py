"""The integer network: the float model's numbers up to its grids, the same bits everywhere."""

import copy
import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy import hyperprior_coder as entropy_path_module
from baselines.neural.entropy.integer.grid import ACTIVATION_LIMIT, WeightLimit, make_tables
from baselines.neural.entropy.integer.integer_path import (
    MAX_FRACTION,
    activation_names,
    calibrate,
    convert_to_float,
    round_to_symbols,
)
from support.networks.drawn import by_slice
from support.networks.integer_network import (
    SIZES,
    decode,
    default_fractional_bits,
    encode,
    latents,
    network,
    path_of,
    same,
    z_symbols,
)
from support.networks.tiny_checkpoint import TINY

each_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())


@pytest.fixture(scope="module")
def tables():
    return make_tables()


@each_size
def test_the_integers_approach_the_float_model_digit_by_digit(sizes, tables, monkeypatch):
    """Two more binary digits of every activation leave about a quarter of the error."""
    monkeypatch.setattr(
        entropy_path_module,
        "WEIGHT_LIMITS",
        dict.fromkeys(entropy_path_module.WEIGHT_LIMITS, WeightLimit.FINE),
    )
    model = network(sizes)
    symbols = latents(2, sizes).div(4).round().long()
    expected = float_model(model, z_symbols(2, sizes), symbols)
    errors = []
    for digits in (2, 4, 6):
        fractional_bits = {name: digits + i % 2 for i, name in enumerate(activation_names(model))}
        path = path_of(model, tables, fractional_bits)
        result = means_scales_decoded(path, z_symbols(2, sizes), symbols, monkeypatch)
        pairs = zip(result, expected, strict=True)
        errors.append([rms(convert_to_float(values) - exact) for values, exact in pairs])
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
    """Means, scales and decoded latents for given symbols, in float64."""
    double = copy.deepcopy(model).double()
    parts = symbols.double().split(double.sizes.slices or double.sizes.latent, dim=1)
    with torch.no_grad():
        rounded = hyper.double() + double.prior.medians()[:, None, None]
        supports = double.hyper_synthesis(rounded)
        parameters, decoded = by_slice(double, supports, lambda i, mean: mean + parts[i])
    means, scales = (torch.cat(slices, dim=1) for slices in zip(*parameters, strict=True))
    return means, scales, decoded


@each_size
def test_calibrated_fractional_bits_leave_room_and_do_not_waste_it(sizes):
    """All activations are within the range, and at most two binary digits stay unused."""
    model = network(sizes)
    with torch.no_grad():
        model.hyper_synthesis.scale[0].bias[0] = -1e4  # clipped by the ReLU after it
    values = [latents(2, sizes), latents(1, sizes, seed=3) * 1.5]
    maxima: dict[str, float] = {}

    def record(name, tensor):
        maxima[name] = max(maxima.get(name, 0.0), float(tensor.abs().max()))

    with torch.no_grad():
        for value in values:
            rounded = model.prior.rounded(model.hyper_analyse(value))
            record("z", rounded)
            record("hyper.scale.0", model.hyper_synthesis.scale[:2](rounded))
            record("hyper.mean.1", model.hyper_synthesis.mean[:4](rounded))
            mean, scale = model.hyper_synthesis(rounded)
            if sizes.slices:
                record("mean.0.0", model.context.mean[0][:2](mean))
                record("support.scale", scale)
                if sizes.support_slices:
                    support_channels = sum(sizes.slices[: sizes.support_slices])
                    record("support.scale", value[:, :support_channels])
                record("support.mean", mean)
                record("support.mean", value)  # as decoded, nearly
    state_before = {name: value.clone() for name, value in model.state_dict().items()}
    result = calibrate(model, values)
    assert all(torch.equal(state_before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert set(result) == set(activation_names(model))
    for name, max_value in maxima.items():
        reach = ACTIVATION_LIMIT / 2 ** result[name]
        assert max_value < reach
        assert result[name] == MAX_FRACTION or reach < 4 * max_value * 1.1


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
    assert calibrate(model, [latents(1)])["z"] == fraction


def test_an_encoder_sends_the_rounded_difference_within_what_can_be_decoded():
    values = torch.tensor([1.4, -7.6, 1e9, -1e9])
    means = torch.tensor([4096, 2048, 0, 0], dtype=torch.int32)
    assert round_to_symbols(values, means).tolist() == [0, -8, 2046, -2046]


def test_fractional_bits_of_another_model_or_out_of_range_are_refused(tables):
    model = network()
    fractional_bits = default_fractional_bits(model)
    for wrong, message in (
        ({**fractional_bits, "mean.9.0": 7}, "mean.9.0"),
        ({name: 7 for name in fractional_bits if name != "z"}, ": z$"),
        ({**fractional_bits, "z": 13}, "the fraction z is 13, not 0..12"),
        ({**fractional_bits, "z": -1}, "the fraction z is -1, not 0..12"),
    ):
        with pytest.raises(ValueError, match=message):
            path_of(model, tables, wrong)


def test_a_checkpoint_without_its_tables_or_with_broken_medians_is_refused(tables):
    model = network()
    for name in ("thresholds", "half_tanh"):
        for medians in ({}, {name: tables[name][1:]}):
            other_tables = {key: table for key, table in tables.items() if key != name}
            with pytest.raises(ValueError, match=f"no table {name} of"):
                path_of(model, {**other_tables, **medians})
    for median in (float("nan"), float("inf"), -1e30):
        with torch.no_grad():
            model.prior.quantiles[2, 1] = median
        with pytest.raises(ValueError, match="median of z"):
            path_of(model, tables)


@each_size
def test_a_decoder_has_the_numbers_of_the_encoder(sizes, tables):
    path = path_of(network(sizes), tables)
    encoded = encode(path, z_symbols(2, sizes), latents(2, sizes))
    assert len(encoded[1].unique()) > 20
    assert same(decode(path, z_symbols(2, sizes), encoded[0]), encoded[1:])


@pytest.mark.parametrize("symbol", [2**31 - 1, -(2**31), 5000])
def test_symbols_of_any_size_stay_within_the_bounds(symbol, tables):
    hyper = torch.full((1, TINY.hyper_latent, 2, 3), symbol)
    symbols = torch.full((1, TINY.latent, 8, 12), symbol)
    result = decode(path_of(network(), tables), hyper, symbols)
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
