"""Steps and runs of training: what is minimised, what an end leaves and a new start continues."""

import math
import os
import random
import subprocess
import sys
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.objectives import draw_levels, weight_of
from baselines.neural.perceptual import Perceptual
from baselines.neural.training import trainer
from baselines.neural.training.photographs import draw_crops
from baselines.neural.training.run import load_state, read_reports, save_state
from baselines.neural.training.trainer import MAX_SKIPPED, Learner
from benchmark.errors import BenchError
from support.networks.drawn_alexnet import drawn_alexnet, use_alexnet
from support.networks.tiny_checkpoint import TINY
from support.processes import until
from support.training import fixtures
from support.training.fixtures import CPU, REALISM, copied, differing, learner_of, recipe_of, toy


@pytest.mark.parametrize("balanced", [False, True])
def test_a_step_s_loss_is_the_mean_of_its_crops_losses(balanced):
    stage = {"batch": 4, "mixed_levels": True, "balanced": balanced}
    network = toy()
    weight, bias = (values.detach().double().numpy() for values in network.mix.parameters())
    result = learner_of(network, stage).update().numbers
    crops = draw_crops(fixtures.photographs(), 64, range(4), seed=1).double().numpy() / 127.5 - 1
    q = draw_levels(recipe_of(stage).stages[0], np.random.default_rng([1, 2, 0, 0])).q
    mixed = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], crops) + bias[:, None, None]
    mse = ((mixed - crops) ** 2).mean((1, 2, 3)) / 4
    z_bpp = 32 * (1 + q) / 64**2
    bpp = (mixed**2).sum((1, 2, 3)) * (1 + q) / 64**2 + z_bpp
    lambdas = np.exp(np.interp(q, range(5), np.log(fixtures.LAMBDAS)))
    losses = 150 * mse + lambdas * bpp
    expected = losses * lambdas**-0.5 if balanced else losses
    assert result["loss"] == pytest.approx(expected.mean(), rel=1e-5)
    assert result["mse"] == pytest.approx(mse.mean(), rel=1e-5)
    assert result["bpp"] == pytest.approx(bpp.mean(), rel=1e-5)
    assert result["z_bpp"] == pytest.approx(z_bpp.mean(), rel=1e-5)
    assert result["log_loss"] == pytest.approx(np.log(losses * lambdas**-0.5).mean(), rel=1e-5)


class Costly(fixtures.Toy):
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
    result = learner_of(network, {**fixtures.SINGLE, **targets}).update().numbers
    bits = weight * (2 + result["z_bpp"])
    assert result["loss"] == pytest.approx(150 * result["mse"] + bits, rel=1e-5)


class WithPrior(fixtures.Toy):
    def __init__(self):
        super().__init__()
        self.prior = nn.ParameterDict({"matrix": torch.ones(2), "quantiles": torch.ones(2)})

    def auxiliary_loss(self):
        return self.quantiles.sum() - self.prior["quantiles"].sum()

    def forward(self, images, controls, *, noisy=True):
        result = super().forward(images, controls, noisy=noisy)
        return result._replace(y_bits=result.y_bits * self.prior["matrix"].prod())


def test_steps_move_weights_by_their_group_s_rate_and_all_gradients_but_quantiles_are_clipped():
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
    network = toy(WithPrior)
    learner_of(network, {"clip_norm": 0.01}).update()
    parameters = dict(network.named_parameters())
    quantiles = [parameters.pop("quantiles").grad, parameters.pop("prior.quantiles").grad]
    assert [quantile.tolist() for quantile in quantiles] == [[1.0], [-1.0, -1.0]]
    norm = math.sqrt(sum(float(tensor.grad.square().sum()) for tensor in parameters.values()))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_crops_are_numbered_through_all_stages_and_steps():
    network = toy()
    passes = fixtures.seen_by(network)
    stages = ({"steps": 3}, {"steps": 2, "batch": 3, "reduced_share": 0.5})
    for index, steps in ((0, 2), (1, 2)):
        learner = learner_of(network, *stages, index=index)
        for _ in range(steps):
            learner.update()
    numbers = [[0, 1], [2, 3], [6, 7, 8], [9, 10, 11]]
    for (crops, *_), expected, reduced in zip(passes, numbers, [0.0, 0.0, 0.5, 0.5], strict=True):
        pixels = draw_crops(fixtures.photographs(), 64, expected, 1, reduced)
        assert torch.equal(crops, pixels.float() / 127.5 - 1)


