"""Stored results audited: each shard, stream and record verified, rows measured again and compared.

Features carry no checksum. Rows that were measured again are compared by bytes, pixels, metrics.
"""

import hashlib
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from benchmark.errors import DamagedResults, StoreError, UsageError
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_named
from benchmark.review.audit.pack_audit import TOLERANCE, name_of_row
from benchmark.rows.agreement import agreeing
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.comparable import newest
from benchmark.rows.packs.merge import PARTS
from benchmark.rows.schema import metric_columns
from benchmark.rows.shard import BadShard, read_parquet, read_shard, recorded_sha256
from benchmark.rows.store import Store
from benchmark.rows.stored import points_of, rows_of, specs_in
from benchmark.rows.streams import DAMAGED
from benchmark.rows.summary import Summary
from benchmark.rows.versions import BUILD, OK
from benchmark.spec import CodecSpec
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular, walk
from benchmark.system.machine import processor_of
from benchmark.system.text import counted

State = Literal["damaged", "missing", "unverified", "set aside", "draft"]
WRONG: tuple[State, ...] = ("damaged", "missing")  # the others lose nothing
BUNDLED = "restore the bundled file"
MEASURE = "the `bench run` that measured its cells measures them again"
REPLACED = "nothing; shards written from now on have a checksum"
Row = Mapping[str, Any]
KEY = ("codec", "variant", "setting_name", "setting_value", "image_sha256")
# Of a network's streams where its sums are rounded otherwise: their sizes, relative, and PSNR. At
# most .012 and .029 dB were measured, with an encoder's search (docs/experiments/processors.md).
SIZE_APART, DB_APART = 0.02, 0.05
SET_TOLERANCE = 1e-4  # relative, of distribution metrics: their features differ between processors


class Finding(NamedTuple):
    """A file that is not whole or cannot be verified, and what to do."""

    path: str
    state: State
    what: str
    remedy: str


class Verified(NamedTuple):
    """Verification of the results of one dataset."""

    dataset: str
    shards: int  # of rows and of reduced metrics
    streams: int
    records: int
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> bool:
        """True if something is damaged or missing."""
        return any(finding.state in WRONG for finding in self.findings)


def verify_results(folder: Path) -> Iterator[Verified]:
    """Verify a dataset's or all results in a folder, writing nothing; `UsageError` for none."""
    places = (folder, *sorted(folder.glob("*")))
    datasets = [place for place in places if any((place / part).is_dir() for part in PARTS)]
    if not datasets:
        raise UsageError(f"{folder} is no folder of results: it holds no dataset's rows or streams")
    return map(_verify, datasets)


def _verify(folder: Path) -> Verified:
    store = Store(folder)
    shards = sorted([*folder.glob("per_image/*.parquet"), *folder.glob("sets/*.parquet")])
    streams, records = sorted(store.streams()), sorted(folder.glob("runs/*.json"))
    checked = (
        *map(_check_shard, shards),
        *map(_check_stream, streams),
        *(_check_record(store, path) for path in records),
    )
    findings = [*filter(None, checked), *_lost(store)]
    remedy = "delete it once its cells are measured again"
    for path in sorted(folder.glob(f"{DAMAGED}/*")):
        findings.append(Finding(str(path), "set aside", "it was damaged", remedy))
    inside = (Path(place, name) for place, *names in walk(folder) for name in chain(*names))
    for path in sorted(path for path in inside if re.fullmatch(r"\..*\.part", path.name)):
        remedy = "delete it if no run is at work"
        findings.append(Finding(str(path), "draft", "a write was interrupted", remedy))
    return Verified(folder.resolve().name, len(shards), len(streams), len(records), (*findings,))


def _check_shard(path: Path) -> Finding | None:
    of_rows = path.parent.name == "per_image"
    try:
        read_shard(path) if of_rows else read_parquet(path)
        unverified = recorded_sha256(path) is None
    except (BadShard, OSError) as error:
        remedy = f"{MEASURE}, and sets it aside" if of_rows else "delete it"
        remedy = BUNDLED if path.name.startswith("shipped") else remedy
        return Finding(str(path), "damaged", str(error), remedy)
    what = "an earlier version wrote it, without a checksum"
    return Finding(str(path), "unverified", what, REPLACED) if unverified else None


