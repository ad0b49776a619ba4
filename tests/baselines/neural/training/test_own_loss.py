"""Objectives of users: a class in a file, as docs/training.md has it, or a line in the table."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from baselines.neural.training.objective import Loss, Objective, rate_distortion
from baselines.neural.training.recipe import OBJECTIVES, Stage, Weight
from baselines.neural.training.run import load_state, read_reports
from benchmark.errors import UsageError
from support.training.fixtures import CPU, differing, least_network, pictures, recipe_of, train_toy
from support.training.tiny_runs import bench, write_photographs

PAGE = (Path(__file__).parents[4] / "docs" / "training.md").read_text()
SECTION = PAGE.partition("## A loss of your own")[2].partition("\n## ")[0]
CODE, RECIPE = (re.search(rf"```{kind}\n(.*?)```", SECTION, re.S)[1] for kind in ("python", "toml"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE.replace("steps = 40", "steps = 10"))
    return tmp_path


def train(*options):
    data = ("--data", "photos", "--validation", "unseen")
    return bench("train", "--recipe", "mine.toml", *data, "--out", "runs/mine", *options)


def test_the_example_of_the_page_trains_validates_and_becomes_a_checkpoint(place):
    (place / "mine.py").write_text(CODE)
    assert train().exit_code == 0
    assert (place / "runs" / "mine" / "ours.safetensors").exists()
    assert {"loss", "edges", "validation_loss"} <= read_reports(place / "runs" / "mine")[-1].keys()


def test_an_edited_loss_is_another_run_and_leaves_its_trace(place):
    (sub := place / "sub").mkdir()
    (place / "mine.toml").rename(sub / "mine.toml")
    (sub / "mine.py").write_text(CODE)
    words = ("train", "--recipe", "sub/mine.toml", "--data", "photos", "--validation", "unseen")
    words += ("--out", "runs/mine", "--max-minutes", "0")
    assert bench(*words).exit_code == 0, "the file next to the recipe is found"
    run = place / "runs" / "mine"
    record = json.loads((run / "recipe.json").read_text())
    first = sha256(CODE.encode()).hexdigest()
    assert record["files"] == {"mine.py": [first]}
    assert (run / f"mine-{first[:12]}.py").read_text() == CODE
    edited = CODE.replace("return Loss(total", "return Loss(2 * total")
    (sub / "mine.py").write_text(edited)
    with pytest.raises(UsageError, match=r"mine\.py.*--changed"):
        bench(*words)
    (sub / "mine.toml").rename(sub / "renamed.toml")
    renamed = (*words[:2], "sub/renamed.toml", *words[3:])
    assert bench(*renamed, "--changed").exit_code == 0
    assert bench(*renamed, "--export-now").exit_code == 0
    second = sha256(edited.encode()).hexdigest()
    card = json.loads((run / "ours.json").read_text())
    assert card["losses"] == [f"mine.py, sha256 {first} and {second}"]
    names = {f"mine-{digest[:12]}.py" for digest in (first, second)}
    assert {path.name for path in run.glob("mine-*.py")} == names


@pytest.mark.parametrize(("old", "new", "message"), [
    ("class Edges(Objective):", "class Edges:", r"mine\.py, line \d+: Edges "),
    ("def loss(", "def lost(", "Edges .*`loss`"),
    ("class Edges", "class Edge", "mine.py: 'Edges'.* 'Edge'"),
    ("return Loss(total", "return (total", r"mine\.py.*loss\(\) .*Loss"),
    ("return Loss(total", "return Loss(total * float('nan')", "finite"),
    ("return Loss(total", "return Loss(total + (0 * total).sqrt()", "finite"),
    ("def loss(", "def loss(self, *given): raise SystemExit\n    def lost(", "SystemExit"),
    ("estimate.images -", "estimate.pictures -", r"mine\.py, line \d+.*'pictures'"),
])  # fmt: skip
def test_a_loss_that_cannot_work_is_refused_before_the_first_step(place, old, new, message):
    assert old in CODE
    (place / "mine.py").write_text(CODE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        train()
    assert not (place / "runs" / "mine" / "state.pt").exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticStage(Stage):
    r1: Weight = 1.0


class Critic(Objective):
    """Learns a number of its own beside the network, has it in its state and validates nothing."""

    stage_type = CriticStage

    def __init__(self, stage, setup):
        super().__init__(stage, setup)
        self.score = torch.nn.Parameter(torch.ones(()))
        self.optimiser = setup.optimisers.adam([self.score], 1e-3)

    def loss(self, network, batch, step):
        result = network(batch.crops, network.controls_at(0.0, 0.0))
        cost = rate_distortion(batch.crops, result.images, result.y_bits + result.z_bits)

        def update(factor):
            self.optimiser.zero_grad()
            (self.stage.r1 * cost.mse.mean().detach() * self.score.square()).backward()
            self.setup.optimisers.step(self.optimiser)
            return {"r1": self.score.detach().clone()}

        return Loss(cost.loss(self.stage.lambdas[0]).mean(), {"bpp": cost.bpp.mean()}, update)

    def validate(self, network, photographs):
        return None

    def state(self):
        return {"score": self.score.detach(), "optimiser": self.optimiser.state_dict()}

    def load_state(self, state):
        self.score.data = state["score"]
        self.optimiser.load_state_dict(state["optimiser"])


CRITIC = {"objective": "critic", "r1": 0.5, "steps": 4}


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "critic", f"{__name__}:Critic")


def test_an_objective_is_one_of_the_table_with_fields_of_its_own():
    assert recipe_of(CRITIC).stages[0].r1 == 0.5
    for wrong, message in (({"gan_per_beta": 0.1}, "gan_per_beta"), ({"r1": -1}, "r1 is -1")):
        with pytest.raises(ValueError, match=f"stage 1.*{message}"):
            recipe_of({**CRITIC, **wrong})


def test_it_is_trained_by_the_loop_and_resumed_exactly(tmp_path):
    recipe, make = recipe_of(CRITIC, report_every_steps=1, validate_every_steps=2), least_network
    unbroken_run, parts = tmp_path / "whole", tmp_path / "parts"
    train_toy(unbroken_run, recipe, make, validation=pictures(1))
    for _ in range(4):
        train_toy(parts, recipe, make, max_minutes=0)
    assert not differing(load_state(unbroken_run, CPU), load_state(parts, CPU))
    reports = read_reports(unbroken_run)
    assert [entry["r1"] for entry in reports] == [entry["r1"] for entry in read_reports(parts)]
    assert len({entry["r1"] for entry in reports}) == 4
    assert not any("validation" in entry for entry in reports), "it has none"
