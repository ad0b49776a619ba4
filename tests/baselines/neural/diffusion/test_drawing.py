"""Drawing step by step: noise that is the same everywhere, samplers, patches, the network."""

import math
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.stats import norm
from torch.nn.functional import conv2d, layer_norm, linear

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.diffusion import model, noise, unet
from baselines.neural.diffusion.model import LevelFacts, draw, patch_starts
from baselines.neural.diffusion.noise import noise_level, normal_noise
from baselines.neural.network import make_images
from support.networks.tiny_checkpoint import noise as noisy_picture
from support.networks.tiny_diffusion import drawing_network

FACTS = LevelFacts(0.1, 3.0)


@pytest.fixture(scope="module", params=["dirac", "hfd"])
def network(request):
    return drawing_network(request.param, "jpeg").eval()


def base_picture(height=64, width=96):
    return make_images(noisy_picture(height, width), torch.device("cpu")) / 2


def noise_of(picture, seed=0):
    return lambda step: torch.from_numpy(normal_noise(seed, step, picture.shape)).to(picture.dtype)


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


def test_limits_new_noise_and_the_schedule_are_those_of_the_method(network):
    base = base_picture()
    picture = drawn(network, base, facts=LevelFacts(0.5, 0.3))
    residual, scale = float((picture - base).abs().max()), network.sizes.noise_scale
    if network.sizes.domain == "residual":
        assert 0.5 * 0.29 < residual <= 0.5 * 0.3 + 1e-6
    else:
        assert residual > 0.5 * 0.3
        assert float(picture.abs().max()) <= 1 + 1e-6
        scale /= 0.05
    assert network.noise_scale(LevelFacts(0.05, 3.0)) == scale
    requests = []

    def recorded_noise(step):
        requests.append(step)
        return noise_of(base)(step)

    with torch.no_grad():
        draw(network, base, FACTS, recorded_noise, 4)
    assert requests == ([0, 1, 2, 3] if network.sizes.sampler == "ancestral" else [0])


def test_patches_cover_a_side_with_overlaps_and_weights_that_fall_to_their_sides():
    for side, patch, overlap in ((160, 64, 16), (1008, 512, 128), (64, 64, 16), (640, 320, 160)):
        starts = patch_starts(side, patch, overlap)
        assert starts[0] == 0
        assert starts[-1] + patch >= side
        assert all(start % 16 == 0 for start in starts)
        assert all(later - start <= patch - overlap for start, later in pairwise(starts))
    weights = model.patch_weights(64, 96, 16)
    assert weights.shape == (64, 96)
    assert float(weights[32, 48]) == 1
    assert 0 < float(weights.min()) < 0.01
    assert torch.equal(weights, weights.flip(0, 1))


def test_patches_leave_no_seam(network, monkeypatch):
    """Where two patches meet, a picture differs from the one drawn whole as it does elsewhere."""
    base = base_picture(176, 352)
    single_pass = drawn(network, base, 4)
    monkeypatch.setattr(network, "sizes", replace(network.sizes, patch_px=128, overlap_px=48))
    difference = drawn(network, base, 4) - single_pass
    assert 0 < float(difference.abs().mean()) < 0.05 * float((single_pass - base).abs().mean())
    starts = patch_starts(352, 128, 48)
    columns = sorted({*starts, *(start + 128 for start in starts)} - {0, 352})
    edges = difference.diff(dim=3).abs().mean((0, 1, 2))
    assert float(edges[[column - 1 for column in columns]].mean()) < 1.5 * float(edges.mean())


def test_the_noise_is_the_same_bytes_of_a_normal_distribution_everywhere():
    values = noise.normal_values().astype(np.float64)
    shares = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - norm.ppf(shares)).max() < 0.6 / noise.GRID
    assert values.var() == pytest.approx(1, abs=3e-5)
    assert np.array_equal(values, -values[::-1])
    values = normal_noise(noise.noise_key(b"stream", 5), 2, (3, 5, 7)).astype("<f4")
    expected = "9e2d86fdda5f0cdd0adbf4ff29ac90fa402114c22e23c47c09568cd8c4103b60"
    assert sha256(values.tobytes()).hexdigest() == expected


SAMPLES = 100_000

# Variance of samples over that of the data, of standard deviation s and drawn with the scale n, by
# a computation of its own: DDIM in 1, 5, 20 and 100 steps, ancestral in 5, 20 and 100.
RATIOS = {
    (1, 1): ((0, 0.606, 0.884, 0.976), (0.500, 0.811, 0.954)),
    (0.1, 1): ((0, 0.087, 0.526, 0.884), (0.081, 0.434, 0.771)),
    (0.1, 0.5): ((0, 0.249, 0.724, 0.938), (0.227, 0.590, 0.862)),
    (0.1, 0.1): ((0, 0.606, 0.884, 0.976), (0.500, 0.811, 0.954)),
}


def drawn_variance(deviation, scale, steps, *, ancestral, start=1.0):
    """Variance of what is drawn with the exact denoiser of normal data, over the data's."""

    def predict(state, ratio):
        alpha, sigma = ((1 + math.exp(-sign * ratio)) ** -0.5 for sign in (1, -1))
        restored = alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * state
        return (alpha * state - restored) / sigma

    levels = [noise_level(time, scale) for time in noise.step_times(steps, start)[:-1]]
    samples = noise_of(torch.empty(SAMPLES, dtype=torch.float64), 11)
    result = model.draw_residual(predict, (-1e9, 1e9), samples, levels, ancestral=ancestral)
    return float(result.double().var()) / deviation**2


