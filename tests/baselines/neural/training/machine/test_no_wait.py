"""Runs on a GPU that is not there, alone and with others: no step waits for the device."""

import json
from collections import Counter

import pytest
import torch
import torch.distributed as dist

from baselines.neural.training.ranks import Ranks, in_processes
from baselines.neural.training.trainer import ASK_EVERY_STEPS
from support.networks.stand_in_gpu import OnGpu, stand_in_gpu
from support.training.fixtures import least_network, recipe_of, train_toy

STEPS = 40
PROCESSES = 8
# Where a run may wait: its reports, its states, and a look at the skipped steps every hundred.
MAY_WAIT = {
    "trainer.py: report", "trainer.py: numbers", "trainer.py: skipped", "trainer.py: <dictcomp>",
    "trainer.py: <listcomp>", "run.py: copied", "trainer.py: has_diverged", "trainer.py: counted",
}  # fmt: skip


def waits_of(workers, folder, steps=STEPS):
    """Functions in which a run of one stage waits, with how often."""
    recipe = recipe_of({"steps": steps, "batch": PROCESSES}, report_every_steps=steps)
    with stand_in_gpu() as waits:
        train_toy(folder, recipe, least_network, workers, device="cuda")
    return {name.removeprefix("baselines/neural/training/"): n for name, n in waits.items()}


def test_steps_of_a_run_wait_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "stand-in")
    waits = waits_of(Ranks(), tmp_path / "run", 4)
    assert waits.keys() <= MAY_WAIT, waits
    assert waits, "reports are read from the device"


def in_each(workers, folder):
    """As above in a process of several, which exchange tensors of the stand-in by gloo.

    Counted are what they exchange by the device of the tensor, and where all wait for each other.
    """
    exchanged: Counter[str] = Counter()

    def counted(call, name):
        def exchange(*tensor, **named):
            on_gpu = bool(tensor) and isinstance(tensor[0], OnGpu)
            exchanged[f"{name}, {'cuda' if on_gpu else 'cpu'}"] += 1
            return call(*(one.held if on_gpu else one for one in tensor[:1]), *tensor[1:], **named)

        return exchange

    for name in ("all_reduce", "broadcast", "barrier"):
        setattr(dist, name, counted(getattr(dist, name), name))
    torch.cuda.get_device_name = lambda _device=None: "stand-in"
    waits = waits_of(Ranks(workers.rank, workers.count, "cuda"), folder)
    result = {"waits": sorted(waits), "exchanged": exchanged}
    (folder / f"{workers.rank}.json").write_text(json.dumps(result))


@pytest.mark.slow
def test_steps_of_several_processes_wait_for_no_device(tmp_path):
    """Of a step they exchange its gradients and its numbers, and whether to stop now and then."""
    in_processes(PROCESSES, in_each, tmp_path / "run")
    for rank in range(PROCESSES):
        result = json.loads((tmp_path / "run" / f"{rank}.json").read_text())
        assert {*result["waits"]} <= MAY_WAIT
        exchanged = result["exchanged"]
        assert exchanged["all_reduce, cuda"] == STEPS, "gradients and numbers in one"
        assert exchanged["all_reduce, cpu"] == STEPS // ASK_EVERY_STEPS
        assert exchanged["barrier, cpu"] == 1, "at the end"
