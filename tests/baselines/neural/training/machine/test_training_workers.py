"""Processes that train one network together, and averages of their gradients."""

import os
import signal

import pytest
import torch

from baselines.neural.training.gan import Adversary
from baselines.neural.training.objective import Setup
from baselines.neural.training.ranks import Ranks
from baselines.neural.training.run import load_state
from baselines.neural.training.trainer import Learner
from support.training.fixtures import (
    CPU,
    ENDLESS,
    REALISM,
    Toy,
    copied,
    differing,
    of_eight_processes,
    of_journal,
    photographs,
    recipe_of,
    started,
    train_in,
    wait_for_entries,
)

TWO = """
from pathlib import Path
from baselines.neural.training.ranks import in_processes
from benchmark.system.processes import passed_on
from support.training.fixtures import in_one_of_two

if __name__ == "__main__":
    with passed_on():
        in_processes(2, in_one_of_two, Path("run"))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Where two processes worked until the one that started them was told to end; what it said."""
    folder = tmp_path_factory.mktemp("two")
    with started(folder, TWO) as process:
        wait_for_entries(process, folder / "run" / "journal.jsonl", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 1
    return folder / "run", (folder / "stderr").read_text()


def test_two_processes_average_and_skip_together_and_a_failure_is_the_callers(two):
    for rank in range(2):
        result = torch.load(two[0] / f"{rank}.pt")
        assert torch.equal(result["gradient"], torch.arange(6.0).reshape(2, 3) * 2)
        assert result["untouched"] is None
        assert (result["numbers"].tolist(), float(result["mean"])) == ([0.5, 5.0], 3.5)
    first, second = (torch.load(two[0] / f"{rank}.pt") for rank in range(2))
    assert first["skipped"] == second["skipped"] == [False, True, False]
    assert not differing(first["network"], second["network"])
    last = two[1].splitlines()[-1]
    assert last == "benchmark.errors.UsageError: The second process has a reason."


def test_discriminators_of_two_processes_agree_where_each_has_a_rate_that_the_other_lacks(two):
    first, second = (torch.load(two[0] / f"{rank}.pt") for rank in range(2))
    assert not differing(first["discriminators"], second["discriminators"])
    assert first["discriminator_loss"] == second["discriminator_loss"]
    recipe = recipe_of({**REALISM, "gan_loss": "sgan"})
    setup = Setup(recipe, 0, CPU, Ranks())
    untouched = Adversary(recipe.stages[0], setup, by_level=True).state()["network"]
    changed = {path.split(".")[1] for path in differing(untouched, first["discriminators"])}
    assert changed == {"0", "1"}, "Adam leaves a weight whose gradient is zero where it is"


def test_two_processes_stop_when_told_with_the_weights_of_one_process(two):
    """Without noise, which each process draws for itself, only the order of sums differs."""
    saved = load_state(two[0], CPU)
    torch.manual_seed(1)
    network = Toy()
    learner = Learner(network, recipe_of(ENDLESS), 0, photographs(), Ranks())
    start = copied(network)
    assert 5 < saved["step"] < ENDLESS["steps"]
    for _ in range(saved["step"]):
        learner.update()
    for name, alone in copied(network).items():
        moved = float((alone - start[name]).abs().max())
        assert moved > 1e-3
        assert torch.allclose(alone, saved["network"][name], rtol=0, atol=0.01 * moved)


EIGHT = """
import os
from pathlib import Path
from baselines.neural.training import trainer
from support.training.fixtures import of_eight_processes, train_in

trainer.SAVE_EVERY_SECONDS = 0.0
trainer.COST = 1e9

if __name__ == "__main__":
    os.setsid()  # with the processes that it starts
    train_in(Path("run"), of_eight_processes(), Path({data!r}))
"""


@pytest.mark.slow
def test_eight_processes_killed_together_resume_from_the_state_saved_in_the_background(
    tmp_path, data
):
    recipe, run = of_eight_processes(), tmp_path / "run"
    with started(tmp_path, EIGHT.format(data=str(data))) as process:
        wait_for_entries(process, run / "journal.jsonl", 4)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    saved = load_state(run, CPU)
    assert saved is not None
    assert 2 <= saved["step"] < recipe.steps, "the state before was on the disk"
    for folder in (run, tmp_path / "unbroken"):
        train_in(folder, recipe, data)
    assert not differing(load_state(run, CPU), load_state(tmp_path / "unbroken", CPU))
    assert of_journal(run, "step") == [*range(1, recipe.steps + 1)]
