"""Runs on a GPU that is not there: no step waits for the device, a report does."""

import torch

from baselines.neural.training import trainer
from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import least_network, of_journal, recipe_of, train_toy

# Where a run may wait: reports, states, and a check of skipped steps every hundred steps.
MAY_WAIT = {
    "trainer.py: report", "trainer.py: numbers", "trainer.py: skipped", "trainer.py: <dictcomp>",
    "trainer.py: <listcomp>", "run.py: save_state", "trainer.py: has_diverged",
}  # fmt: skip


def test_steps_of_a_run_wait_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "stand-in")
    recipe = recipe_of({"steps": 4, "batch": 8}, report_every_steps=4)
    with stand_in_gpu() as waits:
        train_toy(tmp_path / "run", recipe, least_network, device="cuda")
    assert {name.removeprefix("baselines/neural/training/") for name in waits} <= MAY_WAIT, waits
    assert waits, "reports are read from the device"


def test_steps_per_second_count_the_wait_for_what_the_gpu_has_queued(tmp_path, monkeypatch):
    """The clock of this test advances by a second with each wait, and only then."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "stand-in")
    with stand_in_gpu() as waits:
        monkeypatch.setattr(trainer, "monotonic", waits.total)
        train_toy(tmp_path / "run", recipe_of({"steps": 4}, report_every_steps=2), device="cuda")
    speeds = of_journal(tmp_path / "run", "steps_per_second")
    assert len(speeds) == 2
    assert all(0 < speed <= 1 for speed in speeds), speeds  # reading a step takes at least one wait
