"""Photographs in folders and tar archives, and random crops, each of a seed and its number.

A photograph in an archive is named ARCHIVE.tar:OFFSET:BYTES:NAME and read from there, so that
archives (WebDataset's shards) are a source like folders: in any order, by any number of readers.

Photographs that fit into the memory allowed are decoded once, others when a crop needs them, and
those used last are kept. Both give the same crops.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from hashlib import sha256
from heapq import nsmallest
from io import BytesIO
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from benchmark.codec import Int64Array, Pixels
from benchmark.errors import DamagedResults, UsageError
from benchmark.system.foreign_files import BadTar, files_of_tar, open_regular, walk
from benchmark.system.text import listed, utf8

SUFFIXES = {".jpg", ".jpeg", ".png"}  # that every build of Pillow reads
ARCHIVE = ".tar"
MARK = f"{ARCHIVE}:"  # behind an archive's path in the name of what it holds
MOST_READERS = 16  # threads
HEADERS_AT_ONCE = 1 << 12
MEMORY_BYTES = 4 << 30  # of decoded pixels, on a machine
LARGEST_REDUCTION = 2
MEMORY_SHARE = 0.25  # of a GPU's, that photographs may take
LOBES = 3  # of the Lanczos filter
ONE_IN, MOST = 20, 12  # photographs to validate with
SIDE_PX = 768  # larger ones are cut to their centres: a validation takes seconds, not minutes

Read = TypeVar("Read")
Numbers = Callable[[int], Sequence[int]]  # of the crops of a step


def photograph_paths(places: Iterable[Path]) -> list[str]:
    """Return photographs, and those below folders sorted by path; raises `UsageError` for none."""
    paths: list[str] = []  # a million take a fifth of the memory of as many `Path`
    for place in places:
        kinds = {*SUFFIXES, ARCHIVE}
        below = [
            os.path.join(folder, name)
            for folder, _, names in walk(place)
            for name in names
            if Path(name).suffix.lower() in kinds
        ]
        if not below and place.is_file():
            below = [str(place)]
        listed = len(paths)
        for path in sorted(below, key=lambda path: Path(path).parts):
            is_archive = path.lower().endswith(ARCHIVE)
            paths += _members(path, os.stat(path).st_mtime_ns) if is_archive else [path]
        if len(paths) == listed:
            raise UsageError(f"{place} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
    return paths


@cache
def _members(archive: str, _changed: int) -> tuple[str, ...]:
    def leave_out(name: str, why: str) -> None:
        if Path(name).suffix.lower() in SUFFIXES:
            raise BadTar(f"{name}: {why}")

    try:
        with open_regular(Path(archive)) as file:
            return tuple(
                f"{archive}:{member.offset_data}:{member.size}:{member.name}"
                for member in files_of_tar(file, leave_out)
                if Path(member.name).suffix.lower() in SUFFIXES
            )
    except (OSError, BadTar) as error:
        raise UsageError(f"{archive} cannot be read as an uncompressed archive: {error}") from error


def _place(path: str) -> tuple[str, int, int]:
    """Return the file that holds a photograph, its first byte there and its size; 0 for all."""
    archive, mark, member = path.partition(MARK)
    if not mark or os.path.exists(path):
        return path, 0, 0
    start, size, _ = member.split(":", 2)
    return f"{archive}{ARCHIVE}", int(start), int(size)


def read_photograph(path: str | Path) -> Pixels:
    """Decode as RGB; raises `UsageError` for a file that is no picture."""
    return _read(path, lambda image: np.array(image.convert("RGB")))


def _read_sides(path: str) -> tuple[int, int]:
    try:
        return _read(path, lambda image: (image.height, image.width))
    except UsageError:
        return 0, 0


def _read(path: str | Path, read: Callable[[Image.Image], Read]) -> Read:
    try:
        file, start, size = _place(str(path))
        source: str | BytesIO = file
        if size:
            with open(file, "rb") as archive:
                archive.seek(start)
                source = BytesIO(archive.read(size))
        with Image.open(source) as image:
            return read(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "its format is unknown" if isinstance(error, UnidentifiedImageError) else error
        raise UsageError(f"{path} cannot be read as a photograph: {why}.") from error


def read_each(read: Callable[[str], Read], paths: Sequence[str], at_once: int) -> Iterator[Read]:
    """Read in order, some at a time in threads: waiting for a disk takes longer than decoding."""
    for start in range(0, len(paths), at_once):
        yield from readers().map(read, paths[start : start + at_once])


@cache
def readers() -> ThreadPoolExecutor:
    """Return the threads that read photographs."""
    return ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1))


def sides_of(paths: Sequence[str]) -> Int64Array:
    """Return height and width of each photograph, (n, 2), from its header; 0 where it has none."""
    sides = read_each(_read_sides, paths, HEADERS_AT_ONCE)
    return np.fromiter(sides, np.dtype((np.int64, 2)), len(paths))


def names_and_sizes(paths: Sequence[str]) -> bytes:
    """Return a line `size name` of each photograph: moved folders have the same lines."""
    lines = []
    for path in paths:
        try:
            size = os.stat(_place(path)[0]).st_size  # of an archive, its own
        except OSError as error:
            why = f"{path} cannot be read as a photograph: {error.strerror}."
            raise UsageError(why) from error
        lines.append(b"%d %s\n" % (size, os.fsencode(PurePath(path).name).replace(b"\n", b"?")))
    return b"".join(lines)


class Photographs:
    """Photographs by number, decoded from `pixels` in memory or from their files.

    In place of one that cannot be read is the next one that can, in memory and from files alike.
    """

    def __init__(
        self,
        paths: Sequence[str],
        sides: Int64Array,
        pixels: Pixels | None = None,
        most_kept: int = 0,
    ) -> None:
        """sides: height and width, (n, 2), 0 where unreadable. pixels: uint8 (total, 3), or None.

        most_kept: number of those decoded last that are kept.
        """
        self.paths, self.sides, self.pixels = paths, sides, pixels
        self._read = lru_cache(most_kept)(read_photograph)
        self._ends = np.cumsum(sides.prod(1))
        readable = np.flatnonzero(sides[:, 0])
        # Of each, itself or the next that is readable
        self.instead = readable[np.searchsorted(readable, np.arange(len(sides))) % len(readable)]

    def __len__(self) -> int:
        return len(self.sides)

    def decoded(self, index: int) -> Pixels:
        """Return a photograph's pixels, uint8 (height, width, 3); raises `UsageError`."""
        for place in range(index, index + len(self)):
            try:
                return self._decoded(int(self.instead[place % len(self)]))
            except UsageError as error:
                unreadable = error
                sentence = f"{str(error).rstrip('.')}; the next one is taken"
                warnings.warn(DamagedResults(sentence), stacklevel=2)
        raise unreadable

    def _decoded(self, index: int) -> Pixels:
        if self.pixels is None:
            return self._read(self.paths[index])
        height, width = self.sides[index]
        end = self._ends[index]
        return self.pixels[end - height * width : end].reshape(height, width, 3)


