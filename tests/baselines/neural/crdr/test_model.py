"""The float network: control by number, vector and map, the decoder's latents, gradients."""

import math

import pytest
import torch

from baselines.neural.blocks.control import (
    ConditionedBottleneck,
    InterpolationChannelAttention,
    convert_level,
)
from baselines.neural.crdr.model import Controls, CRDRNetwork, RealismEmbedding
from support.networks.drawn import noise, shaken
from support.networks.tiny_checkpoint import MICRO, TINY

FORMATS = (torch.contiguous_format, torch.channels_last)
each_format = pytest.mark.parametrize("memory_format", FORMATS, ids=str)


@pytest.fixture(scope="module")
def tiny():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shaken(CRDRNetwork(TINY))


@pytest.fixture(scope="module")
def images():
    return noise(2, 3, 64, 128).clamp(-1, 1)


@each_format
def test_channel_attention_on_a_map_is_that_of_each_position(memory_format):
    attention = shaken(InterpolationChannelAttention(6, 5))
    features = noise(2, 6, 4, 6).contiguous(memory_format=memory_format)
    levels = torch.tensor([[[[0.0, 1.3, 4.0]]], [[[1.3, 2.0, 0.0]]]])
    result = attention(features, convert_level(levels, 4, features))
    for n in range(2):
        for x in range(6):
            level = float(levels[n, 0, 0, x // 2])
            low, part = min(int(level), 3), level - min(int(level), 3)
            gain = attention.gain[low] * (1 - part) + attention.gain[low + 1] * part
            bias = attention.bias[low] * (1 - part) + attention.bias[low + 1] * part
            for y in range(4):
                expected = features[n, :, y, x] * gain.exp().log1p() + bias
                torch.testing.assert_close(result[n, :, y, x], expected)
    assert result.is_contiguous(memory_format=memory_format)


@each_format
@pytest.mark.parametrize("frequencies", [3, 10])
def test_a_conditioned_block_projects_every_pixels_own_beta(memory_format, frequencies):
    embedding, block = shaken(RealismEmbedding(7, frequencies)), shaken(ConditionedBottleneck(8, 7))
    features = noise(2, 8, 4, 4).contiguous(memory_format=memory_format)
    betas = torch.tensor([[[[0.0, 3.84], [5.12, 0.0]]], [[[1.0, 1.0], [0.0, 2.0]]]])
    result = block(features, embedding(convert_level(betas, 5.12, features)))
    fine = betas[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2)
    angles = ((fine / 5.12 - 0.5) * 2)[..., None] * 2.0 ** torch.arange(frequencies)
    vectors = embedding.layers(torch.cat([angles.sin(), angles.cos()], -1))
    first, second, third = (project(vectors).permute(0, 3, 1, 2) for project in block.project)
    inner = block.reduce(features).relu() + first
    inner = block.mix(inner).relu() + second
    torch.testing.assert_close(result, block.expand(inner) + third + features)
    assert result.is_contiguous(memory_format=memory_format)


@each_format
def test_one_level_for_each_picture_is_each_picture_alone(tiny, images, memory_format):
    q, beta = torch.tensor([0.7, 4.0]), torch.tensor([3.84, 0.0])
    images = images.contiguous(memory_format=memory_format)
    latents = tiny.analyse(images, q)
    decoded = tiny.synthesise(latents, Controls(q, beta))
    for i in range(2):
        alone = tiny.analyse(images[i : i + 1], float(q[i]))
        torch.testing.assert_close(latents[i : i + 1], alone)
        alone = tiny.synthesise(latents[i : i + 1], Controls(float(q[i]), float(beta[i])))
        torch.testing.assert_close(decoded[i : i + 1], alone)


@pytest.mark.parametrize(
    "q", [1.25, torch.tensor([[[[0.0, 3.5]]], [[[2.0, 2.0]]]])], ids=["number", "map"]
)
def test_without_gradients_the_values_are_the_same_and_the_inputs_are_kept(tiny, images, q):
    latents = tiny.analyse(images, q)
    decoded = tiny.synthesise(latents, Controls(q, 3.84))
    inputs = images.clone(), latents.detach().clone()
    with torch.no_grad():
        assert torch.equal(tiny.analyse(inputs[0], q), latents)
        assert torch.equal(tiny.synthesise(inputs[1], Controls(q, 3.84)), decoded)
    assert torch.equal(inputs[0], images)
    assert torch.equal(inputs[1], latents)


@pytest.mark.parametrize("level", [-0.1, 4.1, math.nan, torch.tensor([0.0, 5])])
def test_levels_out_of_range_are_refused(tiny, images, level):
    with pytest.raises(ValueError, match=r"not within 0\.\.4"):
        tiny.analyse(images, level)


def test_the_loss_reaches_every_parameter_but_quantiles(images):
    network = shaken(CRDRNetwork(TINY))
    estimate = network(images, Controls(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 2.0])))
    bits = estimate.y_bits + estimate.z_bits
    assert estimate.images.shape == images.shape
    assert bits.shape == (2,)
    (estimate.images.square().mean() + bits.mean()).backward()
    without = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"prior.quantiles"}


