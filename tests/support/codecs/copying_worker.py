"""A contender whose worker copies the picture, and the faults that it can be asked for."""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmark.codec import Pixels
from support.files.noise import effect_noise

HELPER = files("baselines.worker").joinpath("rdrbench_worker.py").read_text()
# Copies the picture; a first byte of 0 to 9 asks for a fault of the encoder.
SCRIPT = """
import os, sys, time
from rdrbench_worker import Pixels, serve

class Copy:
    sweep = [("q", 1), ("q", 2.5)]
    decoder_needs = ("setting", "size")
    def encode(self, pixels, setting):
        fault = pixels.data[0]
        if fault == 1: os._exit(3)
        if fault == 2: raise KeyError("no such layer")
        if fault == 3: time.sleep(3600)
        if fault == 4: raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        if fault == 5: return "text"
        if fault == 7: raise ValueError("x" * 3000)
        if fault == 6: os.write(1, b"print" * 20_000_000)
        if fault == 8: sys.exit("gave up")
        return pixels.data[:: 1 if setting[1] == 1 else -1]
    def decode(self, data, setting, size):
        assert setting in (("q", 1), ("q", 2.5), ("q", 7.0)), setting
        assert os.path.samestat(os.fstat(0), os.stat(os.devnull)), "requests are the helper's"
        return Pixels(size[0], size[1], data[:: 1 if setting[1] == 1 else -1])

serve(Copy)
"""


def contender(folder: Path, script: str = SCRIPT, **fields: str) -> Path:
    """Write the files of a contender, whose Python has no packages and starts the sooner for it."""
    folder.mkdir(exist_ok=True)
    (folder / "copy_worker.py").write_text(script)
    (folder / "rdrbench_worker.py").write_text(HELPER)
    keys = {"name": "'Copy'", "script": "'copy_worker.py'", "python": f"'{sys.executable} -S'"}
    keys |= fields
    (folder / "copy.toml").write_text("".join(f"{key} = {text}\n" for key, text in keys.items()))
    return folder / "copy.toml"


def photograph(fault: int = 255) -> Pixels:
    pixels = np.asarray(effect_noise((31, 17), 50).convert("RGB")).copy()
    pixels[0, 0, 0] = fault
    return pixels
