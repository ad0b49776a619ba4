"""The transforms of ELIC: stages of residual bottlenecks, attention at H / 4 and at the latent.

::

    x ─ conv/2, blocks ─ conv/2, blocks, attention ─ conv/2, blocks ─ conv/2, attention ─> y
    y ─ attention, up, blocks ─ up, attention, blocks ─ up, blocks ─ up ─> x

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022). `sizes` are dataclasses with the fields of `dimensions.ResidualSizes`
but the hyper-transforms'. Layers are returned one by one, so that others can be put between them.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from baselines.neural.blocks.layers import (
    ResidualAttention,
    ResidualBottleneck,
    convolution,
    upsampling,
)

IMAGE_CHANNELS = 3
Blocks = Callable[[int], nn.Module]  # channels -> the residual blocks of a stage
Layers = list[tuple[nn.Module, int]]  # with a number of channels each


def analysis_layers(
    sizes: Any, attention: Callable[[int], nn.Module] = ResidualAttention
) -> Layers:
    """Return the encoder's layers with their output channels."""
    layers: Layers = []
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
    sizes: Any,
    blocks: Blocks | None = None,
    attention: Callable[[int], nn.Module] = ResidualAttention,
) -> Layers:
    """Return the decoder's layers with their input channels; by default `blocks` are plain."""
    make = blocks or (lambda channels: _bottlenecks(sizes.blocks, channels))
    layers: Layers = []
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
