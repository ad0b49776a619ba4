"""Worker processes: forked by a server, limited in time, and ended with their children."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from benchmark.errors import BenchError, UsageError
from benchmark.measure.cells import Failed, Stage
from benchmark.registry import FEATURE_SPACES, METRICS
from benchmark.system.atomic import claim_folder, sweep
from benchmark.system.processes import (
    block_terminal_signals,
    describe_exit,
    end_tree,
    require_posix,
    work_for,
)
from benchmark.system.settings import ONE_THREAD, worker_environment

if sys.platform == "win32":
    from multiprocessing.context import SpawnContext as WorkerContext
else:
    from multiprocessing.context import ForkServerContext as WorkerContext

SAFE_PATH = "PYTHONSAFEPATH"
TICK_SECONDS = 1.0
GRACE_SECONDS = 5.0  # time that a process has to end before it is killed
ENDING_SECONDS = 2.0  # the same for a process that is overdue
# Minimum limit of loading: after a timeout, a new worker imports libraries and reads weights again;
# the next cell must not fail because of a limit that is meant for coding.
LOADING_SECONDS = 60.0


def preloaded_modules() -> list[str]:
    """Return the modules that the server of workers imports."""
    metrics = (*METRICS.values(), *FEATURE_SPACES.values())
    targets = dict.fromkeys(target.partition(":")[0] for target in metrics)
    return ["benchmark.datasets.image", "benchmark.measure.workbench", *targets]


@cache
def worker_context() -> WorkerContext:
    """Return the context of workers, which a server with all imported modules forks.

    Raises `UsageError` if the path in $TMPDIR is too long, `Unavailable` on Windows.
    """
    require_posix()
    context = WorkerContext()
    context.set_forkserver_preload(preloaded_modules())
    claim_folder(Path(util.get_temp_dir()))  # at once: if killed, this process cannot remove it
    with _server_environment():
        resource_tracker.ensure_running()  # the tracker unblocks Ctrl-C when it starts
        with block_terminal_signals():  # the server ends with this process, not with the terminal
            start_server()
    sweep()
    return context


@contextmanager
def _server_environment() -> Iterator[None]:
    """Let new interpreters use one thread, and import nothing from the current folder."""
    variables = {**ONE_THREAD, SAFE_PATH: "1"}  # the folder may contain a random.py
    previous_values = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in previous_values.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def start_server() -> None:
    """Start the process from which workers are forked."""
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "too long" not in str(error):
            raise
        raise UsageError(
            f"the folder for temporary files, {util.get_temp_dir()}, has too long a path for the "
            "sockets of workers: set $TMPDIR to a shorter one"
        ) from error


class Begun(NamedTuple):
    """Message of a worker that begins a stage."""

    stage: Stage


class WorkerLost(Exception):  # noqa: N818 - reads as what happened
    """A process ended during its task; another process has replaced it."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed)
        self.failed = failed


