"""The outcome of a run: its cells and their rows, and what failed, was skipped or refused."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.datasets.dataset import Refused
from benchmark.metrics.metric import metric_columns
from benchmark.plan.cells import Cell
from benchmark.plan.matrix import Matrix
from benchmark.plan.select import Skipped
from benchmark.registry import metric_class, scored_by_image


class Failure(NamedTuple):
    """A cell without a result, for people to read."""

    cell: str  # "jpeg quality=30 kodim01.png"
    stage: str
    reason: str


class Tracebacks:
    """Tracebacks of authors' code as texts, equal ones once, with the cells that each struck.

    listed: what `listed` has returned before.
    """

    def __init__(self, listed: Iterable[Mapping[str, Any]] = ()) -> None:
        self._cells: dict[str, dict[str, None]] = {
            one["traceback"]: dict.fromkeys(one["cells"]) for one in listed
        }

    def add(self, traceback: str, cell: str) -> None:
        """Take the traceback of a cell, which may be empty."""
        if traceback:
            self._cells.setdefault(traceback, {})[cell] = None

    def listed(self) -> list[dict[str, Any]]:
        """Return each traceback with its cells, as json values."""
        return [{"traceback": text, "cells": list(cells)} for text, cells in self._cells.items()]


class Progress(NamedTuple):
    """Numbers of tasks finished and failed so far."""

    finished: int
    failed: int


# Called with what is done ("measuring") and the number of tasks; what it yields is called about
# once a second.
ShowsProgress = Callable[[str, int], AbstractContextManager[Callable[[Progress], None]]]


class WithoutValue(NamedTuple):
    """A metric column that is null in some rows, for one reason."""

    column: str
    cells: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of `benchmark.measure.run.run`."""

    matrix: Matrix
    rows: pa.Table  # of the cells that were asked for, columns of `rows.schema.table_schema`
    metrics: tuple[str, ...]  # that were asked for
    measured: int  # cells coded by this run; the others were done before
    rescored: int  # rows done before that lacked a metric
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...] = ()  # sentences on what machines of a cluster lacked
    lacking: Mapping[str, str] = field(default_factory=dict)  # metrics not computed here, and why

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that were asked for."""
        return self.matrix.cells

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Codecs that could not run, as asked for, each with the reason."""
        return self.matrix.selection.skipped

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Images that cannot be measured, each with the reason."""
        return self.matrix.sources.refused

    @property
    def exit_code(self) -> int:
        """1 if a cell failed or an image was refused, else 0."""
        return 1 if self.failures or self.refused else 0

    def without_value(self) -> list[WithoutValue]:
        """Count the rows in which a metric is null, by metric and reason."""
        found = []
        for name in scored_by_image(self.metrics):
            value, _, reason = metric_columns(metric_class(name).column)
            if reason not in self.rows.column_names:  # a user's metric, and every cell failed
                continue
            for entry in pc.value_counts(self.rows[reason].drop_null()).to_pylist():
                found.append(WithoutValue(value, entry["counts"], entry["values"]))
        return found


class Rescored(NamedTuple):
    """The result of `benchmark.measure.run.rescore`: counts of stored rows."""

    rows: int  # in the store
    tried: int  # that lacked a metric which can be computed here
    still_null: int  # of those, after it
    failures: tuple[Failure, ...]
    filled: int = 0  # values, over all rows and metrics
    lacking: Mapping[str, str] = MappingProxyType({})  # metrics not computed here, and why
