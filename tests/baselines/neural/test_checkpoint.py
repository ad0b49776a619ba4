"""Checkpoints on disk: what is saved comes back, also in few bits; all else ends in one error."""

import lzma
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from baselines.neural import checkpoint
from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card, load_card, save_card
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint, quantise, save_checkpoint
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.network_codec import BUNDLED
from benchmark.errors import Unavailable
from benchmark.spec import load_codec, parse_codec
from benchmark.system.digest import file_sha256
from support.bench.command import bench
from support.networks.card_edits import bless, edited, resized
from support.networks.tiny_checkpoint import TINY, noise, write_checkpoint

WORDS = ("1,138 photographs", 1200, "bench train --size tiny", "0123abc")
CARD = Card("crdr", TINY, *WORDS, measured={"sample_q2_bpp": 0.36}, crops=9600)
TABLES = {"z": torch.tensor([[0, 7, 65536]], dtype=torch.int32)}


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_checkpoint(folder / "ours.safetensors", steps=3)
    return folder


@pytest.fixture
def path(complete, tmp_path):
    return shutil.copytree(complete, tmp_path / "weights") / "ours.safetensors"


def test_what_is_saved_comes_back_in_float32_and_only_if_it_is_finite(tmp_path):
    path, model = tmp_path / "deep" / "tiny.safetensors", CRDRNetwork(TINY)
    written = save_checkpoint(path, model, CARD, TABLES)
    assert written == replace(CARD, sha256=file_sha256(path))
    assert written.identity == bytes.fromhex(written.sha256)
    result = load_checkpoint(path)
    assert result.card == load_card(path) == written
    assert not result.network.training
    torch.testing.assert_close(result.tables, TABLES, rtol=0, atol=0)
    ours = model.state_dict()
    torch.testing.assert_close(result.network.state_dict(), ours, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in result.network.parameters())
    assert {entry.name for entry in path.parent.iterdir()} == {"tiny.safetensors", "tiny.json"}
    tensors = {name: value.half() for name, value in load_file(path).items() if name in ours}
    save_file(tensors, path)
    bless(path)
    expected = {name: value.half().float() for name, value in ours.items()}
    half = load_checkpoint(path).network.state_dict()
    torch.testing.assert_close(half, expected, rtol=0, atol=0)
    with torch.no_grad():
        model.analysis.layers[0].bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"analysis\.layers\.0\.bias"):
        make_checkpoint(tmp_path / "infinite.safetensors", model, CARD, [])
    assert not list(tmp_path.glob("infinite*"))


def test_an_interrupted_save_leaves_the_checkpoint_before_it(path, monkeypatch):
    """Or none, if the new tensors were written and the new card was not."""
    card_before = load_checkpoint(path).card
    replace_file, calls = os.replace, []

    def replace_until_interrupted(source, target):
        calls.append(target)
        if len(calls) in (1, 3):
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", replace_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CRDRNetwork(TINY), CARD)
    assert load_checkpoint(path).card == card_before
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CRDRNetwork(TINY), CARD)
    with pytest.raises(Unavailable, match=r"ours\.safetensors .*sha256"):
        load_checkpoint(path)


def test_a_missing_fact_card_or_file_is_named(path):
    with pytest.raises(Unavailable, match=r"other\.safetensors$"):
        load_checkpoint(path.with_name("other.safetensors"))
    text = (card := path.with_suffix(".json")).read_text()
    card.write_text(text.replace('"steps"', '"further"'))
    with pytest.raises(Unavailable, match="steps"):
        load_checkpoint(path)
    card.unlink()
    with pytest.raises(Unavailable, match=r"ours\.safetensors .*ours\.json"):
        load_checkpoint(path)
    card.write_text(text)
    path.unlink()
    with pytest.raises(Unavailable, match=r"ours\.safetensors: No such file"):
        load_checkpoint(path)


@pytest.mark.parametrize("changes", [
    {"format": 3}, {"format": 1}, {"architecture": "unknown"}, {"architecture": None},
    {"architecture": "compressai"}, {"config": {}}, {"config": asdict(TINY) | {"latent": 10**9}},
    {"crops": -1}, {"steps": "1"}, {"sha256": "ab"}, {"measured": {"x": float("nan")}},
    {"measured": {"x": 10**400}},
], ids=str)  # fmt: skip
def test_a_card_that_makes_no_sense_is_one_error(path, changes):
    edited(**changes)(path)
    with pytest.raises(Unavailable, match=r"ours\.json .*: \w"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 200_000, "\udcff", " " * (1 << 20)], ids=range(5))
