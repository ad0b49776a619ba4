"""Logs beside the journal: a csv file, a function of the user."""

import csv
from functools import partial

import pytest

from baselines.commands.reports import log_of, require_logs
from benchmark.errors import UsageError
from support.training.fixtures import of_journal, recipe_of, train_toy

RECIPE = recipe_of({"steps": 3}, {"steps": 2}, report_every_steps=1)
FUNCTION = """
from pathlib import Path

seen = []

def log(report):
    seen.append((report["run_step"], report["loss"]))
    Path("seen.txt").write_text(repr(seen))
"""


def test_each_report_is_in_the_csv_file_and_given_to_the_users_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FUNCTION)
    run = tmp_path / "run"
    names = ["csv", "mine.py:log"]
    require_logs(names)
    train_toy(run, RECIPE, log=partial(log_of, names))
    with (run / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = of_journal(run, "loss")
    assert [int(row["run_step"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [float(row["loss"]) for row in rows] == losses
    assert eval((tmp_path / "seen.txt").read_text()) == list(zip(range(1, 6), losses, strict=True))


def test_a_users_function_that_fails_is_one_sentence_with_its_line(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def log(report):\n    report['nothing']\n")
    log = log_of([f"{path}:log"], tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"bad\.py.*KeyError"):
        log({"stage": 0, "step": 1})


def test_a_log_that_is_not_there_is_refused_before_training():
    with pytest.raises(UsageError, match=r"No log 'wand'.*FILE\.py:FUNCTION, csv"):
        require_logs(["wand"])
