"""The objectives of GANs against their definitions and the published steps."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from baselines.neural.training.gan import GAN_LOSSES

TOLERANCE = 1e-12  # for float64 arithmetic on numbers about 1
each_objective = pytest.mark.parametrize("name", GAN_LOSSES)


def logits(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (3, 1, 4, 5), generator=generator, dtype=torch.float64) * 2


def cross_entropy(scores: Tensor, label: float) -> Tensor:
    return binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def published_discriminator_step(name: str, real: Tensor, fake: Tensor, score: nn.Module) -> float:
    """Run both backward passes, each with the other's logits detached; return the summed loss."""
    references = score(fake).detach(), score(real).detach()
    if name == "ragan":
        references = references[0].mean(), references[1].mean()
    if name == "sgan":
        references = 0.0, 0.0
    first = cross_entropy(score(real) - references[0], 1).mul(0.5)
    first.backward()
    second = cross_entropy(score(fake) - references[1], 0).mul(0.5)
    second.backward()
    return float((first + second).detach())


def published_generator_loss(name: str, reference: Tensor, fake: Tensor) -> Tensor:
    if name == "sgan":
        return cross_entropy(fake, 1)
    real = reference.detach()
    first, second = (fake.mean(), real.mean()) if name == "ragan" else (fake, real)
    return (cross_entropy(real - first, 0) + cross_entropy(fake - second, 1)) / 2


@each_objective
def test_the_discriminator_learns_what_the_two_published_backward_passes_teach_it(name):
    torch.manual_seed(0)
    score = nn.Conv2d(2, 1, 3).double()
    real, fake = logits(1, 3, 2, 6, 6), logits(2, 3, 2, 6, 6)
    expected_loss = published_discriminator_step(name, real, fake, score)
    published = [parameter.grad for parameter in score.parameters()]
    score.zero_grad()
    loss = GAN_LOSSES[name].discriminator_loss(score(real), score(fake))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected_loss, abs=TOLERANCE)
    for parameter, expected in zip(score.parameters(), published, strict=True):
        assert torch.allclose(parameter.grad, expected, rtol=0, atol=TOLERANCE)
    # The bias of a relativistic discriminator cancels: only differences are judged.
    assert (score.bias.grad.abs().item() < TOLERANCE) == (name in {"rgan", "hrrgan"})


@each_objective
def test_the_generator_learns_what_the_published_loss_teaches_it(name):
    reference, fake = logits(3).requires_grad_(), logits(4).requires_grad_()
    published = published_generator_loss(name, reference, fake)
    (expected,) = torch.autograd.grad(published, fake)
    losses = GAN_LOSSES[name].generator_loss(reference, fake)
    losses.mean().backward()
    assert reference.grad is None
    assert losses.shape == (3,)
    assert losses.mean().item() == pytest.approx(published.item(), abs=TOLERANCE)
    assert torch.allclose(fake.grad, expected, rtol=0, atol=TOLERANCE)


@each_objective
def test_logits_in_half_precision_are_judged_in_float32(name):
    real, fake, objective = logits(15).bfloat16(), logits(16).bfloat16(), GAN_LOSSES[name]
    for loss in (objective.discriminator_loss, objective.generator_loss):
        result = loss(real, fake)
        assert result.dtype == torch.float32
        assert torch.allclose(result.double(), loss(real.double(), fake.double()), atol=1e-6)


def test_references_are_those_of_the_papers_and_without_one_its_logits_are_not_looked_at():
    references = {name: loss.reference for name, loss in GAN_LOSSES.items()}
    assert references == {"sgan": "none", "rgan": "real", "ragan": "real", "hrrgan": "next_rate"}
    fake, loss = logits(17), GAN_LOSSES["sgan"].generator_loss
    assert torch.equal(loss(None, fake), loss(torch.full_like(fake, math.nan), fake))


@each_objective
def test_every_patch_counts_with_the_weight_of_its_cell(name):
    reference, fake, loss = logits(19, 2, 1, 6, 6), logits(20, 2, 1, 6, 6), GAN_LOSSES[name]
    losses = loss.patch_losses(reference, fake)
    cells = logits(21, 2, 2, 3)
    weighted = losses * cells.repeat_interleave(3, 1).repeat_interleave(2, 2)[:, None]
    expected = [math.fsum(values.flatten().tolist()) / 36 for values in weighted]
    result = loss.generator_loss(reference, fake, cells)
    assert result.tolist() == pytest.approx(expected, abs=TOLERANCE)
    of_pictures = torch.tensor([2.0, 0.5]).double()
    expected = loss.generator_loss(reference, fake) * of_pictures
    result = loss.generator_loss(reference, fake, of_pictures)
    assert torch.allclose(result, expected, rtol=0, atol=TOLERANCE)