class WorkerProcess:
    """Process of `worker_context` that replies to messages in order, with its pipe."""

    def __init__(
        self,
        target: Callable[..., None],
        *arguments: object,
        limit_seconds: float | None = None,
        activity: str = "worked on this cell",
        **environment: str,
    ) -> None:
        """Start `target(connection, *arguments)` with this context's settings and variables.

        The process ends with its parent, or at SIGTERM. If stages have a limit, `StageDeadline`, it
        leads a process group. Raises `BenchError` if the server was killed.
        """
        self._work = worker_environment(**environment), target, arguments
        self._activity = activity  # completes "the process that ..."
        self.deadline = StageDeadline(limit_seconds)
        self._start_process()

    def _start_process(self) -> None:
        self.deadline.start(None)
        context = worker_context()
        self.connection, worker_connection = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_work, args=(worker_connection, *self._work), daemon=True
        )
        # Hide the caller's script, which a new process would run again.
        script_names: dict[str, Any] = vars(sys.modules["__main__"])
        hidden_names: dict[str, Any] = {
            name: script_names[name] for name in ("__file__", "__spec__") if name in script_names
        }
        script_names.pop("__file__", None)
        script_names["__spec__"] = None
        try:
            with _server_environment(), block_terminal_signals():  # this restarts a killed server
                self._process.start()
        except (EOFError, ConnectionError) as error:
            raise BenchError(
                "the server that starts workers was killed; finished cells are kept: run the "
                "same command again"
            ) from error
        finally:
            script_names.update(hidden_names)
        worker_connection.close()

    def send(self, message: object) -> None:
        """Send a message; `collect` detects a process that has ended."""
        with suppress(OSError):
            self.connection.send(message)

    def collect(self) -> Any:
        """Return a reply or None; raise `WorkerLost` if the process ended or is overdue."""
        try:
            if self.connection.poll():
                reply = self.connection.recv()
                self.deadline.start(reply.stage if isinstance(reply, Begun) else None)
                return None if isinstance(reply, Begun) else reply
            if self.deadline.left_seconds() != 0:
                return None
        except (EOFError, OSError):
            reason = f"the process that {self._activity} {self.wait_for_end()}"
            failed = Failed("worker", reason)
        else:
            assert self._process.pid is not None
            failed = self.deadline.failure()
            end_tree(self._process.pid, self._has_ended, ENDING_SECONDS)
            self.wait_for_end()
        self._start_process()
        raise WorkerLost(failed)

    def reply(self) -> Any:
        """Wait for a reply; raise `WorkerLost` like `collect`."""
        while (reply := self.collect()) is None:
            self.connection.poll(self.deadline.left_seconds())
        return reply

    def wait_for_end(self) -> str:
        """Wait for the end; return how the process ended, as a predicate."""
        self._process.join()
        self.connection.close()
        return describe_exit(self._process.exitcode or 0)

    def _has_ended(self, seconds: float) -> bool:
        self._process.join(timeout=seconds)
        return not self._process.is_alive()

    def end(self, busy: bool) -> None:
        """End the process: wait if it is idle, terminate it if busy, kill it if that fails."""
        self.connection.close()
        if busy:
            self._process.terminate()
        if not self._has_ended(GRACE_SECONDS):
            self._process.kill()
            self._process.join()


def run_in_processes(
    target: Callable[..., None], tasks: Sequence[tuple[object, ...]], jobs: int, activity: str
) -> Iterator[Any]:
    """Run `target(connection, *task)` in `jobs` processes; yield replies, or `Failed`."""
    waiting_tasks = list(tasks)
    busy_processes: list[WorkerProcess] = []
    try:
        while waiting_tasks or busy_processes:
            while waiting_tasks and len(busy_processes) < jobs:
                busy_processes.append(
                    WorkerProcess(target, *waiting_tasks.pop(0), activity=activity)
                )
            wait([process.connection for process in busy_processes], timeout=TICK_SECONDS)
            for process in list(busy_processes):
                try:
                    reply = process.collect()
                except WorkerLost as lost:
                    reply = lost.failed
                if reply is not None:
                    process.end(busy=False)
                    busy_processes.remove(process)
                    yield reply
    finally:
        for process in busy_processes:
            process.end(busy=True)


def _work(
    connection: Connection,
    environment: dict[str, str],
    target: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(2, 1)  # output of codecs and their children is not a result
    work_for(connection.fileno(), lambda: target(connection, *arguments))


class StageDeadline:
    """Deadline of a worker's stage, from `--timeout`; None means no limit."""

    def __init__(self, limit_seconds: float | None) -> None:
        self._limit = limit_seconds
        self._stage: Stage | None = None
        self._start_seconds = self._seconds = 0.0

    def start(self, stage: Stage | None) -> None:
        """Start the clock of a stage; None between tasks."""
        self._stage, self._start_seconds = stage, monotonic()
        min_seconds = LOADING_SECONDS if stage == "load" else 0.0
        self._seconds = max(self._limit or 0.0, min_seconds)

    def left_seconds(self) -> float | None:
        """Return the remaining seconds of the stage, 0 if overdue, None without a limit."""
        if self._limit is None or self._stage is None:
            return None
        return max(0.0, self._start_seconds + self._seconds - monotonic())

    def failure(self) -> Failed:
        """Return the failure of a task whose stage is overdue."""
        assert self._stage is not None, "nothing is overdue between tasks"
        return Failed(self._stage, f"no result after {self._seconds:g} s (--timeout)")
