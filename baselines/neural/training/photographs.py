"""Photographs in folders and tar archives; random crops, determined by seed and crop number.

A photograph in an archive, such as a shard of WebDataset, is named ARCHIVE.tar:OFFSET:BYTES:NAME.
If all photographs fit into memory, they are decoded once; otherwise, whenever a crop needs them.
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

SUFFIXES = {".jpg", ".jpeg", ".png"}  # formats that every build of Pillow reads
ARCHIVE = ".tar"
MARK = f"{ARCHIVE}:"  # between an archive's path and a member's offset
MAX_READERS = 16  # threads
HEADER_BATCH = 1 << 12  # number of photographs whose headers are read at a time
MAX_MEMORY_BYTES = 4 << 30  # for decoded pixels
MAX_REDUCTION = 2  # maximum factor by which crops are downsampled
MAX_MEMORY_SHARE = 0.25  # maximum share of a GPU's memory for photographs
LANCZOS_LOBES = 3
VALIDATION_INTERVAL, MAX_VALIDATION = 20, 12  # one photograph in 20, at most 12
VALIDATION_PX = 768  # larger photographs are cropped, so that validation takes seconds

Content = TypeVar("Content")
Numbers = Callable[[int], Sequence[int]]  # step -> numbers of its crops in the run


def photograph_paths(sources: Iterable[Path]) -> list[str]:
    """List photographs, sorted by path within each source; `UsageError` if a source has none."""
    paths: list[str] = []  # strings take a fifth of the memory of `Path`
    for source in sources:
        suffixes = {*SUFFIXES, ARCHIVE}
        members = [
            os.path.join(folder, name)
            for folder, _, names in walk(source)
            for name in names
            if Path(name).suffix.lower() in suffixes
        ]
        if not members and source.is_file():
            members = [str(source)]
        count_before = len(paths)
        for path in sorted(members, key=lambda path: Path(path).parts):
            is_archive = path.lower().endswith(ARCHIVE)
            paths += _archive_members(path, os.stat(path).st_mtime_ns) if is_archive else [path]
        if len(paths) == count_before:
            raise UsageError(f"{source} contains no photographs ({', '.join(sorted(SUFFIXES))})")
    return paths


@cache
def _archive_members(archive: str, _modification_time: int) -> tuple[str, ...]:
    def refuse(name: str, reason: str) -> None:
        if Path(name).suffix.lower() in SUFFIXES:
            raise BadTar(f"{name}: {reason}")

    try:
        with open_regular(Path(archive)) as file:
            return tuple(
                f"{archive}:{member.offset_data}:{member.size}:{member.name}"
                for member in files_of_tar(file, refuse)
                if Path(member.name).suffix.lower() in SUFFIXES
            )
    except (OSError, BadTar) as error:
        raise UsageError(f"{archive} cannot be read as an uncompressed tar: {error}") from error


def _locate(path: str) -> tuple[str, int, int]:
    """Return a photograph's file, and its offset and size in it; size 0: the whole file."""
    archive, mark, member = path.partition(MARK)
    if not mark or os.path.exists(path):
        return path, 0, 0
    start, size, _ = member.split(":", 2)
    return f"{archive}{ARCHIVE}", int(start), int(size)


def read_photograph(path: str | Path) -> Pixels:
    """Decode a photograph as RGB; raises `UsageError` if it cannot be read."""
    return _read_image(path, lambda image: np.array(image.convert("RGB")))


def _read_sides(path: str) -> tuple[int, int]:
    try:
        return _read_image(path, lambda image: (image.height, image.width))
    except UsageError:
        return 0, 0


def _read_image(path: str | Path, convert: Callable[[Image.Image], Content]) -> Content:
    try:
        file, start, size = _locate(str(path))
        source: str | BytesIO = file
        if size:
            with open(file, "rb") as archive:
                archive.seek(start)
                source = BytesIO(archive.read(size))
        with Image.open(source) as image:
            return convert(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise UsageError(f"{path} cannot be read as a photograph: {reason}") from error


def _read_in_threads(
    read: Callable[[str], Content], paths: Sequence[str], batch: int
) -> Iterator[Content]:
    # reads in batches, since reading from a disk takes longer than decoding
    for start in range(0, len(paths), batch):
        yield from readers().map(read, paths[start : start + batch])


@cache
def readers() -> ThreadPoolExecutor:
    """Return the pool of threads that read photographs."""
    return ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))


def read_sides(paths: Sequence[str]) -> Int64Array:
    """Read photographs' heights and widths, (n, 2), from headers; 0 if unreadable."""
    sides = _read_in_threads(_read_sides, paths, HEADER_BATCH)
    return np.fromiter(sides, np.dtype((np.int64, 2)), len(paths))


def names_and_sizes(paths: Sequence[str]) -> bytes:
    """Return a line `size name` for each photograph, independent of its folder."""
    lines = []
    for path in paths:
        try:
            size = os.stat(_locate(path)[0]).st_size  # for a member, the archive's size
        except OSError as error:
            reason = f"{path} cannot be read as a photograph: {error.strerror}"
            raise UsageError(reason) from error
        lines.append(b"%d %s\n" % (size, os.fsencode(PurePath(path).name).replace(b"\n", b"?")))
    return b"".join(lines)


class PhotographSet:
    """Photographs by number, in memory or files; damaged ones are replaced by the next."""

    def __init__(
        self,
        paths: Sequence[str],
        sides: Int64Array,
        pixels: Pixels | None = None,
        cache_size: int = 0,
    ) -> None:
        """sides: (n, 2), 0 if unreadable. pixels: uint8 (total, 3). cache_size: of photographs."""
        self.paths, self.sides, self.pixels = paths, sides, pixels
        self._read = lru_cache(cache_size)(read_photograph)
        self._ends = np.cumsum(sides.prod(1))
        readable = np.flatnonzero(sides[:, 0])
        # For each photograph, its index, or that of the next readable photograph
        self.readable_index = readable[
            np.searchsorted(readable, np.arange(len(sides))) % len(readable)
        ]

    def __len__(self) -> int:
        return len(self.sides)

    def decode(self, index: int) -> Pixels:
        """Return a photograph's pixels, uint8 (height, width, 3); raises `UsageError`."""
        for candidate in range(index, index + len(self)):
            try:
                return self._decode_readable(int(self.readable_index[candidate % len(self)]))
            except UsageError as error:
                last_error = error
                warnings.warn(DamagedResults(f"{error}; the next photograph is used"), stacklevel=2)
        raise last_error

    def _decode_readable(self, index: int) -> Pixels:
        if self.pixels is None:
            return self._read(self.paths[index])
        height, width = self.sides[index]
        end = self._ends[index]
        return self.pixels[end - height * width : end].reshape(height, width, 3)


def open_photographs(paths: list[str], memory_bytes: int = MAX_MEMORY_BYTES) -> PhotographSet:
    """Open photographs, and decode all if they fit into memory; warns of unreadable ones."""
    sides = read_sides(paths)
    num_pixels, cache_size, pixels = int(sides.prod(1).sum()), 0, None
    if 3 * num_pixels > memory_bytes:
        cache_size = memory_bytes // (3 * int(sides.prod(1).max()))
    else:
        pixels, start = np.empty((num_pixels, 3), np.uint8), 0
        for number, picture in enumerate(_read_in_threads(_picture_or_none, paths, MAX_READERS)):
            if picture is None:
                sides[number] = 0
            else:
                end = start + picture.shape[0] * picture.shape[1]
                pixels[start:end] = picture.reshape(-1, 3)
                start = end
    unreadable = [paths[number] for number in np.flatnonzero(sides[:, 0] == 0)]
    if len(unreadable) == len(paths):
        raise UsageError(
            f"neither {unreadable[0]} nor any other file in --data can be read as a photograph"
        )
    if unreadable:
        sentence = f"{len(unreadable)} of {len(paths)} photographs cannot be read and are left out"
        warnings.warn(DamagedResults(f"{sentence}: {listed(unreadable)}"), stacklevel=2)
    return PhotographSet(paths, sides, pixels, cache_size)


def _picture_or_none(path: str) -> Pixels | None:
    try:
        return read_photograph(path)
    except UsageError:
        return None


def hold_photographs(pictures: Sequence[Pixels]) -> PhotographSet:
    """Return a set of photographs already in memory, uint8 (height, width, 3)."""
    sides = np.array([picture.shape[:2] for picture in pictures], np.int64)
    return PhotographSet([], sides, np.concatenate([p.reshape(-1, 3) for p in pictures]))


