"""Runs on a GPU that is not there: no step waits for the device."""

import torch

from baselines.neural.training.loop import run_request
from baselines.neural.training.workers import Workers
from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import least_network, recipe_of, request_for

STEPS = 40
# Where a run may wait: its reports, its states, and a look at the skipped steps every hundred.
MAY_WAIT = {
    "loop.py: _report", "learner.py: numbers", "learner.py: skipped", "learner.py: <dictcomp>",
    "loop.py: <listcomp>", "run_folder.py: copied", "loop.py: _learn",
}  # fmt: skip


def waits_of(workers, folder):
    """Functions in which a run of one stage waits, with how often."""
    recipe = recipe_of({"steps": STEPS, "batch": 6}, report_every_steps=STEPS)
    with stand_in_gpu() as waits:
        run_request(workers, request_for(folder, recipe, least_network, device="cuda"))
    return {name.removeprefix("baselines/neural/training/"): n for name, n in waits.items()}


def test_steps_of_a_run_wait_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "stand-in")
    waits = waits_of(Workers(), tmp_path / "run")
    assert waits.keys() <= MAY_WAIT, waits
    assert waits, "reports are read from the device"
