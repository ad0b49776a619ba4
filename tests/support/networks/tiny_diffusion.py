"""Checkpoints of the smallest diffusion decoders: seeded weights behind a base that runs here."""

import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card
from baselines.neural.checkpoint import make_checkpoint
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.diffusion.model import DiffusionNetwork
from baselines.neural.network import make_images
from support.networks.tiny_checkpoint import noise


def drawing_network(method: str, base: str) -> DiffusionNetwork:
    """Return a network with random weights, measured behind a base at its first three levels."""
    architecture = load_architecture(method)
    codec = BaseCodec(base)
    sweep = codec.codec.sweep[:3]
    values = tuple(float(entry.value) for entry in sweep)
    measured = {"base": codec.spec.text, "base_fingerprint": codec.fingerprint}
    measured |= {"setting": sweep[0].name, "settings": values}
    torch.manual_seed(3)
    network = architecture.build(replace(architecture.sizes["tiny"], **measured))
    crops = [make_images(noise(64, 64, seed), torch.device("cpu")) for seed in (1, 2)]
    network.initialise(torch.cat(crops), ())
    for parameter in network.parameters():
        if not parameter.any():  # convolutions that start at zero
            torch.nn.init.normal_(parameter, std=0.05)
    return network


def write_drawing(path: Path, method: str, base: str, weights: Path | None = None) -> Card:
    """Write an untrained checkpoint; the base's own weights are in the folder `weights`."""
    with patch.dict(os.environ, {"BENCH_WEIGHTS": str(weights)} if weights else {}):
        network = drawing_network(method, base)
    return make_checkpoint(path, network, Card(method, network.sizes, "noise", 0, "none", "0"), [])
