"""Results with kept streams, and pages of them, for the tests of the report page."""

import json
import math
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from imagecodecs import webp_decode
from PIL import Image

from benchmark.codec import CODING, Pixels
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.published.curves import overlays
from benchmark.published.registry import chosen_points
from benchmark.rows.means import summarise
from benchmark.rows.stored import read_results
from benchmark.show.absences import problems, value_absences
from benchmark.show.figures.style import Style
from benchmark.show.means_table import means_table
from benchmark.show.page.content import Content, DecodedPicture, SourcePicture, legend_entry
from benchmark.show.page.document import html_text
from benchmark.show.page.write import write_page
from benchmark.show.report.dataset_report import Report, compare_all
from benchmark.show.report.details import PAGE_CODECS, codec_records, codecs_table, page_sections
from benchmark.show.sections import section
from benchmark.show.table import Table
from benchmark.spec import parse_codec
from support.bench.command import bench
from support.codecs.files import FAKES
from support.rows.by_label import anchor, rank_by_bd_rate
from support.rows.measured import row, table

HOSTILE = "<img src=x onerror='alert(1)'> & \"two\".png"
IMAGES = ("cup.png", HOSTILE, "spoon.png")
WIDTH, HEIGHT = 240, 200
CODECS = ("jpeg", "jpeg:subsampling=444", "webp", "jpeg2000")
POINTS = ("jpeg.quality=20,50,80,90", "webp.quality=10,40,70,90", "jpeg2000.ratio=96,48,24,12")
METRICS = ("psnr", "ms_ssim")


def measure(folder: Path, coffee: Pixels) -> Path:
    """Three photographs in folder/photos, measured for real; returns the results' folder.

    One codec fails on all of them.
    """
    photos = folder / "photos"
    photos.mkdir()
    for name, (left, top) in zip(IMAGES, ((0, 0), (160, 100), (330, 190)), strict=True):
        crop = np.ascontiguousarray(coffee[top : top + HEIGHT, left : left + WIDTH])
        Image.fromarray(crop).save(photos / name)
    run(folder, ",".join((*CODECS, f"{FAKES}:CrashesOnEncode")))
    return folder / "results"


def run(folder: Path, codecs: str) -> None:
    points = [part for point in POINTS for part in ("--points", point)]
    place = "--dataset", folder / "photos", "--results", folder / "results"
    metrics = "--metrics", ",".join(METRICS), "--no-table"
    bench("run", "--codecs", codecs, *points, *place, *metrics, code=1)


def make_page(results: Path, dataset: str, images: str = "all", published: str = "") -> Path:
    """The page as `bench report --page` writes it, without the figures; returns its path."""
    [stored_name] = [p.parent.name for p in results.glob(f"{Path(dataset).name}*/per_image")]
    stored = read_results(results, stored_name, "all", METRICS, with_streams=True)
    metrics = [Metric.named(metric) for metric in METRICS]
    over = overlays(chosen_points(results, published), stored.summary, metrics, stored_name, False)
    _, deltas = compare_all(stored.summary, metrics, anchor("jpeg"), USUAL_RULE)
    means = means_table(stored.summary, metrics)
    ranking = rank_by_bd_rate(stored.summary, metrics, "jpeg")
    absent = [*problems(stored.summary, stored.runs), *value_absences(stored.summary, metrics)]
    sections = page_sections(stored.summary, ranking, deltas, means, absent)
    tables = metrics, metrics, sections, deltas, over, ranking
    report = Report(stored, *tables, absent=absent, anchor=parse_codec("jpeg"))
    experiment = Experiment(results, dataset, published=published)
    silent = (lambda total: nullcontext(lambda state: None)), (lambda sentence: None)
    return Path(write_page(experiment, report, images, False, *silent)[0])


def make_page_of_sets(path: Path) -> list[float]:
    """A page of FID/256 alone at a point, with a caveat: each image's value and influence."""
    values = [12.0, 10.5, 14.0, 11.5]
    fid = Metric.named("fid256")
    rows = table([row("jpeg", 10, name, caveat="a trial") for name in ("a", "bb", "ccc", "dddd")])
    columns = {"fid256_protocol": pl.lit("fid256/x"), "fid256_reason": pl.lit(None, pl.String)}
    rows = rows.with_columns(fid256=pl.Series(values), **columns)
    summary = summarise(rows, {"coding": CODING, fid.column: "fid256/x"})
    [point] = summary.points
    codecs = codecs_table(codec_records(summary), PAGE_CODECS)
    means = Table(("codec", "setting", "FID/256"), (("jpeg", "quality=10", "12.0"),), 2)
    bodies = {"ranking": (), "bd_rates": ("None.",), "means": (means,), "codecs": (codecs,),
              "missing": ("Nothing.",)}  # fmt: skip
    content = Content(
        dataset="sets", title="Sets", headline="One point.", summary=summary, metrics=[fid],
        legend={"jpeg": legend_entry("jpeg", Style("#000000", "s"))},
        photographs={n: SourcePicture(f"{n}.png", 8, 8, None, "none") for n in point.image_ids},
        pictures={("jpeg", "quality=10", n): DecodedPicture(None, "none") for n in point.image_ids},
        sections={name: section(name, name, *body) for name, body in bodies.items()},
        facts=(), shown_labels=["jpeg"], lead_columns=[fid.column],
    )  # fmt: skip
    path.write_text(html_text(content))
    return values


def data_of(page: Path) -> dict[str, Any]:
    result = re.search(r'id="page-data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert result
    data: dict[str, Any] = json.loads(result[1])
    saturating = {record["column"]: record["saturating"] for record in data["measures"]}
    for point in data["points"]:
        for column, mean in point["means"].items():  # what model.js fills in
            if mean["value"] is not None and not mean.get("excluded"):
                value = mean["value"]
                place = -10 * math.log10(1 - value) if saturating[column] else value
                point["means"][column] = {"bpp": point["bpp"], "place": place, **mean}
    return data


def pixels_of(path: Path) -> Pixels:
    if path.suffix == ".webp":  # which pillow-simd may have been built without
        return np.asarray(webp_decode(path.read_bytes()))
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
