"""CRDR's network, one for every rate q in [0, 4] and realism weight beta in [0, 5.12]::

    x ─ analysis(q) ─ y ───────────────────────── quantise ─ y_hat ─ synthesis(q, beta) ─> x_hat
                      └ hyper_analysis ─ z              └─── mu, sigma
                                         └ round ─ z_hat ─ hyper_synthesis ─ context ─┘
    analysis:   conv ⊙ blocks ⊙ ─ conv ⊙ blocks ⊙ attention ⊙ ─ conv ⊙ blocks ⊙ ─ conv ⊙ attention ⊙
    synthesis:  ⊙ attention ⊙ up ─ ⊙ blocks ⊙ up ─ ⊙ attention ⊙ blocks ⊙ up ─ ⊙ blocks ⊙ up
    ⊙ interpolation channel attention for q, after each encoder layer, before each decoder layer
    beta ─ fourier ─ 2F ─ linear, relu, linear ─ C ─ linear ─> added after each convolution of the
                                                               decoder's blocks

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024), with the layers of ELIC's
transforms (He et al., CVPR 2022), conditioned on beta as in Agustsson et al. (CVPR 2023), once for
each distinct beta of a map. The entropy model does not depend on q, and latents not on beta.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.architecture import CrdrSizes
from baselines.neural.bitstream.container import ByteReader, ControlBlock
from baselines.neural.bitstream.control_grid import BLOCK, ControlGrid, LevelMap, level_steps
from baselines.neural.blocks.control import (
    ConditionedBottleneck,
    ConditionedBottlenecks,
    IndexedLevels,
    InterpolationChannelAttention,
    Level,
    convert_level,
)
from baselines.neural.blocks.layers import analysis_layers, synthesis_layers
from baselines.neural.blocks.start_values import start_transforms
from baselines.neural.entropy.hyperprior import HyperpriorNetwork, initialise_entropy_model
from baselines.neural.entropy.hyperprior_coder import TransformCoder
from baselines.neural.exact import exact_transform, sine_cosine

MAX_BETA = 5.12
PUBLISHED_FREQUENCIES = 10
INITIAL_STD = 0.02  # standard deviation of initial weights for the conditioning on beta
STEP = 2.0  # steps of y per unit of an orthonormal transform of [-1, 1], at the middle lambda


class Controls(NamedTuple):
    """Rate q in [0, 4] and realism weight beta in [0, 5.12] for a batch."""

    rate: Level | IndexedLevels
    realism: Level | IndexedLevels = 0.0


LOWEST_CONTROLS = Controls(0.0)


class CRDRNetwork(HyperpriorNetwork):
    """CRDR's network; a control is a number, (N,), or a map (N, 1, H / 64, W / 64)."""

    coder_type = f"{__name__}:CRDRCoder"

    def __init__(self, sizes: CrdrSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.analysis = Analysis(sizes)
        self.synthesis = Synthesis(sizes)
        self.add_entropy_model(sizes)
        self.quantised_bits = self.bits_of_blocks("analysis.layers", "synthesis.layers")

    def analyse(self, images: Tensor, controls: Controls | Level | IndexedLevels = 0.0) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1], H and W multiples of 64, to y (N, M, H/16, W/16)."""
        q = controls.rate if isinstance(controls, Controls) else controls
        return self.analysis(images, convert_level(q, self.sizes.rate_levels - 1, images))

    def synthesise(self, latents: Tensor, controls: Controls = LOWEST_CONTROLS) -> Tensor:
        """Map decoded y to images (N, 3, H, W), about [-1, 1] and not clamped."""
        return self.synthesis(latents, *self.synthesis_controls(latents, controls))

    def synthesis_controls(
        self, latents: Tensor, controls: Controls
    ) -> tuple[IndexedLevels, IndexedLevels]:
        """Convert rate and realism to the controls of the synthesis of `latents`."""
        rate = convert_level(controls.rate, self.sizes.rate_levels - 1, latents)
        return rate, convert_level(controls.realism, MAX_BETA, latents)

    def controls_at(self, rate: Level | IndexedLevels, realism: Level | IndexedLevels) -> Controls:
        """Return the controls for `forward` at a rate q and a realism weight beta."""
        return Controls(rate, realism)

    def freezable_parts(self) -> dict[str, Sequence[nn.Parameter]]:
        """Return the parameters that a recipe may freeze, by part; also `rate_control`, for q."""
        parts = dict(super().freezable_parts())
        parts["rate_control"] = parts["attentions"]
        parts["realism_control"] = [*parts["embedding"], *parts.get("project", ())]
        return parts

    def initialise_parts(self, parts: Collection[str]) -> None:
        """Initialise the conditioning on beta with the authors' standard deviation of .02."""
        if "realism_control" in parts:
            layers = [x for x in self.synthesis.embedding.layers if isinstance(x, nn.Linear)]
            for layer in (*layers, *self.synthesis.projections()):
                nn.init.normal_(layer.weight, std=INITIAL_STD)
                nn.init.zeros_(layer.bias)

    def initialise(self, images: Tensor, lambdas: Sequence[float]) -> None:
        """Initialise as an orthogonal transform fitted to `images` (n, 3, h, w) in [-1, 1]."""
        # lambdas, one per rate level, determine how coarsely y is quantised
        encoder, decoder = self.analysis, self.synthesis
        latent_std = start_transforms(encoder.layers, decoder.layers, self.sizes, images)
        middle_lambda = lambdas[len(lambdas) // 2]
        gains = torch.tensor([STEP * math.sqrt(middle_lambda / weight) for weight in lambdas])
        with torch.no_grad():
            targets = (encoder.attentions[-1], gains), (decoder.attentions[0], 1 / gains)
            for attention, target in targets:
                attention.gain.copy_(torch.expm1(target).log()[:, None].expand_as(attention.gain))
        initialise_entropy_model(self, latent_std * float(gains[len(gains) // 2]))


def fourier(betas: Tensor, frequencies: int = PUBLISHED_FREQUENCIES) -> Tensor:
    """Map betas (K,) to b in [-1, 1]; return F sines and F cosines of 2^i b, (K, 2 F)."""
    factors = 2.0 ** torch.arange(frequencies, device=betas.device)
    angles = ((betas / MAX_BETA - 0.5) * 2)[:, None] * factors
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class RealismEmbedding(nn.Module):
    """Embedding of beta: two linear layers on its Fourier features."""

    features: Callable[[Tensor, int], Tensor] = staticmethod(fourier)

    def __init__(self, width: int, frequencies: int = PUBLISHED_FREQUENCIES) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.layers = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, realism: IndexedLevels) -> IndexedLevels:
        """Embed levels (K,) as vectors (K, width)."""
        return realism.map(lambda betas: self.layers(self.features(betas, self.frequencies)))


def _attentions(layers: Sequence[tuple[nn.Module, int]], levels: int) -> nn.ModuleList:
    return nn.ModuleList(InterpolationChannelAttention(channels, levels) for _, channels in layers)


class Analysis(nn.Module):
    """Encoder, with a channel attention after each layer."""

    def __init__(self, sizes: CrdrSizes) -> None:
        super().__init__()
        layers = analysis_layers(sizes)
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.attentions = _attentions(layers, sizes.rate_levels)

    def forward(self, images: Tensor, rate: IndexedLevels) -> Tensor:
        """Map `images` (N, 3, H, W) in [-1, 1] to y (N, M, H / 16, W / 16)."""
        features = images
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            features = attention(layer(features), rate)
        return features


class Synthesis(nn.Module):
    """Decoder, with a channel attention before each layer, and blocks conditioned on beta."""

    def __init__(self, sizes: CrdrSizes) -> None:
        super().__init__()
        layers = synthesis_layers(
            sizes, lambda width: ConditionedBottlenecks(sizes.blocks, width, sizes.condition)
        )
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.attentions = _attentions(layers, sizes.rate_levels)
        self.embedding = RealismEmbedding(sizes.condition, sizes.frequencies)
        for projection in self.projections():
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)

    def projections(self) -> Iterator[nn.Linear]:
        """Yield the layers that add the embedded beta to blocks; they are zero in a new network."""
        for block in self.modules():
            if isinstance(block, ConditionedBottleneck):
                yield from (layer for layer in block.project if isinstance(layer, nn.Linear))

    def forward(self, latents: Tensor, rate: IndexedLevels, realism: IndexedLevels) -> Tensor:
        """Map y (N, M, H / 16, W / 16) to images (N, 3, H, W), about [-1, 1], not clamped."""
        condition = self.embedding(realism)
        features = latents if torch.is_grad_enabled() else latents.clone()  # layers overwrite them
        for layer, attention in zip(self.layers, self.attentions, strict=True):
            features = attention(features, rate)
            is_conditioned = isinstance(layer, ConditionedBottlenecks)
            features = layer(features, condition) if is_conditioned else layer(features)
        return features


Q_MAP, BETA_MAP = 1, 2  # flags in a header: the control is a map, not a step
Q_GRID = ControlGrid("q", 16, 64)
BETA_GRID = ControlGrid("beta", 25, 128)


class HeaderControls(NamedTuple):
    """q and beta in a stream: steps of their grids, or maps of levels."""

    q: int | LevelMap
    beta: int | LevelMap

    @classmethod
    def nearest(cls, q: float | LevelMap, beta: float | LevelMap) -> "HeaderControls":
        """Round q and beta to their grids, but leave maps unchanged; raises `ValueError`."""
        return cls(
            q if isinstance(q, np.ndarray) else Q_GRID.step(q),
            beta if isinstance(beta, np.ndarray) else BETA_GRID.step(beta),
        )


class CRDRControlBlock(ControlBlock):
    """CRDR's control block: q, then beta, each a byte or a map according to its flag."""

    flags = Q_MAP | BETA_MAP

    def write(self, controls: HeaderControls, width: int, height: int) -> tuple[int, bytes]:
        """Return the flags and bytes."""
        q, beta = controls
        flags = Q_MAP * (not isinstance(q, int)) | BETA_MAP * (not isinstance(beta, int))
        return flags, Q_GRID.write(q) + BETA_GRID.write(beta)

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> HeaderControls:
        """Invert `write`: return the controls; raises `CorruptStream`."""
        q = Q_GRID.read(reader, width, height, is_map=bool(flags & Q_MAP))
        return HeaderControls(
            q, BETA_GRID.read(reader, width, height, is_map=bool(flags & BETA_MAP))
        )

    def window(self, controls: HeaderControls, rows: slice, columns: slice, unit: int) -> Controls:
        """Return the network's controls in a window of the image, in units of `unit` pixels."""
        return Controls(
            _control_values(controls.q, Q_GRID, rows, columns, BLOCK // unit),
            _control_values(controls.beta, BETA_GRID, rows, columns, BLOCK // unit),
        )


def _control_values(
    control: int | LevelMap, grid: ControlGrid, rows: slice, columns: slice, per_block: int
) -> float | Tensor:
    """Return a number, or a part of a map (1, 1, h, w) with `per_block` positions per block."""
    if isinstance(control, int):
        return grid.value(control)
    block_values = level_steps(control, grid.last_step) / grid.steps_per_unit
    values = block_values.repeat(per_block, axis=0).repeat(per_block, axis=1)[rows, columns]
    return torch.from_numpy(values.astype(np.float32))[None, None]


CRDRNetwork.control_block = CRDRControlBlock()


class CRDRCoder(TransformCoder):
    """Coder that converts between CRDR's images, latents and bytes; see `TransformCoder`."""

    network: CRDRNetwork
    channels_last = ("analysis", "synthesis")
    _exact: Synthesis | None = None

    def synthesise(self, latents: Tensor, controls: Controls) -> Tensor:
        """Map decoded y to images (1, 3, H, W), about [-1, 1], in float64 if the coder is exact."""
        if self._exact is None:
            return super().synthesise(latents, controls)
        levels = self.network.synthesis_controls(latents, controls)
        return self._exact(latents.double(), *levels)

    def make_exact(self) -> "CRDRCoder":
        """Return a copy whose images have the same bits on every machine."""
        exact = copy(self)
        exact._exact = exact_synthesis(self.network.synthesis)
        return exact


def exact_synthesis(synthesis: Synthesis) -> Synthesis:
    """Return a copy for float64 latents; `ValueError` for a layer without an exact form."""
    exact = exact_transform(synthesis)
    exact.embedding.features = exact_fourier
    return exact


def exact_fourier(betas: Tensor, frequencies: int = PUBLISHED_FREQUENCIES) -> Tensor:
    """Return `fourier` of betas (K,) in float64 by doubling angles, (K, 2 F)."""
    sine, cosine = sine_cosine((betas.double() * (1 / MAX_BETA) - 0.5) * 2)
    sines, cosines = [sine], [cosine]
    for _ in range(frequencies - 1):
        sine, cosine = 2 * sine * cosine, 1 - 2 * sine * sine
        sines.append(sine)
        cosines.append(cosine)
    return torch.stack([*sines, *cosines], dim=1)
