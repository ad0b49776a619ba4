"""Images, files and programs that tests of several metrics share."""

import sys
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from benchmark.codec import Pixels
from support.processes import ran


def value(metric: Any, reference: Pixels, decoded: Pixels) -> float:
    return float(metric.compare(metric.prepare(reference), decoded))


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def in_new_python(program: str, **environment: str) -> str:
    """Return what a program prints in a process of its own, where warnings are errors."""
    result = ran(sys.executable, "-W", "error", "-c", program, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout
