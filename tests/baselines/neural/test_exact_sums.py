"""Sums that do not depend on the order of summation, and functions, against exact numbers."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import gcd

import pytest
import torch
from torch import nn

from baselines.neural import exact
from baselines.neural.blocks.layers import convolution, upsampling
from baselines.neural.crdr.model import MAX_BETA, exact_fourier, fourier
from benchmark.errors import CorruptStream


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(layer):
    weight = layer.weight
    with torch.no_grad():
        weight.copy_(noise(*weight.shape) * 10 ** (2 * noise(*weight.shape, seed=1)))
        layer.bias.copy_(noise(len(layer.bias)))
        weight.flatten()[::7] = 0
    return layer


LAYERS = {
    "1 x 1": lambda: spread(convolution(6, 5, 1)), "3 x 3": lambda: spread(convolution(6, 5, 3)),
    "up by 3 x 3": lambda: spread(upsampling(6, 5, 3)),
    "up by 5 x 5": lambda: spread(upsampling(6, 3, 5)),
    "up by 9 x 9": lambda: spread(upsampling(2, 3, 9)),
}  # fmt: skip
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def convert_to_steps(values: torch.Tensor) -> list[int]:
    """Return the values as integers, in units of their largest common power of two."""
    fractions = [Fraction(value) for value in values.flatten().tolist()]
    finest = max(value.denominator for value in fractions)
    integers = [int(value * finest) for value in fractions]
    return [value // gcd(*integers) for value in integers]


@each_layer
def test_every_partial_sum_is_a_number_of_float64(make):
    layer = exact.ExactConvolution(make())
    rows = layer.weight.transpose(0, 1) if layer.transposed else layer.weight
    for row in rows.reshape(len(rows), -1):
        steps = sum(map(abs, convert_to_steps(row)))
        assert 0 < steps <= 2**exact.WEIGHT_BITS
        assert steps * 2**exact.ACTIVATION_BITS <= 2**52


def test_activations_have_the_stated_bits_below_their_maximum_and_no_number_beyond_every_grid():
    for scale in (1e-12, 1e-3, 1.0, 3e7, 1e30):
        values = noise(3, 4, 5, 6) * scale
        result = exact.round_to_grid(values)
        assert max(map(abs, convert_to_steps(result))) <= 2**exact.ACTIVATION_BITS
        error = float((result - values).abs().max())
        assert error <= max(float(values.abs().max()) * 2.0**-exact.ACTIVATION_BITS, 2.0**-65)
    for value in (float("nan"), float("inf"), 1e200):
        with pytest.raises(CorruptStream, match="range"):
            exact.round_to_grid(torch.tensor([1.0, value], dtype=torch.float64))


@each_layer
def test_a_layer_is_the_float_one_whatever_the_order_and_bands(make, monkeypatch):
    layer = make()
    features = noise(2, layer.in_channels, 11, 9)
    permuted = exact.ExactConvolution(layer)
    result = permuted(features)
    order = torch.randperm(layer.in_channels, generator=torch.Generator().manual_seed(2))
    permuted.weight = permuted.weight.index_select(0 if permuted.transposed else 1, order)
    assert torch.equal(permuted(features[:, order]), result)
    monkeypatch.setattr(exact, "MAX_UNFOLDED_VALUES", 1)
    assert torch.equal(exact.ExactConvolution(layer)(features), result)
    expected = layer.double()(features).detach()
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_linear_layer_is_the_float_one_and_weights_without_a_magnitude_are_zeros():
    layer = spread(nn.Linear(50, 7))
    vectors, permuted = noise(3, 50), exact.ExactLinear(layer)
    result, expected = permuted(vectors), layer.double()(vectors).detach()
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()
    permuted.weight = permuted.weight.flip(1)
    assert torch.equal(result, permuted(vectors.flip(1)))
    weights = exact.round_weights(torch.tensor([[0.0, 0.0], [1e-40, 0.0], [3e38, 1.0]]))
    assert weights.tolist() == [[0.0, 0.0]] * 2 + [[pytest.approx(3e38, rel=1e-6), 0.0]]


@pytest.mark.parametrize("layer", [
    nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 3),
    nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(3, 4, 3, padding=2, dilation=2),
    nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 4, 3, padding="same"),
    nn.Conv2d(3, 4, (3, 1), padding=(1, 0)), nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1),
    nn.BatchNorm2d(3), nn.GELU(),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_a_layer_without_an_exact_form_is_refused(layer):
    for transform in (layer, nn.Sequential(layer)):
        with pytest.raises(ValueError, match=type(layer).__name__):
            exact.exact_transform(transform)


VALUES = [-40.0, -1.7, -1e-3, -1e-17, 0.0, 1e-9, 0.3466, 0.6932, 7.1, 36.9, 88.8, 500.0, 700.0]
CLOSE = 2e-15


def evaluate(function, values) -> list[float]:
    return function(torch.tensor(values, dtype=torch.float64)).tolist()


def true(function, values) -> list[float]:
    with localcontext() as context:
        context.prec = 50
        return [float(function(Decimal(value))) for value in values]


def test_functions_are_those_of_decimal_numbers():
    for function, definition in (
        (exact.exponential, Decimal.exp),
        (exact.sigmoid, lambda x: 1 / (1 + (-x).exp())),
        (exact.softplus, lambda x: (1 + x.exp()).ln()),
    ):
        expected = true(definition, VALUES)
        result = evaluate(function, VALUES)
        assert result == pytest.approx(expected, rel=CLOSE, abs=1e-300), function.__name__
    beyond = evaluate(exact.exponential, [-1e9, -700.0, 700.0, 1e9])
    assert beyond[0] == beyond[1] > 0
    assert beyond[2] == beyond[3] < float("inf")
    least, most = evaluate(exact.sigmoid, [-745.0, 800.0])
    assert 0 <= least < 1e-300
    assert most == 1

    def series(x: Decimal, first: int) -> Decimal:
        term = total = x**first if first else Decimal(1)
        for k in range(first + 2, 60, 2):
            term = -term * x * x / (k * (k - 1))
            total += term
        return total

    values = [-1.0, -0.7854, -1e-9, 0.0, 0.3, 0.9999, 1.0]
    sine, cosine = exact.sine_cosine(torch.tensor(values, dtype=torch.float64))
    assert sine.tolist() == pytest.approx(true(lambda x: series(x, 1), values), rel=CLOSE)
    assert cosine.tolist() == pytest.approx(true(lambda x: series(x, 0), values), rel=CLOSE)


def test_the_square_root_is_that_of_decimal_numbers_to_the_last_bit():
    """torch's own is not: 13 of these differ with AVX-512, and 24 with SSE."""
    random = torch.Generator().manual_seed(3)
    values = (torch.rand(2000, dtype=torch.float64, generator=random) * 4).tolist()
    assert evaluate(exact.square_root, values) == true(Decimal.sqrt, values)


@pytest.mark.parametrize("frequencies", [1, 3, 10])
def test_the_fourier_features_are_those_of_the_float_network_in_float64(frequencies):
    betas = torch.linspace(0, MAX_BETA, 129)
    expected = fourier(betas.double(), frequencies)
    assert torch.allclose(exact_fourier(betas, frequencies), expected, rtol=0, atol=1e-12)
