"""CompressAI's hyperprior as it is trained here, from the trainer's network to a curve's label."""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.compressai import weights as compressai_weights
from baselines.compressai.architecture import ZooConfig
from baselines.compressai.codec import CompressAI
from baselines.compressai.container import unpack
from baselines.compressai.network import (
    MATCHED_WIDTHS,
    MODELS,
    ZooNetwork,
    rate_weight,
)
from baselines.neural.blocks.orthogonal import transforms_of
from baselines.neural.checkpoint.card import Card, verified_card
from baselines.neural.checkpoint.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.cost import macs_per_pixel
from baselines.neural.crdr.sizes import MICRO
from benchmark.analysis.comparable import label_of
from benchmark.codec import Setting
from benchmark.codec_spec import load_codec, parse_codec, resolve
from benchmark.errors import BadOption, Unavailable

ROOT = Path(__file__).parents[3]
HYPERPRIOR = "bmshj2018-hyperprior"
WIDTHS = (8, 12)
DEVIATION = 3.0  # of the latent
CARD = Card(
    architecture="compressai",
    config=ZooConfig(HYPERPRIOR, WIDTHS, 0.01),
    training_data="no photographs",
    steps=7,
    crops=56,
    command="bench train",
    commit="0" * 40,
    measured={"sample_bpp": 0.5},
)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(compressai_weights, "_kept", OrderedDict())


@pytest.fixture(autouse=True)
def shipped(monkeypatch, tmp_path):
    """A folder in place of the bundled checkpoints."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(compressai_weights, "BUNDLED", folder)
    return folder


def wrapped(model: str = HYPERPRIOR, seed: int = 1) -> ZooNetwork:
    """Seeded and narrow, with latents that spread and scales that fit them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ZooNetwork(model, WIDTHS, 0.01)
        stock = network.codec
        with torch.no_grad():
            probe = stock.g_a(torch.rand(1, 3, 64, 64))
            stock.g_a[6].weight.mul_(DEVIATION / probe.std())
            stock.g_a[6].bias.zero_()
            last = stock.h_s[4]
            last.weight.mul_(10)
            last.bias[: WIDTHS[1]] = DEVIATION
    return network


