"""Folders of photographs -> random crops of them, each a function of the seed and its number.

All pixels are decoded once into one tensor, on the device that trains; a crop is a gather from it.
Nothing is drawn from a state: the crops of a step are the same in a run that was interrupted.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.codec import Pixels
from benchmark.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png"}  # what every build of Pillow and pillow-simd reads


class Photographs(NamedTuple):
    """Pictures behind each other."""

    pixels: Tensor  # uint8 (total, 3), row by row, picture by picture
    heights: Tensor  # int64 (n,)
    widths: Tensor  # int64 (n,)
    starts: Tensor  # int64 (n,): a picture's first row of `pixels`

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.heights)

    def to(self, device: torch.device) -> "Photographs":
        """The same on another device."""
        return Photographs(*(tensor.to(device) for tensor in self))


def load_photographs(places: Iterable[Path]) -> Photographs:
    """Pictures, and every one below folders, these sorted by path, as RGB.

    Raises `UsageError` for a folder without pictures and a file that is none.
    """
    paths: list[Path] = []
    for place in places:
        found = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found and not place.is_file():
            raise UsageError(f"{place} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
        paths += found or [place]
    return pack(read_photograph(path) for path in paths)


def read_photograph(path: Path) -> Pixels:
    """As RGB; raises `UsageError` for a file that is no picture."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as a photograph: {error}.") from error


def pack(pictures: Iterable[Pixels]) -> Photographs:
    """Pictures, uint8 (height, width, 3), in one tensor."""
    flat, shapes = [], []
    for picture in pictures:
        shapes.append(picture.shape[:2])
        flat.append(picture.reshape(-1, 3))
    heights, widths = torch.tensor(shapes).unbind(1)
    ends = (heights * widths).cumsum(0)
    pixels = torch.from_numpy(np.concatenate(flat))
    return Photographs(pixels, heights, widths, ends - heights * widths)


def draw_crops(photographs: Photographs, side_px: int, numbers: Sequence[int], seed: int) -> Tensor:
    """Crops by their numbers in the run: uint8 (n, 3, side, side).

    Every photograph is used once before any is used again, in an order that `seed` gives; half of
    the crops are mirrored. One that is smaller than the crop is reflected at its right and bottom.
    """
    device = photographs.pixels.device
    which, places, mirrored = [], [], []
    for number in numbers:
        epoch, turn = divmod(number, photographs.pictures)
        order = np.random.default_rng([seed, 0, epoch]).permutation(photographs.pictures)
        random = np.random.default_rng([seed, 1, number])
        which.append(int(order[turn]))
        places.append(random.random(2))
        mirrored.append(random.random() < 0.5)
    chosen = torch.tensor(which, device=device)
    heights, widths = photographs.heights[chosen], photographs.widths[chosen]
    share = torch.tensor(np.array(places), device=device)
    rows = _positions(share[:, 0], heights, side_px)
    columns = _positions(share[:, 1], widths, side_px)
    flip = torch.tensor(mirrored, device=device)[:, None]
    columns = torch.where(flip, columns.flip(1), columns)
    offsets = photographs.starts[chosen, None] + rows * widths[:, None]
    crops = photographs.pixels[offsets[:, :, None] + columns[:, None, :]]
    return crops.permute(0, 3, 1, 2)


def _positions(share: Tensor, lengths: Tensor, side_px: int) -> Tensor:
    """(n, side): consecutive positions from a random start, reflected where a picture ends."""
    room = (lengths - side_px).clamp(min=0)
    starts = (share * (room + 1)).long()
    run = starts[:, None] + torch.arange(side_px, device=lengths.device)
    period = (2 * lengths - 2).clamp(min=1)[:, None]
    folded = run % period
    return torch.minimum(folded, period - folded).clamp(min=0)
