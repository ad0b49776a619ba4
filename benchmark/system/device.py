"""Which torch device a run uses: what was asked for, or a GPU where there is one."""

import os
from pathlib import Path
from typing import Literal

from benchmark.errors import Unavailable, UsageError

Device = Literal["cpu", "cuda"]
VARIABLE = "BENCH_DEVICE"

GPU_MARKS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


def use_device(asked: str) -> Device:
    """`auto`, `cpu` or `cuda` to a device, told to codecs here and in workers by `$BENCH_DEVICE`.

    torch is imported only where the system shows a GPU.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {asked!r} is none of auto, cpu, cuda")
    device = _usable(asked)
    os.environ[VARIABLE] = device
    return device


def _usable(asked: str) -> Device:
    if asked == "cpu" or not any(Path(mark).exists() for mark in GPU_MARKS):
        if asked == "cuda":
            raise Unavailable("--device cuda: this machine shows no GPU; leave the option out")
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise Unavailable("--device cuda: torch cannot use the GPU of this machine")
    return "cpu"
