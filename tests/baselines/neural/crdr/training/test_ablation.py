"""Variants of a recipe: what they share and differ in, a tiny training of two, their figure."""

import json
from dataclasses import replace

import polars as pl
import pytest

from baselines.neural.training.gan import DISCRIMINATORS, GAN_LOSSES
from baselines.neural.training.recipe import load_recipe
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.systems import label_of
from benchmark.show.paper.ablation import OWN, draw_ablation, named
from support.rows.measured import sweep, table
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")
TRAINED = "Each variant: three steps."


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


def test_variants_go_on_from_the_stages_that_they_share_and_their_figure_is_prepared(place):
    out = place / "runs"
    first = bench(*training(place, out, "--max-minutes", 0))
    assert "the time is over after common" in first.stdout
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"common"}
    rest = bench(*training(place, out))
    assert rest.exit_code == 0, rest.output
    losses = [pl.read_parquet(out / name / "losses.parquet")["loss"].to_list()
              for name in ("common", "SGAN", "HRRGAN")]  # fmt: skip
    assert [len(of) for of in losses] == [1, 3, 3]
    assert losses[0] == losses[1][:1] == losses[2][:1]
    assert losses[1][1:] != losses[2][1:]
    cards = [json.loads((out / f"{name}.json").read_text()) for name in ("SGAN", "HRRGAN")]
    assert [card["steps"] for card in cards] == [3, 3]
    record = json.loads((out / "recipe.variants.json").read_text())
    assert list(record["labels"].values()) == ["SGAN", "HRRGAN"]
    assert record["own"] == "HRRGAN"
    assert "2 steps of 2 crops of 64 px" in record["trained"]
    (told,) = (line for line in rest.stdout.splitlines() if line.startswith("to compare: "))
    assert told.split()[5].split(",") == list(record["labels"])
    assert bench(*training(place, out)).stdout.count("finished before") == 3


def summary_of(names, extra=()):
    rows, labels = [], {}
    for place, name in enumerate(names):
        variant = f"beta=3.84:checkpoint=a/{place}.safetensors"
        labels[label_of("ours", variant)] = name
        for row in sweep("ours", variant=variant):
            rows.append(row | {"num_bytes": row["num_bytes"] + 10 * place})
    rows += extra
    return named(summarise(table(rows)), labels)


def test_one_panel_a_metric_and_one_curve_a_variant_through_the_means():
    summary = summary_of(["HRRGAN", "SGAN"], extra=sweep("jpeg"))
    drawing = draw_ablation(summary, [PSNR, LPIPS], "", "kodak", TRAINED)
    axes = drawing.figure.axes
    assert [ax.get_ylabel() for ax in axes] == ["PSNR (dB)", "LPIPS (AlexNet) ↓"]
    for panel, metric in zip(axes, (PSNR, LPIPS), strict=True):
        lines = {line.get_label(): line for line in panel.get_lines()}
        assert list(lines) == ["HRRGAN", "SGAN"]
        points = [point for point in summary.points if point.label == "SGAN"]
        values = [point.means[metric.column].value for point in points]
        assert lines["SGAN"].get_xdata().tolist() == [point.bpp for point in points]
        assert lines["SGAN"].get_ydata().tolist() == values
    assert any("psnr-rgb8/1" in cells for cells in drawing.sources.rows)
    assert TRAINED in drawing.caption


def test_the_changes_from_the_method_itself_are_drawn_where_it_was_measured():
    rows, labels = [], {}
    for name, psnr, lpips in (("HRRGAN", 30.0, 0.2), ("SGAN", 30.25, 0.25)):
        variant = f"beta=3.84:checkpoint=a/{name}.safetensors"
        labels[label_of("ours", variant)] = name
        rows += sweep("ours", variant=variant, psnr_db=psnr, lpips_alex=lpips)
    summary = named(summarise(table(rows)), labels)
    drawing = draw_ablation(summary, [PSNR, LPIPS], "HRRGAN", "kodak", TRAINED)
    decibels, percent = drawing.figure.axes
    assert decibels.get_ylabel() == "PSNR,\nchange (dB)"
    assert percent.get_ylabel() == "LPIPS (AlexNet),\nchange (%) ↓"
    own, other = decibels.get_lines()
    assert (own.get_color(), own.get_marker()) == OWN
    assert set(own.get_ydata()) == {0.0}
    assert other.get_ydata().tolist() == [0.25] * len(own.get_ydata())
    assert percent.get_lines()[1].get_ydata() == pytest.approx(25)
    assert "Changes from HRRGAN at equal settings" in drawing.caption
    assert {record["drawn"] for record in drawing.records} >= {30.25, 0.25}


def test_metrics_without_values_have_no_panel():
    summary = summary_of(["SGAN"])
    absent = Metric.named("lpips_squeeze")
    assert len(draw_ablation(summary, [PSNR, absent], "HRRGAN", "set", TRAINED).figure.axes) == 1
    assert draw_ablation(summary, [absent], "HRRGAN", "set", TRAINED) is None


def test_no_two_of_seven_discriminators_look_the_same():
    drawing = draw_ablation(
        summary_of([design.label for design in DISCRIMINATORS.values()]),
        [PSNR],
        "independent",
        "set",
        TRAINED,
    )
    (axes,) = drawing.figure.axes
    styles = {(line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert len(styles) == len({colour for colour, _ in styles}) == 7
