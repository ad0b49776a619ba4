"""Three distortions of a photograph with exactly the same mean squared error. Pure.

Pixels have shape (height, width, 3), uint8. Wang and Bovik's example ("Mean Squared Error: Love It
or Leave It?", 2009): pictures that are equally far from the source, and do not look it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Pixels

SEED = 20
STEPS = 40  # of the bisection: the strength to 12 digits


class Distortion(NamedTuple):
    """A photograph after a named change."""

    name: str
    pixels: Pixels


def equal_distortions(photograph: Pixels, psnr_db: float) -> list[Distortion]:
    """Return less contrast, a blur, and noise, each with exactly the same sum of squared errors.

    That sum is the PSNR's, rounded up to a whole number. Raises `ValueError` where a distortion
    cannot reach it on this photograph (a flat picture cannot be blurred).
    """
    wanted = int(np.ceil(255**2 * 10 ** (-psnr_db / 10) * photograph.size))
    signal = photograph.astype(np.float64)
    mean = signal.mean(axis=(0, 1))
    chance = np.random.default_rng(SEED)
    noise = chance.standard_normal(signal.shape)
    # else all samples of a level would be rounded to the next one together, and the error jump
    dither = chance.uniform(-0.5, 0.5, signal.shape)

    def contrast(strength: float) -> Float64Array:
        return np.asarray(signal + strength * (mean - signal) + dither)

    def blurred(strength: float) -> Float64Array:
        from scipy.ndimage import gaussian_filter

        sigma = 20 * strength
        return np.asarray(gaussian_filter(signal, (sigma, sigma, 0), mode="nearest"))

    def noisy(strength: float) -> Float64Array:
        return signal + 128 * strength * noise

    makers: dict[str, Callable[[float], Float64Array]] = {
        "Less contrast": contrast,
        "Blur": blurred,
        "Noise": noisy,
    }
    return [
        Distortion(name, _of_error(photograph, make, wanted, name)) for name, make in makers.items()
    ]


def squared_error(reference: Pixels, changed: Pixels) -> int:
    """Return the sum of squared differences over all samples.

    >>> squared_error(np.uint8([[[0, 7, 7]]]), np.uint8([[[255, 7, 5]]]))
    65029
    """
    difference = reference.astype(np.int64) - changed.astype(np.int64)
    return int((difference**2).sum())


def _of_error(
    photograph: Pixels, make: Callable[[float], Float64Array], wanted: int, name: str
) -> Pixels:
    """Return the strongest distortion below the error, with the rest in steps of one level."""
    low, high = 0.0, 1.0
    if squared_error(photograph, _rounded(make(high))) < wanted:
        raise ValueError(f"{name} cannot change this photograph that much")
    for _ in range(STEPS):
        middle = (low + high) / 2
        if squared_error(photograph, _rounded(make(middle))) > wanted:
            high = middle
        else:
            low = middle
    changed = _rounded(make(low))
    return _with_rest(photograph, changed, wanted - squared_error(photograph, changed), name)


def _with_rest(photograph: Pixels, changed: Pixels, rest: int, name: str) -> Pixels:
    """Change `rest` samples that were right by one level; each adds one to the error."""
    right = np.flatnonzero((changed == photograph).ravel())
    if rest > len(right):
        raise ValueError(f"{name} cannot reach exactly this error on this photograph")
    # spread over the picture, where they cannot be seen
    chosen = right[np.linspace(0, len(right) - 1, rest).astype(int)] if rest else right[:0]
    flat = changed.ravel().copy()
    flat[chosen] = np.where(flat[chosen] < 255, flat[chosen] + 1, 254)
    return flat.reshape(changed.shape)


def _rounded(signal: Float64Array) -> Pixels:
    return np.clip(np.rint(signal), 0, 255).astype(np.uint8)
