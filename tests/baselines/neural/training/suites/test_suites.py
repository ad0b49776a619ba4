"""Suites: equal budgets, recipes after the papers, and members that their codecs find."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.training.gan import PatchDiscriminator
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.run import read_record, read_reports
from baselines.neural.training.suites import METHODS, suite
from benchmark.errors import UsageError
from benchmark.spec import load_codec, parse_codec
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise
from support.training.every_stage import objective_of
from support.training.fixtures import LAMBDAS, learner_of, toy
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
        in_float32 = [stage.float32 for stage in run.recipe.stages]
        assert in_float32 == sorted(in_float32), "the last ones"


def test_every_method_has_its_learning_rate_and_the_recipes_share_of_adversarial_stages():
    night = load_recipe("night")
    share = sum(stage.crops for stage in night.stages if stage.objective == "realism")
    share /= night.crops_before(len(night.stages))
    shape = night.stages[-1].learning_rate / night.stages[0].learning_rate
    for run in suite("field", night, Path()):
        stages, method = run.recipe.stages, run.recipe.architecture
        assert stages[0].learning_rate == METHODS[method].learning_rate
        assert stages[-1].learning_rate == pytest.approx(stages[0].learning_rate * shape)
        result = sum(stage.crops for stage in stages if stage.has_gan)
        result /= run.recipe.crops_before(len(stages))
        expected = share if method in ("hific", "multirealism") else 0
        assert result == pytest.approx(expected, rel=0.01)
        assert all(stage.has_lpips for stage in stages if stage.has_gan)


def test_a_member_or_sizes_that_the_suite_lacks_are_named():
    with pytest.raises(UsageError, match=r"chram.* charm"):
        suite("field", load_recipe("smoke"), Path(), ["chram"])
    with pytest.raises(UsageError, match=r"'least'.* charm .*full"):
        suite("field", replace(load_recipe("smoke"), sizes="least"), Path())


def test_the_discriminator_scores_a_patch_of_eight_pixels_and_sees_the_latent():
    discriminator = PatchDiscriminator(6, (4, 8, 8, 8), 2).eval()
    images, latents = torch.randn(2, 3, 64, 128), torch.randn(2, 6, 4, 8)
    logits = discriminator(images, latents)
    assert logits.shape == (2, 1, 8, 16)
    assert not torch.allclose(logits, discriminator(images, latents + 1), atol=1e-4)


def test_multi_realism_at_beta_zero_is_rate_and_distortion_and_betas_are_random():
    fields = {"gan_per_beta": 3.0, "zero_beta_share": 1.0, "balanced": True, "lambdas": [2.0]}
    objective, network, batch = objective_of("multirealism", **SMALL, **fields)
    total, mse, bpp = numbers_of(objective.loss(network, batch, 0))
    assert total == pytest.approx(2**-0.5 * (150 * mse + 2.0 * bpp), rel=1e-5)
    fields = {"gan_per_beta": 1.0, "zero_beta_share": 0.3}
    objective, *_ = objective_of("multirealism", **SMALL, **fields)
    betas = np.array([objective.draw(network, batch, step).beta.tolist() for step in range(400)])
    assert (betas == 0).mean() == pytest.approx(0.3, abs=0.06)
    assert 2.4 < betas.max() < 2.56
    assert not np.array_equal(betas[:, 0], betas[:, 1])


def numbers_of(loss):
    values = loss.total, loss.numbers["mse"], loss.numbers["bpp"]
    return [float(value.detach()) for value in values]


def test_the_minutes_are_those_of_the_whole_suite(tmp_path):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", 25, 0, initialise='"pca"')
    words = ("--suite", "field", "--members", "elic-1,elic-2", "--max-minutes", 0)
    process = bench(*training(tmp_path, tmp_path / "out", *words))
    assert process.stderr.startswith("2 networks, 0 finished: 10 steps")
    assert process.exit_code == 0
    assert "1 of 5 steps" in process.stdout
    assert not (tmp_path / "out" / "elic-2").exists()


LEVELS = 255**2


def test_the_weights_are_the_published_ones_but_for_a_common_factor():
    def first(method):
        return load_recipe(f"paper-{method}").stages[-1]

    close = {"rel": 1e-5}
    assert 150 / first("charm").lambdas[0] == pytest.approx(0.01 * LEVELS, **close)
    elic = first("elic")
    assert 150 / elic.lambdas[0] == pytest.approx(0.016 * LEVELS, **close)
    assert elic.clip_norm / elic.lambdas[0] == pytest.approx(1, **close)
    published = [50, 160, 300, 480, 710, 1000, 1350, 1780, 2302, 2915]
    assert [150 / value for value in first("ivr").lambdas] == pytest.approx(published, **close)
    assert first("ivr").clip_norm == 5
    hific, factor = first("hific"), 150 / (0.1 * 2**-5 * 0.75 * LEVELS)
    weights = (*hific.lambdas, hific.lambda_below, hific.lpips, hific.gan)
    assert weights == pytest.approx([factor * value for value in (2, 1 / 64, 1, 0.15)], **close)
    realism, factor = first("multirealism"), 150 / (0.01 * LEVELS)
    weights = (*realism.lambdas, realism.lpips_per_beta, realism.gan_per_beta, realism.clip_norm)
    assert weights == pytest.approx([factor * value for value in (12.8, 4.26, 1, 1)], **close)
    assert [first(name).clip_norm for name in ("charm", "hific")] == [0, 0]


@pytest.mark.parametrize("method", ["charm", "elic", "ivr", "hific", "multirealism"])
def test_the_rates_of_the_suite_hold_the_recipe_s_own(method):
    for stage in load_recipe(f"paper-{method}").stages:
        equal = []
        for rate in METHODS[method].paper:
            pairs = [(np.ravel(getattr(stage, n)), np.ravel(value)) for n, value in rate.items()]
            equal.append(all(a.tolist() == pytest.approx(b.tolist(), rel=1e-5) for a, b in pairs))
        assert sum(equal) == 1


def test_the_suite_of_the_papers_has_the_members_of_every_other():
    runs, night = (suite("field", load_recipe(name), Path("out")) for name in ("paper", "night"))
    assert sorted(run.name for run in runs) == sorted(run.name for run in night)
    assert {run.target for run in runs} == {run.target for run in night}
    for run in runs:
        run.recipe.check_network()
        paper_recipe = load_recipe(f"paper-{run.recipe.architecture}")
        assert paper_recipe.sizes == "full"
        assert replace(paper_recipe, name="paper", stages=run.recipe.stages) == run.recipe
    lambdas = [run.recipe.stages[0].lambdas for run in runs if run.name.startswith("elic-")]
    assert lambdas == sorted(lambdas, reverse=True), "the lowest rate first"
    (member,) = suite("field", load_recipe("paper"), Path("out"), ["hific-2"])
    assert {stage.target_bpp for stage in member.recipe.stages} == {0.3}
    with pytest.raises(UsageError, match=r"paper-elic .*--suite field"):
        suite("field", load_recipe("paper-elic"), Path("out"))


def test_a_clip_norm_of_zero_leaves_the_gradient_as_it_is():
    gradients = []
    for clip in (0.0, 1e9, 1e-12):
        network = toy()
        learner_of(network, {"clip_norm": clip}).update()
        gradients.append(network.mix.weight.grad)
    assert torch.equal(*gradients[:2])
    assert float(gradients[2].norm()) < 1e-11 < float(gradients[0].norm())


def lambda_of(loss):
    total, mse, bpp = numbers_of(loss)
    return (total - 150 * mse) / bpp


def test_hific_and_multi_realism_weigh_bits_otherwise_at_first():
    fields = {"early_steps": 2, "lambdas": [2.0], "lambda_below": 0.25, "lpips": 0.0}
    objective, network, batch = objective_of("hific", **fields, target_bpp=1.0)
    rounded = float(objective.loss(network, batch, 0).numbers["rounded_bpp"])
    between = rounded / 1.2  # exceeded, but for the first steps
    high_target, low_target = (rounded / 2, [1.0, 2.0]), (2 * rounded, [0.125, 0.25])
    for target, weights in ((between, [0.125, 2.0]), high_target, low_target):
        objective, network, batch = objective_of("hific", **fields, target_bpp=target)
        result = [lambda_of(objective.loss(network, batch, step)) for step in (1, 2)]
        assert result == pytest.approx(weights, rel=1e-3)
    fields = {"early_share": 0.5, "lambdas": [2.0], "steps": 4}
    objective, network, batch = objective_of("multirealism", **fields)
    result = [lambda_of(objective.loss(network, batch, step)) for step in (0, 1, 2)]
    assert result == pytest.approx([20, 20, 2], rel=1e-3)


def test_ivr_draws_neighbours_and_their_half_with_the_weights_between():
    objective, network, batch = objective_of("ivr", lambdas=LAMBDAS)
    samples = [objective.random_level(step) for step in range(400)]
    levels = [level for level, _ in samples]
    shares = {level: levels.count(level) / 400 for level in set(levels)}
    # Each of four pairs and three shares alike: inner levels belong to two pairs.
    expected = {level / 2: 1 / 12 for level in range(9)} | dict.fromkeys((1, 2, 3), 1 / 6)
    assert shares == pytest.approx(expected, abs=0.06)
    for level, weight in samples:
        weights = [150 / LAMBDAS[int(edge)] for edge in (np.floor(level), np.ceil(level))]
        assert weight == pytest.approx(sum(weights) / 2)
    total, mse, bpp = numbers_of(objective.loss(network, batch, 7))
    assert total == pytest.approx(bpp + samples[7][1] * mse, rel=1e-5)


@pytest.mark.parametrize("noisy_contexts", [False, True])
def test_the_contexts_of_elic_see_noise_where_a_stage_says_so(noisy_contexts):
    objective, network, batch = objective_of("elic", noisy_contexts=noisy_contexts)
    with torch.no_grad():
        latents = network.analyse(batch.crops)
    inputs, anchors = [], []
    layers = network.context.channel[1], network.context.spatial[0]
    for layer, seen in zip(layers, (inputs, anchors), strict=True):
        layer.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0].detach()))
    for seed in (1, 2):
        torch.manual_seed(seed)
        result = objective.loss(network, batch, 0)
        assert lambda_of(result) == pytest.approx(objective.stage.lambdas[0], rel=1e-3)
    assert torch.equal(*inputs) is not noisy_contexts
    for values, first in zip(inputs, anchors, strict=True):
        is_coded = first != 0  # anchors, which have the same noise in both passes
        assert torch.equal(values[is_coded], first[is_coded])
        assert float((values - latents[:, : network.sizes.groups[0]]).abs().max()) <= 0.501
    with torch.no_grad():
        for seed in (3, 4):
            torch.manual_seed(seed)
            network(batch.crops, None, noisy=False)
    assert torch.equal(*inputs[2:]), "what is validated and coded is rounded"


def test_a_stage_of_elic_for_another_network_is_refused():
    objective, _, batch = objective_of("elic")
    architecture = load_architecture("charm")
    with pytest.raises(UsageError, match="elic"):
        objective.loss(architecture.build(architecture.sizes["tiny"]), batch, 0)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", validate_every_steps=1, caveat='"a few steps"')
    out = tmp_path / "out"
    monkeypatch.setenv("BENCH_WEIGHTS", f"{out}:{tmp_path}")

    def train(suite, members, specs):
        words = ("--suite", suite, "--members", members)
        process = bench(*training(tmp_path, out, *words, "--quiet"))
        assert process.exit_code == 0, process.stderr
        pixels = noise(70, 60)
        for spec in specs:
            codec = load_codec(parse_codec(spec))
            assert codec.decode(codec.encode(pixels, codec.sweep[-1])).shape == pixels.shape
            assert "steps" in codec.describe().caveat
        cards = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
        assert all(" ".join(words) in card["command"] for card in cards.values())
        return out, cards

    return train


@pytest.mark.slow
def test_members_of_the_field(trained):
    members = "charm-1,elic-4,ivr,hific-2,multirealism-3"
    specs = ["charm", "elic", "ivr", "hific", "multirealism:beta=2.56"]
    _, cards = trained("field", members, specs)
    assert {*cards} == {*members.split(",")}
    assert (cards["ivr"]["steps"], cards["ivr"]["crops"]) == (4, 8)


@pytest.mark.slow
def test_diffusion_decoders_after_their_base(trained, tmp_path):
    for seed, level in enumerate((1, 2)):
        write_tiny(tmp_path / f"elic-{level}.safetensors", "elic", seed=seed)
    out, cards = trained("generative", "dirac-jpeg,hfd", ["dirac:steps=2:base=jpeg", "hfd:steps=2"])
    config = cards["hfd-elic"]["config"]
    assert config["settings"] == [1.0, 2.0]
    assert config["base_fingerprint"] == load_codec(parse_codec("elic")).describe().fingerprint
    assert "velocity_error" in read_reports(out / "hfd-elic")[0]


@pytest.mark.slow
def test_levels_of_pqmim_whose_transformer_has_crops_of_its_own(trained):
    specs = ["pqmim", "pqmim:perceptual=1"]
    out, cards = trained("generative", "pqmim-1,pqmim-perceptual-2", specs)
    card = cards["pqmim-1"]
    *autoencoder, transformer = read_record(out / "pqmim-1").recipe.stages
    first, last = sum(stage.crops for stage in autoencoder), transformer.crops
    sides = autoencoder[0].crop_px, transformer.crop_px
    assert sides[0] != sides[1]
    crops = f"{first} crops of {sides[0]} px, {last} crops of {sides[1]} px"
    assert card["training_data"].endswith(crops)
    assert (card["crops"], card["config"]["books"]) == (first + last, 4)
    reports = read_reports(out / "pqmim-1")
    assert reports[0]["perplexity"] > 1
    assert reports[-1]["validation"][0]["bpp"] > 0
