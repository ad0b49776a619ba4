"""Rate and distortion as a loss and in validation, against numbers made by hand."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.training.objective import RateDistortion, lambda_at, rate_distortion, validate
from support.training.fixtures import LAMBDAS, REALISM, Toy, pictures, recipe_of, toy


def test_the_loss_is_150_times_the_error_and_lambda_times_the_bits_per_pixel():
    crops, images = torch.full((2, 3, 4, 8), -1.0), torch.full((2, 3, 4, 8), -1.0)
    images[0, 1, 2, 3] = 0.5  # .75 of the range, one value of 96
    images[1] += 0.2
    result = rate_distortion(crops, images, torch.tensor([16.0, 48.0]))
    assert result.mse.tolist() == pytest.approx([0.75**2 / 96, 0.01], rel=1e-6)
    assert result.bpp.tolist() == [0.5, 1.5]
    result = RateDistortion(torch.tensor([0.01, 0.002]), torch.tensor([0.25, 2.0]))
    loss = result.loss(torch.tensor([0.4, 0.05]))
    assert loss.tolist() == pytest.approx([1.5 + 0.1, 0.3 + 0.1], rel=1e-6)
    crops = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images = crops.bfloat16()
    expected = (crops.double() - images.double()).square().mean() / 4
    result = rate_distortion(crops, images, torch.zeros(1)).mse
    assert result.dtype == torch.float32
    assert float(result) == pytest.approx(float(expected), rel=1e-5)


def test_lambda_at_a_level_is_the_recipe_s_and_of_a_map_the_geometric_mean():
    q = torch.arange(5.0)
    assert lambda_at(LAMBDAS, q).tolist() == pytest.approx(LAMBDAS, rel=1e-6)
    assert lambda_at([0.05], torch.zeros(3)).tolist() == pytest.approx([0.05] * 3, rel=1e-6)
    q = torch.tensor([[[0.0, 1.0], [1.0, 1.5]], [[4.0, 4.0], [4.0, 4.0]]])
    expected = [(3.4 * 1.2 * 1.2 * math.sqrt(1.2 * 0.4)) ** (1 / 4), 0.05]
    assert lambda_at(LAMBDAS, q).tolist() == pytest.approx(expected, rel=1e-5)


class Realistic(Toy):
    def forward(self, images, controls, *, noisy=True):
        result = super().forward(images, controls, noisy=noisy)
        images_out = result.images + controls.realism.levels[:, None, None, None] / 10
        return result._replace(images=images_out, y_bits=result.y_bits * (1 + noisy))


def test_validation_is_the_mean_over_photographs_of_what_whole_ones_cost():
    network = toy(Realistic)
    cropped = [picture[:80, :96] for picture in pictures(2)]
    result = validate(network, recipe_of(REALISM).stages[0].lambdas, cropped, (0.0, 3.84))
    points = {(point.q, point.beta): point for point in result.points}
    assert sorted(points) == [(float(q), beta) for q in range(5) for beta in (0.0, 3.84)]
    psnrs, realistic, bpps, logs = [], [], [], []
    for pixels in cropped:
        cut = pixels[:64, :64].astype(np.float64) / 127.5 - 1
        weight = network.mix.weight.detach().double().numpy()[:, :, 0, 0]
        mixed = cut @ weight.T + network.mix.bias.detach().double().numpy()
        mse, second_mse = (
            (((mixed + beta / 10).clip(-1, 1) - cut) ** 2).mean() / 4 for beta in (0, 3.84)
        )
        psnrs.append(-10 * math.log10(mse))
        realistic.append(-10 * math.log10(second_mse))
        bpps.append(((mixed**2).sum() + 32) / 64**2)
        for q, weight in enumerate(LAMBDAS):
            logs.append(math.log(weight**-0.5 * (150 * mse + weight * bpps[-1] * (1 + q))))
    assert points[0.0, 0.0].psnr_db == pytest.approx(np.mean(psnrs), rel=1e-5)
    assert points[0.0, 3.84].psnr_db == pytest.approx(np.mean(realistic), rel=1e-5)
    for q in range(5):
        assert points[float(q), 0.0].bpp == pytest.approx(np.mean(bpps) * (1 + q), rel=1e-5)
    assert result.loss == pytest.approx(np.mean(logs), rel=1e-5)
