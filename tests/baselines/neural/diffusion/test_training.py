"""Training of diffusion decoders: measured statistics, the loss, the suite and its members."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.diffusion import objective as objective_module
from baselines.neural.diffusion.model import SCALE, THRESHOLD
from baselines.neural.diffusion.objective import BASE_FOLDER, DiffusionObjective
from baselines.neural.network import make_images, pad_pixels
from baselines.neural.training.objective import Batch, Setup
from baselines.neural.training.photographs import draw_crops, hold_photographs
from baselines.neural.training.recipe import load_recipe, recipe_from
from baselines.neural.training.suites import suite
from benchmark.errors import Unavailable, UnknownName, UsageError
from support.metrics.cases import through_jpeg
from support.networks.tiny_checkpoint import noise
from support.networks.tiny_diffusion import drawing_network

BATCH = 6


def crops_of(*seeds):
    return torch.cat([make_images(noise(64, 64, seed), torch.device("cpu")) for seed in seeds])


def objective(method="dirac", photographs=None, folder=None, **fields):
    stage = {
        "objective": method, "steps": 3, "batch": BATCH, "crop_px": 64, "learning_rate": 1e-3,
        "decay_at": 1.0, **fields,
    }  # fmt: skip
    recipe = recipe_from("test", {"architecture": method, "sizes": "tiny", "stage": [stage]})
    setup = Setup(recipe, 0, torch.device("cpu"), photographs=photographs, folder=folder)
    return DiffusionObjective(recipe.stages[0], setup)


QUALITIES = (5, 10, 20)  # of the three levels
PICTURES = [noise(90, 130, seed) for seed in (1, 2)]
NUMBERS = range(10, 10 + BATCH)


def drawn_with(folder):
    """Return levels and pixels of the crops NUMBERS after JPEG, in a step of a run in `folder`."""
    photographs = hold_photographs(PICTURES)
    diffusion_objective = objective(photographs=photographs, folder=folder)
    batch = Batch(draw_crops(photographs, 64, NUMBERS, 1).float() / 127.5 - 1, NUMBERS)
    network = drawing_network("dirac", "jpeg")
    levels, times = diffusion_objective._random_levels(network, 0)
    base_pictures, _, _ = diffusion_objective._noisy_conditions(network, batch, levels, times)
    return levels, ((base_pictures + 1) * 127.5).round()


def test_crops_are_those_of_photographs_that_the_base_coded_whole_and_keeps(tmp_path, monkeypatch):
    levels, base_pictures = drawn_with(tmp_path)
    for level, number, crop in zip(levels, NUMBERS, base_pictures, strict=True):
        coded = (through_jpeg(pad_pixels(pixels), QUALITIES[level]) for pixels in PICTURES)
        held = hold_photographs([pixels[:90, :130] for pixels in coded])
        assert torch.equal(crop, draw_crops(held, 64, [number], 1)[0].float())
    stored_files = sorted((tmp_path / BASE_FOLDER).iterdir())
    assert 3 <= len(stored_files) <= 6
    monkeypatch.setattr(objective_module, "write_file", None)
    assert torch.equal(base_pictures, drawn_with(tmp_path)[1])
    assert sorted((tmp_path / BASE_FOLDER).iterdir()) == stored_files


def test_crops_of_too_many_photographs_are_coded_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(objective_module, "MAX_CACHED_BYTES", 3 * 3 * 2 * 90 * 130 - 1)
    levels, base_pictures = drawn_with(tmp_path)
    crops = draw_crops(hold_photographs(PICTURES), 64, NUMBERS, 1).permute(0, 2, 3, 1).numpy()
    expected = [*map(through_jpeg, crops, (QUALITIES[level] for level in levels))]
    assert np.array_equal(base_pictures.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["dirac", "hfd"])
def test_a_level_has_the_standard_deviation_of_the_bases_residuals(method):
    network = drawing_network(method, "jpeg")
    crops = [noise(64, 64, seed) for seed in (1, 2)]
    for facts, quality in zip(network.level_table, QUALITIES, strict=True):
        decoded = np.stack([through_jpeg(crop, quality) for crop in crops]).astype(float)
        residuals = (np.stack(crops) - decoded) / 127.5
        scale = np.sqrt((residuals**2).mean())
        assert float(facts[SCALE]) == pytest.approx(scale, rel=1e-4)
        share = (np.abs(residuals) <= float(facts[THRESHOLD]) * scale).mean()
        assert share == pytest.approx(0.999, abs=2e-4)


def test_times_and_levels_are_drawn_evenly_and_an_untrained_loss_is_the_energy_of_velocities():
    network, diffusion_objective = drawing_network("dirac", "jpeg"), objective()
    levels, times = diffusion_objective._random_levels(network, 0)
    assert sorted(levels) == [0, 0, 1, 1, 2, 2]
    assert sorted((times * BATCH).astype(int)) == list(range(BATCH))
    later_levels, later = diffusion_objective._random_levels(network, 1)
    assert not np.array_equal(times, later)
    assert [*levels, *later_levels] != [*levels, *levels]
    # Residuals have the level's deviation, and so velocities have unit variance at every time.
    for parameter in network.unet.leave.parameters():
        torch.nn.init.zeros_(parameter)
    result = diffusion_objective.loss(network, Batch(crops_of(1, 2, 1, 2, 1, 2)), 0)
    assert float(result.total.detach()) == pytest.approx(1, abs=0.1)
    assert float(result.numbers["velocity_error"]) == pytest.approx(float(result.total.detach()))


def test_steps_lower_the_loss_that_validation_sees():
    network, diffusion_objective = drawing_network("dirac", "jpeg"), objective()
    validation = [noise(64, 64, 9)]
    first = diffusion_objective.validate(network, validation)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(12):
        optimiser.zero_grad()
        diffusion_objective.loss(network, Batch(crops_of(*range(BATCH))), step).total.backward()
        optimiser.step()
    last = diffusion_objective.validate(network, validation)
    assert last.loss < first.loss
    assert [point.q for point in last.points] == [0, 1, 2]
    psnr = [point.psnr_db for point in last.points]
    assert psnr == sorted(psnr)


def test_a_network_that_was_not_measured_is_refused():
    dirac, elic = load_architecture("dirac"), load_architecture("elic")
    tiny = ARCHITECTURES["dirac"].sizes["tiny"]
    with pytest.raises(UsageError, match="--members dirac-elic"):
        dirac.build(tiny).initialise(crops_of(1), ())
    unmeasured = dirac.build(replace(tiny, base="jpeg", setting="quality", settings=(5.0,)))
    other = elic.build(elic.sizes["tiny"])
    for network, message in ((unmeasured, 'initialise = "pca"'), (other, "objective dirac")):
        with pytest.raises(UsageError, match=message):
            objective().loss(network, Batch(crops_of(1)), 0)


def test_members_that_cannot_be_are_refused_and_crops_never_reduced(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    recipe = load_recipe("smoke")
    for member, kind, reported in (
        ("elic-1", UsageError, "generative .* elic-1: .* dirac, hfd"),
        ("dirac-jpgeg", UnknownName, "Did you mean 'jpeg'"),
        ("hfd-dirac:steps=1", UsageError, "base=dirac"),
        ("hfd-elic:checkpoint=absent", Unavailable, " absent"),
    ):
        with pytest.raises(kind, match=reported):
            suite("generative", recipe, tmp_path, [member])
    with pytest.raises(ValueError, match="reduced_share"):
        objective(reduced_share=0.5)
    first, *others = recipe.stages
    recipe = replace(recipe, stages=(replace(first, reduced_share=0.5), *others))
    (run,) = suite("generative", recipe, tmp_path, ["dirac-jpeg"])
    assert {stage.reduced_share for stage in run.recipe.stages} == {0.0}
