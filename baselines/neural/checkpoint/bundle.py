"""A network -> the checkpoint that a codec needs: parameters and integer tables, made once.

The tables are computed here and nowhere else; a codec reads the integers, since two machines'
exponentials need not agree in the last bit.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from baselines.neural.blocks.raster import padded, to_images
from baselines.neural.checkpoint.card import Card
from baselines.neural.checkpoint.checkpoint import save_checkpoint
from baselines.neural.crdr.authors import import_authors
from baselines.neural.crdr.model import CRDR
from baselines.neural.entropy.factorised import factorised_tables
from baselines.neural.entropy.fixed.calibration import calibrate
from baselines.neural.entropy.fixed.fractional_bits import fraction_tables
from baselines.neural.entropy.fixed.tables import make_tables
from benchmark.codec import Pixels

COMMIT = "github.com/iwa-shi/CRDR"
PUBLISHED_STEPS = 5_000_000
PUBLISHED_DATA = "Open Images V6, about 1.1 million"


def make_bundle(
    path: Path, model: CRDR, card: Card, images: Sequence[Pixels], *, half: bool = False
) -> Card:
    """Save a network on the CPU with its tables; returns the card with its sha256.

    images: photographs like those that will be coded, whose activations say how fine the integers
    can be; two of 256 x 256 do. With `half`, parameters become float16 first, so that tables and
    file belong together. Raises `ValueError` for parameters that are not finite.
    """
    kept = deepcopy(model).eval()
    if half:
        kept.half().float()
    tables = {**make_tables(), **factorised_tables(kept.prior)}
    with torch.inference_mode():
        tables |= fraction_tables(calibrate(kept, _latents(kept, images)))
    return save_checkpoint(path, kept, card, tables, half=half)


def _latents(model: CRDR, images: Iterable[Pixels]) -> Iterable[Tensor]:
    for pixels in images:
        planes = to_images(padded(pixels), torch.device("cpu"))
        for q in range(model.sizes.rate_levels):
            yield model.analyse(planes, float(q))


def import_checkpoint(
    source: Path,
    target: Path,
    images: Sequence[Pixels],
    *,
    steps: int = PUBLISHED_STEPS,
    training_data: str = PUBLISHED_DATA,
    half: bool = False,
) -> Card:
    """The authors' `crdr.pth.tar` to a checkpoint of ours; raises `Unavailable` for other files."""
    sizes, state = import_authors(source)
    with torch.device("meta"):
        model = CRDR(sizes)
    model.load_state_dict(state, assign=True)
    command = f"bench checkpoint import {source.name} --steps {steps}"
    card = Card(sizes, training_data, steps, command, COMMIT)
    return make_bundle(target, model, card, images, half=half)
