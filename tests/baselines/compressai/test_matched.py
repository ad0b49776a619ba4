"""A hyperprior that is trained here: its file, its network as the trainer sees it, its suite."""

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import is_autocast_enabled

from baselines.compressai import codec as compressai_codec
from baselines.compressai.codec import MATCHED_MODEL, find_matched, unpack
from baselines.compressai.network import WIDTHS as SUITE_WIDTHS
from baselines.compressai.network import ZooNetwork, hyperprior
from baselines.neural.architecture import ZooSizes
from baselines.neural.blocks.start_values import fit_transforms
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.costs import macs_per_pixel
from baselines.neural.training.recipe import load_recipe
from baselines.neural.training.suites import METHODS, suite
from benchmark.codec import Setting
from benchmark.errors import Unavailable, UnknownName
from benchmark.rows.edition import label_of
from benchmark.spec import load_codec, parse_codec, resolve
from support.networks import matched_hyperprior as drawn
from support.networks.card_edits import bless, resized
from support.networks.matched_hyperprior import QUALITY, as_images, matched, save, wrapped
from support.networks.tiny_checkpoint import NAMED
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    monkeypatch.setattr(compressai_codec, "_networks", OrderedDict())
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("baselines.neural.network_codec.BUNDLED", folder)
    return folder


@pytest.fixture
def crop(photo):
    return np.ascontiguousarray(photo[:128, :192])


def test_stored_tables_belong_to_their_parameters_and_quantiles_to_all_but_a_billionth(shipped):
    save(shipped)
    state = load_checkpoint(shipped / "hyperprior-1.safetensors").network.stored_state()
    tables = {name: value.clone() for name, value in state.items() if name.split(".")[-1][0] == "_"}
    tables["gaussian_conditional.scale_table"] = state["gaussian_conditional.scale_table"].clone()
    assert len(tables) == 7
    codec = ZooNetwork(ZooSizes(MATCHED_MODEL, drawn.WIDTHS)).codec.from_state_dict(state)
    prior = codec.entropy_bottleneck
    logits = prior._logits_cumulative(prior.quantiles, stop_gradient=True)[:, 0]
    outermost = float(np.log(2e9 - 1))
    expected = torch.tensor([-outermost, 0, outermost]).expand_as(logits)
    torch.testing.assert_close(logits, expected, rtol=1e-2, atol=1e-2)
    codec.update(force=True)
    fresh = codec.state_dict()
    assert all(torch.equal(fresh[name], value) for name, value in tables.items())


def test_the_tables_in_the_file_are_the_ones_that_code(shipped, crop):
    network = save(shipped)
    path = shipped / "hyperprior-1.safetensors"
    tensors = load_file(path)
    network.codec.entropy_bottleneck.quantiles.data *= 2  # tables computed anew are wider
    network.codec.update(force=True)
    wider = network.codec.state_dict()
    tables = [name for name in tensors if name.startswith("entropy_bottleneck._")]
    save_file(tensors | {name: wider[name] for name in tables}, path)
    bless(path)
    longer = unpack(matched().encode(crop, QUALITY), 2).strings
    compressai_codec._networks.clear()
    save(shipped)
    strings = unpack(matched().encode(crop, QUALITY), 2).strings
    assert longer[0] == strings[0]
    assert longer[1] != strings[1]


def test_saving_leaves_the_network_as_it_is(tmp_path):
    network = wrapped()
    state_before = {name: value.clone() for name, value in network.state_dict().items()}
    make_checkpoint(tmp_path / "hyperprior-1.safetensors", network, drawn.CARD, [])
    state_after = network.state_dict()
    assert all(torch.equal(state_after[name], value) for name, value in state_before.items())
    assert network.training


@pytest.mark.parametrize(("damage", "message"), [
    (resized(model="mbt2018-mean"), "mbt2018-mean"), (resized(model="elic"), "elic"),
    (resized(widths=[8, 12, 3]), "widths"), (resized(widths=[8, 16]), " card"),
    (resized(lmbda=None), "lmbda"),
])  # fmt: skip
def test_a_damaged_file_is_one_sentence(shipped, photo, damage, message):
    save(shipped)
    damage(shipped / "hyperprior-1.safetensors")
    with pytest.raises(Unavailable, match=message) as caught:
        matched().encode(photo, QUALITY)
    assert "\n" not in str(caught.value)


