"""Encoders that misbehave beside one that does not: failed rows, and the run continues."""

import json
import os
import signal
import sys

import pytest

from support.codecs.files import FAKES
from support.files.noise import noise_images
from support.processes import ran, running
from support.quick import quick
from support.rows.stable_rows import only_store

# Shell scripts as encoders: $1 is the source, $2 the stream, {mark} a number of seconds by which a
# process that is left is recognised. The decoder is `cp` of a PNG.
MISBEHAVING = {
    "hangs": "sleep {mark}",
    "hangs and ignores being asked to stop": "trap '' TERM INT HUP; while :; do sleep {mark}; done",
    "writes nothing": "true", "writes nothing and fails": "echo no such luck >&2; exit 3",
    "writes an empty stream": ": > $2", "kills itself": "kill -SEGV $$",
    "removes its own folder": 'rm -rf "$(dirname $2)"', "makes its stream a folder": "mkdir $2",
    "makes its stream a pipe": "mkfifo $2",
}  # fmt: skip
# These end well: what they claim or leave behind does not count.
HONEST_ENOUGH = {
    "lies about its size": "cp $1 $2; echo encoded to 1 byte, .001 bpp; echo 1 > $2.size",
    "forks a child that outlives it": "cp $1 $2; sleep {mark} & true",
    "forks a child in a session of its own": "cp $1 $2; setsid sh -c 'sleep {mark}' & true",
    "leaves a child that writes to its stream": "cp $1 $2; (sleep 1; echo more >> $2) & true",
}

# 400 MB where the harness reads 1 MiB, and where a stream of 24 x 20 pixels may have 1.06 MB.
FLOODS = {
    "prints": ("cp $1 $2; head -c 400000000 /dev/zero", " 1,048,576 "),
    "complains": ("cp $1 $2; head -c 400000000 /dev/zero >&2; exit 1", "exit code 1; "),
    "writes": ("head -c 400000000 /dev/zero > $2", " 1,060,096 "),
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("images") / "photos", [(24, 20)])


def codec(folder, name, script, mark):
    path = folder / f"{len(list(folder.iterdir()))}.sh"
    path.write_text(script.replace("{mark}", mark) + "\n")
    label = name.replace(" ", "-")
    return (
        rf"command:name={label}:encode=sh {path} {{in}} {{out}}:decode=cp {{in}} {{out}}:values=1:"
        f"timeout_seconds={2.0 if name in MISBEHAVING else 120.0}"
    )


def bench_run(codecs, images, results, *options):
    words = ["run", "--codecs", ",".join(codecs), "--dataset", str(images), "--metrics", "psnr"]
    return ran(sys.executable, "-m", "benchmark", *words, "--results", results, "--json", *options)


@pytest.mark.slow
def test_programs_that_misbehave_are_failed_rows_and_the_others_finish(images, tmp_path):
    """None is left running, and what one says of its size is nothing to the harness."""
    scripts, mark = tmp_path / "scripts", f"301.{os.getpid()}"
    scripts.mkdir()
    programs = {**MISBEHAVING, **HONEST_ENOUGH}
    codecs = [codec(scripts, name, script, mark) for name, script in programs.items()]
    result = bench_run([*codecs, f"{FAKES}:Honest"], images, tmp_path / "results")
    assert result.returncode == 1
    assert running(mark) == []
    rows = only_store(tmp_path / "results").table().rows(named=True)
    assert [row["status"] for row in rows if not row["variant"]] == ["ok"] * 3
    by_name = {row["variant"].partition(":name=")[2].partition(":")[0]: row for row in rows}
    by_name = {name: by_name[name.replace(" ", "-")] for name in programs}
    for name in MISBEHAVING:
        assert by_name[name]["status"] == "failed", name
        assert len(by_name[name]["reason"].splitlines()) == 1, name
    size = (images / "0.png").stat().st_size
    for name in HONEST_ENOUGH:
        num_bytes = by_name[name]["num_bytes"]
        assert by_name[name]["status"] == "ok", (name, by_name[name]["reason"])
        assert by_name[name]["bpp"] == 8 * num_bytes / (24 * 20)
        assert abs(num_bytes - size) <= size / 2
    assert len(json.loads(result.stdout)["failed"]) == len(MISBEHAVING)


ALONE = """
import sys
import numpy as np
from baselines.command import Command
from benchmark.errors import ProgramFailed
codec = Command(encode=f"sh {sys.argv[1]} {{in}} {{out}}", decode="cp {in} {out}", values="1")
try:
    codec.encode(np.zeros((20, 24, 3), np.uint8), codec.sweep[0])
except ProgramFailed as failed:
    print(str(failed).replace(chr(0), ""))
with open("/proc/self/status") as status:  # getrusage counts what the parent had at the fork
    print(*(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
MAX_KILOBYTES = 250_000  # resident; the imports take 50,000, the flood would add 400,000


@pytest.mark.parametrize("name", quick(FLOODS, "prints"))
def test_what_a_program_floods_us_with_is_not_taken_into_memory(name, tmp_path):
    script, (text, sentence) = tmp_path / "encode.sh", FLOODS[name]
    script.write_text(text)
    *message, kilobytes = ran(sys.executable, "-c", ALONE, script).stdout.splitlines()
    assert sentence in "".join(message)
    assert len("".join(message)) <= 3000
    assert int(kilobytes) < MAX_KILOBYTES


@pytest.mark.parametrize(
    "cause", quick(["SIGSEGV", "SIGABRT", "SIGBUS", "SIGKILL", "memory"], "SIGSEGV")
)
def test_native_code_that_crashes_is_a_failed_row_with_its_signal(cause, images, tmp_path):
    """SIGKILL is what the kernel sends where memory runs out."""
    result = bench_run([f"{FAKES}:DiesOnDecode:how={cause}"], images, tmp_path / "results")
    table = only_store(tmp_path / "results").table()
    assert result.returncode == 1
    states = dict(table.select("setting_value", "status").rows())
    assert states == {64.0: "ok", 16.0: "failed", 1.0: "ok"}
    expected = "MemoryError" if cause == "memory" else f" {cause}"
    assert expected in table.filter(status="failed")["reason"].item()
    assert hasattr(signal, cause) or cause == "memory"
