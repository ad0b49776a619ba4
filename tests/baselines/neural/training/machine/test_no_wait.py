"""Runs on a GPU that is not there: no step waits for the device."""

import torch

from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import least_network, recipe_of, train_toy

# Where a run may wait: its reports, its states, and a look at the skipped steps every hundred.
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
