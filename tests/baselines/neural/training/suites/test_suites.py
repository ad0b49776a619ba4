"""Suites: how long they take, and that they go on where a signal stopped them."""

import json
import re
import signal
from pathlib import Path

import pytest

from baselines.commands.training import outlook
from baselines.neural.training.run import Subject
from baselines.neural.training.run_folder import Journal
from baselines.neural.training.session import TrainingRun, seconds_left
from support.training.fixtures import REALISM, recipe_of
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


def planned(folder: Path, name: str, architecture: str = "crdr", *stages) -> TrainingRun:
    """A run with a folder for its journal; by default of 100 steps of two crops."""
    recipe = recipe_of(*(stages or [{"steps": 100}]))
    (folder / name).mkdir()
    return TrainingRun(name, folder / name, folder / f"{name}.x", Subject(architecture), recipe)


def report(run: TrainingRun, *entries: tuple[int, int, float]) -> None:
    """Stage, step and crops per second of each report."""
    names = ("stage", "step", "crops_per_second")
    lines = [json.dumps(dict(zip(names, entry, strict=True))) for entry in entries]
    (run.folder / "journal.jsonl").write_text("\n".join(lines) + "\n")


def test_the_time_of_a_suite_is_that_of_its_methods_as_far_as_they_are_measured(tmp_path):
    stages = {"steps": 100}, {**REALISM, "steps": 50}
    first = planned(tmp_path, "first", "crdr", *stages)
    second = planned(tmp_path, "second", "crdr", *stages)
    other = planned(tmp_path, "other", "charm")
    runs = (first, second, other)
    assert seconds_left(runs, runs) is None
    assert outlook(runs) == "3 networks, 0 finished: 400 steps left, their time unknown"
    report(first, (0, 20, 2.0), (0, 100, 4.0), (1, 10, 1.0))
    assert seconds_left([first], runs) == pytest.approx(40 * 2)
    assert seconds_left([second], runs) == pytest.approx(200 / 4 + 100 / 1)
    assert seconds_left([other], runs) == pytest.approx(200 / 1), "of a method without a speed"
    report(other, (0, 50, 10.0))
    assert seconds_left([other], runs) == pytest.approx(100 / 10)
    assert outlook(runs) == "3 networks, 0 finished: 240 steps left, about 4 min"


@pytest.fixture
def command(tmp_path):
    """A suite of two members of five steps each, whose batches have two crops."""
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", 25, 0, initialise='"pca"')
    suite = ("--suite", "field", "--members", "elic-1,elic-2")
    return lambda out, *more: training(tmp_path, out, *suite, *more)


def test_a_suite_goes_on_within_the_member_that_a_signal_stopped(tmp_path, command, monkeypatch):
    whole = bench(*command(tmp_path / "whole"))
    said = whole.stderr.splitlines()
    assert said[0] == "2 networks, 0 finished: 10 steps left, their time unknown"
    assert re.search(r"^elic-2: .*, 0 s left, 0 s for the suite, 0 skipped$", said[-1])
    append = Journal.append

    def interrupted(journal, entry):
        append(journal, entry)
        if journal.path.parent.name == "elic-2" and entry["step"] == 2:
            signal.raise_signal(signal.SIGINT)  # it arrives in the next step

    monkeypatch.setattr(Journal, "append", interrupted)
    stopped = bench(*command(tmp_path / "pieces"))
    assert stopped.exit_code == 130
    assert "elic-2: interrupted after 3 of 5 steps" in stopped.stdout
    again = bench(*command(tmp_path / "pieces"))
    assert again.exit_code == 0
    assert "elic-1.safetensors: finished before, 5 steps" in again.stdout
    assert re.match(r"2 networks, 1 finished: 2 steps left, about \d+ s", again.stderr)
    for name in ("elic-1", "elic-2"):
        one, other = (
            json.loads((tmp_path / out / f"{name}.json").read_text()) for out in ("whole", "pieces")
        )
        assert one["sha256"] == other["sha256"]


def test_the_minutes_are_those_of_the_whole_suite(tmp_path, command):
    done = bench(*command(tmp_path / "out", "--max-minutes", 0))
    assert done.exit_code == 0
    assert "elic-1: the time is over after 1 of 5 steps" in done.stdout
    assert not (tmp_path / "out" / "elic-2").exists()
