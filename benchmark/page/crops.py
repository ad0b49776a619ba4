"""Crops of decoded images at one rate, small enough to be inside the page. Pure but for reading."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.analysis.match import FARTHEST
from benchmark.codec import Pixels
from benchmark.figures.pictures import largest_square
from benchmark.page.content import Crop, ImageKey
from benchmark.page.picks import RATES, distance
from benchmark.page.pictures import Pictures, file_bytes

CROP_RATE = RATES[0]  # bits per pixel
SIDES = (256, 192, 128, 96)  # px; the largest that keeps all crops within CROP_BYTES
CROP_BYTES = 660_000  # of all files; base64 adds a third
STEP = 16  # px between the places that are compared


def crops(
    folder: Path, pictures: Pictures, bpp: dict[ImageKey, float], first: Sequence[str]
) -> list[Crop]:
    """Return crops of the page's first photograph: the original, then codecs in their order.

    Each codec of `first` is shown at its rate nearest to CROP_RATE, if within a factor of FARTHEST.
    Without at least two of them and the original there are none.
    """
    if not pictures.order:
        return []
    number = pictures.order[0][2]
    photograph = pictures.photographs[number]
    keys = []
    for label in first:
        mine = [key for key in pictures.order if key[2] == number and key[0] == label]
        near = min(mine, key=lambda key: distance(bpp[key], CROP_RATE), default=None)
        if near is not None and distance(bpp[near], CROP_RATE) <= math.log(FARTHEST):
            keys.append(near)
    paths = [photograph.picture, *(pictures.decoded[key].picture for key in keys)]
    if len(keys) < 2 or not all(path and path.endswith(".webp") for path in paths):
        return []
    from imagecodecs import webp_decode

    images = [np.asarray(webp_decode((folder / str(path)).read_bytes())) for path in paths]
    for side in SIDES:
        if side > min(images[0].shape[:2]):
            continue
        top, left = most_different(images[1:], side)
        inside = slice(top, top + side), slice(left, left + side)
        files = [file_bytes(np.ascontiguousarray(image[inside])) for image in images]
        if sum(map(len, files)) <= CROP_BYTES:
            return [
                Crop(key, photograph.name, left, top, side, file)
                for key, file in zip([None, *keys], files, strict=True)
            ]
    return []


def most_different(images: Sequence[Pixels], side: int) -> tuple[int, int]:
    """Return top and left of the square in which images of one size differ most from their mean.

    >>> flat = np.zeros((64, 64, 3), np.uint8)
    >>> other = flat.copy()
    >>> other[40:48, 20:30] = 9
    >>> most_different([flat, other], 32)
    (16, 0)
    """
    stack = np.stack([image.astype(np.float32).mean(axis=2) for image in images])
    return largest_square(stack.std(axis=0).astype(np.float64), side, STEP)
