"""Recipes after the papers of the field: published numbers, each takes a step, the suite of them.

Published numbers are those of the repositories that the recipes name.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.suites import METHODS as ROWS
from baselines.neural.training.suites import suite
from benchmark.errors import UsageError
from support.training.every_stage import objective_of
from support.training.fixtures import LAMBDAS, learner_of, toy

METHODS = ("charm", "elic", "ivr", "hific", "multirealism")
LEVELS = 255**2


def list_of(value):
    return list(value) if isinstance(value, list | tuple) else value


def test_the_weights_are_the_published_ones_but_for_a_common_factor():
    def first(method):
        return load_recipe(f"paper-{method}").stages[-1]

    close = {"rel": 1e-5}
    assert 150 / first("charm").lambdas[0] == pytest.approx(0.01 * LEVELS, **close)
    elic = first("elic")
    assert 150 / elic.lambdas[0] == pytest.approx(0.016 * LEVELS, **close)
    assert elic.clip_norm / elic.lambdas[0] == pytest.approx(1, **close)
    published = [50, 160, 300, 480, 710, 1000, 1350, 1780, 2302, 2915]
    assert [150 / value for value in first("ivr").lambdas] == pytest.approx(published, **close)
    assert first("ivr").clip_norm == 5
    hific, factor = first("hific"), 150 / (0.1 * 2**-5 * 0.75 * LEVELS)
    weights = (*hific.lambdas, hific.lambda_below, hific.lpips, hific.gan)
    assert weights == pytest.approx([factor * value for value in (2, 1 / 64, 1, 0.15)], **close)
    realism, factor = first("multirealism"), 150 / (0.01 * LEVELS)
    weights = (*realism.lambdas, realism.lpips_per_beta, realism.gan_per_beta, realism.clip_norm)
    assert weights == pytest.approx([factor * value for value in (12.8, 4.26, 1, 1)], **close)
    assert [first(name).clip_norm for name in ("charm", "hific")] == [0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_the_rates_of_the_suite_hold_the_recipe_s_own(method):
    for stage in load_recipe(f"paper-{method}").stages:
        rates = [
            all(
                list_of(getattr(stage, name)) == pytest.approx(list_of(value), rel=1e-5)
                for name, value in rate.items()
            )
            for rate in ROWS[method].paper
        ]
        assert sum(rates) == 1


def test_the_suite_of_the_papers_has_the_members_of_every_other():
    runs = suite("field", load_recipe("paper"), Path("out"))
    night = suite("field", load_recipe("night"), Path("out"))
    assert sorted(entry.name for entry in runs) == sorted(entry.name for entry in night)
    assert {entry.target for entry in runs} == {entry.target for entry in night}
    assert {entry.recipe.sizes for entry in runs} == {"full"}
    for run in runs:
        run.recipe.check_network()
        paper_recipe = load_recipe(f"paper-{run.recipe.architecture}")
        assert replace(paper_recipe, name="paper", stages=run.recipe.stages) == run.recipe
    lambdas = [run.recipe.stages[0].lambdas for run in runs if run.name.startswith("elic-")]
    assert lambdas == sorted(lambdas, reverse=True), "the lowest rate first"
    (member,) = suite("field", load_recipe("paper"), Path("out"), ["hific-2"])
    assert {stage.target_bpp for stage in member.recipe.stages} == {0.3}


def test_a_recipe_of_another_method_is_refused():
    with pytest.raises(UsageError, match=r"paper-elic .*--suite field"):
        suite("field", load_recipe("paper-elic"), Path("out"))


def test_a_clip_norm_of_zero_leaves_the_gradient_as_it_is():
    gradients = {}
    for clip in (0.0, 1e9, 1e-12):
        network = toy()
        learner = learner_of(network, {"clip_norm": clip})
        learner.update()
        gradients[clip] = network.mix.weight.grad.clone()
    assert torch.equal(gradients[0.0], gradients[1e9])
    assert float(gradients[1e-12].norm()) < 1e-11 < float(gradients[0.0].norm())


def lambda_of(loss):
    """The weight of a bit in a loss without LPIPS and GAN."""
    mse, bpp = (float(loss.numbers[name].detach()) for name in ("mse", "bpp"))
    return (float(loss.total.detach()) - 150 * mse) / bpp


def test_hific_weighs_bits_half_and_has_a_higher_target_at_first():
    fields = {"early_steps": 2, "lambdas": [2.0], "lambda_below": 0.25, "lpips": 0.0}
    objective, network, batch = objective_of("hific", **fields, target_bpp=1.0)
    rounded = float(objective.loss(network, batch, 0).numbers["rounded_bpp"])
    between = rounded / 1.2  # exceeded, but for the first steps
    high_target, low_target = (rounded / 2, [1.0, 2.0]), (2 * rounded, [0.125, 0.25])
    for target, weights in ((between, [0.125, 2.0]), high_target, low_target):
        objective, network, batch = objective_of("hific", **fields, target_bpp=target)
        result = [lambda_of(objective.loss(network, batch, step)) for step in (1, 2)]
        assert result == pytest.approx(weights, rel=1e-3)


def test_multi_realism_weighs_bits_ten_times_as_much_at_first():
    fields = {"early_share": 0.5, "lambdas": [2.0], "steps": 4}
    objective, network, batch = objective_of("multirealism", **fields)
    result = [lambda_of(objective.loss(network, batch, step)) for step in (0, 1, 2, 3)]
    assert result == pytest.approx([20, 20, 2, 2], rel=1e-3)


def test_ivr_draws_neighbours_and_their_half_with_the_weights_between():
    objective, network, batch = objective_of("ivr", lambdas=LAMBDAS)
    lambdas = objective.stage.lambdas
    samples = [objective.random_level(step) for step in range(400)]
    levels = [level for level, _ in samples]
    shares = {level: levels.count(level) / 400 for level in set(levels)}
    # Each of four pairs and three shares alike: inner levels belong to two pairs.
    expected = {level / 2: 1 / 12 for level in range(9)} | dict.fromkeys((1, 2, 3), 1 / 6)
    assert shares == pytest.approx(expected, abs=0.06)
    for level, weight in samples:
        lower_weight, upper_weight = (
            150 / lambdas[int(edge)] for edge in (np.floor(level), np.ceil(level))
        )
        assert weight == pytest.approx((lower_weight + upper_weight) / 2)
    result = objective.loss(network, batch, 7)
    mse, bpp = (float(result.numbers[name].detach()) for name in ("mse", "bpp"))
    assert float(result.total.detach()) == pytest.approx(bpp + samples[7][1] * mse, rel=1e-5)


def hearing(heard):
    """A hook that keeps a module's first input."""
    return lambda _module, inputs: heard.append(inputs[0].detach())


