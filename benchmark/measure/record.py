"""Measured cells to the store, soon enough that a crash loses next to nothing."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from benchmark.measure.workbench import Measured
from benchmark.rows.features import FeatureFolder, features_budget_bytes
from benchmark.rows.store import Store

FLUSH_SECONDS = 3.0  # a fast row waits this long for company, so that shards do not get too small
SLOW_SECONDS = 1.0  # a row that took longer is worth a shard of its own
MANY_SHARDS = 256  # a run of days would leave one a row, and opening each takes a millisecond


class Recorder:
    """A buffer of rows in front of a store; streams and features are written before their row."""

    def __init__(
        self, store: Store, keep_streams: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store, self._keep, self._clock = store, keep_streams, clock
        self._features = FeatureFolder(store.folder)
        self._rows: list[dict[str, Any]] = []
        self._oldest = 0.0
        self._shards = 0

    def add(self, measured: Measured) -> None:
        """Take one finished cell."""
        if measured.stream is not None and self._keep:
            self._store.keep(measured.stream, measured.row.get("stream_sha256"))
        for features in measured.features:
            self._features.keep(features)
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
            self._store.append(self._rows)
            self._rows = []
            self._shards += 1
            if self._shards % MANY_SHARDS == 0:
                self._store.compact()

    def close(self) -> None:
        """Write what is left, put small shards together, keep features below their size."""
        self.tick(at_once=True)
        self._store.compact()
        self._features.prune(features_budget_bytes())
