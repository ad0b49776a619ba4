"""Codecs of one author, each with one mistake, given to `bench` as path/mine.py:Name."""

import json
import os
import signal
import subprocess
import time

import numpy as np

from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import CorruptStream

WARM_UP = (96, 128)
STUCK = "BENCH_TEST_STUCK"  # variable with the path of a file


def stuck() -> None:
    """Note that this process does nothing any more but what the test is about."""
    if STUCK in os.environ:
        with open(os.environ[STUCK], "a") as log:
            log.write(f"{os.getpid()}\n")


class Plain:
    """Stores the pixels; the mistakes below are made beside that, not in the warm-up."""

    name = "plain"
    sweep = (Setting("step", 1), Setting("step", 2))

    def __init__(self, log: str = "") -> None:
        self._log = log

    def describe(self) -> CodecInfo:
        return CodecInfo("1", "encode({step})", "MIT", "0" * 64, 1, "one call")

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        if pixels.shape[:2] != WARM_UP:
            self.before_encoding(setting)
        return np.array(pixels.shape[:2], np.uint16).tobytes() + pixels.tobytes()

    def decode(self, data: bytes) -> Pixels:
        shape = np.frombuffer(data[:4], np.uint16)
        pixels = np.frombuffer(data[4:], np.uint8).reshape(*shape, 3).copy()
        if tuple(shape) != WARM_UP:
            self.after_decoding(pixels)
        return pixels

    def before_encoding(self, setting: Setting) -> None:
        pass

    def after_decoding(self, pixels: Pixels) -> None:
        pass


class RaisesInLibrary(Plain):
    def before_encoding(self, setting: Setting) -> None:
        json.loads("{")  # the line that is told


class RaisesOurError(Plain):
    def after_decoding(self, pixels: Pixels) -> None:
        raise CorruptStream("a marker is missing")


class Endless(Plain):
    def before_encoding(self, setting: Setting) -> None:
        while setting.value == 2:
            pass


class EndlessDecoder(Plain):
    def after_decoding(self, pixels: Pixels) -> None:
        if os.environ.get("BENCH_TEST_ENDLESS") == "1":
            stuck()
            time.sleep(3600)


class Stubborn(Plain):
    """Hears no request to end, and waits for programs, one of them in a session of its own."""

    def before_encoding(self, setting: Setting) -> None:
        if setting.value == 2:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for own_session in (True, False):
                program = subprocess.Popen(["sleep", "3600"], start_new_session=own_session)
                with open(self._log, "a") as log:
                    log.write(f"{program.pid}\n")
            stuck()
            program.wait()


class Swallows(Plain):
    def before_encoding(self, setting: Setting) -> None:
        if setting.value == 2:
            stuck()
        while setting.value == 2:
            try:
                time.sleep(3600)
            except BaseException:
                continue


class DiffersByCall(Plain):
    """Another level of one sample at each call."""

    _calls = 0

    def after_decoding(self, pixels: Pixels) -> None:
        type(self)._calls += 1
        pixels[0, 0, 0] = 100 + self._calls


class DiffersByInstance(Plain):
    """Another level of three samples in each instance of a process, the same at each call of it."""

    def __init__(self, log: str = "") -> None:
        super().__init__(log)
        # Counted in the environment, since the file may be loaded anew for each instance.
        instances = int(os.environ.get("BENCH_TEST_INSTANCES", "0")) + 1
        os.environ["BENCH_TEST_INSTANCES"] = str(instances)
        self._level = 100 + instances

    def after_decoding(self, pixels: Pixels) -> None:
        pixels[0, :3, 1] = self._level


class CountsDecodes(Plain):
    def after_decoding(self, pixels: Pixels) -> None:
        with open(self._log, "a") as log:
            log.write(f"{pixels.size} {id(self)}\n")
