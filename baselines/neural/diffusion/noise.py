"""Noise levels of a diffusion model, and normal noise that is the same on every machine.

A clean signal u and noise eps, both of unit variance, make u_t = alpha u + sigma eps with
alpha² + sigma² = 1, at time t from 0 (clean) to 1 (noise). The network predicts
v = alpha eps - sigma u (Salimans, Ho, "Progressive distillation", ICLR 2022), from which
u = alpha u_t - sigma v and eps = sigma u_t + alpha v. The schedule is the shifted cosine of
Hoogeboom et al., "Simple diffusion" (ICML 2023): logSNR(t) = -2 ln(n tan(pi t / 2)); a scale n
below 1 means less noise.
Noise is made from Philox's integers (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011), keyed by a hash of stream and seed: sixteen bits choose one of 65,536 equally likely
values of a normal distribution, rounded to 2^-20. This arithmetic is exact on all machines.
"""

import math
from functools import cache
from hashlib import sha256
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_LOG_SNR = 15.0


class NoiseLevel(NamedTuple):
    """Amplitudes of signal and noise at a time; `alpha`² + `sigma`² = 1."""

    log_snr: float  # ln(alpha² / sigma²), within -15..15
    alpha: float
    sigma: float


def noise_level(time: float, noise_scale: float = 1.0) -> NoiseLevel:
    """Return the noise level at a time in [0, 1], logSNR clipped to -15..15; noise_scale: n."""
    if 0 < time < 1:
        log_snr = -2 * math.log(noise_scale * math.tan(math.pi * time / 2))
        log_snr = min(max(log_snr, -MAX_LOG_SNR), MAX_LOG_SNR)
    else:
        log_snr = MAX_LOG_SNR if time <= 0 else -MAX_LOG_SNR
    return NoiseLevel(log_snr, (1 + math.exp(-log_snr)) ** -0.5, (1 + math.exp(log_snr)) ** -0.5)


def amplitudes(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma, each (N, 1, 1, 1), for logSNRs (N,)."""
    alpha, sigma = ((sign * log_snr).sigmoid().sqrt()[:, None, None, None] for sign in (1, -1))
    return alpha, sigma


def step_times(steps: int, start: float = 1.0) -> list[float]:
    """Return `steps` + 1 evenly spaced times from `start` to 0."""
    return [start * (steps - step) / steps for step in range(steps + 1)]


def predict_clean(noisy: Tensor, velocity: Tensor, level: NoiseLevel) -> Tensor:
    """Return the predicted clean signal, alpha u_t - sigma v; all tensors have the same shape."""
    return level.alpha * noisy - level.sigma * velocity


def ddim_step(noisy: Tensor, clean: Tensor, level: NoiseLevel, next_level: NoiseLevel) -> Tensor:
    """Return u_s from u_t and the predicted clean signal (Song, Meng, Ermon, ICLR 2021)."""
    noise = (noisy - level.alpha * clean) / level.sigma
    return next_level.alpha * clean + next_level.sigma * noise


def ancestral_step(
    noisy: Tensor, clean: Tensor, noise: Tensor, level: NoiseLevel, next_level: NoiseLevel
) -> Tensor:
    """Sample u_s given u_t, the predicted clean signal, and `noise` of unit variance."""
    # Ho, Jain, Abbeel (NeurIPS 2020), with the variance sigma_s² (1 - exp(logSNR_t - logSNR_s))
    share = -math.expm1(level.log_snr - next_level.log_snr)
    mean = next_level.alpha * ((1 - share) / level.alpha * noisy + share * clean)
    return mean + next_level.sigma * math.sqrt(share) * noise


VALUES = 1 << 16  # number of possible noise values
GRID = 1 << 20  # steps per unit


def noise_key(stream: bytes, seed: int) -> int:
    """Return the 128-bit key for a stream and a seed, 0 to 2^64 - 1."""
    digest = sha256(b"noise" + seed.to_bytes(8, "little") + sha256(stream).digest()).digest()
    return int.from_bytes(digest[:16], "little")


def normal_noise(key: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return normal noise, independent for each step: variance 1 (to 3e-5), magnitudes to 4.33."""
    count = int(np.prod(shape))
    philox = np.random.Philox(key=key, counter=step << 192)
    random_words = philox.random_raw(-(-count // 4)).astype("<u8")
    return normal_values()[random_words.view("<u2")[:count]].reshape(shape)


@cache
def normal_values() -> NDArray[np.float32]:
    """Return the 65,536 values, ascending: multiples of 2^-20 below 8, exact in float32."""
    half_count = VALUES // 2
    distribution = NormalDist()
    positive_values = [
        round(distribution.inv_cdf((half_count + index + 0.5) / VALUES) * GRID)
        for index in range(half_count)
    ]
    negative_values = [-value for value in reversed(positive_values)]
    table = np.array([*negative_values, *positive_values], np.int32)
    return (table.astype(np.float64) / GRID).astype(np.float32)
