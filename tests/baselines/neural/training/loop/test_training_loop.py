"""States and runs: what remains after an end, and what a new start continues."""

import math
import random
import signal
from functools import partial

import pytest
import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.training import trainer
from baselines.neural.training.run import (
    append_report,
    load_state,
    read_reports,
    save_state,
    truncate_journal,
)
from baselines.neural.training.trainer import MAX_SKIPPED, Learner
from benchmark.errors import BenchError
from support.training.fixtures import (
    CPU,
    LEAST,
    REALISM,
    Poisoned,
    differing,
    in_two_stages,
    learner_of,
    least_network,
    of_journal,
    recipe_of,
    started,
    train_in,
    train_toy,
    wait_for_entries,
)


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_a_learner_resumes_from_its_state_as_if_nothing_had_happened(optimiser, tmp_path):
    stage = {**REALISM, "mixed_levels": True, "steps": 6, "decay_at": 0.5, "decay": "linear"}
    stage["optimiser"] = optimiser
    torch.manual_seed(2)
    unbroken = learner_of(CRDRNetwork(LEAST), stage)
    for _ in range(2):
        unbroken.update()
    save_state(tmp_path, unbroken.state())
    resumed = learner_of(CRDRNetwork(LEAST), stage)
    resumed.load_state(load_state(tmp_path, CPU))
    torch.manual_seed(99)
    for _ in range(2):
        assert unbroken.update() == resumed.update()
    assert not differing(unbroken.state(), resumed.state())


def test_a_journal_is_cut_after_the_step_that_it_resumes_from(tmp_path):
    assert read_reports(tmp_path) == []
    entries = [{"stage": stage, "step": step} for stage in (0, 1) for step in (5, 10, 15)]
    for entry in entries:
        append_report(tmp_path, entry)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write("[" * 200_000 + '\n[1]\n7\n{"stage": 1}\n{"stage": 0, "step": "9"}\n')
        file.write('{"stage": 1, "st')
    assert read_reports(tmp_path) == entries
    truncate_journal(tmp_path, 1, 10)
    append_report(tmp_path, {"stage": 1, "step": 11})
    assert read_reports(tmp_path) == [*entries[:5], {"stage": 1, "step": 11}]


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    """The folder of a run that nothing happened to, and its last state."""
    run = tmp_path_factory.mktemp("unbroken")
    train_in(run, in_two_stages(), data)
    return load_state(run, CPU)


KILLED = """
from pathlib import Path
from baselines.neural.training import trainer
from support.training.fixtures import in_two_stages, train_in

trainer.MIN_SAVE_INTERVAL = 0.0
trainer.COST = 1e9
train_in(Path("run"), in_two_stages(), Path({data!r}))
"""


@pytest.mark.slow
def test_a_run_killed_at_a_random_step_and_resumed_has_the_weights_of_an_unbroken_one(
    tmp_path, data, unbroken
):
    lines = random.SystemRandom().randint(2, 5)
    with started(tmp_path, KILLED.format(data=str(data))) as process:
        wait_for_entries(process, tmp_path / "run" / "journal.jsonl", lines)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    saved = load_state(tmp_path / "run", CPU)
    assert saved is not None
    assert (saved["index"], saved["step"]) < (1, 4), "it was killed in time"
    assert 4 * saved["index"] + saved["step"] >= lines - 2, "the state before was on the disk"
    train_in(tmp_path / "run", in_two_stages(), data)
    assert not differing(load_state(tmp_path / "run", CPU), unbroken)
    assert of_journal(tmp_path / "run", "step") == [*range(1, 5)] * 2


def test_a_run_stopped_by_its_minutes_after_every_step_has_the_weights_of_an_unbroken_one(tmp_path):
    recipe, (unbroken_run, parts) = (
        in_two_stages(),
        (tmp_path / name for name in ("whole", "parts")),
    )
    train_toy(unbroken_run, recipe, least_network)
    places = []
    while not places or places[-1] != (1, 4):
        train_toy(parts, recipe, least_network, max_minutes=0)
        state = load_state(parts, CPU)
        assert state is not None
        places.append((state["index"], state["step"]))
    assert places == [(stage, step) for stage in (0, 1) for step in range(1, 5)]
    assert not differing(state, load_state(unbroken_run, CPU))
    train_toy(parts, recipe, least_network)
    assert not differing(state, load_state(parts, CPU)), "nothing was left to do"