def open_photographs(paths: list[str], memory_bytes: int = MEMORY_BYTES) -> Photographs:
    """Look at photographs by their paths, and decode them if they fit.

    memory_bytes: of decoded pixels. Those that cannot be read are told in a warning. Raises
    `UsageError` where none can.
    """
    sides = sides_of(paths)
    pixels, kept, joined = int(sides.prod(1).sum()), 0, None
    if 3 * pixels > memory_bytes:
        kept = memory_bytes // (3 * int(sides.prod(1).max()))
    else:
        joined, start = np.empty((pixels, 3), np.uint8), 0
        for place, picture in enumerate(read_each(picture_or_none, paths, MOST_READERS)):
            if picture is None:
                sides[place] = 0
            else:
                end = start + picture.shape[0] * picture.shape[1]
                joined[start:end] = picture.reshape(-1, 3)
                start = end
    lost = [paths[place] for place in np.flatnonzero(sides[:, 0] == 0)]
    if len(lost) == len(paths):
        raise UsageError(f"{lost[0]} cannot be read as a photograph, nor can any other of --data")
    if lost:
        what = f"{len(lost)} of {len(paths)} photographs cannot be read and are left out"
        warnings.warn(DamagedResults(f"{what}: {listed(lost)}"), stacklevel=2)
    return Photographs(paths, sides, joined, kept)


def picture_or_none(path: str) -> Pixels | None:
    """Return a photograph's pixels; None where it cannot be read."""
    try:
        return read_photograph(path)
    except UsageError:
        return None


def pack(pictures: Sequence[Pixels]) -> Photographs:
    """Return photographs that are in memory already, uint8 (height, width, 3)."""
    sides = np.array([picture.shape[:2] for picture in pictures], np.int64)
    return Photographs([], sides, np.concatenate([of.reshape(-1, 3) for of in pictures]))