class CropSampler(NamedTuple):
    """Random crops by their number in the run, determined by `seed`; half of them are mirrored.

    Every photograph is used once before any is used again. Small photographs are reflected.
    """

    photographs: PhotographSet
    side_px: int
    seed: int
    # Share of crops that are downsampled from squares of 1 to `MAX_REDUCTION` times the side with
    # a Lanczos filter, for more detail per pixel
    reduced_share: float = 0.0

    def draw(self, number: int) -> tuple[int, int, int, int, bool]:
        """Return photograph, top, left and side of a square, and whether to mirror it."""
        epoch, position = divmod(number, len(self.photographs))
        order = _permutation(self.seed, epoch, len(self.photographs))
        index = int(self.photographs.readable_index[order[position]])
        generator = np.random.default_rng([self.seed, 1, number])
        shares = generator.random(2)  # of the unused height above, of the unused width on the left
        is_mirrored = generator.random() < 0.5
        is_reduced = generator.random() < self.reduced_share
        factor = 1 + (MAX_REDUCTION - 1) * generator.random()
        sides, side = self.photographs.sides[index].tolist(), self.side_px
        square_side = max(side, min(round(factor * side), *sides)) if is_reduced else side
        top, left = (
            int(share * (max(0, length - square_side) + 1))
            for share, length in zip(shares, sides, strict=True)
        )
        return index, top, left, square_side, is_mirrored

    def crop(self, number: int) -> Pixels:
        """Return the crop with this number in the run, uint8 (side, side, 3)."""
        index, top, left, square_side, is_mirrored = self.draw(number)
        picture, side = self.photographs.decode(index), self.side_px
        window = picture[top : top + square_side, left : left + square_side]
        padding = [(0, square_side - length) for length in window.shape[:2]]
        if any(pixels for _, pixels in padding):
            window = np.pad(window, [*padding, (0, 0)], mode="reflect")
        if len(window) > side:
            image = Image.fromarray(window)
            window = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))
        return window[:, ::-1] if is_mirrored else window

    def crops(self, numbers: Sequence[int], pinned: bool = False) -> Tensor:
        """Return the crops with these numbers, uint8 (n, 3, side, side), on the CPU."""
        shape = len(numbers), self.side_px, self.side_px, 3
        crops = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        for index, number in enumerate(numbers):
            crops.numpy()[index] = self.crop(number)
        return crops.permute(0, 3, 1, 2)


def draw_crops(
    photographs: PhotographSet,
    side_px: int,
    numbers: Sequence[int],
    seed: int,
    reduced_share: float = 0.0,
) -> Tensor:
    """Return the crops with these numbers, uint8 (n, 3, side, side), on the CPU."""
    return CropSampler(photographs, side_px, seed, reduced_share).crops(numbers)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> Int64Array:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


class CropStream:
    """Crops of each step, which threads draw in advance, copied to the device."""

    def __init__(
        self,
        sampler: CropSampler,
        numbers: Numbers,
        steps: int,
        device: torch.device,
    ) -> None:
        """steps: number of the run's steps, after which no crops are drawn."""
        self._sampler, self._numbers, self._steps, self._device = sampler, numbers, steps, device
        self._pinned = device.type == "cuda" and torch.cuda.is_available()
        self._pending_crops: dict[int, Future[Tensor]] = {}

    def take(self, step: int) -> Tensor:
        """Return a step's crops, uint8 (n, 3, side, side); start drawing those of later steps."""
        last_step = max(step, min(step + MAX_READERS, self._steps - 1))
        for drawn_step in range(step, last_step + 1):
            if drawn_step not in self._pending_crops:
                numbers = self._numbers(drawn_step)
                self._pending_crops[drawn_step] = readers().submit(
                    self._sampler.crops, numbers, self._pinned
                )
        return self._pending_crops.pop(step).result().to(self._device, non_blocking=True)


class DeviceCrops:
    """Crops of each step, as in `CropStream`, gathered and downsampled on a GPU."""

    # Downsampled crops may differ by a level from those of the CPU: Pillow's weights have 22 bits.

    def __init__(self, sampler: CropSampler, numbers: Numbers, device: torch.device) -> None:
        photographs, side = sampler.photographs, sampler.side_px
        assert photographs.pixels is not None
        self._sampler, self._numbers, self._device = sampler, numbers, device
        areas = photographs.sides.prod(1)
        self._starts = areas.cumsum() - areas
        self._pixels = torch.from_numpy(photographs.pixels).to(device, non_blocking=True)
        max_square = MAX_REDUCTION * side if sampler.reduced_share else side
        self._max_side = max(side, min(max_square, int(photographs.sides.min(1).max())))

    @staticmethod
    def can_hold(sampler: CropSampler, device: torch.device) -> bool:
        """Return whether the photographs are in memory and small enough for the GPU."""
        pixels = sampler.photographs.pixels
        if device.type != "cuda" or pixels is None:
            return False
        max_bytes = MAX_MEMORY_SHARE * torch.cuda.mem_get_info(device)[1]
        return bool(pixels.nbytes <= max_bytes)

    def take(self, step: int) -> Tensor:
        """Return a step's crops, uint8 (n, 3, side, side)."""
        side, numbers = self._sampler.side_px, self._numbers(step)
        table = np.empty((7, len(numbers)), np.int64)
        for column, number in enumerate(numbers):
            index, *square, is_mirrored = self._sampler.draw(number)
            sides = self._sampler.photographs.sides[index]
            table[:, column] = self._starts[index], *sides, *square, is_mirrored
        squares = torch.from_numpy(table).to(self._device, non_blocking=True)
        return gather_crops(self._pixels, squares, side, self._max_side).permute(0, 3, 1, 2)


