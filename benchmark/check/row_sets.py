"""Row sets to compare: folders of results, and baselines, which are snapshots of rows.

    results/baselines/<name>/<dataset>/per_image/<sha256>.parquet
                            /<dataset>/runs/<run>.json       records of their runs
                            /<dataset>/sets/                 values of distribution metrics

A baseline holds rows without streams, small enough for version control. It is written once; its
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
from benchmark.rows.stored import rows_of_codecs, select_part, specs_in
from benchmark.rows.versions import BUNDLED, VARIANT
from benchmark.system.atomic import replacing, require_inside
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, read_regular

RESULTS, FOLDER = Path("results"), "baselines"
BASELINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def save_baseline(results: Path, name: str, datasets: Sequence[str], codecs: str = "all") -> None:
    """Write codecs' newest rows as a baseline; raise `UsageError` if it exists or has no rows."""
    if not BASELINE_NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid name of a baseline: use letters, digits, . _ -")
    folder, tables = results / FOLDER / name, dict[str, pl.DataFrame]()
    if folder.exists():
        raise UsageError(
            f"the baseline {name} already exists: choose another name, or remove {folder}"
        )
    for text in datasets:
        dataset, _, subset = text.partition(":")
        table = rows_of_codecs(Store(results / dataset).table(), codecs, subset)
        if not table.height:
            raise UsageError(f"{results / dataset} has no rows of {text}: measure some rows")
        tables[dataset] = newest_rows(table)
    require_inside(results, folder)
    try:
        with replacing(folder) as draft:
            for dataset, table in tables.items():
                store = results / dataset
                write_shard(draft / dataset / "per_image", table)
                runs = [store / f"runs/{run}.json" for run in table["run"].unique()]
                run_paths = sorted(path for path in runs if path.exists())
                for path in (*run_paths, *store.glob("sets/*.parquet")):
                    target = draft / path.relative_to(results)
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(read_regular(path, MAX_FOREIGN_FILE_BYTES, store))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error


def list_baselines(results: Path) -> list[dict[str, Any]]:
    """Return each baseline's name, number of rows by dataset, and codecs."""
    records = []
    for folder in sorted((results / FOLDER).glob("[!.]*")):  # drafts begin with a dot
        stores = {path.parent.name: path.parent for path in sorted(folder.glob("*/per_image"))}
        tables = {dataset: Store(store_folder).table() for dataset, store_folder in stores.items()}
        specs = (spec for table in tables.values() for spec in specs_in(table))
        codecs = sorted({label_of(spec) for spec in specs})
        rows = {dataset: table.height for dataset, table in tables.items()}
        records.append({"name": folder.name, "rows": rows, "codecs": codecs})
    return records


def read_rows(folder: Path, dataset: str = "") -> RowSet:
    """Read the rows of a dataset or part (clic2020:mobile); raise `UsageError` or `StoreError`."""
    if not (folder / "per_image").is_dir():
        raise UsageError(f"{folder} holds no rows: give a folder such as results/kodak")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedResults)  # missing images would change the verdict
        try:
            rows = Store(folder).table()
        except DamagedResults as error:
            raise StoreError(f"results in {folder} cannot be read: {error}") from error
    # Rows measured here replace bundled ones of the same variant
    measured_variants = rows.filter(~BUNDLED).select(VARIANT).unique()
    bundled_rows = rows.filter(BUNDLED).join(
        measured_variants, on=VARIANT, how="anti", maintain_order="left"
    )
    rows = pl.concat([rows.filter(~BUNDLED), bundled_rows])
    if not rows.height:
        raise UsageError(f"{folder} holds no rows: measure some with `bench run`")
    return RowSet(str(folder), folder, select_part(rows, dataset.partition(":")[2]))


def dataset_folders(location: str) -> dict[str, Path]:
    """Return the folders with rows in a folder or baseline, by dataset; `UsageError` if none."""
    folder = Path(location)
    if (folder / "per_image").is_dir():
        return {folder.resolve().name: folder}
    baseline = RESULTS / FOLDER / location if BASELINE_NAME.fullmatch(location) else folder
    paths = sorted(folder.glob("*/per_image")) or sorted(baseline.glob("*/per_image"))
    if not paths:
        raise UsageError(
            f"{location} is neither a folder with results nor a baseline in {RESULTS / FOLDER}"
        )
    return {path.parent.name: path.parent for path in paths}


def read_two_row_sets(reference: str, new: str, dataset: str) -> tuple[RowSet, RowSet]:
    """Read a dataset's rows in two locations; dataset "": the only dataset that both have."""
    folders = {location: dataset_folders(location) for location in (reference, new)}
    sets = []
    for location, datasets in folders.items():
        stored_name = dataset and Place(dataset).stored_name(datasets)
        name = _find_dataset_name(location, folders, stored_name)
        if name not in datasets:
            raise UsageError(
                f"{location} has rows of {', '.join(datasets)}, not of {dataset or name}"
            )
        sets.append(read_rows(datasets[name], stored_name))
    return sets[0], sets[-1]


def _find_dataset_name(
    location: str, folders: Mapping[str, Mapping[str, Path]], dataset: str
) -> str:
    if dataset:
        return dataset.partition(":")[0]
    if all(len(datasets) == 1 for datasets in folders.values()):
        return next(iter(folders[location]))
    shared_names = set.intersection(*(set(datasets) for datasets in folders.values()))
    if len(shared_names) != 1:
        locations = " and ".join(
            f"{location} of {', '.join(datasets)}" for location, datasets in folders.items()
        )
        raise UsageError(f"there are rows in {locations}: choose a dataset with --dataset")
    return shared_names.pop()