def test_a_stream_decodes_to_the_picture_of_the_network_that_was_saved(shipped, crop):
    network = save(shipped)
    stream = matched().encode(crop, QUALITY)
    compressai_codec._networks.clear()  # the decoder makes its own
    decoded = matched().decode(stream)
    with torch.no_grad():
        network.codec.update(update_quantiles=True)  # as on saving, for the prior's medians
        images = network(as_images(crop), noisy=False).images[0]
    expected = ((images + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(decoded - expected).max() <= 1  # a value near .5 rounds either way
    assert np.mean(decoded != expected) < 1e-3
    assert len(np.unique(decoded)) > 10


def test_the_files_that_are_here_make_the_sweep_the_users_own_first(shipped, tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match=r"hyperprior-.* --suite matched"):
        matched()
    for number in (3, 1):
        save(shipped, f"hyperprior-{number}", seed=number)
    assert matched().sweep == (Setting("quality", 1), Setting("quality", 3))
    info = matched().describe()
    assert "reduced" in info.caveat
    assert info.version.split("; N=8, M=12, 7 steps of 56 crops")[1].endswith(": no photographs")
    for name in ("hyperprior", f"compressai:model={MATCHED_MODEL}"):
        (spec,) = resolve(parse_codec(f"{name}:weights=matched"))
        assert load_codec(spec).describe() == info
        assert label_of(spec.identity) == "hyperprior:weights=matched"
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "mine"))
    assert matched().describe().fingerprint == info.fingerprint
    save(tmp_path / "mine", "hyperprior-2", seed=2)
    assert matched().sweep == (Setting("quality", 2),)
    assert matched().describe().fingerprint != info.fingerprint


def test_estimated_bits_are_those_of_the_coder(coffee):
    crop = np.ascontiguousarray(coffee[:256, :384])
    network = wrapped()
    stock = network.codec.eval()
    with torch.no_grad():
        stock.update(update_quantiles=True)
        estimate = network(as_images(crop), noisy=False)
        coded = stock.compress((as_images(crop) + 1) / 2)
    y_bits, z_bits = (8 * len(string) for (string,) in coded["strings"])
    # The coder writes words of 32 bits and ends in a state of up to two. It takes the next larger
    # of 64 scales, 6 % on average, which costs or saves something where the scales do not fit.
    assert y_bits - 32 == pytest.approx(float(estimate.y_bits), rel=0.02)
    assert z_bits - 32 == pytest.approx(float(estimate.z_bits), rel=0.01, abs=32)
    assert y_bits > 10_000


def test_training_sees_what_compressais_own_forward_gives_with_noise_as_called(crop):
    network = wrapped()
    torch.manual_seed(5)
    estimate = network(as_images(crop))
    torch.manual_seed(5)
    stock = network.codec.train()((as_images(crop) + 1) / 2)
    assert torch.allclose(estimate.images, stock["x_hat"] * 2 - 1, atol=1e-6)
    for bits, name in ((estimate.y_bits, "y"), (estimate.z_bits, "z")):
        expected = -stock["likelihoods"][name].detach().double().log2().sum()
        assert bits.detach().item() == pytest.approx(expected.item(), rel=1e-5)
    estimate.images.square().mean().backward()
    assert network.codec.g_a[0].weight.grad.abs().sum() > 0
    network.eval()
    with torch.no_grad():
        noisy = [network(as_images(crop))[:3] for _ in range(2)]
        network.train()
        noiseless = [network(as_images(crop), noisy=False)[:3] for _ in range(2)]
    assert not any(map(torch.equal, *noisy))  # pictures, bits of y, bits of z
    assert all(map(torch.equal, *noiseless))


