"""Functions by single operations, against decimal numbers of 50 digits."""

from decimal import Decimal, localcontext

import pytest
import torch

from baselines.neural.crdr.coder import exact_fourier
from baselines.neural.crdr.model import HIGHEST_BETA, fourier
from baselines.neural.exact.functions import (
    exponential,
    sigmoid,
    sine_cosine,
    softplus,
    square_root,
)

VALUES = [-745.0, -701.5, -40.0, -20.3, -1.7, -1e-3, -1e-17, 0.0, 1e-9, 0.3466, 0.6932, 7.1, 36.9]
CLOSE = 2e-15


def of(function, values) -> list[float]:
    return function(torch.tensor(values, dtype=torch.float64)).tolist()


def true(function, values) -> list[float]:
    with localcontext() as context:
        context.prec = 50
        return [float(function(Decimal(value))) for value in values]


def test_exponential_sigmoid_and_softplus_are_those_of_decimal_numbers():
    inside = [value for value in [*VALUES, 88.8, 700.0] if abs(value) <= 700]
    assert of(exponential, inside) == pytest.approx(true(Decimal.exp, inside), rel=CLOSE)
    beyond = of(exponential, [-1e9, -700.0, 700.0, 1e9])
    assert beyond[0] == beyond[1] > 0
    assert beyond[2] == beyond[3] < float("inf")
    values = [*VALUES, 800.0]
    inside = [value for value in values if abs(value) <= 700]
    expected = true(lambda x: 1 / (1 + (-x).exp()), inside)
    assert of(sigmoid, inside) == pytest.approx(expected, rel=CLOSE)
    assert of(sigmoid, values)[-1] == 1
    assert 0 <= of(sigmoid, values)[0] < 1e-300
    inside = [value for value in [*VALUES, 500.0] if abs(value) <= 700]
    expected = true(lambda x: (1 + x.exp()).ln(), inside)
    assert of(softplus, inside) == pytest.approx(expected, rel=CLOSE, abs=1e-300)


def test_the_square_root_is_that_of_decimal_numbers_to_the_last_bit():
    """torch's own is not: 13 of these differ with AVX-512, and 24 with SSE."""
    random = torch.Generator().manual_seed(3)
    values = (torch.rand(2000, dtype=torch.float64, generator=random) * 4).tolist()
    assert of(square_root, values) == true(Decimal.sqrt, values)


def test_sine_and_cosine_are_those_of_decimal_numbers():
    def series(x: Decimal, first: int) -> Decimal:
        term = total = x**first if first else Decimal(1)
        for k in range(first + 2, 60, 2):
            term = -term * x * x / (k * (k - 1))
            total += term
        return total

    values = [-1.0, -0.7854, -1e-9, 0.0, 0.3, 0.9999, 1.0]
    sine, cosine = sine_cosine(torch.tensor(values, dtype=torch.float64))
    assert sine.tolist() == pytest.approx(true(lambda x: series(x, 1), values), rel=CLOSE)
    assert cosine.tolist() == pytest.approx(true(lambda x: series(x, 0), values), rel=CLOSE)


@pytest.mark.parametrize("frequencies", [1, 3, 10])
def test_the_fourier_features_are_those_of_the_float_network_in_float64(frequencies):
    betas = torch.linspace(0, HIGHEST_BETA, 129)
    expected = fourier(betas.double(), frequencies)
    assert torch.allclose(exact_fourier(betas, frequencies), expected, rtol=0, atol=1e-12)
