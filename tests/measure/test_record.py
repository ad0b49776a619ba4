"""The record of a run: when rows and streams are written, and what an outcome prints."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.answer import Absent
from benchmark.measure.cells import Failed, Measured
from benchmark.measure.local import Finished
from benchmark.measure.record import Failure, Outcome, RowRecorder, RunNotes
from benchmark.rows.store import Store
from benchmark.rows.streams import ImageFeatures
from support.codecs.files import cell_of
from support.rows.measured import row as measured_row
from support.rows.measured import table


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "kodak")


def row(cell, seconds=0.1, **columns):
    return measured_row("jpeg", 10, "a.png", cell=cell, encode_seconds=seconds - 0.1, **columns)


def test_slow_rows_are_written_at_once_and_fast_ones_soon(store):
    seconds = [0.0]
    recorder = RowRecorder(store, keep_streams=True, clock=lambda: seconds[0])
    recorder.add(Measured(row("fast", 1.0), b"bytes"))
    seconds[0] = 3.0
    recorder.tick()
    assert store.finished_cells() == set()
    seconds[0] = 3.1
    recorder.tick()
    assert store.finished_cells() == {"fast"}
    recorder.add(Measured(row("slow", 1.1), None))
    assert store.finished_cells() == {"fast", "slow"}


def test_many_rows_that_wait_are_written(store, monkeypatch):
    monkeypatch.setattr("benchmark.measure.record.MANY_ROWS", 2)
    recorder = RowRecorder(store, keep_streams=True, clock=lambda: 0.0)
    for name, stored in (("first", set()), ("second", {"first", "second"})):
        recorder.add(Measured(row(name), None))
        assert store.finished_cells() == stored


def test_a_long_run_of_slow_rows_never_leaves_a_shard_for_each(store, monkeypatch):
    monkeypatch.setattr("benchmark.measure.record.MANY_SHARDS", 5)
    recorder = RowRecorder(store, keep_streams=True)
    for number in range(12):
        recorder.add(Measured(row(f"slow{number:02d}", 2.0), None))
    assert len(list((store.folder / "per_image").glob("*.parquet"))) == 1 + 2
    assert len(store.finished_cells()) == 12
    recorder.close()
    assert len(list((store.folder / "per_image").glob("*.parquet"))) == 1


def test_streams_are_on_disk_before_their_row_and_only_if_wanted(store):
    for keep, stream in ((True, b"kept"), (False, b"dropped")):
        recorder = RowRecorder(store, keep_streams=keep)
        recorder.add(Measured(row("a"), stream))
        recorder.close()
    assert [path.read_bytes() for path in store.streams()] == [b"kept"]


def test_features_within_a_size_and_tracebacks_are_kept_with_the_rows(store, monkeypatch):
    monkeypatch.setenv("BENCH_FEATURES_GIB", "0")
    notes = RunNotes(store, "r")
    failed = (Failed("score", "it broke", traceback="Traceback: lpips"),)
    features = (ImageFeatures("space/1", "ab" * 32, np.zeros((1, 2))),)
    result = Measured(row("a", 2.0), None, features, failed, decoded_twice=True)
    cell, *_ = cells("jpeg")
    failures = notes.add(Finished(cell, result))
    assert failures == [Failure("jpeg quality=10 a.png", "score", "it broke")]
    recorder = RowRecorder(store, keep_streams=True, notes=notes)
    recorder.add(result)
    expected = [{"traceback": "Traceback: lpips", "cells": ["jpeg quality=10 a.png"]}]
    assert store.record("r")["tracebacks"] == expected
    assert store.record("r")["decoded_twice"] == {"jpeg": "quality=10 a.png"}
    assert len(list(store.folder.rglob("*.npy"))) == 1
    recorder.close()
    assert len(list(store.folder.rglob("*.npy"))) == 0


def cells(*codecs, qualities=(10, 20, 30)):
    return [cell_of(codec, quality) for codec in codecs for quality in qualities]


def outcome(tasks, rows, measured=0, failures=(), refused_images=(), title="", skipped=()):
    dataset = SimpleNamespace(name="photos", folder_title=title)
    images = () if title == "empty" else ("a.png",)
    matrix = SimpleNamespace(
        cells=tuple(tasks), store=SimpleNamespace(folder="results/photos"),
        selection=SimpleNamespace(skipped=skipped),
        sources=SimpleNamespace(dataset=dataset, images=images, refused=refused_images),
    )  # fmt: skip
    return Outcome(matrix, rows, ("psnr", "ms_ssim", "fid256"), measured, 0, failures)


def test_a_printed_outcome_has_counts_what_is_left_out_and_where_the_rows_are():
    absent = [Absent("b.png", "is empty")]
    tasks, skipped = cells(*map(str, range(8))), [Absent("vtm", "no program")]
    full_outcome = outcome(tasks, table([]), 4, [Failure("a", "b", "c")], absent, skipped=skipped)
    counts = "photos: 24 cells, 4 measured, 1 failed, 20 finished before"
    place_line = "rows in results/photos: `load` reads them"
    assert repr(full_outcome).splitlines() == [counts, "skipped: vtm; refused: b.png", place_line]
    assert len(repr(outcome(tasks, table([]))).splitlines()) == 2


def test_a_refused_picture_of_a_folder_is_a_failure_only_if_there_is_no_other():
    for failures, refused_images, title, code in [
        *(((), (), "", 0), (["one"], (), "", 1), ((), ["b.png"], "", 1)),
        *(((), ["b.png"], "photos", 0), ((), ["b.png"], "empty", 1), ((), (), "empty", 0)),
    ]:
        result = outcome(cells("jpeg"), table([]), 0, failures, refused_images, title)
        assert result.exit_code == code


def test_metrics_without_a_value_are_counted_by_their_reason():
    reasons = ("too small", None, "too small", "flat")
    rows = [row(str(place), ms_ssim_reason=reason) for place, reason in enumerate(reasons)]
    counts = outcome([], table(rows)).null_counts()
    reasons = [("too small", 2), ("flat", 1)]
    assert counts == [{"column": "ms_ssim", "cells": n, "reason": reason} for reason, n in reasons]
    assert outcome([], table(rows).drop("ms_ssim_reason")).null_counts() == []
