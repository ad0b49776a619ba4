"""HiFiC: parameters as NeuralCompression counts them, normalisation in closed form."""

import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.blocks.layers import ChannelNorm
from baselines.neural.cost import costs
from baselines.neural.hific.architecture import FULL, TINY


def test_the_published_size_has_the_published_parameters_and_work():
    found = costs("hific", FULL)
    assert found["analysis"].parameters == 7_423_420
    assert found["synthesis"].parameters == 156_774_683
    assert round(sum(one.macs_per_pixel for one in found.values())) == 762_090


def test_a_position_is_normalised_over_its_channels_with_the_unbiased_variance():
    features = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 2)
    found = ChannelNorm(3)(features)
    mean, variance = 3.0, (4 + 1 + 9) / 2
    expected = (features[0, :, 0, 0] - mean) / (variance + 1e-3) ** 0.5
    assert torch.allclose(found[0, :, 0, 0], expected)
    assert torch.equal(found[0, :, 0, 1], torch.zeros(3))


def test_a_pass_with_noise_counts_the_bits_of_rounded_latents_too():
    torch.manual_seed(1)
    network = load_architecture("hific").build(TINY)
    network.analysis[-1].weight.data *= 10  # latents that are not all zero
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        noisy, still = (network(images, noisy=noisy) for noisy in (True, False))
    assert torch.equal(noisy.rounded_bits, still.y_bits + still.z_bits)
    assert torch.equal(still.rounded_bits, noisy.rounded_bits)
    assert not torch.equal(noisy.y_bits + noisy.z_bits, noisy.rounded_bits)
