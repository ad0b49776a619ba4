"""Verification of results: damaged or missing shards, streams, pictures and records."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from benchmark.errors import DamagedResults, ImageRefused, StoreError, UsageError
from benchmark.rows.packs.merge import SUBFOLDERS
from benchmark.rows.shard import BadShard, read_parquet, read_shard
from benchmark.rows.store import Store, finished_rows
from benchmark.rows.streams import parse_picture
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, read_regular
from benchmark.system.text import counted

State = Literal["damaged", "missing"]
RESTORE_BUNDLED = "restore the bundled file"
REPEAT_RUN = "repeat the `bench run` that measured its cells"


class Finding(NamedTuple):
    """Damaged or missing file, with its remedy."""

    path: str
    state: State
    what: str
    remedy: str


class Verification(NamedTuple):
    """Verification of the results of one dataset."""

    dataset: str
    shards: int  # files of rows and of reduced metrics
    streams: int
    pictures: int  # pictures of rows without a stream
    records: int
    findings: tuple[Finding, ...]

    @property
    def has_findings(self) -> bool:
        """True if something is damaged or missing."""
        return bool(self.findings)


def verify_results(folder: Path) -> Iterator[Verification]:
    """Verify the results of a dataset's or a results folder, read-only; `UsageError` if none."""
    candidates = (folder, *sorted(folder.glob("*")))
    datasets = [
        candidate
        for candidate in candidates
        if any((candidate / subfolder).is_dir() for subfolder in SUBFOLDERS)
    ]
    if not datasets:
        raise UsageError(
            f"{folder} is not a results folder: it contains no rows or streams of a dataset"
        )
    return map(_verify, datasets)


def _verify(folder: Path) -> Verification:
    store = Store(folder)
    shards = sorted([*folder.glob("per_image/*.parquet"), *folder.glob("sets/*.parquet")])
    streams, pictures = sorted(store.streams()), sorted(store.pictures())
    records = sorted(folder.glob("runs/*.json"))
    results = (
        *map(_check_shard, shards),
        *map(_check_stream, streams),
        *map(_check_picture, pictures),
        *(_check_record(store, path) for path in records),
    )
    findings = [*filter(None, results), *_find_missing(store)]
    counts = len(shards), len(streams), len(pictures), len(records)
    return Verification(folder.resolve().name, *counts, (*findings,))


def _check_shard(path: Path) -> Finding | None:
    holds_rows = path.parent.name == "per_image"
    try:
        read_shard(path) if holds_rows else read_parquet(path)
    except (BadShard, OSError) as error:
        remedy = f"{REPEAT_RUN}, which moves the file away" if holds_rows else "delete it"
        remedy = RESTORE_BUNDLED if path.name.startswith("shipped") else remedy
        return Finding(str(path), "damaged", str(error), remedy)
    return None


def _check_stream(path: Path) -> Finding | None:
    try:
        if hashlib.sha256(read_regular(path, MAX_FOREIGN_FILE_BYTES)).hexdigest() == path.name:
            return None
        problem = "its bytes do not match its name"
    except OSError as error:
        problem = error.strerror or str(error)
    return Finding(str(path), "damaged", problem, f"delete it; then {REPEAT_RUN}")


def _check_picture(path: Path) -> Finding | None:
    try:
        parse_picture(read_regular(path, MAX_FOREIGN_FILE_BYTES), path.stem)
    except (OSError, ImageRefused) as error:
        return Finding(str(path), "damaged", str(error), "delete the file; import its pack again")
    return None


def _check_record(store: Store, path: Path) -> Finding | None:
    try:
        store.record(path.stem)
    except StoreError as error:
        remedy = "restore or delete the file; its rows are kept, but facts about the run are lost"
        return Finding(str(path), "damaged", str(error), remedy)
    return None


def _find_missing(store: Store) -> Iterator[Finding]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedResults)  # each shard has its own finding
        table, versions = store.read()
    if lost_cells := store.cells_without_stream(versions, finished_rows(versions)["cell"]):
        problem = (
            f"{counted(len(lost_cells), 'cell has', 'cells have')} no stream of the recorded size"
        )
        yield Finding(str(store.folder / "streams"), "missing", problem, REPEAT_RUN)
    for run in sorted({*table["run"].drop_nulls()}):
        if not store.has_record(run):
            path = str(store.folder / "runs" / f"{run}.json")
            problem = "rows refer to this run, but its record is missing"
            yield Finding(path, "missing", problem, "restore the file; its rows are kept")
