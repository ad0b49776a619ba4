"""Two processes that train one network together."""

import signal

import pytest
import torch

from baselines.neural.training.checkpointing import load_state
from baselines.neural.training.learner import Learner
from baselines.neural.training.workers import Workers
from conftest import SHARED
from support.training_fixtures import (
    CPU,
    ENDLESS,
    copied,
    differing,
    fresh_toy,
    photographs,
    recipe_of,
    started,
    wait_for_entries,
)

ALEXNET = SHARED / "data" / "weights"


TWO = """
from pathlib import Path
from baselines.neural.training.workers import in_processes
from support.training_fixtures import in_one_of_two

if __name__ == "__main__":
    in_processes(2, in_one_of_two, Path("run"))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Where two processes worked until the one that started them was told to end; what it said."""
    folder = tmp_path_factory.mktemp("two")
    with started(folder, TWO) as process:
        wait_for_entries(process, folder / "run" / "journal.jsonl", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 1
    return folder / "run", (folder / "stderr").read_text()


def test_two_processes_average_their_gradients_and_numbers(two):
    for rank in range(2):
        found = torch.load(two[0] / f"{rank}.pt")
        assert torch.equal(found["gradient"], torch.arange(6.0).reshape(2, 3) * 2)
        assert found["untouched"] is None
        assert (found["numbers"].tolist(), float(found["mean"])) == ([0.5, 5.0], 3.5)


def test_two_processes_skip_together_what_is_bad_in_one_of_them(two):
    first, second = (torch.load(two[0] / f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == [False, True, False]
    assert not differing(first["network"], second["network"])


def test_the_failure_of_a_process_is_that_of_its_caller(two):
    last = two[1].splitlines()[-1]
    assert last == "benchmark.errors.UsageError: The second process has a reason."


def test_two_processes_stop_when_told_with_the_weights_of_one_process(two):
    """Without noise, which each process draws for itself, only the order of sums differs."""
    saved = load_state(two[0], CPU)
    network = fresh_toy()
    learner = Learner(network, recipe_of(ENDLESS), 0, photographs(), Workers())
    start = copied(network)
    assert 5 < saved["step"] < ENDLESS["steps"]
    for _ in range(saved["step"]):
        learner.update()
    for name, alone in copied(network).items():
        moved = float((alone - start[name]).abs().max())
        assert moved > 1e-3
        assert torch.allclose(alone, saved["network"][name], rtol=0, atol=0.01 * moved)