def _check_stream(path: Path) -> Finding | None:
    try:
        if hashlib.sha256(read_regular(path, LARGEST_FILE_BYTES)).hexdigest() == path.name:
            return None
        what = "its bytes do not match its name"
    except OSError as error:
        what = error.strerror or str(error)
    return Finding(str(path), "damaged", what, f"delete it; then {MEASURE}")


def _check_record(store: Store, path: Path) -> Finding | None:
    try:
        store.record(path.stem)
    except StoreError as error:
        remedy = "restore it, or delete it: its rows stay, without what is known of the run"
        return Finding(str(path), "damaged", str(error), remedy)
    return None


def _lost(store: Store) -> Iterator[Finding]:
    """Find the cells without their stream, and the rows without the record of their run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedResults)  # each shard has its own finding
        stored = store.read()
    lost = stored.without_stream(store, stored.done())
    if lost:
        what = f"{counted(len(lost), 'cell has', 'cells have')} no stream of the recorded size"
        yield Finding(str(store.folder / "streams"), "missing", what, MEASURE)
    for run in sorted({*stored.table["run"].drop_nulls()}):
        if not store.has_record(run):
            path = str(store.folder / "runs" / f"{run}.json")
            what = "rows name this run, and its record is not there"
            yield Finding(path, "missing", what, "restore it; the rows stay as they are")


@dataclass
class VariantAgain:
    """The rows of one codec variant beside those that were measured again; counts of rows."""

    codec: str  # as `--codecs` takes it
    rows: int = 0  # stored
    measured_again: int = 0
    other_build: int = 0  # of these, with another program, library or weight file
    other_processor: int = 0  # of these, a network's, with another stream of about the size
    bytes_equal: int = 0
    pixels_equal: int = 0
    rounded: int = 0  # with other pixels, and perhaps another symbol, that agree (`agreement`)
    values_equal: int = 0  # of all metrics, within TOLERANCE
    values: int = 0
    largest_difference: float = 0.0  # of a value
    wrong: list[str] = field(default_factory=list)  # what differs in rows of the same build

    @property
    def missing(self) -> int:
        """Stored rows that nothing was measured for."""
        return self.rows - self.measured_again


def rows_to_measure(table: pl.DataFrame, codecs: NamedCodecs) -> pl.DataFrame:
    """Return a table's rows of one build that the named codecs may run, with a stream."""
    latest = newest(table).filter(OK)
    wanted = [*map(codecs.selects_to_run, latest.select(KEY[:2]).rows(named=True))]
    return latest.filter(pl.Series(wanted, dtype=pl.Boolean))


