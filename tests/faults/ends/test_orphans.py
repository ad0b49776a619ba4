"""Whatever ends a run, no program of it runs on, and what its processes left is swept up."""

import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmark.rows.store import Store
from benchmark.system.processes import descendants
from support.files.noise import noise_images
from support.processes import is_running, ran, running, until
from support.quick import quick

# An encoder that hangs, with a child in its process group and one that shares nothing with it:
# no environment, no session, no parent.
SCRIPT = "env -i setsid sleep {mark} &\nsleep {mark} &\nexec sleep {mark}\n"
PROGRAMS = 3


@pytest.fixture
def place():
    """A folder for temporary files whose path is short: that of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def hanging(tmp_path, place):
    """Start runs whose encoder hangs; return one once its programs run, and their mark."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run below nohup
    photos, started = noise_images(tmp_path / "photos", [(24, 20)]), []
    mark = f"3{time.monotonic_ns() % 10**6:06}.{os.getpid()}"
    (tmp_path / "encode.sh").write_text(SCRIPT.format(mark=mark))

    def start(*more, **process):
        codec = f"command:encode=sh {tmp_path}/encode.sh {{in}} {{out}}:decode=cp {{in}} {{out}}"
        words = ["run", "--codecs", f"{codec}:values=1", "--dataset", str(photos), "--jobs", "1"]
        log = (tmp_path / "log").open("wb")
        given = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **process}
        run = subprocess.Popen(
            [*(sys.executable, "-m", "benchmark", *words, "--metrics", "psnr"), *more,
             *("--results", str(tmp_path / "results"))],
            env={**os.environ, "TMPDIR": str(place)},
            **given,
        )  # fmt: skip
        log.close()
        started.append(run)
        assert until(lambda: len(running(mark)) >= PROGRAMS, 120), (tmp_path / "log").read_text()
        return run, mark

    yield start
    for run in started:
        run.kill()
        run.wait()
    for left in running(mark):
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(left, signal.SIGKILL)
    signal.signal(signal.SIGHUP, before)


def worker_of(run, mark):
    """Return the worker: the nearest process above the programs that is not their launcher."""
    programs = set(running(mark))
    for one, _ in descendants(run.pid):
        below = {child for child, _ in descendants(one)}
        command = Path(f"/proc/{one}/cmdline").read_bytes()
        if programs & below and b"forkserver" in command and not leads_workers(one):
            return one
    raise AssertionError("no worker above the programs")


def leads_workers(process_id):
    """Return whether a process is the server that forks the workers, not one of them."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return any(b"forkserver" in Path(f"/proc/{one}/cmdline").read_bytes() for one in children)


ENDS = {
    "worker killed": lambda run, mark: os.kill(worker_of(run, mark), signal.SIGKILL),
    "driver killed": lambda run, mark: run.kill(),
    "process group killed": lambda run, mark: os.killpg(run.pid, signal.SIGKILL),
    "driver hung up": lambda run, mark: run.send_signal(signal.SIGHUP),
    "process group hung up": lambda run, mark: os.killpg(run.pid, signal.SIGHUP),
    "driver told to end": lambda run, mark: run.send_signal(signal.SIGTERM),
}


def nothing_runs(below, mark):
    """Return whether neither programs nor any process of the run is left."""
    return not running(mark) and not any(is_running(one) for one, _ in below)


@pytest.mark.parametrize(
    ("how", "limit"),
    quick(
        [*((how, ()) for how in ENDS), ("process group killed", ("--timeout", "300"))],
        ("driver killed", ()),
    ),
)
def test_no_program_outlives_its_run(how, limit, hanging):
    """With a limit, each worker leads a process group of its own."""
    run, mark = hanging(*limit, start_new_session=True)
    below = descendants(run.pid)
    ENDS[how](run, mark)
    assert until(lambda: not running(mark), 60)
    code = run.wait(timeout=120)
    assert until(lambda: nothing_runs(below, mark), 60)
    expected = {"worker killed": 1, "driver killed": -9, "process group killed": -9}
    assert code == expected.get(how, 130)


@pytest.mark.slow
def test_a_closed_terminal_ends_the_run_and_its_programs(hanging, tmp_path):
    master, slave = pty.openpty()
    ends = {"stdin": slave, "stdout": slave, "stderr": slave}
    run, mark = hanging(**ends, preexec_fn=lambda: os.login_tty(os.dup(0)))
    os.close(slave)
    below = descendants(run.pid)
    os.close(master)
    assert run.wait(timeout=120) == 130
    assert until(lambda: nothing_runs(below, mark), 60)


@pytest.mark.slow
def test_a_run_that_ignores_a_closed_terminal_goes_on(hanging):
    """As below `nohup`."""
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    run, mark = hanging(start_new_session=True, preexec_fn=ignoring)
    os.killpg(run.pid, signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(timeout=3)
    assert len(running(mark)) == PROGRAMS


def names_in(folder):
    """Names of the folder's entries but for the machine's speed, which is kept until it boots."""
    return {path.name for path in folder.iterdir() if not path.name.startswith("rdrbench-speed")}


@pytest.mark.slow
def test_temporary_folders_of_a_killed_run_are_swept_by_the_next_and_no_others(
    hanging, place, tmp_path
):
    run, mark = hanging(start_new_session=True)
    below = descendants(run.pid)
    used = names_in(place)
    others = ["rdrbench-of-another", "pymp-of-another"]  # without a lock
    for name in others:
        (place / name).mkdir()
    (place / "rdrbench-link").symlink_to(tmp_path / "photos")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert until(lambda: nothing_runs(below, mark), 60)
    assert names_in(place) >= used, "a kill leaves what this test is about"
    following, _ = hanging(start_new_session=True)
    there = names_in(place)
    assert not there & used
    assert {*others, "rdrbench-link"} <= there
    sweeping = "from benchmark.system.atomic import sweep; sweep()"
    environment = {**os.environ, "TMPDIR": str(place)}
    subprocess.run([sys.executable, "-c", sweeping], env=environment, check=True)
    assert names_in(place) == there  # the run that works keeps its own
    following.terminate()
    following.wait(timeout=120)
    assert names_in(place) == {*others, "rdrbench-link"}
    assert len(used) >= 3, "the codec's, the program's, and that of multiprocessing"
    assert Store(next((tmp_path / "results").iterdir())).table().height == 0


def test_a_worker_whose_driver_is_gone_before_it_has_begun_ends_without_a_word():
    """SIGTERM may come between the thread that waits for the end and the work itself."""
    script = """
import os, sys
from threading import Thread
from benchmark.system import processes

class Sooner(Thread):
    def start(self):
        super().start()
        os.kill(os.getpid(), 15)

processes.Thread = Sooner
reading, _ = os.pipe()
processes.work_for(reading, lambda: print("worked"))
"""
    done = ran(sys.executable, "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
