"""`tools/on_gpu.sh`: archives, steps that end when they must, results that outlive a kill."""

import io
import json
import math
import os
import signal
import subprocess
import sys
import tarfile
from functools import partial
from unittest.mock import Mock

import pytest
from PIL import Image

from benchmark.errors import Unavailable, UsageError
from benchmark.registry import import_target
from conftest import ROOT, SHARED
from support.processes import ran
from tools.gpu import __main__ as command
from tools.gpu import harness, loads, results, step
from tools.gpu.conditions import Conditions
from tools.gpu.results import Result

SCRIPT = ROOT / "tools" / "on_gpu.sh"
SMALL = ("--device", "cpu", "--small")
DESCRIBED = dict.fromkeys(("device", "machine", "commit", "images"), "said")
DESCRIBED["versions"] = {"torch": "2"}


@pytest.fixture
def conditions(tmp_path):
    return Conditions(tmp_path, tmp_path, "cpu", small=True)


@pytest.mark.parametrize("words", ["measure --out x --small", "measure --out x", "table x"])
def test_a_request_that_cannot_be_met_is_one_sentence(monkeypatch, capsys, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    assert command.main(words.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x" / results.FILE).exists()


def test_a_step_has_what_those_before_it_left_and_the_last_one_the_rest():
    assert command.deadlines(command.STEPS[:3], 2) == [15, 90, 120]
    assert command.deadlines(command.STEPS[4:6], 1) == [60, 60]
    assert command.deadlines(command.STEPS[-1:], 13) == [780], "alone it has all minutes"


@pytest.mark.parametrize(("program", "seconds", "reason"), [
    ("pass", None, ""), ("import sys; sys.exit(3)", None, "the process exited with code 3"),
    ("import time; time.sleep(9999)", 1.0, "cut off after 1 s"), ("pass", 0.0, "no time was left"),
])  # fmt: skip
def test_a_step_that_ends_otherwise_says_why(program, seconds, reason):
    assert command._run_step([sys.executable, "-c", program], seconds) == reason


def test_each_cell_is_written_before_the_next_one_begins(conditions, monkeypatch):
    written = []

    def cells(_conditions):
        yield "one", lambda: Result("1 of it", numbers={"it": 1.0})
        written.extend(results.read_lines(conditions.out)[1])
        yield "none", lambda: 1 / 0
        yield "absent", Mock(side_effect=Unavailable("no weights"))

    monkeypatch.setattr(step, "import_target", lambda _name: cells)
    results.write_line(conditions.out, {"described": DESCRIBED, "date": "today"})
    step.run("a step", "m:cells", conditions)
    assert [row["cell"] for row in written] == ["one"]
    rows = results.read_lines(conditions.out)[1]
    assert [row["cell"] for row in rows] == ["one", "none", "absent"]
    assert rows[1]["failed"].startswith("ZeroDivisionError")
    assert [results.is_good(row) for row in rows] == [True, False, True]
    assert rows[2]["absent"]


def row_of(cell, **fields):
    return {"step": "s", "cell": cell, **Result("said")._asdict(), **fields}


def test_a_later_run_replaces_its_cells_and_another_machine_s_are_left_out(tmp_path):
    write = partial(results.write_line, tmp_path)
    for described, rows in (
        ({**DESCRIBED, "device": "another"}, [row_of("a"), row_of("z")]),
        (DESCRIBED, [row_of("a", text="first"), row_of("b"), row_of(results.REST, failed="cut")]),
        (DESCRIBED, [row_of("a", text="second")]),
    ):
        write({"described": described, "date": "today"})
        write({"begun": "s"})
        for row in rows:
            write(row)
    described, rows = results.read_lines(tmp_path)
    assert described == {**DESCRIBED, "date": "today"}
    assert [(row["cell"], row["text"]) for row in rows] == [("a", "second"), ("b", "said")]
    assert "| s | a: second; b: said |" in "\n".join(results.table(tmp_path))


def test_a_bar_is_judged_by_its_numbers_or_not_measured():
    bar = results.Bar("a", "n", at_least=True, limit=2.0, peer=("b", "m"))

    def holds(**cells):
        rows = [row_of(cell, numbers=numbers) for cell, numbers in cells.items()]
        return [field.strip() for field in bar.line(rows).split("|")][2::3]

    assert holds(a={"n": 6.0}, b={"m": 3.0}) == ["6", "yes"]
    assert holds(a={"n": 5.9}, b={"m": 3.0}) == ["5.9", "**no**"]
    assert holds(a={"n": 5.9}, b={}) == ["5.9", ""]
    assert holds(a={"n": math.nan}, b={"m": 3.0}) == ["not measured", ""]
    assert holds(b={"m": 3.0}) == ["not measured", ""]


def test_every_bar_is_about_cells_that_are_measured(conditions):
    steps = [import_target(part.cells)(conditions) for part in command.STEPS]
    cells = {name for step_cells in steps for name, _ in step_cells}
    assert {cell for bar in results.BARS for cell in (bar.cell, *(bar.peer or ())[:1])} <= cells


@pytest.mark.parametrize(("metrics", "loops", "missing"), [
    ("psnr", True, ""), ("psnr,lpips", True, "lpips"), ("psnr", False, "loops in C"),
])  # fmt: skip
def test_partial_work_or_not_in_c_has_no_numbers(conditions, monkeypatch, metrics, loops, missing):
    monkeypatch.setattr(harness, "find_spec", lambda _name: loops or None)
    result = harness._time_run(conditions, "jpeg", metrics)
    assert result.numbers.keys() == (set() if missing else {"whole_s", "after_start_s"})
    assert result.text.endswith(f"without {missing}") is bool(missing)


def test_the_code_is_packed_with_four_checkpoints_and_without_results():
    names = {name.removeprefix("code/") for name, _ in loads.code()}
    checkpoints = {name.split("/")[-1].split(".")[0] for name in names if name.endswith(".xz")}
    assert checkpoints == {*loads.PACKED_CHECKPOINTS}
    assert {"tools/on_gpu.sh", "tools/gpu/step.py", "tests/device/test_coding.py"} <= names
    assert loads.COMMIT in names
    assert not [name for name in names if name.startswith(("results/", "docs/"))]


def test_an_archive_has_its_files_and_is_refused_if_it_is_too_large(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.tar"
    content = [("folder/file", b"12345"), ("folder/other", ROOT / "LICENSE")]
    loads.write_archive(path, iter(content))
    with tarfile.open(path) as tar:
        assert tar.extractfile("folder/file").read() == b"12345"
        assert tar.extractfile("folder/other").read() == (ROOT / "LICENSE").read_bytes()
    assert "MiB" in capsys.readouterr().out
    monkeypatch.setattr(loads, "MAX_ARCHIVE_BYTES", path.stat().st_size - 1)
    with pytest.raises(UsageError, match=r"a\.tar"):
        loads.write_archive(path, iter(content))
    assert not path.exists()


def test_kodak_is_packed_as_it_is_known_from_its_pixels(tmp_path, monkeypatch):
    data = SHARED / "data"
    source = data / "kodak" / "kodim01.png"
    if not source.exists():
        pytest.skip("Kodak is not here")
    monkeypatch.setenv("BENCH_DATA", str(data))
    monkeypatch.setenv("BENCH_WEIGHTS", str(data / "weights"))
    name, content = next(loads.data())
    assert name == "shared/data/kodak/kodim01.png"
    with Image.open(io.BytesIO(content)) as packed, Image.open(source) as original:
        assert packed.format == "WEBP"
        assert packed.tobytes() == original.tobytes()
    assert len(content) < source.stat().st_size


@pytest.mark.slow
def test_a_run_that_is_killed_in_the_middle_has_every_finished_cell(tmp_path):
    words = map(str, ["bash", SCRIPT, "measure", "--out", tmp_path, *SMALL])
    finished, options = [], {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([*words], **options) as process:
        for line in process.stdout:
            finished.append(line.strip())
            if line.startswith("train: "):  # of the third step, and more are to come
                os.killpg(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    rows = [json.loads(line) for line in (tmp_path / results.FILE).read_text().splitlines()]
    cells = [f"{row['step']}: {results.result_text(row)}" for row in rows if "cell" in row]
    assert cells[: len(finished)] == finished
    assert [row["begun"] for row in rows if "begun" in row] == ["start", "tests", "train"]
    assert "| start | versions: " in ran("bash", SCRIPT, "table", tmp_path).stdout


@pytest.mark.slow
def test_every_step_runs_small_on_a_cpu(tmp_path):
    process = ran("bash", SCRIPT, "measure", "--out", tmp_path, *SMALL)
    assert process.returncode == 0, process.stdout + process.stderr
    described, rows = results.read_lines(tmp_path)
    assert list(dict.fromkeys(row["step"] for row in rows)) == [part.name for part in command.STEPS]
    assert described["device"] == "a CPU in place of a GPU"
