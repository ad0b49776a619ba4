"""Start values of HiFiC: a linear transform in spite of normalisations, a constant for free."""

import math

import pytest
import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.hific.architecture import MICRO
from benchmark.datasets.image import read_image
from benchmark.datasets.sample import open_sample


@pytest.fixture(scope="module")
def crops():
    """Crops (16, 3, 128, 128) of the sample's photographs, in [-1, 1]."""
    pixels = [read_image(image.path).pixels for image in open_sample([]).images]
    found = [one[y : y + 128, x : x + 128] for one in pixels for y in (32, 160) for x in (32, 160)]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in found]) / 127.5 - 1


@pytest.fixture(scope="module")
def network(crops):
    torch.manual_seed(1)
    architecture = load_architecture("hific")
    made = architecture.build(MICRO).eval()
    architecture.initialise(made, crops, [1.0])
    return made


@torch.no_grad()
def test_photographs_come_back_although_each_layer_normalises_its_channels(network, crops):
    decoded = network.synthesise(network.analyse(crops))
    variance = (crops - crops.mean((0, 2, 3), keepdim=True)).square().mean()
    assert (decoded - crops).square().mean() < 0.12 * variance


@torch.no_grad()
def test_brightness_which_a_normalisation_takes_away_comes_back(network):
    greys = torch.tensor([-0.5, 0.0, 0.5])
    flat = greys[:, None, None, None].expand(3, 3, 128, 128)
    decoded = network.synthesise(network.analyse(flat))[..., 32:-32, 32:-32].mean((1, 2, 3))
    assert (decoded.diff() > 0.6 * greys.diff()).all()


@torch.no_grad()
def test_a_relu_takes_nothing_away_since_each_coefficient_has_its_negative(network, crops):
    features = (crops + 1) / 2
    for layer in network.analysis[:3]:  # as far as the first ReLU
        features = layer(features)
    colours, negatives = features[:, :3], features[:, 3:6]
    assert torch.minimum(colours, negatives).max() < 0.01 * colours.std()  # one of both is 0
    read, sources = (x - x.mean((0, 2, 3), keepdim=True) for x in (colours - negatives, crops))
    similarity = (read * sources).sum() / (read.norm() * sources.norm())
    assert similarity > 0.99


@torch.no_grad()
def test_the_constant_of_the_latent_takes_no_bits(network, crops):
    y = network.analyse(crops)
    (constant,) = y[:, -1].unique().tolist()
    assert constant == round(constant) > y[:, :-1].std().item()
    decoded = network.code(y, noisy=False).latents[:, -1]
    assert decoded == pytest.approx(torch.full_like(decoded, constant), abs=0.01), "symbols are 0"
    scale = network.hyper_synthesis.scale[-1].bias[-1].item()
    bits_of_zero = -math.log2(math.erf(0.5 / scale / math.sqrt(2)))
    assert bits_of_zero < 1e-2
