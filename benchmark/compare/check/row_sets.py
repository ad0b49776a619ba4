"""Row sets to compare, named by the words of a command: a folder of results or a baseline."""

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import CODING
from benchmark.compare.check.baseline import FOLDER, find_baseline, list_baselines
from benchmark.compare.check.pairing import RowSet, specs_in
from benchmark.datasets.dataset import open_dataset
from benchmark.errors import DamagedResults, StoreError, UnknownName, UsageError
from benchmark.registry import CODECS, is_brought, means_folder
from benchmark.rows.editions import edition_rows
from benchmark.rows.schema import equals, marked
from benchmark.rows.store import Store
from benchmark.rows.stored import name_of_folder
from benchmark.rows.systems import known_names, label_of
from benchmark.spec import parse_codec


def read_rows(folder: Path, dataset: str = "") -> RowSet:
    """Return the rows of a dataset's folder; of a part only for a `dataset` like clic2020:mobile.

    Bundled rows are left out of variants that were measured there with another build.
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
    older = np.zeros(rows.num_rows, np.bool_)
    older[edition_rows(rows, newest_only=True).other] = True
    older &= marked(rows["bundled"]) & equals(rows["coding_protocol"], CODING)
    rows = rows.filter(pa.array(~older))
    if not rows.num_rows:
        raise UsageError(f"{folder} holds no rows: measure some with `bench run`")
    if subset := dataset.partition(":")[2]:
        rows = rows.filter(pc.starts_with(rows["image"], f"{subset}/"))
    return RowSet(str(folder), folder, rows)


def dataset_folders(where: str, baselines: Path) -> dict[str, Path]:
    """Return the folders with rows, by dataset.

    where: a dataset's folder, a results folder, or the name of a baseline in the results folder
    `baselines`. Raises `UsageError` or `UnknownName` for anything else.
    """
    folder = Path(where)
    if (folder / "per_image").is_dir():
        return {folder.resolve().name: folder}
    if not any(folder.glob("*/per_image")):
        names = [baseline.name for baseline in list_baselines(baselines)]
        if not names or os.sep in where:
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