@pytest.mark.parametrize("fault", ["infinite loss", "gradient that is no number"])
@pytest.mark.parametrize("stage", [{}, {**REALISM, "gan_loss": "rgan"}], ids=["mse", "gan"])
def test_a_batch_that_goes_wrong_is_counted_and_changes_nothing(fault, stage):
    learner = learner_of(toy(fixtures.Poisoned, fault, [3]), {**stage, "steps": 5})
    updates = [learner.update() for _ in range(2)]
    state_before = copied(learner.network), deepcopy(learner.state())
    updates.append(learner.update())
    assert not differing(state_before[0], copied(learner.network))
    assert sorted(differing(state_before[1], learner.state())) == ["/skipped", "/step"]
    updates.append(learner.update())
    assert differing(state_before[0], copied(learner.network))
    assert [bool(update.skipped) for update in updates] == [False, False, True, False]
    assert (learner.skipped, learner.step) == (1, 4)


@pytest.mark.parametrize(("stage", "parts"), [
    (fixtures.SINGLE, {"attentions", "embedding", "project"}), ({}, {"embedding", "project"}),
    ({**REALISM, "frozen": ["analysis", "hyper_analysis", "context"]}, {"context"}),
], ids=["single_rate", "multi_rate", "realism"])  # fmt: skip
def test_frozen_parts_do_not_change_and_every_other_part_does(stage, parts):
    parts = parts | set(stage.get("frozen", ()))
    learner = learner_of(network := toy(CRDRNetwork, TINY), stage)
    state_before = copied(network)
    for _ in range(2):
        learner.update()
    changed = {tuple(path[1:].split(".")) for path in differing(state_before, copied(network))}
    assert not {name for name in changed if parts & set(name)}
    names = {tuple(name.split(".")) for name in state_before}
    assert {name[0] for name in changed} == {name[0] for name in names if not parts & set(name)}
    if "attentions" not in parts:
        assert any("attentions" in name for name in changed)


def test_what_one_stage_freezes_another_trains():
    network = CRDRNetwork(TINY)
    for index, free in ((0, False), (1, True)):
        learner_of(network, {"frozen": ["context"]}, {}, index=index)
        assert {parameter.requires_grad for parameter in network.context.parameters()} == {free}


def test_lpips_is_in_the_loss_of_each_stage_as_its_recipe_weighs_it(tmp_path, monkeypatch):
    use_alexnet(drawn_alexnet(), tmp_path, monkeypatch)
    crops = draw_crops(fixtures.photographs(), 64, range(2), seed=1).float() / 127.5 - 1
    levels = draw_levels(recipe_of(REALISM).stages[0], np.random.default_rng([1, 2, 0, 0]))
    beta = torch.from_numpy(levels.beta)
    assert beta[0] > 0
    distance = Perceptual()(crops, toy().mix(crops)).detach()
    without, fixed, weighted = (
        learner_of(toy(), {**REALISM, "gan_per_beta": 0, **weights}).update().numbers["loss"]
        for weights in ({}, {"lpips": 2.0}, {"lpips_per_beta": 0.390625})
    )
    assert fixed - without == pytest.approx(2 * float(distance.mean()), rel=1e-3)
    assert weighted - without == pytest.approx(0.390625 * float((beta * distance).mean()), rel=1e-3)


def test_what_realism_weighs_grows_exponentially_with_beta_where_a_recipe_says_so():
    betas = torch.tensor([0.0, 0.64, 2.56, 5.12])
    assert torch.equal(weight_of(betas, 0.0), betas)
    grown = weight_of(betas, 4.0)
    assert grown[[0, -1]].tolist() == pytest.approx([0, 5.12])
    slopes = (grown + 5.12 / math.expm1(4.0)).log().diff() / betas.diff()
    assert slopes.tolist() == pytest.approx([4 / 5.12] * 3, rel=1e-4)
    without, plain, growing = (
        learner_of(toy(), {**REALISM, "gan_per_beta": gan, **fields}).update().numbers["loss"]
        for gan, fields in ((0.0, {}), (10.0, {}), (10.0, {"beta_growth": 4.0}))
    )
    levels = draw_levels(recipe_of(REALISM).stages[0], np.random.default_rng([1, 2, 0, 0]))
    assert len(set(levels.beta.tolist())) == 1, "one for the batch"
    beta = torch.from_numpy(levels.beta[:1])
    share = float(weight_of(beta, 4.0) / beta)
    assert share < 0.9
    assert growing - without == pytest.approx(share * (plain - without), rel=1e-3)


