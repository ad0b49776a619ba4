"""The suite `matched`: budgets and sizes that are equal, and the command that trains all of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from baselines.compressai.codec import find_matched
from baselines.compressai.network import WIDTHS, hyperprior
from baselines.neural.architecture import ZooSizes
from baselines.neural.costs import macs_per_pixel
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.suites import METHODS, suite
from benchmark.errors import UnknownName
from support.networks.tiny_checkpoint import NAMED
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

HYPERPRIOR = METHODS["hyperprior"]
LAMBDAS = [network["lmbda"] for network in HYPERPRIOR.networks]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos/, unseen/ and recipe.toml."""
    folder = tmp_path_factory.mktemp("suite")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml")
    return folder


def test_each_matched_network_sees_what_ours_sees_for_a_level():
    night = load_recipe("night")
    members = {entry.name: entry for entry in suite("matched", night, Path())}
    assert list(members) == ["ours", *(f"hyperprior-{number}" for number in (1, 2, 3, 4))]
    total = sum(stage.steps * stage.batch for stage in night.stages)
    assert members["ours"].recipe == night
    coarse = sum(stage.steps * stage.batch for stage in night.stages if not stage.float32)
    assert 0 < coarse < total
    for number, lmbda in enumerate(LAMBDAS, start=1):
        run = members[f"hyperprior-{number}"]
        assert total / 5 <= run.recipe.crops_before(2) < total / 5 + 2 * night.stages[0].batch
        stage, last = run.recipe.stages
        assert coarse / 5 <= stage.steps * stage.batch < coarse / 5 + stage.batch
        assert (stage.float32, last.float32) == (False, True)
        assert last.learning_rate / stage.learning_rate == pytest.approx(
            night.stages[-1].learning_rate / night.stages[0].learning_rate
        )
        assert (last.lambdas, last.decay_at) == (stage.lambdas, night.stages[-1].decay_at)
        assert run.recipe.dimensions["lmbda"] == lmbda
        assert (stage.objective, stage.learning_rate) == ("single_rate", HYPERPRIOR.learning_rate)
        # 150 MSE + weight bpp is CompressAI's 255^2 lambda MSE + bpp, times the weight
        assert stage.lambdas[0] * lmbda * 255**2 == pytest.approx(150, rel=1e-12)
        assert (stage.decay, stage.decay_at) == (night.stages[0].decay, night.stages[0].decay_at)


def test_crops_that_do_not_divide_evenly_are_rounded_up_and_the_largest_side_counts(place):
    recipe = load_recipe(str(place / "recipe.toml"))
    first, second = recipe.stages
    stages = (replace(first, steps=5, batch=2), replace(second, steps=1, batch=1, crop_px=128))
    members = suite("matched", replace(recipe, stages=stages), Path())
    (stage,) = members[1].recipe.stages  # 11 crops in all, so 3 a level, so 2 steps of 2
    assert (stage.steps, stage.batch, stage.crop_px, stage.learning_rate) == (2, 2, 128, 1e-3)
    assert (stage.gan_per_beta, stage.lpips_per_beta, stage.mixed_levels) == (0, 0, False)


def test_a_hyperprior_has_the_work_of_ours_but_for_the_largest():
    assert WIDTHS.keys() == NAMED.keys()
    for size, widths in WIDTHS.items():
        work = macs_per_pixel("compressai", ZooSizes("bmshj2018-hyperprior", widths))
        ratio = work / macs_per_pixel("crdr", NAMED[size])
        assert ratio < 1 if size == "full" else ratio == pytest.approx(1, rel=0.01), size
    with pytest.raises(UnknownName, match="No size of ours"):
        hyperprior("", 0.01)


def test_a_suite_continues_and_the_harness_finds_all_networks(place, tmp_path, monkeypatch):
    write_recipe(place / "suite.toml", rate_steps=1, realism_steps=0)
    out = tmp_path / "suite"
    words = training(place, out, "--suite", "matched", recipe="suite.toml")
    first = bench(*words, "--max-minutes", 0)
    assert first.exit_code == 0
    assert "the time is up after ours" in first.stdout
    assert [path.name for path in out.glob("*.safetensors")] == ["ours.safetensors"]
    assert "ours.safetensors: already finished" in bench(*words).stdout
    monkeypatch.setenv("BENCH_WEIGHTS", str(out))
    assert list(find_matched("bmshj2018-hyperprior", "mse")) == [1, 2, 3, 4]
    third = json.loads((out / "hyperprior-3.json").read_text())
    assert third["config"]["lmbda"] == LAMBDAS[2]
    assert third["config"]["widths"] == list(WIDTHS["tiny"])
    assert "--suite matched" in third["command"]
    assert bench(*words).stdout.count("already finished") == 5
