"""The suite `field`: equal budgets, and objectives with a GAN."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.neural.training.gan import PatchDiscriminator
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.suites import METHODS, suite
from benchmark.errors import UsageError
from support.training.every_stage import objective_of
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

SMALL = {"crop_px": 64, "discriminator_channels": [4, 4, 4]}
POINTS = {"charm": 4, "elic": 4, "ivr": 1, "hific": 3, "multirealism": 4, "dirac": 1, "hfd": 1}
OF_ALL_RATES = {"ivr", "dirac", "hfd"}


@pytest.mark.parametrize("name", ["night", "smoke"])
def test_every_network_sees_the_crops_that_ours_sees_for_its_rates(name):
    recipe = load_recipe(name)
    all_crops = recipe.crops_before(len(recipe.stages))
    members = suite("field", recipe, Path())
    members += suite("generative", recipe, Path(), ["dirac-jpeg", "hfd-jpeg"])
    assert {point: sum(run.name.startswith(point) for run in members) for point in POINTS} == POINTS
    for run in members:
        method, objectives = run.name.partition("-")[0], {s.objective for s in run.recipe.stages}
        parts = 1 if method in OF_ALL_RATES else 5
        assert objectives & OF_ALL_RATES == {method} & OF_ALL_RATES
        crops = run.recipe.crops_before(len(run.recipe.stages))
        batches = recipe.stages[0].batch * len(run.recipe.stages)
        assert all_crops / parts <= crops <= all_crops / parts + batches
        assert [stage.float32 for stage in run.recipe.stages] == sorted(
            stage.float32 for stage in run.recipe.stages
        )


def test_adversarial_stages_have_the_share_that_they_have_in_the_recipe():
    night = load_recipe("night")
    share = sum(stage.crops for stage in night.stages if stage.objective == "realism")
    share /= night.crops_before(len(night.stages))
    for run in suite("field", night, Path(), ["hific", "multirealism"]):
        stages = run.recipe.stages
        result = sum(stage.crops for stage in stages if stage.has_gan)
        assert result / run.recipe.crops_before(len(stages)) == pytest.approx(share, rel=0.01)
        assert all(stage.has_lpips for stage in stages if stage.has_gan)


def test_every_method_has_its_learning_rate():
    night = load_recipe("night")
    for run in suite("field", night, Path()):
        first, last = run.recipe.stages[0], run.recipe.stages[-1]
        assert first.learning_rate == METHODS[run.recipe.architecture].learning_rate
        shape = night.stages[-1].learning_rate / night.stages[0].learning_rate
        assert last.learning_rate == pytest.approx(first.learning_rate * shape)


def test_a_member_or_sizes_that_the_suite_lacks_are_named():
    with pytest.raises(UsageError, match="member chram"):
        suite("field", load_recipe("smoke"), Path(), ["chram"])
    least_recipe = replace(load_recipe("smoke"), sizes="least")
    with pytest.raises(UsageError, match=r"'least', but charm .*full"):
        suite("field", least_recipe, Path())


def test_the_discriminator_scores_a_patch_of_eight_pixels_and_sees_the_latent():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(6, (4, 8, 8, 8), 2).eval()
    images, latents = torch.randn(2, 3, 64, 128), torch.randn(2, 6, 4, 8)
    with torch.no_grad():
        logits = discriminator(images, latents)
        changed_logits = discriminator(images, latents + 1)
    assert logits.shape == (2, 1, 8, 16)
    assert not torch.allclose(logits, changed_logits, atol=1e-4)


def test_multi_realism_at_beta_zero_is_rate_and_distortion_and_betas_are_random():
    fields = {"gan_per_beta": 3.0, "zero_beta_share": 1.0, "balanced": True, "lambdas": [2.0]}
    objective, network, batch = objective_of("multirealism", **SMALL, **fields)
    result = objective.loss(network, batch, 0)
    mse, bpp = (float(result.numbers[name].detach()) for name in ("mse", "bpp"))
    assert float(result.total.detach()) == pytest.approx(
        2**-0.5 * (150 * mse + 2.0 * bpp), rel=1e-5
    )
    fields = {"gan_per_beta": 1.0, "zero_beta_share": 0.3}
    objective, *_ = objective_of("multirealism", **SMALL, **fields)
    betas = np.array([objective.draw(network, batch, step).beta.tolist() for step in range(400)])
    assert (betas == 0).mean() == pytest.approx(0.3, abs=0.06)
    assert 2.4 < betas.max() < 2.56
    assert not np.array_equal(betas[:, 0], betas[:, 1])


def test_the_minutes_are_those_of_the_whole_suite(tmp_path):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", 25, 0, initialise='"pca"')
    suite = ("--suite", "field", "--members", "elic-1,elic-2")
    process = bench(*training(tmp_path, tmp_path / "out", *suite, "--max-minutes", 0))
    assert process.stderr.startswith("2 networks, 0 finished: 10 steps left\n")
    assert process.exit_code == 0
    assert "elic-1: the time is up after 1 of 5 steps" in process.stdout
    assert not (tmp_path / "out" / "elic-2").exists()
