"""`bench ablation`: what its runs share and differ in, a tiny one from end to end, its figure."""

import json
from dataclasses import replace

import polars as pl
import pytest

from baselines.commands.training import DISCRIMINATORS, KINDS, LOSSES, ablation
from baselines.neural.training.gan import DISCRIMINATORS as EVERY_DISCRIMINATOR
from baselines.neural.training.gan import GAN_LOSSES as EVERY_LOSS
from baselines.neural.training.recipe import load_recipe
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.systems import label_of
from benchmark.show.paper.ablation import OWN, draw_ablation, named
from support.rows.measured import sweep, table
from support.training.tiny_runs import bench, write_photographs, write_recipe

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")
TRAINED = "Each variant: three steps."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml", rate_steps=1, realism_steps=2)
    return folder


def words(place, kind, out, *more):
    return (
        "ablation", kind, "--recipe", place / "recipe.toml", "--data", place / "photos",
        "--validation", place / "unseen", "--dataset", place / "unseen", "--out", out, *more,
    )  # fmt: skip


def test_every_objective_and_every_discriminator_has_a_variant():
    assert LOSSES.keys() == EVERY_LOSS.keys()
    assert DISCRIMINATORS.keys() == EVERY_DISCRIMINATOR.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_variants_differ_in_one_choice_of_the_last_stage(kind):
    paper = load_recipe("paper")
    common, variants = ablation(kind, paper)
    assert common == replace(paper, stages=paper.stages[:2])
    choices = {(variant.recipe.stages[2].gan_loss, variant.recipe.stages[2].discriminator)
               for variant in variants}  # fmt: skip
    assert (
        choices
        == {
            "gan": {(objective, "independent") for objective in LOSSES},
            "discriminator": {("hrrgan", discriminator) for discriminator in DISCRIMINATORS},
        }[kind]
    )
    for variant in variants:
        *before, last = variant.recipe.stages
        own = replace(last, gan_loss="hrrgan", discriminator="independent")
        assert (*before, own) == paper.stages
        assert variant.name == f"{last.gan_loss}-{last.discriminator}"


def test_a_recipe_of_one_stage_has_nothing_in_common(place):
    recipe = load_recipe(str(place / "recipe.toml"))
    common, variants = ablation("gan", replace(recipe, stages=recipe.stages[1:]), ("rgan",))
    assert common is None
    assert [(variant.name, variant.label) for variant in variants] == [("rgan-independent", "RGAN")]


def test_a_last_stage_without_a_gan_is_refused():
    with pytest.raises(UsageError, match=r"the last stage of night has no GAN"):
        ablation("gan", replace(load_recipe("night"), stages=load_recipe("night").stages[:1]))


@pytest.mark.slow
def test_variants_start_from_one_network_are_measured_and_drawn(place, tmp_path):
    out = tmp_path / "ablation"
    given = words(
        place, "gan", out, "--variants", "sgan,hrrgan", "--metrics", "psnr", "--quiet", "--jobs", 1
    )
    first = bench(*given, "--max-minutes", 0)
    assert "the time is over after common" in first.stdout
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"common"}
    rest = bench(*given)
    assert rest.exit_code == 0, rest.output
    starts = [pl.read_parquet(out / name / "losses.parquet")["loss"].to_list()
              for name in ("common", "sgan-independent", "hrrgan-independent")]  # fmt: skip
    assert [len(losses) for losses in starts] == [1, 3, 3]
    assert starts[0] == starts[1][:1] == starts[2][:1]
    assert starts[1][1:] != starts[2][1:]
    cards = [json.loads((out / f"{name}-independent.json").read_text())
             for name in ("sgan", "hrrgan")]  # fmt: skip
    assert [card["steps"] for card in cards] == [3, 3]
    assert cards[0]["sha256"] != cards[1]["sha256"]
    (store,) = (out / "results").iterdir()
    rows = [row for part in (store / "per_image").glob("*.parquet")
            for row in pl.read_parquet(part).rows(named=True)]  # fmt: skip
    assert len(rows) == 2 * 5
    assert all("beta=3.84" in row["variant"] and row["psnr_db"] > 0 for row in rows)
    text = (out / "gan.md").read_text()
    assert "2 steps of 2 crops of 64 px" in text
    assert text.count("| SGAN |") == text.count("| HRRGAN |") == 5
    assert (out / "gan.pdf").read_bytes().startswith(b"%PDF")
    again = bench(*given)
    assert again.stdout.count(".safetensors: finished before") == 3
    assert "0 cells measured" in again.stdout
    assert (out / "gan.md").read_text() == text


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
    assert any("psnr-rgb8/1" in detail for detail in drawing.details)
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
        summary_of(list(DISCRIMINATORS.values())), [PSNR], "independent", "set", TRAINED
    )
    (axes,) = drawing.figure.axes
    styles = {(line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert len(styles) == len({colour for colour, _ in styles}) == 7
