"""Stored rows as a data frame, one per cell, and what is known of their metrics."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import polars as pl
from polars import col

from benchmark.answer import Absent
from benchmark.compare.anchor import with_anchor
from benchmark.errors import BenchError, UsageError
from benchmark.metrics.metric import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, USUAL_METRICS, metric_class
from benchmark.rows import comparable
from benchmark.rows.edition import Edition, labels, titles
from benchmark.rows.means import summarise
from benchmark.rows.remedies import with_remedies
from benchmark.rows.schema import columns_of, metric_columns, own_columns
from benchmark.rows.shard import schema_of
from benchmark.rows.store import Store
from benchmark.rows.stored import Source, stored_dataset
from benchmark.rows.variants import Anchor, divided
from benchmark.rows.versions import BUNDLED, OK
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome

Rows: TypeAlias = "pd.DataFrame | str | Path | Outcome"  # rows, or where `load` finds them
LABEL, RESULTS = "label", Path("results")
FIRST = (
    *("codec", "setting_name", "setting_value", "dataset", "image"),
    *("width_px", "height_px", "num_bytes", "bpp", "encode_seconds", "decode_seconds"),
)
LAST = (
    *("status", "stage", "reason", "codec_version", "fingerprint", "revision", "machine"),
    *("timing", "recorded", "bundled", "attested", "cell"),
)
KEY = ("cell", "bundled")  # of a row in its store
CELL = ("codec", "setting_name", "setting_value", "image")


def load(
    source: "str | Path | Outcome",
    *,
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    details: bool = False,
    every_edition: bool = False,
) -> pd.DataFrame:
    """Return stored rows, one per cell, ordered by codec, variant, setting and image.

    They are of one edition of each codec variant, as in a report: yours where it has every image
    that is compared, else the bundled one, which the column ``bundled`` marks. Codecs are those
    measured in the folder, or named, and the anchor; all where nothing was measured. Raises
    `UsageError` if the folder holds no rows of a single dataset, `UnknownName` for a codec without
    rows, `StoreError` if they cannot be read.

    Parameters
    ----------
    source : path or Outcome
        The folder of one dataset, ``results/kodak``, or what `run` returned: then the rows of the
        cells that were asked for.
    codecs, bundled, anchor : str
        Of a folder, as options of `bench report`: comma-separated codecs instead of those measured
        there, bundled ones to add (or "all"), the anchor of BD-rates (``attrs["anchor"]``).
    details : bool
        Return all columns of docs/protocol.md, with each metric's protocol id and reason too.
    every_edition : bool
        Of a folder: also return rows of other builds, and bundled beside yours; fingerprint,
        revision and bundled tell them apart.

    Returns
    -------
    DataFrame
        Some forty columns: ``codec`` with its options, as `summary` and the commands have it,
        ``label`` (its name in figures), setting, image, bytes and bpp of the one image, seconds,
        the metrics that any row has, and where the row comes from.
        Integers and booleans are pandas' nullable types; a metric without a value is NaN (`missing`
        says why); identical images have an infinite PSNR.
        ``attrs["units"]`` and ``attrs["meanings"]`` describe the columns, ``attrs["protocols"]``
        has the protocol ids that `summary` expects, ``attrs["folder"]`` is where the rows are
        stored, and ``attrs["absent"]`` has the editions that are left out, with reason and remedy.
    """
    chosen: Anchor | None = None  # of rows that were read, the one that was named
    absent: Sequence[Absent] = ()
    if isinstance(source, str | Path):
        folder = Path(source)
        _require_rows(folder)
        store = Store(folder)
        table = store.table()
        table, chosen = with_anchor(*divided(table, codecs, bundled), anchor, metrics=[*METRICS])
        if not every_edition:
            summary = summarise(table, present_protocols(()))
            absent = with_remedies(summary, folder, table["run"].unique()).absent
            table = comparable.shown_rows(table)
    else:
        folder, table = source.matrix.store.folder, source.rows
    table = table.sort("codec", "variant", *CELL[1:], nulls_last=True, maintain_order=True)
    names = table.columns if details else [*FIRST, *_metrics(table), *LAST]
    frame = _frame(table.select(names))
    specs = [CodecSpec.of(*pair) for pair in table.select("codec", "variant").rows()]
    labelled = labels(dict.fromkeys(specs))
    editions = {spec: Edition.of(spec) for spec in labelled}
    shown = titles(editions.values())
    frame["codec"] = pd.Series([labelled[spec] for spec in specs], dtype="str")
    frame.insert(names.index("codec") + 1, LABEL, [shown[editions[spec]] for spec in specs])
    columns = [column for column in columns_of(table.columns) if column.name in frame]
    meanings = {column.name: column.meaning for column in columns}
    frame.attrs = {
        "units": {column.name: unit(column.name, column.unit) for column in columns},
        "meanings": {**meanings, LABEL: "name of the codec variant in figures"},
        "protocols": present_protocols((*METRICS, *DISTRIBUTION_METRICS)),
        "folder": str(folder),
        "anchor": chosen.label if chosen else anchor,
        "absent": [lacking._asdict() for lacking in absent],
        "codecs": {label: spec.name for spec, label in labelled.items()},
    }
    return frame


def missing(source: Rows) -> pd.DataFrame:
    """Return the values that rows without failure lack, and why.

    source: rows of one dataset, from `load` (any selection of them), or what `load` takes. The
    frame has a row for each: ``codec``, setting, ``image``, ``metric`` (its column)
    and ``reason``, which names what installs or computes it.
    """
    table, _ = whole_rows(source)
    table = table.with_columns(codec=pl.Series(_labels(table), dtype=pl.String)).filter(OK)
    parts = [pd.DataFrame(columns=[*CELL, "metric", "reason"])]
    for metric in _metrics(table, asked=True):
        value, _, reason = metric_columns(metric)
        without = table.filter(col(value).is_null())
        if without.height:
            reasons = col(reason).fill_null("not computed").alias("reason")
            parts.append(_frame(without.select(*CELL, pl.lit(metric).alias("metric"), reasons)))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _labels(table: pl.DataFrame) -> list[str]:
    """Return for each row its codec with options, as the commands name it."""
    specs = [CodecSpec.of(*pair) for pair in table.select("codec", "variant").rows()]
    labelled = labels(dict.fromkeys(specs))
    return [labelled[spec] for spec in specs]


def source_of(rows: Rows) -> Source:
    """Return where a question finds rows: the folder of a dataset, or rows that were read."""
    if isinstance(rows, str | Path):
        folder = Path(rows)
        _require_rows(folder)
        return Source(folder.parent, folder.name)
    if isinstance(rows, pd.DataFrame):
        table, folder = whole_rows(rows)
    else:
        table, folder = rows.rows, rows.matrix.store.folder
    return Source(folder.parent, folder.name, table)


def _require_rows(folder: Path) -> None:
    """Raise `UsageError` for a folder that is not of one dataset, with what to name instead."""
    if not (folder.parent / folder.name.partition(":")[0] / "per_image").is_dir():
        inside = sorted(path.parent.name for path in folder.glob("*/per_image"))
        has = f"name one of {', '.join(inside)} in it" if inside else "`run` makes some"
        with suppress(BenchError):  # of the photographs themselves
            has = has if inside else f"results/{stored_dataset(RESULTS, str(folder))} does"
        raise UsageError(f"{folder} holds no rows of one dataset: {has}")


def whole_rows(source: Rows) -> tuple[pl.DataFrame, Path]:
    """Return the rows of a frame with all their columns, and the folder of their store.

    Columns that the frame lacks are read from its folder; those that it has count.
    """
    frame = source if isinstance(source, pd.DataFrame) else load(source, details=True)
    lacks = [name for name in KEY if name not in frame]
    if not {"folder", "codecs"} <= {*frame.attrs}:
        lacks.append("attrs")
    if lacks:
        what = ", ".join(lacks)
        raise UsageError(f"the frame lacks {what}: select rows of `load` and keep these")
    if not len(frame):
        raise UsageError("the frame has no rows")
    folder = Path(frame.attrs["folder"])
    if "codec" in frame:
        frame = frame.assign(codec=frame["codec"].replace(frame.attrs["codecs"]))
    if not {column.name for column in columns_of(frame.columns)} <= {*frame.columns}:
        stored = Store(folder).table().with_columns(BUNDLED.alias("bundled"))
        keys = _table(frame[list(KEY)]).with_columns(BUNDLED.alias("bundled"))
        table = keys.join(stored, on=KEY, how="left", maintain_order="left")
        if table["status"].null_count():
            raise UsageError(f"the frame has rows that {folder} does not hold: `load` it again")
        known = [name for name in table.columns if name in frame]
        table = table.with_columns(_table(frame[known], table.columns)).select(stored.columns)
    else:
        table = _table(frame[[column.name for column in columns_of(frame.columns)]])
    datasets = sorted({name.partition(":")[0] for name in table["dataset"].unique()})
    if len(datasets) > 1:
        raise UsageError(f"the frame has rows of {' and '.join(datasets)}: select one dataset")
    return table, folder


def unit(column: str, stored: str = "") -> str:
    """Return the unit of a column, by the end of its name where the schema has the metric's label.

    >>> unit("psnr_db"), unit("bd_rate_percent"), unit("lpips_alex", "LPIPS (AlexNet)")
    ('dB', '%', '')
    """
    by_ending = {
        "_db": "dB", "_percent": "%", "bpp": "bit/px", "_seconds": "s",
        "_per_megapixel": "s/Mpx", "_db_of_mean_mse": "dB",
    }  # fmt: skip
    for ending, text in by_ending.items():
        if column.endswith(ending):
            return text
    return stored if stored in ("px", "bytes") else ""


def _frame(table: pl.DataFrame) -> pd.DataFrame:
    """Return a table as a frame of pandas, whole numbers and booleans in its nullable types."""
    kinds = {pl.Int64: "Int64", pl.Boolean: "boolean", pl.Float64: "float64", pl.String: "str"}
    columns = {of.name: pd.Series(of.to_list(), dtype=kinds[of.dtype.base_type()]) for of in table}
    return pd.DataFrame(columns)


def _table(frame: pd.DataFrame, names: Iterable[str] = ()) -> pl.DataFrame:
    """Return a frame of pandas as a table; what pandas takes for missing is null.

    names: of more columns, by which those of users' metrics are known.
    """
    schema = schema_of([*frame.columns, *names])
    return pl.DataFrame(
        pl.Series(name, [None if pd.isna(x) else x for x in frame[name]], schema[name])
        for name in frame.columns
    )


def _metrics(table: pl.DataFrame, asked: bool = False) -> list[str]:
    """Return the columns of the usual image metrics, and of those that any row has a value of.

    asked: or a reason why it has none.
    """
    usual = {metric_class(name).column for name in USUAL_METRICS}

    def has(column: str) -> bool:
        value, _, reason = metric_columns(column)
        nulls = [table[name].null_count() for name in (value, *[reason] * asked)]
        return column in usual or min(nulls) < table.height

    known = [metric_class(name).column for name in METRICS]
    return list(filter(has, (*known, *own_columns(table.columns))))
