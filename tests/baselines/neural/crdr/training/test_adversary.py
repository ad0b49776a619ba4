"""The adversary of a realism stage: what it scores, what it learns, what it leaves unchanged."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.objectives import draw_levels
from baselines.neural.training.gan import DISCRIMINATORS, GAN_LOSSES, Adversary
from baselines.neural.training.objective import Setup
from baselines.neural.training.photographs import draw_crops
from support.networks.drawn import noise
from support.networks.tiny_checkpoint import TINY
from support.training.fixtures import (
    CPU,
    LAMBDAS,
    LEAST,
    REALISM,
    Toy,
    copied,
    differing,
    learner_of,
    photographs,
    recipe_of,
    seen_by,
    toy,
)


@pytest.mark.parametrize(
    ("objective", "discriminator"),
    [
        *((name, "hybrid-head") for name in GAN_LOSSES),
        *(("hrrgan", name) for name in DISCRIMINATORS if name != "hybrid-head"),
    ],
)
def test_every_objective_trains_with_every_discriminator(objective, discriminator):
    stage = {**REALISM, "gan_loss": objective, "discriminator": discriminator}
    torch.manual_seed(2)
    network = CRDRNetwork(LEAST)
    learner = learner_of(network, stage)
    state_before = copied(network), deepcopy(learner.state()["objective"]["network"])
    updates = [learner.update() for _ in range(3)]
    assert not any(bool(update.skipped) for update in updates)
    for update in updates:
        assert {"generator", "discriminator"} <= update.numbers.keys()
        assert all(math.isfinite(number) for number in update.numbers.values())
    changed = {path.split(".")[0] for path in differing(state_before[0], copied(network))}
    assert changed == {f"/{name}" for name, _ in network.named_children()}
    critics = differing(state_before[1], learner.state()["objective"]["network"])
    assert {path.split(".")[0] for path in critics} == {"/backbones", "/heads"}


def test_a_stage_of_maps_takes_steps_without_its_discriminators():
    torch.manual_seed(2)
    learner = learner_of(CRDRNetwork(TINY), {**REALISM, "map_share": 1.0, "crop_px": 128})
    state_before = copied(learner.network), deepcopy(learner.state()["objective"])
    updates = [learner.update() for _ in range(2)]
    assert not any(bool(update.skipped) for update in updates)
    assert all(math.isfinite(update.numbers["loss"]) for update in updates)
    assert differing(state_before[0], copied(learner.network))
    assert not differing(state_before[1], learner.state()["objective"])


@pytest.fixture
def penalties(monkeypatch):
    """Arguments of the generator's losses, and the losses."""
    calls = []
    original = Adversary.penalty

    def recorded(self, images, q, references, beta):
        losses = original(self, images, q, references, beta)
        calls.append((references, images.detach(), q, beta, losses.detach()))
        return losses

    monkeypatch.setattr(Adversary, "penalty", recorded)
    return calls


@pytest.mark.parametrize("objective", ["rgan", "hrrgan"])
def test_a_picture_is_judged_against_the_original_or_the_next_rate_s(penalties, objective):
    """The next rate's picture of the same crops at the same beta; at the highest, the original."""
    network = toy(Shifted)
    stage = {**REALISM, "gan_loss": objective, "batch": 8, "mixed_levels": True}
    passes = seen_by(network)
    learner_of(network, stage).update()
    ((references, images, q, beta, _),) = penalties
    crops = passes[0][0]
    assert torch.equal(images, network.mixed(crops, torch.from_numpy(q)))
    at_top = torch.from_numpy(q + 1 > 4)
    assert at_top.any()
    assert not at_top.all()
    if objective == "rgan":
        assert torch.equal(references, crops)
        assert len(passes) == 1
        return
    next_rate = network.mixed(crops, torch.from_numpy(np.minimum(q + 1, 4)))
    assert torch.equal(references[at_top], crops[at_top])
    assert torch.equal(references[~at_top], next_rate[~at_top])
    assert torch.equal(passes[1][2], beta)


class Shifted(Toy):
    """Network whose pictures depend on the rate."""

    def mixed(self, images, levels):
        return images * 0.5 + levels[:, None, None, None] / 10

    def forward(self, images, controls, *, noisy=True):
        result = super().forward(images, controls, noisy=noisy)
        images = self.mixed(images, controls.rate.levels) + 0 * result.images
        return result._replace(images=images)


