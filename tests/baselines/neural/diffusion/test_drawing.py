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
from baselines.neural.diffusion.model import (
    LevelFacts,
    draw,
    draw_residual,
    patch_starts,
    patch_weights,
)
from baselines.neural.diffusion.noise import (
    GRID,
    noise_key,
    noise_level,
    normal_noise,
    normal_values,
    step_times,
)
from baselines.neural.diffusion.unet import (
    BANDS,
    ConditionedBlock,
    UNet,
    analyse,
    synthesise,
    velocities,
)
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


def test_limits_new_noise_and_the_schedule_are_those_of_the_method(network):
    base = base_picture()
    picture = drawn(network, base, facts=LevelFacts(0.5, 0.3))
    if network.sizes.domain == "residual":
        assert float((picture - base).abs().max()) <= 0.5 * 0.3 + 1e-6
        assert float((picture - base).abs().max()) > 0.5 * 0.29
    else:
        assert float((picture - base).abs().max()) > 0.5 * 0.3
        assert float(picture.abs().max()) <= 1 + 1e-6
    requests = []

    def noise(step):
        requests.append(step)
        return noise_of(base)(step)

    with torch.no_grad():
        draw(network, base, FACTS, noise, 4)
    assert requests == ([0, 1, 2, 3] if network.sizes.sampler == "ancestral" else [0])
    scale = network.sizes.noise_scale
    expected = scale if network.sizes.domain == "residual" else scale / 0.05
    assert network.noise_scale(LevelFacts(0.05, 3.0)) == expected


def test_patches_cover_a_side_with_overlaps_and_weights_that_fall_to_their_sides():
    for side, patch, overlap in ((160, 64, 16), (1008, 512, 128), (64, 64, 16), (640, 320, 160)):
        starts = patch_starts(side, patch, overlap)
        assert starts[0] == 0
        assert starts[-1] + patch >= side
        assert all(start % 16 == 0 for start in starts)
        assert all(later - start <= patch - overlap for start, later in pairwise(starts))
    weights = patch_weights(64, 96, 16)
    assert weights.shape == (64, 96)
    assert float(weights[32, 48]) == 1
    assert 0 < float(weights.min()) < 0.01
    assert torch.equal(weights, weights.flip(0, 1))


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


def test_the_noise_is_the_same_bytes_of_a_normal_distribution_everywhere():
    values = normal_values().astype(np.float64)
    shares = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - norm.ppf(shares)).max() < 0.6 / GRID
    assert values.var() == pytest.approx(1, abs=3e-5)
    assert np.array_equal(values, -values[::-1])
    values = normal_noise(noise_key(b"stream", 5), 2, (3, 5, 7)).astype("<f4")
    assert sha256(values.tobytes()).hexdigest() == (
        "9e2d86fdda5f0cdd0adbf4ff29ac90fa402114c22e23c47c09568cd8c4103b60"
    )


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

    def noise(step):
        return torch.from_numpy(normal_noise(11, step, (SAMPLES,))).double()

    levels = [noise_level(time, scale) for time in step_times(steps, start)[:-1]]
    result = draw_residual(predict, (-1e9, 1e9), noise, levels, ancestral=ancestral)
    return float(result.var()) / deviation**2


@pytest.mark.parametrize(("deviation", "scale"), RATIOS)
def test_samples_vary_as_theory_has_it(deviation, scale):
    ddim, ancestral = RATIOS[deviation, scale]
    for steps, ratio in zip((1, 5, 20, 100), ddim, strict=True):
        result = drawn_variance(deviation, scale, steps, ancestral=False)
        assert result == pytest.approx(ratio, abs=0.01)
    for steps, ratio in zip((5, 20, 100), ancestral, strict=True):
        result = drawn_variance(deviation, scale, steps, ancestral=True)
        assert result == pytest.approx(ratio, abs=0.01)


def test_a_late_start_from_noise_of_its_level_loses_the_variance_that_it_lacks():
    for steps, ratio in ((5, 0.262), (20, 0.725)):
        result = drawn_variance(0.1, 1, steps, ancestral=False, start=0.5)
        assert result == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_a_level_has_the_published_ratio_and_unit_energy(scale):
    assert noise_level(0.5, scale).log_snr == pytest.approx(-2 * math.log(scale), abs=1e-12)
    for time in np.linspace(0, 1, 101):
        level = noise_level(float(time), scale)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)
        assert math.log(level.alpha**2 / level.sigma**2) == pytest.approx(level.log_snr, abs=1e-5)
        if 0.01 < time < 0.99:
            expected = -2 * math.log(scale * math.tan(math.pi * time / 2))
            assert level.log_snr == pytest.approx(expected, abs=1e-9)


METHODS = ("dirac", "hfd")
TINY = ARCHITECTURES["dirac"].sizes["tiny"]