@pytest.mark.parametrize("initialise", ["random", "pca"])
def test_conditioning_on_beta_begins_with_the_first_stage_that_trains_it(tmp_path, initialise):
    """With random weights, as in the authors' code; with fitted initial values it stays zero."""
    stages = ({"steps": 2}, {**REALISM, "learning_rate": 1e-9, "steps": 2})
    recipe = recipe_of(*stages, initialise=initialise)

    def projections(run):
        state = load_state(run, CPU)
        assert state is not None
        return torch.cat(
            [weight.flatten() for name, weight in state["network"].items() if ".project." in name]
        )

    for _ in range(2):  # each call does one step, the second the last of its stage
        train_toy(tmp_path / "run", recipe, least_network, max_minutes=0)
        assert not bool(projections(tmp_path / "run").any())
    for _ in range(2):
        train_toy(tmp_path / "run", recipe, least_network, max_minutes=0)
    assert (float(projections(tmp_path / "run").std()) > 0.01) == (initialise == "random")
    train_toy(tmp_path / "unbroken", recipe, least_network)
    unbroken_state, resumed = (load_state(tmp_path / run, CPU) for run in ("unbroken", "run"))
    assert not differing(unbroken_state, resumed)


def test_skipped_batches_are_counted_in_the_journal_and_across_a_resumption(tmp_path):
    recipe = recipe_of({"steps": 5}, report_every_steps=2)
    train_toy(tmp_path, recipe, poisoned, max_minutes=0)
    train_toy(tmp_path, recipe, poisoned)
    assert of_journal(tmp_path, "skipped") == [0, 0, 1, 1]
    assert all(map(math.isfinite, of_journal(tmp_path, "loss"))), "means are of the others"


def poisoned():
    """Return a network that fails in the second pass after each start."""
    return Poisoned("infinite loss", 2)


def test_a_network_that_has_diverged_ends_the_run_with_the_learning_rate_in_a_sentence(tmp_path):
    recipe = recipe_of({"steps": 3}, {"steps": 4 + MAX_SKIPPED, "learning_rate": 0.25})
    with pytest.raises(BenchError) as ended:
        train_toy(tmp_path, recipe, partial(Diverged, range(7, 999)))
    message = str(ended.value)
    assert f"{MAX_SKIPPED} steps in a row, up to step {4 + MAX_SKIPPED} of stage 2, had" in message
    assert message.endswith("train again in a new folder with a learning rate below 0.25")


def test_a_gap_that_ends_before_it_is_too_large_ends_nothing(tmp_path):
    recipe = recipe_of({"steps": 2 * MAX_SKIPPED}, report_every_steps=2 * MAX_SKIPPED)
    make = partial(Diverged, [*range(1, MAX_SKIPPED), *range(MAX_SKIPPED + 1, 2 * MAX_SKIPPED)])
    train_toy(tmp_path, recipe, make)
    assert of_journal(tmp_path, "skipped") == [2 * MAX_SKIPPED - 2]


class Diverged(Poisoned):
    """Network that fails in the given passes, counted from 0."""

    def __init__(self, passes):
        super().__init__("infinite loss", 0)
        self.passes, self.done = passes, 0

    def forward(self, *arguments, **options):
        self.left = 1 if self.done in self.passes else 0
        self.done += 1
        return super().forward(*arguments, **options)


def test_a_run_that_had_saved_nothing_begins_its_journal_anew(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"stage": 0, "step": 7}\n{"stage": 0, "st')
    train_toy(tmp_path, recipe_of({"steps": 2}, report_every_steps=1))
    assert of_journal(tmp_path, "step") == [1, 2]


@pytest.mark.parametrize(
    ("options", "saved"),
    [({}, [7, 68, 129, 150]), ({"milestone_steps": 80}, [7, 68, 80, 141, 150])],
)
def test_states_are_saved_as_often_as_costs_a_percent_of_the_time_or_as_told(
    options, saved, tmp_path, monkeypatch
):
    """A state takes 6 s to write, so that one in 600 s costs a percent."""
    clock, steps = [0.0], []

    def slowly(folder, state, milestone):
        steps.append(state["step"])
        clock[0] += 6
        save_state(folder, state, milestone)

    class TenSeconds(Learner):
        def update(self):
            clock[0] += 10
            return super().update()

    monkeypatch.setattr(trainer, "monotonic", lambda: clock[0])
    monkeypatch.setattr(trainer.files, "save_state", slowly)
    monkeypatch.setattr(trainer, "Learner", TenSeconds)
    train_toy(tmp_path, recipe_of({"steps": 150}), **options)
    assert steps == saved
    milestones = {path.name for path in tmp_path.glob("state-[0-9]*.pt")}
    assert milestones == ({"state-80.pt"} if "milestone_steps" in options else set())
