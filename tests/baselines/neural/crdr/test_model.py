"""The float network: control by number, vector and map, sizes and costs, initial values."""

import math
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv_transpose2d

from baselines.neural.architecture import CrdrSizes, parse_dimensions
from baselines.neural.blocks import control, start_values
from baselines.neural.blocks.control import IndexedLevels, convert_level
from baselines.neural.blocks.start_values import fit_transform, fit_transforms
from baselines.neural.costs import costs, macs_per_pixel
from baselines.neural.crdr.model import STEP, Controls, CRDRNetwork, RealismEmbedding
from baselines.neural.entropy import hyperprior
from baselines.neural.network import make_images
from baselines.neural.training.objective import rate_distortion
from baselines.neural.training.photographs import draw_crops, hold_photographs
from support.networks.drawn import noise, shaken
from support.networks.tiny_checkpoint import FULL, MICRO, MINI, NAMED, TINY
from support.training.fixtures import LAMBDAS

FORMATS = (torch.contiguous_format, torch.channels_last)
each_format = pytest.mark.parametrize("memory_format", FORMATS, ids=str)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return shaken(CRDRNetwork(TINY))


@pytest.fixture(scope="module")
def images():
    return noise(2, 3, 64, 128).clamp(-1, 1)


@each_format
def test_channel_attention_on_a_map_is_that_of_each_position(memory_format):
    attention = shaken(control.InterpolationChannelAttention(6, 5))
    features = noise(2, 6, 4, 6).contiguous(memory_format=memory_format)
    levels = torch.tensor([[[[0.0, 1.3, 4.0]]], [[[1.3, 2.0, 0.0]]]])
    result = attention(features, convert_level(levels, 4, features))
    for n, x in np.ndindex(2, 6):
        level = float(levels[n, 0, 0, x // 2])
        low, part = min(int(level), 3), level - min(int(level), 3)
        gain, bias = (
            values[low] * (1 - part) + values[low + 1] * part
            for values in (attention.gain, attention.bias)
        )
        expected = features[n, :, :, x].T * gain.exp().log1p() + bias
        torch.testing.assert_close(result[n, :, :, x].T, expected)
    assert result.is_contiguous(memory_format=memory_format)


@each_format
@pytest.mark.parametrize("frequencies", [3, 10])
def test_a_conditioned_block_projects_every_pixels_own_beta(memory_format, frequencies):
    embedding = shaken(RealismEmbedding(7, frequencies))
    block = shaken(control.ConditionedBottleneck(8, 7))
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


def test_one_level_for_each_picture_is_each_picture_alone(tiny, images):
    q, beta = torch.tensor([0.7, 4.0]), torch.tensor([3.84, 0.0])
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
    assert all(map(torch.equal, inputs, (images, latents)))


@pytest.mark.parametrize("level", [-0.1, 4.1, math.nan, torch.tensor([0.0, 5])])
def test_levels_out_of_range_are_refused(tiny, images, level):
    with pytest.raises(ValueError, match=r"0\.\.4"):
        tiny.analyse(images, level)


def test_gradients_reach_every_parameter_but_quantiles_and_pass_through_rounding(images):
    network = shaken(CRDRNetwork(TINY))

    def reached(loss):
        network.zero_grad()
        loss.backward()
        return {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}

    estimate = network(images, Controls(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 2.0])))
    bits = estimate.y_bits + estimate.z_bits
    assert estimate.images.shape == images.shape
    assert bits.shape == (2,)
    names = reached(estimate.images.square().mean() + bits.mean())
    assert names == {name for name, _ in network.named_parameters()} - {"prior.quantiles"}
    # Bits of rounded latents have no gradient for the encoder, and medians get none.
    names = reached(network(images, Controls(1.0), noisy=False).images.square().mean())
    assert {"analysis.layers.0.weight", "hyper_analysis.0.weight"} <= names
    network.hyper_analysis[4].weight.data.zero_()  # no path to the encoder except through y
    estimate = network(images, Controls(1.0), noisy=False)
    assert "analysis.layers.0.weight" in reached(estimate.images.square().mean())
    names = reached(network(images, Controls(1.0), noisy=False).z_bits.sum())
    assert "prior.matrices.0" in names
    assert "prior.quantiles" not in names


