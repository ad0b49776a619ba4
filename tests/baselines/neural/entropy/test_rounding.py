"""Rounding in training: its rules against closed forms, its gradient, bits of each picture."""

import math

import pytest
import torch

from baselines.neural.crdr.architecture import TINY
from baselines.neural.entropy.factorised import annealed, with_dead_zone
from support.networks.fixed_network import network


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("temperature", [0.5, 0.2])
def test_annealed_rounding_goes_up_as_often_as_its_formula_says(fraction, temperature):
    """The odds are those of the fraction, to the power of 4/3 over the temperature."""
    count = 40_000
    distances = torch.full((count,), -3 + fraction)
    share = float((annealed(temperature, seeded())(distances) > -2.5).double().mean())
    odds = (fraction / (1 - fraction)) ** (4 / 3 / temperature)
    expected = odds / (1 + odds)
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / count)


def test_annealed_rounding_lies_between_and_ends_at_the_nearest():
    distances = torch.linspace(-3.97, 4.03, 400)
    distances = distances[(distances - distances.floor() - 0.5).abs() > 0.05]
    warm, cold = (annealed(one, seeded())(distances) for one in (0.5, 0.004))
    assert bool(((warm >= distances.floor()) & (warm <= distances.ceil())).all())
    assert torch.allclose(cold, distances.round(), atol=1e-3)


def test_annealed_rounding_has_a_gradient_and_repeats_with_its_seed():
    distances = torch.linspace(-2.3, 2.4, 50, requires_grad=True)
    rounded = annealed(0.3, seeded())(distances)
    (gradient,) = torch.autograd.grad(rounded.sum(), distances)
    assert bool((gradient >= 0).all())
    assert float(gradient.mean()) > 0.5
    assert torch.equal(rounded, annealed(0.3, seeded())(distances))
    assert not torch.equal(rounded, annealed(0.3, seeded(4))(distances))


def test_whole_numbers_stay_finite():
    distances = torch.tensor([-2.0, -1e-9, 0.0, 5.0], requires_grad=True)
    rounded = annealed(0.05, seeded())(distances)
    assert bool(torch.autograd.grad(rounded.sum(), distances)[0].isfinite().all())
    assert torch.allclose(rounded, distances, atol=1e-3)


def test_a_dead_zone_widens_the_interval_of_zero_and_shifts_the_others():
    edges = torch.tensor([0.69, 0.71, 1.69, 1.71])
    expected = torch.tensor([0.0, 1.0, 1.0, 2.0])
    rounding = with_dead_zone(0.2)
    assert torch.equal(rounding(edges), expected)
    assert torch.equal(rounding(-edges), -expected)


def latents(pictures):
    return 4 * torch.randn(pictures, TINY.latent, 8, 4, generator=torch.Generator().manual_seed(1))


def test_latents_are_rounded_from_their_mean_with_the_gradient_of_the_identity():
    model, given, means = network(), latents(2).requires_grad_(), []

    def first_slice_alone(_mean, _scale, quantise):
        means.append(torch.full((2, TINY.slices[0], 8, 4), 0.25))
        return quantise(0, means[0], torch.ones_like(means[0]))

    model.context.forward = first_slice_alone
    decoded = model.code(given, noisy=False).latents
    values = given.detach()[:, : TINY.slices[0]]
    torch.testing.assert_close(decoded.detach(), (values - 0.25).round() + 0.25)
    (gradient,) = torch.autograd.grad(decoded.sum(), given)
    assert torch.equal(gradient[:, : TINY.slices[0]], torch.ones_like(values))


def test_bits_are_those_of_each_picture_alone():
    model, given = network(), latents(3)
    with torch.no_grad():
        together = model.code(given, noisy=False)
        alone = [model.code(one[None], noisy=False) for one in given]
    for name in ("y_bits", "z_bits"):
        expected = [float(getattr(one, name)) for one in alone]
        assert getattr(together, name).tolist() == pytest.approx(expected, rel=1e-4)
