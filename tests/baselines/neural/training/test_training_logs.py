"""Logs beside the journal: functions of the user."""

from functools import partial

import pytest

from baselines.commands.training import make_log
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


def test_each_report_is_given_to_the_users_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FUNCTION)
    run = tmp_path / "run"
    train_toy(run, RECIPE, log=partial(make_log, ["mine.py:log"], True))
    losses = of_journal(run, "loss")
    assert eval((tmp_path / "seen.txt").read_text()) == list(zip(range(1, 6), losses, strict=True))


def test_a_users_function_that_fails_is_one_sentence_with_its_line(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def log(report):\n    report['nothing']\n")
    log = make_log([f"{path}:log"], True, tmp_path, RECIPE)
    with pytest.raises(UsageError, match=r"bad\.py.*KeyError"):
        log({"stage": 0, "step": 1})
