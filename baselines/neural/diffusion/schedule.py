"""Noise levels and sampling steps of a diffusion model: pure functions of tensors and numbers.

A clean signal u and noise eps, both of unit variance, make u_t = alpha u + sigma eps with
alpha² + sigma² = 1. The time t runs from 0, clean, to 1, noise. What is predicted is
v = alpha eps - sigma u (Salimans, Ho, "Progressive distillation for fast sampling of diffusion
models", ICLR 2022), from which u = alpha u_t - sigma v and eps = sigma u_t + alpha v.

The schedule is the shifted cosine of Hoogeboom, Heek, Salimans, "Simple diffusion" (ICML 2023):
logSNR(t) = -2 ln(n tan(pi t / 2)). A scale n below 1 means less noise; a signal n times as large
has the same ratio of signal to noise at n = 1.
"""

import math
from typing import NamedTuple

from torch import Tensor

LARGEST_LOG_SNR = 15.0


class NoiseLevel(NamedTuple):
    """Amounts of signal and noise at a time; `alpha`² + `sigma`² = 1."""

    log_snr: float  # ln(alpha² / sigma²), within -15..15
    alpha: float
    sigma: float


def log_snr(time: float, noise_scale: float = 1.0) -> float:
    """Return logSNR at a time in [0, 1], limited to -15..15.

    noise_scale: n, above 0.

    >>> round(log_snr(0.5, 0.1), 6), log_snr(0), log_snr(1)
    (4.60517, 15.0, -15.0)
    """
    if time <= 0 or time >= 1:
        return LARGEST_LOG_SNR if time <= 0 else -LARGEST_LOG_SNR
    found = -2 * math.log(noise_scale * math.tan(math.pi * time / 2))
    return min(max(found, -LARGEST_LOG_SNR), LARGEST_LOG_SNR)


def noise_level(time: float, noise_scale: float = 1.0) -> NoiseLevel:
    """Return logSNR, alpha and sigma at a time in [0, 1].

    >>> half = noise_level(0.5)
    >>> round(half.alpha**2, 6), round(half.sigma**2, 6)
    (0.5, 0.5)
    """
    ratio = log_snr(time, noise_scale)
    return NoiseLevel(ratio, (1 + math.exp(-ratio)) ** -0.5, (1 + math.exp(ratio)) ** -0.5)


def times(steps: int, start: float = 1.0) -> list[float]:
    """Return the times of a drawing in so many steps, from `start` to 0 in equal parts.

    >>> times(4), times(2, 0.5)
    ([1.0, 0.75, 0.5, 0.25, 0.0], [0.5, 0.25, 0.0])
    """
    return [start * (steps - step) / steps for step in range(steps + 1)]


def clean(noisy: Tensor, velocity: Tensor, at: NoiseLevel) -> Tensor:
    """Return the predicted clean signal, alpha u_t - sigma v; all tensors are of one shape."""
    return at.alpha * noisy - at.sigma * velocity


def ddim_step(noisy: Tensor, predicted: Tensor, at: NoiseLevel, to: NoiseLevel) -> Tensor:
    """Return u_s of u_t and the predicted clean signal, without new noise.

    Song, Meng, Ermon, "Denoising diffusion implicit models" (ICLR 2021), with eta 0.
    """
    noise = (noisy - at.alpha * predicted) / at.sigma
    return to.alpha * predicted + to.sigma * noise


def ancestral_step(
    noisy: Tensor, predicted: Tensor, noise: Tensor, at: NoiseLevel, to: NoiseLevel
) -> Tensor:
    """Return u_s drawn from its distribution given u_t and the predicted clean signal.

    Ho, Jain, Abbeel, "Denoising diffusion probabilistic models" (NeurIPS 2020), with the variance
    sigma_s² (1 - exp(logSNR_t - logSNR_s)). noise: unit variance, drawn for this step.
    """
    share = -math.expm1(at.log_snr - to.log_snr)
    mean = to.alpha * ((1 - share) / at.alpha * noisy + share * predicted)
    return mean + to.sigma * math.sqrt(share) * noise
