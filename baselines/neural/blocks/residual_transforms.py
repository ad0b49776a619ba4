"""The transforms of ELIC: stages of residual bottlenecks, attention at H / 4 and at the latent.

::

    x ─ conv/2, blocks ─ conv/2, blocks, attention ─ conv/2, blocks ─ conv/2, attention ─> y
    y ─ attention, up, blocks ─ up, attention, blocks ─ up, blocks ─ up ─> x

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022). The layers come one by one, so that others can be put between them;
`nn.Sequential(*layers)` is the plain transform.
"""

from collections.abc import Callable
from typing import Protocol

from torch import nn

from baselines.neural.blocks.layers import (
    ResidualAttention,
    ResidualBottleneck,
    convolution,
    upsampling,
)

IMAGE_CHANNELS = 3
Blocks = Callable[[int], nn.Module]  # channels -> the residual blocks of a stage


class TransformSizes(Protocol):
    """Dimensions that the transforms take of a configuration, widths in channels."""

    @property
    def encoder(self) -> tuple[int, int, int]:
        """Widths after each stage but the last, which ends in `latent`."""

    @property
    def decoder(self) -> tuple[int, int, int]:
        """Widths after each stage but the last, which ends in the image."""

    @property
    def latent(self) -> int:
        """Width of y."""

    @property
    def blocks(self) -> int:
        """Bottleneck blocks per stage."""

    @property
    def attention(self) -> bool:
        """Presence of attention in the middle and at the latent."""

    @property
    def outer_kernel(self) -> int:
        """Kernel of the convolution next to the image, at either end."""

    @property
    def inner_kernel(self) -> int:
        """Kernel of the other three that change the resolution."""


def analysis_layers(
    sizes: TransformSizes, attention: Callable[[int], nn.Module] = ResidualAttention
) -> list[tuple[nn.Module, int]]:
    """Return the encoder's layers with their output channels."""
    layers: list[tuple[nn.Module, int]] = []
    inputs = IMAGE_CHANNELS
    for stage, outputs in enumerate((*sizes.encoder, sizes.latent), start=1):
        kernel = sizes.outer_kernel if stage == 1 else sizes.inner_kernel
        layers.append((convolution(inputs, outputs, kernel, stride=2), outputs))
        if stage < 4 and sizes.blocks:
            layers.append((_bottlenecks(sizes.blocks, outputs), outputs))
        if sizes.attention and stage in (2, 4):
            layers.append((attention(outputs), outputs))
        inputs = outputs
    return layers


def synthesis_layers(
    sizes: TransformSizes,
    blocks: Blocks | None = None,
    attention: Callable[[int], nn.Module] = ResidualAttention,
) -> list[tuple[nn.Module, int]]:
    """Return the decoder's layers with their input channels.

    `blocks` makes a stage's residual blocks; plain bottlenecks unless given.
    """
    make = blocks or (lambda channels: _bottlenecks(sizes.blocks, channels))
    layers: list[tuple[nn.Module, int]] = []
    inputs = sizes.latent
    if sizes.attention:
        layers.append((attention(inputs), inputs))
    for stage, outputs in enumerate((*sizes.decoder, IMAGE_CHANNELS), start=1):
        kernel = sizes.outer_kernel if stage == 4 else sizes.inner_kernel
        layers.append((upsampling(inputs, outputs, kernel), inputs))
        if sizes.attention and stage == 2:
            layers.append((attention(outputs), outputs))
        if stage < 4 and sizes.blocks:
            layers.append((make(outputs), outputs))
        inputs = outputs
    return layers


def _bottlenecks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBottleneck(channels) for _ in range(count)))
