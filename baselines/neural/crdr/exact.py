"""The synthesis of CRDR with the same bits on every machine."""

import torch
from torch import Tensor

from baselines.neural.crdr.realism import HIGHEST_BETA
from baselines.neural.crdr.sizes import PUBLISHED_FREQUENCIES
from baselines.neural.crdr.transforms import Synthesis
from baselines.neural.exact.functions import sine_cosine
from baselines.neural.exact.layers import exact_transform


def exact_synthesis(synthesis: Synthesis) -> Synthesis:
    """Return a copy that takes float64 latents; raises `ValueError` for a layer without a form."""
    found = exact_transform(synthesis)
    found.embedding.features = exact_fourier
    return found


def exact_fourier(betas: Tensor, frequencies: int = PUBLISHED_FREQUENCIES) -> Tensor:
    """Return `realism.fourier` of betas (K,) in float64, by doubling the angle: (K, 2 F)."""
    sine, cosine = sine_cosine((betas.double() * (1 / HIGHEST_BETA) - 0.5) * 2)
    sines, cosines = [sine], [cosine]
    for _ in range(frequencies - 1):
        sine, cosine = 2 * sine * cosine, 1 - 2 * sine * sine
        sines.append(sine)
        cosines.append(cosine)
    return torch.stack([*sines, *cosines], dim=1)
