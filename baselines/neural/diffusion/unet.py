"""U-Net of diffusion decoders: maps a noisy residual and the base picture to a velocity::

    noisy, base ─ bands ─ conv ─ blocks ─ /2 ─ blocks ─ /2 ─ blocks ┐ middle blocks
    velocity <─ Wiener ─ conv ─ blocks ─ x2 ─ blocks ─ x2 ─ blocks ─┘

Skips and residual blocks are those of Dhariwal and Nichol (NeurIPS 2021). Our choices:
normalisation over channels and no attention, so that results depend neither on an image's size nor
on patches; a 4 x 4 cosine transform, for speed; a predicted variance for every coefficient.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle, pixel_unshuffle, silu

from baselines.neural.architecture import DiffusionSizes
from baselines.neural.blocks.layers import convolution
from baselines.neural.diffusion.noise import MAX_LOG_SNR
from benchmark.codec import Float64Array

BLOCK_SIDE = 4  # pixels
BANDS = 3 * BLOCK_SIDE**2

_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_COSINES = dct(np.eye(BLOCK_SIDE), axis=0, norm="ortho")
# Each orthonormal row is a band of a block: of R + G + B, of R - B, or of R + B - 2 G.
_BASIS = np.kron(_COLOURS, np.kron(_COSINES, _COSINES))


def analyse(pictures: Tensor) -> Tensor:
    """Transform pictures (N, 3, H, W) to orthonormal coefficients (N, 48, H / 4, W / 4)."""
    return _transform_channels(pixel_unshuffle(pictures, BLOCK_SIDE), _BASIS)


def synthesise(coefficients: Tensor) -> Tensor:
    """Transform coefficients (N, 48, H / 4, W / 4) to pictures (N, 3, H, W)."""
    return pixel_shuffle(_transform_channels(coefficients, _BASIS.T), BLOCK_SIDE)


def _transform_channels(channels: Tensor, basis: Float64Array) -> Tensor:
    kernel = torch.as_tensor(basis, dtype=channels.dtype)[:, :, None, None]
    return conv2d(channels, kernel.to(channels.device, non_blocking=True))


OCTAVES = 6  # number of frequencies for the noise level
MAX_LOG_VARIANCE = 8.0  # of a residual's coefficient; on average the variance is 1


class PositionNorm(nn.LayerNorm):
    """Normalisation over channels at each position, then a scale and a shift per channel."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, C, H, W), faster than `var_mean` if channels are last."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConditionedBlock(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift)); starts as skip(x)."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm = PositionNorm(inputs)
        self.first = convolution(inputs, outputs, 3)
        self.condition = nn.Linear(embedding, 2 * outputs)
        self.conditioned_norm = PositionNorm(outputs)
        self.second = _set_to_zero(convolution(outputs, outputs, 3))
        self.skip = convolution(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Map `features` (N, C, H, W), with `vectors` (N, embedding), to (N, C', H, W)."""
        hidden = self.first(silu(self.norm(features)))
        scale, shift = self.condition(vectors)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.conditioned_norm(hidden), 1 + scale)
        return self.skip(features) + self.second(silu(hidden))


class Upsampling(nn.Module):
    """Nearest-neighbour doubling of the sides, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.smooth = convolution(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 2 H, 2 W)."""
        return self.smooth(interpolate(features, scale_factor=2.0))


class Level(nn.Module):
    """Residual blocks of one resolution, and the layer to the next resolution, if any."""

    def __init__(self, blocks: Sequence[ConditionedBlock], resampling: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.change = resampling


class UNet(nn.Module):
    """Network of a diffusion decoder; sides of pictures are multiples of 16."""

    def __init__(self, config: DiffusionSizes) -> None:
        super().__init__()
        widths, embedding = config.widths, config.embedding
        self.embedding = nn.Sequential(
            nn.Linear(2 * OCTAVES + 2, embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
            nn.SiLU(),
        )
        self.enter = convolution(2 * BANDS, widths[0], 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, channels = [widths[0]], widths[0]
        for index, level_width in enumerate(widths):
            inputs = [channels] + [level_width] * (config.blocks - 1)
            blocks = [
                ConditionedBlock(in_channels, level_width, embedding) for in_channels in inputs
            ]
            is_last = index == len(widths) - 1
            downsampling = None if is_last else convolution(level_width, level_width, 3, stride=2)
            self.down.append(Level(blocks, downsampling))
            skips += [level_width] * (config.blocks + (not is_last))
            channels = level_width
        self.middle = nn.ModuleList(
            ConditionedBlock(channels, channels, embedding) for _ in range(config.middle)
        )
        for index, level_width in reversed(list(enumerate(widths))):
            inputs = [channels] + [level_width] * config.blocks
            blocks = [
                ConditionedBlock(in_channels + skips.pop(), level_width, embedding)
                for in_channels in inputs
            ]
            self.up.append(Level(blocks, Upsampling(level_width) if index else None))
            channels = level_width
        self.norm = PositionNorm(channels)
        self.variances, self.leave = (
            _set_to_zero(convolution(channels, BANDS, size)) for size in (1, 3)
        )

    def forward(
        self, noisy_residuals: Tensor, base: Tensor, log_snr: Tensor, log_scale: Tensor
    ) -> Tensor:
        """Return velocities (N, 3, H, W) of residuals, given pictures `base` in [-1, 1].

        log_snr: (N,), of residuals in units of their deviation. log_scale: (N,), ln of the unit.
        """
        vectors = self.embedding(_noise_features(log_snr, log_scale))
        coefficients = analyse(noisy_residuals)
        features = self.enter(torch.cat([coefficients, analyse(base)], 1))
        skips = [features]
        for level in self.down:
            assert isinstance(level, Level)
            for block in level.blocks:
                features = block(features, vectors)
                skips.append(features)
            if level.change is not None:
                features = level.change(features)
                skips.append(features)
        for block in self.middle:
            features = block(features, vectors)
        for level in self.up:
            assert isinstance(level, Level)
            for block in level.blocks:
                features = block(torch.cat([features, skips.pop()], 1), vectors)
            if level.change is not None:
                features = level.change(features)
        features = silu(self.norm(features))
        log_variance = MAX_LOG_VARIANCE * (self.variances(features).float() / 2).tanh()
        return synthesise(velocities(coefficients, log_variance, self.leave(features), log_snr))


def velocities(noisy: Tensor, log_variance: Tensor, offsets: Tensor, log_snr: Tensor) -> Tensor:
    """Return the mean velocity (N, C, H, W) of Gaussian signals given `noisy`, plus `offsets`.

    For a signal of variance r, u_t has the variance a = alpha² r + sigma², and v given u_t has the
    mean alpha sigma (1 - r) / a u_t and the standard deviation sqrt(r / a), the unit of offsets.
    """
    log_ratio = log_snr.float()[:, None, None, None]
    sigma_squared = (-log_ratio).sigmoid()
    alpha_sigma = (log_ratio.sigmoid() * sigma_squared).sqrt()
    variance = log_variance.exp()
    noisy_variance = sigma_squared * (1 + (log_variance + log_ratio).exp())
    mean = alpha_sigma * (1 - variance) / noisy_variance * noisy
    return mean + (variance / noisy_variance).sqrt() * offsets


def _set_to_zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _noise_features(log_snr: Tensor, log_scale: Tensor) -> Tensor:
    # returns (N, 14): sines and cosines of the noise level, the noise level, and the scale
    level = log_snr.float() / MAX_LOG_SNR
    octaves = torch.pi / 2 * 2.0 ** torch.arange(OCTAVES, device=level.device)
    angles = level[:, None] * octaves
    scalars = torch.stack([level, log_scale.float() + 3], 1)  # a scale of .05 is about 0
    return torch.cat([angles.sin(), angles.cos(), scalars], 1)
