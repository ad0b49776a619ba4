"""`tools/on_gpu.sh`: its parts without a GPU, results that go on, and the table of the page."""

import itertools
import json
import subprocess
import time
from contextvars import copy_context

import pytest

from benchmark.system import settings
from conftest import ROOT
from tools import on_gpu
from tools.on_gpu import Conditions, Result, networks

SMALL = ("--device", "cpu", "--small")
PAGE = ROOT / "docs" / "experiments" / "gpu.md"


def run_small(out, *words):
    command = ["bash", ROOT / "tools" / "on_gpu.sh", *SMALL, "--out", out, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "results.json").read_text())["parts"], (out / "gpu.md").read_text()


@pytest.mark.parametrize("words", [("--small",), ("--only", "coding,coling"), ()])
def test_a_request_that_cannot_be_run_is_one_sentence(monkeypatch, capsys, tmp_path, words):
    monkeypatch.setattr("benchmark.system.settings.GPU_MARKS", ())
    monkeypatch.setattr("sys.argv", ["on_gpu", "--out", str(tmp_path / "x"), *words])
    assert on_gpu.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_parts_run_on_a_cpu_and_write_no_page_about_gpus(tmp_path):
    page = PAGE.read_text()
    parts, written = run_small(tmp_path, "--only", "suite,coding,training,harness")
    (coded,) = parts["coding"].values()
    assert coded["passed"]
    assert coded["shown"].startswith("1 of 1 streams equal")
    assert parts["training"]["losses of rates"]["passed"]
    assert all(cell["shown"].endswith(" s") for cell in parts["harness"].values())
    assert f"| coding | tiny (untrained): {coded['shown']}" in written
    assert "a CPU in place of a GPU" in written
    assert PAGE.read_text() == page


@pytest.mark.slow
def test_every_part_runs_small_on_a_cpu(tmp_path):
    parts, _ = run_small(tmp_path)
    assert parts.keys() == on_gpu.PARTS.keys()
    assert (tmp_path / "carry" / "cpu.tar").exists()


def test_the_page_names_every_part():
    page = PAGE.read_text()
    assert all(mark in page for mark in on_gpu.MARKS)
    assert all(f"| `{name}` |" in page for name in on_gpu.PARTS)


def test_the_suite_names_tests_that_exist():
    assert all((ROOT / name).is_file() for name in on_gpu.TESTS)


def test_sizes_that_are_bundled_are_taken_trained(tmp_path):
    names = [network.name for network in networks(Conditions(tmp_path, "cpu", small=False))]
    assert names[:4] == ["micro", "mini", "small (untrained)", "full (untrained)"]


def test_a_network_is_on_the_device_that_it_is_made_for(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "GPU_MARKS", ("/",))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    copied = copy_context()
    copied.run(settings.use_device, "cuda")  # as the command does
    for network in copied.run(list, networks(Conditions(tmp_path, "cuda", small=True))):
        codecs = [copied.run(network.make, device) for device in ("cuda", "cpu")]
        assert [codec.describe().device for codec in codecs] == ["cuda", "cpu"]


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
        on_gpu, "PARTS", {"fake": lambda _: [(key, lambda key=key: measured(key)) for key in "abc"]}
    )
    return Conditions(tmp_path, "cpu", small=False), calls, second


def test_a_cell_that_fails_is_a_result_and_is_tried_again(fake):
    conditions, calls, second = fake
    second.append(lambda: 1 / 0)
    assert not on_gpu.measure(conditions, ["fake"], 25)
    assert "failed: ZeroDivisionError" in (conditions.out / "gpu.md").read_text()
    second[0] = lambda: Result("no weights", absent=True)
    assert on_gpu.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c", "b"]
    assert "| fake | a: a; c: c; absent: b |" in (conditions.out / "gpu.md").read_text()


def test_a_claim_that_does_not_hold_is_said(fake):
    conditions, _, second = fake
    second.append(lambda: Result("wrong", passed=False))
    assert not on_gpu.measure(conditions, ["fake"], 25)
    assert "b: wrong **does not hold**; c" in (conditions.out / "gpu.md").read_text()


def test_a_run_whose_time_is_up_says_so_and_goes_on_where_it_stopped(fake):
    conditions, calls, _ = fake
    assert not on_gpu.measure(conditions, ["fake"], -1)
    assert calls == []
    assert "| fake | cut short |" in (conditions.out / "gpu.md").read_text()
    assert on_gpu.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c"]


def test_parts_share_the_time_whatever_others_take(fake, monkeypatch):
    """Twenty seconds pass with each cell; the first part has a tenth of eight minutes."""
    conditions, calls, _ = fake
    clock = itertools.count(0, 10)
    monkeypatch.setattr(on_gpu, "monotonic", lambda: next(clock))
    part = on_gpu.PARTS["fake"]
    named = {"fake": part, "other": lambda _: [("d", lambda: Result("d"))]}
    monkeypatch.setattr(on_gpu, "PARTS", named)
    part.__name__ = "fake"
    monkeypatch.setattr(on_gpu, "SHARES", [(part, 0.1)])
    assert not on_gpu.measure(conditions, ["fake", "other"], 8)
    assert calls == ["a", "b"]
    page = (conditions.out / "gpu.md").read_text()
    assert "| fake | a: a; b: b; cut short |" in page
    assert "| other | d: d |" in page


def test_the_shares_of_the_parts_are_the_whole():
    assert sum(share for _, share in on_gpu.SHARES) == pytest.approx(1)


def test_the_busy_share_is_what_nvidia_smi_says_until_the_end(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    said = tmp_path / "said"
    program.write_text(f"#!/bin/sh\necho 30; echo '[N/A]'; echo 50; : > {said}; exec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with on_gpu.busy_shares("cuda") as shares:
        while not said.exists():
            time.sleep(0.01)
    assert shares == [30, 50]
    with on_gpu.busy_shares("cpu") as shares:
        pass
    assert shares == []


@pytest.mark.parametrize("field", ["device", "versions", "commit", "images"])
def test_numbers_of_another_machine_or_version_are_not_joined(fake, field):
    conditions, calls, _ = fake
    on_gpu.measure(conditions, ["fake"], 25)
    path = conditions.out / "results.json"
    result = json.loads(path.read_text())
    result["described"][field] = "another"
    path.write_text(json.dumps(result))
    on_gpu.measure(conditions, ["fake"], 25)
    assert calls == ["a", "b", "c"] * 2
