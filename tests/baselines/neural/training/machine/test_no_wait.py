"""Runs on a GPU that is not there, alone and with others: no step waits for the device."""

import pytest
import torch
import torch.distributed as dist

from baselines.neural.training.loop import run_request
from baselines.neural.training.workers import Workers, in_processes
from support.networks.stand_in_gpu import OnGpu, stand_in_gpu
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


def in_each(workers, folder):
    """As above in a process of several, which average tensors of the stand-in by gloo."""
    reduce, broadcast = dist.all_reduce, dist.broadcast

    def held(call):
        return lambda tensor, *given, **named: call(
            tensor.held if isinstance(tensor, OnGpu) else tensor, *given, **named
        )

    dist.all_reduce, dist.broadcast = held(reduce), held(broadcast)
    torch.cuda.get_device_name = lambda _device=None: "stand-in"
    waits = waits_of(Workers(workers.rank, workers.count, "cuda"), folder)
    (folder / f"waits-{workers.rank}.txt").write_text("\n".join(sorted(waits)))


@pytest.mark.slow
def test_steps_of_several_processes_wait_for_no_device(tmp_path):
    in_processes(3, in_each, tmp_path / "run")
    for rank in range(3):
        found = set((tmp_path / "run" / f"waits-{rank}.txt").read_text().split("\n"))
        assert found <= MAY_WAIT