def test_the_trained_picture_is_the_decoded_one_and_noise_changes_the_bits_alone(tiny, images):
    latents = tiny.analyse(images, 1.0)
    hyper = tiny.prior.rounded(tiny.hyper_analyse(latents))
    slices = latents.split(TINY.slices, dim=1)
    decoded = tiny.context(
        *tiny.hyper_synthesis(hyper), lambda i, mean, _scale: (slices[i] - mean).round() + mean
    )
    pictures = tiny.synthesise(decoded, Controls(1.0, 3.84))
    torch.testing.assert_close(tiny(images, Controls(1.0, 3.84)).images, pictures)
    first, second, rounded, repeated = (
        tiny(images, Controls(1.0), noisy=noisy) for noisy in (True, True, False, False)
    )
    assert torch.equal(first.images, rounded.images)
    assert not torch.equal(first.y_bits, second.y_bits)
    assert not torch.equal(first.z_bits, second.z_bits)
    assert torch.equal(rounded.y_bits, repeated.y_bits)


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


def test_the_conditioning_begins_as_the_authors_draw_it():
    network = CRDRNetwork(MICRO)
    state_before = {name: value.clone() for name, value in network.state_dict().items()}
    network.initialise_parts(network.freezable_parts().keys())
    drawn_anew = {id(value) for value in network.freezable_parts()["realism_control"]}
    for name, tensor in network.named_parameters():
        if id(tensor) not in drawn_anew:
            assert torch.equal(tensor, state_before[name])
        elif tensor.ndim == 1:
            assert not bool(tensor.any())
        else:
            assert abs(float(tensor.detach().std()) / 0.02 - 1) < 4 / math.sqrt(2 * tensor.numel())
            assert abs(float(tensor.detach().mean())) < 4 * 0.02 / math.sqrt(tensor.numel())


def test_full_has_the_published_parameters_in_every_part_and_others_stay_within_their_limits():
    assert {name: cost.parameters for name, cost in costs("crdr", FULL).items()} == {
        "analysis": 7_357_632, "synthesis": 13_378_115, "hyper_analysis": 4_199_168,
        "hyper_synthesis": 5_776_896, "prior": 11_712, "context": 96_989_440,
    }  # fmt: skip
    parameters = {n: sum(c.parameters for c in costs("crdr", s).values()) for n, s in NAMED.items()}
    assert 8e6 <= parameters["small"] <= 12e6
    assert parameters["micro"] <= 1e6
    assert macs_per_pixel("crdr", MICRO) <= 20_000
    assert parameters["mini"] <= 3e6
    assert macs_per_pixel("crdr", MINI) <= 45_000


@pytest.mark.parametrize("sizes", NAMED.values(), ids=NAMED)
def test_costs_are_those_of_the_modules_counted_one_by_one(sizes):
    macs = Counter()

    def count(module, inputs, output):
        transposed = isinstance(module, nn.ConvTranspose2d)
        positions = (inputs[0] if transposed else output).shape[2:].numel()
        macs[part_by_module[module]] += positions * module.weight.numel()

    with torch.device("meta"):
        network = CRDRNetwork(sizes)
        children = dict(network.named_children())
        part_by_module = {m: name for name, part in children.items() for m in part.modules()}
        for module in part_by_module:
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(count)
        level = IndexedLevels(torch.zeros(1), None)
        latents = network.analyse(torch.zeros(1, 3, 64, 128), level)
        supports = network.hyper_synthesis(network.hyper_analyse(latents))
        decoded = network.context(*supports, lambda _i, mean, _scale: mean)
        network.synthesise(decoded, Controls(level, level))
    assert costs("crdr", sizes) == {
        name: (sum(p.numel() for p in part.parameters()), macs[name] / (64 * 128))
        for name, part in children.items()
    }
    assert macs_per_pixel("crdr", sizes) == macs.total() / (64 * 128)


@pytest.mark.parametrize("change", [
    {"latent": 13}, {"latent": 12.0}, {"attention": 1}, {"slices": [2] * 65}, {"slices": 12},
    {"encoder": [8, 6]}, {"encoder": [8, 6, 10**9]}, {"encoder": None}, {"outer_kernel": 4},
    {"support_slices": 5}, {"blocks": -1}, {"blocks": 10**9}, {"blocks": True}, {"rate_levels": 1},
    {"unknown": 1},
], ids=str)  # fmt: skip
def test_impossible_dimensions_are_refused(change):
    (field,) = change
    record = {k: v for k, v in (asdict(TINY) | change).items() if v is not None}
    with pytest.raises(ValueError, match=field):
        parse_dimensions(record, CrdrSizes)


KEPT = (10, 20, 24, 30)  # components, stage by stage, of 12, 40, 80 and 96
WIDTHS = {"encoder": KEPT[:3], "decoder": KEPT[2::-1], "latent": KEPT[3], "slices": (10, 20)}
PLAIN = replace(TINY, attention=False, support_slices=1, **WIDTHS)