def test_bits_stay_in_float32_under_autocast(crop):
    network, in_autocast = wrapped(), []
    for model in (network.codec.entropy_bottleneck, network.codec.gaussian_conditional):
        model.register_forward_pre_hook(lambda *_: in_autocast.append(is_autocast_enabled("cpu")))
    with torch.no_grad():
        exact = network(as_images(crop), noisy=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            estimate = network(as_images(crop), noisy=False)
    assert in_autocast == [False] * 4
    assert estimate.y_bits.dtype == estimate.z_bits.dtype == torch.float32
    assert float(estimate.y_bits) == pytest.approx(float(exact.y_bits), rel=0.02)


def patches(photo, size=64):
    tiles = [photo[i : i + size, j : j + size] for i in (0, 64, 117) for j in (0, 64, 128)]
    return torch.cat([as_images(tile) for tile in tiles])


def test_it_starts_as_principal_components_with_a_latent_as_coarse_as_its_rate(photo):
    images = patches(photo)
    network = ZooNetwork(ZooSizes(MATCHED_MODEL, (16, 24)))
    network.initialise(images, [1e-4])  # a latent so fine that rounding takes nothing
    with torch.no_grad():
        decoded = network(images, noisy=False).images
    transforms = fit_transforms((images + 1) / 2, (16, 16, 16, 24))
    linear = (images + 1) / 2
    for transform in transforms:
        linear = transform.analyse(linear)
    for transform in reversed(transforms):
        linear = torch.nn.functional.conv_transpose2d(linear, transform.basis, stride=2)
        linear = linear + transform.mean[:, None, None]
    error, pca_error = ((result - images).square().mean() for result in (decoded, linear * 2 - 1))
    assert pca_error < 0.03 * images.var()
    assert error < 1.5 * pca_error
    latents, hyper, predicted = [], [], []
    for weight in (0.1, 0.4):
        torch.manual_seed(0)
        network = ZooNetwork(ZooSizes(MATCHED_MODEL, (16, 24)))
        network.initialise(images, [weight])
        with torch.no_grad():
            latents.append(network.codec.g_a((images + 1) / 2))
            hyper.append(network.codec.h_a(latents[-1].abs()))
            predicted.append(network.codec.h_s(hyper[-1]).mean((0, 2, 3)))
    assert torch.allclose(latents[0], 2 * latents[1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(hyper[0], hyper[1], atol=0.02)  # what it says of scales is relative
    result = latents[0].square().mean((0, 2, 3)).sqrt()
    assert (predicted[0] / result.clamp(min=0.15)).log2().abs().max() < 1


METHOD = METHODS["hyperprior"]
LAMBDAS = [network["lmbda"] for network in METHOD.networks]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml")
    return folder


def test_each_matched_network_sees_what_ours_sees_for_a_level():
    night = load_recipe("night")
    members = {entry.name: entry for entry in suite("matched", night, Path())}
    assert list(members) == ["ours", *(f"hyperprior-{number}" for number in (1, 2, 3, 4))]
    total = sum(stage.steps * stage.batch for stage in night.stages)
    assert members["ours"].recipe == night
    coarse = sum(stage.steps * stage.batch for stage in night.stages if not stage.float32)
    assert 0 < coarse < total
    fall = night.stages[-1].learning_rate / night.stages[0].learning_rate
    for number, lmbda in enumerate(LAMBDAS, start=1):
        run = members[f"hyperprior-{number}"]
        assert total / 5 <= run.recipe.crops_before(2) < total / 5 + 2 * night.stages[0].batch
        stage, last = run.recipe.stages
        assert coarse / 5 <= stage.steps * stage.batch < coarse / 5 + stage.batch
        assert (stage.float32, last.float32) == (False, True)
        assert last.learning_rate / stage.learning_rate == pytest.approx(fall)
        assert (last.lambdas, last.decay_at) == (stage.lambdas, night.stages[-1].decay_at)
        assert run.recipe.dimensions["lmbda"] == lmbda
        assert (stage.objective, stage.learning_rate) == ("single_rate", METHOD.learning_rate)
        # 150 MSE + weight bpp is CompressAI's 255^2 lambda MSE + bpp, times the weight
        assert stage.lambdas[0] * lmbda * 255**2 == pytest.approx(150, rel=1e-12)
        assert (stage.decay, stage.decay_at) == (night.stages[0].decay, night.stages[0].decay_at)


def test_crops_that_do_not_divide_evenly_are_rounded_up_and_the_largest_side_counts(place):
    recipe = load_recipe(str(place / "recipe.toml"))
    first, second = recipe.stages
    stages = (replace(first, steps=5, batch=2), replace(second, steps=1, batch=1, crop_px=128))
    member = suite("matched", replace(recipe, stages=stages), Path())[1]
    (stage,) = member.recipe.stages  # 11 crops in all, so 3 a level, so 2 steps of 2
    assert (stage.steps, stage.batch, stage.crop_px, stage.learning_rate) == (2, 2, 128, 1e-3)
    assert (stage.gan_per_beta, stage.lpips_per_beta, stage.mixed_levels) == (0, 0, False)


def test_a_hyperprior_has_the_work_of_ours_but_for_the_largest():
    assert SUITE_WIDTHS.keys() == NAMED.keys()
    for size, widths in SUITE_WIDTHS.items():
        work = macs_per_pixel("compressai", ZooSizes(MATCHED_MODEL, widths))
        ratio = work / macs_per_pixel("crdr", NAMED[size])
        assert ratio < 1 if size == "full" else ratio == pytest.approx(1, rel=0.01), size
    with pytest.raises(UnknownName, match="hyperprior"):
        hyperprior("", 0.01)


def test_a_suite_continues_and_the_harness_finds_all_networks(place, tmp_path, monkeypatch):
    write_recipe(place / "suite.toml", rate_steps=1, realism_steps=0)
    out = tmp_path / "suite"
    words = training(place, out, "--suite", "matched", recipe="suite.toml")
    first = bench(*words, "--max-minutes", 0)
    assert first.exit_code == 0
    assert " ours;" in first.stdout
    assert [path.name for path in out.glob("*.safetensors")] == ["ours.safetensors"]
    assert "ours.safetensors: already finished" in bench(*words).stdout
    monkeypatch.setenv("BENCH_WEIGHTS", str(out))
    assert list(find_matched(MATCHED_MODEL, "mse")) == [1, 2, 3, 4]
    third = json.loads((out / "hyperprior-3.json").read_text())
    assert third["config"]["lmbda"] == LAMBDAS[2]
    assert third["config"]["widths"] == list(SUITE_WIDTHS["tiny"])
    assert "--suite matched" in third["command"]
    assert bench(*words).stdout.count("already finished") == 5
