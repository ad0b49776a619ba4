"""Photographs on disk and random crops of them, each a function of the seed and its number.

Photographs are decoded once, into a tensor that processes share, if they fit into the memory
allowed; otherwise when a crop needs them, and those used last are kept. Both give the same crops.
"""

import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.codec import Float64Array, Int64Array, Pixels
from benchmark.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png"}  # that every build of Pillow reads
MEMORY_BYTES = 4 << 30  # of decoded pixels, on a machine
MOST_READERS = 16  # threads
STEPS_AHEAD = 4
INDEXED_AT_ONCE = 1 << 12
ONE_IN, MOST = 20, 12  # photographs to validate with
SIDE_PX = 768  # larger ones are cut to their centres: a validation takes seconds, not minutes

Read = TypeVar("Read")


class Photographs:
    """Photographs by number, decoded from `pixels` in memory or from their files."""

    def __init__(
        self,
        paths: Sequence[str],
        sides: Int64Array,
        pixels: Tensor | None = None,
        most_kept: int = 0,
    ) -> None:
        """sides: height and width, (n, 2). pixels: uint8 (total, 3), None to decode on demand.

        most_kept: number of those decoded last that each process keeps.
        """
        self.paths, self.sides, self.pixels, self.most_kept = paths, sides, pixels, most_kept
        self._ends = np.cumsum(sides.prod(1))

    def __len__(self) -> int:
        return len(self.sides)

    def decoded(self, index: int) -> Pixels:
        """Return a photograph's pixels, uint8 (height, width, 3); raises `UsageError`."""
        if self.pixels is None:
            return _keeping(self.most_kept)(self.paths[index])
        height, width = self.sides[index]
        end = self._ends[index]
        return self.pixels[end - height * width : end].numpy().reshape(height, width, 3)


@cache
def _keeping(count: int) -> Callable[[str], Pixels]:
    return lru_cache(count)(read_photograph)


def photograph_paths(places: Iterable[Path]) -> list[str]:
    """Return photographs, and those below folders sorted by path; raises `UsageError` for none."""
    paths: list[str] = []  # a million take a fifth of the memory of as many `Path`
    for place in places:
        below = [str(path) for path in place.rglob("*") if path.suffix.lower() in SUFFIXES]
        if not below and not place.is_file():
            raise UsageError(f"{place} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
        paths += sorted(below, key=lambda path: Path(path).parts) or [str(place)]
    return paths


def load_photographs(
    places: Iterable[Path],
    memory_bytes: int = MEMORY_BYTES,
    processes: int = 1,
    without: Container[str] = (),
) -> Photographs:
    """Index the photographs of `photograph_paths`, and decode them if they fit.

    memory_bytes: of decoded pixels, shared by as many `processes`. Raises `UsageError`.
    """
    paths = [path for path in photograph_paths(places) if path not in without]
    sides = np.array(list(_read_each(_read_sides, paths)), np.int64)
    pixels = int(sides.prod(1).sum())
    if 3 * pixels > memory_bytes:
        kept = memory_bytes // processes // (3 * int(sides.prod(1).max()))
        return Photographs(paths, sides, most_kept=kept)
    return Photographs(paths, sides, _joined(_read_each(read_photograph, paths), pixels))


def pack(pictures: Sequence[Pixels]) -> Photographs:
    """Return photographs that are in memory already, uint8 (height, width, 3)."""
    sides = np.array([picture.shape[:2] for picture in pictures], np.int64)
    return Photographs([], sides, _joined(pictures, int(sides.prod(1).sum())))


def read_photograph(path: str | Path) -> Pixels:
    """Decode as RGB; raises `UsageError` for a file that is no picture."""
    return _read(path, lambda image: np.array(image.convert("RGB")))


def _read_sides(path: str) -> tuple[int, int]:
    return _read(path, lambda image: (image.height, image.width))


def _read(path: str | Path, read: Callable[[Image.Image], Read]) -> Read:
    try:
        with Image.open(path) as image:
            return read(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as a photograph: {error}.") from error


def _read_each(read: Callable[[str], Read], paths: Sequence[str]) -> Iterator[Read]:
    """Read in order, some at a time in threads: waiting for a disk takes longer than decoding."""
    at_once = INDEXED_AT_ONCE if read is _read_sides else MOST_READERS
    for start in range(0, len(paths), at_once):
        yield from _readers().map(read, paths[start : start + at_once])


def _joined(pictures: Iterable[Pixels], total: int) -> Tensor:
    pixels = np.empty((total, 3), np.uint8)
    start = 0
    for picture in pictures:
        end = start + picture.shape[0] * picture.shape[1]
        pixels[start:end] = picture.reshape(-1, 3)
        start = end
    return torch.from_numpy(pixels)


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1))


