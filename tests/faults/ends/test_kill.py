"""`bench run` killed with SIGKILL at random moments: nothing is lost."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.rows.store import Store
from support.codecs.files import FAKES
from support.files.noise import noise_images
from support.processes import ran, until
from support.rows.stable_rows import losses_of, stable


@pytest.fixture
def images(tmp_path, kills):
    """Photographs, each in three settings: two for a few kills, three for many."""
    sizes = [(64, 48 + number) for number in range(2 if kills < 10 else 3)]
    return noise_images(tmp_path / "photos", sizes)


def command(images, results):
    codec = f"{FAKES}:Honest:pause=1.05"  # each row is stored as soon as it is there
    return [
        *(sys.executable, "-m", "benchmark", "run", "--codecs", codec, "--dataset", str(images)),
        *("--metrics", "psnr", "--results", str(results), "--jobs", "2", "--json"),
    ]


def store_of(results):
    folders = list(results.iterdir()) if results.is_dir() else []
    return Store(folders[0]) if folders else None


def runs_still(group):
    """Return whether a process of the group runs; one that waits to be reaped does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


def wait_until_gone(process):
    process.wait(timeout=900)
    gone = until(lambda: not runs_still(process.pid), 30)
    if not gone:
        os.killpg(process.pid, signal.SIGKILL)
    assert gone, "a worker outlives its driver"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 100])
def test_a_run_killed_at_random_moments_ends_with_the_whole_table(images, kills, tmp_path):
    started = time.monotonic()
    reference = ran(*command(images, tmp_path / "whole"))
    assert reference.returncode == 0, reference.stderr
    longest = time.monotonic() - started
    expected = stable(store_of(tmp_path / "whole"))
    chance = random.Random(kills)
    runs = killed = tables = 0
    results, cells = tmp_path / "0", set()
    while killed < kills or cells or not tables:
        runs += 1
        process = subprocess.Popen(
            command(images, results), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            # Once enough were killed the last table is let end.
            process.wait(timeout=chance.uniform(0, longest) if killed < kills else 900)
        except subprocess.TimeoutExpired:
            killed += 1
            everything = chance.random() < 0.5  # else the driver alone
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
        wait_until_gone(process)
        store = store_of(results)
        lost, cells = losses_of(store, cells)
        assert lost == 0
        if process.returncode == 0:
            assert stable(store) == expected
            tables += 1
            results, cells = tmp_path / str(runs), set()
    assert killed >= kills
    assert tables >= 1
