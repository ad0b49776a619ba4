"""HiFiC: parameters as NeuralCompression counts them, normalisation in closed form."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.blocks.layers import ChannelNorm
from baselines.neural.costs import costs
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample

FULL, MICRO, TINY = (ARCHITECTURES["hific"].sizes[name] for name in ("full", "micro", "tiny"))


def test_the_published_size_has_the_published_parameters_and_work():
    result = costs("hific", FULL)
    assert result["analysis"].parameters == 7_423_420
    assert result["synthesis"].parameters == 156_774_683
    assert round(sum(cost.macs_per_pixel for cost in result.values())) == 762_090


def test_a_position_is_normalised_over_its_channels_with_the_unbiased_variance():
    features = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 2)
    result = ChannelNorm(3)(features)
    mean, variance = 3.0, (4 + 1 + 9) / 2
    expected = (features[0, :, 0, 0] - mean) / (variance + 1e-3) ** 0.5
    assert torch.allclose(result[0, :, 0, 0], expected)
    assert torch.equal(result[0, :, 0, 1], torch.zeros(3))


def test_a_pass_with_noise_counts_the_bits_of_rounded_latents_too():
    torch.manual_seed(1)
    network = load_architecture("hific").build(TINY)
    network.analysis[-1].weight.data *= 10  # latents that are not all zero
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        noisy, noiseless = (network(images, None, noisy=noisy) for noisy in (True, False))
    assert torch.equal(noisy.rounded_bits, noiseless.y_bits + noiseless.z_bits)
    assert torch.equal(noiseless.rounded_bits, noisy.rounded_bits)
    assert not torch.equal(noisy.y_bits + noisy.z_bits, noisy.rounded_bits)


@pytest.fixture(scope="module")
def crops():
    """Crops (16, 3, 128, 128) of the sample's photographs, in [-1, 1]."""
    places = [np.s_[y : y + 128, x : x + 128] for y in (32, 160) for x in (32, 160)]
    pixels = [read_image(image.path).pixels for image in open_sample([]).images]
    result = np.stack([photograph[place] for photograph in pixels for place in places])
    return torch.from_numpy(result).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture(scope="module")
def network(crops):
    torch.manual_seed(1)
    result = load_architecture("hific").build(MICRO).eval()
    result.initialise(crops, [1.0])
    return result


@torch.no_grad()
def test_photographs_and_brightness_come_back_although_each_layer_normalises(network, crops):
    decoded = network.synthesise(network.analyse(crops))
    variance = (crops - crops.mean((0, 2, 3), keepdim=True)).square().mean()
    assert (decoded - crops).square().mean() < 0.12 * variance
    greys = torch.tensor([-0.5, 0.0, 0.5])
    flat = greys[:, None, None, None].expand(3, 3, 128, 128)
    decoded = network.synthesise(network.analyse(flat))[..., 32:-32, 32:-32].mean((1, 2, 3))
    assert (decoded.diff() > 0.6 * greys.diff()).all()


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
