"""Images and their rate levels -> realism logits of patches: seven ways to share a discriminator.

::

    images ─┬─ backbone: 2 stages ─┬─ head: 2 stages, conv3 ─> logits
       [level] as constant maps  [level]         a stage: conv3, conv3 / 2, each with LeakyReLU

===========================  ========  ====  ==========================
kind                         backbone  head  level as one-hot maps
===========================  ========  ====  ==========================
independent                  each      each  no
shared                       one       one   no
shared-conditioned           one       one   beside the image
hybrid-head                  one       each  no
hybrid-head-conditioned      one       each  beside the image
hybrid-backbone              each      one   no
hybrid-backbone-conditioned  each      one   beside the head's features
===========================  ========  ====  ==========================

"One" serves all levels, "each" has a copy for each of them. Iwai et al., "Controlling Rate,
Distortion, and Realism" (WACV 2024), whose network is that of their entry to CLIC 2021: without
normalisation, weights as PyTorch draws them. The paper trains "independent" ones in its last stage.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from baselines.neural.blocks.layers import convolution
from benchmark.errors import UnknownName

IMAGE_CHANNELS = 3
PUBLISHED_CHANNELS = (64, 128, 256, 512)
SLOPE = 0.2


class Design(NamedTuple):
    """What the levels share, and where they are told apart."""

    backbones: Literal["one", "each"]
    heads: Literal["one", "each"]
    condition: Literal["none", "image", "features"]


DISCRIMINATORS: Mapping[str, Design] = MappingProxyType(
    {
        "independent": Design("each", "each", "none"),
        "shared": Design("one", "one", "none"),
        "shared-conditioned": Design("one", "one", "image"),
        "hybrid-head": Design("one", "each", "none"),
        "hybrid-head-conditioned": Design("one", "each", "image"),
        "hybrid-backbone": Design("each", "one", "none"),
        "hybrid-backbone-conditioned": Design("each", "one", "features"),
    }
)


def discriminator(
    kind: str, levels: int, channels: tuple[int, ...] = PUBLISHED_CHANNELS
) -> "Discriminator":
    """A fresh discriminator of one of the kinds above; raises `UnknownName` for any other.

    At the published channels, one has 4.69 million parameters and five have 23.45 million:

    >>> with torch.device("meta"):
    ...     made = [discriminator(kind, 5) for kind in ("shared", "independent")]
    >>> [sum(parameter.numel() for parameter in one.parameters()) for one in made]
    [4689985, 23449925]
    """
    if kind not in DISCRIMINATORS:
        raise UnknownName("discriminator", kind, DISCRIMINATORS)
    return Discriminator(DISCRIMINATORS[kind], levels, channels)


class Discriminator(nn.Module):
    """Each channel number is a stage, the first half of them the backbone's, the others the head's.

    Raises `ValueError` for fewer than two stages. A copy that no picture of a batch needs is not
    run, and its parameters get no gradient.
    """

    def __init__(self, design: Design, levels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        half = len(channels) // 2
        if not half:
            raise ValueError(f"{len(channels)} stages are too few for a backbone and a head")
        self.levels, self.condition = levels, design.condition
        image = IMAGE_CHANNELS + levels * (design.condition == "image")
        features = channels[half - 1] + levels * (design.condition == "features")
        copies = {"one": 1, "each": levels}
        self.backbones = nn.ModuleList(
            nn.Sequential(*_stages(image, channels[:half])) for _ in range(copies[design.backbones])
        )
        self.heads = nn.ModuleList(
            nn.Sequential(*_stages(features, channels[half:]), convolution(channels[-1], 1, 3))
            for _ in range(copies[design.heads])
        )

    def forward(self, images: Tensor, levels: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] and whole levels (N,) from 0, to logits (N, 1, H / 16, W / 16).

        With fewer or more than four stages, each of them halves. Pictures of a batch may be at
        different levels; none changes another's logits. Levels that lie on the CPU spare a wait for
        the device of the images. Raises `ValueError` for levels that are not one of ours a picture.
        """
        if levels.is_floating_point() or levels.shape != images.shape[:1]:
            raise ValueError(f"levels {levels.tolist()} for {len(images)} pictures")
        found: list[int] = levels.tolist()
        if not set(found) <= set(range(self.levels)):
            raise ValueError(f"levels {found} are not within 0..{self.levels - 1}")
        order = sorted(range(len(found)), key=found.__getitem__)
        if order == list(range(len(found))):
            return self._judge(images, found)
        rows = torch.tensor(order, device=images.device)
        return self._judge(images[rows], sorted(found))[rows.argsort()]

    def _judge(self, images: Tensor, levels: list[int]) -> Tensor:
        """As `forward`, for pictures that come level by level."""
        signal = self._told(images, levels) if self.condition == "image" else images
        signal = _routed(self.backbones, signal, levels)
        signal = self._told(signal, levels) if self.condition == "features" else signal
        return _routed(self.heads, signal, levels)

    def _told(self, signal: Tensor, levels: list[int]) -> Tensor:
        """With one more map for each level: ones for the picture's own, zeros for the others."""
        marks = one_hot(torch.tensor(levels, device=signal.device), self.levels).to(signal.dtype)
        maps = marks[:, :, None, None].expand(-1, -1, *signal.shape[2:])
        return torch.cat([signal, maps], dim=1)


def _stages(inputs: int, channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *channels)):
        layers += [convolution(before, after, 3), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [convolution(after, after, 3, stride=2), nn.LeakyReLU(SLOPE, inplace=True)]
    return layers


def _routed(copies: nn.ModuleList, signal: Tensor, levels: list[int]) -> Tensor:
    """Each picture through the copy of its level, or all through the only one."""
    if len(copies) == 1:
        through: Tensor = copies[0](signal)
        return through
    pictures = Counter(levels)  # in the order of the pictures, as they come level by level
    parts = torch.split(signal, list(pictures.values()))
    return torch.cat([copies[level](part) for level, part in zip(pictures, parts, strict=True)])
