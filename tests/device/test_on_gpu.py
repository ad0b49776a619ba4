"""`tools/on_gpu.sh`: its parts without a GPU, results that go on, and the table of the page."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from conftest import ROOT
from tools.gpu import agreement, record
from tools.gpu.conditions import Conditions, Result
from tools.gpu.record import Bar
from tools.gpu.speed import busy_shares

PAGE = ROOT / "docs" / "experiments" / "gpu.md"


@pytest.mark.parametrize("words", [("--small",), ("--only", "coding,coling"), ()])
def test_a_request_that_cannot_be_run_is_one_sentence(monkeypatch, capsys, tmp_path, words):
    monkeypatch.setattr("benchmark.system.settings.GPU_MARKS", ())
    monkeypatch.setattr("sys.argv", ["on_gpu", "--out", str(tmp_path / "x"), *words])
    assert record.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_every_part_runs_small_on_a_cpu_and_writes_no_page_about_gpus(tmp_path):
    page = PAGE.read_text()
    command = [
        "bash",
        ROOT / "tools" / "on_gpu.sh",
        "--device",
        "cpu",
        "--small",
        "--out",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    written = (tmp_path / "gpu.md").read_text()
    assert parts.keys() == record.PARTS.keys()
    assert parts["training"]["losses of realism"]["passed"]
    assert parts["harness"]["ours"]["numbers"]["whole_s"] > 0
    assert f"| coding | cpu to cpu: {parts['coding']['cpu to cpu']['shown']}" in written
    assert "a CPU in place of a GPU" in written
    assert PAGE.read_text() == page
    cells = {key for results in parts.values() for key in results}
    assert {cell for bar in record.BARS for cell in (bar.cell, *(bar.peer or ())[:1])} <= cells


def test_the_page_names_every_part_and_a_part_what_there_is():
    page = PAGE.read_text()
    assert all(mark in page for mark in record.MARKS)
    assert all(f"| `{name}` |" in page for name in record.PARTS)
    assert all((ROOT / name).is_file() for name in agreement.TESTS)
    assert sum(share for _, share in record.SHARES) == pytest.approx(1)


def table_of(conditions):
    return (conditions.out / "gpu.md").read_text()


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A part with the cells a, b and c; b does what is put into the list."""
    calls, second = [], []

    def measured(key):
        calls.append(key)
        if key == "b" and second:
            return second[0]()
        return Result(key)

    monkeypatch.setattr(
        record, "PARTS", {"fake": lambda _: [(key, lambda key=key: measured(key)) for key in "abc"]}
    )
    return Conditions(tmp_path, tmp_path, "cpu", small=False), calls, second


def test_a_cell_that_fails_is_a_result_and_is_tried_again(fake):
    conditions, calls, second = fake
    second.append(lambda: 1 / 0)
    assert not record.measure(conditions, ["fake"], 25)
    assert "failed: ZeroDivisionError" in table_of(conditions)
    second[0] = lambda: Result("no weights", absent=True)
    assert record.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c", "b"]
    assert "| fake | a: a; c: c; absent: b |" in table_of(conditions)


def test_a_command_that_is_killed_leaves_its_table_and_tries_last_what_it_was_at(fake):
    conditions, calls, second = fake
    second.append(lambda: sys.exit(143))
    with pytest.raises(SystemExit):
        record.measure(conditions, ["fake"], 25)
    assert "| fake | a: a; b: failed: the process ended |" in table_of(conditions)
    second.clear()
    assert record.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("numbers", "row"),
    [
        ({"ours": 3.0, "peer": 4.0}, "| ours: s | 3 | ≤ 0.5 x peer, s: 4 | 9 s | **no** |"),
        ({"ours": 2.0, "peer": 4.0}, "| ours: s | 2 | ≤ 0.5 x peer, s: 4 | 9 s | yes |"),
        ({}, "| ours: s | not measured | ≤ 0.5 x peer, s: not measured | 9 s |  |"),
    ],
)
def test_a_bar_stands_beside_what_was_measured_and_its_peer(numbers, row):
    bar = Bar("ours", "s", False, 0.5, ("peer", "s"), "9 s")
    results = {cell: {"numbers": {"s": number}} for cell, number in numbers.items()}
    assert bar.row({"part": results}) == row


@pytest.mark.parametrize(
    ("second", "shown"),
    [
        (lambda: Result("wrong", passed=False), "wrong **does not hold**; c"),
        (lambda: os.kill(os.getpid(), signal.SIGALRM), "failed: TimeoutError: not done in"),
    ],
)
def test_a_claim_that_does_not_hold_and_what_takes_too_long_are_said(fake, second, shown):
    conditions, _, seconds = fake
    seconds.append(second)
    assert not record.measure(conditions, ["fake"], 25)
    assert f"| fake | a: a; b: {shown}" in table_of(conditions)


def test_a_run_whose_time_is_up_says_so_and_goes_on_where_it_stopped(fake):
    conditions, calls, _ = fake
    assert not record.measure(conditions, ["fake"], -1)
    assert calls == []
    assert "| fake | cut short |" in table_of(conditions)
    assert record.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c"]


def test_parts_share_the_time_whatever_others_take(fake, monkeypatch):
    """Twenty seconds pass with each cell; the first part has a tenth of eight minutes."""
    conditions, calls, _ = fake
    clock = itertools.count(0, 10)
    monkeypatch.setattr(record, "monotonic", lambda: next(clock))
    part = record.PARTS["fake"]
    named = {"fake": part, "other": lambda _: [("d", lambda: Result("d"))]}
    monkeypatch.setattr(record, "PARTS", named)
    part.__name__ = "fake"
    monkeypatch.setattr(record, "SHARES", [(part, 0.1)])
    assert not record.measure(conditions, ["fake", "other"], 8)
    assert calls == ["a", "b"]
    assert "| fake | a: a; b: b; cut short |\n| other | d: d |" in table_of(conditions)


def test_the_busy_share_is_what_nvidia_smi_says_until_the_end(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    said = tmp_path / "said"
    lines = [f"2026/11/28 20:16:25.{at}, {share}" for at, share in ((1, 30), (3, "[N/A]"), (5, 50))]
    printed = "\n".join(lines)
    program.write_text(f"#!/bin/sh\necho '{printed}'; : > {said}; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with busy_shares("cuda") as shares:
        while not said.exists():
            time.sleep(0.01)
    assert [share for _, share in shares] == [30, 50]
    assert shares[1][0] - shares[0][0] == timedelta(seconds=0.4)
    with busy_shares("cpu") as shares:
        pass
    assert shares == []


@pytest.mark.parametrize("field", ["device", "versions", "commit", "images"])
def test_numbers_of_another_machine_or_version_are_not_joined(fake, field):
    conditions, calls, _ = fake
    record.measure(conditions, ["fake"], 25)
    path = conditions.out / "results.json"
    result = json.loads(path.read_text())
    result["described"][field] = "another"
    path.write_text(json.dumps(result))
    record.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c"] * 2