def test_the_mean_of_weights_is_validated_and_used_at_the_end_of_a_stage():
    stage = {"steps": 4, "learning_rate": 0.1}
    network, plain = toy(), toy()
    learner, plain_learner = learner_of(network, stage, ema=0.3), learner_of(plain, stage, ema=0.0)
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


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_learner_resumes_from_its_state_as_if_nothing_had_happened(optimiser, tmp_path):
    decay = {"decay_at": 0.5, "decay": "linear"}
    stage = {**REALISM, "mixed_levels": True, "steps": 6, **decay, "optimiser": optimiser}
    unbroken = learner_of(toy(fixtures.least_network), stage)
    for _ in range(2):
        unbroken.update()
    save_state(tmp_path, unbroken.state())
    resumed = learner_of(fixtures.least_network(), stage)
    resumed.load_state(load_state(tmp_path, CPU))
    torch.manual_seed(99)
    for _ in range(2):
        assert unbroken.update() == resumed.update()
    assert not differing(unbroken.state(), resumed.state())


def test_a_journal_is_cut_after_the_step_that_it_resumes_from_or_begins_anew(tmp_path):
    assert read_reports(tmp_path) == []
    entries = [{"stage": stage, "step": step} for stage in (0, 1) for step in (5, 10, 15)]
    for entry in entries:
        trainer.files.append_report(tmp_path, entry)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write("[" * 200_000 + '\n[1]\n7\n{"stage": 1}\n{"stage": 0, "step": "9"}\n')
        file.write('{"stage": 1, "st')
    assert read_reports(tmp_path) == entries
    trainer.files.truncate_journal(tmp_path, 1, 10)
    trainer.files.append_report(tmp_path, {"stage": 1, "step": 11})
    assert read_reports(tmp_path) == [*entries[:5], {"stage": 1, "step": 11}]
    (tmp_path / "journal.jsonl").write_text('{"stage": 0, "step": 7}\n{"stage": 0, "st')
    fixtures.train_toy(tmp_path, recipe_of({"steps": 2}, report_every_steps=1))
    assert fixtures.of_journal(tmp_path, "step") == [1, 2]


KILLED = """
from pathlib import Path
from baselines.neural.training import trainer
from support.training.fixtures import in_two_stages, train_in

trainer.MIN_SAVE_INTERVAL = 0.0
trainer.MAX_SAVE_SHARE = 1e9
train_in(Path("run"), in_two_stages(), Path({data!r}))
"""


@pytest.mark.slow
def test_a_killed_run_has_the_weights_of_an_unbroken_one(tmp_path, data):
    lines = random.SystemRandom().randint(2, 5)
    words = [sys.executable, "-c", KILLED.format(data=str(data))]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(words, cwd=tmp_path, env=variables) as process:
        assert until(lambda: len(read_reports(tmp_path / "run")) >= lines, 300)
        process.kill()
    saved = load_state(tmp_path / "run", CPU)
    assert (saved["index"], saved["step"]) < (1, 4), "it was killed in time"
    assert 4 * saved["index"] + saved["step"] >= lines - 2, "the state before was on the disk"
    for name in ("run", "unbroken"):
        fixtures.train_in(tmp_path / name, fixtures.in_two_stages(), data)
    assert not differing(*(load_state(tmp_path / name, CPU) for name in ("run", "unbroken")))
    assert fixtures.of_journal(tmp_path / "run", "step") == [*range(1, 5)] * 2


def test_a_run_stopped_by_its_minutes_after_every_step_has_the_weights_of_an_unbroken_one(tmp_path):
    recipe, unbroken_run, parts = fixtures.in_two_stages(), tmp_path / "whole", tmp_path / "parts"
    fixtures.train_toy(unbroken_run, recipe, fixtures.least_network)
    places = []
    while not places or places[-1] != (1, 4):
        fixtures.train_toy(parts, recipe, fixtures.least_network, max_minutes=0)
        state = load_state(parts, CPU)
        places.append((state["index"], state["step"]))
    assert places == [(stage, step) for stage in (0, 1) for step in range(1, 5)]
    assert not differing(state, load_state(unbroken_run, CPU))
    fixtures.train_toy(parts, recipe, fixtures.least_network)
    assert not differing(state, load_state(parts, CPU)), "nothing was left to do"


