"""The initial orthogonal transform, compared with numpy's, and its effect."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import conv_transpose2d

from baselines.neural.architecture import CrdrSizes
from baselines.neural.blocks import start_values
from baselines.neural.blocks.start_values import fit_transform, fit_transforms
from baselines.neural.crdr.model import STEP, Controls, CRDRNetwork
from baselines.neural.entropy import hyperprior
from baselines.neural.training.objective import rate_distortion
from baselines.neural.training.photographs import draw_crops, hold_photographs
from support.networks.tiny_checkpoint import MICRO, TINY
from support.training.fixtures import LAMBDAS

KEPT = (10, 20, 24, 30)  # components, stage by stage, of 12, 40, 80 and 96
PLAIN = replace(
    TINY,
    attention=False,
    encoder=KEPT[:3],
    decoder=KEPT[2::-1],
    latent=KEPT[3],
    slices=(10, 20),
    support_slices=1,
)


@pytest.fixture(scope="module")
def crops(coffee):
    """Crops of a photograph, (16, 3, 128, 128) in [-1, 1]."""
    return draw_crops(hold_photographs([coffee]), 128, range(16), seed=3).float() / 127.5 - 1


@pytest.fixture
def exact(monkeypatch):
    """No noise on top of the transform."""
    monkeypatch.setattr(start_values, "NOISE_STD", 0.0)
    monkeypatch.setattr(hyperprior, "INITIAL_STD", 0.0)


def patches(features):
    """Return 2 x 2 neighbours, by hand: (positions, 4 c), in the order c, row, column."""
    n, c, h, w = features.shape
    cells = features.numpy().reshape(n, c, h // 2, 2, w // 2, 2)
    return cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 4 * c).astype(np.float64)


def synthesised(coefficients, transform):
    basis = transform.basis
    return conv_transpose2d(coefficients, basis, stride=2) + transform.mean[:, None, None]


def made(sizes: CrdrSizes, crops, lambdas=LAMBDAS):
    torch.manual_seed(5)
    network = CRDRNetwork(sizes)
    network.initialise(crops, lambdas)
    return network


def test_it_is_the_karhunen_loeve_transform(crops):
    """The right singular vectors of the centred patches, strongest first."""
    result = fit_transform(crops, 12)
    rows = patches(crops)
    centred = rows - crops.double().mean((0, 2, 3)).numpy().repeat(4)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    spread = values / np.sqrt(len(rows))
    assert result.spread.numpy() == pytest.approx(spread, rel=1e-3, abs=1e-5)
    agreement = np.abs((result.basis.flatten(1).double().numpy() * vectors).sum(1))
    is_distinct = np.diff(spread) < -0.02 * spread[:-1]  # where the next one is close, they may mix
    assert is_distinct.sum() >= 5
    assert (agreement[:-1][is_distinct & np.append(True, is_distinct[:-1])] > 0.99).all()


def test_each_transform_is_fitted_to_what_the_one_before_gives(crops):
    first, second, third = fit_transforms(crops, [8, 100, 9])
    assert torch.equal(first.basis, fit_transform(crops, 8).basis)
    features = first.analyse(crops)
    assert torch.equal(second.basis, fit_transform(features, 100).basis)
    assert len(second.basis) == 32, "no more components than neighbours"
    assert torch.equal(third.basis, fit_transform(second.analyse(features), 9).basis)


@pytest.mark.parametrize("level", range(5))
@pytest.mark.usefixtures("exact")
def test_the_decoder_inverts_the_encoder_on_images_that_lie_in_the_kept_subspace(crops, level):
    transforms = fit_transforms(crops, KEPT)
    projected = crops
    for transform in transforms:
        projected = transform.analyse(projected)
    for transform in reversed(transforms):
        projected = synthesised(projected, transform)
    assert (projected - crops).abs().max() > 0.05, "something was left out"
    network = made(PLAIN, crops)
    with torch.no_grad():
        latents = network.analyse(projected, float(level))
        decoded = network.synthesise(latents, Controls(float(level), 2.56))
    assert torch.allclose(decoded, projected, atol=2e-4)


@pytest.mark.usefixtures("exact")
def test_the_latent_is_as_coarse_as_its_lambda_asks_and_scales_start_as_its_spread(crops):
    network, transforms = made(PLAIN, crops), fit_transforms(crops, KEPT)
    with torch.no_grad():
        deviations = [float(network.analyse(crops, float(q)).std()) for q in range(5)]
    steps = [deviation / deviations[2] for deviation in deviations]
    assert steps == pytest.approx([(0.4 / weight) ** 0.5 for weight in LAMBDAS], rel=1e-4)
    coefficients = crops
    for transform in transforms:
        coefficients = transform.analyse(coefficients)
    assert deviations[2] == pytest.approx(STEP * float(coefficients.std()), rel=1e-4)
    starts = torch.cat([transform[-1].bias for transform in network.context.scale]).detach()
    spread = (transforms[-1].spread * STEP).clamp(min=0.15)
    assert starts.tolist() == pytest.approx(spread.tolist(), rel=1e-4)


def mean_loss(network, crops, level):
    """150 MSE + lambda bpp of rounded latents."""
    with torch.no_grad():
        result = network(crops, Controls(float(level)), noisy=False)
    of_crops = rate_distortion(crops, result.images, result.y_bits + result.z_bits)
    return float(of_crops.loss(torch.tensor(LAMBDAS[level])).mean())


@pytest.mark.parametrize("sizes", [TINY, MICRO], ids=["tiny", "micro"])
def test_the_initialised_network_codes_far_better_than_a_random_one(coffee, crops, sizes):
    """On crops that it was not fitted to; half the loss is some 3 dB at the same bits."""
    test_images = torch.from_numpy(coffee[-128:, -256:].copy()).permute(2, 0, 1)[None] / 127.5 - 1
    torch.manual_seed(5)
    random = CRDRNetwork(sizes)
    started = made(sizes, crops)
    for level in (2, 4):
        assert mean_loss(started, test_images, level) < 0.5 * mean_loss(random, test_images, level)


def test_a_single_rate_s_lambda_sets_all_levels(crops):
    network = made(TINY, crops, lambdas=[0.05])
    gains = torch.nn.functional.softplus(network.analysis.attentions[-1].gain)
    inverse = torch.nn.functional.softplus(network.synthesis.attentions[0].gain)
    assert torch.allclose(gains, torch.full_like(gains, STEP))
    assert torch.allclose(inverse, torch.full_like(gains, 1 / STEP))
