"""`bench encode`, `decode`, `checkpoint import` and the contender, with a tiny network."""

import math
from itertools import product
from shutil import copyfile

import numpy as np
import pytest
from PIL import Image

from baselines.crdr import CRDR
from baselines.neural.card import card_path, load_card
from baselines.neural.network_codec import BUNDLED
from benchmark.codec import Setting
from benchmark.errors import BadOption, Unavailable, UsageError
from support.bench.command import output_of
from support.networks.tiny_checkpoint import noise
from support.networks.tiny_streams import encode, unpack


def test_the_commands_code_a_file_and_decode_it(checkpoint, codec, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(checkpoint.parent))
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    pixels, ramp = noise(100, 150), np.tile(np.linspace(0, 255, 150).astype(np.uint8), (100, 1))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    Image.fromarray(ramp).save(tmp_path / "map.png")
    stream, out = tmp_path / "out.crdr", tmp_path / "out.png"
    spec, point = "ours:beta=3.84", ("--point", "q=2.5")
    message = output_of("encode", tmp_path / "in.png", stream, "--codec", spec, *point)
    assert f"{stream.stat().st_size} bytes" in message
    assert stream.read_bytes() == encode(codec, pixels, 2.5, 3.84)
    checked = tmp_path / "checked.crdr"
    checked_spec = f"{spec}:check_latents=1"
    output_of("encode", tmp_path / "in.png", checked, "--codec", checked_spec, *point)
    assert checked.read_bytes() == codec.add_checksum(stream.read_bytes())
    output_of("decode", stream, out)
    assert np.array_equal(np.asarray(Image.open(out)), codec.decode(stream.read_bytes()))
    output_of("decode", stream, out, "--beta", 0)
    beta_zero = codec.decode(stream.read_bytes(), lambda controls: controls._replace(beta=0))
    assert np.array_equal(np.asarray(Image.open(out)), beta_zero)
    maps = ("--q-map", tmp_path / "map.png", "--beta-map", tmp_path / "map.png")
    spec_text = f"ours:beta=0:checkpoint={checkpoint}"
    output_of("encode", tmp_path / "in.png", stream, *maps, "--codec", spec_text)
    assert unpack(stream.read_bytes()).controls.q.tolist() == [[3, 10, 14]] * 2


def test_a_stream_is_decoded_by_the_bundled_network_that_it_names(tmp_path, checkpoint):
    pixels = noise(64, 64)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    stream, out = tmp_path / "out.crdr", tmp_path / "out.png"
    for codec in (CRDR(beta=3.84), CRDR(beta=3.84, size="micro")):
        stream.write_bytes(codec.encode(pixels, Setting("q", 1)))
        output_of("decode", stream, out)
        assert np.array_equal(np.asarray(Image.open(out)), codec.decode(stream.read_bytes()))
    remedy = r"--codec .*:checkpoint=ours-micro.safetensors"
    for spec in f"ours:beta=0:checkpoint={checkpoint}", "ours:beta=0":
        with pytest.raises(UsageError, match=remedy):
            output_of("decode", stream, out, "--codec", spec)


def test_each_size_has_a_file_and_excludes_a_checkpoint(monkeypatch, checkpoint, tmp_path):
    with pytest.raises(BadOption, match="exclude each other"):
        CRDR(beta=0, size="micro", checkpoint=str(checkpoint))
    bundled = load_card(BUNDLED / "ours-micro.safetensors.xz")
    assert CRDR(beta=0, size="micro").describe().fingerprint == bundled.sha256
    monkeypatch.setattr("baselines.neural.network_codec.BUNDLED", tmp_path)
    for size, name in (("", "ours"), ("micro", "ours-micro")):
        with pytest.raises(Unavailable, match=rf"{name}\.safetensors"):
            CRDR(beta=0, size=size)
    with pytest.raises(Unavailable, match="no checkpoint nowhere"):
        CRDR(beta=0, checkpoint="nowhere")
    for path, name in product(
        (checkpoint, card_path(checkpoint)), ("ours", "ours-tiny", "ours-micro", "hyperprior-1")
    ):
        copyfile(path, tmp_path / f"{name}{path.suffix}")
    for size in ("", "tiny"):
        assert CRDR(beta=0, size=size).describe().fingerprint == load_card(checkpoint).sha256
    with pytest.raises(Unavailable, match="size=micro"):
        CRDR(beta=0, size="micro")
    codec = CRDR(beta=0)
    for setting in (Setting("quality", 2), Setting("q", 4.1), Setting("q", math.nan)):
        with pytest.raises(BadOption, match=setting.name):
            codec.encode(noise(8, 8), setting)
    with pytest.raises(BadOption, match=r"beta must be from 0 to 5\.12, not -1"):
        codec.decode(b"", beta=-1)
