"""Rows of packs that were sent, with their contents; reconstructions, scored beside their sizes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.datasets.dataset import Source
from benchmark.errors import BenchError
from benchmark.measure.cells import Conditions, Failed, plan
from benchmark.measure.pictures import Contents
from benchmark.measure.request import Request
from benchmark.measure.select import open_sources, select
from benchmark.measure.workbench import Workbench
from benchmark.registry import DATASETS, DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import label_of
from benchmark.rows.packs.pack import Pack, Row, with_rate
from benchmark.rows.schema import metric_columns
from benchmark.spec import CodecSpec, load_codec, parse_codec
from benchmark.system.text import one_line

Photographs = Mapping[str, Sequence[Source]]  # by dataset

# Columns that no review compares with anything, so that no author decides by them what is shown.
UNCOMPARED = (
    *("timing", "jobs", "source_lossy", "container_bytes", "estimated_bits"),
    *("parameters", "encode_kmac", "decode_kmac"),
)


class Sent(NamedTuple):
    """Rows as their author recorded them, and where their streams and pictures are."""

    contents: Contents
    rows: Sequence[Row]
    rates: Sequence[float]  # bpp of each row as it was sent; that of the row is of its bytes


def sent_rows(pack: Pack) -> Sent:
    """Return the rows of a pack, their texts in one line, without what nothing compares."""
    rows = [*pack.rows.values()]
    return Sent(pack, [*map(_compared_columns, rows)], [row["bpp"] for row in rows])


def _compared_columns(row: Row) -> Row:
    row = {name: one_line(of) if isinstance(of, str) else of for name, of in row.items()}
    return with_rate(row) | dict.fromkeys(UNCOMPARED)


def reconstructed(
    sizes: Path, images: Sequence[Source], dataset: str, conditions: Conditions
) -> list[Row]:
    """Score reconstructions beside a csv file of their sizes, of images of the dataset alone.

    The codec's name is that of the folder. Raises `BenchError` for a list that cannot be used.
    """
    name = f"{sizes.parent.name}-{sizes.stem}".removesuffix("-sizes")
    name = re.sub(r"[^\w.=-]", "_", name)
    spec = f"folder:path={sizes.parent}:csv={sizes.name}:name={name}"
    bench, codec = Workbench(conditions), load_codec(parse_codec(spec))
    cells = plan(select([spec], {}).contenders, dataset, images)
    with_line = (cell for cell in cells if codec.has(cell.source.file.name, cell.setting))
    done = [bench.carry_out(cell) for cell in with_line]
    same = {"variant": f"name={name}", "command": "reconstructions, with a list of their sizes"}
    rows = [{**stream.row, **same} for stream in done if not isinstance(stream, Failed)]
    here = f"{sizes.parent}/"
    return [{**row, "reason": (row.get("reason") or "").replace(here, "")} for row in rows]


def open_photographs(
    own: Iterable[str], more: Iterable[str], request: Request
) -> tuple[dict[str, Sequence[Source]], dict[str, str]]:
    """Return images by dataset, of registered `own` and of `more`, and why others are absent."""
    opened: dict[str, Sequence[Source]] = {}
    missing: dict[str, str] = {}
    of_rows = [name for name in own if name in DATASETS]
    for name in dict.fromkeys([*of_rows, *more]):
        try:
            asked = Request(dataset=name, data_dir=request.data_dir, flatten=request.flatten)
            opened[name] = open_sources(asked).images
        except BenchError as why:
            if name not in of_rows:
                raise
            missing[name] = str(why)
    return opened, missing


def scored_metrics(request: Request, *more: str) -> list[str]:
    """Return the names of the image metrics that streams are scored by: PSNR, and those asked."""
    names = dict.fromkeys(["psnr", *request.metrics, *more])
    return [name for name in names if name not in DISTRIBUTION_METRICS]


def values_sent(row: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, float]:
    """Return the values of a row under today's protocols, by metric column."""
    values = {}
    for kind in map(metric_class, metrics):
        value, protocol, _ = metric_columns(kind.column)
        if row.get(value) is not None and row.get(protocol) == kind.protocol:
            values[value] = row[value]
    return values


def label_of_row(row: Mapping[str, Any]) -> str:
    """Return the label of a row's codec variant."""
    return label_of(CodecSpec.of_row(row))


def setting_of(row: Mapping[str, Any]) -> str:
    """Return a row's setting: "quality=30"."""
    return f"{row['setting_name']}={row['setting_value']:g}"


def point_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the dataset, the label and the setting of a row."""
    return str(row["dataset"]), label_of_row(row), setting_of(row)


def name_of_row(row: Mapping[str, Any]) -> str:
    """Return codec, setting and image of a row: "vtm qp=22 kodim01.png"."""
    codec = ":".join(filter(None, (row["codec"], row["variant"])))
    return f"{codec} {setting_of(row)} {row['image']}"
