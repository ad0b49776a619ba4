"""The adversary of a realism stage and its discriminators: what they score, learn and share."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.objectives import draw_levels
from baselines.neural.training.gan import (
    DISCRIMINATORS,
    GAN_LOSSES,
    PUBLISHED_CHANNELS,
    Adversary,
    Discriminator,
)
from baselines.neural.training.objective import Setup
from baselines.neural.training.photographs import draw_crops
from support.networks.drawn import noise
from support.networks.tiny_checkpoint import TINY
from support.training import fixtures
from support.training.fixtures import REALISM, copied, differing, learner_of, recipe_of, toy


@pytest.mark.parametrize(("objective", "discriminator"), [
    *((name, "hybrid-head") for name in GAN_LOSSES),
    *(("hrrgan", name) for name in DISCRIMINATORS if name != "hybrid-head"),
])  # fmt: skip
def test_every_objective_trains_with_every_discriminator(objective, discriminator):
    stage = {**REALISM, "gan_loss": objective, "discriminator": discriminator}
    learner = learner_of(network := toy(fixtures.least_network), stage)
    state_before = copied(network), deepcopy(learner.state()["objective"]["network"])
    for update in [learner.update() for _ in range(3)]:
        assert not bool(update.skipped)
        assert {"generator", "discriminator"} <= update.numbers.keys()
        assert all(math.isfinite(number) for number in update.numbers.values())
    changed = {path.split(".")[0] for path in differing(state_before[0], copied(network))}
    assert changed == {f"/{name}" for name, _ in network.named_children()}
    critics = differing(state_before[1], learner.state()["objective"]["network"])
    assert {path.split(".")[0] for path in critics} == {"/backbones", "/heads"}


def test_a_stage_of_maps_takes_steps_without_its_discriminators():
    learner = learner_of(toy(CRDRNetwork, TINY), {**REALISM, "map_share": 1.0, "crop_px": 128})
    state_before = copied(learner.network), deepcopy(learner.state()["objective"])
    for update in [learner.update() for _ in range(2)]:
        assert not bool(update.skipped)
        assert math.isfinite(update.numbers["loss"])
    assert differing(state_before[0], copied(learner.network))
    assert not differing(state_before[1], learner.state()["objective"])


@pytest.fixture
def penalties(monkeypatch):
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
    passes = fixtures.seen_by(network)
    learner_of(network, stage).update()
    ((references, images, q, beta, _),) = penalties
    crops = passes[0][0]
    assert torch.equal(images, network.mixed(crops, torch.from_numpy(q)))
    at_top = torch.from_numpy(q + 1 > 4)
    assert at_top.any()
    assert not at_top.all()
    if objective == "hrrgan":
        next_rate = network.mixed(crops, torch.from_numpy(np.minimum(q + 1, 4)))
        crops = torch.where(at_top[:, None, None, None], crops, next_rate)
        assert torch.equal(passes.pop()[2], beta)
    assert torch.equal(references, crops)
    assert len(passes) == 1


class Shifted(fixtures.Toy):
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
    crops = draw_crops(fixtures.photographs(), 64, range(4), seed=1).float() / 127.5 - 1
    mse = (crops - images).square().mean((1, 2, 3)) / 4
    bpp = (images.square().mean((1, 2, 3)) * 3 + 32 / 64**2) * (1 + torch.from_numpy(q))
    lambdas = torch.from_numpy(np.exp(np.interp(q, range(5), np.log(fixtures.LAMBDAS))))
    expected = lambdas.rsqrt() * (150 * mse + lambdas * bpp + 0.5 * losses)
    assert result["loss"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert (losses[beta == 0] == 0).all()
    assert (losses[beta > 0] > 0).all()


def adversary_of(**fields):
    recipe = recipe_of({**REALISM, **fields})
    return Adversary(recipe.stages[0], Setup(recipe, 0, fixtures.CPU), by_level=True)


def test_discriminators_learn_at_their_own_rate_where_seen_and_judging_leaves_them_alone():
    adversary = adversary_of(gan_loss="rgan")
    images, references = noise(2, 3, 64, 64).requires_grad_(), noise(2, 3, 64, 64, seed=2)
    adversary.penalty(images, np.float32([1, 3]), references, torch.ones(2)).sum().backward()
    assert images.grad.abs().sum() > 0
    critics = adversary._network.parameters()
    assert all(critic.grad is None and critic.requires_grad for critic in critics)
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


def test_discriminators_begin_as_the_seed_says_each_copy_differently():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = adversary_of().state()
    assert torch.equal(torch.rand(3), expected)
    assert not differing(first["network"], adversary_of().state()["network"])
    torch.manual_seed(0)
    critic = Discriminator(DISCRIMINATORS["independent"], 2, THIN)
    assert not torch.equal(*(copy[0].weight for copy in critic.backbones))
    assert not torch.equal(*(copy[-1].weight for copy in critic.heads))


@pytest.mark.parametrize("design", DISCRIMINATORS)
def test_a_discriminator_of_an_absent_level_stays_as_it_is_with_its_moments(design):
    """As in the authors' code, whose gradients are None there; Adam would go on by momentum."""
    adversary = adversary_of(gan_loss="sgan", discriminator=design)
    originals, images = noise(2, 3, 64, 64, seed=1), noise(2, 3, 64, 64, seed=2)
    adversary.update(originals, images, np.float32([0, 0]), factor=1.0)
    state_before = deepcopy(adversary.state())
    adversary.update(originals, images, np.float32([1, 1]), factor=1.0)
    state_after = adversary.state()
    layers, before, after = DISCRIMINATORS[design], state_before["network"], state_after["network"]
    parts = ("backbones", "heads")
    of_level_0 = tuple(f"{part}.0." for part in parts if getattr(layers, part) == "each")
    of_copies = zip(state_before["optimisers"], state_after["optimisers"], strict=True)
    for (_, copy, _), (moments, moments_after) in zip(adversary._copies, of_copies, strict=True):
        if not moments["state"]:  # of other levels: not met by then
            continue
        prefix = next(n for n, m in adversary._network.named_modules() if m is copy) + "."
        weights = [n for n in before if n.startswith(prefix) and differing(before[n], after[n])]
        changed = differing(moments["state"], moments_after["state"])
        assert bool(weights) == bool(changed) == (not prefix.startswith(of_level_0))


