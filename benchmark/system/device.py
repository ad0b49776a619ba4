"""The torch device of a run: chosen once, and passed to codecs and workers by `$BENCH_DEVICE`."""

import os
from pathlib import Path
from typing import Literal

from benchmark.errors import Unavailable, UsageError

Device = Literal["cpu", "cuda"]
VARIABLE = "BENCH_DEVICE"

GPU_MARKS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


def use_device(asked: str, has_gpu: bool | None = None) -> Device:
    """Choose `auto`, `cpu` or `cuda`, and set it for codecs here and in workers.

    has_gpu: whether the machines that code have a GPU; default: whether torch can use one here.
    torch is imported only if the system shows a GPU. Raises `UsageError` for another text,
    `Unavailable` for `cuda` without a usable GPU.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {asked!r} is none of auto, cpu, cuda")
    if has_gpu is None:
        device = _usable(asked)
    elif asked == "cuda" and not has_gpu:
        raise Unavailable("--device cuda: no node of the cluster has a GPU; leave the option out")
    else:
        device = "cuda" if has_gpu and asked != "cpu" else "cpu"
    os.environ[VARIABLE] = device
    return device


def chosen_device() -> Device:
    """Return the device that `use_device` set, in this process or the one that started it."""
    return "cuda" if os.environ.get(VARIABLE) == "cuda" else "cpu"


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