def test_rounding_lets_the_gradient_of_the_picture_through(images):
    """Bits of rounded latents have no gradient for the encoder, and medians get none."""
    network = shaken(CRDRNetwork(TINY))
    network(images, Controls(1.0), noisy=False).images.square().mean().backward()
    reached = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"analysis.layers.0.weight", "hyper_analysis.0.weight"} <= reached
    network.zero_grad()
    with torch.no_grad():
        network.hyper_analysis[4].weight.zero_()  # no path to the encoder except through y
    network(images, Controls(1.0), noisy=False).images.square().mean().backward()
    assert network.analysis.layers[0].weight.grad.any()
    network.zero_grad()
    network(images, Controls(1.0), noisy=False).z_bits.sum().backward()
    assert network.prior.quantiles.grad is None
    assert network.prior.matrices[0].grad is not None


def test_the_trained_picture_is_the_decoded_one(tiny, images):
    latents = tiny.analyse(images, 1.0)
    hyper = tiny.prior.rounded(tiny.hyper_analyse(latents))
    slices = latents.split(TINY.slices, dim=1)
    decoded = tiny.context(
        *tiny.hyper_synthesis(hyper), lambda i, mean, _scale: (slices[i] - mean).round() + mean
    )
    pictures = tiny.synthesise(decoded, Controls(1.0, 3.84))
    torch.testing.assert_close(tiny(images, Controls(1.0, 3.84)).images, pictures)


def test_bits_keep_their_precision_under_autocast(tiny, images):
    """Latents are computed in bfloat16 and differ; bits in bfloat16 would be off by 1/256."""
    with torch.no_grad():
        single = tiny(images, Controls(1.0), noisy=False)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = tiny(images, Controls(1.0), noisy=False)
            latents = tiny.analyse(images, 1.0).float()
            hyper = tiny.prior.rounded(tiny.hyper_analyse(latents).float())
        z_bits = tiny.prior.bits(hyper).sum((1, 2, 3))
    assert mixed.y_bits.dtype == mixed.z_bits.dtype == torch.float32
    torch.testing.assert_close(mixed.z_bits, z_bits, rtol=1e-6, atol=0)
    torch.testing.assert_close(mixed.y_bits, single.y_bits, rtol=0.05, atol=0)


def test_noise_changes_the_bits_and_leaves_the_picture(tiny, images):
    first, second = tiny(images, Controls(1.0)), tiny(images, Controls(1.0))
    rounded, repeated = (tiny(images, Controls(1.0), noisy=False) for _ in range(2))
    assert torch.equal(first.images, rounded.images)
    assert not torch.equal(first.y_bits, second.y_bits)
    assert not torch.equal(first.z_bits, second.z_bits)
    assert torch.equal(rounded.y_bits, repeated.y_bits)


def test_the_conditioning_begins_as_the_authors_draw_it():
    torch.manual_seed(4)
    network = CRDRNetwork(MICRO)
    state_before = {name: value.clone() for name, value in network.state_dict().items()}
    network.initialise_parts(network.freezable_parts().keys())
    control = {id(value) for value in network.freezable_parts()["realism_control"]}
    for name, tensor in network.named_parameters():
        if id(tensor) not in control:
            assert torch.equal(tensor, state_before[name])
        elif tensor.ndim == 1:
            assert not bool(tensor.any())
        else:
            assert abs(float(tensor.detach().std()) / 0.02 - 1) < 4 / math.sqrt(2 * tensor.numel())
            assert abs(float(tensor.detach().mean())) < 4 * 0.02 / math.sqrt(tensor.numel())
