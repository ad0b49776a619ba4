"""Rows of a dataset below a results folder, read and summarised for reports, checks and figures.

A dataset is known by what the user names, by its name in the registry, or by the folder that the
records of its runs name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.codec import CODING, Setting
from benchmark.datasets.dataset import HASH_OF_FOLDER
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import protocols
from benchmark.registry import DISTRIBUTION_METRICS, means_folder
from benchmark.rows.comparable import ComparableRows, image_numbers
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise_rows
from benchmark.rows.names import find_editions
from benchmark.rows.place import Place
from benchmark.rows.remedies import command_on_rows, with_remedies
from benchmark.rows.shard import SHIPPED
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import Summary
from benchmark.rows.variants import (
    NO_ANCHOR,
    Anchor,
    are_of,
    divided,
    editions_in,
    specs_of,
    variants_of,
)
from benchmark.spec import CodecSpec, listed_datasets, named_in
from benchmark.system.text import bench_command, by_key, counted

WIDE_SPREAD = 16  # from this ratio of pixels on, the sizes of a set are reported as spread


class Source(NamedTuple):
    """Place of the rows of a question: a dataset below a results folder, or rows that were read."""

    results: Path
    dataset: str
    rows: pl.DataFrame | None = None  # in place of the stored ones; none is left out of them


# From rows that are shown and others of a dataset to those to summarise, and their anchor.
Joins = Callable[[pl.DataFrame, pl.DataFrame], tuple[pl.DataFrame, Anchor]]


class DatasetResults(NamedTuple):
    """The results of a dataset: rows, their summary, and the records of the runs behind them."""

    name: str  # as the user calls it
    folder: Path  # of the report
    summary: Summary
    table: pl.DataFrame  # the rows that were summarised, with columns of distribution metrics
    runs: list[dict[str, Any]]  # records of the runs, oldest first
    anchor: Anchor = NO_ANCHOR  # see `compare.anchor`
    unfinished: Sequence[str] = ()  # a sentence on the last run, if it was stopped

    @property
    def of_compared_images(self) -> pl.DataFrame:
        """The rows of the images that are compared."""
        compared = {image for point in self.summary.points for image in point.image_ids.tolist()}
        return self.table.filter(pl.Series(image_numbers(self.table)).is_in([*compared]))

    @property
    def only_bundled(self) -> bool:
        """True if none of the rows that are shown was measured here."""
        return all(point.edition.bundled for point in self.summary.points)

    @property
    def image_names(self) -> dict[int, str]:
        """Names of images by the numbers that points have them under."""
        numbers = image_numbers(self.table).tolist()
        return dict(zip(numbers, self.table["image"].to_list(), strict=True))

    @property
    def subject(self) -> str:
        """The dataset, its number of images, and whether all is bundled, as a sentence begins."""
        bundled = ", all bundled with the project" if self.only_bundled else ""
        return f"{self.heading}, {counted(self.summary.images, 'image')}{bundled}"

    @property
    def facts(self) -> dict[str, Any]:
        """Facts that all records of an answer share: images, protocols, machine of the seconds."""
        summary = self.summary
        protocols = summary.protocols_in_use
        return {"images": summary.images, "protocols": protocols, "machine": summary.machine}

    @property
    def heading(self) -> str:
        """Name above what is printed of it: a folder's own, without the hash."""
        return HASH_OF_FOLDER.sub("", self.name)


def datasets_with_results(results: Path, dataset: str) -> list[str]:
    """Return the names that `asked_datasets` have here; raise what `stored_dataset` does."""
    return [stored_dataset(results, name) for name in asked_datasets(results, dataset)]


def asked_datasets(results: Path, dataset: str) -> list[str]:
    """Return the datasets of a comma-separated list as they are given, or all that have rows."""
    return _with_rows(results) if dataset == "all" else listed_datasets(dataset)


def stored_dataset(results: Path, dataset: str) -> str:
    """Return the name that a dataset, however it is given, has in a results folder.

    dataset: "" for the only one, else Kodak. Raises `UsageError` or `UnknownName` without results.
    """
    known = _with_rows(results)
    dataset = dataset or (known[0] if len(known) == 1 else "kodak")
    place = Place(dataset)
    name = place.stored_name({of: results / of for of in known})
    if name.partition(":")[0] in known:
        return name
    if not place.opens and not means_folder(dataset):
        raise UnknownName("results of a dataset or folder", dataset, known)
    if name not in known:
        raise UsageError(
            f"{results} holds no results of the images in {dataset}: measure some with "
            f"`{command_on_rows('run', results, dataset)}`"
        )
    return name


