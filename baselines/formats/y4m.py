"""YUV4MPEG2 files of one picture, which ffmpeg and VTM's decoder write."""

import re
from typing import NamedTuple

import numpy as np

from baselines.formats.ycbcr import Planes
from benchmark.errors import CorruptStream

SIDE = r"[1-9][0-9]{0,5}"  # in pixels


class Y4MPicture(NamedTuple):
    """Decoded samples with the depth and range that the file names."""

    planes: Planes  # 4:4:4 or 4:2:0
    depth: int  # bits per sample: 8 or 10
    full_range: bool  # whether the file says so; it may be true where the file is silent


def read_y4m(file: bytes) -> Y4MPicture:
    """Return the picture; `CorruptStream` for anything but exactly one whole picture."""
    header, _, frame = file.partition(b"\n")
    marker, _, samples = frame.partition(b"\n")
    told = {word[:1]: word[1:] for word in header.decode("ascii", "replace").split()[1:]}
    colours = re.fullmatch(r"(444|420)(?:p10|jpeg|mpeg2|paldv)?", told.get("C", ""))
    sides = [re.fullmatch(SIDE, told.get(name, "")) for name in ("H", "W")]
    starts = header.startswith(b"YUV4MPEG2 ") and marker.startswith(b"FRAME")
    if not starts or not colours or None in sides:
        raise CorruptStream("the stream does not hold a picture in 4:4:4 or 4:2:0")
    height, width = (int(told[name]) for name in ("H", "W"))
    depth = 10 if "p10" in colours[0] else 8
    half = 2 if colours[1] == "420" else 1
    shapes = [(height, width)] + 2 * [(-(-height // half), -(-width // half))]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    if len(samples) != ends[-1] * np.dtype(sample_type(depth)).itemsize:
        raise CorruptStream("the stream does not hold exactly one whole picture")
    flat = np.split(np.frombuffer(samples, sample_type(depth)), ends[:-1])
    planes = Planes(*(p.reshape(s) for p, s in zip(flat, shapes, strict=True)))
    return Y4MPicture(planes, depth, b" XCOLORRANGE=FULL" in header)


def sample_type(depth: int) -> str:
    """Return numpy's dtype of a sample in raw files: one byte, or two with the lower one first."""
    return "u1" if depth == 8 else "<u2"
