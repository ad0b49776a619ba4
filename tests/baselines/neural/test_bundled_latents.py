"""The hyper-latent of every bundled network carries bits, with two known exceptions."""

from pathlib import Path

import pytest
import torch

from baselines.neural.card import card_path, load_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network import make_images
from baselines.neural.network_codec import BUNDLED
from baselines.neural.training.photographs import read_photograph
from benchmark.datasets.kodak import open_sample

WITHOUT_HYPER_LATENT = {"dirac", "hfd", "pqmim"}
EMPTY = {"multirealism-3", "multirealism-4"}
MIN_BPP = 1e-4  # a twentieth of the minimum of the other networks
NETWORKS = [
    path
    for path in sorted(BUNDLED.glob("*.safetensors.xz"))
    if load_card(path).architecture not in WITHOUT_HYPER_LATENT
]


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: card_path(path).stem)
def test_a_hyper_latent_carries_bits(path: Path) -> None:
    network = load_checkpoint(path).network
    crop = read_photograph(open_sample().images[0].path)[128:384, 128:384]
    controls = network.controls_at(torch.tensor([0.0]), torch.tensor([0.0]))
    with torch.no_grad():
        estimate = network(make_images(crop, torch.device("cpu")), controls, noisy=False)
    assert (float(estimate.z_bits) / 256**2 < MIN_BPP) == (card_path(path).stem in EMPTY)
