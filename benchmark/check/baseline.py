"""Baselines: named references, the rows of a moment kept apart from those measured later.

    results/baselines/<name>/origin.json                     when, from where, by which commit
                            /<dataset>/per_image/<sha256>.parquet
                            /<dataset>/runs/<run>.json       the records of the runs behind them
                            /<dataset>/sets/                 values of distribution metrics

Small enough for version control: rows, no streams. Written once and whole; a name is never reused.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.analysis.comparable import label_of
from benchmark.codec_spec import split_unescaped
from benchmark.errors import StoreError, UnknownName, UsageError
from benchmark.rows.editions import newest_rows
from benchmark.rows.shard import write_shard
from benchmark.rows.store import Store
from benchmark.system.atomic import replacing
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
    codecs: tuple[str, ...]


def rows_to_keep(folder: Path, dataset: str, codecs: str) -> KeptRows:
    """Return the newest rows of these codecs (names or labels, or "all") of a dataset.

    dataset: may be a part, clic2020:mobile. Raises `UsageError` if there are none.
    """
    table = Store(folder).table()
    subset = dataset.partition(":")[2]
    if subset:
        table = table.filter(pc.starts_with(table["image"], f"{subset}/"))
    pairs = zip(table["codec"].to_pylist(), table["variant"].to_pylist(), strict=True)
    names = [(codec, label_of(codec, variant or "")) for codec, variant in pairs]
    asked = {text.strip() for text in split_unescaped(codecs, ",")}
    unknown = asked - {name for both in names for name in both} - {"all"}
    if unknown or not names:
        raise UsageError(f"{folder} has no rows of {', '.join(sorted(unknown)) or dataset}")
    chosen = [codecs == "all" or bool(asked & set(both)) for both in names]
    table = table.filter(pa.array(chosen, pa.bool_()))
    table = table.take(newest_rows(table).index)
    labels = {label for (_, label), one in zip(names, chosen, strict=True) if one}
    return KeptRows(dataset.partition(":")[0], folder, table, tuple(sorted(labels)))


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
    try:
        with replacing(folder) as draft:
            for part in parts:
                there = draft / part.dataset
                write_shard(there / "per_image", part.table)
                runs = set(part.table["run"].to_pylist())
                for path in (*part.folder.glob("runs/*.json"), *part.folder.glob("sets/*.parquet")):
                    if path.stem in runs or path.suffix == ".parquet":
                        target = there / path.relative_to(part.folder)
                        target.parent.mkdir(exist_ok=True)
                        shutil.copyfile(path, target)
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
