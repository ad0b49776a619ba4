"""Crops made on a GPU that holds all photographs: those of `photographs.Drawing`, by their numbers.

The processor draws what is random in them; the GPU gathers, reduces and mirrors. A reduced crop may
differ from the processor's by a level, since Pillow's filter has weights of 22 bits.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from baselines.neural.training.photographs import LARGEST_REDUCTION, CropStream, Drawing

MEMORY_SHARE = 0.25  # of the GPU's, that photographs may take
LOBES = 3  # of the Lanczos filter

Numbers = Callable[[int], Sequence[int]]  # of the crops of a step


def crops_on(
    device: torch.device, drawing: Drawing, numbers: Numbers, steps: int
) -> "CropStream | DeviceCrops":
    """Return the crops of a stage: made on the device where the photographs fit into its memory."""
    if DeviceCrops.fit(drawing, device):
        return DeviceCrops(drawing, numbers, device)
    return CropStream(drawing, numbers, steps, device)


class DeviceCrops:
    """Crops of consecutive steps, in place of a `photographs.CropStream`."""

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
