"""Codecs for a cluster: they leave traces, kill what they run in, or lack memory. One file alone.

It is sent to nodes as a user's file would be, so it imports no module of its folder.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np

from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import OutOfDeviceMemory, Unavailable

WARM_UP = (96, 128, 3)


def grandparent() -> int:
    """The worker of Ray: the process that codecs run in is its child's child."""
    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])


def leave_trace(pixels: Pixels, setting: Setting) -> None:
    """A file named by setting, sum of the pixels, Ray's worker and a random part, if asked for."""
    if "BENCH_TRACES" in os.environ:
        name = f"{setting.value:g}-{pixels.sum()}-{grandparent()}-{uuid4().hex}"
        (Path(os.environ["BENCH_TRACES"]) / name).touch()


def wait_at_the_gate(setting: Setting) -> None:
    """At the setting in the middle, for as long as the file that is named so is there."""
    gate = os.environ.get("BENCH_GATE")
    while gate and setting.value == 16 and Path(gate).exists():
        time.sleep(0.02)


class Traced:
    """Stores the upper bits; each call of encode leaves a trace and takes a while, if asked to."""

    name = "traced"
    sweep = (Setting("step", 64), Setting("step", 16), Setting("step", 1))
    device = "cpu"

    def describe(self) -> CodecInfo:
        info = CodecInfo("1", "encode", "MIT", "0" * 64, 1, "one call")
        return replace(info, device="cuda") if self.device == "cuda" else info

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if pixels.shape != WARM_UP:
            leave_trace(pixels, setting)
            wait_at_the_gate(setting)
            time.sleep(float(os.environ.get("BENCH_PAUSE", "0")))
        step = int(setting.value)
        return np.uint16([*pixels.shape[:2], step]).tobytes() + (pixels // step).tobytes()

    def decode(self, data: bytes) -> Pixels:
        height, width, step = map(int, np.frombuffer(data[:6], np.uint16))
        levels = np.frombuffer(data[6:], np.uint8).reshape(height, width, 3)
        return np.clip(levels.astype(int) * step + step // 2, 0, 255).astype(np.uint8)


class KillsItsWorker(Traced):
    """Ends Ray's worker at the setting in the middle, the first `times` times for an image."""

    def __init__(self, times: int = 1) -> None:
        self._times = times

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if pixels.shape != WARM_UP and setting.value == 16:
            begun = list(Path(os.environ["BENCH_TRACES"]).glob(f"16-{pixels.sum()}-*"))
            if len(begun) < self._times:
                leave_trace(pixels, setting)
                os.kill(grandparent(), signal.SIGKILL)
                time.sleep(60)
        return super().encode(pixels, setting)


class OnlyThere(Traced):
    """Runs where a variable is not set: with the driver, and on no node."""

    def __init__(self) -> None:
        if os.environ.get("BENCH_ON_A_NODE"):
            raise Unavailable("the program 'nonesuch' is not on the PATH: install it")


class Another(Traced):
    """Another program on each machine: here, in each process."""

    def describe(self) -> CodecInfo:
        digest = f"{os.getpid():064d}"
        return CodecInfo(f"build {os.getpid()}", "encode", "MIT", digest, 1, "one call")


class OnGpu(Traced):
    """Says that it runs on a GPU, and tells in its stream which devices it was allowed."""

    device = "cuda"

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return super().encode(pixels, setting) + os.environ["CUDA_VISIBLE_DEVICES"].encode()

    def decode(self, data: bytes) -> Pixels:
        height, width, _ = map(int, np.frombuffer(data[:6], np.uint16))
        return super().decode(data[: 6 + height * width * 3])


class OnCpu(OnGpu):
    device = "cpu"


class ShortOfMemory(Traced):
    """Whole, it cannot code more than 1200 pixels; `make_tiled` writes an empty tile behind."""

    tiled = False

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if not self.tiled and pixels.shape[0] * pixels.shape[1] > 1200:
            raise OutOfDeviceMemory("CUDA out of memory")
        return super().encode(pixels, setting) + b"tile" * self.tiled

    def decode(self, data: bytes) -> Pixels:
        return super().decode(data.removesuffix(b"tile"))

    def make_tiled(self) -> "ShortOfMemory":
        tiled_codec = type(self)()
        tiled_codec.tiled = True
        return tiled_codec
