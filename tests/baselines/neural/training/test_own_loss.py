"""A loss of one's own is a class in a file: the example of docs/training.md, and refusals."""

import re
from pathlib import Path

import pytest

from baselines.neural.training.run import entries
from benchmark.errors import UsageError
from support.training.tiny_runs import bench, write_photographs

PAGE = (Path(__file__).parents[4] / "docs" / "training.md").read_text()
SECTION = PAGE.partition("## A loss of your own")[2].partition("\n## ")[0]
CODE, RECIPE = (re.search(rf"```{kind}\n(.*?)```", SECTION, re.S)[1] for kind in ("python", "toml"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


def train(*more):
    data = ("--data", "photos", "--validation", "unseen")
    return bench("train", "--recipe", "mine.toml", *data, "--out", "runs/mine", *more)


def test_the_example_of_the_page_trains_validates_and_becomes_a_checkpoint(place):
    (place / "mine.py").write_text(CODE)
    assert len(CODE.splitlines()) <= 20
    done = train()
    assert done.exit_code == 0
    assert (place / "runs" / "mine" / "ours.safetensors").exists()
    reports = entries(place / "runs" / "mine")
    assert {"loss", "edges", "validation_loss"} <= reports[-1].keys()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Edges(Objective):", "class Edges:", r"mine\.py, line \d+: Edges is no training"),
        ("def loss(", "def lost(", "Edges is no training loss: derive it from .*with a `loss`"),
        ("class Edges", "class Edge", "No class in mine.py: 'Edges'. Did you mean 'Edge'"),
        ("return Loss(total", "return (total", r"mine\.py.*loss\(\) is to return a Loss"),
        (
            "estimate.images -",
            "estimate.pictures -",
            r"mine\.py, line \d+.*no attribute 'pictures'",
        ),
    ],
)
def test_a_loss_that_cannot_work_is_refused_before_the_first_step(place, old, new, message):
    assert old in CODE
    (place / "mine.py").write_text(CODE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        train()
    assert not (place / "runs" / "mine" / "state.pt").exists()
