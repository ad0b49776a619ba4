"""Codecs that misbehave in one way each, given to `bench` as tests/support/codecs/fakes.py:Name."""

import builtins
import fcntl
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.codec import CodecInfo, Declared, Pixels, Setting, device_kind
from benchmark.errors import Unavailable
from benchmark.system.settings import chosen_device


class Honest:
    """Stores every `step`-th level: smaller and worse as the step grows."""

    name = "honest"
    sweep = (Setting("step", 64), Setting("step", 16), Setting("step", 1))

    def __init__(self, pause: float = 0.0, caveat: str = "") -> None:
        self._pause, self._caveat = pause, caveat

    def describe(self) -> CodecInfo:
        return CodecInfo("1", "encode({step})", "MIT", "0" * 64, 1, "one call", caveat=self._caveat)

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        time.sleep(self._pause)
        step = int(setting.value)
        head = np.array([*pixels.shape[:2], step], np.uint16).tobytes()
        return head + (pixels // step).astype(np.uint8).tobytes()

    def decode(self, data: bytes) -> Pixels:
        height, width, step = np.frombuffer(data[:6], np.uint16)
        levels = np.frombuffer(data[6:], np.uint8).reshape(height, width, 3).astype(int)
        return np.clip(levels * int(step) + int(step) // 2, 0, 255).astype(np.uint8)


class CrashesOnEncode(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        raise RuntimeError("no rate control\nfor this image")


class CrashesOnDecode(Honest):
    def decode(self, data: bytes) -> Pixels:
        raise ValueError("bad stream")


class Shrinks(Honest):
    def decode(self, data: bytes) -> Pixels:
        return super().decode(data)[:-1]


class ReturnsFloats(Honest):
    def decode(self, data: bytes) -> Pixels:
        return super().decode(data).astype(float)  # type: ignore[return-value]


class ReturnsNothing(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return b""


class ReturnsText(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return "stream"  # type: ignore[return-value]


class Opaque(np.ndarray):
    """An array that fails wherever it is asked for anything."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"{name} of a codec's own object was asked for")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("a codec's own object was compared")

    __hash__ = None  # type: ignore[assignment]


class ReturnsOpaque(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return np.frombuffer(super().encode(pixels, setting), np.uint8).view(Opaque)  # type: ignore


class OwnBytes(bytes):
    def __len__(self) -> int:
        raise RuntimeError("asked for its length")


class ReturnsOwnBytes(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return OwnBytes(super().encode(pixels, setting))


class CountsBadly(Honest):
    def container_bytes(self, data: bytes) -> str:
        return "a few"


class Exits(Honest):
    """Ends the program as it encodes at one step, and interrupts it as it decodes at another."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return sys.exit(0) if setting.value == 16 else super().encode(pixels, setting)

    def decode(self, data: bytes) -> Pixels:
        if data[4] == 1:
            raise KeyboardInterrupt
        return super().decode(data)


class Prints(Honest):
    """Prints as it is made and as it encodes, as does a program that it starts."""

    def __init__(self) -> None:
        super().__init__()
        sys.stdout.write("made\n")

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        subprocess.run(["echo", "a child"], check=True)
        sys.stdout.write("encoding\n")
        return super().encode(pixels, setting)


class Rolls(Honest):
    def decode(self, data: bytes) -> Pixels:
        pixels = super().decode(data)
        pixels[0, 0] = np.frombuffer(os.urandom(3), np.uint8)
        return pixels


class Bloats(Honest):
    """Sends 24 bytes a pixel, a MiB, and a byte."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        return bytes(24 * pixels.shape[0] * pixels.shape[1] + (1 << 20) + 1)


class Remembers(Honest):
    """Sends nothing and decodes what its own instance last encoded."""

    _last: Pixels | None = None

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        self._last = pixels
        return b"."

    def decode(self, data: bytes) -> Pixels:
        assert self._last is not None, "this instance never encoded"
        return self._last


class Scribbles(Honest):
    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        data = super().encode(pixels, setting)
        pixels[...] = 0
        return data


class Segfaults(Honest):
    """Dies in native code at the setting in the middle."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if setting.value == 16 and pixels.shape != (96, 128, 3):  # not in the warm-up
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().encode(pixels, setting)


class OnGpu(Honest):
    """Half its time on a GPU that one process has at a time, half on the CPU; both are noted.

    A line of the log: device, process, beginning and end by the machine's clock.
    """

    def __init__(self, log: str) -> None:
        super().__init__()
        self._log = log

    def describe(self) -> CodecInfo:
        return replace(super().describe(), device="cuda")

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if pixels.shape == (96, 128, 3):  # the warm-up
            return super().encode(pixels, setting)
        with open(f"{self._log}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._note("cuda")
        self._note("cpu")
        return super().encode(pixels, setting)

    def _note(self, device: str) -> None:
        began = time.monotonic()
        time.sleep(0.1)
        with open(self._log, "a") as log:
            log.write(f"{device} {os.getpid()} {began} {time.monotonic()}\n")


class SeesGpu(OnGpu):
    """Notes which GPU its process sees, a line for each picture."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        with open(self._log, "a") as log:
            log.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        time.sleep(0.2)
        return Honest.encode(self, pixels, setting)


class Missing(Honest):
    def __init__(self) -> None:
        raise Unavailable("the program 'nonesuch' is not on the PATH: install it")


class Told:
    """Its size is declared; the reconstruction is grey."""

    name = "told"
    sweep = (Setting("point", 1),)

    def describe(self) -> CodecInfo:
        return CodecInfo("1", "none", "MIT", "1" * 64, 1, "nothing", caveat="bytes=declared")

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        raise RuntimeError("declared sizes only")

    def decode(self, data: bytes) -> Pixels:
        raise RuntimeError("declared sizes only")

    def declared(self, image: str, setting: Setting) -> Declared:
        return Declared(1000, np.full((400, 600, 3), 128, np.uint8))


# Of this process: the harness loads this file anew for every instance.
_ENCODED: dict[bytes, Pixels] = vars(builtins).setdefault("whispered", {})


class Whispers(Honest):
    """Sends a number, and decodes what this process, in whichever instance, has encoded by it."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        name = super().encode(pixels, setting)[:99]
        _ENCODED[name] = pixels
        return name

    def decode(self, data: bytes) -> Pixels:
        if data not in _ENCODED:
            raise ValueError("never heard of it")
        return _ENCODED[data]


class Drifts(Honest):
    """Some levels brighter where it decodes on a GPU, which it is told of and does not need."""

    def __init__(self, levels: int = 1) -> None:
        super().__init__()
        self._levels = levels

    def describe(self) -> CodecInfo:
        return replace(super().describe(), device=device_kind(chosen_device()))

    def decode(self, data: bytes) -> Pixels:
        brighter = self._levels if self.describe().device == "cuda" else 0
        return np.clip(super().decode(data).astype(int) + brighter, 0, 255).astype(np.uint8)


class DiesOnDecode(Honest):
    """By a signal of its choice, or for lack of memory, at the setting in the middle."""

    def __init__(self, how: str = "SIGSEGV") -> None:
        super().__init__()
        self._how = how

    def decode(self, data: bytes) -> Pixels:
        height, width, step = np.frombuffer(data[:6], np.uint16)
        if step == 16 and (height, width) != (96, 128):  # not in the warm-up
            if self._how == "memory":
                np.ones(1 << 50, np.uint8)
            os.kill(os.getpid(), getattr(signal, self._how))
        return super().decode(data)


class Draws(Honest):
    name = "draws"

    def __init__(self, seed: int = 0, strength: int = 3) -> None:
        super().__init__()
        self._seed, self._strength = seed, strength

    def decode(self, data: bytes) -> Pixels:
        honest = super().decode(data).astype(int)
        random = np.random.default_rng([self._seed, len(data)])
        noise = random.integers(-self._strength, self._strength + 1, honest.shape)
        return np.clip(honest + noise, 0, 255).astype(np.uint8)


class LeavesLittle(Honest):
    """Lets its worker map $ROOM_BYTES more, if set, while an image of a megapixel is scored."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        limit_memory(None)
        return super().encode(pixels, setting)

    def decode(self, data: bytes) -> Pixels:
        pixels = super().decode(data)
        if "ROOM_BYTES" in os.environ and pixels.size >= 3_000_000:
            limit_memory(int(os.environ["ROOM_BYTES"]))
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
