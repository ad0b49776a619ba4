"""Analysis and synthesis transforms, controlled by rate and realism.

::

    x ─ conv ⊙ blocks ⊙ ─ conv ⊙ blocks ⊙ attention ⊙ ─ conv ⊙ blocks ⊙ ─ conv ⊙ attention ⊙ ─> y
        H/2               H/4                           H/8               H/16

    y ─ ⊙ attention ⊙ up ─ ⊙ blocks ⊙ up ─ ⊙ attention ⊙ blocks ⊙ up ─ ⊙ blocks ⊙ up ─> x
        H/16               H/8             H/4                         H/2

    ⊙ interpolation channel attention for q: after each layer of the encoder, before each of the
    decoder. The decoder's blocks also take the embedded beta.

`analysis_layers` and `synthesis_layers` are the transforms of ELIC (He et al., CVPR 2022) without
any control, as `nn.Sequential(*layers)`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.channel_attention import InterpolationChannelAttention
from baselines.neural.blocks.control import Control
from baselines.neural.blocks.layers import (
    ResidualAttention,
    ResidualBottleneck,
    convolution,
    upsampling,
)
from baselines.neural.crdr.realism import (
    ConditionedBottleneck,
    ConditionedBottlenecks,
    RealismEmbedding,
)
from baselines.neural.crdr.sizes import IMAGE_CHANNELS, Sizes


def analysis_layers(sizes: Sizes) -> list[tuple[nn.Module, int]]:
    """Return the encoder's layers with their output channels."""
    layers: list[tuple[nn.Module, int]] = []
    inputs = IMAGE_CHANNELS
    for stage, outputs in enumerate((*sizes.encoder, sizes.latent), start=1):
        kernel = sizes.outer_kernel if stage == 1 else sizes.inner_kernel
        layers.append((convolution(inputs, outputs, kernel, stride=2), outputs))
        if stage < 4 and sizes.blocks:
            blocks = (ResidualBottleneck(outputs) for _ in range(sizes.blocks))
            layers.append((nn.Sequential(*blocks), outputs))
        if sizes.attention and stage in (2, 4):
            layers.append((ResidualAttention(outputs), outputs))
        inputs = outputs
    return layers


def synthesis_layers(sizes: Sizes, *, conditioned: bool) -> list[tuple[nn.Module, int]]:
    """Return the decoder's layers with their input channels."""
    layers: list[tuple[nn.Module, int]] = []
    inputs = sizes.latent
    if sizes.attention:
        layers.append((ResidualAttention(inputs), inputs))
    for stage, outputs in enumerate((*sizes.decoder, IMAGE_CHANNELS), start=1):
        kernel = sizes.outer_kernel if stage == 4 else sizes.inner_kernel
        layers.append((upsampling(inputs, outputs, kernel), inputs))
        if sizes.attention and stage == 2:
            layers.append((ResidualAttention(outputs), outputs))
        if stage < 4 and sizes.blocks:
            layers.append((_synthesis_blocks(sizes, outputs, conditioned=conditioned), outputs))
        inputs = outputs
    return layers


def _synthesis_blocks(sizes: Sizes, channels: int, *, conditioned: bool) -> nn.Module:
    if conditioned:
        return ConditionedBottlenecks(
            ConditionedBottleneck(channels, sizes.condition) for _ in range(sizes.blocks)
        )
    return nn.Sequential(*(ResidualBottleneck(channels) for _ in range(sizes.blocks)))


def _attentions(layers: Sequence[tuple[nn.Module, int]], levels: int) -> nn.ModuleList:
    return nn.ModuleList(InterpolationChannelAttention(channels, levels) for _, channels in layers)


class Analysis(nn.Module):
    """Encoder: each layer, then its channel attention."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        layers = analysis_layers(sizes)
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.attentions = _attentions(layers, sizes.rate_levels)

    def forward(self, images: Tensor, rate: Control) -> Tensor:
        """Return y (N, M, H / 16, W / 16) of `images` (N, 3, H, W) in [-1, 1]."""
        features = images
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            features = attention(layer(features), rate)
        return features


class Synthesis(nn.Module):
    """Decoder: before each layer its channel attention; blocks conditioned on beta."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        layers = synthesis_layers(sizes, conditioned=True)
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.attentions = _attentions(layers, sizes.rate_levels)
        self.embedding = RealismEmbedding(sizes.condition)

    def forward(self, latents: Tensor, rate: Control, realism: Control) -> Tensor:
        """Return images (N, 3, H, W), about [-1, 1], not clamped, of y (N, M, H / 16, W / 16)."""
        condition = self.embedding(realism)
        features = latents if torch.is_grad_enabled() else latents.clone()  # layers overwrite it
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            features = attention(features, rate)
            if isinstance(layer, ConditionedBottlenecks):
                features = layer(features, condition)
            else:
                features = layer(features)
        return features
