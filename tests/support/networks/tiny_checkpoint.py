"""Checkpoints of the smallest network: seeded weights, tables and card."""

from pathlib import Path

import numpy as np
import torch

from baselines.neural.architecture import ARCHITECTURES, CrdrSizes
from baselines.neural.card import Card
from baselines.neural.crdr.authors import import_checkpoint
from support.networks.authors_weights import authors_state

NAMED = ARCHITECTURES["crdr"].sizes
FULL, SMALL, MINI, MICRO, TINY = NAMED.values()
PQMIM_MICRO, PQMIM_TINY = (ARCHITECTURES["pqmim"].sizes[name] for name in ("micro", "tiny"))


def noise(height: int, width: int, seed: int = 7) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 160, (-(-height // 8), -(-width // 8), 3))
    fine = random.integers(0, 96, (height, width, 3))
    return (coarse.repeat(8, 0).repeat(8, 1)[:height, :width] + fine).astype(np.uint8)


def write_checkpoint(path: Path, sizes: CrdrSizes = TINY, *, steps: int = 0) -> Card:
    """Write a checkpoint as `bench checkpoint import` does from the authors' file; untrained."""
    source = path.with_name("crdr.pth.tar")
    torch.save({"comp_model": authors_state(sizes)}, source)
    facts = {"sizes": sizes, "steps": steps, "training_data": "nothing"}
    card = import_checkpoint(source, path, [noise(128, 128, seed) for seed in (1, 2)], **facts)
    source.unlink()
    return card
