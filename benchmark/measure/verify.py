"""Verify stored rows: decode streams in fresh processes and compare the pixels."""

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.errors import StoreError
from benchmark.measure.cells import Failed, RunConditions
from benchmark.measure.decode_again import StoredRow
from benchmark.measure.pictures import ABSENT, Pictures
from benchmark.measure.record import Failure, Progress, Tracebacks
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.contents import DatasetContents
from benchmark.rows.schema import is_declared
from benchmark.rows.store import Store
from benchmark.rows.versions import prefer_own_rows
from benchmark.spec import CodecSpec

COLUMNS = (
    *("cell", "codec", "variant", "setting_name", "setting_value", "image", "bytes_origin"),
    *("stream_sha256", "decoded_sha256", "machine", "device", "attested"),
    *("num_bytes", "bpp", "width_px", "height_px", "image_sha256"),
)
MAX_UNSTORED_ROWS = 200  # maximum number of rows that a crash can lose


class VerifiableRows(NamedTuple):
    """Rows of a store with streams to verify."""

    pictures: Pictures
    rows: list[StoredRow]  # each with its index in the table as "position"
    not_kept: int  # number of other rows, whose streams were not kept
    declared: list[StoredRow]  # rows of declared sizes, which never had a stream


def verifiable_rows(
    store: Store,
    codecs: NamedCodecs,
    is_selected: Callable[[CodecSpec], bool],
    cells: Collection[str] | None = None,
) -> VerifiableRows:
    """Collect finished rows of selected variants; with `cells`, only unverified rows of these."""
    table = prefer_own_rows(store.table()).filter(col("status") == "ok")
    if cells is not None:
        table = table.filter(col("cell").is_in([*cells]))
    pictures = Pictures(DatasetContents(table, store, {}), codecs)
    rows_to_verify, declared_rows, num_not_kept = list[StoredRow](), list[StoredRow](), 0
    for position, row in enumerate(table.select(COLUMNS).rows(named=True)):
        if not is_selected(CodecSpec.parse_row(row)):
            continue
        if cells is not None and row["attested"]:
            with suppress(StoreError):  # an error: the stream has changed since it was verified
                store.stream(row["stream_sha256"])
                continue
        if is_declared(row):
            declared_rows.append(row)
        elif not pictures.has_source(row):
            num_not_kept += 1
        else:
            rows_to_verify.append({**row, "position": position})
    return VerifiableRows(pictures, rows_to_verify, num_not_kept, declared_rows)


def verify(
    verifiable: VerifiableRows,
    conditions: RunConditions,
    report: Callable[[Progress], None],
    tracebacks: Tracebacks,
) -> list[Failure]:
    """Decode streams again, store verified rows, move damaged streams away; return failures."""
    decode_options = conditions.device, conditions.jobs, conditions.timeout_seconds
    store, table = verifiable.pictures.contents.store, verifiable.pictures.table
    positions: list[int] = []
    failures: list[Failure] = []
    absent_counts: Counter[str] = Counter()
    num_finished = 0

    def store_verified() -> None:
        store.add(table[positions].with_columns(attested=pl.lit(True)))
        positions.clear()

    try:
        for outcome in verifiable.pictures.decode_rows(verifiable.rows, *decode_options):
            if outcome is not None:
                row, result = verifiable.rows[outcome[0]], outcome[1]
                num_finished += 1
                if not isinstance(result, Failed):
                    positions.append(row["position"])
                elif result.stage == ABSENT:
                    absent_counts[f"{CodecSpec.parse_row(row).label}: {result.reason}"] += 1
                else:
                    setting = f"{row['setting_name']}={row['setting_value']:g}"
                    cell = f"{CodecSpec.parse_row(row).label} {setting} {row['image']}"
                    failures.append(Failure(cell, result.stage, result.reason))
                    tracebacks.add(result.traceback, cell)
                    with suppress(OSError):  # on an error, the stream stays and is reported again
                        try:
                            store.stream(row["stream_sha256"])
                        except StoreError:  # the stream is damaged
                            store.set_stream_aside(row["stream_sha256"])
            if len(positions) >= MAX_UNSTORED_ROWS:
                store_verified()
            report(Progress(num_finished, len(failures)))
    finally:
        store_verified()
        store.compact()
    counts = {**absent_counts, "their streams were not kept": verifiable.not_kept}
    counts["they have no stream: their sizes are declared"] = len(verifiable.declared)
    unverified_failures = [
        Failure(f"{count} cells", "verify", reason) for reason, count in counts.items() if count
    ]
    return [*failures, *unverified_failures]