class Drawing(NamedTuple):
    """All that a crop depends on beside its number in the run.

    Every photograph is used once before any is used again, in an order that `seed` gives; half of
    the crops are mirrored. A smaller photograph is reflected at its right and bottom.
    """

    photographs: Photographs
    side_px: int
    seed: int
    # Share of the crops made from squares of 1 to `LARGEST_REDUCTION` times their side, reduced by
    # a Lanczos filter for more detail per pixel.
    reduced_share: float = 0.0

    def place(self, number: int) -> tuple[int, int, int, int, bool]:
        """Return all that is random in the crop of a number in the run.

        A photograph; top, left and side of the square of it that becomes the crop, which may reach
        beyond it; and whether the crop is mirrored.
        """
        epoch, turn = divmod(number, len(self.photographs))
        order = _order(self.seed, epoch, len(self.photographs))
        index = int(self.photographs.instead[order[turn]])
        random = np.random.default_rng([self.seed, 1, number])
        shares = random.random(2)  # of the free height and width, above and left of the crop
        mirrored = random.random() < 0.5
        reduced = random.random() < self.reduced_share
        factor = 1 + (LARGEST_REDUCTION - 1) * random.random()
        sides, side = self.photographs.sides[index].tolist(), self.side_px
        seen = max(side, min(round(factor * side), *sides)) if reduced else side
        top, left = (
            int(share * (max(0, length - seen) + 1))
            for share, length in zip(shares, sides, strict=True)
        )
        return index, top, left, seen, mirrored

    def crop(self, number: int) -> Pixels:
        """Return the crop of a number in the run, uint8 (side, side, 3)."""
        index, top, left, seen, mirrored = self.place(number)
        picture, side = self.photographs.decoded(index), self.side_px
        window = picture[top : top + seen, left : left + seen]
        missing = [(0, seen - length) for length in window.shape[:2]]
        if any(more for _, more in missing):
            window = np.pad(window, [*missing, (0, 0)], mode="reflect")
        if len(window) > side:
            smaller = Image.fromarray(window)
            window = np.asarray(smaller.resize((side, side), Image.Resampling.LANCZOS))
        return window[:, ::-1] if mirrored else window

    def crops(self, numbers: Sequence[int], pinned: bool = False) -> Tensor:
        """Return the crops of numbers in the run, uint8 (n, 3, side, side), on the CPU."""
        shape = len(numbers), self.side_px, self.side_px, 3
        crops = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        for place, number in enumerate(numbers):
            crops.numpy()[place] = self.crop(number)
        return crops.permute(0, 3, 1, 2)


def draw_crops(
    photographs: Photographs,
    side_px: int,
    numbers: Sequence[int],
    seed: int,
    reduced_share: float = 0.0,
) -> Tensor:
    """Return crops by their numbers in the run: uint8 (n, 3, side, side), on the CPU."""
    return Drawing(photographs, side_px, seed, reduced_share).crops(numbers)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Int64Array:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


class CropStream:
    """Crops of consecutive steps on their device, those of each step drawn ahead by a thread."""

    def __init__(
        self,
        drawing: Drawing,
        numbers: Numbers,
        steps: int,
        device: torch.device,
    ) -> None:
        """numbers: of the crops of a step. steps: there are no more than these."""
        self._drawing, self._numbers, self._steps, self._device = drawing, numbers, steps, device
        self._pinned = device.type == "cuda" and torch.cuda.is_available()
        self._ahead: dict[int, Future[Tensor]] = {}

    def take(self, step: int) -> Tensor:
        """Return the crops of a step, uint8 (n, 3, side, side); raises what drawing them raises.

        A step may follow any other. Crops of as many steps as there are readers are begun.
        """
        last = max(step, min(step + MOST_READERS, self._steps - 1))
        for later in range(step, last + 1):
            if later not in self._ahead:
                numbers = self._numbers(later)
                self._ahead[later] = readers().submit(self._drawing.crops, numbers, self._pinned)
        return self._ahead.pop(step).result().to(self._device, non_blocking=True)


