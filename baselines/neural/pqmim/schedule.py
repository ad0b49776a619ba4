"""The order in which tokens are decoded: in stages, each given all tokens of those before."""

import torch
from torch import Tensor

from baselines.neural.pqmim.sizes import PqMimSizes


def stages_of(
    sizes: PqMimSizes, rows: int, columns: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Return the stage of `sizes.order` in which each of `rows` x `columns` tokens is decoded.

    int64; the square of the order is repeated from the top left corner on.
    """
    square = torch.tensor(sizes.order, device=device)
    row, column = (torch.arange(count, device=device) % len(square) for count in (rows, columns))
    return square[row[:, None], column]