def require_bundled(results: Path, bundled: str) -> None:
    """Raise `UsageError` where rows of bundled codecs are asked for and the folder has none."""
    if bundled and not any(results.glob(f"*/per_image/{SHIPPED}*")):
        raise UsageError(
            f"nothing is bundled in {results}: leave out --bundled {bundled}, or add the rows with "
            f"`{bench_command('merge', 'results', into=results)}`"
        )


def _with_rows(results: Path) -> list[str]:
    known = [name for name, path in stores_below(results).items() if any(path.glob("per_image/*"))]
    if not known:
        raise UsageError(f"{results} holds no results: measure something with `bench run` first")
    return known


def read_one(
    results: Path, dataset: str, codecs: str, metrics: Sequence[str], **options: Any
) -> DatasetResults:
    """Read the results of one dataset as `read_results` does; raise for several, as "all"."""
    require_one(results, dataset)
    return read_results(results, dataset, codecs, metrics, **options)


def require_one(results: Path, dataset: str) -> str:
    """Return the name of the dataset that is asked for; raise `UsageError` for several."""
    names = datasets_with_results(results, dataset)
    if len(names) > 1:
        raise UsageError(f"--dataset {dataset} is {', '.join(names)}: name one of them")
    return names[0]


def read_results(
    results: Path,
    name: str,
    codecs: str,
    metrics: Sequence[str],
    *,
    verified_only: bool = False,
    images: Sequence[str] = (),
    whole: bool = False,
    bundled: str = "",
    rows: pl.DataFrame | None = None,
    joined: Joins | None = None,
    common: bool = False,
    pooled: bool = False,
    allow_few: bool = False,
) -> DatasetResults:
    """Read and summarise the rows of an experiment below a results folder.

    name: a dataset, a part of one such as clic2020:mobile, or a folder of images. codecs, bundled:
    see `variants.divided`. metrics: names, of those to summarise. verified_only: keep rows whose
    streams were decoded again in a fresh process. images: patterns such as kodim0*, or none for
    all. whole: the table also says which streams rows have (else it is as `Store.means_table`
    returns it). rows: in place of the stored ones, whatever their codec. joined: chooses rows to
    summarise, and the anchor. common, allow_few: see `reduce.with_distribution_metrics`. pooled:
    bits per pixel over all pixels. Raises `UsageError` if no rows are left.
    """
    name = name if rows is not None else stored_dataset(results, name)
    stored, _, subset = name.partition(":")
    store, of_sets = Store(results / stored), not DISTRIBUTION_METRICS.keys().isdisjoint(metrics)
    runs: list[dict[str, Any]] = []
    unfinished: Sequence[str] = ()
    if rows is not None:
        codecs, bundled = "all", "all"
    else:
        rows, runs = store.table() if whole or of_sets else store.means_table(), store.records()
        unfinished = _unfinished(rows, runs)
    if verified_only:
        verified(rows, store.folder)
    table = of_part(rows, subset)
    filters = {"--verified-only": col("attested").fill_null(False)} if verified_only else {}
    if images:
        names = named_images(table["image"].unique(maintain_order=True).to_list(), images)
        filters[f"--images {','.join(images)}"] = col("image").is_in([*names])
    table, others = divided(table, codecs, bundled)
    for option, is_kept in filters.items():
        lost = specs_of(table) - specs_of(table := table.filter(is_kept))
        others = others.filter(is_kept)
        if lost and (named_in(codecs) or not table.height):
            labels = ", ".join(sorted(map(label_of, lost)))
            raise UsageError(f"{option} leaves no row of {labels}: leave the option or these out")
    if table.height == 0:
        raise UsageError(f"{store.folder} has no rows of {name}: measure some with `bench run`")
    table, anchor = (table, NO_ANCHOR) if joined is None else joined(table, others)
    if of_sets:
        from benchmark.rows.reduce import with_distribution_metrics  # rarely needed

        filled = with_distribution_metrics(table, store.folder, metrics, common, allow_few)
    else:
        filled = ComparableRows(table, CODING)
    summary = summarise_rows(filled, protocols(metrics), pooled, common)
    summary = with_remedies(summary, store.folder, table["run"].unique())
    report = report_folder(results, name)
    return DatasetResults(name, report, summary, filled.table, runs, anchor, unfinished)


