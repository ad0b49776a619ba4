"""Merge results of several machines: rows, streams, run records, features, reductions.

Everything is copied whole or not at all, rows last, and what is there already is left alone: a
merge that was interrupted is repeated, and one that was repeated changes nothing. A cell that has
other bytes, or other decoded pixels, in another place is a conflict: the row that was there first
stands, and the conflict is told each time.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import Setting
from benchmark.codec_spec import CodecSpec
from benchmark.errors import DamagedResults, UsageError
from benchmark.rows.files.shard import SHIPPED, record_of
from benchmark.rows.foreign_rows import (
    datasets_of,
    read_or_tell,
    require_regular_shards,
    sound_rows,
)
from benchmark.rows.reductions import Reductions
from benchmark.rows.result_file import WaitingFiles, write_results
from benchmark.rows.schema import alike
from benchmark.rows.store import Store
from benchmark.rows.versions import merge_versions
from benchmark.system.foreign_files import (
    LARGEST_FILE_BYTES,
    is_regular,
    read_regular,
)

Row = dict[str, Any]

PARTS = ("per_image", "runs", "streams", "features", "sets")
RESULT = ("num_bytes", "stream_sha256", "decoded_sha256")  # what two measurements agree in
REMEDY = "mend that and merge again"
PLACE = "place"  # the number of the folder that a row is from, the target's 0


class Merged(NamedTuple):
    """Counts of what was merged into a dataset's folder, with conflicts and damaged files."""

    dataset: str
    rows: int
    streams: int
    runs: int
    features: int
    reductions: int
    conflicts: tuple[str, ...]  # sentences that name both rows and where they are from
    damaged: tuple[str, ...]  # sentences on files that were left out


def merge_folders(folders: Sequence[Path], target: Path) -> Iterator[Merged]:
    """Add what results folders hold to another one, dataset by dataset.

    Raises `UsageError` for a folder that is none of results, before anything is written.
    """
    by_dataset: dict[str, list[Path]] = {}
    for folder in folders:
        if target.exists() and folder.exists() and folder.samefile(target):
            raise UsageError(
                f"{folder} is merged into itself: leave it out, or name another --into"
            )
        for dataset in _datasets(folder):
            by_dataset.setdefault(dataset, []).append(folder / dataset)
    return (
        _merge_dataset(name, of_name, target / name) for name, of_name in sorted(by_dataset.items())
    )


def _datasets(folder: Path) -> list[str]:
    if any((folder / part).is_dir() for part in PARTS):
        raise UsageError(f"{folder} is of one dataset: give the results folder that it lies in")
    names = list(datasets_of(folder, PARTS))
    if not names:
        raise UsageError(f"{folder} is no folder of results: it holds no dataset's rows or streams")
    for name in names:
        if (folder / name).resolve().parent != folder.resolve():
            raise UsageError(
                f"{folder / name} leads out of {folder}: merge the folder of results it lies in"
            )
    return names


def _merge_dataset(name: str, sources: Sequence[Path], folder: Path) -> Merged:
    target = Store(folder)
    damaged: list[str] = []
    conflicts: list[str] = []
    streams = runs = features = 0
    for source in sources:
        require_regular_shards(source)
    for source in sources:
        streams += _copy_streams(Store(source), target, damaged)
        features += _copy_new(source, folder, "features/*/*/*.npy", damaged)
        _copy_new(source, folder, "features/CACHEDIR.TAG", damaged)
        runs += _copy_runs(source, folder, conflicts, damaged)
        _copy_shipped(source, folder, conflicts, damaged)
    with _told_in(damaged, sources):
        reductions = sum(_merge_reductions(source, folder) for source in sources)
        new, told = _new_rows([target, *map(Store, sources)], damaged)
    if new.num_rows:
        target.add(new)
        target.compact()
    return Merged(
        name, new.num_rows, streams, runs, features, reductions, (*conflicts, *told),
        tuple(damaged),
    )  # fmt: skip


