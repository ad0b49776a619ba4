"""Discriminators of images at rate levels: seven designs that share layers in different ways.

::

    images ─┬─ backbone: 2 stages ─┬─ head: 2 stages, conv3 ─> logits
       [level] as constant maps  [level]         a stage: conv3, conv3 / 2, each with LeakyReLU

A backbone or a head is "shared" by all levels, or "each" has a copy. Iwai et al., "Controlling
Rate, Distortion, and Realism" (WACV 2024), whose network is that of their entry to CLIC 2021. The
paper trains "independent" ones in its last stage.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from baselines.neural.blocks.layers import convolution
from baselines.neural.training.gan import GAN_LOSSES, IMAGE_CHANNELS, SLOPE, StageAdversary
from baselines.neural.training.objective import Setup


class DiscriminatorDesign(NamedTuple):
    """Layers that rate levels share, and where the level enters; `label` is for figures."""

    label: str
    backbones: Literal["shared", "each"]
    heads: Literal["shared", "each"]
    condition: Literal["none", "image", "features"]


DISCRIMINATORS: Mapping[str, DiscriminatorDesign] = {
    "independent": DiscriminatorDesign("independent", "each", "each", "none"),
    "shared": DiscriminatorDesign("shared", "shared", "shared", "none"),
    "shared-conditioned": DiscriminatorDesign("shared, conditioned", "shared", "shared", "image"),
    "hybrid-head": DiscriminatorDesign("hybrid head", "shared", "each", "none"),
    "hybrid-head-conditioned": DiscriminatorDesign(
        "hybrid head, conditioned", "shared", "each", "image"
    ),
    "hybrid-backbone": DiscriminatorDesign("hybrid backbone", "each", "shared", "none"),
    "hybrid-backbone-conditioned": DiscriminatorDesign(
        "hybrid backbone, conditioned", "each", "shared", "features"
    ),
}


class Discriminator(nn.Module):
    """Convolutions in stages of `channels`: half the backbone's, half the head's.

    A copy that no picture of a batch needs is not run, and its parameters get no gradient.
    """

    def __init__(self, design: DiscriminatorDesign, levels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        half = len(channels) // 2
        self.levels, self.condition = levels, design.condition
        image = IMAGE_CHANNELS + levels * (design.condition == "image")
        features = channels[half - 1] + levels * (design.condition == "features")
        copies = {"shared": 1, "each": levels}
        self.backbones = nn.ModuleList(
            nn.Sequential(*_stages(image, channels[:half])) for _ in range(copies[design.backbones])
        )
        self.heads = nn.ModuleList(
            nn.Sequential(*_stages(features, channels[half:]), convolution(channels[-1], 1, 3))
            for _ in range(copies[design.heads])
        )

    def forward(self, images: Tensor, levels: Tensor) -> Tensor:
        """Return logits (N, 1, H / 16, W / 16) of images (N, 3, H, W) in [-1, 1] at levels (N,).

        Levels on the CPU decide which copies are run, without a wait for the images' device. Those
        of a GPU are only read there, so that a step can be recorded: every copy is run on all.
        """
        if levels.device.type != "cpu":
            return self._chosen(images, levels)
        numbers: list[int] = levels.tolist()
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        if order == list(range(len(numbers))):
            return self._scored(images, numbers)
        rows = torch.tensor(order).to(images.device, non_blocking=True)
        return self._scored(images[rows], sorted(numbers))[rows.argsort()]

    def serving(self, levels: Iterable[int]) -> list[nn.Parameter]:
        """Return the parameters that images at these levels pass through."""
        return [
            parameter
            for copies in (self.backbones, self.heads)
            for level in ([0] if len(copies) == 1 else sorted(set(levels)))
            for parameter in copies[level].parameters()
        ]

    def turns(self, levels: Tensor) -> list[tuple[list[nn.Parameter], Tensor]]:
        """Return the parameters of each copy, with 1 where no image at these levels needs it."""
        return [
            (list(copy.parameters()), (levels != level).all().float() * (len(copies) > 1))
            for copies in (self.backbones, self.heads)
            for level, copy in enumerate(copies)
        ]

    def _chosen(self, images: Tensor, levels: Tensor) -> Tensor:
        """Score images by all copies, of which each image keeps that of its level."""
        marks = levels[:, None] == torch.arange(self.levels, device=levels.device)

        def through(copies: nn.ModuleList, signal: Tensor) -> Tensor:
            chosen: Tensor = copies[0](signal)
            for level, copy in enumerate(list(copies)[1:], start=1):
                chosen = torch.where(marks[:, level, None, None, None], copy(signal), chosen)
            return chosen

        signal = through(self.backbones, self._with_level(images, marks, "image"))
        return through(self.heads, self._with_level(signal, marks, "features"))

    def _scored(self, images: Tensor, levels: list[int]) -> Tensor:
        """Score images that come level by level."""
        marks = one_hot(torch.tensor(levels), self.levels)
        signal = _routed(self.backbones, self._with_level(images, marks, "image"), levels)
        return _routed(self.heads, self._with_level(signal, marks, "features"), levels)

    def _with_level(self, signal: Tensor, marks: Tensor, place: str) -> Tensor:
        """Append, where the design has it, a map for each level: ones for the image's own."""
        if self.condition != place:
            return signal
        maps = marks.to(signal, non_blocking=True)[:, :, None, None]
        return torch.cat([signal, maps.expand(-1, -1, *signal.shape[2:])], dim=1)


