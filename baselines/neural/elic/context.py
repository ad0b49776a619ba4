"""The space-channel context of ELIC: mean and scale of each group of the latent, in two passes.

::

    groups before ─ channel_k ─────────────────────────────┐
    anchors of group k (none in the first pass) ─ spatial_k┼ aggregation_k ─ scale_k, mean_k
    hyper-decoder ─────────────────────────────────────────┘

The anchors of a group are the positions whose row and column have an even sum. Their parameters
follow from the groups before alone: what the spatial context gives there is set to zero, its bias
too. The other positions see the anchors around them as well.

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import convolution, rectified_stack
from baselines.neural.elic.architecture import ElicSizes

# (group, mean (N, c, h, w)) -> the group's values as rounded in whole steps from the mean
RoundGroup = Callable[[int, Tensor], Tensor]


class CodedGroups(NamedTuple):
    """All groups together, each (N, M, h, w)."""

    decoded: Tensor
    mean: Tensor
    scale: Tensor


class CheckerboardConvolution(nn.Conv2d):
    """A convolution that sees only neighbours of the other colour of a checkerboard.

    Weights at positions of its own colour, the centre among them, count as zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def seen(self) -> Tensor:
        """Return the weights with those that do not count set to zero."""
        rows, columns = self.kernel_size
        centre = rows // 2 + columns // 2
        across, down = (torch.arange(side, device=self.weight.device) for side in (columns, rows))
        return self.weight * ((down[:, None] + across - centre) % 2).to(self.weight)

    def plain(self) -> nn.Conv2d:
        """Return an ordinary convolution with the weights that count."""
        result = convolution(self.in_channels, self.out_channels, self.kernel_size[0])
        with torch.no_grad():
            result.weight.copy_(self.seen())
            result.bias.copy_(self.bias)  # type: ignore[union-attr,arg-type]
        return result

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H, W)."""
        return functional.conv2d(features, self.seen(), self.bias, padding=self.padding)


def anchors(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return whether each position is an anchor, bool (height, width).

    >>> anchors(2, 3).int().tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    rows, columns = (torch.arange(side, device=device) for side in (height, width))
    return (rows[:, None] + columns) % 2 == 0


def colours(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return the numbers of the anchors and of the other positions, each int64, row by row.

    >>> [one.tolist() for one in colours(2, 3)], [one.tolist() for one in colours(2, 4)]
    ([[0, 2, 4], [1, 3, 5]], [[0, 2, 5, 7], [1, 3, 4, 6]])
    """
    # A mask would have to be counted on the device first, and the processor would wait for that.
    first = torch.arange(0, height * width, 2, device=device)
    second = torch.arange(1, height * width, 2, device=device)
    if width % 2:  # the colours alternate from the end of a row to the next one
        return first, second
    odd_row = first // width % 2  # where a pair of neighbours begins with the other colour
    return first + odd_row, second - odd_row


class SpaceChannelContext(nn.Module):
    """Means and scales of the groups of y, in the order in which a decoder learns them."""

    def __init__(self, sizes: ElicSizes) -> None:
        super().__init__()
        self.groups = sizes.groups
        count = len(self.groups)
        kernels = (sizes.channel_kernel,) * 3
        before = [sum(self.groups[:k]) for k in range(count)]
        # The first group has no earlier ones: its place is empty.
        self.channel = nn.ModuleList(
            rectified_stack((before[k], *sizes.channel_context, 2 * self.groups[k]), kernels)
            if k
            else nn.Sequential()
            for k in range(count)
        )
        self.spatial = nn.ModuleList(
            CheckerboardConvolution(width, 2 * width, sizes.spatial_kernel) for width in self.groups
        )
        self.aggregation = nn.ModuleList(
            rectified_stack(
                (sizes.aggregation_inputs(k), *sizes.aggregation_widths(k), 2 * self.groups[k]),
                (1, 1, 1),
            )
            for k in range(count)
        )

    def features(self, group: int, hyper: Tensor, decoded: Sequence[Tensor]) -> list[Tensor]:
        """Return what the aggregation takes beside the spatial context, in its order."""
        if not group:
            return [hyper]
        return [self.channel[group](torch.cat(list(decoded), dim=1)), hyper]

    def parameters_of(
        self, group: int, spatial: Tensor, features: Sequence[Tensor], places: Tensor
    ) -> Tensor:
        """Return scale and mean of a group at n `places`, numbers of positions: (N, 2 c, n)."""
        # Not by an index, whose gradient is sorted: on a GPU that takes most of a step's kernels.
        merged = torch.cat([spatial, *features], dim=1).flatten(2).index_select(2, places)
        result: Tensor = self.aggregation[group](merged[:, :, None])
        return result[:, :, 0]

    def forward(self, hyper: Tensor, round_group: RoundGroup) -> CodedGroups:
        """Return the decoded latent and its distributions from the hyper-decoder's output.

        `hyper` is (N, support, h, w). Anchors are rounded before the others' parameters are known.
        """
        height, width = hyper.shape[2:]
        first, second = colours(height, width, hyper.device)
        order = torch.cat([first, second]).argsort()  # back to the order of rows
        is_anchor = anchors(height, width, hyper.device)
        decoded: list[Tensor] = []
        parameters: list[Tensor] = []
        for k, channels in enumerate(self.groups):
            features = self.features(k, hyper, decoded)
            none = hyper.new_zeros(len(hyper), 2 * channels, height, width)
            known = self.parameters_of(k, none, features, first)
            unknown = known.new_zeros(*known.shape[:2], len(second))
            mean = torch.cat([known, unknown], dim=2)[:, channels:].index_select(2, order)
            seen = torch.where(is_anchor, round_group(k, mean.reshape(none[:, channels:].shape)), 0)
            others = self.parameters_of(k, self.spatial[k](seen), features, second)
            both = torch.cat([known, others], dim=2).index_select(2, order).reshape(none.shape)
            decoded.append(round_group(k, both[:, channels:]))
            parameters.append(both)
        scales, means = zip(*(parameter.chunk(2, dim=1) for parameter in parameters), strict=True)
        return CodedGroups(torch.cat(decoded, dim=1), torch.cat(means, 1), torch.cat(scales, 1))
