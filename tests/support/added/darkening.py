"""A codec that makes a picture darker by a level or two each time, and may lose its patience."""

import numpy as np

from benchmark.codec import CodecInfo, Pixels, Setting


class Darkens:
    name = "darkens"
    sweep = (Setting("levels", 1), Setting("levels", 2))

    def __init__(self, patience: int = 100) -> None:
        self._patience = patience

    def describe(self) -> CodecInfo:
        return CodecInfo("1", "encode({levels})", "MIT", "0" * 64, 1, "one call")

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        levels = int(setting.value)
        if pixels.min() % 50 and (50 - pixels.min() % 50) >= levels * self._patience:
            raise RuntimeError("not again")
        return np.uint16(pixels.shape[:2]).tobytes() + (pixels - np.uint8(levels)).tobytes()

    def decode(self, data: bytes) -> Pixels:
        height, width = np.frombuffer(data[:4], np.uint16)
        return np.frombuffer(data[4:], np.uint8).reshape(height, width, 3).copy()