@contextmanager
def _told_in(damaged: list[str], sources: Sequence[Path]) -> Iterator[None]:
    """Collect the warnings of shards that are left out of the sources; others are passed on."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DamagedResults)
        yield
    for one in told:
        file = one.message.file if isinstance(one.message, DamagedResults) else None
        if file is None or not any(file.is_relative_to(source) for source in sources):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif str(one.message) not in damaged:
            damaged.append(str(one.message))


def _new_rows(stores: Sequence[Store], damaged: list[str]) -> tuple[pa.Table, list[str]]:
    """Return the rows that the first store lacks, and the conflicts among all stores."""
    target, *sources = stores
    own = [target.versions(), *(sound_rows(s.versions(), s.folder, damaged) for s in sources)]
    found = alike([*own, *(one.versions(shipped=True) for one in stores)])
    placed = [_at(table, at % len(stores)) for at, table in enumerate(found)]
    tables, shipped = placed[: len(stores)], placed[len(stores) :]
    disputed = _disputed(pa.concat_tables([*tables, *shipped]))
    standing = merge_versions(tables[0].drop_columns([PLACE]))
    added: list[pa.Table] = []
    for table in tables[1:]:
        accepted = _accepted(table, disputed).drop_columns([PLACE])
        found = _additions(merge_versions(accepted), standing)
        if found.num_rows:
            added.append(found)
            standing = merge_versions(pa.concat_tables([standing, found]))
    sentences = sorted(_sentence(versions, stores) for versions in disputed.values())
    return pa.concat_tables([standing.schema.empty_table(), *added]), sentences


def _disputed(table: pa.Table) -> dict[str, list[Row]]:
    """Return the rows that do not agree, by cell; the row that stands comes first."""
    ok = table.filter(pc.equal(table["status"], "ok"))
    counted = ok.group_by("cell").aggregate([(name, "count_distinct") for name in RESULT])
    several = [pc.greater(counted[f"{name}_count_distinct"], 1) for name in RESULT]
    cells = counted["cell"].filter(pc.or_(pc.or_(several[0], several[1]), several[2]))
    by_cell: dict[str, list[Row]] = {}
    for row in sorted(ok.filter(_among(ok, cells)).to_pylist(), key=lambda row: int(row[PLACE])):
        by_cell.setdefault(row["cell"], []).append(row)
    for cell, rows in by_cell.items():
        first = [row for row in rows if row[PLACE] == rows[0][PLACE]]
        (stands,) = merge_versions(pa.Table.from_pylist(first, schema=ok.schema)).to_pylist()
        by_cell[cell] = [stands, *rows]
    return by_cell


def _accepted(table: pa.Table, disputed: dict[str, list[Row]]) -> pa.Table:
    """Return the rows that agree with the row that stands."""
    doubtful = _among(table, pa.array(list(disputed), pa.string()))
    agreeing = [
        row
        for row in table.filter(doubtful).to_pylist()
        if row["status"] != "ok" or _agree(row, disputed[row["cell"]][0])
    ]
    certain = table.filter(pc.invert(doubtful))
    return pa.concat_tables([certain, pa.Table.from_pylist(agreeing, schema=table.schema)])


def _at(table: pa.Table, place: int) -> pa.Table:
    return table.append_column(PLACE, pa.array([place] * table.num_rows, pa.int64()))


def _additions(found: pa.Table, standing: pa.Table) -> pa.Table:
    """Return rows, one per cell, that are new or would change the standing row of their cell."""
    at = pc.index_in(found["cell"], value_set=standing["cell"])
    absent = pc.is_null(at)
    both = found.filter(pc.invert(absent))
    against = standing.take(pc.drop_null(at))
    differs = pa.chunked_array([pa.array([False] * both.num_rows, pa.bool_())])
    for name in both.column_names:
        equal = pc.fill_null(pc.equal(both[name], against[name]), False)
        neither = pc.and_(pc.is_null(both[name]), pc.is_null(against[name]))
        differs = pc.or_(differs, pc.invert(pc.or_(equal, neither)))
    changes = [
        row
        for row, old in zip(
            both.filter(differs).to_pylist(), against.filter(differs).to_pylist(), strict=True
        )
        if _merged(old, row, found.schema) != old
    ]
    return pa.concat_tables(
        [found.filter(absent), pa.Table.from_pylist(changes, schema=found.schema)]
    )


def _merged(old: Row, new: Row, schema: pa.Schema) -> Row:
    (row,) = merge_versions(pa.Table.from_pylist([old, new], schema=schema)).to_pylist()
    merged: Row = row
    return merged


def _agree(one: Row, other: Row) -> bool:
    pairs = [(one[name], other[name]) for name in RESULT]
    return all(a is None or b is None or a == b for a, b in pairs)


def _sentence(versions: Sequence[Row], stores: Sequence[Store]) -> str:
    row = versions[0]
    label = CodecSpec.of(row["codec"], row["variant"]).label
    setting = Setting(row["setting_name"], row["setting_value"])
    different: dict[tuple[Any, ...], str] = {}
    for one in versions:
        decoded = one["decoded_sha256"][:8] if one["decoded_sha256"] else "unknown pixels"
        what = f"{one['num_bytes']} bytes ({(one['stream_sha256'] or 'declared')[:8]})"
        where = f"{stores[one[PLACE]].folder} (run {one['run']}, {one['machine']})"
        result = tuple(one[name] for name in RESULT)
        different.setdefault(result, f"{what}, decoded to {decoded}, in {where}")
    return (
        f"{label} {setting} {row['image']}: {'; but '.join(different.values())}; the first stands"
    )


def _among(table: pa.Table, cells: "pa.Array | pa.ChunkedArray") -> pa.ChunkedArray:
    return pc.is_in(table["cell"], value_set=cells)


def _copy_streams(source: Store, target: Store, damaged: list[str]) -> int:
    count = 0
    with WaitingFiles(REMEDY) as waiting:
        for path in source.streams():
            regular = is_regular(path, within=source.folder)
            if regular and target.has_stream(path.name, path.stat().st_size):
                continue
            data = read_or_tell(path, source.folder, LARGEST_FILE_BYTES, damaged)
            if data is None:
                continue
            if sha256(data).hexdigest() != path.name:
                damaged.append(f"{path} is left out: its bytes do not match its name")
                continue
            waiting.add(target.stream_files({path.name: data}))
            count += 1
    return count


def _copy_runs(source: Path, folder: Path, conflicts: list[str], damaged: list[str]) -> int:
    for path in sorted(source.glob("runs/*.json")):
        there = folder / path.relative_to(source)
        if there.exists() and _differ(there, path, source):
            conflicts.append(f"{there} and {path} tell of one run in two ways; the first stands")
    return _copy_new(source, folder, "runs/*.json", damaged)


def _differ(there: Path, path: Path, source: Path) -> bool:
    """Return whether two files differ, the second one of a stranger's folder `source`."""
    if not is_regular(path, within=source) or there.stat().st_size != path.stat().st_size:
        return True
    return there.read_bytes() != read_regular(path, path.stat().st_size, within=source)