@pytest.fixture(scope="module")
def crops(coffee):
    """Crops of a photograph, (16, 3, 128, 128) in [-1, 1]."""
    return draw_crops(hold_photographs([coffee]), 128, range(16), seed=3).float() / 127.5 - 1


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(start_values, "NOISE_STD", 0.0)
    monkeypatch.setattr(hyperprior, "INITIAL_STD", 0.0)


def made(sizes: CrdrSizes, crops, lambdas=LAMBDAS):
    torch.manual_seed(5)
    network = CRDRNetwork(sizes)
    network.initialise(crops, lambdas)
    return network


def test_each_transform_is_the_karhunen_loeve_transform_of_what_comes_before(crops):
    """The right singular vectors of the centred patches, strongest first."""
    result = fit_transform(crops, 12)
    centred = (crops - crops.mean((0, 2, 3), keepdim=True)).double()
    # 2 x 2 neighbours: (positions, 4 c), in the order c, row, column
    cells = centred.reshape(16, 3, 64, 2, 64, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 12)
    _, values, vectors = np.linalg.svd(cells.numpy(), full_matrices=False)
    spread = values / np.sqrt(len(cells))
    assert result.spread.numpy() == pytest.approx(spread, rel=1e-3, abs=1e-5)
    agreement = np.abs((result.basis.flatten(1).double().numpy() * vectors).sum(1))
    is_distinct = np.diff(spread) < -0.02 * spread[:-1]  # where the next one is close, they may mix
    assert is_distinct.sum() >= 5
    assert (agreement[:-1][is_distinct & np.append(True, is_distinct[:-1])] > 0.99).all()
    first, second, third = fit_transforms(crops, [8, 100, 9])
    assert torch.equal(first.basis, fit_transform(crops, 8).basis)
    features = first.analyse(crops)
    assert torch.equal(second.basis, fit_transform(features, 100).basis)
    assert len(second.basis) == 32, "no more components than neighbours"
    assert torch.equal(third.basis, fit_transform(second.analyse(features), 9).basis)


@torch.no_grad()
@pytest.mark.usefixtures("exact")
def test_without_noise_the_start_inverts_the_kept_subspace_with_the_steps_of_its_lambdas(crops):
    network, transforms = made(PLAIN, crops), fit_transforms(crops, KEPT)
    coefficients = crops
    for transform in transforms:
        coefficients = transform.analyse(coefficients)
    deviations = [float(network.analyse(crops, float(q)).std()) for q in range(5)]
    expected = [STEP * float(coefficients.std()) * (0.4 / weight) ** 0.5 for weight in LAMBDAS]
    assert deviations == pytest.approx(expected, rel=1e-4)
    starts = torch.cat([transform[-1].bias for transform in network.context.scale])
    spread = (transforms[-1].spread * STEP).clamp(min=0.15)
    assert starts.tolist() == pytest.approx(spread.tolist(), rel=1e-4)
    projected = coefficients
    for transform in reversed(transforms):
        projected = conv_transpose2d(projected, transform.basis, stride=2)
        projected = projected + transform.mean[:, None, None]
    assert (projected - crops).abs().max() > 0.05, "something was left out"
    for level in (0.0, 1.0, 2.0, 3.0, 4.0):
        decoded = network.synthesise(network.analyse(projected, level), Controls(level, 2.56))
        assert torch.allclose(decoded, projected, atol=2e-4), level


def mean_loss(network, crops, level):
    with torch.no_grad():
        result = network(crops, Controls(float(level)), noisy=False)
    of_crops = rate_distortion(crops, result.images, result.y_bits + result.z_bits)
    return float(of_crops.loss(torch.tensor(LAMBDAS[level])).mean())


@pytest.mark.parametrize("sizes", [TINY, MICRO], ids=["tiny", "micro"])
def test_the_initialised_network_codes_far_better_than_a_random_one(coffee, crops, sizes):
    """On crops that it was not fitted to; half the loss is some 3 dB at the same bits."""
    test_images = make_images(coffee[-128:, -256:], torch.device("cpu"))
    random, started = CRDRNetwork(sizes), made(sizes, crops)
    for level in (2, 4):
        assert mean_loss(started, test_images, level) < 0.5 * mean_loss(random, test_images, level)


def test_a_single_rate_s_lambda_sets_all_levels(crops):
    network = made(TINY, crops, lambdas=[0.05])
    layers = network.analysis.attentions[-1], network.synthesis.attentions[0]
    for layer, expected in zip(layers, (STEP, 1 / STEP), strict=True):
        gains = nn.functional.softplus(layer.gain)
        assert torch.allclose(gains, torch.full_like(gains, expected))
