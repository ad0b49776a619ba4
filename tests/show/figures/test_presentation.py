"""A metric or dataset of one file and one registry line has its figures, tables and captions."""

import math
from pathlib import Path

import polars as pl
import pytest

from benchmark.compare.curve import measured_curves
from benchmark.compare.experiment import Experiment
from benchmark.datasets.dataset import Dataset, ImageFile, Profile
from benchmark.metrics.metric import Metric, Presentation, protocols
from benchmark.published.registry import Paper, Series, write_paper
from benchmark.registry import DATASETS, DISTRIBUTION_METRICS, METRICS
from benchmark.rows.edition import Edition
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.show.figures.style import styles
from benchmark.show.means_table import means_table
from benchmark.show.paper.crdr_figures import curves
from benchmark.spec import parse_codec
from support.added.metrics import line_of
from support.figures.published import drawn
from support.rows.measured import row, table

JPEG_STYLE = styles([Edition.create(parse_codec("jpeg"))])
PROFILES = {"garden": Profile("Garden", 4, 2.0, "JPEG")}


class Blur:
    """A metric of images that falls by decades."""

    column, label, better, protocol = "blur_px", "Blur (px)", "lower", "blur/1"
    presentation = Presentation("decades", realism=0, published="blur", meets=("blur/paper",))

    def __init__(self, device="cpu"):
        """No device."""


class Spread:
    """A distribution metric that crowds towards 1."""

    column, label, better, protocol = "spread", "Spread", "higher", "spread/1"
    space, min_images = "alex256", 2
    presentation = Presentation("saturating")


def open_garden(data_folders):
    return Dataset("garden", (ImageFile("a.png", Path("a.png")),))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(METRICS, "blur", line_of(Blur))
    monkeypatch.setitem(DISTRIBUTION_METRICS, "spread", line_of(Spread))
    monkeypatch.setitem(DATASETS, "garden", f"{__name__}:open_garden")


def rows(codec="jpeg", variant=""):
    return [
        row(
            codec, q, image, variant=variant, dataset="garden", num_bytes=100 * 2**q,
            blur_px=100.0 / 4**q, blur_px_protocol="blur/1",
        )
        for q in (0, 1, 2, 3, 4)
        for image in ("a.png", "b.png", "c.png", "d.png")
    ]  # fmt: skip


def test_a_new_metric_has_the_axis_that_its_class_declares():
    summary = summarise(table(rows()), protocols(["psnr", "blur"]))
    (axes,) = drawn([measured_curves(summary, Metric.named("blur"))], JPEG_STYLE).figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "Blur (px) ↓"


def test_a_new_distribution_metric_is_drawn_and_counted():
    spread = Metric.named("spread")
    frame = table(rows())
    values = pl.Series([0.9 + 0.01 * (index % 4) for index in range(frame.height)])
    columns = {"spread_protocol": pl.lit("spread/x"), "spread_reason": pl.lit(None, pl.String)}
    frame = frame.with_columns(spread=values, **columns)
    summary = summarise(frame, {"coding": "coding/1", "spread": "spread/x"})
    (axes,) = drawn([measured_curves(summary, spread)], JPEG_STYLE).figure.axes
    assert axes.get_ylabel() == "Spread (dB)\n4 images: biased upward"
    assert axes.get_lines()[0].get_ydata()[0] == pytest.approx(-10 * math.log10(1 - 0.915))
    assert "Spread" in means_table(summary, [spread]).headers


def test_the_papers_curves_of_a_new_dataset_and_metric_need_no_other_edit(tmp_path):
    folder = tmp_path / "r" / "published"
    folder.mkdir(parents=True)
    series = tuple(
        Series(
            system=system, variant=variant, dataset="garden", metric="blur", protocol=rule,
            rate_protocol="bpp/reported", how="table", reference="here", points=((0.5, 3.0),),
        )
        for system, variant, rule in (("HiFiC", "", "blur/paper"), ("ELIC", "mse", "blur/other"))
    )  # fmt: skip
    write_paper(Paper(title="A paper", series=series), folder / "a.json")
    Store(tmp_path / "r" / "garden").append(rows())
    figure = curves(Experiment(tmp_path / "r"), "curves", "garden", ("psnr", "blur"))
    drawn_curves = {(r["metric"], r["system"], r["measured"]) for r in figure.drawing.records}
    hific = ("blur_px", "HiFiC", False)
    assert drawn_curves == {("psnr_db", "JPEG", True), ("blur_px", "JPEG", True), hific}
    assert max(record["bpp"] for record in figure.drawing.records) <= 2.0
    assert figure.drawing.caption.startswith("PSNR and Blur (px) ")
    assert "Garden (4 images)" in figure.drawing.caption
    published = ("HiFiC (published)", "table", "A paper", "blur/paper")
    for source in (published, ("JPEG", "here", "blur/1")):
        assert any({*source} <= {*cells} for cells in figure.drawing.sources.rows)
    notes = zip(figure.drawing.table.notes, ("Against JPEG, ", "Blur (px): "), strict=False)
    assert all(note.startswith(start) for note, start in notes)
    assert figure.drawing.figure.axes[0].get_title(loc="left") == "Garden, 4 images"
