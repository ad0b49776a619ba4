"""Batches for codec-compare, of webmproject on GitHub: rows as the JSON that it documents."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import Float64Array
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.rows.comparable import image_numbers
from benchmark.rows.summary import TIMED, Point, Summary
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

LIST = "batches.json"
# Names of the page for what has another name here.
FIELDS = {"psnr_db": "psnr", "ms_ssim": "msssim", "lpips_alex": "lpips"}
TIMES = dict(zip(TIMED, ("encoding_time", "decoding_time"), strict=True))
UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")

SourceImage = tuple[str, int, int]  # name, width and height in pixels
Field = tuple[str, str, Sequence[Any]]  # name, description, values by row


class Batches(NamedTuple):
    """The files of an export, and sentences on what is not in them."""

    files: dict[str, str]  # by name; LIST names the others
    left_out: tuple[str, ...]


def batches(
    summary: Summary, table: pl.DataFrame, measures: Sequence[Measure], dataset: str
) -> Batches:
    """Return the batches of every codec variant of a dataset.

    table: the rows behind `summary`, with all columns of `rows.schema`. measures: metrics
    of single images. JSON has no infinity and the page makes 0 of null, so a metric that lacks a
    finite value in any row of a variant is no field of its batch.
    """
    facts = table.select("image", "width_px", "height_px").rows()
    numbered = zip(image_numbers(table).tolist(), facts, strict=True)
    # Images that could not be read have no size.
    images = {number: of for number, of in numbered if of[1] is not None}
    of_label: dict[str, list[Point]] = {}
    for point in summary.points:
        if point.images:
            of_label.setdefault(point.label, []).append(point)
    files: dict[str, str] = {}
    left_out: list[str] = []
    for label, points in of_label.items():
        made = table.filter(col("command") == points[0].edition.command)
        time = str(made["finished_utc"].max() or "")
        sources = [images[n] for point in points for n in point.image_ids.tolist()]
        fields, missing = _fields(points, sources, measures, summary.protocols)
        constants = _constants(points[0], dataset, time, summary.protocols["coding"])
        rows = list(zip(*(values for _, _, values in fields), strict=True))
        bpp = np.concatenate([point.image_bpp for point in points]).tolist()
        order = sorted(range(len(rows)), key=lambda at: (rows[at][0], bpp[at]))
        batch = {
            "constant_descriptions": [{name: text} for name, text, _ in constants],
            "constant_values": [value for _, _, value in constants],
            "field_descriptions": [{name: text} for name, text, _ in fields],
            "field_values": [list(rows[place]) for place in order],
        }
        name = UNSAFE.sub("_", label)
        while f"{name}.json" in {LIST, *files}:
            name += "_"
        files[f"{name}.json"] = json.dumps(batch, indent=1, allow_nan=False) + "\n"
        left_out += [f"{label}: {sentence}" for sentence in missing]
    listed = json.dumps([[name] for name in files], indent=1) + "\n"
    return Batches({LIST: listed, **files}, tuple(left_out))


def require_own(path: Path) -> None:
    """Raise `UsageError` where there is a file that is no batch, and no list of batches."""
    try:
        text = read_regular(path, LARGEST_FILE_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be replaced: {error.strerror or error}") from error
    if not re.match(rb'\[\]|\[\n \[\n  "' if path.name == LIST else rb'{\n "constant_desc', text):
        raise UsageError(f"{path} was not written by this command: give --to another folder")


def _fields(
    points: Sequence[Point],
    sources: Sequence[SourceImage],
    measures: Sequence[Measure],
    protocols: Mapping[str, str],
) -> tuple[list[Field], list[str]]:
    """Return the columns of a batch, and sentences on those that it lacks.

    sources: of the streams of all points.
    """
    names, widths, heights = zip(*sources, strict=True)
    pixels = np.array(widths, np.float64) * heights
    sizes = np.concatenate([point.image_bpp for point in points]) * pixels / 8
    settings = [point.setting.value for point in points for _ in point.image_ids]
    control = f"Rate control of this codec: {points[0].setting.name}"
    fields: list[Field] = [
        ("original_name", "Original image file name", names),
        ("width", "Pixel columns in the original image", widths),
        ("height", "Pixel rows in the original image", heights),
        ("quality", control, settings),
        ("encoded_size", "Size of the encoded image file in bytes", [*map(round, sizes.tolist())]),
    ]
    missing = []
    for measure in measures:
        values = [measure.plotted(value) for value in _values(points, measure.column).tolist()]
        lacking = int(np.count_nonzero(~np.isfinite(values)))
        if not lacking:
            name = FIELDS.get(measure.column, measure.column)
            text = f"{measure.axis_label}, {measure.better} is better; {protocols[measure.column]}"
            fields.append((name, text, values))
        elif lacking < len(values):
            missing.append(f"no {measure.label}: {lacking} of {len(values)} rows have no number")
    for column, name in TIMES.items():
        seconds = _values(points, column) * pixels / 1e6
        if np.isfinite(seconds).all():
            text = f"{name.partition('_')[0].capitalize()} duration in seconds, timed alone"
            fields.append((name, text, seconds.tolist()))
    return fields, missing


def _constants(point: Point, dataset: str, time: str, coding: str) -> list[tuple[str, str, str]]:
    """Return the texts about all of a batch (name, description, text); time: of the last row."""
    edition = point.edition
    call = edition.command.replace(f"{{{point.setting.name}}}", "${quality}")
    constants = [
        ("name", "Name of this batch", edition.label),
        ("codec", "Name of the codec used to generate this data", edition.codec),
        ("version", "Version of the codec used to generate this data", edition.version),
        ("time", "Timestamp of when this data was generated", time),
        ("source_data_set", "The origin of the images used as input", dataset),
        ("encoding_cmd", "The command used to encode the original image", call),
        ("chroma", "Chroma format of the streams", edition.facts.chroma),
        ("tuned_for", "Metric that the encoder is tuned for", edition.facts.tuned_for),
        ("caveat", "Caveat of the codec", "; ".join(edition.caveats)),
        ("rate", "Protocol of coding and of the sizes", coding),
    ]
    return [constant for constant in constants if constant[2]]


def _values(points: Sequence[Point], column: str) -> Float64Array:
    return np.concatenate([point.image_values[column] for point in points])