def as_images(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1


def save(folder: Path, name: str = "hyperprior-1", seed: int = 1, **options) -> ZooNetwork:
    network = wrapped(seed=seed)
    make_checkpoint(folder / f"{name}.safetensors", network, CARD, [], **options)
    return network


def stored(path: Path) -> dict[str, torch.Tensor]:
    """CompressAI's state dict as it comes back from a file."""
    return load_checkpoint(path).network.stored_state()


@pytest.fixture
def crop(photo):
    """A crop of 128 x 192 pixels, which needs no padding."""
    return np.ascontiguousarray(photo[:128, :192])


def matched(weights: str = "matched") -> CompressAI:
    return CompressAI(model=HYPERPRIOR, weights=weights)


def test_a_stream_decodes_to_the_picture_of_the_network_that_was_saved(shipped, crop):
    network = save(shipped)
    stream = matched().encode(crop, Setting("quality", 1))
    compressai_weights._kept.clear()  # the decoder makes its own
    decoded = matched().decode(stream)
    with torch.no_grad():
        network.codec.update(update_quantiles=True)  # as on saving, for the prior's medians
        images = network(as_images(crop), noisy=False).images[0]
    expected = ((images + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy()
    assert np.abs(decoded - expected).max() <= 1  # a value beside .5 rounds either way
    assert np.mean(decoded != expected) < 1e-3
    assert len(np.unique(decoded)) > 10


@pytest.mark.parametrize("model", MODELS)
def test_estimated_bits_are_those_of_the_coder(model, coffee):
    crop = np.ascontiguousarray(coffee[:256, :384])
    network = wrapped(model)
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


def test_parameters_come_back_and_half_of_their_bits_suffice(shipped, tmp_path):
    network = save(shipped)
    save(tmp_path, half=True)
    whole, half = (stored(folder / "hyperprior-1.safetensors") for folder in (shipped, tmp_path))
    for name, value in network.codec.named_parameters():
        assert half[name].dtype == torch.float32
        if "quantiles" not in name:
            assert torch.equal(whole[name], value)
            assert torch.equal(half[name], value.half().float())
    kept = load_file(tmp_path / "hyperprior-1.safetensors")
    assert kept["g_a.0.weight"].dtype == torch.float16
    assert kept["gaussian_conditional.scale_table"].dtype == torch.float32


@pytest.mark.parametrize("half", [False, True])
def test_tables_are_stored_and_belong_to_the_parameters_in_their_file(shipped, half):
    save(shipped, half=half)
    state = stored(shipped / "hyperprior-1.safetensors")
    tables = {name: value.clone() for name, value in state.items() if name.split(".")[-1][0] == "_"}
    tables["gaussian_conditional.scale_table"] = state["gaussian_conditional.scale_table"].clone()
    assert len(tables) == 7
    again = ZooNetwork(HYPERPRIOR, WIDTHS).codec.from_state_dict(state)
    again.update(force=True)
    fresh = again.state_dict()
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
    rewrite_card(path)
    longer = matched().encode(crop, Setting("quality", 1))
    compressai_weights._kept.clear()
    save(shipped)
    assert unpack(longer, 2).strings[0] == unpack(matched().encode(crop, QUALITY), 2).strings[0]
    assert unpack(longer, 2).strings[1] != unpack(matched().encode(crop, QUALITY), 2).strings[1]


QUALITY = Setting("quality", 1)


def rewrite_card(path: Path) -> None:
    """Let the card vouch for the tensors' file as it is now."""
    from benchmark.system.digest import file_sha256

    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": file_sha256(path)}))


def test_quantiles_hold_all_but_a_billionth_of_the_prior(shipped):
    save(shipped)
    state = stored(shipped / "hyperprior-1.safetensors")
    prior = ZooNetwork(HYPERPRIOR, WIDTHS).codec.from_state_dict(state).entropy_bottleneck
    logits = prior._logits_cumulative(prior.quantiles, stop_gradient=True)
    expected = np.log(2e9 - 1)
    assert logits[:, 0, 0].tolist() == pytest.approx([-expected] * WIDTHS[0], rel=1e-2)
    assert logits[:, 0, 1].tolist() == pytest.approx([0] * WIDTHS[0], abs=1e-2)
    assert logits[:, 0, 2].tolist() == pytest.approx([expected] * WIDTHS[0], rel=1e-2)


def test_saving_leaves_the_network_as_it_is(tmp_path):
    network = wrapped()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    make_checkpoint(tmp_path / "hyperprior-1.safetensors", network, CARD, [], half=True)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert network.training


def test_a_card_comes_back_with_the_hash_of_its_file(tmp_path):
    path = tmp_path / "hyperprior-1.safetensors"
    written = make_checkpoint(path, wrapped(), CARD, [])
    assert verified_card(path) == written == replace(CARD, sha256=written.sha256)
    assert len(written.sha256) == 64
    assert {file.name for file in tmp_path.glob("*hyper*")} == {path.name, "hyperprior-1.json"}


def test_a_network_that_cannot_be_used_is_not_written(tmp_path):
    path = tmp_path / "hyperprior-1.safetensors"
    other = replace(CARD, config=ZooConfig(HYPERPRIOR, (4, 12), 0.01))
    with pytest.raises(ValueError, match="different configurations"):
        make_checkpoint(path, wrapped(), other, [])
    broken = wrapped()
    broken.codec.g_s[0].bias.data[0] = 1e6  # more than float16 holds
    with pytest.raises(ValueError, match=r"not finite: codec.g_s.0.bias"):
        make_checkpoint(path, broken, CARD, [], half=True)
    broken.codec.g_s[0].bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite: codec.g_s.0.bias"):
        make_checkpoint(path, broken, CARD, [])
    assert not list(tmp_path.glob("*hyper*"))


def test_the_files_that_are_here_make_the_sweep_and_say_what_they_are(shipped):
    for number in (3, 1):
        save(shipped, f"hyperprior-{number}", seed=number)
    save(shipped, "hyperprior-whole-3", seed=4)
    few, whole = matched(), matched("matched-whole")
    assert few.sweep == (Setting("quality", 1), Setting("quality", 3))
    assert whole.sweep == (Setting("quality", 3),)
    assert few.describe().caveat == "reduced, trained by this project"
    assert whole.describe().caveat == "reduced, trained by this project at the whole budget"
    told = few.describe().version
    assert told.endswith("; N=8, M=12, 7 steps of 56 crops in all: no photographs")
    assert few.describe().fingerprint != whole.describe().fingerprint


def test_the_users_own_networks_come_before_the_bundled_ones(shipped, tmp_path, monkeypatch):
    save(shipped, "hyperprior-1")
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "mine"))
    theirs = matched().describe().fingerprint
    save(tmp_path / "mine", "hyperprior-2", seed=2)
    assert matched().sweep == (Setting("quality", 2),)
    assert matched().describe().fingerprint != theirs


@pytest.mark.parametrize("weights", ["matched", "matched-whole"])
def test_where_none_is_here_it_says_what_to_do(weights):
    with pytest.raises(Unavailable, match=r"no hyperprior-.*`bench train --suite matched`"):
        matched(weights)


def damage_tensors(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def replace_tensor(name, change):
    def act(path):
        tensors = load_file(path)
        save_file(tensors | {name: change(tensors[name])}, path)
        rewrite_card(path)

    return act


def edit_card(**changes):
    def act(path):
        source = path.with_suffix(".json")
        source.write_text(json.dumps(json.loads(source.read_text()) | changes))

    return act


def edit_config(**changes):
    def act(path):
        source = path.with_suffix(".json")
        card = json.loads(source.read_text())
        source.write_text(json.dumps(card | {"config": card["config"] | changes}))

    return act


def truncate_with_its_card(path):
    path.write_bytes(path.read_bytes()[:1000])
    rewrite_card(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_tensors, r"hyperprior-1.safetensors is damaged.*get both files again"),
        (truncate_with_its_card, "cannot be read as safetensors"),
        (lambda path: path.with_suffix(".json").unlink(), "no card hyperprior-1.json beside"),
        (lambda path: path.with_suffix(".json").write_text("{"), "is no card of a checkpoint"),
        (edit_config(model="mbt2018-mean"), "model is bmshj2018-hyperprior by its tensors"),
        (edit_config(model="elic"), "elic"),
        (edit_card(format=3), r"\$\.format"),
        (edit_card(steps=-1), r"\$\.steps"),
        (edit_card(crops=True), r"\$\.crops"),
        (edit_config(widths=[8, 12, 3]), r"\$\.widths"),
        (edit_config(widths=[8, 16]), r"does not fit its card: widths is \(8, 12\) by its"),
        (edit_config(lmbda=None), r"\$\.lmbda"),
        (edit_card(measured={"bpp": "1"}), r"\$\.measured"),
        (edit_card(command=3), r"\$\.command"),
        (
            replace_tensor("g_a.2.bias", lambda old: old / 0),
            "g_a.2.bias has values that",
        ),
        (replace_tensor("h_a.0.bias", lambda old: old[1:].clone()), "network: h_a.0.bias differs"),
    ],
)
def test_a_damaged_file_is_one_sentence(shipped, photo, damage, said):
    save(shipped)
    damage(shipped / "hyperprior-1.safetensors")
    with pytest.raises(Unavailable, match=said) as caught:
        matched().encode(photo, QUALITY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "mbt2018-mean", "weights": "matched"},
        {"model": HYPERPRIOR, "weights": "matched", "metric": "ms-ssim"},
        {"model": HYPERPRIOR, "weights": "matched", "checkpoint": "own.pth"},
    ],
)
def test_matched_weights_of_what_is_not_trained_here_are_refused(options):
    with pytest.raises(BadOption, match="matched"):
        CompressAI(**options)


