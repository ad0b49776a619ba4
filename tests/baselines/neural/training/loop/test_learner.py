"""One step of training: what it minimises, what it changes, what it leaves out."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.objectives import draw_levels, weight_of
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.photographs import draw_crops
from conftest import SHARED
from support.networks.tiny_checkpoint import TINY
from support.training.fixtures import (
    LAMBDAS,
    REALISM,
    SINGLE,
    Poisoned,
    Toy,
    copied,
    differing,
    learner_of,
    photographs,
    recipe_of,
    seen_by,
    toy,
)

ALEXNET = SHARED / "data" / "weights"


@pytest.mark.parametrize("balanced", [False, True])
def test_a_step_s_loss_is_the_mean_of_its_crops_losses(balanced):
    stage = {"batch": 4, "mixed_levels": True, "balanced": balanced}
    network = toy()
    weight, bias = (
        parameter.detach().numpy().astype(np.float64) for parameter in network.mix.parameters()
    )
    result = learner_of(network, stage).update().numbers
    crops = draw_crops(photographs(), 64, range(4), seed=1).double().numpy() / 127.5 - 1
    q = draw_levels(recipe_of(stage).stages[0], np.random.default_rng([1, 2, 0, 0])).q
    mixed = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], crops) + bias[:, None, None]
    mse = ((mixed - crops) ** 2).mean((1, 2, 3)) / 4
    bpp = (mixed**2).sum((1, 2, 3)) * (1 + q) / 64**2
    lambdas = np.exp(np.interp(q, range(5), np.log(LAMBDAS)))
    losses = 150 * mse + lambdas * bpp
    expected = losses * lambdas**-0.5 if balanced else losses
    assert result["loss"] == pytest.approx(expected.mean(), rel=1e-5)
    assert result["mse"] == pytest.approx(mse.mean(), rel=1e-5)
    assert result["bpp"] == pytest.approx(bpp.mean(), rel=1e-5)
    assert result["log_loss"] == pytest.approx(np.log(losses * lambdas**-0.5).mean(), rel=1e-5)


class WithHyperlatent(Toy):
    """Network with bits of a hyper-latent."""

    def forward(self, images, controls, *, noisy=True):
        result = super().forward(images, controls, noisy=noisy)
        return result._replace(z_bits=torch.tensor([64.0, 192.0]))


def test_the_journal_has_the_bits_per_pixel_of_the_hyper_latent():
    result = learner_of(toy(WithHyperlatent), {}).update().numbers
    without = learner_of(toy(), {}).update().numbers
    assert result["z_bpp"] == pytest.approx(128 / 64**2, rel=1e-6)
    assert result["bpp"] - without["bpp"] == pytest.approx(128 / 64**2, rel=1e-3)
    assert without["z_bpp"] == 0


class Costly(Toy):
    """Network whose bits are larger with noise."""

    def forward(self, images, controls, *, noisy=True):
        assert noisy, "the decoder runs once"
        result = super().forward(images, controls, noisy=noisy)
        bits = torch.tensor([[2.0, 2.0], [0.5 * self.rounded_bpp, 1.5 * self.rounded_bpp]]) * 64**2
        return result._replace(y_bits=bits[0], rounded_bits=bits[1])


@pytest.mark.parametrize(("rounded_bpp", "weight"), [(0.303, 0.05), (0.297, 0.5)])
def test_the_mean_of_rounded_latents_decides_which_lambda_weighs_noisy_bits(rounded_bpp, weight):
    network = toy(Costly)
    network.rounded_bpp = rounded_bpp
    targets = {"lambdas": [0.05], "targets_bpp": [0.3], "lambda_below": 0.5}
    result = learner_of(network, {**SINGLE, **targets}).update().numbers
    assert result["loss"] == pytest.approx(150 * result["mse"] + weight * 2, rel=1e-5)


class WithPrior(Toy):
    """Network with a weight in each group that has a learning rate."""

    def __init__(self):
        super().__init__()
        self.prior = nn.ParameterDict({"matrix": torch.ones(2), "quantiles": torch.ones(2)})

    def auxiliary_loss(self):
        return self.quantiles.sum() - self.prior["quantiles"].sum()

    def forward(self, images, controls, *, noisy=True):
        result = super().forward(images, controls, noisy=noisy)
        return result._replace(y_bits=result.y_bits * self.prior["matrix"].prod())


def test_the_first_step_moves_every_weight_by_its_group_s_learning_rate():
    """Like Adam's first step, whatever the gradient's size."""
    stage = {"learning_rate": 1e-3, "prior_rate_factor": 5, "warm_up_steps": 4, "balanced": True}
    network = toy(WithPrior)
    state_before = copied(network)
    learner_of(network, {**stage, "quantile_learning_rate": 3e-3}).update()
    moved = {name: (value - state_before[name]).abs() for name, value in copied(network).items()}
    expected = {"prior.matrix": 5e-3 / 4, "quantiles": 3e-3, "prior.quantiles": 3e-3}
    for name, distance in moved.items():
        step = expected.get(name, 1e-3 / 4)
        assert distance.flatten().tolist() == pytest.approx([step] * distance.numel(), rel=1e-2)


def test_the_gradient_of_the_whole_network_but_the_quantiles_is_clipped():
    network = toy(WithPrior)
    learner_of(network, {"clip_norm": 0.01}).update()
    parameters = dict(network.named_parameters())
    quantiles = [parameters.pop("quantiles").grad, parameters.pop("prior.quantiles").grad]
    assert [quantile.tolist() for quantile in quantiles] == [[1.0], [-1.0, -1.0]]
    norm = math.sqrt(sum(float(tensor.grad.square().sum()) for tensor in parameters.values()))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_crops_are_numbered_through_all_stages_and_steps():
    network = toy()
    passes = seen_by(network)
    stages = ({"steps": 3}, {"steps": 2, "batch": 3, "reduced_share": 0.5})
    for index, steps in ((0, 2), (1, 2)):
        learner = learner_of(network, *stages, index=index)
        for _ in range(steps):
            learner.update()
    numbers = [[0, 1], [2, 3], [6, 7, 8], [9, 10, 11]]
    shares = [0.0, 0.0, 0.5, 0.5]
    for (crops, *_), expected, reduced in zip(passes, numbers, shares, strict=True):
        pixels = draw_crops(photographs(), 64, expected, 1, reduced)
        assert torch.equal(crops, pixels.float() / 127.5 - 1)


FAULTS = ("infinite loss", "gradient that is no number")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", [{}, {**REALISM, "gan_loss": "rgan"}], ids=["mse", "gan"])
def test_a_batch_that_goes_wrong_is_skipped_and_counted_and_leaves_everything_as_it_was(
    fault, stage
):
    learner = learner_of(toy(Poisoned, fault, 3), {**stage, "steps": 5})
    updates = [learner.update() for _ in range(2)]
    state_before = copied(learner.network), deepcopy(learner.state())
    updates.append(learner.update())
    assert not differing(state_before[0], copied(learner.network))
    changed = differing(state_before[1], learner.state())
    assert sorted(changed) == ["/skipped", "/step"]
    updates.append(learner.update())
    assert differing(state_before[0], copied(learner.network))
    assert [bool(update.skipped) for update in updates] == [False, False, True, False]
    assert (learner.skipped, learner.step) == (1, 4)


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ({**SINGLE}, {"attentions", "embedding", "project"}),
        ({}, {"embedding", "project"}),
        ({**REALISM, "frozen": ["analysis", "hyper_analysis", "context"]}, {"context"}),
    ],
    ids=["single_rate", "multi_rate", "realism"],
)
def test_frozen_parts_do_not_change_and_every_other_part_does(stage, parts):
    parts = parts | set(stage.get("frozen", ()))
    torch.manual_seed(2)
    network = CRDRNetwork(TINY)
    learner = learner_of(network, stage)
    state_before = copied(network)
    for _ in range(2):
        learner.update()
    changed = {tuple(path[1:].split(".")) for path in differing(state_before, copied(network))}
    assert not {name for name in changed if parts & set(name)}
    names = {tuple(name.split(".")) for name in state_before}
    learned = {name[0] for name in names if not parts & set(name)}
    assert {name[0] for name in changed} == learned
    if "attentions" not in parts:
        assert any("attentions" in name for name in changed)


def test_what_one_stage_freezes_another_trains():
    network = CRDRNetwork(TINY)
    for index, free in ((0, False), (1, True)):
        learner_of(network, {"frozen": ["context"]}, {}, index=index)
        assert {parameter.requires_grad for parameter in network.context.parameters()} == {free}


@pytest.mark.skipif(not ALEXNET.exists(), reason="needs ../shared/data/weights")
def test_lpips_is_in_the_loss_of_each_stage_as_its_recipe_weighs_it(monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(ALEXNET))
    crops = draw_crops(photographs(), 64, range(2), seed=1).float() / 127.5 - 1
    levels = draw_levels(recipe_of(REALISM).stages[0], np.random.default_rng([1, 2, 0, 0]))
    beta = torch.from_numpy(levels.beta)
    network = toy()
    distance = Perceptual()(crops, network.mix(crops)).detach()
    assert beta[0] > 0
    without, fixed, weighted = (
        learner_of(toy(), {**REALISM, "gan_per_beta": 0, **weights}).update().numbers["loss"]
        for weights in ({}, {"lpips": 2.0}, {"lpips_per_beta": 0.390625})
    )
    assert fixed - without == pytest.approx(2 * float(distance.mean()), rel=1e-3)
    expected = 0.390625 * float((beta * distance).mean())
    assert weighted - without == pytest.approx(expected, rel=1e-3)


def test_what_realism_weighs_grows_exponentially_with_beta_where_a_recipe_says_so():
    betas = torch.tensor([0.0, 0.64, 2.56, 5.12])
    assert torch.equal(weight_of(betas, 0.0), betas)
    grown = weight_of(betas, 4.0)
    assert grown[[0, -1]].tolist() == pytest.approx([0, 5.12])
    slopes = (grown + 5.12 / math.expm1(4.0)).log().diff() / betas.diff()
    assert slopes.tolist() == pytest.approx([4 / 5.12] * 3, rel=1e-4)
    without, plain, growing = (
        learner_of(toy(), {**REALISM, **fields}).update().numbers["loss"]
        for fields in (
            {"gan_per_beta": 0.0},
            {"gan_per_beta": 10.0},
            {"gan_per_beta": 10.0, "beta_growth": 4.0},
        )
    )
    levels = draw_levels(recipe_of(REALISM).stages[0], np.random.default_rng([1, 2, 0, 0]))
    beta = torch.from_numpy(levels.beta)
    assert len(set(beta.tolist())) == 1, "one for the batch"
    share = float(weight_of(beta, 4.0)[0] / beta[0])
    assert share < 0.9
    assert growing - without == pytest.approx(share * (plain - without), rel=1e-3)


def test_the_mean_of_weights_is_validated_and_used_at_the_end_of_a_stage():
    stage = {"steps": 4, "learning_rate": 0.1}
    network, plain = toy(), toy()
    learner, plain_learner = (
        learner_of(n, stage, ema=e) for n, e in ((network, 0.3), (plain, 0.0))
    )
    mean = copied(plain)
    for step in range(4):
        learner.update()
        plain_learner.update()
        decay = min(0.3, (1 + step) / (10 + step))
        mean = {k: decay * mean[k] + (1 - decay) * v for k, v in copied(plain).items()}
        with learner.averaged_weights():
            averaged = copied(network)
        for name, expected in mean.items():
            torch.testing.assert_close(averaged[name], expected)
        last = mean if step == 3 else copied(plain)
        for name, weight in copied(network).items():
            torch.testing.assert_close(weight, last[name])
    resumed = learner_of(toy(), stage, ema=0.3)
    resumed.load_state(deepcopy(learner.state()))
    assert not differing(resumed.state()["mean"], learner.state()["mean"])
