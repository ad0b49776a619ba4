"""Results that figures are made from, read when first asked for; figures written as files."""

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import StoreError
from benchmark.metrics.metric import Metric
from benchmark.published.points import PublishedPoint
from benchmark.published.registry import read_points
from benchmark.registry import DATASETS, DISTRIBUTION_METRICS, METRICS
from benchmark.rows.packs.contents import (
    DatasetContents,
    dataset_contents,
    name_of,
    packs_beside,
)
from benchmark.rows.packs.pack import Pack
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.summary import Summary
from benchmark.show.figures.style import FORMATS
from benchmark.show.figures.texts import Drawing, files_of
from benchmark.show.sections import made_by, markdown, section
from benchmark.show.table import csv_text, latex
from benchmark.system.atomic import write_files

# Of a figure's files. txt: the caption; details.md: the sources of its curves
SUFFIXES = (*FORMATS, "csv", "tex", "txt", "details.md")


class PaperFigure(NamedTuple):
    """A drawing, or None, and sentences on what is not in it."""

    drawing: Drawing | None
    sentences: tuple[str, ...] = ()


def every_metric_name() -> tuple[str, ...]:
    """Return the names of all metrics of the registry."""
    return (*METRICS, *DISTRIBUTION_METRICS)


def every_metric() -> tuple[Metric, ...]:
    """Return all metrics of the registry as figures draw them."""
    return tuple(Metric.named(name) for name in every_metric_name())


class PaperResults:
    """A results folder with the published numbers and packs beside it, or those of the project."""

    def __init__(
        self, folder: Path, data_dir: Path | None = None, verified_only: bool = False
    ) -> None:
        self.folder, self.data_dir, self.verified_only = folder, data_dir, verified_only
        self.contents = cache(self._contents)  # of a dataset: rows and streams
        self.summary = cache(self._summary)  # of a dataset: means; None where it has no rows

    @cached_property
    def points(self) -> tuple[PublishedPoint, ...]:
        """Published points."""
        return read_points(self.folder)

    @cached_property
    def packs(self) -> Sequence[Pack]:
        """Bitstream archives."""
        return packs_beside(self.folder)

    def _contents(self, dataset: str) -> DatasetContents:
        result = dataset_contents(self.folder, dataset, self.packs)
        table = result.table.filter("attested") if self.verified_only else result.table
        return result._replace(table=table)

    def _summary(self, dataset: str) -> Summary | None:
        table = self.contents(dataset).table
        if not table.height:
            return None
        return summarise_with_distributions(table, self.folder / dataset, every_metric_name())

    def datasets(self) -> list[str]:
        """Return names of all datasets that have rows: those of the registry, largest first."""
        there = {path.parent.name for path in self.folder.glob("*/per_image")}
        there |= {name_of(row) for pack in self.packs for row in pack.streams.values()}
        known = list(dict.fromkeys(name.partition(":")[0] for name in reversed(DATASETS)))
        return [name for name in (*known, *sorted(there - {*known})) if name in there]


def write_figure(name: str, made: PaperFigure, folder: Path, command: str) -> list[Path]:
    """Write the files of a figure in place of those of an earlier one; return the figures' own.

    command: that makes it again. Files of the name are replaced and removed only beside the details
    of an earlier figure. Raises `StoreError` for another file, or an unwritable folder.
    """
    files: dict[str, str | bytes] = {}
    if drawing := made.drawing:
        sources = [drawing.sources] if drawing.sources else []
        text = section(name, name, drawing.caption, *sources, made_by(command))
        files = files_of(drawing.figure, name) | {
            f"{name}.csv": csv_text(drawing.records),
            f"{name}.txt": f"{drawing.caption}\n",
            f"{name}.details.md": markdown(text),
        }
        if drawing.table is not None:
            files[f"{name}.tex"] = latex(drawing.table)
    written = (folder / f"{name}.details.md").is_file()
    if not written and (own := next((file for file in files if (folder / file).exists()), None)):
        raise StoreError(
            f"{folder / own} is of no earlier figure, since {name}.details.md is not beside it: "
            "move it, or name another folder with --out"
        )
    gone = {f"{name}.{suffix}" for suffix in SUFFIXES if written} - files.keys()
    write_files(folder, files, gone, what="figures")
    return [folder / file for file in files if file.rpartition(".")[2] in FORMATS]