def seen(*sides):
    torch.manual_seed(2)
    return [torch.randn(*sides), torch.rand(*sides) * 2 - 1, torch.zeros(sides[0]) - 3.0]


@pytest.mark.parametrize(("variance", "time"), [(0.01, 0.9), (0.3, 0.5), (4.0, 0.1)])
def test_velocities_are_the_regression_of_a_gaussian_signal(variance, time):
    """What is drawn at random is fitted by least squares, which knows nothing of the formula."""
    level = noise_level(time)
    signal, noise = torch.randn(2, 1_000_000, dtype=torch.float64)
    signal *= variance**0.5
    noisy = level.alpha * signal + level.sigma * noise
    velocity = level.alpha * noise - level.sigma * signal
    slope = (velocity @ noisy) / (noisy @ noisy)
    deviation = (velocity - slope * noisy).std()

    def predicted(noisy, offset):
        unit = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        levels = math.log(variance) * unit
        ratio = torch.tensor([level.log_snr])
        return float(velocities(noisy * unit, levels, offset * unit, ratio))

    assert predicted(1.0, 0.0) == pytest.approx(float(slope), rel=0.01, abs=0.005)
    assert predicted(0.0, 1.0) == pytest.approx(float(deviation), rel=0.01)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (6, 4)])
def test_a_block_is_the_published_one_with_norms_over_channels(inputs, outputs):
    torch.manual_seed(0)
    block = ConditionedBlock(inputs, outputs, 5)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    features, vectors = torch.randn(2, inputs, 7, 9), torch.randn(2, 5)
    state = {name: tensor.detach() for name, tensor in block.named_parameters()}

    def norm(values, name):
        moved = values.permute(0, 2, 3, 1)
        weights = state[f"{name}.weight"], state[f"{name}.bias"]
        return layer_norm(moved, moved.shape[3:], *weights).permute(0, 3, 1, 2)

    def convolved(values, name):
        return conv2d(values, state[f"{name}.weight"], state[f"{name}.bias"], padding="same")

    def silu(values):
        return values / (1 + (-values).exp())

    hidden = convolved(silu(norm(features, "norm")), "first")
    scale_and_shift = linear(vectors, state["condition.weight"], state["condition.bias"])
    scale_and_shift = scale_and_shift[:, :, None, None]
    scale, shift = scale_and_shift[:, :outputs], scale_and_shift[:, outputs:]
    hidden = norm(hidden, "conditioned_norm") * (1 + scale) + shift
    skipped = convolved(features, "skip") if inputs != outputs else features
    expected = skipped + convolved(silu(hidden), "second")
    with torch.no_grad():
        assert torch.allclose(block(features, vectors), expected, atol=1e-4)


def test_an_untrained_network_predicts_no_velocity_and_a_random_one_by_all_of_its_inputs():
    noisy, base, level = seen(2, 3, 32, 48)
    network = UNet(TINY).eval()
    assert not network(noisy, base, level, level).any()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        plain = network(noisy, base, level, level)
        for inputs in (
            (noisy, base, level + 1, level),
            (noisy, base, level, level + 1),
            (noisy, base + 0.5, level, level),
            (noisy + 0.5, base, level, level),
        ):
            assert not torch.allclose(plain, network(*inputs), atol=1e-4)


def test_a_card_of_the_other_method_is_refused():
    dirac, hfd = (load_architecture(method) for method in METHODS)
    record = asdict(TINY)
    assert dirac.read(record) == TINY
    with pytest.raises(ValueError, match="domain is 'residual'"):
        hfd.read(record)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("widths", (4, 0, 8), "widths"),
        ("blocks", 0, "blocks"),
        ("noise_scale", 0.0, "noise_scale"),
        ("threshold_share", 1.5, "threshold_share"),
        ("overlap_px", 528, "528.* half a patch"),
        ("patch_px", 1000, "multiples of 16"),
    ],
)
def test_dimensions_that_no_network_can_have_are_refused(field, value, message):
    architecture = load_architecture("dirac")
    with pytest.raises(ValueError, match=message):
        architecture.read({**asdict(TINY), field: value})


COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def test_a_picture_is_the_cosine_transform_of_blocks_of_mixed_colours_turned_back():
    pictures = torch.randn(2, 3, 8, 12)
    coefficients = analyse(pictures)
    assert coefficients.shape == (2, BANDS, 2, 3)
    torch.testing.assert_close(synthesise(coefficients), pictures)
    torch.testing.assert_close(coefficients.square().sum(), pictures.square().sum())
    block = pictures[1, :, 4:, 8:].double().numpy()
    mixed = np.einsum("ck,kyx->cyx", COLOURS, block)
    expected = np.concatenate([dctn(block, norm="ortho").ravel() for block in mixed])
    np.testing.assert_allclose(coefficients[1, :, 1, 2].numpy(), expected, rtol=1e-4, atol=1e-5)
