"""Rate and distortion as a loss, against numbers made by hand; the published choice of lambda."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.crdr.objective import towards_target
from baselines.neural.training.losses.rate_distortion import Terms, lambda_at, terms
from support.training.fixtures import LAMBDAS, stage_of

# Stage 2 of the published configuration.
LAMBDAS_ABOVE = [3.6, 1.8, 0.8, 0.4, 0.1]
LAMBDA_BELOW = 2**-6
TARGETS_BPP = [0.08, 0.16, 0.36, 0.72, 1.2]


def test_the_loss_is_150_times_the_error_and_lambda_times_the_bits_per_pixel():
    crops, images = torch.full((2, 3, 4, 8), -1.0), torch.full((2, 3, 4, 8), -1.0)
    images[0, 1, 2, 3] = 0.5  # .75 of the range, one value of 96
    images[1] += 0.2
    found = terms(crops, images, torch.tensor([16.0, 48.0]))
    assert found.mse.tolist() == pytest.approx([0.75**2 / 96, 0.01], rel=1e-6)
    assert found.bpp.tolist() == [0.5, 1.5]
    found = Terms(torch.tensor([0.01, 0.002]), torch.tensor([0.25, 2.0]))
    loss = found.loss(torch.tensor([0.4, 0.05]))
    assert loss.tolist() == pytest.approx([1.5 + 0.1, 0.3 + 0.1], rel=1e-6)
    crops = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images = crops.bfloat16()
    expected = (crops.double() - images.double()).square().mean() / 4
    found = terms(crops, images, torch.zeros(1)).mse
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_lambda_at_a_level_is_the_recipe_s_and_of_a_map_the_geometric_mean():
    q = torch.arange(5.0)
    assert lambda_at(LAMBDAS, q).tolist() == pytest.approx(LAMBDAS, rel=1e-6)
    assert lambda_at([0.05], torch.zeros(3)).tolist() == pytest.approx([0.05] * 3, rel=1e-6)
    q = torch.tensor([[[0.0, 1.0], [1.0, 1.5]], [[4.0, 4.0], [4.0, 4.0]]])
    between = math.sqrt(1.2 * 0.4)
    expected = [(3.4 * 1.2 * 1.2 * between) ** (1 / 4), 0.05]
    assert lambda_at(LAMBDAS, q).tolist() == pytest.approx(expected, rel=1e-5)


def chosen(level, bpp):
    stage = stage_of(lambdas=LAMBDAS_ABOVE, targets_bpp=TARGETS_BPP, lambda_below=LAMBDA_BELOW)
    lambdas = torch.full((len(bpp),), LAMBDAS_ABOVE[level])
    return towards_target(stage, float(level), torch.tensor(bpp), lambdas).tolist()


@pytest.mark.parametrize("level", range(5))
def test_published_lambda_holds_while_a_batch_is_above_its_target_and_another_below(level):
    target = TARGETS_BPP[level]
    above = np.float32(LAMBDAS_ABOVE[level])
    assert chosen(level, [target * 1.01] * 2) == [above] * 2
    assert chosen(level, [target * 0.99] * 2) == [LAMBDA_BELOW] * 2


def test_the_mean_of_a_batch_decides_for_all_of_it_if_there_are_targets():
    assert chosen(2, [0.01, 0.8]) == [np.float32(0.8)] * 2
    assert chosen(2, [0.37, 0.34]) == [LAMBDA_BELOW] * 2
