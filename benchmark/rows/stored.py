"""Rows of a dataset below a results folder, read and summarised for reports, checks and figures."""

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
from benchmark.registry import DISTRIBUTION_METRICS, is_folder_name
from benchmark.rows.comparable import ComparableRows, image_numbers
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise_rows
from benchmark.rows.names import find_editions
from benchmark.rows.place import Place
from benchmark.rows.remedies import add_remedies, command_on_rows
from benchmark.rows.shard import SHIPPED
from benchmark.rows.store import Store, stores_below
from benchmark.rows.summary import Summary
from benchmark.rows.variants import (
    NO_ANCHOR,
    Anchor,
    divide_rows,
    editions_in,
    has_variant,
    specs_of,
    variants_of,
)
from benchmark.spec import CodecSpec, listed_datasets, requested_names
from benchmark.system.text import bench_command, counted, group_by_key

# Image sizes are reported if the largest image has this many times the pixels of the smallest.
WIDE_SPREAD = 16


class RowSource(NamedTuple):
    """Source of rows: a dataset in a results folder, or a table in memory."""

    results: Path
    dataset: str
    rows: pl.DataFrame | None = None  # used instead of the stored rows, without selection


# Takes (shown rows, other rows of the dataset); returns (rows to summarise, their anchor).
RowSelection = Callable[[pl.DataFrame, pl.DataFrame], tuple[pl.DataFrame, Anchor]]


class DatasetResults(NamedTuple):
    """Results of a dataset: rows, their summary, and the records of their runs."""

    name: str  # stored name of the dataset, with its part if any
    folder: Path  # report folder
    summary: Summary
    table: pl.DataFrame  # the rows that were summarised, with columns of distribution metrics
    runs: list[dict[str, Any]]  # records of the runs, oldest first
    anchor: Anchor = NO_ANCHOR  # see `compare.anchor`
    unfinished: Sequence[str] = ()  # one sentence on the last run, if it was stopped

    @property
    def compared_rows(self) -> pl.DataFrame:
        """Rows of the compared images."""
        compared_images = {
            image for point in self.summary.points for image in point.image_ids.tolist()
        }
        return self.table.filter(pl.Series(image_numbers(self.table)).is_in([*compared_images]))

    @property
    def only_bundled(self) -> bool:
        """True if none of the shown rows was measured here."""
        return all(point.edition.bundled for point in self.summary.points)

    @property
    def image_names(self) -> dict[int, str]:
        """Names of images by `image_ids` of points."""
        numbers = image_numbers(self.table).tolist()
        return dict(zip(numbers, self.table["image"].to_list(), strict=True))

    @property
    def subject(self) -> str:
        """Beginning of a sentence: dataset, number of images, and whether all are bundled."""
        bundled = ", all bundled with the project" if self.only_bundled else ""
        return f"{self.heading}, {counted(self.summary.images, 'image')}{bundled}"

    @property
    def facts(self) -> dict[str, Any]:
        """Facts of all records of an answer: images, protocols, machine that took the times."""
        summary = self.summary
        protocols = summary.protocols_in_use
        return {"images": summary.images, "protocols": protocols, "machine": summary.machine}

    @property
    def heading(self) -> str:
        """Name of the dataset as printed: a folder's name without its hash."""
        return HASH_OF_FOLDER.sub("", self.name)


def datasets_with_results(results: Path, dataset: str) -> list[str]:
    """Return the stored names of the requested datasets; errors as in `stored_dataset`."""
    return [stored_dataset(results, name) for name in requested_datasets(results, dataset)]


def requested_datasets(results: Path, dataset: str) -> list[str]:
    """Split a comma-separated list of datasets; "all" is every dataset with rows."""
    return _datasets_with_rows(results) if dataset == "all" else listed_datasets(dataset)


def stored_dataset(results: Path, dataset: str) -> str:
    """Return a dataset's stored name ("": the only one, or Kodak); may raise `UnknownName`."""
    datasets = _datasets_with_rows(results)
    dataset = dataset or (datasets[0] if len(datasets) == 1 else "kodak")
    place = Place(dataset)
    name = place.stored_name({dataset_name: results / dataset_name for dataset_name in datasets})
    if name.partition(":")[0] in datasets:
        return name
    if not place.leads_to_images and not is_folder_name(dataset):
        raise UnknownName("results of a dataset or folder", dataset, datasets)
    if name not in datasets:
        raise UsageError(
            f"{results} has no results of the images in {dataset}: measure some with "
            f"`{command_on_rows('run', results, dataset)}`"
        )
    return name