def gather_crops(pixels: Tensor, squares: Tensor, side: int, max_side: int) -> Tensor:
    """Gather crops, uint8 (n, side, side, 3), from the concatenated pixels of all photographs.

    pixels: uint8 (total, 3). squares: int64 (7, n): index of the photograph's first pixel, its
    height and width; top, left and side of the square, at most `max_side`; 1 for a mirrored crop.
    """
    start, height, width, top, left, square_side, is_mirrored = squares[:, :, None].unbind()
    positions = torch.arange(max_side, device=pixels.device)
    rows, columns = reflect(top + positions, height), reflect(left + positions, width)
    crops = pixels[(start + rows * width)[:, :, None] + columns[:, None, :]]
    if max_side > side:
        weights = lanczos_weights(square_side, side, positions)
        narrowed_crops = round_to_levels(torch.einsum("nok,nrkc->nroc", weights, crops.float()))
        crops = round_to_levels(torch.einsum("nok,nkpc->nopc", weights, narrowed_crops))
        crops = crops.to(torch.uint8)
    return torch.where(is_mirrored[:, :, None, None] > 0, crops.flip(2), crops)


def reflect(positions: Tensor, count: Tensor) -> Tensor:
    """Return the indices of positions that are reflected at the first and last of `count`."""
    period = (2 * (count - 1)).clamp(min=1)
    phase = positions % period
    return torch.minimum(phase, period - phase).clamp(max=count - 1)


def lanczos_weights(square_side: Tensor, side: int, positions: Tensor) -> Tensor:
    """Return weights (n, side, positions) that reduce `square_side` (n, 1) pixels to `side`."""
    scale = (square_side / side)[:, :, None]
    centres = (torch.arange(side, device=square_side.device)[:, None] + 0.5) * scale
    distance = (positions + 0.5 - centres) / scale
    weights = distance.sinc() * (distance / LANCZOS_LOBES).sinc()
    weights = weights * ((distance.abs() < LANCZOS_LOBES) & (positions < square_side[:, :, None]))
    return weights / weights.sum(2, keepdim=True)


def round_to_levels(values: Tensor) -> Tensor:
    """Round to 8-bit levels, as Pillow does after each direction."""
    return values.round().clamp(0, 255)


def choose_validation(paths: Sequence[str]) -> frozenset[str]:
    """Choose one photograph in 20, at least one and at most 12, by the sha256 of its file name.

    Raises `UsageError` for fewer than two.
    >>> sorted(choose_validation([f"{folder}/{i}.png" for folder in "ab" for i in range(20)]))
    ['a/6.png', 'b/6.png']
    """
    if len(paths) < 2:
        raise UsageError(
            "one photograph is too few, since validation takes one: add photographs to --data, "
            "or give --validation"
        )
    count = min(MAX_VALIDATION, max(1, len(paths) // VALIDATION_INTERVAL))

    def sort_key(path: str) -> tuple[bytes, str]:
        return sha256(utf8(PurePath(path).name)).digest(), path

    return frozenset(nsmallest(count, paths, sort_key))


def validation_pictures(paths: Sequence[str]) -> list[Pixels]:
    """Return the readable photographs, sorted by path, centre-cropped to 768 px, uint8."""
    pictures = []
    for pixels in map(_picture_or_none, sorted(paths)):
        if pixels is None:
            continue
        top, left = (max(0, (side - VALIDATION_PX) // 2) for side in pixels.shape[:2])
        pictures.append(pixels[top : top + VALIDATION_PX, left : left + VALIDATION_PX])
    return pictures
