"""Checkpoints of the smallest network of any architecture: fitted to noise, untrained."""

from pathlib import Path

import torch

from baselines.neural.architecture import load_architecture, rate_levels
from baselines.neural.card import Card
from baselines.neural.checkpoint import make_checkpoint
from baselines.neural.network import make_images
from support.networks.tiny_checkpoint import noise


def write_tiny(path: Path, name: str, *, seed: int = 0) -> Card:
    torch.manual_seed(seed)
    architecture = load_architecture(name)
    config = architecture.sizes["tiny"]
    network = architecture.build(config)
    photographs = [noise(128, 128, noise_seed) for noise_seed in (1, 2)]
    crops = torch.cat([make_images(photograph, torch.device("cpu")) for photograph in photographs])
    network.initialise(crops, [0.3] * rate_levels(config))
    return make_checkpoint(path, network, Card(name, config, "noise", 0, "none", "0"), photographs)
