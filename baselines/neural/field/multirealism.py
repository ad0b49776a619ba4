"""Multi-Realism's network: a single rate, and a decoder for every realism weight beta::

    x ─ analysis ─ y ─ hyperprior, slices ─ y_hat ─ synthesis(beta) ─> x_hat
    beta ─ fourier ─ 21 ─ linear, relu, linear, relu ─ C ─ linear ─> added in each residual block

Agustsson, Minnen, Toderici, Mentzer, "Multi-Realism Image Compression with a Conditional Generator"
(CVPR 2023), which has no published code; some layers follow Nikolai10/MRIC. Latents ignore beta.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.neural.architecture import MultiRealismSizes
from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
from baselines.neural.blocks.control import (
    ConditionedBottlenecks,
    IndexedLevels,
    Level,
    convert_level,
)
from baselines.neural.blocks.layers import analysis_layers, synthesis_layers
from baselines.neural.blocks.start_values import set_latent_gain, start_transforms
from baselines.neural.entropy.hyperprior import HyperpriorNetwork, initialise_entropy_model

MAX_BETA = 2.56  # the highest in the paper; the re-implementation trains up to 5.12
BETA_GRID = ControlGrid("beta", 50, 128)  # values in a stream: 0 to 2.56 in steps of .02
FREQUENCIES = 10
FEATURES = 2 * FREQUENCIES + 1
GAIN = 1.25  # steps of y per unit of an orthonormal transform of [-1, 1], at lambda = 1


class MultiRealismNetwork(HyperpriorNetwork):
    """Multi-Realism's network; images are in [-1, 1], controls are a beta in [0, 2.56]."""

    control_block = SingleControl(BETA_GRID)

    def __init__(self, sizes: MultiRealismSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.analysis = nn.Sequential(*(layer for layer, _ in analysis_layers(sizes)))
        self.synthesis = ConditionalSynthesis(sizes)
        self.add_entropy_model(sizes, separate_support=True)

    def controls_at(
        self, rate: Level | IndexedLevels, realism: Level | IndexedLevels
    ) -> Level | IndexedLevels:
        """Return the realism weight only, since a network has a single rate."""
        return realism

    def synthesise(self, latents: Tensor, controls: Level | IndexedLevels = 0.0) -> Tensor:
        """Map decoded y to images (N, 3, H, W) at beta; `ValueError` if beta is out of range."""
        return self.synthesis(latents, convert_level(controls, MAX_BETA, latents))

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        gain = GAIN / math.sqrt(lambdas[0])
        layers = self.synthesis.layers
        latent_std = gain * start_transforms(self.analysis, layers, self.sizes, images)
        set_latent_gain(self.analysis, layers, gain)
        initialise_entropy_model(self, latent_std)


def fourier(betas: Tensor) -> Tensor:
    """Map betas (K,) to (K, 21): beta, ten sines and ten cosines of 2^i beta."""
    angles = betas[:, None] * 2.0 ** torch.arange(FREQUENCIES, device=betas.device)
    return torch.cat([betas[:, None], angles.sin(), angles.cos()], dim=1)


class ConditionalSynthesis(nn.Module):
    """Decoder whose residual blocks are conditioned on beta."""

    def __init__(self, sizes: MultiRealismSizes) -> None:
        super().__init__()

        def make_blocks(channels: int) -> ConditionedBottlenecks:
            return ConditionedBottlenecks(sizes.blocks, channels, sizes.condition, bias=False)

        self.layers = nn.ModuleList(layer for layer, _ in synthesis_layers(sizes, make_blocks))
        self.embedding = nn.Sequential(
            nn.Linear(FEATURES, sizes.condition),
            nn.ReLU(),
            nn.Linear(sizes.condition, sizes.condition),
            nn.ReLU(),
        )

    def forward(self, latents: Tensor, realism: IndexedLevels) -> Tensor:
        """Map y (N, M, H / 16, W / 16) to images (N, 3, H, W), about [-1, 1], not clamped."""
        condition = realism.map(lambda betas: self.embedding(fourier(betas)))
        features = latents if torch.is_grad_enabled() else latents.clone()  # layers overwrite them
        for layer in self.layers:
            if isinstance(layer, ConditionedBottlenecks):
                features = layer(features, condition)
            else:
                features = layer(features)
        return features
