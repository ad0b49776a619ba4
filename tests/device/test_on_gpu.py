"""`tools/on_gpu.sh`: its parts without a GPU, results that go on, and the table of the page."""

import json
import sys

import pytest

from conftest import ROOT
from support.processes import ran
from tools.gpu import record
from tools.gpu.conditions import Conditions, Result

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
    words = ("--device", "cpu", "--small", "--out")
    done = ran("bash", ROOT / "tools" / "on_gpu.sh", *words, tmp_path)
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


def test_a_run_whose_time_is_up_says_so_and_goes_on_where_it_stopped(fake):
    conditions, calls, _ = fake
    assert not record.measure(conditions, ["fake"], -1)
    assert calls == []
    assert "| fake | cut short |" in table_of(conditions)
    assert record.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c"]


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
