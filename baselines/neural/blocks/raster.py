"""Conversion between 8-bit pixels and images of a network: padded, float32 about [-1, 1]."""

import numpy as np
import torch
from torch import Tensor

from benchmark.codec import Pixels

BLOCK = 64  # pixels; the deepest latent halves an image six times
GREY = 127.5  # stands for 0


def padded(pixels: Pixels, stride: int = BLOCK) -> Pixels:
    """Return pixels (h, w, 3) with rows below and columns on the right, to multiples of `stride`.

    They mirror the image about its last row and column; a side that is too short for that repeats
    its last one.

    >>> padded(np.zeros((1, 65, 3), np.uint8)).shape
    (64, 128, 3)
    """
    for axis in (0, 1):
        side = pixels.shape[axis]
        missing = -side % stride
        if missing:
            widths = [(0, 0)] * 3
            widths[axis] = (0, missing)
            pixels = np.pad(pixels, widths, mode="reflect" if missing < side else "edge")
    return pixels


def to_images(pixels: Pixels, device: torch.device) -> Tensor:
    """Return pixels (h, w, 3) as float32 (1, 3, h, w) in [-1, 1]."""
    # A copy, since torch warns of arrays that are not to be written.
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)
    return planes[None].float().div_(GREY).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """Return images (1, 3, h, w) about [-1, 1] as pixels (h, w, 3), clamped and rounded.

    >>> to_pixels(torch.tensor([-2.0, 0.001, 2.0]).view(1, 3, 1, 1)).tolist()
    [[[0, 128, 255]]]
    """
    levels = images[0].add(1).mul_(GREY).round_().clamp_(0, 255).to(torch.uint8)
    pixels: Pixels = levels.permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels
