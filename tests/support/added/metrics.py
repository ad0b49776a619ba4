"""An image metric that somebody adds, and its line in the registry."""

from typing import Any, Literal

import numpy as np

from benchmark.codec import Pixels
from benchmark.registry import MetricFacts


def line_of(kind: type[Any]) -> MetricFacts:
    """Return the registry's line for a class of a metric or feature space."""
    label, target = getattr(kind, "label", ""), f"{kind.__module__}:{kind.__name__}"
    better, space = getattr(kind, "better", "higher"), getattr(kind, "space", "")
    return MetricFacts(kind.column, kind.protocol, target, label, better, space)


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