def settings_of(rows: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the settings of rows as `--points` takes them, by codec as `--codecs` takes it."""
    return {spec.text: points_of(spec.text, rows_of(rows, [spec])) for spec in specs_in(rows)}


def metrics_with_values(rows: pl.DataFrame, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the metrics that any of the rows has a value or features of."""

    def is_there(name: str) -> bool:
        of_sets = name in DISTRIBUTION_METRICS
        column = f"{metric_named(name).space}_patches" if of_sets else metric_named(name).column
        return column in rows.columns and rows[column].null_count() < rows.height

    return tuple(filter(is_there, names))


def compare_rows(
    stored: pl.DataFrame, again: pl.DataFrame, metrics: Iterable[str]
) -> list[VariantAgain]:
    """Compare rows with those of the same codec variant, setting and image, measured again.

    Where the build is the same, bytes, stream, picture and values of image metrics have to be,
    values within TOLERANCE in the metric's unit, unless the rows agree up to float rounding. Rows
    of another build are counted, but may differ; so may a network's on another kind of processor,
    by SIZE_APART and DB_APART.
    """
    columns = [metric_columns(metric_named(name).column) for name in metrics if name in METRICS]
    rows = stored.rows(named=True)
    known = {
        _key(row): (place, row)
        for place, row in enumerate(again.rows(named=True))
        if row["status"] == "ok"
    }
    pairs = {at: known[_key(row)][0] for at, row in enumerate(rows) if _key(row) in known}
    alike = dict(zip(pairs, agreeing(stored[[*pairs]], again[[*pairs.values()]]), strict=True))
    variants: dict[str, VariantAgain] = {}
    for at, row in enumerate(rows):
        spec = CodecSpec.of_row(row).text
        compared = variants.setdefault(spec, VariantAgain(spec))
        compared.rows += 1
        if at in alike:
            _, other = known[_key(row)]
            differences = _compare(compared, row, other, columns)
            if any(row[name] != other[name] for name in BUILD):
                compared.other_build += 1
            elif alike[at] and row["decoded_sha256"] != other["decoded_sha256"]:
                compared.rounded += 1
            elif _near_on_another_processor(row, other):
                compared.other_processor += 1
            else:
                compared.wrong += differences
    return list(variants.values())


def _near_on_another_processor(row: Row, other: Row) -> bool:
    """Return whether a network's stream of another kind of processor is near in size and PSNR."""
    before, now = row.get("psnr_db"), other.get("psnr_db")
    if row.get("parameters") is None or _processor(row) == _processor(other):
        return False
    if row["stream_sha256"] == other["stream_sha256"] or before is None or now is None:
        return False
    size = abs(other["num_bytes"] - row["num_bytes"]) <= SIZE_APART * row["num_bytes"]
    return bool(size and abs(now - before) <= DB_APART)


def _processor(row: Row) -> tuple[str, str]:
    return row["device"], processor_of(row["machine"] or "")


def _compare(
    compared: VariantAgain, row: Row, other: Row, columns: Iterable[tuple[str, str, str]]
) -> list[str]:
    """Count what is equal in two rows; return a sentence for each thing that is not."""
    wrong = []
    compared.measured_again += 1
    names = ("num_bytes", "stream_sha256")
    if all(row[name] == other[name] or None in (row[name], other[name]) for name in names):
        compared.bytes_equal += 1
    else:
        sizes = f"{row['num_bytes']} bytes before, {other['num_bytes']} now"
        wrong.append(f"the stream differs ({sizes})")
    pixels = row["decoded_sha256"] == other["decoded_sha256"]
    compared.pixels_equal += pixels
    if not pixels:
        wrong.append("it decodes to other pixels")
    for column, protocol, _ in columns:
        before, now = row.get(column), other.get(column)
        if before is None or now is None or row[protocol] != other[protocol]:
            continue
        compared.values += 1
        difference = 0.0 if before == now else abs(before - now)
        compared.largest_difference = max(compared.largest_difference, difference)
        if difference <= TOLERANCE or math.isnan(difference):
            compared.values_equal += 1
        elif pixels:
            wrong.append(f"{column} is {now}, not {before}")
    return [f"{name_of_row(row)}: {what}" for what in wrong]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


class SetAgain(NamedTuple):
    """A distribution metric of a point, as stored and as measured again."""

    codec: str  # as `--codecs` takes it
    point: str
    before: float
    now: float

    @property
    def difference(self) -> float:
        """Difference relative to the stored value."""
        apart = abs(self.now - self.before)
        return apart / abs(self.before) if self.before else math.inf if apart else 0.0


def compare_sets(
    stored: Summary, again: Summary, metrics: Iterable[str]
) -> dict[str, list[SetAgain]]:
    """Return points of as many images with a set metric in both, by column."""
    known = {(point.label, point.setting, point.images): point for point in again.points}
    values: dict[str, list[SetAgain]] = {}
    for column in (metric_named(name).column for name in metrics if name in DISTRIBUTION_METRICS):
        for point in stored.points:
            other = known.get((point.label, point.setting, point.images))
            before, now = (side.means[column].value if side else None for side in (point, other))
            if before is not None and now is not None:
                name = f"{point.label} {point.setting}"
                value = SetAgain(point.edition.spec.text, name, before, now)
                values.setdefault(column, []).append(value)
    return values


def what_is_wrong(
    compared: Sequence[VariantAgain], sets: Mapping[str, Sequence[SetAgain]]
) -> list[str]:
    """Return a sentence for each thing that differs and may not, of rows and of their sets."""
    may_differ = {of.codec for of in compared if of.other_build or of.other_processor}
    return [sentence for variant in compared for sentence in variant.wrong] + [
        f"{value.point}: {column} is {value.now}, not {value.before}"
        for column, values in sets.items()
        for value in values
        if value.codec not in may_differ and value.difference > SET_TOLERANCE
    ]
