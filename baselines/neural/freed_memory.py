"""Memory that tensors have freed, kept by the process for the next ones."""

import ctypes
import os
from functools import cache

# Parameters of glibc's `mallopt`, and the variables by which a user sets them.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
MOST_KEPT_BYTES = 512 << 20
LARGEST_KEPT_BYTES = 128 << 20


@cache
def keep_freed_memory() -> None:
    """Have this process keep memory that tensors have freed, up to 512 MiB, for the next ones.

    By default glibc returns every tensor of more than 32 MiB to the system, and smaller ones where
    enough of them lie side by side. The system's pages for the next layer's, zeroed one by one,
    take a sixth of the time of a large network, or of a training step in float32. Settings of the
    user's own win; without glibc, nothing happens.
    """
    if any(name in os.environ for name in OWN_SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    mallopt(TRIM_THRESHOLD, MOST_KEPT_BYTES)
