"""An image metric that somebody adds, and its line in the registry."""

from typing import Any, Literal

import numpy as np

from benchmark.codec import Pixels


def line_of(kind: type[Any]) -> str:
    """Return the registry's line for a class of a metric or feature space."""
    return f"{kind.__module__}:{kind.__name__}"


class MeanAbsoluteError:
    """Mean absolute error of 8-bit RGB images, in grey levels."""

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
