"""`bench run` killed with SIGKILL at random moments, and at each step of a write: nothing lost."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from benchmark.rows.store import Store
from support.fault_ledger import tell
from support.stable_rows import losses_of, stable

FAKES = Path(__file__).parents[1] / "support" / "fakes.py"
CELLS = 9  # three images, three settings
PAUSE_SECONDS = 1.05  # of each cell: its row is stored as soon as it is there


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.effect_noise((64, 48 + number), 40).convert("RGB").save(folder / f"{number}.png")
    return folder


def command(images, results):
    codec = f"{FAKES}:Honest:pause={PAUSE_SECONDS}"
    return [
        *(sys.executable, "-m", "benchmark", "run", "--codecs", codec, "--dataset", str(images)),
        *("--metrics", "psnr", "--results", str(results), "--jobs", "2", "--json"),
    ]


def store_of(results):
    folders = list(results.iterdir()) if results.is_dir() else []
    return Store(folders[0]) if folders else None


def runs_still(group):
    """Whether a process of the group does anything; one that only waits to be reaped does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


def wait_until_gone(process):
    """The driver, and whatever it started: workers end when their pipe does."""
    process.wait(timeout=60)
    for _ in range(600):
        if not runs_still(process.pid):
            return 0
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    return 1


@pytest.mark.parametrize(
    "kills", [3, pytest.param(100, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_run_killed_at_random_moments_ends_with_the_table_of_an_unbroken_one(
    images, kills, tmp_path, record_property
):
    started = time.monotonic()
    whole = subprocess.run(command(images, tmp_path / "whole"), capture_output=True, check=False)
    assert whole.returncode == 0, whole.stderr
    longest = time.monotonic() - started
    expected = stable(store_of(tmp_path / "whole"))
    chance = random.Random(kills)
    losses = runs = killed = tables = 0
    results, done = tmp_path / "0", set()
    while killed < kills or done or not tables:
        runs += 1
        process = subprocess.Popen(
            command(images, results),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            # Once enough were killed the last table is let end.
            process.wait(timeout=chance.uniform(0, longest) if killed < kills else 120)
        except subprocess.TimeoutExpired:
            killed += 1
            everything = chance.random() < 0.5  # else the driver alone
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
        losses += wait_until_gone(process)
        store = store_of(results)
        lost, done = losses_of(store, done)
        losses += lost
        if process.returncode == 0:
            losses += stable(store) != expected
            tables += 1
            results, done = tmp_path / str(runs), set()
    tell(record_property, "kill -9 of a run at a random moment", runs, killed, losses)
    assert losses == 0
    assert killed >= kills
    assert tables >= 1


STEPS = """
import os, random, signal, sys
from benchmark.rows.store import Store
folder, last = sys.argv[1], int(sys.argv[2])
steps = 0
def count(event, arguments):
    global steps
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and folder in str(arguments[0]):
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
store = Store(__import__("pathlib").Path(folder))
sys.addaudithook(count)
row = {"status": "ok", "timing": False, "finished_utc": "2026-01-01"}
store.begin("second", {"arguments": []})
for number in (3, 4):
    stream = store.keep(b"stream %d" % number)
    store.append([{**row, "cell": f"c{number}", "run": "second", "stream_sha256": stream}])
    print(f"c{number}", flush=True)
store.compact()
print(steps)
"""


def test_a_kill_before_any_step_of_writing_loses_nothing_that_was_stored(tmp_path, record_property):
    """Every call that makes, renames or removes a file, one after another."""

    def run(number):
        store = Store(tmp_path / str(number))
        for at in (1, 2):
            stream = store.keep(b"stream %d" % at)
            old = {"cell": f"c{at}", "run": "first", "stream_sha256": stream, "status": "ok"}
            store.append([{**old, "timing": False, "finished_utc": "2025-01-01"}])
        done = subprocess.run(
            [sys.executable, "-c", STEPS, str(store.folder), str(number)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(FAKES.parent.parent)},
        )
        return store, done

    store, done = run(0)
    *said, steps = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert said == ["c3", "c4"]
    assert len(list(store.folder.glob("per_image/*.parquet"))) == 1
    losses, killed = 0, 0
    for number in range(1, int(steps) + 1):
        store, done = run(number)
        killed += done.returncode == -signal.SIGKILL
        losses += losses_of(store, {"c1", "c2", *done.stdout.split()})[0]
        store.compact()
        losses += losses_of(store, {"c1", "c2", *done.stdout.split()})[0]
    tell(record_property, "kill -9 before a step of a write", int(steps), killed, losses)
    assert (killed, losses) == (int(steps), 0)
    assert int(steps) >= 15
