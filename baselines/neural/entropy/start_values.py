"""Start values of the entropy model of networks with a hyperprior."""

import torch
from torch import Tensor, nn

from baselines.neural.entropy.hyperprior import HyperpriorNetwork

NOISE = 0.003  # standard deviation of the last weights of means and residuals
LEAST_SPREAD = 0.15  # of a latent channel


def start_entropy_model(network: HyperpriorNetwork, spread: Tensor) -> None:
    """Set scales to `spread` (M,), standard deviations of y; z sees y with unit spreads."""
    first: nn.Conv2d = network.hyper_analysis[0]  # type: ignore[assignment]
    with torch.no_grad():
        first.weight /= spread.clamp(min=LEAST_SPREAD)[:, None, None]
    if not network.sizes.slices:
        _set_bias(network.hyper_synthesis.scale[-1], spread)
        return
    parts = torch.split(spread, list(network.sizes.slices))
    for part, transform in zip(parts, network.context.scale, strict=True):
        _set_bias(transform[-1], part)  # type: ignore[index]
    for group in (network.context.mean, network.context.residual):
        for transform in group:
            nn.init.normal_(transform[-1].weight, std=NOISE)  # type: ignore[index]


def _set_bias(layer: nn.Module, spread: Tensor) -> None:
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.bias.copy_(spread.clamp(min=LEAST_SPREAD))  # type: ignore[union-attr]
