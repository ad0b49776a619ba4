"""Real worker processes: they give the rows of one process, and a death loses only its cell."""

import sys
from collections import Counter
from contextvars import copy_context
from dataclasses import replace

import pytest

from benchmark.datasets.dataset import ImageFile
from benchmark.measure.cells import Rescore
from benchmark.measure.local import Finished, carry_out, gpu_lanes
from benchmark.measure.workbench import Workbench
from benchmark.rows.store import Store
from benchmark.system import machine, settings
from benchmark.system.machine import Gpu
from support.codecs.files import FAKES, conditions, stable
from support.codecs.files import cells as cells_of
from support.processes import ran


def cells(kind, sources):
    return cells_of(f"{FAKES}:{kind}", sources)


def run_tasks(tasks, conditions):
    return [event for event in carry_out(tasks, conditions) if isinstance(event, Finished)]


def test_two_workers_give_the_rows_that_one_process_gives(sources):
    tasks = cells("Honest", sources)
    bench = Workbench(conditions())
    single_process_rows = {cell.key: stable(bench.carry_out(cell).row) for cell in tasks}
    together = {d.task.key: stable(d.outcome.row) for d in run_tasks(tasks, conditions())}
    assert together == single_process_rows
    assert len(single_process_rows) == 9
    row = single_process_rows[tasks[0].key]
    assert row["num_bytes"] == 6 + 40 * 30 * 3
    assert row["bpp"] == pytest.approx(8 * (6 + 3600) / 1200, abs=1e-12)


def notes(log):
    for line in log.read_text().splitlines():
        device, process, began, ended = line.split()
        yield device, process, float(began), float(ended)


def test_one_process_codes_on_the_cpu_while_another_has_the_gpu(sources, tmp_path):
    log = tmp_path / "log"
    events = run_tasks(cells(f"OnGpu:log={log}", sources), conditions(jobs=1))
    assert {event.outcome.row["status"] for event in events} == {"ok"}
    reported = list(notes(log))
    gpu, cpu = ([note for note in reported if note[0] == device] for device in ("cuda", "cpu"))
    assert len(gpu) == len(cpu) == 9
    assert len({note[1] for note in reported}) == 2
    together = [
        gpu_process != cpu_process and max(gpu_began, cpu_began) < min(gpu_ended, cpu_ended)
        for _, gpu_process, gpu_began, gpu_ended in gpu
        for _, cpu_process, cpu_began, cpu_ended in cpu
    ]
    assert any(together), "the GPU waited for entropy coding"


@pytest.mark.parametrize("timing", [False, True])
def test_every_gpu_has_workers_and_each_worker_one_gpu(timing, sources, tmp_path, monkeypatch):
    """The GPUs are those of the probe: the first holds two workers, the second one."""
    probed = (Gpu("GPU-a", 20 << 30), Gpu("GPU-b", 5 << 30))
    monkeypatch.setattr("benchmark.measure.local.gpus", lambda: probed)
    log = tmp_path / "log"
    run_tasks(cells(f"SeesGpu:log={log}", sources), conditions(jobs=1, timing=timing))
    gpu_by_process = dict(line.split() for line in log.read_text().splitlines())
    assert sorted(gpu_by_process.values()) == (["GPU-a"] if timing else ["GPU-a", "GPU-a", "GPU-b"])


def test_a_named_gpu_has_all_workers(sources, tmp_path, monkeypatch):
    """nvidia-smi says that the second of two cards holds one worker."""
    monkeypatch.setattr(machine, "command_output", lambda *_: "0, GPU-a, 80000\n1, GPU-b, 9000\n")
    monkeypatch.setattr(settings, "resolve_device", lambda device, *_: device)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    log, context = tmp_path / "log", copy_context()
    assert context.run(settings.use_device, "cuda:1") == "cuda"
    events = context.run(run_tasks, cells(f"SeesGpu:log={log}", sources), conditions(jobs=1))
    lines = [line.split() for line in log.read_text().splitlines()]
    assert {card for _, card in lines} == {"1"}
    assert len({process for process, _ in lines}) == 1
    assert {event.outcome.row["device"] for event in events} == {"cuda"}


def test_the_workers_of_a_gpu_follow_its_memory():
    many = [Gpu("a", 140 << 30), Gpu("b", 1 << 30), Gpu("c", None)]
    assert gpu_lanes(many, False) == ["a", "b", "c", "a", "c", "a", "a"]
    assert (gpu_lanes((), False), gpu_lanes((), True)) == (["", ""], [""])
    assert Counter(gpu_lanes(many, False, limit=9)) == {"a": 9, "b": 1, "c": 2}
    eight = [Gpu(name, 80 << 30) for name in "abcdefgh"]
    assert gpu_lanes(eight, False, limit=3) == [*"abcdefgh"] * 3
    assert (gpu_lanes(eight, True), gpu_lanes(eight[:2], False)) == (["a"], [*"ab"] * 4)


