"""The bands in which diffusion decoders predict: an orthonormal transform, as scipy has it."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from baselines.neural.diffusion.unet import BANDS, analyse, synthesise

COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


@pytest.fixture
def pictures():
    return torch.randn(2, 3, 8, 12)


def test_a_picture_is_its_coefficients_turned_back(pictures):
    coefficients = analyse(pictures)
    assert coefficients.shape == (2, BANDS, 2, 3)
    torch.testing.assert_close(synthesise(coefficients), pictures)
    torch.testing.assert_close(coefficients.square().sum(), pictures.square().sum())


def test_coefficients_are_the_cosine_transform_of_blocks_of_mixed_colours(pictures):
    block = pictures[1, :, 4:, 8:].double().numpy()
    mixed = np.einsum("ck,kyx->cyx", COLOURS, block)
    expected = np.concatenate([dctn(one, norm="ortho").ravel() for one in mixed])
    found = analyse(pictures)[1, :, 1, 2]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
