"""Write measured cells to the store, soon enough that a crash loses next to nothing."""

import sys
from collections.abc import Callable
from hashlib import sha256
from time import monotonic
from typing import Any

from benchmark.measure.outcome import Tracebacks
from benchmark.measure.workbench import Measured
from benchmark.rows.features import FeatureFolder, features_budget_bytes
from benchmark.rows.result_file import WaitingFiles
from benchmark.rows.runs import run_record
from benchmark.rows.store import Store

FLUSH_SECONDS = 3.0  # a fast row waits this long for company, so that shards do not get too small
SLOW_SECONDS = 1.0  # a row that took longer is worth a shard of its own
MANY_SHARDS = 256  # a run of days would leave one a row, and opening each takes a millisecond


class RunNotes:
    """Facts that a run's record gets while cells are measured: tracebacks, streams decoded twice.

    Those of an earlier part of the run are kept. `write` is called when rows are written.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._known = store.record(run)
        self.tracebacks = Tracebacks(self._known.get("tracebacks", ()))
        self.decoded_twice: dict[str, str] = dict(self._known.get("decoded_twice", {}))

    def write(self) -> None:
        """Write what is new into the record; a run without rows gets its record here."""
        facts = {"tracebacks": self.tracebacks.listed(), "decoded_twice": dict(self.decoded_twice)}
        new = {name: value for name, value in facts.items() if value != self._known.get(name)}
        new = {name: value for name, value in new.items() if value or name in self._known}
        if new:
            begun = {} if self._known else run_record(sys.argv[1:])
            self._store.amend(self._run, {**begun, **new})
            self._known = {**self._known, **begun, **new}


class Recorder:
    """A buffer of rows and streams in front of a store.

    Streams and features reach the disk before the rows that name them.
    """

    def __init__(
        self,
        store: Store,
        keep_streams: bool,
        notes: RunNotes | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store, self._keep, self._clock = store, keep_streams, clock
        self._notes = notes
        self._features = FeatureFolder(store.folder)
        self._streams = WaitingFiles()
        self._rows: list[dict[str, Any]] = []
        self._oldest = 0.0
        self._shards = 0

    def add(self, measured: Measured) -> None:
        """Take one finished cell."""
        if measured.stream is not None and self._keep:
            digest = measured.row.get("stream_sha256") or sha256(measured.stream).hexdigest()
            self._streams.add(self._store.stream_files({digest: measured.stream}))
        for features in measured.features:
            self._features.keep(features)  # at once: workers need not compute what is kept
        if not self._rows:
            self._oldest = self._clock()
        self._rows.append(measured.row)
        row = measured.row
        encoding = 0 if row.get("recorded") else row.get("encode_seconds") or 0
        seconds = encoding + (row.get("decode_seconds") or 0)
        self.tick(at_once=seconds > SLOW_SECONDS)

    def tick(self, at_once: bool = False) -> None:
        """Write what has waited long enough; called about once a second."""
        if self._rows and (at_once or self._clock() - self._oldest > FLUSH_SECONDS):
            self._streams.write()
            self._store.append(self._rows)
            if self._notes is not None:
                self._notes.write()
            self._rows = []
            self._shards += 1
            if self._shards % MANY_SHARDS == 0:
                self._store.compact()

    def close(self) -> None:
        """Write what is left, put small shards together, keep features below their size."""
        self.tick(at_once=True)
        if self._notes is not None:
            self._notes.write()
        self._store.compact()
        self._features.prune(features_budget_bytes())