LEVELS = 5
THIN = (4, 6, 8, 10)
TOLERANCE = 1e-12  # for float64; another batch size may mean another order of sums
MIXED = torch.tensor([3, 0, 3, 4, 1, 0, 3])
KINDS = {  # backbones, heads, inputs of the first backbone and of the first head at full size
    "independent": (5, 5, 3, 128),
    "shared": (1, 1, 3, 128),
    "shared-conditioned": (1, 1, 3 + 5, 128),
    "hybrid-head": (1, 5, 3, 128),
    "hybrid-head-conditioned": (1, 5, 3 + 5, 128),
    "hybrid-backbone": (5, 1, 3, 128),
    "hybrid-backbone-conditioned": (5, 1, 3, 128 + 5),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def thin(kind: str, seed: int = 0) -> Discriminator:
    """Make a thin discriminator in float64, whose logits are about 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        discriminator = Discriminator(DISCRIMINATORS[kind], LEVELS, THIN).double()
        for parameter in discriminator.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, 0.2)
            else:
                nn.init.normal_(parameter, std=0.1)
    return discriminator


def pictures(number: int, seed: int = 1, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((number, 3, side, side + 16), generator=generator).double() * 2 - 1


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def apply_by_hand(layers: list[nn.Conv2d], signal: Tensor) -> Tensor:
    """Apply convolutions, every second with stride 2, and max(x, x / 5) after all but the last."""
    for index, layer in enumerate(layers):
        signal, step = nn.functional.pad(signal, (1, 1, 1, 1)), 1 + index % 2
        patches = signal.unfold(2, 3, step).unfold(3, 3, step)  # (N, C, H, W, 3, 3)
        signal = torch.einsum("nchwij,ocij->nohw", patches, layer.weight)
        signal = signal + layer.bias[:, None, None]
        if layer.out_channels > 1:
            signal = torch.maximum(signal, signal / 5)
    return signal


def layers_of(critic: Discriminator, level: int) -> list[nn.Conv2d]:
    parts = (critic.backbones, critic.heads)
    passed = (copies[level if len(copies) == LEVELS else 0] for copies in parts)
    return [layer for part in passed for layer in convolutions(part)]


def append_level_maps(signal: Tensor, level: int) -> Tensor:
    maps = torch.zeros(len(signal), LEVELS, *signal.shape[2:], dtype=signal.dtype)
    maps[:, level] = 1
    return torch.cat([signal, maps], 1)


@each_kind
def test_logits_are_those_of_the_network_written_out(kind):
    critic, images = thin(kind), pictures(1)
    for level in (0, 3):
        layers = layers_of(critic, level)
        assert len(layers) == 9
        if kind == "hybrid-backbone-conditioned":
            features = apply_by_hand(layers[:4], images)
            expected = apply_by_hand(layers[4:], append_level_maps(features, level))
        else:
            first = append_level_maps(images, level) if kind.endswith("conditioned") else images
            expected = apply_by_hand(layers, first)
        result = critic(images, torch.tensor([level]))
        assert result.shape == (1, 1, 2, 3)
        assert result.abs().max() > 0.01
        torch.testing.assert_close(result, expected, rtol=0, atol=TOLERANCE)


@each_kind
def test_the_published_size_has_the_published_shapes_and_parameters(kind):
    backbones, heads, image, features = KINDS[kind]
    with torch.device("meta"):
        critic = Discriminator(DISCRIMINATORS[kind], LEVELS, PUBLISHED_CHANNELS)
    assert (len(critic.backbones), len(critic.heads)) == (backbones, heads)
    widths = [(image, 64), (64, 64), (64, 128), (128, 128)]
    of_head = [(features, 256), (256, 256), (256, 512), (512, 512), (512, 1)]
    for copies, expected in ((critic.backbones, widths), (critic.heads, of_head)):
        for copy in copies:
            assert [(c.in_channels, c.out_channels) for c in convolutions(copy)] == expected
    count = backbones * sum(9 * a * b + b for a, b in widths)
    count += heads * sum(9 * a * b + b for a, b in of_head)
    assert sum(parameter.numel() for parameter in critic.parameters()) == count


@each_kind
def test_mixed_levels_give_what_each_picture_gets_alone(kind):
    critic, images = thin(kind), pictures(len(MIXED))
    alone = [critic(images[i : i + 1], MIXED[i : i + 1]) for i in range(len(images))]
    torch.testing.assert_close(critic(images, MIXED), torch.cat(alone), rtol=0, atol=TOLERANCE)
