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
    loaded = load_recipe(recipe)
    *earlier, last = loaded.stages
    variants = loaded.variant_recipes().values()
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
    assert "the time is up after common" in first.stdout
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"common"}
    second_run = bench(*training(place, out))
    assert second_run.exit_code == 0, second_run.output
    losses = [pl.read_csv(out / name / "losses.csv")["loss"].to_list()
              for name in ("common", "SGAN", "HRRGAN")]  # fmt: skip
    assert [len(values) for values in losses] == [1, 3, 3]
    assert losses[0] == losses[1][:1] == losses[2][:1]
    assert losses[1][1:] != losses[2][1:]
    cards = [json.loads((out / f"{name}.json").read_text()) for name in ("SGAN", "HRRGAN")]
    assert [card["steps"] for card in cards] == [3, 3]
    (run_line,) = (
        line for line in second_run.stdout.splitlines() if line.startswith("to compare: ")
    )
    specs = [f"ours:beta=3.84:checkpoint={out}/{name}.safetensors" for name in ("SGAN", "HRRGAN")]
    assert run_line.split()[5].split(",") == specs
    (draw_line,) = (line for line in second_run.stdout.splitlines() if line.startswith("to draw: "))
    assert draw_line.count("--label ") == 2
    assert bench(*training(place, out)).stdout.count("already finished") == 3
