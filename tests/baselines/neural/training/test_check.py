"""`bench train --check`: memory, work and time of some steps of each stage; nothing is written."""

import re

import pytest

from baselines.neural.costs import costs
from baselines.neural.training.run import TrainingRun
from baselines.neural.training.trainer import stage_costs
from support.networks.tiny_checkpoint import TINY
from support.training.fixtures import photographs, recipe_of
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


def cost_of(tmp_path, **stage):
    recipe = recipe_of({"crop_px": 128, **stage})
    (cost,) = stage_costs(TrainingRun(tmp_path, tmp_path, recipe), "cpu", photographs())
    return cost


def test_a_step_has_the_work_of_three_forward_passes_of_its_crops(tmp_path):
    small, large = (cost_of(tmp_path, batch=batch) for batch in (2, 6))
    assert large.macs == pytest.approx(3 * small.macs, rel=1e-3)
    parts = costs("crdr", TINY)
    forwards = sum(part.macs_per_pixel for part in parts.values()) * 2 * 128**2
    assert small.macs == pytest.approx(3 * forwards, rel=0.1)
    assert min(small.seconds, large.seconds) > 0
    assert (small.objective, small.steps, small.memory_bytes) == ("multi_rate", 3, 0)


def test_the_command_prints_each_stage_of_the_device_at_hand_and_writes_nothing(tmp_path):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml")
    output = bench(*training(tmp_path, tmp_path / "run", "--check", "--device", "cpu")).stdout
    assert not (tmp_path / "run").exists()
    assert "each stage on cpu" in output
    stages = re.findall(
        r"stage \d, (\w+): 2 steps, .* per step, .* steps/s, [\d.e-]+ hours", output
    )
    assert stages == ["multi_rate", "realism"]
