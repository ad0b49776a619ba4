"""Record of a run: rows and streams, stored when they arrive, and the returned outcome."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from benchmark.answer import Absent
from benchmark.codec import Setting
from benchmark.measure.cells import Cell, Failed, Measured, Task
from benchmark.measure.local import Finished
from benchmark.measure.select import Matrix
from benchmark.registry import metric_class, per_image_names
from benchmark.rows.codecs import run_record
from benchmark.rows.schema import metric_columns
from benchmark.rows.store import Store
from benchmark.system.atomic import WaitingFiles
from benchmark.system.text import counted, listed

if TYPE_CHECKING:
    from benchmark.rows.streams import FeatureFolder

FLUSH_SECONDS = 3.0  # time that a fast row waits for others, so that shards are not too small
SLOW_SECONDS = 1.0  # a row that took longer is written at once
MANY_ROWS = 2048  # waiting rows are written when they are so many (20 MB)
MANY_SHARDS = 256  # shards are merged when they are so many; opening one takes a millisecond


class Failure(NamedTuple):
    """Cell that failed, as text."""

    cell: str  # such as "jpeg quality=30 kodim01.png"
    stage: str
    reason: str


class Tracebacks:
    """Distinct tracebacks of authors' code, with the cells in which they occurred."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._cells = {entry["traceback"]: dict.fromkeys(entry["cells"]) for entry in records}

    def add(self, traceback: str, cell: str) -> None:
        """Add the traceback of a cell, unless it is empty."""
        if traceback:
            self._cells.setdefault(traceback, {})[cell] = None

    def records(self) -> list[dict[str, Any]]:
        """Return each traceback with its cells, as JSON values."""
        return [{"traceback": text, "cells": list(cells)} for text, cells in self._cells.items()]


class Progress(NamedTuple):
    """Numbers of finished and failed tasks, and the remaining seconds."""

    finished: int
    failed: int
    left_seconds: float | None = None  # None if unknown
    current_cell: str = ""  # the task that started or finished last: "vtm qp=32, kodim05.png"


def task_title(task: Task) -> str:
    """Return the codec, setting and image of a task as text."""
    image = task.source.file.name if isinstance(task, Cell) else task.row["image"]
    return f"{task.codec.label} {task.setting}, {image}"


# Called with an activity ("measuring") and the number of tasks; yields a callback that is called
# about once a second.
ProgressFactory = Callable[[str, int], AbstractContextManager[Callable[[Progress], None]]]


@contextmanager
def no_progress(title: str, total: int) -> Iterator[Callable[[Progress], None]]:
    """Show no progress."""
    yield lambda progress: None


class TargetResult(NamedTuple):
    """Result of the search for a codec's setting."""

    codec: str  # label
    setting: Setting | None  # the nearest measured setting; None if there is none
    value: float | None  # mean over the images at that setting
    why: str = ""  # why the value is outside the tolerance; empty if inside