def require_bundled(results: Path, bundled: str) -> None:
    """Raise `UsageError` if bundled codecs are requested, but the folder has none."""
    if bundled and not any(results.glob(f"*/per_image/{SHIPPED}*")):
        raise UsageError(
            f"nothing is bundled in {results}: leave out --bundled {bundled}, or add the rows with "
            f"`{bench_command('merge', 'results', into=results)}`"
        )


def _datasets_with_rows(results: Path) -> list[str]:
    names = [name for name, path in stores_below(results).items() if any(path.glob("per_image/*"))]
    if not names:
        raise UsageError(f"{results} has no results: measure some with `bench run`")
    return names


def read_one_dataset(
    results: Path, dataset: str, codecs: str, metrics: Sequence[str], **options: Any
) -> DatasetResults:
    """Read the results of one dataset with `read_results`; raise `UsageError` for several."""
    require_one_dataset(results, dataset)
    return read_results(results, dataset, codecs, metrics, **options)


def require_one_dataset(results: Path, dataset: str) -> str:
    """Return the stored name of a single dataset; raise `UsageError` for several."""
    names = datasets_with_results(results, dataset)
    if len(names) > 1:
        raise UsageError(f"--dataset {dataset} stands for {', '.join(names)}: choose one of them")
    return names[0]


def read_results(
    results: Path,
    name: str,
    codecs: str,
    metrics: Sequence[str],
    *,
    verified_only: bool = False,
    images: Sequence[str] = (),
    with_streams: bool = False,
    bundled: str = "",
    rows: pl.DataFrame | None = None,
    join: RowSelection | None = None,
    common: bool = False,
    pooled: bool = False,
    allow_few: bool = False,
) -> DatasetResults:
    """Read and summarise the rows of an experiment below a results folder.

    name: a dataset, a part such as clic2020:mobile, or a folder of images. codecs, bundled: see
    `variants.divide_rows`. metrics: names. verified_only: only rows whose streams were decoded
    again in a fresh process. images: patterns such as kodim0*; empty: all. with_streams: keep the
    columns about streams, which `Store.means_table` lacks. rows: used instead of stored ones, for
    all of their codecs. join: selects rows to summarise and the anchor. common, allow_few: see
    `reduce.add_distribution_metrics`. pooled: bits per pixel over all pixels. Raises `UsageError`
    if no rows are left.
    """
    name = name if rows is not None else stored_dataset(results, name)
    stored_name, _, subset = name.partition(":")
    store = Store(results / stored_name)
    has_set_metrics = not DISTRIBUTION_METRICS.keys().isdisjoint(metrics)
    runs: list[dict[str, Any]] = []
    unfinished: Sequence[str] = ()
    if rows is not None:
        codecs, bundled = "all", "all"
    else:
        rows = store.table() if with_streams or has_set_metrics else store.means_table()
        runs = store.records()
        unfinished = _describe_unfinished(rows, runs)
    if verified_only:
        require_verified_rows(rows, store.folder)
    table = select_part(rows, subset)
    filters = {"--verified-only": col("attested").fill_null(False)} if verified_only else {}
    if images:
        names = named_images(table["image"].unique(maintain_order=True).to_list(), images)
        filters[f"--images {','.join(images)}"] = col("image").is_in([*names])
    table, hidden_rows = divide_rows(table, codecs, bundled)
    for option, is_kept in filters.items():
        specs_without_rows = specs_of(table) - specs_of(table := table.filter(is_kept))
        hidden_rows = hidden_rows.filter(is_kept)
        if requested_names(codecs) or not table.height:
            _refuse_missing_rows(option, specs_without_rows)
    if table.height == 0:
        raise UsageError(f"{store.folder} has no rows of {name}: measure some with `bench run`")
    table, anchor = (table, NO_ANCHOR) if join is None else join(table, hidden_rows)
    if has_set_metrics:
        from benchmark.rows.reduce import add_distribution_metrics  # rarely needed

        comparable_rows = add_distribution_metrics(table, store.folder, metrics, common, allow_few)
    else:
        comparable_rows = ComparableRows(table, CODING)
    summary = summarise_rows(comparable_rows, protocols(metrics), pooled, common)
    summary = add_remedies(summary, store.folder, table["run"].unique())
    report = report_folder(results, name)
    return DatasetResults(name, report, summary, comparable_rows.table, runs, anchor, unfinished)


def require_verified_rows(rows: pl.DataFrame, folder: Path, codecs: str = "all") -> pl.DataFrame:
    """Return rows whose streams a fresh process decoded; `UsageError` if a codec has none."""
    attested_rows = rows.filter("attested")
    if rows.height and not attested_rows.height:
        raise UsageError(f"{folder} has no verified rows: repeat the run with --verify")
    if requested_names(codecs):
        named_rows = rows_of_codecs(rows, codecs)
        _refuse_missing_rows("--verified-only", specs_of(named_rows) - specs_of(attested_rows))
    return attested_rows


