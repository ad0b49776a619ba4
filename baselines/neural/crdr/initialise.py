"""Start values of CRDR: fitted transforms, and gains of the latent for each rate level."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import InterpolationChannelAttention
from baselines.neural.blocks.start_values import start_transforms
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.hyperprior import start_entropy_model

STEP = 2.0  # levels of y per unit of an orthonormal transform of [-1, 1], at the middle lambda


def initialise(network: CRDRNetwork, images: Tensor, lambdas: Sequence[float]) -> None:
    """Set all weights of `network` from `images` (n, 3, h, w) in [-1, 1], multiples of 16.

    `lambdas` at q = 0, 1, ... determine how coarse y is at each level.
    """
    sizes = network.sizes
    latent = start_transforms(network.analysis.layers, network.synthesis.layers, sizes, images)
    gains = _latent_gains(lambdas)
    _set_gain(network.analysis.attentions[-1], gains)
    _set_gain(network.synthesis.attentions[0], 1 / gains)
    start_entropy_model(network, latent * float(gains[len(gains) // 2]))


def _latent_gains(lambdas: Sequence[float]) -> Tensor:
    """Return gains for steps as wide as the square root of lambda: equal distortion per bit."""
    middle = lambdas[len(lambdas) // 2]
    return torch.tensor([STEP * math.sqrt(middle / one) for one in lambdas])


def _set_gain(attention: nn.Module, gains: Tensor) -> None:
    assert isinstance(attention, InterpolationChannelAttention)
    with torch.no_grad():
        attention.gain.copy_(torch.expm1(gains).log()[:, None].expand_as(attention.gain))
