"""Row sets to compare: a folder of results, or a baseline, whose rows are those of one moment.

    results/baselines/<name>/<dataset>/per_image/<sha256>.parquet
                            /<dataset>/runs/<run>.json       the records of the runs behind them
                            /<dataset>/sets/                 values of distribution metrics

A baseline is small enough for version control: rows, no streams. It is written once and whole; a
name is never reused.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.check.pairing import RowSet
from benchmark.errors import DamagedResults, StoreError, UsageError
from benchmark.rows.comparable import newest_rows
from benchmark.rows.edition import label_of
from benchmark.rows.place import Place
from benchmark.rows.shard import write_shard
from benchmark.rows.store import Store
from benchmark.rows.stored import of_part, rows_of_codecs, specs_in
from benchmark.rows.versions import BUNDLED, VARIANT
from benchmark.system.atomic import replacing, require_inside
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

RESULTS, FOLDER = Path("results"), "baselines"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def save_baseline(results: Path, name: str, datasets: Sequence[str], codecs: str = "all") -> None:
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
        tables[dataset] = newest_rows(table)
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
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error


def list_baselines(results: Path) -> list[dict[str, Any]]:
    """Return name, numbers of rows by dataset, and codecs of the baselines of a results folder."""
    records = []
    for folder in sorted((results / FOLDER).glob("[!.]*")):  # not a draft
        stores = {path.parent.name: path.parent for path in sorted(folder.glob("*/per_image"))}
        tables = {dataset: Store(of).table() for dataset, of in stores.items()}
        specs = (spec for table in tables.values() for spec in specs_in(table))
        codecs = sorted({label_of(spec) for spec in specs})
        rows = {dataset: table.height for dataset, table in tables.items()}
        records.append({"name": folder.name, "rows": rows, "codecs": codecs})
    return records


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


def dataset_folders(where: str) -> dict[str, Path]:
    """Return the folders with rows, by dataset.

    where: a dataset's folder, a results folder, or the name of a baseline in `results`. Raises
    `UsageError` for anything else.
    """
    folder = Path(where)
    if (folder / "per_image").is_dir():
        return {folder.resolve().name: folder}
    baseline = RESULTS / FOLDER / where if NAME.fullmatch(where) else folder
    paths = sorted(folder.glob("*/per_image")) or sorted(baseline.glob("*/per_image"))
    if not paths:
        raise UsageError(f"{where} is no folder with results, nor a baseline in {RESULTS / FOLDER}")
    return {path.parent.name: path.parent for path in paths}


def two_row_sets(reference: str, new: str, dataset: str) -> tuple[RowSet, RowSet]:
    """Return the rows of one dataset in two places; see `dataset_folders`.

    dataset: its name or folder, or empty if each place has rows of one dataset, or both of the same
    one. Raises `UsageError` if it is unclear which dataset is meant.
    """
    folders = {where: dataset_folders(where) for where in (reference, new)}
    sets = []
    for where, known in folders.items():
        of_place = dataset and Place(dataset).stored_name(known)
        name = _dataset_in(where, folders, of_place)
        if name not in known:
            raise UsageError(f"{where} has no rows of {dataset or name}: it has {', '.join(known)}")
        sets.append(read_rows(known[name], of_place))
    return sets[0], sets[-1]


def _dataset_in(where: str, folders: Mapping[str, Mapping[str, Path]], dataset: str) -> str:
    """Return the name that a dataset has in one of the places; without a name, the only one."""
    if dataset:
        return dataset.partition(":")[0]
    if all(len(result) == 1 for result in folders.values()):
        return next(iter(folders[where]))
    shared = set.intersection(*(set(result) for result in folders.values()))
    if len(shared) != 1:
        has = " and ".join(f"{where} of {', '.join(result)}" for where, result in folders.items())
        raise UsageError(f"there are rows in {has}: say which with --dataset")
    return shared.pop()
