"""Multi-Realism: beta changes the decoder alone, no bit of the latents depends on it."""

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.costs import costs
from baselines.neural.field.multirealism import BETA_GRID, MultiRealismNetwork, fourier
from baselines.neural.picture_codec import PictureCodec
from support.networks.drawn import by_slice
from support.networks.integer_network import same
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise

FULL, TINY = (ARCHITECTURES["multirealism"].sizes[name] for name in ("full", "tiny"))


def test_the_large_size_has_nearly_the_work_of_the_reimplementation():
    """Nikolai10/MRIC by its layers: 85.9 M, 1,109 k per pixel, with one stack less."""
    result = costs("multirealism", FULL)
    assert sum(cost.parameters for cost in result.values()) == pytest.approx(85.9e6, rel=0.03)
    assert sum(cost.macs_per_pixel for cost in result.values()) == pytest.approx(1109e3, rel=0.003)


def test_the_features_are_beta_and_its_sines_and_cosines():
    result = fourier(torch.tensor([0.5]))[0]
    angles = 0.5 * 2.0 ** torch.arange(10)
    assert torch.allclose(result, torch.cat([torch.tensor([0.5]), angles.sin(), angles.cos()]))


def test_streams_of_two_betas_differ_in_the_header_alone(tmp_path):
    path = tmp_path / "multirealism-1.safetensors"
    write_tiny(path, "multirealism")
    checkpoint = load_checkpoint(path)
    with torch.no_grad():  # beta changes nothing at the start
        for name, parameter in checkpoint.network.named_parameters():
            if "project" in name:
                parameter.normal_(std=0.05)
    codec = PictureCodec(checkpoint)
    pixels = noise(64, 64)
    first, second = (codec.encode(pixels, BETA_GRID.step(beta)) for beta in (0.0, 2.56))
    differing = [i for i, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
    assert differing == [9, len(first) - 2, len(first) - 1], "the byte of beta, the checksum"
    assert torch.equal(codec.latents(first), codec.latents(second))
    assert not np.array_equal(codec.decode(first), codec.decode(second))


def test_each_picture_of_a_batch_has_its_own_beta():
    network = MultiRealismNetwork(TINY).eval()
    latents = torch.randn(1, TINY.latent, 4, 4)
    with torch.no_grad():
        batch_images = network.synthesise(latents.expand(2, -1, -1, -1), torch.tensor([0.0, 2.0]))
        single_images = [network.synthesise(latents, beta)[0] for beta in (0.0, 2.0)]
    for result, expected in zip(batch_images, single_images, strict=True):
        assert torch.allclose(result, expected, atol=1e-5)
    assert not torch.allclose(*batch_images, atol=1e-3)


def test_a_slice_sees_its_own_part_of_the_hyper_decoder():
    network = MultiRealismNetwork(TINY)
    supports = torch.randn(2, 1, TINY.support, 4, 4)
    latents = torch.randn(1, TINY.latent, 4, 4).split(list(TINY.slices), dim=1)
    changed_supports, part = supports.clone(), TINY.support // len(TINY.slices)
    changed_supports[:, :, 3 * part :] += 1  # that of the last slice
    parameters_before, parameters_after = (
        by_slice(network, inputs, lambda index, _mean: latents[index])[0]
        for inputs in (supports, changed_supports)
    )
    pairs = zip(parameters_before, parameters_after, strict=True)
    assert [same(*pair) for pair in pairs] == [True] * 3 + [False]
