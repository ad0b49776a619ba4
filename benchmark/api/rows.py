"""Stored rows as a data frame, one per cell, and what is known of their metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import CODING
from benchmark.errors import UsageError
from benchmark.metrics.measure import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, USUAL_METRICS, metric_named
from benchmark.rows.comparable import Average, ComparableRows
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.schema import equals, marked, metric_columns, own_columns, schema_of
from benchmark.rows.store import Store
from benchmark.rows.stored import present
from benchmark.rows.summarise import Summary
from benchmark.rows.systems import label_of, short_names

if TYPE_CHECKING:
    from benchmark.measure.record import Outcome

Source: TypeAlias = "pd.DataFrame | str | Path | Outcome"  # rows, or where `load` finds them
LABEL = "label"
FIRST = (
    *("codec", "variant", "setting_name", "setting_value", "dataset", "image"),
    *("width_px", "height_px", "num_bytes", "bpp", "encode_seconds", "decode_seconds"),
)
LAST = (
    *("status", "stage", "reason", "codec_version", "machine", "timing"),
    *("recorded", "bundled", "attested", "cell"),
)
KEY = ("cell", "bundled")  # of a row in its store
ORDER = ("codec", "variant", "setting_name", "setting_value", "image")


def load(
    source: "str | Path | Outcome", *, details: bool = False, all_rows: bool = False
) -> pd.DataFrame:
    """Return stored rows, one per cell, ordered by codec, variant, setting and image.

    Of several versions of a cell (tried again, timed, rescored) the best is returned. Bundled rows,
    which the column ``bundled`` marks, are returned where means are over them. Raises `UsageError`
    if the folder holds no rows of a single dataset, `StoreError` if they cannot be read.

    Parameters
    ----------
    source : path or Outcome
        The folder of one dataset, ``results/kodak``, or what `run` returned: then the rows of the
        cells that were asked for.
    details : bool
        Return all columns of docs/protocol.md, with each metric's protocol id and reason too.
    all_rows : bool
        Of a folder: also return rows of photographs that the dataset no longer has, where it is
        looked for as `bench report` does. ``attrs["gone"]`` names those left out.

    Returns
    -------
    DataFrame
        Some thirty columns: codec, variant and ``label`` (its name in figures), setting, image,
        bytes and bpp of the one image, seconds, the metrics that any row has, and where the row
        comes from. Integers and booleans are pandas' nullable types; a metric without a value is
        NaN (`missing` says why); identical images have an infinite PSNR. ``attrs["units"]`` and
        ``attrs["meanings"]`` describe the columns, ``attrs["protocols"]`` has the protocol ids that
        `summary` expects, and ``attrs["folder"]`` is where the rows are stored.
    """
    gone: tuple[str, ...] = ()
    if isinstance(source, str | Path):
        folder = Path(source)
        if not (folder / "per_image").is_dir():
            inside = sorted(path.parent.name for path in folder.glob("*/per_image"))
            has = f"name one of {', '.join(inside)} in it" if inside else "`run` makes some"
            raise UsageError(f"{folder} holds no rows of one dataset: {has}")
        store = Store(folder)
        table = store.table()
        rows = ComparableRows(table, CODING)  # bundled rows that no mean is over are left out
        kept = ~marked(table["bundled"]) | ~equals(table["coding_protocol"], CODING)
        kept[rows.index[rows.shown]] = True
        table = table.filter(pa.array(kept))
        if not all_rows:
            table, gone = present(table, store)
    else:
        folder, table = source.matrix.store.folder, source.rows
    table = table.sort_by([(name, "ascending") for name in ORDER])
    kinds = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    names = table.column_names if details else [*FIRST, *_metrics(table), *LAST]
    frame: pd.DataFrame = table.select(names).to_pandas(types_mapper=kinds.get)
    pairs = [*zip(table["codec"].to_pylist(), table["variant"].to_pylist(), strict=True)]
    labels = {pair: label_of(*pair) for pair in sorted(set(pairs))}
    shown = short_names(list(dict.fromkeys(labels.values())))
    frame.insert(names.index("variant") + 1, LABEL, [shown[labels[pair]] for pair in pairs])
    fields = [field for field in schema_of(table.column_names) if field.name in frame]
    meanings = {field.name: field.metadata[b"meaning"].decode() for field in fields}
    frame.attrs = {
        "units": {f.name: unit(f.name, f.metadata[b"unit"].decode()) for f in fields},
        "meanings": {**meanings, LABEL: "name of the codec variant in figures"},
        "protocols": present_protocols((*METRICS, *DISTRIBUTION_METRICS)),
        "folder": str(folder),
        "gone": list(gone),
    }
    return frame


def protocols(source: Source) -> pd.DataFrame:
    """Return the protocol ids under which each metric was measured.

    source: rows of one dataset, from `load` (any selection of them), or what `load` takes.

    The frame has a row for each metric and id: ``metric`` (its column), ``protocol``, ``rows`` that
    have it, and whether it is ``present``, the one that `summary` counts.
    """
    table, _ = whole_rows(source)
    present = present_protocols(METRICS)
    records = []
    for metric in _metrics(table):
        counts = table[metric_columns(metric)[1]].to_pandas().value_counts()
        for protocol, count in counts.items():
            records.append((metric, protocol, count, present.get(metric, protocol) == protocol))
    return pd.DataFrame(records, columns=["metric", "protocol", "rows", "present"])


def missing(source: Source) -> pd.DataFrame:
    """Return the values that rows without failure lack, and why.

    source: as in `protocols`. The frame has a row for each: ``codec``, ``variant``, setting,
    ``image``, ``metric`` (its column) and ``reason``, which names what installs or computes it.
    """
    table, _ = whole_rows(source)
    table = table.filter(pc.equal(table["status"], "ok"))
    parts = [pd.DataFrame(columns=[*ORDER, "metric", "reason"])]
    for metric in _metrics(table, asked=True):
        value, _, reason = metric_columns(metric)
        without = table.filter(table[value].is_null())
        if without.num_rows:
            part = without.select([*ORDER, reason]).to_pandas()
            part = part.rename(columns={reason: "reason"}).fillna({"reason": "not computed"})
            part.insert(len(ORDER), "metric", metric)
            parts.append(part)
    return pd.concat(parts[1:] or parts, ignore_index=True)


def summarised(
    source: Source, names: Sequence[str], common: bool, average: Average, allow_few: bool
) -> Summary:
    """Summarise rows of one dataset, with the metrics of these names."""
    table, folder = whole_rows(source)
    return summarise_with_distributions(table, folder, names, average, common, allow_few)


def whole_rows(source: Source) -> tuple[pa.Table, Path]:
    """Return the rows of a frame with all their columns, and the folder of their store.

    Columns that the frame lacks are read from its folder; those that it has count.
    """
    frame = source if isinstance(source, pd.DataFrame) else load(source, details=True)
    lacks = [name for name in KEY if name not in frame] + ["attrs"] * ("folder" not in frame.attrs)
    if lacks:
        what = ", ".join(lacks)
        raise UsageError(f"the frame lacks {what}: select rows of `load` and keep these")
    if not len(frame):
        raise UsageError("the frame has no rows")
    folder = Path(frame.attrs["folder"])
    if not set(schema_of(frame.columns).names) <= set(frame.columns):
        table = Store(folder).table()
        keys = pa.Table.from_pandas(frame[list(KEY)], preserve_index=False)
        at = pc.index_in(_keys(keys), value_set=_keys(table))
        if at.null_count:
            raise UsageError(f"the frame has rows that {folder} does not hold: `load` it again")
        table = table.take(at)
        for place, field in enumerate(table.schema):
            if field.name in frame:
                own = pa.Array.from_pandas(frame[field.name], type=field.type)
                table = table.set_column(place, field, own)
    else:
        schema = schema_of(frame.columns)
        table = pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False)
    datasets = sorted({name.partition(":")[0] for name in pc.unique(table["dataset"]).to_pylist()})
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


def _keys(table: pa.Table) -> pa.Array:
    bundled = table["bundled"].fill_null(False).cast(pa.string())
    cell = table["cell"].cast(pa.string())
    return pc.binary_join_element_wise(cell, bundled, " ").combine_chunks()


def _metrics(table: pa.Table, asked: bool = False) -> list[str]:
    """Return the columns of the usual image metrics, and of those that any row has a value of.

    asked: or a reason why it has none.
    """
    usual = {metric_named(name).column for name in USUAL_METRICS}

    def has(column: str) -> bool:
        value, _, reason = metric_columns(column)
        nulls = [table[name].null_count for name in (value, *[reason] * asked)]
        return column in usual or min(nulls) < table.num_rows

    known = [metric_named(name).column for name in METRICS]
    return list(filter(has, (*known, *own_columns(table.column_names))))