def _refuse_missing_rows(option: str, specs_without_rows: Collection[CodecSpec]) -> None:
    if specs_without_rows:
        labels = ", ".join(sorted(map(label_of, specs_without_rows)))
        raise UsageError(f"{option} leaves no rows of {labels}: leave out one of the two options")


def _describe_unfinished(rows: pl.DataFrame, runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Describe how many cells of the last run have no row yet, if it was stopped."""
    match [run for run in runs[-1:] if "ended" not in run]:
        case [
            {"to_do": int(cells), "arguments": ["run", *arguments], "conditions": {"run": str(run)}}
        ]:
            if (num_missing := cells - rows.filter(col("run") == run).height) > 0:
                command = bench_command("run", *arguments)
                missing_text = f"{num_missing} of {cells} cells of the last run lack rows"
                return (f"{missing_text}: repeat `{command}`",)
    return ()


def report_folder(results: Path, name: str) -> Path:
    """Return the report folder of a dataset or a part, by its stored name."""
    stored_name, _, subset = name.partition(":")
    return results / stored_name / (f"report-{subset}" if subset else "report")


def named_images(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the images that match any pattern; `UnknownName` for a pattern without match."""
    texts_by_name = {name: (name, PurePath(name).name, PurePath(name).stem) for name in names}
    matches: set[str] = set()
    for pattern in patterns:
        matching_names = {
            name
            for name, texts in texts_by_name.items()
            if any(text == pattern or fnmatch(text, pattern) for text in texts)
        }
        if not matching_names:
            stems = [str(PurePath(name).with_suffix("")) for name in names]
            raise UnknownName("image with rows", pattern, stems)
        matches |= matching_names
    return matches


def rows_of_codecs(table: pl.DataFrame, codecs: str, subset: str = "") -> pl.DataFrame:
    """Return a part's rows of comma-separated codecs or "all"; may raise `UnknownName`."""
    table = select_part(table, subset)
    if not (codec_names := requested_names(codecs)):
        return table
    return table.filter(has_variant(variants_of(find_editions(codec_names, editions_in(table)))))


def specs_in(rows: pl.DataFrame) -> list[CodecSpec]:
    """Return the codec variants of rows, sorted."""
    return sorted(specs_of(rows))


def rows_of(rows: pl.DataFrame, specs: Collection[CodecSpec]) -> pl.DataFrame:
    """Return the rows of these codec variants."""
    is_included = [
        CodecSpec.parse(*pair) in specs for pair in rows.select("codec", "variant").rows()
    ]
    return rows.filter(pl.Series(is_included, dtype=pl.Boolean))


def settings_of(rows: pl.DataFrame) -> list[Setting]:
    """Return the setting of each row."""
    return [Setting(*pair) for pair in rows.select("setting_name", "setting_value").rows()]


def points_option(codec: str, rows: pl.DataFrame) -> tuple[str, ...]:
    """Return the settings of rows as values of `--points`."""
    values = group_by_key((name, f"{value:.17g}") for name, value in sorted(set(settings_of(rows))))
    return tuple(f"{codec}.{name}={','.join(texts)}" for name, texts in values.items())


def select_part(table: pl.DataFrame, subset: str) -> pl.DataFrame:
    """Return the rows of images in a part of the dataset; "": all rows."""
    in_subset = col("image").cast(pl.String).str.starts_with(f"{subset}/")
    return table.filter(in_subset) if subset else table


def source_facts(table: pl.DataFrame) -> dict[str, Any] | None:
    """Return facts about the distinct photographs of rows; None if there are no rows.

    lossy: number from lossily coded files. smallest, largest: name, width and height in pixels.
    spread: ratio of the largest to the smallest area.
    """
    names = ("image_sha256", "image", "width_px", "height_px", "source_lossy")
    rows = table.select(names).unique(maintain_order=True).rows(named=True)
    photographs = {row["image_sha256"]: row for row in reversed(rows)}.values()
    if not photographs:
        return None
    sizes = [(row["image"], row["width_px"], row["height_px"]) for row in photographs]
    sizes_by_area = sorted((width * height, name, width, height) for name, width, height in sizes)
    return {
        "images": len(sizes),
        "lossy": sum(bool(row["source_lossy"]) for row in photographs),
        "smallest": sizes_by_area[0][1:],
        "largest": sizes_by_area[-1][1:],
        "spread": sizes_by_area[-1][0] / max(sizes_by_area[0][0], 1),
    }