def draw_crops(
    photographs: Photographs,
    side_px: int,
    numbers: Sequence[int],
    seed: int,
    reduced_share: float = 0.0,
) -> Tensor:
    """Return crops by their numbers in the run: uint8 (n, 3, side, side), on the CPU.

    Every photograph is used once before any is used again, in an order that `seed` gives; half of
    the crops are mirrored. A smaller photograph is reflected at its right and bottom.
    reduced_share: of the crops, made from larger squares, reduced by a Lanczos filter for more
    detail per pixel.
    """
    crops = np.empty((len(numbers), side_px, side_px, 3), np.uint8)
    for crop, number in zip(crops, numbers, strict=True):
        epoch, turn = divmod(number, len(photographs))
        picture = photographs.decoded(int(_order(seed, epoch, len(photographs))[turn]))
        random = np.random.default_rng([seed, 1, number])
        shares = random.random(2)
        mirrored = random.random() < 0.5
        reduced, factor = random.random() < reduced_share, 1 + random.random()
        seen_px = min(round(factor * side_px), *picture.shape[:2]) if reduced else side_px
        window = _window(picture, max(seen_px, side_px), shares)
        if len(window) > side_px:
            square = Image.fromarray(window)
            window = np.asarray(square.resize((side_px, side_px), Image.Resampling.LANCZOS))
        crop[:] = window[:, ::-1] if mirrored else window
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


def _window(picture: Pixels, side_px: int, shares: Float64Array) -> Pixels:
    """Return a square of a picture at the place that shares of its free height and width give."""
    sides = zip(shares, picture.shape[:2], strict=True)
    top, left = (int(share * (max(0, side - side_px) + 1)) for share, side in sides)
    window = picture[top : top + side_px, left : left + side_px]
    missing = [(0, side_px - side) for side in window.shape[:2]]
    if any(more for _, more in missing):
        window = np.pad(window, [*missing, (0, 0)], mode="reflect")
    return window


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Int64Array:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


class CropStream:
    """Crops of consecutive steps, made ahead in threads and moved to the device that trains."""

    def __init__(self, make: Callable[[int], Tensor], steps: int, device: torch.device) -> None:
        """make: crops of the step of a number, on the CPU. steps: there are no more than these."""
        self._make, self._steps, self._device = make, steps, device
        self._ahead: dict[int, Future[Tensor]] = {}

    def take(self, step: int) -> Tensor:
        """Return the crops of a step, which may follow any other; raises what `make` raises."""
        last = min(step + STEPS_AHEAD, self._steps - 1)
        for number in range(step, max(step, last) + 1):
            if number not in self._ahead:
                self._ahead[number] = _readers().submit(self._prepare, number)
        return self._ahead.pop(step).result().to(self._device, non_blocking=True)

    def _prepare(self, step: int) -> Tensor:
        crops = self._make(step)
        pinned = self._device.type == "cuda" and torch.cuda.is_available()
        return crops.pin_memory() if pinned else crops


def held_out(paths: Sequence[str]) -> frozenset[str]:
    """Choose one photograph in 20, at least one and at most 12, by the sha256 of its file's name.

    So the choice stays when folders move or are given in another order. Raises `UsageError` for
    fewer than two photographs.

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
    pictures = []
    for path in sorted(paths):
        pixels = read_photograph(path)
        top, left = (max(0, (side - SIDE_PX) // 2) for side in pixels.shape[:2])
        pictures.append(pixels[top : top + SIDE_PX, left : left + SIDE_PX])
    return pictures