@pytest.mark.parametrize(("deviation", "scale"), RATIOS)
def test_samples_vary_as_theory_has_it(deviation, scale):
    ddim, ancestral = RATIOS[deviation, scale]
    result = [drawn_variance(deviation, scale, n, ancestral=False) for n in (1, 5, 20, 100)]
    assert result == pytest.approx(ddim, abs=0.01)
    result = [drawn_variance(deviation, scale, n, ancestral=True) for n in (5, 20, 100)]
    assert result == pytest.approx(ancestral, abs=0.01)


def test_a_late_start_from_noise_of_its_level_loses_the_variance_that_it_lacks():
    result = [drawn_variance(0.1, 1, n, ancestral=False, start=0.5) for n in (5, 20)]
    assert result == pytest.approx([0.262, 0.725], abs=0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_a_level_has_the_published_ratio_and_unit_energy(scale):
    for time in np.linspace(0, 1, 101).tolist():
        level = noise_level(time, scale)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)
        assert math.log(level.alpha**2 / level.sigma**2) == pytest.approx(level.log_snr, abs=1e-5)
        if 0.01 < time < 0.99:
            expected = -2 * math.log(scale * math.tan(math.pi * time / 2))
            assert level.log_snr == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("variance", "time"), [(0.01, 0.9), (0.3, 0.5), (4.0, 0.1)])
def test_velocities_are_the_regression_of_a_gaussian_signal(variance, time):
    """What is drawn at random is fitted by least squares, which knows nothing of the formula."""
    level = noise_level(time)
    signal, added = torch.randn(2, 1_000_000, dtype=torch.float64)
    signal *= variance**0.5
    noisy = level.alpha * signal + level.sigma * added
    velocity = level.alpha * added - level.sigma * signal
    slope = (velocity @ noisy) / (noisy @ noisy)
    deviation = (velocity - slope * noisy).std()

    def predicted(noisy, offset):
        unit = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        ratio = torch.tensor([level.log_snr])
        return float(unet.velocities(noisy * unit, math.log(variance) * unit, offset * unit, ratio))

    assert predicted(1.0, 0.0) == pytest.approx(float(slope), rel=0.01, abs=0.005)
    assert predicted(0.0, 1.0) == pytest.approx(float(deviation), rel=0.01)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (6, 4)])
def test_a_block_is_the_published_one_with_norms_over_channels(inputs, outputs):
    block = unet.ConditionedBlock(inputs, outputs, 5)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    features, vectors = torch.randn(2, inputs, 7, 9), torch.randn(2, 5)
    state = {name: tensor.detach() for name, tensor in block.named_parameters()}

    def weights(name):
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def layer_normed(values, name):
        moved = values.permute(0, 2, 3, 1)
        return layer_norm(moved, moved.shape[3:], *weights(name)).permute(0, 3, 1, 2)

    def convolved(values, name):
        return conv2d(values, *weights(name), padding="same")

    def silu(values):
        return values / (1 + (-values).exp())

    hidden = convolved(silu(layer_normed(features, "norm")), "first")
    scale, shift = linear(vectors, *weights("condition"))[:, :, None, None].chunk(2, dim=1)
    hidden = layer_normed(hidden, "conditioned_norm") * (1 + scale) + shift
    skipped = convolved(features, "skip") if inputs != outputs else features
    expected = skipped + convolved(silu(hidden), "second")
    with torch.no_grad():
        assert torch.allclose(block(features, vectors), expected, atol=1e-4)


TINY = ARCHITECTURES["dirac"].sizes["tiny"]


def test_an_untrained_network_predicts_no_velocity_and_a_random_one_by_all_of_its_inputs():
    inputs = torch.randn(2, 3, 32, 48), torch.randn(2, 3, 32, 48), *(torch.full((2, 2), -3.0))
    network = unet.UNet(TINY).eval()
    assert not network(*inputs).any()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        plain = network(*inputs)
        for index in range(4):  # the noisy picture, the base, the signal-to-noise ratio, the level
            changed = [values + 0.5 * (i == index) for i, values in enumerate(inputs)]
            assert not torch.allclose(plain, network(*changed), atol=1e-4)


@pytest.mark.parametrize(
    ("method", "field", "value", "message"),
    [
        ("dirac", "widths", (4, 0, 8), "widths"),
        ("dirac", "blocks", 0, "blocks"),
        ("dirac", "noise_scale", 0.0, "noise_scale"),
        ("dirac", "threshold_share", 1.5, "threshold_share"),
        ("dirac", "overlap_px", 528, " 528 px.* half"),
        ("dirac", "patch_px", 1000, " 1000 px.* 16"),
        ("hfd", "domain", "residual", "domain .*'residual'"),  # of the other method
    ],
)
def test_dimensions_that_no_network_can_have_are_refused(method, field, value, message):
    sizes = ARCHITECTURES[method].sizes["tiny"]
    with pytest.raises(ValueError, match=message):
        load_architecture(method).read({**asdict(sizes), field: value})


COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def test_a_picture_is_the_cosine_transform_of_blocks_of_mixed_colours_turned_back():
    pictures = torch.randn(2, 3, 8, 12)
    coefficients = unet.analyse(pictures)
    assert coefficients.shape == (2, unet.BANDS, 2, 3)
    torch.testing.assert_close(unet.synthesise(coefficients), pictures)
    torch.testing.assert_close(coefficients.square().sum(), pictures.square().sum())
    block = pictures[1, :, 4:, 8:].double().numpy()
    mixed = np.einsum("ck,kyx->cyx", COLOURS, block)
    expected = np.concatenate([dctn(block, norm="ortho").ravel() for block in mixed])
    np.testing.assert_allclose(coefficients[1, :, 1, 2].numpy(), expected, rtol=1e-4, atol=1e-5)
