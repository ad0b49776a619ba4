"""Measured cells to the store, soon enough that a crash loses next to nothing."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from benchmark.measure import Measured
from benchmark.store import Store

FLUSH_SECONDS = 3.0  # a fast row waits this long for company, so that shards do not get too small
SLOW_SECONDS = 1.0  # a row that took longer is worth a shard of its own


class Recorder:
    """A buffer of rows in front of a store; streams are written at once, before their row."""

    def __init__(
        self, store: Store, keep_streams: bool, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store, self._keep, self._clock = store, keep_streams, clock
        self._rows: list[dict[str, Any]] = []
        self._oldest = 0.0

    def add(self, measured: Measured) -> None:
        """Take one finished cell."""
        if measured.stream is not None and self._keep:
            self._store.keep(measured.stream)
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

    def close(self) -> None:
        """Write what is left and put small shards together."""
        self.tick(at_once=True)
        self._store.compact()