@pytest.mark.parametrize("initialise", ["random", "pca"])
def test_conditioning_on_beta_begins_with_the_first_stage_that_trains_it(tmp_path, initialise):
    """With random weights, as in the authors' code; with fitted initial values it stays zero."""
    stages = ({"steps": 2}, {**REALISM, "learning_rate": 1e-9, "steps": 2})
    recipe = recipe_of(*stages, initialise=initialise)

    def projections(run):
        state = load_state(run, CPU)["network"]
        return torch.cat([state[name].flatten() for name in state if ".project." in name])

    is_random = initialise == "random"
    for drawn in (False, False, is_random, is_random):  # each call does one step of two in a stage
        fixtures.train_toy(tmp_path / "run", recipe, fixtures.least_network, max_minutes=0)
        assert (float(projections(tmp_path / "run").std()) > 0.01) == drawn
    fixtures.train_toy(tmp_path / "unbroken", recipe, fixtures.least_network)
    assert not differing(*(load_state(tmp_path / run, CPU) for run in ("unbroken", "run")))


def test_skipped_batches_are_counted_in_the_journal_and_across_a_resumption(tmp_path):
    recipe = recipe_of({"steps": 5}, report_every_steps=2)
    poisoned = partial(fixtures.Poisoned, "infinite loss", [2])  # of those after each start
    fixtures.train_toy(tmp_path, recipe, poisoned, max_minutes=0)
    fixtures.train_toy(tmp_path, recipe, poisoned)
    assert fixtures.of_journal(tmp_path, "skipped") == [0, 0, 1, 1]
    assert all(map(math.isfinite, fixtures.of_journal(tmp_path, "loss"))), "means are of the others"


def test_a_diverged_network_ends_the_run_with_its_learning_rate_and_a_short_gap_does_not(tmp_path):
    recipe = recipe_of({"steps": 3}, {"steps": 4 + MAX_SKIPPED, "learning_rate": 0.25})
    diverged = partial(fixtures.Poisoned, "infinite loss")
    message = rf"(?=.*{MAX_SKIPPED} steps)(?=.*step {4 + MAX_SKIPPED})(?=.*stage 2).*0\.25"
    with pytest.raises(BenchError, match=message):
        fixtures.train_toy(tmp_path / "long", recipe, partial(diverged, range(8, 999)))
    recipe = recipe_of({"steps": 2 * MAX_SKIPPED}, report_every_steps=2 * MAX_SKIPPED)
    passes = {*range(2, 2 * MAX_SKIPPED + 1)} - {MAX_SKIPPED + 1}
    fixtures.train_toy(tmp_path, recipe, partial(diverged, passes))
    assert fixtures.of_journal(tmp_path, "skipped") == [2 * MAX_SKIPPED - 2]


@pytest.mark.parametrize(("options", "saved"), [
    ({}, [7, 68, 129, 150]), ({"milestone_steps": 80}, [7, 68, 80, 141, 150]),
])  # fmt: skip
def test_states_cost_a_percent_of_the_time(options, saved, tmp_path, monkeypatch):
    """A state takes 6 s to write, so that one in 600 s costs a percent."""
    clock, steps = [0.0], []

    def slowly(folder, state, milestone):
        steps.append(state["step"])
        clock[0] += 6
        save_state(folder, state, milestone)

    class TenSeconds(Learner):
        def update(self):
            clock[0] += 10
            return super().update()

    monkeypatch.setattr(trainer, "monotonic", lambda: clock[0])
    monkeypatch.setattr(trainer.files, "save_state", slowly)
    monkeypatch.setattr(trainer, "Learner", TenSeconds)
    fixtures.train_toy(tmp_path, recipe_of({"steps": 150}), **options)
    assert steps == saved
    milestones = {path.name for path in tmp_path.glob("state-[0-9]*.pt")}
    assert milestones == ({"state-80.pt"} if "milestone_steps" in options else set())