def verified(rows: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Return the rows of a store whose streams a fresh process decoded; raise where none is."""
    kept = rows.filter("attested")
    if rows.height and not kept.height:
        raise UsageError(f"{folder} has no verified rows: run the same with --verify")
    return kept


def _unfinished(rows: pl.DataFrame, runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a sentence on the cells without a row of the last of these runs, if it was stopped."""
    match [run for run in runs[-1:] if "ended" not in run]:
        case [{"to_do": int(cells), "arguments": ["run", *words], "conditions": {"run": str(run)}}]:
            if (left := cells - rows.filter(col("run") == run).height) > 0:
                again = bench_command("run", *words)
                return (f"{left} of {cells} cells of the last run have no row yet: `{again}`",)
    return ()


def report_folder(results: Path, name: str) -> Path:
    """Return the folder of the report of a dataset or a part of one, by its stored name."""
    stored, _, subset = name.partition(":")
    return results / stored / (f"report-{subset}" if subset else "report")


def named_images(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the images that a pattern names; raise `UnknownName` for one without any."""
    texts = {name: (name, PurePath(name).name, PurePath(name).stem) for name in names}
    kept: set[str] = set()
    for pattern in patterns:
        matching = {
            name
            for name, of in texts.items()
            if any(t == pattern or fnmatch(t, pattern) for t in of)
        }
        if not matching:
            known = [str(PurePath(name).with_suffix("")) for name in names]
            raise UnknownName("image with rows", pattern, known)
        kept |= matching
    return kept


def rows_of_codecs(table: pl.DataFrame, codecs: str, subset: str = "") -> pl.DataFrame:
    """Return the rows of these codecs, and of the images in the part `subset` of the dataset.

    codecs: comma-separated names (see `rows.names`), or "all". Raises `UnknownName`.
    """
    table = of_part(table, subset)
    if not (codec_names := named_in(codecs)):
        return table
    return table.filter(are_of(variants_of(find_editions(codec_names, editions_in(table)))))


def specs_in(rows: pl.DataFrame) -> list[CodecSpec]:
    """Return the codec variants that rows have, sorted."""
    return sorted(specs_of(rows))


def rows_of(rows: pl.DataFrame, specs: Collection[CodecSpec]) -> pl.DataFrame:
    """Return the rows of these codec variants."""
    chosen = [CodecSpec.of(*pair) in specs for pair in rows.select("codec", "variant").rows()]
    return rows.filter(pl.Series(chosen, dtype=pl.Boolean))


def settings_of(rows: pl.DataFrame) -> list[Setting]:
    """Return the setting of each row."""
    return [Setting(*pair) for pair in rows.select("setting_name", "setting_value").rows()]


def points_of(codec: str, rows: pl.DataFrame) -> tuple[str, ...]:
    """Return the settings of rows as `--points` takes them."""
    values = by_key((name, f"{value:.17g}") for name, value in sorted(set(settings_of(rows))))
    return tuple(f"{codec}.{name}={','.join(of_name)}" for name, of_name in values.items())


def of_part(table: pl.DataFrame, subset: str) -> pl.DataFrame:
    """Return the rows of the images in a part of the dataset; "" for all."""
    of_subset = col("image").cast(pl.String).str.starts_with(f"{subset}/")
    return table.filter(of_subset) if subset else table


def source_facts(table: pl.DataFrame) -> dict[str, Any] | None:
    """Return facts about the distinct photographs of a table of rows; None for no rows.

    images: their number. lossy: that of files which are lossily coded, so that they show artefacts.
    smallest, largest: name, width and height in pixels. spread: the ratio of their pixels.
    """
    names = ("image_sha256", "image", "width_px", "height_px", "source_lossy")
    rows = table.select(names).unique(maintain_order=True).rows(named=True)
    photographs = {row["image_sha256"]: row for row in reversed(rows)}.values()
    if not photographs:
        return None
    sizes = [(row["image"], row["width_px"], row["height_px"]) for row in photographs]
    pixels = sorted((width * height, name, width, height) for name, width, height in sizes)
    return {
        "images": len(sizes),
        "lossy": sum(bool(row["source_lossy"]) for row in photographs),
        "smallest": pixels[0][1:],
        "largest": pixels[-1][1:],
        "spread": pixels[-1][0] / max(pixels[0][0], 1),
    }
