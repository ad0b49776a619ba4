"""Results that the paper's figures are drawn from; a dataset is read when it is first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from benchmark.analysis.reduce import summarise_with_distributions
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import GROUPED_SYSTEMS
from benchmark.figures.labels import Drawing
from benchmark.figures.style import Style, styles
from benchmark.metrics.measure import Measure
from benchmark.packs.contents import (
    DatasetContents,
    dataset_contents,
    packs_beside,
    verified_rows,
)
from benchmark.packs.pack import Pack
from benchmark.published.complexity import Complexity, read_complexity
from benchmark.published.points import PublishedPoint, read_points
from benchmark.registry import DATASETS, DISTRIBUTION_METRICS, METRICS


class PaperFigure(NamedTuple):
    """A drawing, or None, and sentences on what is not in it."""

    drawing: Drawing | None
    sentences: tuple[str, ...] = ()


def every_metric() -> tuple[str, ...]:
    """Return the names of all metrics of the registry."""
    return (*METRICS, *DISTRIBUTION_METRICS)


def every_measure() -> tuple[Measure, ...]:
    """Return all metrics of the registry as figures draw them."""
    return tuple(Measure.named(name) for name in every_metric())


@dataclass
class PaperResults:
    """A results folder with the published numbers and packs beside it."""

    folder: Path
    data_dir: Path | None = None
    verified_only: bool = False
    _contents: dict[str, DatasetContents] = field(default_factory=dict)
    _summaries: dict[str, Summary | None] = field(default_factory=dict)

    @cached_property
    def points(self) -> tuple[PublishedPoint, ...]:
        """Published points of the folder, or those of the project."""
        return read_points(self.folder)

    @cached_property
    def complexities(self) -> tuple[Complexity, ...]:
        """Published seconds of the folder, or those of the project."""
        return read_complexity(self.folder)

    @cached_property
    def packs(self) -> Sequence[Pack]:
        """Bitstream archives of the folder, or those of the project."""
        return packs_beside(self.folder)

    def contents(self, dataset: str) -> DatasetContents:
        """Return rows and streams of a dataset."""
        if dataset not in self._contents:
            found = dataset_contents(self.folder, dataset, self.packs)
            if self.verified_only:
                found = found._replace(table=verified_rows(found.table))
            self._contents[dataset] = found
        return self._contents[dataset]

    def summary(self, dataset: str) -> Summary | None:
        """Return means of a dataset's rows; None where it has none."""
        if dataset not in self._summaries:
            table, folder = self.contents(dataset).table, self.folder / dataset
            self._summaries[dataset] = (
                summarise_with_distributions(table, folder, every_metric())
                if table.num_rows
                else None
            )
        return self._summaries[dataset]

    def datasets(self) -> list[str]:
        """Return names of all datasets that have rows: those of the registry, largest first."""
        stored = {path.parent.name for path in self.folder.glob("*/per_image")}
        recorded = {
            (line.fields.get("dataset") or "").partition(":")[0]
            for pack in self.packs
            for line in pack.streams.values()
        }
        known = list(dict.fromkeys(name.partition(":")[0] for name in reversed(DATASETS)))
        there = stored | recorded
        return [name for name in (*known, *sorted(there - {*known, ""})) if name in there]

    def styles(self, labels: Sequence[str] = ()) -> dict[str, Style]:
        """Return one style for each system, the same in all figures, and for each of the labels."""
        own = [system.label for system in GROUPED_SYSTEMS]
        return {**styles([*own, *labels]), **styles(own)}
