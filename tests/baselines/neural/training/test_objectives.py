"""Objectives that are a class and a line in a table: the loop trains and resumes them unchanged."""

import pytest

from baselines.neural.training.recipe import OBJECTIVES
from baselines.neural.training.run import load_state, read_reports
from support.training.fixtures import (
    CPU,
    differing,
    least_network,
    pictures,
    recipe_of,
    train_toy,
)

GAN = {"objective": "latent_gan", "r1": 0.5, "steps": 4}


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "latent_gan", "support.added.objectives:LatentGAN")


def test_an_objective_is_one_of_the_table_with_fields_of_its_own():
    assert recipe_of(GAN).stages[0].r1 == 0.5
    for wrong, message in (({"gan_per_beta": 0.1}, "gan_per_beta"), ({"r1": -1}, "r1 is -1")):
        with pytest.raises(ValueError, match=f"in stage 1, .*{message}"):
            recipe_of({**GAN, **wrong})


def test_it_is_trained_by_the_loop_and_resumed_exactly(tmp_path):
    recipe, make = recipe_of(GAN, report_every_steps=1, validate_every_steps=2), least_network
    unbroken_run, parts = tmp_path / "whole", tmp_path / "parts"
    train_toy(unbroken_run, recipe, make, validation=pictures(1))
    for _ in range(4):
        train_toy(parts, recipe, make, max_minutes=0)
    assert not differing(load_state(unbroken_run, CPU), load_state(parts, CPU))
    reports, resumed_reports = (read_reports(run) for run in (unbroken_run, parts))
    assert [entry["r1"] for entry in reports] == [entry["r1"] for entry in resumed_reports]
    assert len({entry["r1"] for entry in reports}) == 4
    assert not any("validation" in entry for entry in reports), "it has none"
