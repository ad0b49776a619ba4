"""Stored rows as a data frame, one per cell, and reasons for missing values."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import polars as pl
from polars import col

from benchmark.answer import Absent
from benchmark.compare.anchor import add_anchor
from benchmark.errors import BenchError, UsageError
from benchmark.metrics.metric import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, USUAL_METRICS, metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import Edition, labels, titles
from benchmark.rows.means import summarise_rows
from benchmark.rows.remedies import add_remedies
from benchmark.rows.schema import columns_of, metric_columns, user_columns
from benchmark.rows.shard import schema_of
from benchmark.rows.store import Store
from benchmark.rows.stored import RowSource, stored_dataset
from benchmark.rows.variants import Anchor, divide_rows
from benchmark.rows.versions import BUNDLED, OK
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome

Rows: TypeAlias = "pd.DataFrame | str | Path | Outcome"  # rows, or an argument of `load`
LABEL, RESULTS = "label", Path("results")
FIRST_COLUMNS = (
    *("codec", "setting_name", "setting_value", "dataset", "image"),
    *("width_px", "height_px", "num_bytes", "bpp", "encode_seconds", "decode_seconds"),
)
LAST_COLUMNS = (
    *("status", "stage", "reason", "codec_version", "fingerprint", "revision", "machine"),
    *("timing", "recorded", "bundled", "attested", "cell"),
)
KEY = ("cell", "bundled")  # columns that identify a row in its store
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
    """Load stored rows, one per cell, sorted by codec, variant, setting and image.

    As in a report, rows come from one edition of each codec variant: yours if it has every compared
    image, else the bundled one. Codecs are those measured in the folder, or named, and the anchor;
    if none was measured, all. Raises `UsageError` if the folder has no rows of a single dataset,
    `UnknownName` for a codec without rows, `StoreError` if they cannot be read.

    Parameters
    ----------
    source : path or Outcome
        Folder of a dataset, ``results/kodak``, or the outcome of `run` (its requested cells).
    codecs, bundled, anchor : str
        Options of `bench report` for a folder: codecs, instead of those measured there; bundled
        codecs to add, or "all"; the anchor of BD-rates (``attrs["anchor"]``).
    details : bool
        Return all columns of docs/protocol.md, including protocol ids and reasons.
    every_edition : bool
        Include rows of other builds, and all bundled rows.

    Returns
    -------
    DataFrame
        Some forty columns: ``codec`` with its options, ``label`` (its name in figures), setting,
        image, bytes, bpp, seconds, metrics that any row has, and the row's origin.
        Integers and booleans are pandas' nullable types; a metric without a value is NaN (`missing`
        says why); identical images have an infinite PSNR.
        ``attrs["units"]`` and ``attrs["meanings"]`` describe the columns, ``attrs["protocols"]``
        has the protocol ids that `summary` expects, ``attrs["folder"]`` is where the rows are
        stored, and ``attrs["absent"]`` lists the editions not shown, with reason and remedy.
    """
    folder_anchor: Anchor | None = None  # None unless rows are read from a folder
    absences: Sequence[Absent] = ()
    if isinstance(source, str | Path):
        folder = Path(source)
        _require_rows(folder)
        store = Store(folder)
        table = store.table()
        table, folder_anchor = add_anchor(
            *divide_rows(table, codecs, bundled), anchor, metrics=[*METRICS]
        )
        if not every_edition:
            rows = ComparableRows(table)
            summary = summarise_rows(rows, present_protocols(()))
            absences = add_remedies(summary, folder, table["run"].unique()).absent
            table = rows.shown_table
    else:
        folder, table = source.matrix.store.folder, source.rows
    table = table.sort("codec", "variant", *CELL[1:], nulls_last=True, maintain_order=True)
    names = table.columns if details else [*FIRST_COLUMNS, *_listed_metrics(table), *LAST_COLUMNS]
    frame = _pandas_frame(table.select(names))
    specs = [CodecSpec.parse(*pair) for pair in table.select("codec", "variant").rows()]
    label_by_spec = labels(dict.fromkeys(specs))
    editions = {spec: Edition.create(spec) for spec in label_by_spec}
    figure_titles = titles(editions.values())
    frame["codec"] = pd.Series([label_by_spec[spec] for spec in specs], dtype="str")
    frame.insert(names.index("codec") + 1, LABEL, [figure_titles[editions[spec]] for spec in specs])
    columns = [column for column in columns_of(table.columns) if column.name in frame]
    meanings = {column.name: column.meaning for column in columns}
    frame.attrs = {
        "units": {column.name: unit(column.name, column.unit) for column in columns},
        "meanings": {**meanings, LABEL: "name of the codec variant in figures"},
        "protocols": present_protocols((*METRICS, *DISTRIBUTION_METRICS)),
        "folder": str(folder),
        "anchor": folder_anchor.label if folder_anchor else anchor,
        "absent": [absence._asdict() for absence in absences],
        "codecs": {label: spec.name for spec, label in label_by_spec.items()},
    }
    return frame


def missing(source: Rows) -> pd.DataFrame:
    """Return the missing metric values of successful rows, with reasons.

    source: rows of a dataset from `load`, or an argument of `load`. The frame has ``codec``,
    setting, ``image``, ``metric`` (its column) and ``reason``.
    """
    table, _ = complete_rows(source)
    table = table.with_columns(codec=pl.Series(_codec_labels(table), dtype=pl.String)).filter(OK)
    frames = [pd.DataFrame(columns=[*CELL, "metric", "reason"])]
    for metric in _listed_metrics(table, with_reasons=True):
        value, _, reason = metric_columns(metric)
        null_rows = table.filter(col(value).is_null())
        if null_rows.height:
            reasons = col(reason).fill_null("not computed").alias("reason")
            frames.append(
                _pandas_frame(null_rows.select(*CELL, pl.lit(metric).alias("metric"), reasons))
            )
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _codec_labels(table: pl.DataFrame) -> list[str]:
    specs = [CodecSpec.parse(*pair) for pair in table.select("codec", "variant").rows()]
    label_by_spec = labels(dict.fromkeys(specs))
    return [label_by_spec[spec] for spec in specs]


def source_of(rows: Rows) -> RowSource:
    """Return the source of rows for a question: a dataset's folder, or loaded rows."""
    if isinstance(rows, str | Path):
        folder = Path(rows)
        _require_rows(folder)
        return RowSource(folder.parent, folder.name)
    if isinstance(rows, pd.DataFrame):
        table, folder = complete_rows(rows)
    else:
        table, folder = rows.rows, rows.matrix.store.folder
    return RowSource(folder.parent, folder.name, table)


