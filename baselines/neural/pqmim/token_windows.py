"""Squares of tokens within which a transformer attends: split off an image, and put together."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Windows(NamedTuple):
    """Windows of a batch of images, row by row in each, those at the edges filled up."""

    side: int  # of a window, tokens
    shape: tuple[int, ...]  # images, rows and columns of tokens
    inside: Tensor | None  # bool (windows, side^2), false where no token is; None: all are

    @classmethod
    def of(cls, shape: tuple[int, ...], side: int, device: torch.device) -> "Windows":
        """Return the windows of `shape`, the number of images, their rows and columns of tokens."""
        _, rows, columns = shape
        whole = cls(side, shape, None)
        if rows % side == 0 and columns % side == 0:
            return whole
        return cls(side, shape, whole.split(torch.ones(*shape, 1, device=device))[:, :, 0] > 0)

    def split(self, values: Tensor) -> Tensor:
        """Return values (N, rows, columns, C) as (windows, side^2, C), zeros where no token is."""
        side, (count, rows, columns) = self.side, self.shape
        filled = pad(values, (0, 0, 0, -columns % side, 0, -rows % side))
        down, across = filled.shape[1] // side, filled.shape[2] // side
        grid = filled.view(count, down, side, across, side, -1)
        return grid.transpose(2, 3).reshape(count * down * across, side * side, -1)

    def join(self, values: Tensor) -> Tensor:
        """Return (windows, side^2, C) as (N, rows, columns, C): the inverse of `split`."""
        side, (count, rows, columns) = self.side, self.shape
        down, across = -(-rows // side), -(-columns // side)
        grid = values.view(count, down, across, side, side, -1).transpose(2, 3)
        return grid.reshape(count, down * side, across * side, -1)[:, :rows, :columns]
