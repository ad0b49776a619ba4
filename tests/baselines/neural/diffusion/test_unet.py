"""The network of diffusion decoders: its size, its blocks, that positions are on their own."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch.nn.functional import conv2d, layer_norm, linear

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.diffusion.noise import noise_level
from baselines.neural.diffusion.unet import (
    BANDS,
    ConditionedBlock,
    UNet,
    analyse,
    synthesise,
    velocities,
)

METHODS = ("dirac", "hfd")
TINY = ARCHITECTURES["dirac"].sizes["tiny"]


def random_net():
    torch.manual_seed(1)
    network = UNet(TINY)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def seen(*sides):
    torch.manual_seed(2)
    return [torch.randn(*sides), torch.rand(*sides) * 2 - 1, torch.zeros(sides[0]) - 3.0]


def test_an_untrained_network_predicts_no_velocity():
    noisy, base, level = seen(2, 3, 32, 48)
    assert not UNet(TINY)(noisy, base, level, level).any()


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


def test_noise_level_and_residual_scale_and_base_all_matter():
    network = random_net()
    noisy, base, level = seen(1, 3, 32, 32)
    with torch.no_grad():
        plain = network(noisy, base, level, level)
        for changed_output in (
            network(noisy, base, level + 1, level),
            network(noisy, base, level, level + 1),
            network(noisy, base + 0.5, level, level),
            network(noisy + 0.5, base, level, level),
        ):
            assert not torch.allclose(plain, changed_output, atol=1e-4)


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
