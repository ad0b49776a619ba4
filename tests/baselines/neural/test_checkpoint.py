"""Checkpoints on disk: what is saved comes back; anything else ends in one error."""

import json
import lzma
import os
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from baselines.neural.card import Card, load_card, save_card
from baselines.neural.checkpoint import (
    load_checkpoint,
    make_checkpoint,
    save_checkpoint,
)
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.network_codec import BUNDLED
from benchmark.errors import Unavailable
from benchmark.spec import load_codec, parse_codec
from benchmark.system.digest import file_sha256
from support.bench.command import bench
from support.networks.card_edits import bless, edited, resized
from support.networks.tiny_checkpoint import TINY, noise, write_checkpoint

CARD = Card(
    architecture="crdr",
    config=TINY,
    training_data="1,138 photographs",
    steps=1200,
    command="bench train --size tiny",
    commit="0123abc",
    measured={"sample_q2_bpp": 0.36, "sample_q2_psnr_db": 30.95},
    crops=9600,
)
to_json = asdict
TABLES = {"z": torch.tensor([[0, 7, 65536]], dtype=torch.int32)}


@pytest.fixture
def path(tmp_path):
    """A checkpoint as written."""
    path = tmp_path / "deep" / "tiny.safetensors"
    save_checkpoint(path, CRDRNetwork(TINY), CARD, TABLES)
    return path


def test_what_is_saved_comes_back(tmp_path):
    path, model = tmp_path / "tiny.safetensors", CRDRNetwork(TINY)
    written = save_checkpoint(path, model, CARD, TABLES)
    assert written == replace(CARD, sha256=file_sha256(path))
    assert written.identity == bytes.fromhex(file_sha256(path))
    result = load_checkpoint(path)
    assert result.card == load_card(path) == written
    assert not result.network.training
    assert torch.equal(result.tables["z"], TABLES["z"])
    assert result.tables["z"].dtype == torch.int32
    ours, theirs = model.state_dict(), result.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(parameter.requires_grad for parameter in result.network.parameters())
    assert {entry.name for entry in tmp_path.iterdir()} == {"tiny.safetensors", "tiny.json"}


def test_parameters_in_half_precision_come_back_as_float32(tmp_path):
    model, half = CRDRNetwork(TINY), tmp_path / "half.safetensors"
    save_checkpoint(half, model, replace(CARD, config=model.sizes))
    save_file({name: value.half() for name, value in load_file(half).items()}, half)
    bless(half)
    result = load_checkpoint(half).network.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(result[name], value.half().float())
        assert result[name].dtype == torch.float32


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    model = CRDRNetwork(TINY)
    with torch.no_grad():
        model.analysis.layers[0].bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"analysis\.layers\.0\.bias"):
        make_checkpoint(tmp_path / "tiny.safetensors", model, CARD, [])
    assert not list(tmp_path.iterdir())


def test_an_interrupted_save_leaves_the_checkpoint_before_it(path, monkeypatch):
    """Or none, if the new tensors were written and the new card was not."""
    card_before = load_checkpoint(path).card
    replace_file, calls = os.replace, []

    def replace_until_interrupted(source, target):
        calls.append(target)
        if len(calls) == interrupted_at:
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", replace_until_interrupted)
    interrupted_at = 1
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CRDRNetwork(TINY), CARD)
    assert load_checkpoint(path).card == card_before
    calls.clear()
    interrupted_at = 2
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, CRDRNetwork(TINY), CARD)
    with pytest.raises(Unavailable, match=r"tiny\.safetensors is damaged"):
        load_checkpoint(path)


def test_a_card_that_lacks_a_fact_or_is_missing_is_named(path):
    card = path.with_suffix(".json")
    record = json.loads(card.read_text())
    del record["steps"]
    card.write_text(json.dumps(record))
    with pytest.raises(Unavailable, match="it lacks steps"):
        load_checkpoint(path)
    card.unlink()
    with pytest.raises(Unavailable, match=r"no card tiny\.json"):
        load_checkpoint(path)


def test_a_missing_file_says_which(path):
    with pytest.raises(Unavailable, match=r"other\.safetensors$"):
        load_checkpoint(path.with_name("other.safetensors"))
    path.unlink()
    with pytest.raises(Unavailable, match=r"tiny\.safetensors: No such file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 3},
        {"format": 1},
        {"architecture": "unknown"},
        {"architecture": None},
        {"config": {}},
        {"config": to_json(TINY) | {"latent": 10**9}},
        {"architecture": "compressai"},
        {"crops": -1},
        {"steps": "1"},
        {"sha256": "ab"},
        {"measured": {"x": float("nan")}},
        {"measured": {"x": 10**400}},
    ],
    ids=str,
)
def test_a_card_that_makes_no_sense_is_one_error(path, changes):
    edited(**changes)(path)
    with pytest.raises(Unavailable, match=r"tiny\.json is not .*: \w"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 200_000, "\udcff", " " * (1 << 20)], ids=range(5))
