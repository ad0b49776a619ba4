"""A folder -> photographs and recipes for training runs of about a second, and the command."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import Result

from support.bench.command import invoked
from support.networks.tiny_checkpoint import noise

STAGE = """
[[stage]]
objective = "{objective}"
steps = {steps}
batch = 2
crop_px = 64
learning_rate = 1e-3
decay_at = 0.5
lambdas = [3.4, 1.3, 0.4, 0.12, 0.05]
"""
GAN = """gan_per_beta = 0.1
discriminator_channels = [4, 8]
"""


def write_photographs(folder: Path) -> None:
    """Three to learn from in photos/, one to validate on in unseen/."""
    for name, sides in (("photos", (70, 80, 90)), ("unseen", (64,))):
        (folder / name).mkdir()
        for side in sides:
            picture: np.ndarray = noise(side, side + 6, side)
            Image.fromarray(picture).save(folder / name / f"{side}.png")


def write_recipe(path: Path, rate_steps: int = 2, realism_steps: int = 2, **fields) -> Path:
    """With a stage for each kind that has steps, without the weights that LPIPS needs."""
    values = {"sizes": '"tiny"', "report_every_steps": 1, "validate_every_steps": 1000, **fields}
    text = "".join(f"{name} = {value}\n" for name, value in values.items())
    if rate_steps:
        text += STAGE.format(objective="multi_rate", steps=rate_steps) + "balanced = true\n"
    if realism_steps:
        text += STAGE.format(objective="realism", steps=realism_steps) + GAN
    path.write_text(text)
    return path


def bench(*words: object) -> Result:
    result = invoked(*words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def training(place: Path, out: Path, *options: object, recipe: str = "recipe.toml") -> tuple:
    data = ("--data", place / "photos", "--validation", place / "unseen")
    return ("train", "--recipe", place / recipe, *data, "--out", out, *options)
