"""`--timeout`: a cell that takes too long is a failed row, and nothing else is lost by it."""

import json
import re

import pytest

import benchmark
from benchmark.errors import UsageError
from benchmark.measure import decode_again, local, workers
from benchmark.measure.workers import LOADING_SECONDS, StageDeadline
from support.bench.command import bench
from support.codecs.files import MINE
from support.codecs.mine import STUCK
from support.processes import is_running, until

SECONDS = 1.5


@pytest.fixture(autouse=True)
def clock(tmp_path, monkeypatch):
    """Clock that advances only while a process is stuck: load makes no other cell overdue.

    The first reading with a stuck process changes nothing: its earlier messages may be unread.
    """
    noted, stuck_processes, reading = tmp_path / "stuck", set(), [0.0]

    def seconds():
        running = set()
        if noted.exists():
            running = {*filter(is_running, map(int, noted.read_text().split()))}
        if running & stuck_processes:
            reading[0] += SECONDS
        stuck_processes.update(running)
        return reading[0]

    monkeypatch.setenv(STUCK, str(noted))
    monkeypatch.setattr(workers, "monotonic", seconds)
    monkeypatch.setattr(workers, "ENDING_SECONDS", 0.5)
    for module in (local, decode_again):  # look at the clock often
        monkeypatch.setattr(module, "TICK_SECONDS", 0.1)


def run(spec, images):
    words = ("--dataset", "photos", "--metrics", "psnr", "--results", "r", "--json", "--jobs", "1")
    limits = ("--limit", images, "--timeout", SECONDS)
    result = bench("run", "--codecs", f"{MINE}:{spec}", *words, *limits)
    return result.returncode, json.loads(result.stdout)


def test_an_endless_codec_that_ignores_signals_is_a_failed_row_and_the_other_cells_go_on(photos):
    code, reported = run("Swallows", 2)
    assert code == 1
    failures = [(row["cell"], row["stage"]) for row in reported["failed"]]
    assert failures == [(f"mine.py:Swallows step=2 {n}.png", "encode") for n in (0, 1)]
    assert all("1.5 s (--timeout)" in row["reason"] for row in reported["failed"])
    assert (reported["cells"], reported["measured"]) == (4, 4)
    (ok, failed) = reported["summary"]
    assert (ok["images"], failed["images_failed"]) == (2, 2)


def test_programs_started_by_the_codec_are_ended_with_it(photos):
    log = photos / "log"
    code, reported = run(f"Stubborn:log={log}", 1)
    assert (code, len(reported["failed"])) == (1, 1)
    programs = [int(line) for line in log.read_text().split()]
    assert len(programs) == 2
    assert until(lambda: not any(map(is_running, programs)))


def test_an_endless_decoder_fails_in_verification_and_in_an_audit(photos, monkeypatch):
    words, codec = ("--dataset", "photos", "--results", "r"), ("--codecs", f"{MINE}:EndlessDecoder")
    assert bench("run", *codec, *words, "--metrics", "psnr", "--limit", "1").returncode == 0
    monkeypatch.setenv("BENCH_TEST_ENDLESS", "1")
    limits = ("--limit", "1", "--timeout", SECONDS)
    result = bench("run", *codec, *words, "--metrics", "psnr", "--verify", *limits, code=1)
    assert len(re.findall(r": decode: .*1\.5 s \(--timeout\)", result.stdout)) == 1
    audited = bench("audit", "decode", "r", *codec, "--timeout", SECONDS, code=1)
    assert audited.stdout.splitlines()[1].split()[-1] == "2"
    assert "1.5 s (--timeout)" in audited.stdout
    rescored = bench("rescore", *codec, *words, "--metrics", "ssim", *limits)
    assert len(re.findall(r"decode: .*1\.5 s \(--timeout\)", rescored.stdout)) == 1


def test_without_the_option_nothing_is_overdue_and_loading_has_a_minute():
    endless = StageDeadline(None)
    endless.start("encode")
    assert endless.left_seconds() is None
    deadline = StageDeadline(0.0)
    assert deadline.left_seconds() is None  # between tasks
    deadline.start("load")
    assert LOADING_SECONDS - 1 < deadline.left_seconds() <= LOADING_SECONDS
    deadline.start("decode")
    assert deadline.left_seconds() == 0
    stage, reason, *_ = deadline.failure()
    assert (stage, "0 s (--timeout)" in reason) == ("decode", True)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_an_invalid_limit_is_refused(seconds, photos):
    with pytest.raises(UsageError, match="--timeout"):
        benchmark.run("jpeg", "photos", timeout_seconds=seconds, results=photos / "r")
