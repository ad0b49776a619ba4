"""Rows of a supplement, with their streams; reconstructions, scored beside their stated sizes."""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.answer import Absent
from benchmark.codec import bits_per_pixel
from benchmark.datasets.dataset import Source
from benchmark.measure.cells import Conditions, Failed, plan
from benchmark.measure.request import Request
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.review.supplement import Supplement
from benchmark.rows.comparable import shown
from benchmark.rows.packs.contents import row_of
from benchmark.rows.schema import table_columns
from benchmark.rows.store import Store
from benchmark.rows.systems import label_of
from benchmark.rows.versions import BUNDLED
from benchmark.spec import load_codec, parse_codec
from benchmark.system.text import counted, number_in, one_line

Row = dict[str, Any]

# Columns that no review compares with anything, so that no author decides by them what is shown.
UNCOMPARED = (
    *("generation", "timing", "jobs", "source_lossy", "container_bytes", "estimated_bits"),
    *("parameters", "encode_kmac", "decode_kmac"),
)


class Sent(NamedTuple):
    """A row as its author recorded it, and what returns its stream; None where none was sent."""

    row: Row
    read: Callable[[], bytes | None] | None
    bpp: float | None = None  # as it was sent; that of the row is of its bytes

    @property
    def dataset(self) -> str:
        """The dataset's name, without a part of it."""
        return str(self.row["dataset"]).partition(":")[0]


def sent_rows(supplement: Supplement) -> tuple[list[Sent], list[Absent]]:
    """Return the rows of all packs and results, and how many were left out as impossible.

    Marks of verification are taken off. Of results, rows that are bundled with the project are
    left out, and of each codec variant one build is taken. Raises `BadPack` for a malformed
    line.
    """
    result = [
        Sent(row_of(pack, of, ""), partial(pack.content, of), number_in(of.fields.get("bpp", "")))
        for pack in supplement.packs
        for of in pack.streams.values()
    ]
    for folder in supplement.results:
        store = Store(folder)
        for row in shown(store.table().filter(~BUNDLED)).rows(named=True):
            has = row["status"] == "ok" and store.has_stream(row["stream_sha256"])
            read = partial(store.stream, row["stream_sha256"]) if has else None
            result.append(Sent({**row, "attested": None}, read, row["bpp"]))
    kept = [sent._replace(row=row) for sent in result if (row := _possible(sent.row))]
    wrong = len(result) - len(kept)
    if not wrong:
        return kept, []
    why = "of no size, no bytes or no setting that there can be"
    return kept, [Absent(counted(wrong, "row"), why)]


def _possible(row: Row) -> Row:
    """Return a row of all columns, with the rate of its bytes; empty where that cannot be."""
    row = {name: one_line(of) if isinstance(of, str) else of for name, of in row.items()}
    row = {**dict.fromkeys(column.name for column in table_columns()), **row}
    row |= dict.fromkeys(UNCOMPARED)
    sizes = [row[name] for name in ("width_px", "height_px", "num_bytes")]
    if row["status"] == "failed":
        return row
    if not all(size and size > 0 for size in sizes) or not math.isfinite(row["setting_value"] or 0):
        return {}
    return {**row, "bpp": bits_per_pixel(sizes[2], sizes[0] * sizes[1])}


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


def scored_metrics(request: Request, *more: str) -> list[str]:
    """Return the names of the image metrics that streams are scored by: PSNR, and those asked."""
    names = dict.fromkeys(["psnr", *request.metrics, *more])
    return [name for name in names if name not in DISTRIBUTION_METRICS]


def label_of_row(row: Row) -> str:
    """Return the label of a row's codec variant."""
    return label_of(row["codec"], row["variant"])


def setting_of(row: Row) -> str:
    """Return a row's setting: "quality=30"."""
    return f"{row['setting_name']}={row['setting_value']:g}"
