"""Row sets to compare: a folder of results, or a baseline, whose rows are those of one moment.

    results/baselines/<name>/origin.json                     when, from where, by which commit
                            /<dataset>/per_image/<sha256>.parquet
                            /<dataset>/runs/<run>.json       the records of the runs behind them
                            /<dataset>/sets/                 values of distribution metrics

A baseline is small enough for version control: rows, no streams. It is written once and whole; a
name is never reused.
"""

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from benchmark.check.pairing import RowSet
from benchmark.datasets.dataset import open_dataset
from benchmark.errors import DamagedResults, StoreError, UnknownName, UsageError
from benchmark.registry import CODECS, is_brought, means_folder
from benchmark.rows.comparable import newest
from benchmark.rows.shard import write_shard
from benchmark.rows.store import Store
from benchmark.rows.stored import name_of_folder, of_part, rows_of_codecs, specs_in
from benchmark.rows.systems import known_names, label_of
from benchmark.rows.versions import BUNDLED, VARIANT
from benchmark.spec import parse_codec
from benchmark.system.atomic import replacing, require_inside
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, BadFile, read_regular
from benchmark.system.machine import commit
from benchmark.system.text import json_bytes, read_json

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


def save_baseline(
    results: Path, name: str, datasets: Sequence[str], codecs: str = "all"
) -> BaselineRecord:
    """Write the rows of one build of codecs (names or labels, or "all") as a baseline.

    datasets: each may be a part, clic2020:mobile. Raises `UsageError` for a name that is taken, and
    for a dataset without rows.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a baseline: use letters, digits, . _ -")
    folder, tables = results / FOLDER / name, dict[str, pl.DataFrame]()
    if folder.exists():
        raise UsageError(
            f"there is a baseline {name} already, and it is not written twice: take another name, "
            f"or remove {folder}"
        )
    for text in datasets:
        dataset, _, subset = text.partition(":")
        table = rows_of_codecs(Store(results / dataset).table(), codecs, subset)
        if not table.height:
            raise UsageError(f"{results / dataset} has no rows of {text}")
        tables[dataset] = newest(table)
    specs = (spec for table in tables.values() for spec in specs_in(table))
    labels = tuple(sorted({label_of(spec.name, spec.variant) for spec in specs}))
    record = BaselineRecord(
        name, datetime.now(UTC).isoformat(timespec="seconds"), commit(), str(results),
        {dataset: table.height for dataset, table in tables.items()},
        labels,
    )  # fmt: skip
    require_inside(results, folder)
    try:
        with replacing(folder) as draft:
            for dataset, table in tables.items():
                store = results / dataset
                write_shard(draft / dataset / "per_image", table)
                runs = [store / f"runs/{run}.json" for run in table["run"].unique()]
                kept = sorted(path for path in runs if path.exists())
                for path in (*kept, *store.glob("sets/*.parquet")):
                    target = draft / path.relative_to(results)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(read_regular(path, LARGEST_FILE_BYTES, store))
            (draft / ORIGIN).write_bytes(json_bytes(record))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return record


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
        return read_json(path, BaselineRecord)
    except (OSError, BadFile) as error:
        raise StoreError(f"{path} is no record of a baseline: {error}") from error


def read_rows(folder: Path, dataset: str = "") -> RowSet:
    """Return the rows of a dataset's folder; of a part only for a `dataset` like clic2020:mobile.

    Bundled rows are left out of variants that were measured there.
    Raises `UsageError` if there are none, and `StoreError` if some had to be left out.
    """
    if not (folder / "per_image").is_dir():
        raise UsageError(f"{folder} holds no rows: name a folder like results/kodak")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedResults)  # a verdict would be of other images
        try:
            rows = Store(folder).table()
        except DamagedResults as damaged:
            raise StoreError(f"results in {folder} cannot be read: {damaged}") from damaged
    own = rows.filter(~BUNDLED).select(VARIANT).unique()
    bundled = rows.filter(BUNDLED).join(own, on=VARIANT, how="anti", maintain_order="left")
    rows = pl.concat([rows.filter(~BUNDLED), bundled])
    if not rows.height:
        raise UsageError(f"{folder} holds no rows: measure some with `bench run`")
    return RowSet(str(folder), folder, of_part(rows, dataset.partition(":")[2]))


def dataset_folders(where: str, baselines: Path) -> dict[str, Path]:
    """Return the folders with rows, by dataset.

    where: a dataset's folder, a results folder, or the name of a baseline in the results folder
    `baselines`. Raises `UsageError` or `UnknownName` for anything else.
    """
    folder = Path(where)
    if (folder / "per_image").is_dir():
        return {folder.resolve().name: folder}
    if not any(folder.glob("*/per_image")):
        if os.sep in where or not list_baselines(baselines):
            raise UsageError(
                f"{where} is no folder with results, nor a baseline in {baselines / FOLDER}"
            )
        folder = find_baseline(baselines, where)
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/per_image"))}


def two_row_sets(reference: str, new: str, dataset: str, baselines: Path) -> tuple[RowSet, RowSet]:
    """Return the rows of one dataset in two places; see `dataset_folders`.

    dataset: its name or folder, or empty if each place has rows of one dataset, or both of the same
    one. Raises `UsageError` if it is unclear which dataset is meant.
    """
    dataset = open_dataset(dataset).name if is_brought(dataset) else dataset
    folders = {where: dataset_folders(where, baselines) for where in (reference, new)}
    sets = []
    for where, known in folders.items():
        name = _dataset_in(where, folders, dataset)
        if name not in known:
            raise UsageError(f"{where} has no rows of {dataset or name}: it has {', '.join(known)}")
        sets.append(read_rows(known[name], dataset))
    return sets[0], sets[-1]


def refuse_unknown_codec(asked: str, sets: Iterable[RowSet]) -> None:
    """Raise `UnknownName` for a codec that neither the registry nor the rows have."""
    specs = [spec for rows in sets for spec in specs_in(rows.rows)]
    measured = {name for spec in specs for name in (spec.name, label_of(spec.name, spec.variant))}
    if not {asked, parse_codec(asked).name} & {*CODECS, *measured}:
        variants = ((spec.name, spec.variant) for spec in specs)
        raise UnknownName("codec", asked, known_names(variants))


def _dataset_in(where: str, folders: Mapping[str, Mapping[str, Path]], dataset: str) -> str:
    """Return the name that a dataset has in one of the places; without a name, the only one."""
    if dataset and dataset not in folders[where] and means_folder(dataset):
        return name_of_folder(Path(dataset), folders[where])
    if dataset:
        return dataset.partition(":")[0]
    if all(len(result) == 1 for result in folders.values()):
        return next(iter(folders[where]))
    shared = set.intersection(*(set(result) for result in folders.values()))
    if len(shared) != 1:
        has = " and ".join(f"{where} of {', '.join(result)}" for where, result in folders.items())
        raise UsageError(f"there are rows in {has}: say which with --dataset")
    return shared.pop()
