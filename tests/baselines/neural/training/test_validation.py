"""Validation: the mean over whole photographs of what each rate and realism costs."""

import math

import numpy as np
import pytest

from baselines.neural.training.losses.rate_distortion import validate
from support.training.fixtures import LAMBDAS, REALISM, Toy, pictures, recipe_of, toy


class Realistic(Toy):
    """Beta shows in its pictures, and noise in its bits."""

    def forward(self, images, controls, *, noisy=True):
        found = super().forward(images, controls, noisy=noisy)
        shown = found.images + controls.realism.levels[:, None, None, None] / 10
        return found._replace(images=shown, y_bits=found.y_bits * (1 + noisy))


def test_validation_is_the_mean_over_photographs_of_what_whole_ones_cost():
    network = toy(Realistic)
    shown = [one[:80, :96] for one in pictures(2)]
    stage = recipe_of(REALISM).stages[0]
    found = validate(network, stage.lambdas, shown, (0.0, 3.84))
    points = {(point.q, point.beta): point for point in found.points}
    assert sorted(points) == [(float(q), beta) for q in range(5) for beta in (0.0, 3.84)]
    psnrs, realistic, bpps, logs = [], [], [], []
    for pixels in shown:
        cut = pixels[:64, :64].astype(np.float64) / 127.5 - 1
        weight = network.mix.weight.detach().double().numpy()[:, :, 0, 0]
        mixed = cut @ weight.T + network.mix.bias.detach().double().numpy()
        mse, other = (
            (((mixed + beta / 10).clip(-1, 1) - cut) ** 2).mean() / 4 for beta in (0, 3.84)
        )
        psnrs.append(-10 * math.log10(mse))
        realistic.append(-10 * math.log10(other))
        bpps.append((mixed**2).sum() / 64**2)
        for q, weight in enumerate(LAMBDAS):
            logs.append(math.log(weight**-0.5 * (150 * mse + weight * bpps[-1] * (1 + q))))
    assert points[0.0, 0.0].psnr_db == pytest.approx(np.mean(psnrs), rel=1e-5)
    assert points[0.0, 3.84].psnr_db == pytest.approx(np.mean(realistic), rel=1e-5)
    assert [points[float(q), 0.0].bpp for q in range(5)] == pytest.approx(
        [np.mean(bpps) * (1 + q) for q in range(5)], rel=1e-5
    )
    assert found.loss == pytest.approx(np.mean(logs), rel=1e-5)
