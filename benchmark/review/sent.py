"""Rows and streams of submitted packs; scores of submitted reconstructions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.datasets.dataset import Source
from benchmark.errors import BenchError
from benchmark.measure.cells import Failed, RunConditions, plan
from benchmark.measure.pictures import Contents
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources, select
from benchmark.measure.workbench import Workbench
from benchmark.registry import DATASETS, DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import label_of
from benchmark.rows.packs.pack import Pack, Row, recompute_rate
from benchmark.rows.schema import metric_columns
from benchmark.spec import CodecSpec, load_codec, parse_codec
from benchmark.system.text import one_line

Photographs = Mapping[str, Sequence[Source]]  # by dataset

# Columns that a review cannot check, removed so that an author cannot choose what it shows
UNCOMPARED_COLUMNS = (
    *("timing", "jobs", "source_lossy", "container_bytes", "estimated_bits"),
    *("parameters", "encode_kmac", "decode_kmac"),
)


class SentRows(NamedTuple):
    """Rows of an author's pack, with its streams and pictures."""

    contents: Contents
    rows: Sequence[Row]
    rates: Sequence[float]  # submitted bpp of each row; `rows` have the bpp of their bytes


def sent_rows(pack: Pack) -> SentRows:
    """Return a pack's rows without `UNCOMPARED_COLUMNS`; texts have one line."""
    rows = [*pack.rows.values()]
    return SentRows(pack, [*map(_compared_columns, rows)], [row["bpp"] for row in rows])


def _compared_columns(row: Row) -> Row:
    row = {
        name: one_line(value) if isinstance(value, str) else value for name, value in row.items()
    }
    return recompute_rate(row) | dict.fromkeys(UNCOMPARED_COLUMNS)


def score_reconstructions(
    sizes: Path, images: Sequence[Source], dataset: str, conditions: RunConditions
) -> list[Row]:
    """Score the reconstructions in a csv file of sizes; raise `BenchError` if it is invalid."""
    name = f"{sizes.parent.name}-{sizes.stem}".removesuffix("-sizes")
    name = re.sub(r"[^\w.=-]", "_", name)
    spec = f"folder:path={sizes.parent}:csv={sizes.name}:name={name}"
    bench, codec = Workbench(conditions), load_codec(parse_codec(spec))
    cells = plan(select([spec], {}).contenders, dataset, images)
    listed_cells = (cell for cell in cells if codec.has(cell.source.file.name, cell.setting))
    outcomes = [bench.carry_out(cell) for cell in listed_cells]
    command = "reconstructions with a list of sizes"
    rows = []
    for outcome in outcomes:
        if not isinstance(outcome, Failed):
            reason = (outcome.row.get("reason") or "").replace(f"{sizes.parent}/", "")
            changes = {"variant": f"name={name}", "command": command, "reason": reason}
            rows.append({**outcome.row, **changes})
    return rows


def open_photographs(
    row_datasets: Iterable[str], other_datasets: Iterable[str], request: Request
) -> tuple[dict[str, Sequence[Source]], dict[str, str]]:
    """Return images by dataset, and why `row_datasets` are missing; others raise `BenchError`."""
    images_by_dataset: dict[str, Sequence[Source]] = {}
    reasons: dict[str, str] = {}
    registered_names = [name for name in row_datasets if name in DATASETS]
    for name in dict.fromkeys([*registered_names, *other_datasets]):
        try:
            new_request = Request(dataset=name, data_dir=request.data_dir, flatten=request.flatten)
            images_by_dataset[name] = open_sources(new_request).images
        except BenchError as error:
            if name not in registered_names:
                raise
            reasons[name] = str(error)
    return images_by_dataset, reasons


def scored_metrics(request: Request, *other_metrics: str) -> list[str]:
    """Return the image metrics with which to score streams: PSNR, the request's, and others."""
    names = dict.fromkeys(["psnr", *request.metrics, *other_metrics])
    return [name for name in names if name not in DISTRIBUTION_METRICS]


def sent_values(row: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, float]:
    """Return a row's values under the current protocols, by metric column."""
    values = {}
    for metric_class_ in map(metric_class, metrics):
        value, protocol, _ = metric_columns(metric_class_.column)
        if row.get(value) is not None and row.get(protocol) == metric_class_.protocol:
            values[value] = row[value]
    return values


def label_of_row(row: Mapping[str, Any]) -> str:
    """Return the label of a row's codec variant."""
    return label_of(CodecSpec.parse_row(row))


def setting_of(row: Mapping[str, Any]) -> str:
    """Return a row's setting as "quality=30"."""
    return f"{row['setting_name']}={row['setting_value']:g}"


def point_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a row's dataset, label and setting."""
    return str(row["dataset"]), label_of_row(row), setting_of(row)


def name_of_row(row: Mapping[str, Any]) -> str:
    """Return a row's codec, setting and image as "vtm qp=22 kodim01.png"."""
    codec = ":".join(filter(None, (row["codec"], row["variant"])))
    return f"{codec} {setting_of(row)} {row['image']}"