@pytest.mark.parametrize("noisy_contexts", [False, True])
def test_the_contexts_of_elic_see_noise_where_a_stage_says_so(noisy_contexts):
    objective, network, batch = objective_of("elic", noisy_contexts=noisy_contexts)
    with torch.no_grad():
        latents = network.analyse(batch.crops)
    width = network.sizes.groups[0]
    inputs, anchors = [], []
    network.context.channel[1].register_forward_pre_hook(hearing(inputs))
    network.context.spatial[0].register_forward_pre_hook(hearing(anchors))
    for seed in (1, 2):
        torch.manual_seed(seed)
        result = objective.loss(network, batch, 0)
        assert lambda_of(result) == pytest.approx(objective.stage.lambdas[0], rel=1e-3)
    assert torch.equal(*inputs) is not noisy_contexts
    for values, first in zip(inputs, anchors, strict=True):
        is_coded = first != 0
        assert torch.equal(values[is_coded], first[is_coded]), (
            "anchors have the same noise in both passes"
        )
        assert float((values - latents[:, :width]).abs().max()) <= 0.501
    with torch.no_grad():
        for seed in (3, 4):
            torch.manual_seed(seed)
            network(batch.crops, None, noisy=False)
    assert torch.equal(*inputs[2:]), "what is validated and coded is rounded"


def test_a_stage_of_elic_for_another_network_is_refused():
    objective, _, batch = objective_of("elic")
    architecture = load_architecture("charm")
    with pytest.raises(UsageError, match="objective elic"):
        objective.loss(architecture.build(architecture.sizes["tiny"]), batch, 0)
