"""Conditioning of the decoder's residual blocks on the realism weight beta.

::

    beta ─ fourier ─ 2F ─ linear, relu, linear ─ C ─┬─ linear ─> + after the block's 1st convolution
                                                    ├─ linear ─> + after its 2nd
                                                    └─ linear ─> + after its 3rd

Agustsson et al., "Multi-Realism Image Compression with a Conditional Generator" (CVPR 2023). All
of it is computed once for each distinct beta; for a map of beta, results are gathered by position.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import Control
from baselines.neural.crdr.sizes import PUBLISHED_FREQUENCIES

HIGHEST_BETA = 5.12


def fourier(betas: Tensor, frequencies: int = PUBLISHED_FREQUENCIES) -> Tensor:
    """Return F sines, then F cosines, of 2^i times beta mapped to [-1, 1]; (K,) to (K, 2 F).

    >>> fourier(torch.tensor([2.56]))[0, [0, 9, 10, 19]]
    tensor([0., 0., 1., 1.])
    """
    factors = 2.0 ** torch.arange(frequencies, device=betas.device)
    angles = ((betas / HIGHEST_BETA - 0.5) * 2)[:, None] * factors
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

    def forward(self, realism: Control) -> Control:
        """Embed levels (K,) as vectors (K, width)."""
        return realism.map(lambda betas: self.layers(self.features(betas, self.frequencies)))