def test_an_invalid_card_is_one_error(path, text):
    card = path.with_suffix(".json")
    card.write_text(text + card.read_text() * (len(text) == 1 << 20), errors="surrogateescape")
    with pytest.raises(Unavailable, match=r"ours\.json .*(card|1048576)"):
        load_checkpoint(path)


@pytest.mark.parametrize("kept_bytes", [0, 9, -1], ids=str)
def test_an_invalid_safetensors_file_is_one_error(path, kept_bytes):
    path.write_bytes(path.read_bytes()[:kept_bytes])
    bless(path)
    with pytest.raises(Unavailable, match=r"ours\.safetensors .* safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize(("name", "value"), [
    ("analysis.layers.0.bias", torch.full((8,), torch.nan)),
    ("analysis.layers.0.bias", torch.zeros(8, dtype=torch.float64)),
    ("analysis.layers.0.bias", torch.zeros(8, dtype=torch.int32)), ("tables.z", torch.zeros(3)),
    ("tables.z", torch.zeros(3, dtype=torch.bool)),
], ids=str)  # fmt: skip
def test_values_of_the_wrong_kind_are_one_error(path, name, value):
    save_file(load_file(path) | {name: value}, path)
    bless(path)
    with pytest.raises(Unavailable, match=f"{name} "):
        load_checkpoint(path)


def load_ours(path):
    return load_codec(parse_codec(f"ours:beta=0:checkpoint={path}"))


def test_no_cell_or_image_is_tried_and_nothing_is_stored(path, tmp_path):
    edited(sha256="0" * 64)(path)
    image, stream, results = tmp_path / "in.png", tmp_path / "out.crdr", tmp_path / "results"
    Image.fromarray(noise(8, 8)).save(image)
    words = ("--codecs", "ours", "--weights-dir", path.parent, "--results", results)
    for call in (
        ("run", *words, "--dataset", "sample"),
        ("plan", *words, "--dataset", "sample"),
        ("encode", image, stream, "--codec", f"ours:beta=0:checkpoint={path}"),
    ):
        process = bench(*call)
        assert (process.returncode, process.stdout) == (2, "")
        assert f"{path} " in process.stderr
        assert process.stderr.count("\n") == 1
    assert not results.exists()
    assert not stream.exists()


def test_a_card_of_another_architecture_is_refused_at_once(path):
    assert load_ours(path).describe().caveat == ""
    with pytest.raises(Unavailable, match=r"hyperprior-1\..* compressai"):
        load_ours(BUNDLED / "hyperprior-1.safetensors.xz")


@pytest.mark.parametrize(("changes", "caveat"), [
    ({"steps": None, "training_data": "unknown"}, "training unknown"),
    ({"steps": None, "caveat": "of one night"}, "training unknown, of one night"),
    ({"steps": 0, "caveat": "of one night"}, "untrained"),
])  # fmt: skip
def test_rows_say_that_training_is_unknown_or_none(path, changes, caveat):
    card = replace(load_card(path), **changes)
    save_card(path, card)
    assert load_card(path) == card
    assert load_ours(path).describe().caveat == caveat


def test_tensors_of_a_wrapped_network_are_refused_with_what_to_save(path):
    save_file({f"module.{name}": value for name, value in load_file(path).items()}, path)
    bless(path)
    with pytest.raises(Unavailable, match=r"NETWORK\.module\.state_dict"):
        load_checkpoint(path)


def drop_tables(path):
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("tables.")}, path)
    bless(path)


@pytest.mark.parametrize(
    ("spoil", "message"), [(resized(hyper_latent=8), "hyper_analysis"), (drop_tables, "tables")]
)
def test_tensors_of_another_network_are_refused_with_the_first_image(path, spoil, message):
    spoil(path)
    codec = load_ours(path)
    with pytest.raises(Unavailable, match=message):
        codec.encode(noise(8, 8), codec.sweep[0])


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"no xz" + data])
def test_a_packed_checkpoint_is_the_one_that_was_packed_and_refused_if_damaged(path, damage):
    packed = path.with_suffix(".safetensors.xz")
    packed.write_bytes(lzma.compress(path.read_bytes()))
    ours, theirs = load_checkpoint(path), load_checkpoint(packed)
    states = (result.network.state_dict() for result in (ours, theirs))
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert theirs.card == ours.card
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(Unavailable, match=r"ours.*\.xz "):
        load_checkpoint(packed)


@pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5), (6, 5, 3, 3)])
def test_weak_rows_and_columns_keep_as_many_bits_as_strong_ones(shape):
    generator = np.random.default_rng(1)
    signs = generator.choice([-1.0, 1.0], size=shape)
    kernel = len(shape) - 2 if len(shape) == 4 else 0
    rows = 10.0 ** generator.integers(-4, 3, size=(6, 1) + (1,) * kernel)
    columns = 10.0 ** generator.integers(-4, 3, size=(1, 5) + (1,) * kernel)
    weights = torch.from_numpy(signs * rows * columns).float()
    assert torch.allclose(quantise(weights, 4).values(), weights, rtol=1e-6, atol=0)


def test_integers_have_the_bits_asked_for_and_zeros_stay():
    weights = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    for bits in range(2, 9):
        result = quantise(weights, bits)
        assert result.integers.dtype == torch.int8
        assert int(result.integers.abs().max()) == 2 ** (bits - 1) - 1
        error = (result.values() - weights).abs() / (result.rows * result.columns)
        assert float(error.max()) <= 0.5 + 1e-5
    weights = torch.tensor([[0.0, 0.0], [0.0, 0.7], [0.0, 0.0]])
    assert torch.equal(quantise(weights, 8).values(), weights)


@pytest.mark.parametrize("name", ["crdr", "hific", "ivr", "pqmim"])
def test_parts_of_few_bits_are_parts_of_the_network_and_its_transforms_resample_in_floats(name):
    architecture = load_architecture(name)
    network = architecture.build(architecture.sizes["tiny"])
    for prefix in network.quantised_bits:
        assert any(name.startswith(prefix) for name, _ in network.named_parameters()), prefix
    short = checkpoint.quantise_parameters(network)
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.stride != (1, 1):
            assert f"{path}.weight" not in short or path.startswith("hyper_"), path


@pytest.fixture
def quantised(tmp_path):
    """A tiny checkpoint whose context has weights of four bits, and the unquantised network."""
    network = CRDRNetwork(TINY)
    network.quantised_bits = {"context.": 4}
    path = tmp_path / "short.safetensors"
    make_checkpoint(path, network, CARD, [noise(128, 128)] * 2, quantised=True)
    return path, network


def test_quantised_weights_are_near_and_the_others_stay(quantised):
    path, network = quantised
    result, stored = load_checkpoint(path).network.state_dict(), load_file(path)
    for name, value in network.named_parameters():
        exact, approximate = value.detach(), result[name]
        if not (name.startswith("context.") and exact.ndim > 1):
            assert stored[name].dtype == torch.float32
            assert torch.equal(approximate, exact)
            continue
        assert stored[name].dtype == torch.int8
        assert int(stored[name].abs().max()) == 7  # the maximum integer of four bits
        rows, columns = (stored[f"scales.{axis}.{name}"] for axis in ("rows", "columns"))
        assert bool(((approximate - exact).abs() <= 0.501 * rows * columns).all())


@pytest.mark.parametrize(("change", "reason"), [
    (lambda tensors, rows, _: tensors.pop(rows), r"scales\.rows\.context\."),
    (lambda tensors, *_: tensors.update({"scales.rows.bias": torch.ones(2)}), r"rows\.bias"),
    (lambda tensors, *names: tensors.update({n: tensors[n] + 1e30 for n in names}), "finite"),
    (lambda tensors, rows, _: tensors.update({rows: tensors[rows].double()}), "torch.float64"),
])  # fmt: skip
def test_scales_that_are_not_the_networks_are_refused(quantised, change, reason):
    tensors = load_file(path := quantised[0])
    name = next(name for name, value in tensors.items() if value.dtype == torch.int8)
    change(tensors, f"scales.rows.{name}", f"scales.columns.{name}")
    save_file(tensors, path)
    bless(path)
    with pytest.raises(Unavailable, match=reason):
        load_checkpoint(path)
