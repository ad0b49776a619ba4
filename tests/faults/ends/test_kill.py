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

from benchmark.rows.store import Store
from support.faults.ledger import tell
from support.files.noise import effect_noise
from support.processes import ran
from support.rows.stable_rows import losses_of, stable

FAKES = Path(__file__).parents[2] / "support" / "codecs" / "fakes.py"
PAUSE_SECONDS = 1.05  # of each cell: its row is stored as soon as it is there


@pytest.fixture
def images(tmp_path, kills):
    """Photographs, each in three settings: two for a few kills, three for many."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2 if kills < 10 else 3):
        effect_noise((64, 48 + number), 40).convert("RGB").save(folder / f"{number}.png")
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
    """Return whether a process of the group runs; one that waits to be reaped does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


def wait_until_gone(process):
    """Wait for the driver and its workers; return 1 where one had to be killed, else 0."""
    process.wait(timeout=900)
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
    whole = ran(*command(images, tmp_path / "whole"))
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
            process.wait(timeout=chance.uniform(0, longest) if killed < kills else 900)
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
import os, signal, sys
from pathlib import Path
from benchmark.rows.store import Store

OF = {
    "codec": "jpeg", "variant": "", "setting_name": "quality", "setting_value": 30.0,
    "image": "a.png", "width_px": 8, "height_px": 8, "num_bytes": 8, "bpp": 1.0,
}

def write(folder, last):
    "Store two rows of an earlier run, then two more, killed before step `last` of the latter."
    store = Store(folder)
    for at in (1, 2):
        stream = store.keep(b"stream %d" % at)
        old = {**OF, "cell": f"c{at}", "run": "first", "stream_sha256": stream, "status": "ok"}
        store.append([{**old, "timing": False, "finished_utc": "2025-01-01"}])
    steps = 0
    def count(event, arguments):
        nonlocal steps
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(folder) in str(
            arguments[0]
        ):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    row = {**OF, "status": "ok", "timing": False, "finished_utc": "2026-01-01"}
    store.begin("second", {"arguments": []})
    for number in (3, 4):
        stream = store.keep(b"stream %d" % number)
        store.append([{**row, "cell": f"c{number}", "run": "second", "stream_sha256": stream}])
        os.write(1, b"%d c%d\\n" % (last, number))
    store.compact()
    os.write(1, b"%d steps %d\\n" % (last, steps))

for last in map(int, sys.argv[2:]):
    process = os.fork()
    if not process:
        write(Path(sys.argv[1], str(last)), last)
        os._exit(0)
    os.write(1, b"%d ended %d\\n" % (last, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))
"""


def killed_before(folder, numbers):
    """Write a store per number, killed before that step; return the words it said, by number."""
    done = ran(sys.executable, "-c", STEPS, folder, *numbers, PYTHONPATH=FAKES.parents[2])
    assert done.returncode == 0, done.stderr
    said = {number: [] for number in numbers}
    for line in done.stdout.splitlines():
        number, *words = line.split()
        said[int(number)].append(" ".join(words))
    return said


def test_a_kill_before_any_step_of_writing_loses_nothing_that_was_stored(tmp_path, record_property):
    """Kill before each call that makes, renames or removes a file."""
    *stored, steps, ended = killed_before(tmp_path, [0])[0]
    assert (stored, ended) == (["c3", "c4"], "ended 0")
    assert len(list((tmp_path / "0").glob("per_image/*.parquet"))) == 1
    count = int(steps.removeprefix("steps "))
    losses, killed = 0, 0
    for number, (*stored, ended) in killed_before(tmp_path, range(1, count + 1)).items():
        store = Store(tmp_path / str(number))
        killed += ended == f"ended {-signal.SIGKILL}"
        losses += losses_of(store, {"c1", "c2", *stored})[0]
        store.compact()
        losses += losses_of(store, {"c1", "c2", *stored})[0]
    tell(record_property, "kill -9 before a step of a write", count, killed, losses)
    assert (killed, losses) == (count, 0)
    assert count >= 15
