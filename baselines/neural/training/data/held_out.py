"""Photographs of the training data that are held out of it, to validate with."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import PurePath

from baselines.neural.training.data.photographs import read_photograph
from benchmark.codec import Pixels
from benchmark.errors import UsageError

ONE_IN = 20
MOST = 12
SIDE_PX = 768  # what is larger is cut to its centre: a validation takes seconds, not minutes


def held_out(paths: Sequence[str]) -> frozenset[str]:
    """Choose one photograph in 20, at least one and at most 12, by the sha256 of its file's name.

    So the choice stays when folders move or are given in another order, and two recipes on the same
    photographs validate with the same ones. Raises `UsageError` for fewer than two photographs.

    >>> sorted(held_out([f"{folder}/{number}.png" for folder in "ab" for number in range(20)]))
    ['a/6.png', 'b/6.png']
    """
    if len(paths) < 2:
        raise UsageError(
            "one photograph is too few to hold another out of training: add some to --data, or "
            "give --validation"
        )
    order = sorted(paths, key=lambda path: (sha256(PurePath(path).name.encode()).digest(), path))
    return frozenset(order[: min(MOST, max(1, len(paths) // ONE_IN))])


def validation_pictures(paths: Sequence[str]) -> list[Pixels]:
    """Return photographs, sorted by path, cut to 768 px a side about their centres, uint8."""
    return [_centre(read_photograph(path)) for path in sorted(paths)]


def _centre(pixels: Pixels) -> Pixels:
    top, left = (max(0, (side - SIDE_PX) // 2) for side in pixels.shape[:2])
    return pixels[top : top + SIDE_PX, left : left + SIDE_PX]
