"""One run for the command, `bench check` and Python: a request goes in, an outcome comes out."""

from contextlib import contextmanager

import pytest

from benchmark.errors import UsageError
from benchmark.measure.cells import Measured
from benchmark.measure.local import Finished
from benchmark.measure.loop import rescore, run, run_tasks
from benchmark.measure.request import Request
from benchmark.measure.select import open_matrix
from support.codecs.files import FAKES, conditions


@pytest.fixture
def request_of(images, tmp_path):
    def make(codec="Honest", **changes):
        defaults = {"dataset": str(images), "metrics": ("psnr",), "jobs": 1}
        defaults |= {"codecs": (f"{FAKES}:{codec}",), "results": tmp_path / "r"}
        return Request(**{**defaults, **changes})

    return make


def test_a_run_gives_the_rows_that_it_stored_and_a_second_one_measures_nothing(request_of, capsys):
    first = run(request_of())
    assert (first.measured, first.rescored, first.failures, first.exit_code) == (6, 0, (), 0)
    store = first.matrix.store
    assert first.rows.equals(store.table())
    assert [len(list(store.folder.glob(f"{part}/*"))) for part in ("per_image", "runs")] == [1, 1]
    assert {*first.rows["cell"]} == {cell.key for cell in first.cells}
    second = run(request_of())
    assert (second.measured, second.rescored) == (0, 0)
    assert second.rows.equals(first.rows)
    third = run(request_of(points=(f"{FAKES}:Honest.step=2",), limit=1))
    assert (third.measured, third.rows.height) == (1, 1), "only the requested rows"
    assert capsys.readouterr() == ("", ""), "it prints nothing"


def test_a_metric_that_finished_rows_lack_is_computed_from_their_streams(request_of):
    run(request_of())
    second = run(request_of(metrics=("psnr", "psnr_y")))
    assert (second.measured, second.rescored) == (0, 6)
    assert second.rows["psnr_y_db"].null_count() == 0
    rescored = rescore(request_of(metrics=("psnr", "psnr_y")))
    assert (rescored.rows, rescored.tried, rescored.still_null, rescored.failures) == (6, 0, 0, ())


def test_the_plan_is_announced_before_anything_is_measured_and_progress_is_reported(request_of):
    plans, reported = [], []

    @contextmanager
    def progress(title, total):
        reported.append((title, total))
        yield reported.append

    def announce(matrix, absent_metrics, workers):
        plans.append((len(matrix.cells), len(matrix.to_do), matrix.store.finished_cells()))

    run(request_of(), announce=announce, progress=progress)
    assert plans == [(6, 6, set())]
    assert reported[0] == ("measuring", 6)
    assert reported[-1][:2] == (6, 0)


def test_contradictory_options_are_refused_before_anything_is_written(request_of, tmp_path):
    with pytest.raises(UsageError, match="--no-keep"):
        run(request_of(verify=True, keep=False))
    with pytest.raises(UsageError, match="--verify"):
        run(request_of(verify=True, engine="ray"))
    assert not (tmp_path / "r").exists()


def test_a_finished_fast_row_is_stored_while_a_slow_cell_runs(request_of, monkeypatch):
    monkeypatch.setattr("benchmark.measure.record.FLUSH_SECONDS", -1)
    matrix = open_matrix(request_of())
    fast, slow = matrix.cells[:2]
    stored = []
    columns = {
        "codec": "jpeg", "variant": "", "setting_name": "quality", "setting_value": 30.0,
        "image": "a.png", "width_px": 8, "height_px": 8, "num_bytes": 3, "bpp": 0.375,
    }  # fmt: skip

    def engine(tasks, conditions):
        yield Finished(fast, Measured({**columns, "cell": fast.key, "status": "ok"}, None))
        yield None  # the slow cell is still at work
        stored.append(matrix.store.finished_cells())
        yield Finished(slow, Measured({**columns, "cell": slow.key, "status": "ok"}, None))

    failures = run_tasks((fast, slow), conditions(), matrix.store, True, lambda _: None, engine)
    assert (stored, failures) == ([{fast.key}], [])
    assert matrix.store.finished_cells() == {fast.key, slow.key}
