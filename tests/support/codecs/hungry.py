"""Codecs that run out of memory for real: tests/support/codecs/hungry.py:Name."""

import multiprocessing
import os
import resource
from pathlib import Path

import numpy as np

from benchmark.codec import Pixels, Setting
from support.codecs.fakes import Honest

LARGE_SAMPLES = 1_000_000


class LeavesLittle(Honest):
    """Limits the address space of its worker while an image of a megapixel or more is scored.

    Where $ROOM_BYTES says how many more bytes it may map then.
    """

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        limit_memory(None)
        return super().encode(pixels, setting)

    def decode(self, data: bytes) -> Pixels:
        pixels = super().decode(data)
        room = os.environ.get("ROOM_BYTES")
        if room and pixels.size >= 3 * LARGE_SAMPLES:
            limit_memory(int(room))
        return pixels


class TooLargeToLoad(Honest):
    """Describes itself to the driver, and does not fit into a worker."""

    def __init__(self) -> None:
        super().__init__()
        if multiprocessing.parent_process() is not None:
            np.ones(1 << 50, np.uint8)


class Torches(Honest):
    """Runs out of the machine's memory inside torch at the setting in the middle."""

    def decode(self, data: bytes) -> Pixels:
        import torch

        if np.frombuffer(data[:6], np.uint16)[2] == 16:
            torch.empty(1 << 50, dtype=torch.uint8)
        return super().decode(data)


def limit_memory(room_bytes: int | None) -> None:
    """Let this process map so many bytes more than it has; None lifts the limit."""
    limit = resource.RLIM_INFINITY
    if room_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + room_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
