"""`tools/on_gpu.sh`: its parts without a GPU, records that go on, and the page written of them."""

import doctest
import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from conftest import ROOT
from tools.gpu import document, part, run
from tools.gpu.conditions import Conditions
from tools.gpu.networks import networks
from tools.gpu.part import Cell
from tools.gpu.record import Record, read_record

SCRIPT = ROOT / "tools" / "on_gpu.sh"
SMALL = ("--device", "cpu", "--small")
SAID = {
    "device": "cuda", "device_name": "a GPU", "driver": "1.2", "machine": "a processor, 2 cores",
    "python": "3.12", "versions": {"torch": "2"}, "cuda": "13.0", "commit": "abc", "small": False,
    "dataset": "kodak", "date": "2026-11-22",
}  # fmt: skip


def on_gpu(*words):
    done = subprocess.run(
        ["bash", SCRIPT, *map(str, words)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def small(out, *words):
    return on_gpu(*SMALL, "--out", out, *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--small",), "--small tries the parts themselves: add --device cpu"),
        (("--only", "coding,coling"), "--only coling: the parts are suite, coding,"),
        (("--carried", "nowhere"), "--carried nowhere: there is no such folder"),
    ],
)
def test_a_request_that_cannot_be_run_is_one_sentence(tmp_path, words, sentence):
    status, shown, told = on_gpu("--out", tmp_path / "x", *words)
    assert (status, shown) == (2, "")
    assert told.startswith(f"on_gpu: {sentence}")
    assert told.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_without_a_gpu_it_says_how_to_try_it(monkeypatch, capsys):
    monkeypatch.setattr("benchmark.system.settings.GPU_MARKS", ())
    monkeypatch.setattr("sys.argv", ["on_gpu"])
    assert run.main() == 2
    told = capsys.readouterr().err
    assert "this machine shows no GPU; to try the parts without a GPU, give --device cpu" in told
    assert told.count("\n") == 1


def test_parts_run_on_a_cpu_are_recorded_and_go_on(tmp_path):
    page = (ROOT / "docs" / "gpu.md").read_text()
    status, shown, told = small(tmp_path, "--only", "suite,coding,training")
    assert status == 0, shown + told
    assert "3 parts: suite, coding, training" in shown
    record = read_record(tmp_path / "coding.json")
    assert record.complete
    assert record.described["device"] == "cpu"
    (cell,) = record.cells.values()
    assert cell["bytes"][0] == cell["bytes"][1] > 0
    assert (cell["same_bytes"], cell["levels"], cell["held"]) == (True, 0, True)
    trained = read_record(tmp_path / "training.json").cells
    assert trained.keys() == {"tiny/bfloat16", "tiny/float32"}
    assert all(row["steps_per_second"] > 0 for row in trained.values())
    written = (tmp_path / "gpu.md").read_text()
    assert "A CPU was measured in place of a GPU" in written
    assert "| tiny (untrained) | 1 | 1 of 1 | 0.00 % | 0 |" in written
    assert written.count("Not run: it was not asked for.") == 5
    ((name, row),) = read_record(tmp_path / "suite.json").cells.items()
    assert f"| `{name}` | {row['passed']} | 0 | 0 |" in written
    assert (ROOT / "docs" / "gpu.md").read_text() == page, "a CPU writes no page about GPUs"


@pytest.mark.slow
def test_every_part_runs_small_on_a_cpu(tmp_path):
    status, shown, told = small(tmp_path)
    assert status == 0, shown + told
    for name in document.PARTS:
        assert read_record(tmp_path / f"{name}.json").complete
    written = (tmp_path / "gpu.md").read_text()
    assert "Not run" not in written
    assert "Not complete" not in written
    assert sorted(path.name for path in (tmp_path / "carry").iterdir()) == ["cpu.tar"]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A part with the cells a, b and c; returns conditions, the order of calls, and what b does."""
    calls, second = [], []

    def measure(key):
        calls.append(key)
        if key == "b" and second:
            second[0]()
        return {"number": len(calls)}

    made = SimpleNamespace(
        TITLE="Fake", CLAIM="None.", section=lambda found: [*found, *part.failures(found)],
        cells=lambda _: [Cell(key, lambda key=key: measure(key)) for key in "abc"],
    )  # fmt: skip
    monkeypatch.setattr(run, "PARTS", {"fake": made})
    monkeypatch.setattr(run, "BUDGETS", {"fake": 100})
    return Conditions(tmp_path, "cpu", small=False), calls, second


def raise_error():
    raise ValueError("no memory\nat all")


def test_sizes_that_are_bundled_are_taken_trained(tmp_path):
    names = [one.name for one in networks(Conditions(tmp_path, "cpu", small=False))]
    assert names[:4] == ["micro", "mini", "small (untrained)", "full (untrained)"]


def test_a_cell_that_fails_is_a_result_and_is_tried_again(fake):
    conditions, calls, second = fake
    second.append(raise_error)
    run.carry_out(conditions, "fake")
    record = read_record(conditions.out / "fake.json")
    assert record.cells["b"] == {"failed": "ValueError: no memory at all"}
    assert (calls, record.complete, part.broken(record.cells)) == (["a", "b", "c"], True, ["b"])
    second.clear()
    run.carry_out(conditions, "fake")
    assert calls == ["a", "b", "c", "b"]
    assert not part.broken(read_record(conditions.out / "fake.json").cells)


def test_a_part_whose_time_is_up_goes_on_where_it_stopped(fake, monkeypatch):
    conditions, calls, second = fake
    second.append(lambda: monkeypatch.setitem(run.BUDGETS, "fake", -1))
    run.carry_out(conditions, "fake")
    record = read_record(conditions.out / "fake.json")
    assert (calls, record.complete) == (["a", "b"], False)
    assert "its time was up" in record.ended
    monkeypatch.setitem(run.BUDGETS, "fake", 100)
    run.carry_out(conditions, "fake")
    assert calls == ["a", "b", "c"]
    assert read_record(conditions.out / "fake.json").complete


def test_a_small_run_tries_every_cell_however_long_it_takes(fake, monkeypatch):
    conditions, calls, _ = fake
    monkeypatch.setitem(run.BUDGETS, "fake", -1)
    run.carry_out(replace(conditions, small=True), "fake")
    assert calls == ["a", "b", "c"]


@pytest.mark.parametrize("field", ["device_name", "versions", "commit", "small"])
def test_numbers_of_another_machine_or_version_are_not_joined(fake, field):
    conditions, calls, _ = fake
    run.carry_out(conditions, "fake")
    path = conditions.out / "fake.json"
    told = json.loads(path.read_text())
    told["described"][field] = "another"
    path.write_text(json.dumps(told))
    run.carry_out(conditions, "fake")
    assert calls == ["a", "b", "c"] * 2


def test_the_page_that_is_written_does_not_make_its_records_those_of_another_commit():
    record = Record({**SAID, "commit": "abc"})
    assert record.continues({**SAID, "commit": "abc-dirty"})
    assert not record.continues({**SAID, "commit": "abd"})


def test_a_part_that_hangs_is_ended_with_all_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "LONGEST_SECONDS", 1)
    file = tmp_path / "alive"
    why = run._process(["sh", "-c", f"(sleep 3; touch {file}) & sleep 60"])
    assert why == "it was ended after 1 s"
    subprocess.run(["sleep", "4"], check=True)
    assert not file.exists()
    assert run._process(["false"]) == "its process ended with 1"
    assert run._process(["true"]) == ""


def test_a_cell_in_which_a_part_was_ended_is_a_failed_one(fake, monkeypatch):
    conditions, *_ = fake
    record = Record(conditions.described(), {"a": {"number": 1}}, running="b")
    record.write(conditions.out / "fake.json")
    monkeypatch.setattr(run, "_process", lambda words: "it was ended after 540 s")
    assert not run._part(conditions, "fake")
    record = read_record(conditions.out / "fake.json")
    assert record.cells["b"] == {"failed": "it was ended after 540 s"}
    assert record.running == ""


def test_the_page_says_what_was_measured_what_was_not_and_what_does_not_hold():
    held = {"held": False, "levels": 3, "same_bytes": False, "bytes": [11, 10]}
    records = {
        "coding": Record(SAID, {"micro/q=2/a.png": held}, complete=True),
        "frechet": Record(SAID, ended="its process ended with 1"),
        "training": Record(
            SAID, {"full/float32": {"failed": "CUDA out of memory"}}, ended="its time was up"
        ),
    }  # fmt: skip
    text = document.render(records)
    assert "- a GPU, driver 1.2, CUDA 13.0; a processor, 2 cores; Python 3.12, torch 2;" in text
    assert "| micro | 1 | 0 of 1 | 10.00 % | 3 |" in text
    assert "**Does not hold** for 1 of 1: micro/q=2/a.png." in text
    assert "Not run: its process ended with 1." in text
    assert "- full/float32: CUDA out of memory" in text
    assert "Not complete, 1 cell so far: its time was up." in text
    assert text.count("Not run: it was not asked for.") == len(document.PARTS) - 3
    assert "No GPU has been measured" not in text
    assert "A CPU was measured" not in text


def test_the_page_of_today_is_the_one_that_is_written():
    page = (ROOT / "docs" / "gpu.md").read_text()
    if "No GPU has been measured" in page:
        assert page == document.render({}), "write it: python -m tools.gpu.document > docs/gpu.md"
    for one in document.PARTS.values():
        assert f"\n## {one.TITLE}\n" in page


def test_all_parts_take_less_than_25_minutes_in_chunks_of_9():
    assert run.BUDGETS.keys() == document.PARTS.keys()
    assert sum(run.BUDGETS.values()) <= 25 * 60
    assert run.LONGEST_SECONDS <= 9 * 60
    assert max(run.BUDGETS.values()) < run.LONGEST_SECONDS


def test_the_examples_of_a_part_are_right():
    assert doctest.testmod(part).failed == 0
