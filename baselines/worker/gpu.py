"""A GPU of its own for each process of a run, as far as there are GPUs."""

import fcntl
import os
import tempfile
from functools import cache
from pathlib import Path

from benchmark.system.settings import chosen_device

VISIBLE = "CUDA_VISIBLE_DEVICES"


def own_gpu(needed: bool) -> dict[str, str]:
    """Return the environment variable that gives a program its GPU; none where there is no choice.

    Encoder and decoder of a process share it. With more processes than GPUs, all see all of them.
    """
    if not needed or chosen_device() != "cuda" or VISIBLE in os.environ:
        return {}
    chosen = _locked_gpu()
    return {} if chosen is None else {VISIBLE: str(chosen)}


@cache  # the lock is kept until this process ends
def _locked_gpu() -> int | None:
    for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*"))):
        path = Path(tempfile.gettempdir()) / f"rdrbench-gpu-{os.getuid()}-{number}"
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except OSError:
            os.close(lock)
    return None
