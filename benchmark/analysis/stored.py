"""Rows of a dataset below a results folder, read and summarised for reports, checks and figures."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.analysis.comparable import known_names, label_of
from benchmark.analysis.reduce import with_distribution_metrics
from benchmark.analysis.sources import pixels_of, present
from benchmark.analysis.summarise import Summary, summarise_rows
from benchmark.codec_spec import CodecSpec, plain_codec, split_unescaped
from benchmark.datasets.folder import open_dataset, open_folder
from benchmark.errors import UnknownName, UsageError
from benchmark.packs.contents import verified_rows
from benchmark.protocol import protocols
from benchmark.registry import means_folder
from benchmark.rows.store import Store, folder_store_name, stores_below
from benchmark.user_file import names_file


class DatasetResults(NamedTuple):
    """The results of a dataset: rows, their summary, and the records of the runs behind them."""

    name: str  # as the user calls it
    folder: Path  # of the report
    summary: Summary
    table: pa.Table  # the rows that were summarised, with columns of distribution metrics
    runs: list[dict[str, Any]]  # records of the runs, oldest first
    gone: tuple[str, ...] = ()  # photographs with rows that the dataset no longer has


def datasets_with_results(results: Path, dataset: str) -> list[str]:
    """Return the names of the datasets asked for: one, or "all".

    Raises `UsageError` or `UnknownName` if there are no results.
    """
    return _with_rows(results) if dataset == "all" else [stored_dataset(results, dataset)]


def stored_dataset(results: Path, dataset: str) -> str:
    """Return the name that a dataset, however it is given, has in a results folder.

    Raises `UsageError` or `UnknownName` if there are no results of it.
    """
    known = _with_rows(results)
    if dataset.partition(":")[0] in known:
        return dataset
    if names_file(dataset):
        name: str = open_dataset(dataset).name
    elif means_folder(dataset):
        name = name_of_folder(Path(dataset), stores_below(results))
    else:
        raise UnknownName("results of a dataset or folder", dataset, known)
    if name not in known:
        raise UsageError(
            f"{results} holds no results of the images in {dataset}: measure some with "
            f"`bench run --dataset {dataset}`"
        )
    return name


def _with_rows(results: Path) -> list[str]:
    known = [name for name, path in stores_below(results).items() if any(path.glob("per_image/*"))]
    if not known:
        raise UsageError(f"{results} holds no results: measure something with `bench run` first")
    return known


def name_of_folder(path: Path, stores: Mapping[str, Path]) -> str:
    """Return the name of the results of a folder of images among `stores`, results by name.

    The name of no store is returned if there are no results of these images. Raises `UsageError`
    without images.
    """
    folder = open_folder(path)
    images = pixels_of(folder.images)
    return folder_store_name(
        folder.folder_title, folder.name, images, stores, folder.sizes_of_files()
    )


def read_one(
    results: Path, dataset: str, codecs: str, metrics: Sequence[str], **options: Any
) -> DatasetResults:
    """Read the results of one dataset as `read_results` does; raise for several, as "all"."""
    names = datasets_with_results(results, dataset)
    if len(names) > 1:
        raise UsageError(f"--dataset {dataset} is {', '.join(names)}: name one of them")
    return read_results(results, dataset, codecs, metrics, **options)


def read_results(
    results: Path,
    name: str,
    codecs: str,
    metrics: Sequence[str],
    common: bool = False,
    pooled: bool = False,
    allow_few: bool = False,
    verified_only: bool = False,
    images: Sequence[str] = (),
    all_rows: bool = False,
    data_dir: Path | None = None,
) -> DatasetResults:
    """Read and summarise the rows of a dataset below a results folder.

    name: a dataset, a part of one such as clic2020:mobile, or a folder of images. codecs:
    comma-separated names or labels, or "all". metrics: names. common, allow_few: see
    `reduce.with_distribution_metrics`. pooled: bits per pixel over all pixels. verified_only: keep
    rows whose streams were decoded again in a fresh process. images: patterns such as kodim0*, or
    none for all. all_rows: also rows of photographs that the dataset no longer has. data_dir: where
    datasets are sought. Raises `UsageError` if no rows are left.
    """
    asked, name = name, stored_dataset(results, name)
    stored, _, subset = name.partition(":")
    folder = results / stored
    store = Store(folder)
    rows = store.table()
    if verified_only and rows.num_rows:
        rows = verified_rows(rows)
        if rows.num_rows == 0:
            raise UsageError(f"{folder} has no verified rows: run the same with --verify")
    table, gone = rows_of_codecs(rows, codecs, subset), tuple[str, ...]()
    if not all_rows:
        table, gone = present(table, store, asked if asked != name else "", data_dir)
    if images:
        kept = named_images(pc.unique(table["image"]).to_pylist(), images)
        table = table.filter(pc.is_in(table["image"], value_set=pa.array([*kept], pa.string())))
    if table.num_rows == 0:
        raise UsageError(f"{folder} has no rows of {name}: measure some with `bench run`")
    filled = with_distribution_metrics(table, folder, metrics, common, allow_few)
    summary = summarise_rows(
        filled, protocols(metrics), "pooled" if pooled else "per_image", common
    )
    report = folder / (f"report-{subset}" if subset else "report")
    return DatasetResults(name, report, summary, filled.table, store.records(), gone)


def named_images(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the images that a pattern names; raise `UnknownName` for one without any."""
    kept: set[str] = set()
    for pattern in patterns:
        matching = {name for name in names if _is_named(PurePath(name), pattern)}
        if not matching:
            raise UnknownName("image with rows", pattern, names)
        kept |= matching
    return kept


def _is_named(image: PurePath, pattern: str) -> bool:
    return any(fnmatch(text, pattern) for text in (str(image), image.name, image.stem))


def rows_of_codecs(table: pa.Table, codecs: str, subset: str = "") -> pa.Table:
    """Return the rows of these codecs, and of the images in the part `subset` of the dataset.

    codecs: comma-separated names or labels, or "all". Raises `UnknownName`.
    """
    if subset:
        table = table.filter(pc.starts_with(table["image"], f"{subset}/"))
    asked = [text.strip() for text in split_unescaped(codecs, ",")]
    if "all" in asked:
        return table
    variants = table.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    pairs = [(variant["codec"], variant["variant"]) for variant in variants]
    names = [{pair[0], label_of(*pair), CodecSpec.of(*pair).text} for pair in pairs]
    spellings = {text: {text, plain_codec(text)} for text in asked}
    for text, own in spellings.items():
        if not any(own & known for known in names):
            raise UnknownName("codec with results", text, known_names(pairs))
    wanted = set().union(*spellings.values())
    kept = [variant for variant, own in zip(variants, names, strict=True) if own & wanted]
    return table.join(pa.Table.from_pylist(kept), ["codec", "variant"], join_type="left semi")
