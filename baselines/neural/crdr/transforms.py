"""Analysis and synthesis transforms, controlled by rate and realism.

::

    x ─ conv ⊙ blocks ⊙ ─ conv ⊙ blocks ⊙ attention ⊙ ─ conv ⊙ blocks ⊙ ─ conv ⊙ attention ⊙ ─> y
        H/2               H/4                           H/8               H/16

    y ─ ⊙ attention ⊙ up ─ ⊙ blocks ⊙ up ─ ⊙ attention ⊙ blocks ⊙ up ─ ⊙ blocks ⊙ up ─> x
        H/16               H/8             H/4                         H/2

    ⊙ interpolation channel attention for q: after each layer of the encoder, before each of the
    decoder. The decoder's blocks also take the embedded beta.

The layers are those of ELIC's transforms (He et al., CVPR 2022).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import (
    ConditionedBottleneck,
    ConditionedBottlenecks,
    Control,
    InterpolationChannelAttention,
)
from baselines.neural.blocks.residual_transforms import analysis_layers, synthesis_layers
from baselines.neural.crdr.realism import RealismEmbedding
from baselines.neural.crdr.sizes import Sizes


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
        layers = synthesis_layers(
            sizes,
            lambda channels: ConditionedBottlenecks.of(sizes.blocks, channels, sizes.condition),
        )
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.attentions = _attentions(layers, sizes.rate_levels)
        self.embedding = RealismEmbedding(sizes.condition, sizes.frequencies)
        for projection in self.projections():
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)

    def projections(self) -> Iterator[nn.Linear]:
        """Yield the layers that add the embedded beta in the blocks; zero in a fresh network."""
        for block in self.modules():
            if isinstance(block, ConditionedBottleneck):
                yield from (one for one in block.project if isinstance(one, nn.Linear))

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