def _stages(inputs: int, channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *channels)):
        layers += [convolution(before, after, 3), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [convolution(after, after, 3, stride=2), nn.LeakyReLU(SLOPE, inplace=True)]
    return layers


def _routed(copies: nn.ModuleList, signal: Tensor, levels: list[int]) -> Tensor:
    """Run each image through the copy of its level, or all through the only copy."""
    if len(copies) == 1:
        return copies[0](signal)
    pictures = Counter(levels)  # in the order of the pictures, as they come level by level
    parts = torch.split(signal, list(pictures.values()))
    return torch.cat([copies[level](part) for level, part in zip(pictures, parts, strict=True)])


class Adversary(StageAdversary):
    """Discriminators by rate level; a fractional q takes that of the nearest.

    Rates are NumPy arrays, or, in a recorded step, tensors of the GPU.
    """

    _turns: Sequence[tuple[list[nn.Parameter], Tensor]] = ()  # of the present step

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(GAN_LOSSES[stage.objective], stage, setup)
        count, channels = len(stage.lambdas), stage.discriminator_channels
        self._make(
            lambda: Discriminator(DISCRIMINATORS[stage.discriminator], count, channels),
            memory_format=torch.channels_last,
        )

    def generator_loss(self, references: Tensor, images: Tensor, q: Any, beta: Tensor) -> Tensor:
        """Return the loss of each of `images` (n, 3, h, w), weighted with beta or its map: (n,)."""
        return self.penalty(images, _levels(q), references, beta)

    def update(
        self,
        originals: Tensor,
        images: Tensor,
        q: Any,
        factor: float | Tensor,
        q_of_batch: Any = None,
    ) -> dict[str, Tensor]:
        """Update the discriminators by a step, averaged over processes; return their loss.

        q_of_batch: rates of the whole batch. What serves none of them stays as it is.
        """
        everywhere = _levels(q if q_of_batch is None else q_of_batch)
        inputs = originals, images, _levels(q), factor
        if everywhere.device.type != "cpu":
            self._turns = self._network.turns(everywhere)
            return self.train(*inputs)
        return self.train(*inputs, self._network.serving(everywhere.tolist()))

    def _take_step(self) -> None:
        """Update all, or copy after copy those that an image needs: Adam moves by zeros, too."""
        guard, turns, self._turns = self._setup.guard, self._turns, ()
        left_out = guard.left_out
        if left_out is None or not turns:
            guard.step(self._optimiser)
            return
        gradients = {parameter: parameter.grad for parameter in self._network.parameters()}
        for parameters, unused in turns:
            self._optimiser.zero_grad()
            for parameter in parameters:
                parameter.grad = gradients[parameter]
            guard.left_out = torch.maximum(left_out, unused)
            guard.step(self._optimiser)
        guard.left_out = left_out


def _levels(q: Any) -> Tensor:
    if isinstance(q, Tensor):
        return q.round().long()
    return torch.from_numpy(np.rint(q).astype(np.int64))  # on the CPU: they decide what runs
