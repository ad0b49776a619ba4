"""Pictures of noise that are the same in every run and in every order of the tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def effect_noise(size: tuple[int, int], deviation: float) -> Image.Image:
    """Return a grey image of `size` (width, height; px) of Gaussian noise around 128.

    Unlike `PIL.Image.effect_noise`, it does not depend on what the process has drawn before.
    """
    noise = np.random.default_rng((*size, round(deviation))).normal(128, deviation, size[::-1])
    return Image.fromarray(noise.round().clip(0, 255).astype(np.uint8))


def noise_images(folder: Path, sizes: Iterable[tuple[int, int]]) -> Path:
    """Write a PNG of noise, `0.png` and so on, for each width and height; return the folder."""
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes):
        effect_noise(size, 50).convert("RGB").save(folder / f"{number}.png")
    return folder
