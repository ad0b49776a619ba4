"""The server that forks workers off itself, with all loaded that they need."""

import os
from functools import cache
from multiprocessing import forkserver, get_context, resource_tracker, util
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmark.errors import BenchError, UsageError
from benchmark.registry import FEATURE_SPACES, METRICS
from benchmark.system.processes.hang_up import terminal_blocked
from benchmark.system.processes.private_folder import mark_as_own, sweep

# Two oversubscribed cores make some metrics 27 times slower, so every numeric pool gets one thread.
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)

PRELOADED = [
    "benchmark.cli",
    "benchmark.datasets.image",
    "benchmark.measure.workbench",
    *{module.partition(":")[0] for module in (*METRICS.values(), *FEATURE_SPACES.values())},
]


def pin_pools() -> None:
    """Have every numeric library of this process and its children use one thread."""
    for variable in POOLS:
        os.environ[variable] = "1"


@cache
def worker_context() -> ForkServerContext:
    """Return the context that starts workers; the first call begins to load what they need.

    A server process imports that once and forks workers off itself: it has one thread, so no lock
    is copied while another thread holds it. It keeps the environment of the first call; `work`
    brings it up to date except for the numeric pools, which are read when numpy is imported. Called
    early, it loads while this process still plans. Temporary folders of processes that were killed
    earlier are removed. Raises `UsageError` where the path of temporary folders is too long.
    """
    pin_pools()
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    mark_as_own(Path(util.get_temp_dir()))  # at once: a kill before it leaves the folder for ever
    resource_tracker.ensure_running()  # unblocks Ctrl-C where it has to begin
    with terminal_blocked():  # the server ends with this process, not with the terminal
        _start_server()
    sweep()
    return context


def start_worker(process: BaseProcess) -> None:
    """Start a worker of `worker_context`.

    Raises `BenchError` where the server was killed meanwhile: whether it has begun the worker is
    unknown then.
    """
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise BenchError(
            "the server that starts workers was killed; what was finished is kept, so run the same "
            "command again"
        ) from error


def _start_server() -> None:
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "too long" not in str(error):
            raise
        raise UsageError(
            f"the folder for temporary files, {util.get_temp_dir()}, has too long a path for the "
            "sockets of workers: name a shorter one by $TMPDIR"
        ) from error
