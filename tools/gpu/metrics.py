"""Every metric and feature space on the GPU against the CPU, on photographs and their JPEG."""

import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from baselines.jpeg import JPEG
from benchmark.codec import Pixels, Setting
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from tools.gpu.conditions import Conditions
from tools.gpu.part import Cell, Found, cells_of, failures, table

TITLE = "Metrics on both devices"
CLAIM = "Metrics agree to 1e-5 of their value, features to 1e-5 of the largest one."
TOLERANCE = 1e-5
DISTORTED = Setting("quality", 30)


def cells(conditions: Conditions) -> Iterator[Cell]:
    """Yield a cell for every image and metric or feature space, images outermost."""
    for image, pixels in conditions.images():
        for name in (*METRICS, *FEATURE_SPACES):
            yield Cell(f"{name}/{image}", partial(compared, conditions.device, name, pixels))


def compared(device: str, name: str, pixels: Pixels) -> dict[str, Any]:
    """Compute a metric or features on both devices; say why where they cannot be."""
    decoded = JPEG().decode(JPEG().encode(pixels, DISTORTED))
    try:
        values = [_value(name, one, pixels, decoded) for one in (device, "cpu")]
    except (Unavailable, NotMeasurable) as reason:
        return {"absent": str(reason)}
    largest = float(np.abs(values[1]).max())
    difference = float(np.abs(values[0] - values[1]).max()) / (largest or 1.0)
    finite = bool(np.isfinite(values[0]).all())
    return {"relative": difference, "held": finite and difference <= TOLERANCE}


def _value(name: str, device: str, pixels: Pixels, decoded: Pixels) -> Any:
    made = _made(name, device)
    if name in FEATURE_SPACES:
        return made.features(decoded).astype(float)
    return np.array([made.compare(made.prepare(pixels), decoded)])


@cache
def _made(name: str, device: str) -> Any:
    return metric_class(name)(device)


def section(found: Found) -> list[str]:
    """Return a table with a row for each metric or feature space."""
    lines = [
        (name, len(rows), f"{max(row['relative'] for row in rows):.1e}")
        for name, rows in cells_of(found).items()
        if all(math.isfinite(row["relative"]) for row in rows)
    ]
    return [*table(("metric", "images", "largest relative difference"), lines), *failures(found)]
