"""Generalised divisive normalisation (GDN), and transforms of convolutions with it between them.

Ballé, Laparra, Simoncelli, "Density modeling of images using a generalized normalization
transformation" (ICLR 2016): y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), times it in a decoder.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import at_least, upsampling
from baselines.neural.blocks.start_values import add_transform, set_latent_gain, transforms_of

LEAST_BETA = 1e-6
PEDESTAL = 2.0**-36  # keeps the gradient of a root away from infinity
START_GAMMA = 0.1
NEAR_IDENTITY = 0.01  # gamma at the start of a fitted transform: the root is near 1
NOISE = 0.001  # standard deviation of what is added to the kernels of a fitted transform


class GDN(nn.Module):
    """Normalisation of `channels` channels, or its approximate inverse; parameters are roots."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.empty(channels))
        self.gamma = nn.Parameter(torch.empty(channels, channels))
        self.set(torch.ones(channels), START_GAMMA * torch.eye(channels))

    def set(self, beta: Tensor, gamma: Tensor) -> None:
        """Set beta (channels,), at least 1e-6, and gamma (channels, channels), at least 0."""
        with torch.no_grad():
            self.beta.copy_((beta.clamp(min=LEAST_BETA) + PEDESTAL).sqrt())
            self.gamma.copy_((gamma.clamp(min=0) + PEDESTAL).sqrt())

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, channels, H, W); the shape stays the same."""
        beta = at_least(self.beta, math.sqrt(LEAST_BETA + PEDESTAL)).square() - PEDESTAL
        gamma = at_least(self.gamma, math.sqrt(PEDESTAL)).square() - PEDESTAL
        sums = functional.conv2d(features.square(), gamma[:, :, None, None], beta)
        return features * (sums.sqrt() if self.inverse else sums.rsqrt())


def gdn_analysis(
    inputs: int, widths: Sequence[int], kernels: Sequence[tuple[int, int]]
) -> nn.Sequential:
    """Return convolutions of stride 2, a normalisation between each two of them."""
    layers: list[nn.Module] = []
    for (before, after), (rows, columns) in zip(pairwise((inputs, *widths)), kernels, strict=True):
        padding = (rows - 1) // 2, (columns - 1) // 2
        layers += [nn.Conv2d(before, after, (rows, columns), 2, padding), GDN(after)]
    return nn.Sequential(*layers[:-1])


def gdn_synthesis(inputs: int, widths: Sequence[int], kernel: int) -> nn.Sequential:
    """Return transposed convolutions of stride 2, an inverse normalisation between each two."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *widths)):
        layers += [upsampling(before, after, kernel), GDN(after, inverse=True)]
    return nn.Sequential(*layers[:-1])


def start_as_transforms(
    analysis: Iterable[nn.Module],
    synthesis: Iterable[nn.Module],
    widths: Sequence[int],
    images: Tensor,
    gain: float,
) -> Tensor:
    """Set both to orthogonal transforms fitted to images (n, 3, h, w) in [-1, 1], here in [0, 1].

    widths: of the encoder's stages. All other weights are small noise; `gain` is the number of
    levels of the latent per unit of the coefficients. Returns standard deviations of the latent.
    """
    transforms = transforms_of((images + 1) / 2, widths)
    modules = (*analysis, *synthesis)
    down = [layer for layer in modules if isinstance(layer, nn.Conv2d)]
    up = [layer for layer in modules if isinstance(layer, nn.ConvTranspose2d)]
    layers: list[nn.Conv2d | nn.ConvTranspose2d] = [*down, *up]
    for layer, transform in zip(layers, (*transforms, *transforms[::-1]), strict=True):
        nn.init.normal_(layer.weight, std=NOISE)
        add_transform(layer, transform)
    for module in modules:
        if isinstance(module, GDN):
            channels = len(module.beta)
            module.set(torch.ones(channels), NEAR_IDENTITY * torch.eye(channels))
    set_latent_gain(down, up, gain)
    spread = torch.zeros(widths[-1])
    spread[: len(transforms[-1].spread)] = transforms[-1].spread * gain
    return spread
