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
from support.processes import SAFETY_NET_SECONDS, is_running, ran, running, until
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
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run below nohup
    photos, started = noise_images(tmp_path / "photos", [(24, 20)]), []
    mark = f"3{time.monotonic_ns() % 10**6:06}.{os.getpid()}"
    (tmp_path / "encode.sh").write_text(SCRIPT.format(mark=mark))

    def start(*options, **process):
        codec = f"command:encode=sh {tmp_path}/encode.sh {{in}} {{out}}:decode=cp {{in}} {{out}}"
        words = ["run", "--codecs", f"{codec}:values=1", "--dataset", str(photos), "--jobs", "1"]
        log = (tmp_path / "log").open("wb")
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **process}
        run = subprocess.Popen(
            [*(sys.executable, "-m", "benchmark", *words, "--metrics", "psnr"), *options,
             *("--results", str(tmp_path / "results"))],
            env={**os.environ, "TMPDIR": str(place)},
            **streams,
        )  # fmt: skip
        log.close()
        started.append(run)
        assert until(lambda: len(running(mark)) >= PROGRAMS, 120), (tmp_path / "log").read_text()
        return run, mark

    yield start
    for run in started:
        run.kill()
        run.wait()
    for process_id in running(mark):
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process_id, signal.SIGKILL)
    signal.signal(signal.SIGHUP, handler)


def worker_of(run, mark):
    """Return the worker: the nearest process above the programs that is not their launcher."""
    programs = set(running(mark))
    for process_id, _ in descendants(run.pid):
        children = {child for child, _ in descendants(process_id)}
        command = Path(f"/proc/{process_id}/cmdline").read_bytes()
        if programs & children and b"forkserver" in command and not leads_workers(process_id):
            return process_id
    raise AssertionError("no worker above the programs")


def leads_workers(process_id):
    """Return whether a process is the server that forks the workers, not one of them."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return any(b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


ENDS = {
    "worker killed": lambda run, mark: os.kill(worker_of(run, mark), signal.SIGKILL),
    "driver killed": lambda run, mark: run.kill(),
    "process group killed": lambda run, mark: os.killpg(run.pid, signal.SIGKILL),
    "driver hung up": lambda run, mark: run.send_signal(signal.SIGHUP),
    "process group hung up": lambda run, mark: os.killpg(run.pid, signal.SIGHUP),
    "driver told to end": lambda run, mark: run.send_signal(signal.SIGTERM),
}
CASES = [*((ending, ()) for ending in ENDS), ("process group killed", ("--timeout", "300"))]


def nothing_runs(processes, mark):
    return not running(mark) and not any(is_running(process_id) for process_id, _ in processes)


@pytest.mark.parametrize(("ending", "limit"), quick(CASES, ("driver killed", ())))
def test_no_program_outlives_its_run(ending, limit, hanging):
    """With a limit, each worker leads a process group of its own."""
    run, mark = hanging(*limit, start_new_session=True)
    processes = descendants(run.pid)
    ENDS[ending](run, mark)
    assert until(lambda: not running(mark), 60)
    code = run.wait(timeout=120)
    assert until(lambda: nothing_runs(processes, mark), 60)
    expected = {"worker killed": 1, "driver killed": -9, "process group killed": -9}
    assert code == expected.get(ending, 130)


@pytest.mark.slow
def test_a_closed_terminal_ends_the_run_and_its_programs(hanging, tmp_path):
    master, slave = pty.openpty()
    ends = {"stdin": slave, "stdout": slave, "stderr": slave}
    run, mark = hanging(**ends, preexec_fn=lambda: os.login_tty(os.dup(0)))
    os.close(slave)
    processes = descendants(run.pid)
    os.close(master)
    assert run.wait(timeout=120) == 130
    assert until(lambda: nothing_runs(processes, mark), 60)


@pytest.mark.slow
def test_a_run_that_ignores_a_closed_terminal_goes_on(hanging):
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
def test_temporary_folders_of_a_killed_run_and_no_others_are_swept(hanging, place, tmp_path):
    run, mark = hanging(start_new_session=True)
    processes = descendants(run.pid)
    run_folders = names_in(place)
    foreign_folders = ["rdrbench-of-another", "pymp-of-another"]  # without a lock
    for name in foreign_folders:
        (place / name).mkdir()
    (place / "rdrbench-link").symlink_to(tmp_path / "photos")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert until(lambda: nothing_runs(processes, mark), 60)
    assert names_in(place) >= run_folders, "a kill leaves what this test is about"
    following, _ = hanging(start_new_session=True)
    folders = names_in(place)
    assert not folders & run_folders
    assert {*foreign_folders, "rdrbench-link"} <= folders
    sweeping = "from benchmark.system.atomic import sweep; sweep()"
    environment = {**os.environ, "TMPDIR": str(place)}
    subprocess.run([sys.executable, "-c", sweeping], env=environment, check=True)
    assert names_in(place) == folders  # the run that works keeps its own
    following.terminate()
    following.wait(timeout=120)
    assert names_in(place) == {*foreign_folders, "rdrbench-link"}
    assert len(run_folders) >= 3, "the codec's, the program's, and that of multiprocessing"
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
    result = ran(sys.executable, "-c", script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_process_on_a_node_ends_with_its_raylet():
    worker = (
        "import os, time; from benchmark.measure.node import end_with_raylet\n"
        "end_with_raylet(os.getppid()); print(os.getpid(), flush=True); time.sleep(400)"
    )
    raylet = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}]).wait()"
    command = [sys.executable, "-c", raylet]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process_id = int(process.stdout.readline())
        assert is_running(process_id)
        process.kill()
        assert until(lambda: not is_running(process_id), SAFETY_NET_SECONDS)