@pytest.mark.parametrize(("metrics", "cores", "workers"), [
    (("psnr",), 12, 4), (("psnr", "ssimulacra2"), 12, 6), (("psnr", "ssimulacra2"), 3, 2),
])  # fmt: skip
def test_metrics_of_the_cpu_bring_a_gpu_workers_by_cores_and_the_same_rows(
    metrics, cores, workers, sources, tmp_path, monkeypatch
):
    """The second of two GPUs has memory for one worker."""
    probed = (Gpu("GPU-a", 200 << 30), Gpu("GPU-b", 5 << 30))
    monkeypatch.setattr("benchmark.measure.local.gpus", lambda: probed)
    monkeypatch.setattr("benchmark.measure.local.cores", lambda: cores)
    log = tmp_path / "log"
    tasks = cells(f"SeesGpu:log={log}", sources)
    run_conditions = conditions(jobs=1, metrics=metrics)
    rows = {event.task.key: stable(event.outcome.row) for event in run_tasks(tasks, run_conditions)}
    gpu_by_process = dict(line.split() for line in log.read_text().splitlines())
    assert Counter(gpu_by_process.values()) == {"GPU-a": workers, "GPU-b": 1}
    bench = Workbench(run_conditions)
    assert rows == {cell.key: stable(bench.carry_out(cell).row) for cell in tasks}


def test_with_timing_one_process_has_gpu_and_cpu_for_itself(sources, tmp_path):
    log = tmp_path / "log"
    tasks = cells(f"OnGpu:log={log}", sources)
    cpu_tasks = [cell._replace(info=replace(cell.info, device="cpu")) for cell in tasks[::2]]
    run_tasks([*cpu_tasks, *tasks[1::2]], conditions(jobs=1, timing=True))
    assert len({process for _, process, *_ in notes(log)}) == 1
    assert len(list(notes(log))) == 2 * len(tasks)


def test_an_image_or_a_codec_file_that_changes_during_the_run_is_a_failed_row(sources, tmp_path):
    moved = tmp_path / "0.png"
    moved.write_bytes(sources[1].file.path.read_bytes())
    changed = sources[0]._replace(file=ImageFile("0.png", moved))
    (first, *_) = run_tasks(cells("Honest", [changed]), conditions(jobs=1))
    assert first.outcome.row["stage"] == "load"
    assert "0.png" in first.outcome.row["reason"]
    (cell, *_) = cells("Honest", sources)
    changed_cell = cell._replace(info=replace(cell.info, fingerprint="another"))
    changed, unchanged = (Workbench(conditions()).carry_out(c).row for c in (changed_cell, cell))
    assert (changed["stage"], unchanged["status"]) == ("load", "ok")
    assert changed["reason"].endswith(":Honest has changed since the run began: run again")


def test_closing_the_iterator_ends_the_workers(sources):
    import multiprocessing

    running = carry_out(cells("Honest:pause=0.2", sources), conditions())
    assert any(isinstance(event, Finished) for event in running)
    running.close()
    assert multiprocessing.active_children() == []


def test_the_same_cell_rescored_keeps_its_columns_and_gains_the_metric(sources, tmp_path):
    store = Store(tmp_path / "store")
    (cell, *_) = cells("Honest", sources)
    measured = Workbench(conditions(metrics=())).carry_out(cell)
    store.keep(measured.stream)
    bench = Workbench(conditions(run="later"))
    rescored = bench.carry_out(Rescore(measured.row, cell.source, ("psnr",), store.folder))
    assert rescored.row["psnr_db"] == Workbench(conditions()).carry_out(cell).row["psnr_db"]
    gained = {"psnr_db", "psnr_db_protocol", "psnr_db_reason", "finished_utc"}
    names = rescored.row.keys() | measured.row.keys()
    assert {n for n in names if rescored.row.get(n) != measured.row.get(n)} <= gained


def test_a_too_long_path_for_temporary_files_is_one_sentence(sources, tmp_path):
    place = tmp_path / ("long" * 30)
    place.mkdir()
    photos = sources[0].file.path.parent
    words = ("run", "--codecs", "raw", "--dataset", photos, "--metrics", "psnr", "--results")
    result = ran(sys.executable, "-m", "benchmark", *words, tmp_path / "out", TMPDIR=place)
    assert result.returncode == 2
    assert result.stderr.startswith("bench: ")
    assert all(name in result.stderr for name in (str(place), "$TMPDIR"))
