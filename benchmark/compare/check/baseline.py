"""Baselines: named references, the rows of a moment kept apart from those measured later.

    results/baselines/<name>/origin.json                     when, from where, by which commit
                            /<dataset>/per_image/<sha256>.parquet
                            /<dataset>/runs/<run>.json       the records of the runs behind them
                            /<dataset>/sets/                 values of distribution metrics

Small enough for version control: rows, no streams. Written once and whole; a name is never reused.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from benchmark.compare.check.pairing import specs_in
from benchmark.errors import StoreError, UnknownName, UsageError
from benchmark.rows.editions import edition_rows
from benchmark.rows.shard import write_shard
from benchmark.rows.store import Store
from benchmark.rows.stored import rows_of_codecs
from benchmark.rows.systems import label_of
from benchmark.system.atomic import replacing, require_inside
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular
from benchmark.system.machine import commit

FOLDER = "baselines"  # below results/
ORIGIN = "origin.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class BaselineRecord(msgspec.Struct, frozen=True):
    """The record of a baseline: its name, date, commit and content."""

    name: str
    saved_utc: str
    commit: str | None
    source: str  # the results folder
    rows: Mapping[str, int]  # by dataset
    codecs: tuple[str, ...]


class KeptRows(NamedTuple):
    """The rows of a dataset to keep, and the folder of their store."""

    dataset: str
    folder: Path
    table: pa.Table
    codecs: frozenset[str]  # their labels


def rows_to_keep(folder: Path, dataset: str, codecs: str) -> KeptRows:
    """Return the newest rows of these codecs (names or labels, or "all") of a dataset.

    dataset: may be a part, clic2020:mobile. Raises `UsageError` if there are none.
    """
    name, _, subset = dataset.partition(":")
    table = rows_of_codecs(Store(folder).table(), codecs, subset)
    if not table.num_rows:
        raise UsageError(f"{folder} has no rows of {dataset}")
    labels = frozenset(label_of(spec.name, spec.variant) for spec in specs_in(table))
    newest = table.take(edition_rows(table, newest_only=True).index)
    return KeptRows(name, folder, newest, labels)


def save_baseline(results: Path, name: str, parts: Sequence[KeptRows]) -> Path:
    """Write a baseline and return its folder; raise `UsageError` for a name that is taken."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a baseline: use letters, digits, . _ -")
    folder = results / FOLDER / name
    if folder.exists():
        raise UsageError(
            f"there is a baseline {name} already, and it is not written twice: take another name, "
            f"or remove {folder}"
        )
    record = BaselineRecord(
        name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        commit(),
        str(results),
        {part.dataset: part.table.num_rows for part in parts},
        tuple(sorted({codec for part in parts for codec in part.codecs})),
    )
    require_inside(results, folder)
    try:
        with replacing(folder) as draft:
            for part in parts:
                write_shard(draft / part.dataset / "per_image", part.table)
                runs = [f"runs/{run}.json" for run in part.table["run"].unique().to_pylist()]
                kept = (path for run in runs if (path := part.folder / run).exists())
                for path in (*kept, *part.folder.glob("sets/*.parquet")):
                    target = draft / part.dataset / path.relative_to(part.folder)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(read_regular(path, LARGEST_FILE_BYTES, part.folder))
            text = msgspec.json.format(msgspec.json.encode(record), indent=1)
            (draft / ORIGIN).write_bytes(text + b"\n")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def list_baselines(results: Path) -> list[BaselineRecord]:
    """Return the records of the baselines below a results folder, by name."""
    return [_record(path) for path in sorted((results / FOLDER).glob(f"*/{ORIGIN}"))]


def find_baseline(results: Path, name: str) -> Path:
    """Return the folder of a baseline, which is a results folder; raise `UnknownName`."""
    folder = results / FOLDER / name
    if not NAME.fullmatch(name) or not (folder / ORIGIN).is_file():
        raise UnknownName("baseline", name, [baseline.name for baseline in list_baselines(results)])
    return folder


def _record(path: Path) -> BaselineRecord:
    try:
        return msgspec.json.decode(read_regular(path, LARGEST_FILE_BYTES), type=BaselineRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(f"{path} is no record of a baseline: {error}") from error
