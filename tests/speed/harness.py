"""What the scripts of this folder share: options, clocks, peers run as commands, verdicts.

Importing this file pins the pools of threads of a script, for its own work; commands run without
that. What a command leaves running, such as a fork server, is adopted and waited for, so that its
processor time counts; the wall clock is that of the command alone.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter, process_time
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmark.system.settings import ONE_THREAD, POOLS

os.environ |= ONE_THREAD

import numpy as np
import polars as pl
from PIL import Image

from benchmark.rows.store import Store

ROOT = Path(__file__).parents[2]
BENCH = str(Path(sys.executable).with_name("bench"))
KODAK = ROOT.parent / "shared" / "data" / "kodak"
PR_SET_CHILD_SUBREAPER = 36  # in linux/prctl.h
ROUNDS = 3  # of ours and of the peer, whose medians are compared
MISSED: list[str] = []  # targets of this script


class Took(NamedTuple):
    """Seconds of a call in this process, and what it returned."""

    wall: float
    cpu: float
    result: Any


def options(description: str | None, **defaults: Any) -> argparse.Namespace:
    """Return the values of `--NAME VALUE` for each default, of its type; False is a flag."""
    parser = argparse.ArgumentParser(description=description)
    for name, default in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default)
    return parser.parse_args()


def timed(call: Callable[[], Any]) -> Took:
    """Time a call by both clocks."""
    wall, cpu = perf_counter(), process_time()
    result = call()
    return Took(perf_counter() - wall, process_time() - cpu, result)


class Clocked(NamedTuple):
    """Times and result of a command."""

    seconds: float  # wall clock, start-up included
    cpu_seconds: float  # of all its processes; well below both cores' share where others ran too
    result: Any


def run_peer(module: str, *arguments: str | Path, one_thread: bool = False) -> Clocked:
    """Run one of CompressAI's scripts; the result is the json that it prints at its end.

    By default, each of its processes uses all cores; `one_thread` is the better way to run it.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ended = clock(command, dict.fromkeys(POOLS, "1") if one_thread else {})
    output = str(ended.result)
    return ended._replace(result=json.loads(output[output.index("{") :])["results"])


def run_bench(kodak: Path, results: Path, *arguments: str | Path) -> Clocked:
    """Run `bench run` over a Kodak folder; the result is the table of its rows."""
    command = [BENCH, "run", "--dataset", kodak, "--results", results, *arguments]
    ended = clock(list(map(str, command)))
    (stored,) = results.iterdir()
    return ended._replace(result=Store(stored).table())


def mean(table: pl.DataFrame, column: str) -> float:
    """Return the mean over all rows; fails where a row has no value."""
    values = table[column].to_list()
    return float(sum(values) / len(values))


def kodak_folder(name: str) -> Path:
    """Return the folder of that name; a folder without Kodak ends the script."""
    folder = Path(name)
    if len(list(folder.glob("*.png"))) != 24:
        sys.exit(f"{folder} does not hold the 24 images of Kodak: name their folder by --kodak")
    return folder.resolve()


def noise_photos(folder: Path, count: int, height: int, width: int) -> Path:
    """Make a folder of so many PNGs of noise."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return folder


def peak_mb(process: str = "self") -> float:
    """Return the peak resident memory (MB) of a process, without its parent's."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def verdict(target: str, value: float, limit: float) -> None:
    """Print a target and whether it is met."""
    met = value <= limit
    MISSED.extend([target] * (not met))
    print(f"{'met   ' if met else 'MISSED'} {target}: {value:.3f}, at most {limit:.3f}")


def run(main: Callable[[], None]) -> None:
    """Run a script, and end it with exit code 1 where a target was missed."""
    main()
    sys.exit(1 if MISSED else 0)


def clock(command: Sequence[str], variables: Mapping[str, str] = MappingProxyType({})) -> Clocked:
    """Run a command; the result is its standard output. A failure ends the script.

    `variables` joins the environment, without settings of thread pools and the one that keeps
    Python from caching compiled sources.
    """
    left_out = (*POOLS, "PYTHONDONTWRITEBYTECODE")
    bare = {key: value for key, value in os.environ.items() if key not in left_out}
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    seconds_before, children_before = _children_seconds(), _children()
    started = perf_counter()
    ended = subprocess.run(
        command, cwd=ROOT, env={**bare, **variables}, capture_output=True, text=True, check=False
    )
    seconds = perf_counter() - started
    while orphans := _children() - children_before:
        for orphan in orphans:
            with suppress(ChildProcessError):
                os.waitpid(orphan, 0)
    if ended.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed:\n{ended.stderr[-2000:]}")
    return Clocked(seconds, _children_seconds() - seconds_before, ended.stdout)


def middle(runs: Sequence[Clocked]) -> Clocked:
    """Return the medians of the seconds by both clocks, and the first result."""
    walls, cpus = zip(*((run.seconds, run.cpu_seconds) for run in runs), strict=True)
    return Clocked(median(walls), median(cpus), runs[0].result)


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _children_seconds() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