def test_an_invalid_card_is_one_error(path, text):
    card = path.with_suffix(".json")
    card.write_text(text + card.read_text() * (len(text) == 1 << 20), errors="surrogateescape")
    with pytest.raises(Unavailable, match=r"tiny\.json .*(card|1048576)"):
        load_checkpoint(path)


@pytest.mark.parametrize("kept_bytes", [0, 9, -1], ids=str)
def test_an_invalid_safetensors_file_is_one_error(path, kept_bytes):
    path.write_bytes(path.read_bytes()[:kept_bytes])
    bless(path)
    with pytest.raises(Unavailable, match=r"tiny\.safetensors .*read"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("analysis.layers.0.bias", torch.full((8,), torch.nan)),
        ("analysis.layers.0.bias", torch.zeros(8, dtype=torch.float64)),
        ("analysis.layers.0.bias", torch.zeros(8, dtype=torch.int32)),
        ("tables.z", torch.zeros(3)),
        ("tables.z", torch.zeros(3, dtype=torch.bool)),
    ],
    ids=str,
)
def test_values_of_the_wrong_kind_are_one_error(path, name, value):
    save_file(load_file(path) | {name: value}, path)
    bless(path)
    with pytest.raises(Unavailable, match=f"{name} has"):
        load_checkpoint(path)


def drop_tables(copied):
    tensors = load_file(copied)
    save_file({k: v for k, v in tensors.items() if not k.startswith("tables.")}, copied)
    bless(copied)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A folder of weights with a checkpoint of the smallest network."""
    folder = tmp_path_factory.mktemp("whole")
    write_checkpoint(folder / "ours.safetensors", steps=3)
    return folder


@pytest.fixture
def copied(complete, tmp_path):
    """A copy of the checkpoint."""
    return shutil.copytree(complete, tmp_path / "weights") / "ours.safetensors"


def test_no_cell_or_image_is_tried_and_nothing_is_stored(copied, tmp_path):
    edited(sha256="0" * 64)(copied)
    image, stream, results = tmp_path / "in.png", tmp_path / "out.crdr", tmp_path / "results"
    Image.fromarray(noise(8, 8)).save(image)
    words = ("--codecs", "ours", "--weights-dir", copied.parent, "--results", results)
    for call in (
        *(("run", *words, "--dataset", "sample"), ("plan", *words, "--dataset", "sample")),
        ("encode", image, stream, "--codec", f"ours:beta=0:checkpoint={copied}"),
    ):
        process = bench(*call)
        assert (process.returncode, process.stdout) == (2, "")
        assert f"{copied} is damaged" in process.stderr
        assert process.stderr.count("\n") == 1
    assert not results.exists()
    assert not stream.exists()


def test_a_card_of_another_architecture_is_refused_at_once(copied):
    assert load_codec(parse_codec(f"ours:beta=0:checkpoint={copied}")).describe().caveat == ""
    with pytest.raises(Unavailable, match=r"hyperprior-1\..* compressai"):
        load_codec(parse_codec(f"ours:beta=0:checkpoint={BUNDLED / 'hyperprior-1.safetensors.xz'}"))


@pytest.mark.parametrize(
    ("changes", "caveat"),
    [
        ({"steps": None, "training_data": "unknown"}, "training unknown"),
        ({"steps": None, "caveat": "of one night"}, "training unknown, of one night"),
        ({"steps": 0, "caveat": "of one night"}, "untrained"),
    ],
)
def test_rows_say_that_training_is_unknown_or_none(copied, changes, caveat):
    card = replace(load_card(copied), **changes)
    save_card(copied, card)
    assert load_card(copied) == card
    assert load_codec(parse_codec(f"ours:beta=0:checkpoint={copied}")).describe().caveat == caveat


def prefixed(tensors):
    return {f"module.{name}": value for name, value in tensors.items()}


def test_tensors_of_a_wrapped_network_are_refused_with_what_to_save(path):
    save_file(prefixed(load_file(path)), path)
    bless(path)
    with pytest.raises(Unavailable, match=r"NETWORK\.module\.state_dict"):
        load_checkpoint(path)


def other_sizes(copied):
    resized(hyper_latent=8)(copied)


@pytest.mark.parametrize(
    ("spoil", "message"), [(other_sizes, "hyper_analysis"), (drop_tables, "tables")]
)
def test_tensors_of_another_network_are_refused_with_the_first_image(copied, spoil, message):
    spoil(copied)
    codec = load_codec(parse_codec(f"ours:beta=0:checkpoint={copied}"))
    with pytest.raises(Unavailable, match=message):
        codec.encode(noise(8, 8), codec.sweep[0])


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"no xz" + data])
def test_a_packed_checkpoint_is_the_one_that_was_packed_and_refused_if_damaged(tmp_path, damage):
    plain, packed = tmp_path / "tiny.safetensors", tmp_path / "tiny.safetensors.xz"
    write_checkpoint(plain)
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    ours, theirs = load_checkpoint(plain), load_checkpoint(packed)
    state = theirs.network.stored_state()
    assert all(
        torch.equal(state[name], value) for name, value in ours.network.stored_state().items()
    )
    assert theirs.card == ours.card
    packed.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(Unavailable, match="cannot be unpacked"):
        load_checkpoint(packed)