class DeviceCrops:
    """Crops made on a GPU that holds all photographs, in place of a `CropStream`.

    The processor draws what is random in them; the GPU gathers, reduces and mirrors. A reduced crop
    may differ from the processor's by a level: Pillow's filter has weights of 22 bits.
    """

    def __init__(self, drawing: Drawing, numbers: Numbers, device: torch.device) -> None:
        photographs, side = drawing.photographs, drawing.side_px
        assert photographs.pixels is not None
        self._drawing, self._numbers, self._device = drawing, numbers, device
        areas = photographs.sides.prod(1)
        self._starts = areas.cumsum() - areas
        self._pixels = torch.from_numpy(photographs.pixels).to(device, non_blocking=True)
        largest = LARGEST_REDUCTION * side if drawing.reduced_share else side
        self._most = max(side, min(largest, int(photographs.sides.min(1).max())))

    @staticmethod
    def fit(drawing: Drawing, device: torch.device) -> bool:
        """Return whether the photographs are in memory and leave the GPU most of its own."""
        pixels = drawing.photographs.pixels
        if device.type != "cuda" or pixels is None:
            return False
        room = MEMORY_SHARE * torch.cuda.mem_get_info(device)[1]
        return bool(pixels.nbytes <= room)

    def take(self, step: int) -> Tensor:
        """Return the crops of a step, uint8 (n, 3, side, side)."""
        side, numbers = self._drawing.side_px, self._numbers(step)
        facts = np.empty((7, len(numbers)), np.int64)
        for place, number in enumerate(numbers):
            index, *square, mirrored = self._drawing.place(number)
            sides = self._drawing.photographs.sides[index]
            facts[:, place] = self._starts[index], *sides, *square, mirrored
        sent = torch.from_numpy(facts).to(self._device, non_blocking=True)
        return cut(self._pixels, sent, side, self._most).permute(0, 3, 1, 2)


def cut(pixels: Tensor, facts: Tensor, side: int, most: int) -> Tensor:
    """Return crops, uint8 (n, side, side, 3), of photographs behind one another.

    pixels: uint8 (total, 3). facts: int64 (7, n), for each crop the first pixel of its photograph,
    its height and width; top, left and side of its square, at most `most`; 1 where it is mirrored.
    """
    start, height, width, top, left, seen, mirrored = facts[:, :, None].unbind()
    places = torch.arange(most, device=pixels.device)
    rows, columns = reflected(top + places, height), reflected(left + places, width)
    at = (start + rows * width)[:, :, None] + columns[:, None, :]
    squares = pixels[at]
    if most > side:
        weights = lanczos(seen, side, places)
        across = levels(torch.einsum("nok,nrkc->nroc", weights, squares.float()))
        squares = levels(torch.einsum("nok,nkpc->nopc", weights, across)).to(torch.uint8)
    return torch.where(mirrored[:, :, None, None] > 0, squares.flip(2), squares)


def reflected(places: Tensor, count: Tensor) -> Tensor:
    """Return places as indices of `count` pixels, reflected about the first and the last."""
    period = (2 * (count - 1)).clamp(min=1)
    inside = places % period
    return torch.minimum(inside, period - inside).clamp(max=count - 1)


def lanczos(seen: Tensor, side: int, places: Tensor) -> Tensor:
    """Return the weights (n, side, places) that reduce the first `seen` (n, 1) places to a side."""
    scale = (seen / side)[:, :, None]
    centres = (torch.arange(side, device=seen.device)[:, None] + 0.5) * scale
    distance = (places + 0.5 - centres) / scale
    weights = distance.sinc() * (distance / LOBES).sinc()
    weights = weights * ((distance.abs() < LOBES) & (places < seen[:, :, None]))
    return weights / weights.sum(2, keepdim=True)


def levels(values: Tensor) -> Tensor:
    """Return the nearest levels of 8 bits, as Pillow has them after each direction."""
    return values.round().clamp(0, 255)


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
    count = min(MOST, max(1, len(paths) // ONE_IN))

    def order(path: str) -> tuple[bytes, str]:
        return sha256(utf8(PurePath(path).name)).digest(), path

    return frozenset(nsmallest(count, paths, order))


def validation_pictures(paths: Sequence[str]) -> list[Pixels]:
    """Return photographs that can be read, by path, cut to 768 px about their centres, uint8."""
    pictures = []
    for pixels in map(picture_or_none, sorted(paths)):
        if pixels is None:
            continue
        top, left = (max(0, (side - SIDE_PX) // 2) for side in pixels.shape[:2])
        pictures.append(pixels[top : top + SIDE_PX, left : left + SIDE_PX])
    return pictures
