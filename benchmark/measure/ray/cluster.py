"""Connect to a Ray cluster by its address, list its nodes, and watch whether its head is there."""

import atexit
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from multiprocessing.connection import Client
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar, cast

from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.system.settings import settings

T = TypeVar("T")
REMEDY = "start one with `ray start --head` (docs/cluster.md), or leave out --engine ray"
# What the user set for codecs, metrics and their weights.
PREFIX, OTHERS = "BENCH_", ("VTM_DIR", "TORCH_HOME", "XDG_CACHE_HOME")
LOST_SECONDS = 5.0  # between the first question to the head without an answer and the last
KNOCK_SECONDS = 2.0  # that an answer may take
RETRY_SECONDS = 1.0  # after a question without an answer; Ray itself waits a minute, then exits


class Node(NamedTuple):
    """A machine of the cluster, with the resources that `ray start` allotted."""

    address: str
    cpus: float
    gpus: float


class Cluster(NamedTuple):
    """The machines that were there when this process connected; more may come, and these go."""

    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> int:
        """Workers for codecs on the CPU that fit."""
        return int(sum(node.cpus for node in self.nodes))

    def gpu_workers(self, gpus_per_worker: float) -> int:
        """Return how many workers of GPU codecs fit; a worker never spans nodes or parts of GPUs.

        >>> Cluster((Node("a", 8, 2), Node("b", 8, 1))).gpu_workers(0.4)
        6
        """
        if gpus_per_worker >= 1:
            return sum(int(node.gpus / gpus_per_worker) for node in self.nodes)
        return sum(int(node.gpus) * int(1 / gpus_per_worker) for node in self.nodes)


def connect(address: str) -> Cluster:
    """Join a running cluster; `auto`: that of this machine. Raises `Unavailable`, `UsageError`."""
    ray = import_ray()
    _knock(address)
    # Ray takes SIGTERM, which would hide an interruption.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, AssertionError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"no Ray cluster answers at {address} ({reason}): {REMEDY}; a cluster that asks "
            "for a token needs RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here too"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    having = [
        (node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]
    return Cluster(tuple(Node(at, has.get("CPU", 0), has.get("GPU", 0)) for at, has in having))


@contextmanager
def session() -> Iterator[None]:
    """Work on the cluster that was joined, with Ray's notes on standard error; then leave it."""
    ray = import_ray()
    leave = partial(while_answered, Head(ray.get_runtime_context().gcs_address), ray.shutdown)
    with redirect_stdout(sys.stderr):
        try:
            yield
        except HeadLost:
            leave = partial(atexit.register, _end_process)
            raise
        finally:
            leave()


def _end_process() -> None:
    """End this process without Ray's library, which waits for a lost head or crashes at its end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(1)


def import_ray() -> Any:
    """Import Ray without its telemetry; raise `Unavailable` if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs the Python package ray: "
            "`pip install -r requirements-ray.lock` (docs/cluster.md)"
        ) from error
    return ray


def environment() -> dict[str, str]:
    """Return the environment variables that codecs and metrics read, with this run's settings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) or name in OTHERS
    }
    return inherited | settings().variables()


def _knock(address: str) -> None:
    """Raise `Unavailable` if nothing listens at the address: Ray itself would wait for minutes."""
    if address == "auto":  # that of the last `ray start` of this machine
        file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
        recorded = file.read_text().strip() if file.is_file() else ""
        if not (address := os.environ.get("RAY_ADDRESS") or recorded):
            return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"--address {address!r} is neither auto nor HOST:PORT")
    try:
        Client((host, int(port))).close()
    except OSError as error:
        what = f"no Ray cluster answers at {address} ({error.strerror or error})"
        raise Unavailable(f"{what}: {REMEDY}") from error


class Head:
    """The head of the cluster at an address, HOST:PORT, asked every `every_seconds`."""

    def __init__(self, address: str, every_seconds: float = RETRY_SECONDS) -> None:
        self.address, self._every = address, every_seconds
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._asked = monotonic()
        self._silent_since: float | None = None

    def is_lost(self) -> bool:
        """Return whether it has been silent for `LOST_SECONDS`; quick unless it is time to ask."""
        every = self._every if self._silent_since is None else RETRY_SECONDS
        if (now := monotonic()) - self._asked >= every:
            self._asked = now
            try:
                socket.create_connection(self._place, KNOCK_SECONDS).close()
                self._silent_since = None
            except OSError:
                self._silent_since = self._silent_since or now
        return self._silent_since is not None and self._asked - self._silent_since >= LOST_SECONDS


class HeadLost(BenchError):  # noqa: N818 - reads as what happened
    """The head of the cluster at an address has gone; what it says needs no traceback."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"the head of the Ray cluster at {address} is lost: start the cluster again, and give "
            "the same command; finished cells are kept"
        )


def while_answered(head: Head, act: Callable[[], T]) -> T:
    """Return what `act` returns; raise `HeadLost` when the head is, for which it may wait.

    A call of Ray that needs a lost head ends after a minute by itself, or never, and nothing
    interrupts it: it is left alone in its thread.
    """
    replies: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def reply() -> None:
        try:
            replies.put((act(), None))
        except BaseException as error:
            replies.put((None, error))

    Thread(target=reply, daemon=True).start()
    while not head.is_lost():
        with suppress(Empty):
            result, error = replies.get(timeout=RETRY_SECONDS)
            if error is not None:
                raise error
            return cast(T, result)
    raise HeadLost(head.address)


def end_with_head(head: Head) -> None:
    """End this process when the head is lost: nobody would fetch what it still measures."""

    def watch() -> None:
        while not head.is_lost():
            sleep(RETRY_SECONDS)
        os.kill(os.getpid(), 9)  # SIGKILL, whatever its other threads are at

    Thread(target=watch, daemon=True).start()
