"""Logs beside the journal: a csv file, a function of the user, TensorBoard."""

import csv
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from baselines.commands import reports
from baselines.commands.reports import log_of, require_logs
from baselines.neural.training.loop import run_request
from baselines.neural.training.workers import Workers
from benchmark.errors import UsageError
from support.training.fixtures import of_journal, recipe_of, request_for

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
    run_request(Workers(), request_for(run, RECIPE, log=partial(log_of, names)))
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


def test_logs_that_are_not_there_are_refused_before_training(monkeypatch):
    with pytest.raises(UsageError, match="csv, tensorboard"):
        require_logs(["wand"])
    monkeypatch.setattr(reports, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(UsageError, match=f"the package {name} is not installed: install it"):
            require_logs([name])


def test_tensorboard_gets_numbers_at_steps_of_the_whole_run(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            """Nothing waits."""

    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", type(sys)("torch.utils.tensorboard")
    )
    sys.modules["torch.utils.tensorboard"].SummaryWriter = Writer
    log = log_of(["tensorboard"], tmp_path, RECIPE)
    for stage, step in ((0, 3), (1, 2)):
        log({"stage": stage, "step": step, "loss": 0.5, "precision": "float32"})
    folder = str(tmp_path / "tensorboard")
    assert written == [(folder, 3), ("loss", 0.5, 3), ("loss", 0.5, 5)]


def test_weights_and_biases_gets_the_same_and_a_resumed_run_its_identity(tmp_path, monkeypatch):
    begun, written = [], []
    module = type(sys)("wandb")

    def init(**options):
        begun.append(options)
        return SimpleNamespace(log=lambda numbers, step: written.append((numbers, step)))

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    for stage, step in ((0, 3), (1, 2)):
        log_of(["wandb"], tmp_path / "a", RECIPE)({"stage": stage, "step": step, "loss": 0.5})
    log_of(["wandb"], tmp_path / "b", RECIPE)({"stage": 0, "step": 1, "precision": "float32"})
    assert written == [({"loss": 0.5}, 3), ({"loss": 0.5}, 5), ({}, 1)]
    first, resumed, other = (options["id"] for options in begun)
    assert first == resumed != other
    assert begun[0] == {"id": first, "dir": tmp_path / "a", "name": "a", "resume": "allow"}


def test_weights_and_biases_itself_writes_a_run_without_network(tmp_path):
    """In a process of its own: its service outlives a log."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    script = (
        "import sys; from pathlib import Path; from baselines.commands.reports import log_of\n"
        "from baselines.neural.training.recipe import load_recipe\n"
        "log = log_of(['wandb'], Path(sys.argv[1]), load_recipe('smoke'))\n"
        "for step in (1, 2): log({'stage': 0, 'step': step, 'loss': 0.5})\n"
    )
    environment = {**os.environ, "WANDB_MODE": "offline"}
    subprocess.run([sys.executable, "-c", script, tmp_path], env=environment, check=True)
    (stored,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert (tmp_path / "wandb-id").read_text() in stored.name
    assert b"loss" in stored.read_bytes()
