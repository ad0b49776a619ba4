"""Normalisation over channels, position by position, so that no image's size or tiling matters.

Mentzer et al., "High-Fidelity Generative Image Compression" (NeurIPS 2020): the variance is the
unbiased one, and .001 is added to it.
"""

import torch
from torch import Tensor, nn

EPSILON = 1e-3


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(variance + .001), then a scale and a shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, C, H, W), C at least 2; the shape stays the same."""
        # Under autocast a variance of eight bits would be visible in the pictures.
        exact = features.float()
        variance, mean = torch.var_mean(exact, dim=1, keepdim=True)
        normal = (exact - mean) * (variance + EPSILON).rsqrt()
        shaped = normal * self.scale[:, None, None] + self.shift[:, None, None]
        return shaped.to(features.dtype)
