"""Variants of a recipe: what they share and differ in, a tiny training of two."""

import json
from dataclasses import replace

import polars as pl
import pytest

from baselines.neural.training.gan import DISCRIMINATORS, GAN_LOSSES
from baselines.neural.training.recipe import load_recipe
from benchmark.errors import UsageError
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

VARIANTS = """
[variants]
SGAN = { gan_loss = "sgan" }
HRRGAN = { gan_loss = "hrrgan" }
"""


@pytest.fixture
def place(tmp_path):
    write_photographs(tmp_path)
    path = write_recipe(tmp_path / "recipe.toml", rate_steps=1, realism_steps=2)
    path.write_text(path.read_text().replace("\n[[stage]]", VARIANTS + "\n[[stage]]", 1))
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "field", "table"),
    [("gan", "gan_loss", GAN_LOSSES), ("discriminator", "discriminator", DISCRIMINATORS)],
)
def test_variants_of_the_papers_differ_in_one_field_of_the_last_stage(recipe, field, table):
    made = load_recipe(recipe)
    *earlier, last = made.stages
    variants = made.varied().values()
    assert {getattr(variant.stages[-1], field) for variant in variants} == table.keys()
    for variant in variants:
        assert variant.stages[:-1] == tuple(earlier)
        assert replace(variant.stages[-1], **{field: getattr(last, field)}) == last


@pytest.mark.parametrize("fields", ['speed = "3"', 'gan_loss = "wgan"', "steps = 0"])
def test_a_variant_that_cannot_be_is_refused_with_its_field(place, fields):
    path = place / "recipe.toml"
    path.write_text(path.read_text().replace('gan_loss = "sgan"', fields))
    with pytest.raises(UsageError, match=fields.partition(" ")[0]):
        load_recipe(str(path))


def test_variants_go_on_from_the_stages_that_they_share_and_how_to_compare_them_is_said(place):
    out = place / "runs"
    first = bench(*training(place, out, "--max-minutes", 0))
    assert "the time is over after common" in first.stdout
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"common"}
    rest = bench(*training(place, out))
    assert rest.exit_code == 0, rest.output
    losses = [pl.read_csv(out / name / "losses.csv")["loss"].to_list()
              for name in ("common", "SGAN", "HRRGAN")]  # fmt: skip
    assert [len(of) for of in losses] == [1, 3, 3]
    assert losses[0] == losses[1][:1] == losses[2][:1]
    assert losses[1][1:] != losses[2][1:]
    cards = [json.loads((out / f"{name}.json").read_text()) for name in ("SGAN", "HRRGAN")]
    assert [card["steps"] for card in cards] == [3, 3]
    (told,) = (line for line in rest.stdout.splitlines() if line.startswith("to compare: "))
    specs = [f"ours:beta=3.84:checkpoint={out}/{name}.safetensors" for name in ("SGAN", "HRRGAN")]
    assert told.split()[5].split(",") == specs
    (drawn,) = (line for line in rest.stdout.splitlines() if line.startswith("to draw: "))
    assert drawn.count("--label ") == 2
    assert bench(*training(place, out)).stdout.count("finished before") == 3
