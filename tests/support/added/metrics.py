"""Metrics that somebody adds: an image metric, and a recall by neighbours without influences."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import Features, Reduced
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


class Recall:
    """Share of source patches that lie nearer to a decoded patch than that one's neighbour does.

    Kynkaanniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall Metric for Assessing
    Generative Models" (2019), with the nearest neighbour alone.
    """

    column = "recall"
    label = "Recall"
    better: Literal["higher", "lower"] = "higher"
    protocol = "recall/1"
    space = "colours"
    min_images = 2
    has_influence = False

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        sources, images = np.concatenate(reference), np.concatenate(decoded)
        if len(images) < 2:
            raise NotMeasurable("a nearest neighbour needs two patches")
        between = np.linalg.norm(images[:, None] - images, axis=2)
        np.fill_diagonal(between, np.inf)
        inside = np.linalg.norm(sources[:, None] - images, axis=2) <= between.min(axis=1)
        return Reduced(float(inside.any(axis=1).mean()))