def _require_rows(folder: Path) -> None:
    if not (folder.parent / folder.name.partition(":")[0] / "per_image").is_dir():
        datasets = sorted(path.parent.name for path in folder.glob("*/per_image"))
        hint = (
            f"name one of its folders, {', '.join(datasets)}"
            if datasets
            else "measure some with `run`"
        )
        with suppress(BenchError):  # suggest results of a folder of photographs
            stored = stored_dataset(RESULTS, str(folder))
            hint = hint if datasets else f"name results/{stored}"
        raise UsageError(f"{folder} holds no rows of a dataset: {hint}")


def complete_rows(source: Rows) -> tuple[pl.DataFrame, Path]:
    """Return a frame's rows, completed with columns from their store, and the store's folder."""
    frame = source if isinstance(source, pd.DataFrame) else load(source, details=True)
    missing_columns = [name for name in KEY if name not in frame]
    if not {"folder", "codecs"} <= {*frame.attrs}:
        missing_columns.append("attrs")
    if missing_columns:
        names = ", ".join(missing_columns)
        raise UsageError(f"the frame lacks {names}: keep these columns when you select rows")
    if not len(frame):
        raise UsageError("the frame has no rows: select at least one")
    folder = Path(frame.attrs["folder"])
    if "codec" in frame:
        frame = frame.assign(codec=frame["codec"].replace(frame.attrs["codecs"]))
    if not {column.name for column in columns_of(frame.columns)} <= {*frame.columns}:
        stored_rows = Store(folder).table().with_columns(BUNDLED.alias("bundled"))
        keys = _polars_table(frame[list(KEY)]).with_columns(BUNDLED.alias("bundled"))
        table = keys.join(stored_rows, on=KEY, how="left", maintain_order="left")
        if table["status"].null_count():
            raise UsageError(f"the frame has rows that {folder} does not have: `load` rows again")
        shared_columns = [name for name in table.columns if name in frame]
        table = table.with_columns(_polars_table(frame[shared_columns], table.columns)).select(
            stored_rows.columns
        )
    else:
        table = _polars_table(frame[[column.name for column in columns_of(frame.columns)]])
    datasets = sorted({name.partition(":")[0] for name in table["dataset"].unique()})
    if len(datasets) > 1:
        raise UsageError(f"the frame has rows of {' and '.join(datasets)}: select one dataset")
    return table, folder


def unit(column: str, stored: str = "") -> str:
    """Return the unit of a column, from the suffix of its name.

    >>> unit("psnr_db"), unit("bd_rate_percent"), unit("lpips_alex", "LPIPS (AlexNet)")
    ('dB', '%', '')
    """
    unit_by_suffix = {
        "_db": "dB", "_percent": "%", "bpp": "bit/px", "_seconds": "s",
        "_per_megapixel": "s/Mpx", "_db_of_mean_mse": "dB",
    }  # fmt: skip
    for suffix, unit_text in unit_by_suffix.items():
        if column.endswith(suffix):
            return unit_text
    return stored if stored in ("px", "bytes") else ""


def _pandas_frame(table: pl.DataFrame) -> pd.DataFrame:
    """Convert a polars frame to pandas, with nullable integers and booleans."""
    kinds = {pl.Int64: "Int64", pl.Boolean: "boolean", pl.Float64: "float64", pl.String: "str"}
    columns = {
        series.name: pd.Series(series.to_list(), dtype=kinds[series.dtype.base_type()])
        for series in table
    }
    return pd.DataFrame(columns)


def _polars_table(frame: pd.DataFrame, names: Iterable[str] = ()) -> pl.DataFrame:
    """Convert a pandas frame to polars, missing values to null; names: may add users' columns."""
    schema = schema_of([*frame.columns, *names])
    values = frame.astype(object).where(frame.notna(), None)
    return pl.DataFrame(
        pl.Series(name, values[name].to_list(), schema[name]) for name in frame.columns
    )


def _listed_metrics(table: pl.DataFrame, with_reasons: bool = False) -> list[str]:
    """Return the usual image metrics' columns, and those with a value (or reason) in any row."""
    usual_columns = {metric_class(name).column for name in USUAL_METRICS}

    def is_listed(column: str) -> bool:
        value, _, reason = metric_columns(column)
        nulls = [table[name].null_count() for name in (value, *[reason] * with_reasons)]
        return column in usual_columns or min(nulls) < table.height

    columns = [metric_class(name).column for name in METRICS]
    return list(filter(is_listed, (*columns, *user_columns(table.columns))))
