"""The order in which tokens are decoded: five stages in a quincunx, each doubling what is known.

::

    0 4 2 4 0      of 4 x 4 tokens, 1 is in stage 0, then 1, 2, 4 and 8
    4 3 4 3 4
    2 4 1 4 2
    4 3 4 3 4
    0 4 2 4 0

Inferred from a figure of a later paper that shows 4, 8, 16, 32, 64 of 64 tokens known: PQ-MIM's own
text was not at hand.
"""

import torch
from torch import Tensor

STAGES = 5


def stages_of(rows: int, columns: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the stage, 0 to 4, in which each of `rows` x `columns` tokens is decoded, int64.

    >>> stages_of(4, 4).tolist()
    [[0, 4, 2, 4], [4, 3, 4, 3], [2, 4, 1, 4], [4, 3, 4, 3]]
    """
    row = torch.arange(rows, device=device)[:, None].expand(rows, columns)
    column = torch.arange(columns, device=device).expand(rows, columns)
    stages = torch.full((rows, columns), STAGES - 1, device=device)
    even = (row % 2 == 0) & (column % 2 == 0)
    stages[even & ((row + column) % 4 == 2)] = 2
    stages[(row % 2 == 1) & (column % 2 == 1)] = 3
    for stage in (0, 1):
        stages[(row % 4 == 2 * stage) & (column % 4 == 2 * stage)] = stage
    return stages
