"""Suites go on where a signal or the end of their minutes stopped them."""

import json
import re
import signal

import pytest

from baselines.neural.training.run_folder import Journal
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


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
    assert said[0] == "2 networks, 0 finished: 10 steps left"
    assert re.search(r"^elic-2: .*, 0 s left, 0 skipped$", said[-1])
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
    assert again.stderr.startswith("2 networks, 1 finished: 2 steps left\n")
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
