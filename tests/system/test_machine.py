"""Facts of the machine and the checkout, compared with the system's own commands."""

import os
import sys
from pathlib import Path

import pytest

from benchmark.system import machine as module
from benchmark.system.machine import commit, cores, machine
from conftest import ROOT
from support.processes import ran


def test_the_commit_is_the_one_that_is_checked_out():
    reported = ran("git", "-C", ROOT, "rev-parse", "HEAD").stdout.strip()
    if not (ROOT / ".git").exists():
        assert commit() is None
    else:
        assert commit() in (reported, f"{reported}-dirty")
        assert len(reported) == 40


def test_cores_are_those_that_the_process_may_use():
    core = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, {{{core}}});"
        "from benchmark.system.machine import cores, machine; print(cores(), machine())"
    )
    reported = ran(sys.executable, "-c", script, folder=ROOT).stdout
    assert reported.startswith("1 ")
    assert ", 1 cores, " in reported
    assert cores() == len(os.sched_getaffinity(0))


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Have /proc/cpuinfo be a text, and forget the measured speed."""
    read = module._read_lines
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))

    def describe_cpu(text):
        module._core_speed.cache_clear()
        texts = {Path("/proc/cpuinfo"): text.split("\n")}
        monkeypatch.setattr(module, "_read_lines", lambda p: texts.get(p) or read(p))
        return machine()

    yield describe_cpu
    module._core_speed.cache_clear()


def test_fewer_instructions_than_the_processor_has_are_another_machine(processor, monkeypatch):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    complete = processor("model name : EPYC\nflags : avx2\n")
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "SSE41")
            limited = processor("model name : EPYC\nflags : avx2\n")
        model, _, speed = complete.rpartition(", ")
        assert limited.startswith(f"{model}, {name}=SSE41, speed "), speed


def test_processors_of_one_name_with_other_instructions_are_two_machines(processor):
    flags = "avx2", "avx2 avx512f"
    machines = [processor(f"model name : EPYC\nflags : sse {flag}\n").split(", ") for flag in flags]
    assert [text[::2][:2] for text in machines] == [["EPYC", "AVX2"], ["EPYC", "AVX-512"]]


@pytest.mark.parametrize("slower", [2, 0.5])
def test_processors_of_half_the_speed_are_two_machines(processor, monkeypatch, tmp_path, slower):
    measured = module._rounds_per_second()
    monkeypatch.setattr(module, "_rounds_per_second", lambda: measured)
    first = processor("model name : EPYC\n")
    monkeypatch.setattr(module, "_rounds_per_second", lambda: measured / slower)
    assert processor("model name : EPYC\n") == first  # kept until the next boot
    for file in tmp_path.iterdir():
        file.unlink()
    assert processor("model name : EPYC\n") != first