def test_the_generator_s_loss_is_weighted_with_beta_and_balanced_like_the_rest(penalties):
    stage = {**REALISM, "gan_per_beta": 0.5, "batch": 4, "mixed_levels": True, "balanced": True}
    result = learner_of(toy(), stage).update().numbers
    ((_, images, q, beta, losses),) = penalties
    levels = draw_levels(recipe_of(stage).stages[0], np.random.default_rng([1, 2, 0, 0]))
    assert beta.tolist() == levels.beta.tolist()
    crops = draw_crops(photographs(), 64, range(4), seed=1).float() / 127.5 - 1
    mse = (crops - images).square().mean((1, 2, 3)) / 4
    bpp = images.square().mean((1, 2, 3)) * 3 * (1 + torch.from_numpy(q))
    lambdas = torch.from_numpy(np.exp(np.interp(q, range(5), np.log(LAMBDAS))))
    expected = lambdas.rsqrt() * (150 * mse + lambdas * bpp + 0.5 * losses)
    assert result["loss"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert (losses[beta == 0] == 0).all()
    assert (losses[beta > 0] > 0).all()


def adversary_of(**fields):
    recipe = recipe_of({**REALISM, **fields})
    return Adversary(recipe.stages[0], Setup(recipe, 0, CPU), by_level=True)


def test_judging_a_picture_gives_gradients_to_the_picture_only():
    adversary = adversary_of(gan_loss="rgan")
    images, references = noise(2, 3, 64, 64).requires_grad_(), noise(2, 3, 64, 64, seed=2)
    losses = adversary.penalty(images, np.float32([1, 3]), references, torch.ones(2))
    losses.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    critics = adversary._network.parameters()
    assert all(critic.grad is None and critic.requires_grad for critic in critics)


def test_discriminators_learn_at_their_own_rate_those_of_the_levels_that_were_seen():
    adversary = adversary_of(gan_loss="sgan", discriminator_learning_rate=2e-3)
    state_before = deepcopy(adversary.state()["network"])
    images = noise(2, 3, 64, 64, seed=1).requires_grad_()
    adversary.update(noise(2, 3, 64, 64, seed=2), images, np.float32([0.6, 3.4]), factor=0.5)
    assert images.grad is None
    changed = differing(state_before, adversary.state()["network"])
    assert {path.split(".")[1] for path in changed} == {"1", "3"}, "the nearest whole rates"
    state_after = adversary.state()["network"]
    bias = "heads.1.8.bias"
    assert float((state_after[bias] - state_before[bias]).abs()) == pytest.approx(1e-3, rel=1e-2)


def test_discriminators_begin_as_the_seed_says_and_leave_other_random_numbers_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = adversary_of().state()
    assert torch.equal(torch.rand(3), expected)
    second = adversary_of().state()
    assert not differing(first["network"], second["network"])


@pytest.mark.parametrize("design", DISCRIMINATORS)
def test_a_discriminator_of_an_absent_level_stays_as_it_is_with_its_moments(design):
    """As in the authors' code, whose gradients are None there; Adam would go on by momentum."""
    adversary = adversary_of(gan_loss="sgan", discriminator=design)
    originals, images = noise(2, 3, 64, 64, seed=1), noise(2, 3, 64, 64, seed=2)
    adversary.update(originals, images, np.float32([0, 0]), factor=1.0)
    state_before = deepcopy(adversary.state())
    adversary.update(originals, images, np.float32([1, 1]), factor=1.0)
    state_after = adversary.state()
    design_layers = DISCRIMINATORS[design]
    of_level_0 = tuple(
        f"{part}.0."
        for part, copies in (("backbones", design_layers.backbones), ("heads", design_layers.heads))
        if copies == "each"
    )
    of_copies = zip(state_before["optimisers"], state_after["optimisers"], strict=True)
    for (_, copy, _), (moments, moments_after) in zip(adversary._copies, of_copies, strict=True):
        if not moments["state"]:  # of other levels: not met by then
            continue
        prefix = next(n for n, m in adversary._network.named_modules() if m is copy) + "."
        weights = [
            name
            for name in state_before["network"]
            if name.startswith(prefix)
            and differing(state_before["network"][name], state_after["network"][name])
        ]
        changed = differing(moments["state"], moments_after["state"])
        assert bool(weights) == bool(changed) == (not prefix.startswith(of_level_0))
