"""Metrics and a feature space that somebody adds: no weights, numbers computed by hand."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.metric import Features, Reduced


def line_of(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__name__}"


class MeanAbsoluteError:
    column = "mae"
    label = "MAE"
    better: Literal["higher", "lower"] = "lower"
    protocol = "mae-rgb8/1"

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`."""

    def prepare(self, reference: Pixels) -> Pixels:
        return reference

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        if prepared.shape != decoded.shape:
            raise ValueError("shapes differ")
        return float(np.abs(prepared.astype(int) - decoded).mean())


class Colours:
    """Mean colours of the upper and of the lower half: two patches, three dimensions."""

    column = "colours_patches"
    protocol = "colours/1"
    calls = 0

    def __init__(self, device: str) -> None:
        self.device = device

    @staticmethod
    def patch_count(height: int, width: int) -> int:
        return 2 if height >= 2 and width else 0

    def features(self, pixels: Pixels) -> Features:
        type(self).calls += 1
        if len(pixels) < 2:
            raise NotMeasurable("one row has no halves")
        halves = np.array_split(pixels.astype(np.float32), 2)
        return np.stack([half.mean(axis=(0, 1)) for half in halves]).astype(np.float32)


class NoColours(Colours):
    column = "no_colours_patches"
    protocol = "no-colours/1"

    def __init__(self, device: str) -> None:
        raise Unavailable("no weight file for colours: fetch it")


class Shift:
    """Difference of the means of all feature values: a mean over images, with exact influences."""

    column = "shift"
    label = "Shift"
    better: Literal["higher", "lower"] = "lower"
    protocol = "shift/1"
    space = "colours"
    min_images = 2

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        moved = np.array([float(np.mean(b - a)) for a, b in zip(reference, decoded, strict=True)])
        return Reduced(float(moved.mean()), moved - moved.mean())


class ShiftOfMany(Shift):
    column = "shift_many"
    protocol = "shift-many/1"
    min_images = 100
