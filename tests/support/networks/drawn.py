"""Parameters and inputs of networks, drawn from a seed, and what a context makes of them."""

import torch
from torch import nn


def shaken(module: nn.Module) -> nn.Module:
    """Move each parameter at random, so that nothing is the identity or zero; return the module."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return module


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_slice(network, supports, values):
    """Return (mean, scale) of every slice, and the latents whose slices are `values(i, mean)`."""
    parameters = []

    def code(index, mean, scale):
        parameters.append((mean, scale))
        return values(index, mean)

    return parameters, network.context(*supports, code)
