"""`bench train --check`: memory, work and time of a recipe's stages, with nothing written."""

import re

import pytest
import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.costs import costs
from baselines.neural.training.run import Subject
from baselines.neural.training.trial import trials
from baselines.neural.training.workers import Workers
from benchmark.errors import UsageError
from support.training.every_stage import STAGES, recipe_for
from support.training.fixtures import photographs
from support.training.tiny_runs import bench, write_photographs, write_recipe

# A base's pictures, and orders of tokens, are values.
BY_VALUES = ("dirac", "hfd", "pqmim_transformer")
COMPUTED = [kind for kind in STAGES if kind not in BY_VALUES]


def test_a_stage_that_values_decide_is_one_sentence():
    recipe = recipe_for("pqmim", "pqmim_transformer", STAGES["pqmim_transformer"][1])
    with pytest.raises(UsageError, match="cannot be tried without being computed: add --device"):
        next(trials(Subject("pqmim"), recipe, "fake", Workers()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMPUTED)
def test_steps_of_every_kind_of_stage_are_followed_without_being_computed(kind):
    method, fields = STAGES[kind]
    (trial,) = trials(Subject(method), recipe_for(method, kind, fields), "fake", Workers())
    assert (trial.kind, trial.steps, trial.seconds) == (kind, 9, None)
    architecture = load_architecture(method)
    parts = costs(method, architecture.sizes["tiny"])
    parameters = sum(part.parameters for part in parts.values())
    # Weights, gradients, Adam's two means, in float32; and activations of more than the images.
    assert trial.memory_bytes > 4 * parameters + 2 * 128 * 128 * 3 * 4
    assert trial.macs > 0


def test_computed_steps_read_the_photographs_of_the_run(monkeypatch):
    seen, run = set(), photographs()
    read = run.decoded
    monkeypatch.setattr(run, "decoded", lambda index: seen.add(index) or read(index))
    recipe = recipe_for("crdr", "single_rate", STAGES["single_rate"][1])
    (trial,) = trials(Subject(), recipe, "cpu", Workers(), run)
    assert trial.seconds > 0
    assert seen == set(range(len(run)))


@pytest.mark.slow
def test_work_and_memory_grow_with_the_crops_as_they_should():
    def tried(**fields):
        own = {**STAGES["single_rate"][1], **fields}
        (trial,) = trials(Subject(), recipe_for("crdr", "single_rate", own), "fake", Workers())
        return trial

    small, large = tried(batch=2), tried(batch=6)
    assert large.macs == pytest.approx(3 * small.macs, rel=1e-3)
    network = load_architecture("crdr").build(load_architecture("crdr").sizes["tiny"])
    weights = 4 * sum(parameter.numel() for parameter in network.parameters())
    activations = small.memory_bytes - 3 * weights
    assert large.memory_bytes - 3 * weights == pytest.approx(3 * activations, rel=0.1)
    parts = costs("crdr", network.sizes)
    forwards = sum(part.macs_per_pixel for part in parts.values()) * 2 * 128**2
    assert small.macs == pytest.approx(3 * forwards, rel=0.1)


@pytest.mark.slow
def test_the_command_prints_each_stage_and_writes_nothing(tmp_path):
    write_photographs(tmp_path)
    recipe = write_recipe(tmp_path / "r.toml")
    words = ("train", "--recipe", recipe, "--data", tmp_path / "photos", "--out", tmp_path / "run")
    shown = bench(*words, "--check", "--device", "cpu").stdout
    assert not (tmp_path / "run").exists()
    assert re.search(
        r"stage 1, \w+: \d+ steps, .* GB of tensors, .* steps/s, [\d.e-]+ hours", shown
    )
    if not torch.cuda.is_available():
        assert "about" in bench(*words, "--check").stdout
