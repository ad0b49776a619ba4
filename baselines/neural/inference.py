"""Settings of torch under which encoders and decoders run."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

# Parameters of glibc's `mallopt`, and the variables by which a user sets them.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
MOST_KEPT_BYTES = 512 << 20
LARGEST_KEPT_BYTES = 128 << 20


@contextmanager
def inference() -> Iterator[None]:
    """Switch gradients off; on a GPU, use full float32 and the same kernels in every call.

    The process keeps freed memory from now on (`keep_freed_memory`).
    """
    keep_freed_memory()
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        yield


@cache
def keep_freed_memory() -> None:
    """Have this process keep memory that tensors have freed, up to 512 MiB, for the next ones.

    By default glibc returns every tensor of more than 32 MiB to the system. The system's pages for
    the next layer's, zeroed one by one, take a sixth of the time of a large network. Settings of
    the user's own win; without glibc, nothing happens.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    mallopt(TRIM_THRESHOLD, MOST_KEPT_BYTES)