def count_nulls(rows: pl.DataFrame, metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Count the rows (`cells`) in which a metric is null, by `column` and `reason`."""
    null_counts = list[dict[str, Any]]()
    for name in per_image_names(metrics):
        value, _, reason = metric_columns(metric_class(name).column)
        if reason not in rows.columns:  # a user's metric, and every cell failed
            continue
        counts = rows.drop_nulls(reason).group_by(reason, maintain_order=True).len()
        column_counts = counts.select(column=pl.lit(value), cells="len", reason=reason)
        null_counts += column_counts.to_dicts()
    return null_counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of `benchmark.measure.loop.run`."""

    matrix: Matrix
    rows: pl.DataFrame  # rows of the requested cells, all columns of `rows.schema`
    metrics: tuple[str, ...]  # requested metrics
    measured: int  # number of cells coded by this run; the others were finished before it
    rescored: int  # number of rows that were finished before, but lacked a metric
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...] = ()  # sentences on what machines of a cluster lacked
    lacking: Mapping[str, str] = field(default_factory=dict)  # metrics not computed here, and why
    target: str = ""  # value that was searched for
    reached: tuple[TargetResult, ...] = ()  # results of the search, one per codec
    anchor: str = ""  # anchor of BD-rates, as typed
    bundled: str = ""  # bundled codecs to print with the measured ones, as typed
    named: tuple[str, ...] = ()  # requested codecs, as typed

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Cells of the request."""
        return self.matrix.cells

    @property
    def skipped(self) -> tuple[Absent, ...]:
        """Codecs that could not run, with the reason."""
        return self.matrix.selection.skipped

    @property
    def refused(self) -> tuple[Absent, ...]:
        """Images that cannot be measured, with the reason."""
        return self.matrix.sources.refused

    @property
    def exit_code(self) -> int:
        """1 if a cell failed or a picture was refused (in a folder: if all were), else 0."""
        sources = self.matrix.sources
        is_strict = not sources.dataset.folder_title or not sources.images
        return 1 if self.failures or (self.refused and is_strict) else 0

    def null_counts(self) -> list[dict[str, Any]]:
        """Count the rows in which a metric is null, by metric and reason."""
        return count_nulls(self.rows, self.metrics)

    def __repr__(self) -> str:
        finished_before = len(self.cells) - self.measured
        kinds = {
            "skipped": [absence.what for absence in self.skipped],
            "refused": [absence.what for absence in self.refused],
        }
        lines = [
            f"{self.matrix.sources.dataset.name}: {counted(len(self.cells), 'cell')}, "
            f"{self.measured} measured, {len(self.failures)} failed, "
            f"{finished_before} finished before",
            "; ".join(f"{kind}: {listed(names)}" for kind, names in kinds.items() if names),
            f"rows in {self.matrix.store.folder}: `load` reads them",
        ]
        return "\n".join(filter(None, lines))


class Rescored(NamedTuple):
    """Result of `benchmark.measure.loop.rescore`: counts of stored rows."""

    rows: int  # number of rows in the store
    tried: int  # number of rows that lacked a metric which can be computed here
    still_null: int  # number of these rows that still lack such a metric
    failures: tuple[Failure, ...]
    filled: int = 0  # number of new values, over all rows and metrics
    lacking: Mapping[str, str] = MappingProxyType({})  # metrics not computed here, and why
    without_value: Sequence[dict[str, Any]] = ()  # counts of remaining nulls, by metric and reason


class RunNotes:
    """Facts that are added to a run's record while cells are measured."""

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._stored_record = store.record(run)
        self.tracebacks = Tracebacks(self._stored_record.get("tracebacks", ()))
        self.decoded_twice: dict[str, str] = dict(self._stored_record.get("decoded_twice", {}))

    def add(self, finished: Finished) -> list[Failure]:
        """Record a task's tracebacks, and whether it was decoded twice; return its failures."""
        task, outcome = finished.task, finished.outcome
        failures = (outcome,) if isinstance(outcome, Failed) else outcome.failed
        image = task.source.file.name if isinstance(task, Cell) else task.row["image"]
        setting_text = f"{task.setting} {image}"
        cell = f"{task.codec.label} {setting_text}"
        if isinstance(outcome, Measured) and outcome.decoded_twice:
            self.decoded_twice[task.codec.text] = setting_text
        for failed in failures:
            self.tracebacks.add(failed.traceback, cell)
        return [Failure(cell, failed.stage, failed.reason) for failed in failures]

    def write(self) -> None:
        """Write new facts; create the record of a run without rows."""
        facts = {"tracebacks": self.tracebacks.records(), "decoded_twice": dict(self.decoded_twice)}
        stored_facts = {"tracebacks": [], "decoded_twice": {}, **self._stored_record}
        new_facts = {name: value for name, value in facts.items() if value != stored_facts[name]}
        if new_facts:
            new_record = {} if self._stored_record else run_record(sys.argv[1:])
            self._store.amend(self._run, {**new_record, **new_facts})
            self._stored_record = {**self._stored_record, **new_record, **new_facts}


class RowRecorder:
    """Buffer of rows, whose streams and features are stored before the rows."""

    def __init__(
        self,
        store: Store,
        keep_streams: bool,
        notes: RunNotes | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store, self._keeps_streams, self._clock = store, keep_streams, clock
        self._notes = notes
        self._features: FeatureFolder | None = None
        self._streams = WaitingFiles()
        self._rows: list[dict[str, Any]] = []
        self._oldest_time = clock()
        self._num_shards = 0

    def add(self, measured: Measured) -> None:
        """Add a finished cell."""
        if measured.stream is not None and self._keeps_streams:
            digest = measured.row.get("stream_sha256") or sha256(measured.stream).hexdigest()
            self._streams.add(self._store.stream_files({digest: measured.stream}))
        for features in measured.features:
            from benchmark.rows.streams import FeatureFolder

            self._features = self._features or FeatureFolder(self._store.folder)
            self._features.keep(features)  # at once, so that workers do not compute them again
        if not self._rows:
            self._oldest_time = self._clock()
        self._rows.append(measured.row)
        is_slow = (measured.coding_seconds or 0) > SLOW_SECONDS
        self.tick(is_urgent=is_slow or len(self._rows) >= MANY_ROWS)

    def tick(self, is_urgent: bool = False) -> None:
        """Write rows that have waited long enough; called about once a second."""
        if self._rows and (is_urgent or self._clock() - self._oldest_time > FLUSH_SECONDS):
            self._streams.write()
            self._store.append(self._rows)
            if self._notes is not None:
                self._notes.write()
            self._rows = []
            self._num_shards += 1
            if self._num_shards % MANY_SHARDS == 0:
                self._store.compact()

    def close(self) -> None:
        """Write remaining rows, merge small shards, and prune features."""
        self.tick(is_urgent=True)
        if self._notes is not None:
            self._notes.write()
        self._store.compact()
        if self._features is not None:
            from benchmark.rows.streams import features_budget_bytes

            self._features.prune(features_budget_bytes())
