"""The entropy model in training: what is decoded, its gradient, and the bits of each picture."""

import pytest
import torch

from baselines.neural.crdr.architecture import TINY
from support.networks.fixed_network import network


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
