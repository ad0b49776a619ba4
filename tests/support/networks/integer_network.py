"""A small network whose entropy model can be made one of integers, and latents for it."""

import torch

from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.integer.integer_path import activation_names
from support.networks.tiny_checkpoint import TINY


def default_fractional_bits(model):
    return dict.fromkeys(activation_names(model), 7)


def network(sizes=TINY) -> CRDRNetwork:
    """Return a network whose means, scales and residuals all differ, with scales of all sizes."""
    torch.manual_seed(0)
    model = CRDRNetwork(sizes).eval()
    with torch.no_grad():
        model.prior.quantiles[:, 1].uniform_(-3, 3)
        for parameter in (*model.hyper_synthesis.parameters(), *model.context.parameters()):
            parameter.mul_(3)
    return model


def latents(count: int, sizes=TINY, seed: int = 1) -> torch.Tensor:
    values = torch.randn(count, sizes.latent, 8, 12, generator=torch.Generator().manual_seed(seed))
    return values * torch.logspace(-1, 1.3, sizes.latent).view(-1, 1, 1)
