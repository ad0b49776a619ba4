"""Verify stored rows by independent decode: their streams decoded in fresh processes, compared."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import Pixels
from benchmark.errors import StoreError
from benchmark.measure.cells import Failed
from benchmark.measure.decode_again import Decoder, decode_all
from benchmark.measure.record import Failure, Progress, ShowsProgress, Tracebacks
from benchmark.rows.codecs import EVERY, NamedCodecs, why_not_run
from benchmark.rows.store import Store
from benchmark.rows.versions import one_per_cell
from benchmark.spec import CodecSpec
from benchmark.system.digest import pixels_sha256

Row = Mapping[str, Any]
Verdict = Literal["identical", "within", "different", "not decodable"]
VERDICTS: tuple[Verdict, ...] = ("identical", "within", "different", "not decodable")
COLUMNS = (
    *("run", "codec", "variant", "setting_name", "setting_value", "image"),
    *("stream_sha256", "decoded_sha256", "machine", "device", "attested"),
)
ROWS_AT_ONCE = 200  # that a crash can take


class Journey(NamedTuple):
    """A codec, the machine that encoded its streams, and the machine that decoded them again."""

    codec: str
    encoded: str  # "cuda, Some CPU, 16 cores"
    decoded: str


@dataclass
class Findings:
    """Counts and problems of an audit; sums, so that those of several datasets add up."""

    counts: dict[Journey, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    levels: Counter[Journey] = field(default_factory=Counter)  # the largest measured difference
    problems: list[Failure] = field(default_factory=list)
    tracebacks: Tracebacks = field(default_factory=Tracebacks)  # of decoders that raised
    damaged: list[str] = field(default_factory=list)  # streams whose bytes have changed
    unavailable: Counter[str] = field(default_factory=Counter)  # codecs that cannot run here: why
    not_kept: int = 0  # rows whose stream was not kept
    declared: int = 0  # rows that never had a stream
    streams: dict[str, int] = field(default_factory=dict)  # kept ones, by dataset


class Kept(NamedTuple):
    """The rows of a store and their kept streams, to be decoded again."""

    store: Store
    table: pl.DataFrame  # that the rows are of, each at its place `at`
    rows: Mapping[CodecSpec, Mapping[str, list[Row]]]  # by codec variant and stream
    not_kept: int  # rows without failure whose stream was not kept
    declared: int  # rows that never had a stream

    @property
    def streams(self) -> int:
        """Number of streams."""
        return sum(map(len, self.rows.values()))


class AuditOptions(NamedTuple):
    """Options of an audit."""

    device: str  # where streams are decoded: cpu or cuda, which a codec may take or leave
    machine: str
    jobs: int
    levels: int = 1  # the largest difference that counts as "within"
    codecs: NamedCodecs = EVERY
    timeout_seconds: float | None = None  # of a stream; None for no limit


def kept_streams(
    store: Store,
    cells: Iterable[str] | None = None,
    wanted: Callable[[CodecSpec], bool] = lambda spec: True,
) -> Kept:
    """Collect a store's sound rows of `wanted` variants; of `cells`, those not verified as is."""
    table = one_per_cell(store.table())
    table = table.filter(col("status") == "ok")
    if cells is not None:
        table = table.filter(col("cell").is_in([*cells]))
    result: dict[CodecSpec, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    not_kept = declared = 0
    for at, row in enumerate(table.select(COLUMNS).rows(named=True)):
        spec = CodecSpec.of_row(row)
        digest = row["stream_sha256"]
        if not wanted(spec):
            continue
        if cells is not None and row["attested"]:
            with suppress(StoreError):  # else it is no longer the stream that was verified
                store.stream(digest)
                continue
        if digest is None:
            declared += 1
        elif not store.has_stream(digest):
            not_kept += 1
        else:
            result[spec][digest].append({**row, "at": at})
    return Kept(store, table, dict(sorted(result.items())), not_kept, declared)


def audit_decode(
    kept: Kept, options: AuditOptions, findings: Findings, report: Callable[[Progress], None]
) -> Iterator[Row]:
    """Decode every kept stream again, add to `findings`, yield the rows of identical pixels."""
    findings.not_kept += kept.not_kept
    findings.declared += kept.declared
    finished = 0
    for spec, rows in kept.rows.items():
        for identical in _Audit(kept.store, spec, options, findings).carry_out(rows):
            if identical is not None:
                finished += 1
                yield from identical
            report(Progress(finished, len(findings.problems)))


def audit_stores(
    stores: Iterable[Store], options: AuditOptions, progress: ShowsProgress
) -> Findings:
    """Decode every kept stream of several stores again, and compare the pixels."""
    kept = [kept_streams(store, wanted=options.codecs.select) for store in stores]
    findings = Findings(streams={part.store.folder.name: part.streams for part in kept})
    with progress("decoding", sum(findings.streams.values())) as report:
        for part in kept:
            for _ in audit_decode(part, options, findings, report):
                pass
    return findings


def verify_kept(
    kept: Kept,
    options: AuditOptions,
    report: Callable[[Progress], None],
    tracebacks: Tracebacks | None = None,
) -> list[Failure]:
    """Decode streams again, store which are identical, set damaged ones aside; return the rest."""
    findings = Findings() if tracebacks is None else Findings(tracebacks=tracebacks)
    places: list[int] = []

    def store_verified() -> None:
        kept.store.add(kept.table[places].with_columns(attested=pl.lit(True)))
        places.clear()

    try:
        for row in audit_decode(kept, options, findings, report):
            places.append(row["at"])
            if len(places) >= ROWS_AT_ONCE:
                store_verified()
    finally:
        store_verified()
        kept.store.compact()
    with suppress(OSError):  # else they stay, and are reported again
        for name in findings.damaged:
            kept.store.set_stream_aside(name)
    counts = {
        **findings.unavailable,
        "no stream of them was kept": kept.not_kept,
        "they have no stream: their sizes are declared": kept.declared,
    }
    unverified = [Failure(f"{n} cells", "verify", why) for why, n in counts.items() if n]
    return [*findings.problems, *unverified]


class _Audit:
    def __init__(
        self, store: Store, spec: CodecSpec, options: AuditOptions, findings: Findings
    ) -> None:
        self._store, self._spec, self._options, self._findings = store, spec, options, findings
        self._reference: Decoder | None = None  # on the kind of device that rows are of

    def carry_out(self, rows: Mapping[str, list[Row]]) -> Iterator[list[Row] | None]:
        """Yield for each stream its identical rows; None about once a second in between."""
        if not self._options.codecs.may_run(self._spec):
            for of_stream in rows.values():
                yield self._cannot_run(of_stream, why_not_run(self._spec))
            return
        damaged: list[str] = []
        how = self._options.device, self._options.jobs, self._options.timeout_seconds
        try:
            for done in decode_all(self._spec, self._streams(rows, damaged), *how):
                yield None if done is None else self._compare(rows[done[0]], *done[1:])
        finally:
            if self._reference is not None:
                self._reference.process.end(busy=False)
        self._findings.damaged += damaged
        yield from ([] for _ in damaged)

    def _streams(
        self, rows: Mapping[str, list[Row]], damaged: list[str]
    ) -> Iterator[tuple[str, bytes]]:
        for name, of_stream in rows.items():
            try:
                data = self._store.stream(name)
            except (StoreError, OSError) as error:
                damaged.append(name)
                for row in of_stream:
                    self._settle(row, self._options.device, "not decodable", str(error))
            else:
                if data is not None:
                    yield name, data

    def _cannot_run(self, rows: list[Row], why: str) -> list[Row]:
        self._findings.unavailable[f"{self._spec.label}: {why}"] += len(rows)
        return []

    def _compare(self, rows: list[Row], where: str | Failed, pixels: Pixels | Failed) -> list[Row]:
        if isinstance(where, Failed):
            return self._cannot_run(rows, where.reason)
        identical = []
        for row in rows:
            if isinstance(pixels, Failed):
                cell = self._settle(row, where, "not decodable", pixels.reason)
                self._findings.tracebacks.add(pixels.traceback, cell)
            elif pixels_sha256(pixels) == row["decoded_sha256"]:
                self._settle(row, where, "identical")
                identical.append(row)
            elif where == row["device"]:
                self._settle(row, where, "different", "it decodes to other pixels")
            else:
                self._measure(row, where, pixels)
        return identical

    def _measure(self, row: Row, device: str, pixels: Pixels) -> None:
        """Measure the difference, if the recorded pixels can be made on their kind of device."""
        self._reference = self._reference or Decoder(self._spec, str(row["device"]))
        data, recorded = self._store.stream(row["stream_sha256"]), None
        if data is not None and isinstance(self._reference.where, str):
            self._reference.send(data)
            recorded = self._reference.collect(wait=True)
        if isinstance(recorded, np.ndarray) and pixels_sha256(recorded) != row["decoded_sha256"]:
            recorded = None
        if not isinstance(recorded, np.ndarray) or recorded.shape != pixels.shape:
            why = f"pixels differ from those on {row['device']}, by how much is unknown"
            self._settle(row, device, "different", why)
            return
        most = int(np.abs(recorded.astype(np.int16) - pixels).max())
        verdict: Verdict = "within" if most <= self._options.levels else "different"
        self._settle(row, device, verdict, f"pixels differ by up to {most} levels", most)

    def _settle(
        self, row: Row, device: str, verdict: Verdict, what: str = "", most: int = 0
    ) -> str:
        """Count a verdict, and list what is wrong; return the row's cell."""
        here, there = (f"{device}, {self._options.machine}", f"{row['device']}, {row['machine']}")
        journey = Journey(self._spec.label, there, here)
        self._findings.counts[journey][verdict] += 1
        if most:
            self._findings.levels[journey] = max(self._findings.levels[journey], most)
        setting = f"{row['setting_name']}={row['setting_value']:g}"
        cell = f"{self._spec.label} {setting} {row['image']}"
        if verdict in ("different", "not decodable"):
            self._findings.problems.append(Failure(cell, verdict, what))
        return cell
