"""Drawing step by step: one step, limits, new noise, and patches without seams."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from baselines.neural.diffusion.model import LevelFacts, draw, patch_starts, patch_weights
from baselines.neural.diffusion.noise import noise_level, normal_noise
from baselines.neural.network import make_images
from support.networks.tiny_checkpoint import noise as noisy_picture
from support.networks.tiny_diffusion import drawing_network

FACTS = LevelFacts(0.1, 3.0)
PATCH, OVERLAP = 128, 48


@pytest.fixture(scope="module", params=["dirac", "hfd"])
def network(request):
    return drawing_network(request.param, "jpeg").eval()


def base_picture(height=64, width=96):
    return make_images(noisy_picture(height, width), torch.device("cpu")) / 2


def noise_of(picture, seed=0):
    return lambda step: torch.from_numpy(normal_noise(seed, step, tuple(picture.shape)))


def drawn(network, base, steps=3, start=1.0, seed=0, facts=FACTS):
    with torch.no_grad():
        return draw(network, base, facts, noise_of(base, seed), steps, start)


def test_one_step_is_the_predicted_residual_of_pure_noise(network):
    base = base_picture()
    level = noise_level(1.0)
    state = level.sigma * noise_of(base)(0)
    scales = torch.tensor([FACTS.scale]).log()
    with torch.no_grad():
        velocity = network.unet(state, base, torch.tensor([level.log_snr]), scales)
    expected = base + FACTS.scale * (level.alpha * state - level.sigma * velocity).clamp(-3, 3)
    assert torch.allclose(drawn(network, base, 1), expected, atol=1e-5)


def test_what_is_drawn_is_within_the_threshold_or_within_a_picture(network):
    base = base_picture()
    picture = drawn(network, base, facts=LevelFacts(0.5, 0.3))
    if network.sizes.domain == "residual":
        assert float((picture - base).abs().max()) <= 0.5 * 0.3 + 1e-6
        assert float((picture - base).abs().max()) > 0.5 * 0.29
    else:
        assert float((picture - base).abs().max()) > 0.5 * 0.3
        assert float(picture.abs().max()) <= 1 + 1e-6


def test_ancestral_steps_take_new_noise_and_others_do_not(network):
    base, requests = base_picture(), []

    def noise(step):
        requests.append(step)
        return noise_of(base)(step)

    with torch.no_grad():
        draw(network, base, FACTS, noise, 4)
    assert requests == ([0, 1, 2, 3] if network.sizes.sampler == "ancestral" else [0])


def test_the_schedule_of_pictures_is_relative_to_their_range(network):
    scale = network.sizes.noise_scale
    expected = scale if network.sizes.domain == "residual" else scale / 0.05
    assert network.noise_scale(LevelFacts(0.05, 3.0)) == expected


@pytest.mark.parametrize(
    ("side", "patch", "overlap"), [(160, 64, 16), (1008, 512, 128), (64, 64, 16), (640, 320, 160)]
)
def test_patches_cover_a_side_and_overlap_enough(side, patch, overlap):
    result = patch_starts(side, patch, overlap)
    assert result[0] == 0
    assert result[-1] + patch >= side
    assert all(start % 16 == 0 for start in result)
    assert all(later - start <= patch - overlap for start, later in pairwise(result))


def test_the_weights_of_a_patch_fall_to_its_sides_and_never_to_zero():
    result = patch_weights(64, 96, 16)
    assert result.shape == (64, 96)
    assert float(result[32, 48]) == 1
    assert 0 < float(result.min()) < 0.01
    assert torch.equal(result, result.flip(0, 1))


def test_patches_leave_no_seam(network, monkeypatch):
    """Where two patches meet, a picture differs from the one drawn whole as it does elsewhere."""
    base = base_picture(272, 352)
    single_pass = drawn(network, base, 4)
    cut = replace(network.sizes, patch_px=PATCH, overlap_px=OVERLAP)
    monkeypatch.setattr(network, "sizes", cut)
    difference = drawn(network, base, 4) - single_pass
    assert 0 < float(difference.abs().mean()) < 0.05 * float((single_pass - base).abs().mean())
    starts = patch_starts(352, PATCH, OVERLAP)
    columns = sorted({*starts, *(start + PATCH for start in starts)} - {0, 352})
    edges = difference.diff(dim=3).abs().mean((0, 1, 2))
    assert float(edges[[column - 1 for column in columns]].mean()) < 1.5 * float(edges.mean())