def test_the_short_name_takes_options_and_labels_the_curve(shipped):
    save(shipped)
    for text in ("hyperprior:weights=matched", f"compressai:weights=matched:model={HYPERPRIOR}"):
        (spec,) = resolve(parse_codec(text))
        assert load_codec(spec).describe().caveat == "reduced, trained by this project"
        assert label_of(spec.name, spec.variant) == "hyperprior:weights=matched"


def test_describing_imports_no_torch(shipped):
    save(shipped)
    code = (
        "import sys\n"
        "from benchmark.codec_spec import load_codec, parse_codec\n"
        "load_codec(parse_codec('hyperprior:weights=matched')).describe()\n"
        "assert not {'torch', 'compressai', 'torchvision', 'safetensors'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "BENCH_WEIGHTS": str(shipped)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_codes_needs_nothing_of_the_trainer():
    folder = ROOT / "baselines" / "compressai"
    sources = [path for path in folder.glob("*.py") if path.stem != "matched"]  # runs to train
    assert len(sources) >= 5
    assert not [path for path in sources if "neural.training" in path.read_text()]


@pytest.mark.parametrize("model", MODELS)
def test_training_sees_what_compressais_own_forward_gives(model, crop):
    network = wrapped(model)
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


def test_noise_is_the_choice_of_the_call_not_of_the_mode(crop):
    network = wrapped().eval()
    with torch.no_grad():
        noisy = [network(as_images(crop)) for _ in range(2)]
        network.train()
        still = [network(as_images(crop), noisy=False) for _ in range(2)]
    assert not any(map(torch.equal, *noisy))  # pictures, bits of y, bits of z
    assert all(map(torch.equal, *still))


def test_bits_stay_in_float32_under_autocast(crop):
    network = wrapped()
    with torch.no_grad():
        exact = network(as_images(crop), noisy=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            estimate = network(as_images(crop), noisy=False)
    assert estimate.y_bits.dtype == estimate.z_bits.dtype == torch.float32
    assert float(estimate.y_bits) == pytest.approx(float(exact.y_bits), rel=0.02)


def test_the_quantile_loss_teaches_quantiles_only():
    network = wrapped()
    network.auxiliary_loss().backward()
    touched = {name for name, one in network.named_parameters() if one.grad is not None}
    assert touched == {"codec.entropy_bottleneck.quantiles"}


def patches(photo, size=64):
    tiles = [photo[i : i + size, j : j + size] for i in (0, 64, 117) for j in (0, 64, 128)]
    return torch.cat([as_images(tile) for tile in tiles])


@pytest.mark.parametrize("model", MODELS)
def test_it_starts_as_the_principal_components_of_its_widths(model, photo):
    images = patches(photo)
    network = ZooNetwork(model, (16, 24))
    network.initialise(images, weight=1e-4)  # a latent so fine that rounding takes nothing
    with torch.no_grad():
        decoded = network(images, noisy=False).images
    transforms = transforms_of((images + 1) / 2, (16, 16, 16, 24))
    linear = (images + 1) / 2
    for transform in transforms:
        linear = transform.analyse(linear)
    for transform in reversed(transforms):
        linear = torch.nn.functional.conv_transpose2d(linear, transform.basis, stride=2)
        linear = linear + transform.mean[:, None, None]
    error, least = ((one - images).square().mean() for one in (decoded, linear * 2 - 1))
    assert least < 0.03 * images.var()
    assert error < 1.5 * least


def test_it_starts_with_a_latent_as_coarse_as_its_rate_and_scales_that_fit(photo):
    images = patches(photo)
    latents, hyper, predicted = [], [], []
    for weight in (0.1, 0.4):
        torch.manual_seed(0)
        network = ZooNetwork(HYPERPRIOR, (16, 24))
        network.initialise(images, weight)
        with torch.no_grad():
            latents.append(network.codec.g_a((images + 1) / 2))
            hyper.append(network.codec.h_a(latents[-1].abs()))
            predicted.append(network.codec.h_s(hyper[-1]).mean((0, 2, 3)))
    assert torch.allclose(latents[0], 2 * latents[1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(hyper[0], hyper[1], atol=0.02)  # what it says of scales is relative
    found = latents[0].square().mean((0, 2, 3)).sqrt()
    assert (predicted[0] / found.clamp(min=0.15)).log2().abs().max() < 1


def test_the_rate_weight_gives_compressais_trade_off():
    def theirs(mse, bpp):
        return 0.0067 * 255**2 * mse + bpp

    def ours(mse, bpp):
        return 150 * mse + rate_weight(0.0067) * bpp

    ratio = ours(0.001, 0.4) / theirs(0.001, 0.4)
    assert ours(0.0004, 1.1) == pytest.approx(ratio * theirs(0.0004, 1.1), rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("widths", [(8, 12), (6, 10)])
def test_the_work_is_that_of_the_layers_as_they_run(model, widths):
    network = ZooNetwork(model, widths)
    counted = []

    def count(layer, inputs, output):
        if isinstance(layer, torch.nn.Conv2d):
            counted.append(output[0, 0].numel() * layer.weight.numel())
        elif isinstance(layer, torch.nn.ConvTranspose2d):
            counted.append(inputs[0][0, 0].numel() * layer.weight.numel())
        elif type(layer).__name__ == "GDN":
            counted.append(output[0, 0].numel() * layer.gamma.numel())

    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 128))
    assert len(counted) == 8 + 6 + 6
    assert macs_per_pixel("compressai", network.config) == sum(counted) / (64 * 128)


def test_the_matched_widths_are_as_much_work_as_ours():
    work = macs_per_pixel("compressai", ZooConfig(HYPERPRIOR, MATCHED_WIDTHS))
    assert work == 14645.625
    assert work == pytest.approx(macs_per_pixel("crdr", MICRO), rel=1e-3)