def _copy_shipped(source: Path, folder: Path, conflicts: list[str], damaged: list[str]) -> None:
    for path in sorted(source.glob(f"per_image/{SHIPPED}*.parquet")):
        there = folder / path.relative_to(source)
        if there.exists():
            if _differ(there, path, source):
                conflicts.append(
                    f"{there} and {path} are of two versions of the project; the first stands"
                )
            continue
        files: dict[Path, bytes | memoryview] = {}
        for one, new in ((path, there), (record_of(path), record_of(there))):
            data = read_or_tell(one, source, LARGEST_FILE_BYTES, damaged) if one.exists() else None
            if data is not None:
                files[new] = data
        if there in files:
            write_results(files, remedy=REMEDY)


def _merge_reductions(source: Path, folder: Path) -> int:
    target = Reductions(folder)
    new = Reductions(source).lacking_in(target)
    target.add(new)
    return len(new)


def _copy_new(source: Path, folder: Path, pattern: str, damaged: list[str]) -> int:
    """Copy files whose names are not there yet; return how many."""
    count = 0
    with WaitingFiles(REMEDY) as waiting:
        for path in source.glob(pattern):
            there = folder / path.relative_to(source)
            if path.name.startswith(".") or there.exists():
                continue
            data = read_or_tell(path, source, LARGEST_FILE_BYTES, damaged)
            if data is not None:
                waiting.add({there: data})
                count += 1
    return count
