"""Rows of a dataset below a results folder, read and summarised for reports, checks and figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.errors import UnknownName, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.analysis.comparable import Average
    from benchmark.analysis.summarise import Summary


class Stored(NamedTuple):
    """A dataset's results."""

    name: str  # as the user calls it
    folder: Path  # of the report
    summary: "Summary"
    table: "pa.Table"  # the rows that were summarised
    runs: list[dict[str, Any]]  # records of the runs, oldest first


def datasets_with_results(results: Path, dataset: str) -> list[str]:
    """The dataset asked for, or every one; `UsageError` where there are no results of it."""
    found = sorted(path.parent.name for path in results.glob("*/per_image") if any(path.iterdir()))
    if not found:
        raise UsageError(f"{results} holds no results: measure something with `bench run` first")
    if dataset == "all":
        return found
    if dataset.partition(":")[0] in found:
        return [dataset]
    if Path(dataset).is_dir():
        from benchmark.datasets.folder import open_folder

        name = open_folder(Path(dataset)).name
        if name in found:
            return [name]
    raise UnknownName("results of a dataset", dataset, found)


def read_results(
    results: Path,
    name: str,
    codecs: str,
    metrics: Sequence[str],
    common: bool = False,
    pooled: bool = False,
    allow_few: bool = False,
    attested_only: bool = False,
) -> Stored:
    """A dataset's rows of these codecs, summarised, and its runs."""
    from benchmark.analysis.reduce import with_distribution_metrics
    from benchmark.analysis.summarise import summarise
    from benchmark.packs.contents import verified_rows
    from benchmark.protocol import protocols
    from benchmark.registry import DISTRIBUTION_METRICS
    from benchmark.rows.store import Store

    stored, _, subset = name.partition(":")
    folder = results / stored
    rows = Store(folder).table()
    if attested_only and rows.num_rows:
        rows = verified_rows(rows)
        if rows.num_rows == 0:
            raise UsageError(f"{folder} has no attested rows: run the same with --attest")
    table = _only(rows, codecs, subset)
    if table.num_rows == 0:
        raise UsageError(f"{folder} has no rows of {name}: measure some with `bench run`")
    sets = [metric for metric in metrics if metric in DISTRIBUTION_METRICS]
    table = with_distribution_metrics(table, folder, sets, common, allow_few)
    runs = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))]
    average: Average = "pooled" if pooled else "per_image"
    return Stored(
        name,
        folder / (f"report-{subset}" if subset else "report"),
        summarise(table, protocols(metrics), average, common),
        table,
        runs,
    )


def _only(table: "pa.Table", codecs: str, subset: str) -> "pa.Table":
    """Rows of these codecs (names or labels) and of the images in a folder of the dataset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmark.analysis.comparable import label_of
    from benchmark.registry import split_unescaped

    if subset:
        table = table.filter(pc.starts_with(table["image"], f"{subset}/"))
    if codecs == "all":
        return table
    asked = [text.strip() for text in split_unescaped(codecs, ",")]
    variants = table.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    names = [{one["codec"], label_of(one["codec"], one["variant"])} for one in variants]
    for text in asked:
        if not any(text in both for both in names):
            raise UnknownName("codec with results", text, set().union(*names))
    wanted = [one for one, both in zip(variants, names, strict=True) if both & set(asked)]
    return table.join(pa.Table.from_pylist(wanted), ["codec", "variant"], join_type="left semi")
