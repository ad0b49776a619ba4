"""An architecture added through the public boundary alone, from initial values to decoded bytes.

It is a factorised-prior autoencoder (Ballé, Laparra, Simoncelli, ICLR 2017) without normalisation;
`tests/commands/test_contributing.py` trains it.
"""

import json

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, Architecture, load_architecture
from baselines.neural.card import Card, card_path, load_card
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.network import make_images
from baselines.neural.network_codec import NetworkCodec
from baselines.neural.picture_codec import PictureCodec
from benchmark import registry
from benchmark.codec import Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.spec import load_codec, parse_codec
from support.added.factorised import Widths
from support.networks.tiny_checkpoint import noise


class FactorisedCodec(NetworkCodec):
    name = "factorised"


MODULE = "support.added.factorised"
ROW = Architecture(f"{MODULE}:Widths", f"{MODULE}:Autoencoder", {"tiny": Widths(16, 12)})


@pytest.fixture
def codec(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "factorised", ROW)
    monkeypatch.setitem(registry.CODECS, "factorised", f"{__name__}:FactorisedCodec")
    network = load_architecture("factorised").build(Widths(8, 6))
    photographs = [noise(64, 64, seed) for seed in (1, 2)]
    crops = torch.cat([make_images(photograph, torch.device("cpu")) for photograph in photographs])
    network.initialise(crops, [0.05])
    card = Card("factorised", network.sizes, "noise", 0, "none", "0")
    path = tmp_path / "factorised.safetensors"
    make_checkpoint(path, network, card, photographs)
    record = json.loads(card_path(path).read_text())
    assert (record["architecture"], record["config"]) == ("factorised", {"hidden": 8, "latent": 6})
    return PictureCodec(load_checkpoint(path))


def load(spec):
    return load_codec(parse_codec(spec))


def test_its_codec_is_a_class_with_a_name(codec, tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match=r"factorised\.safetensors"):
        load("factorised")
    with pytest.raises(Unavailable, match="no checkpoint elsewhere"):
        load("factorised:checkpoint=elsewhere")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    path = tmp_path / "factorised.safetensors"
    for result in (load("factorised"), load(f"factorised:checkpoint={path}")):
        pixels, (setting,) = noise(61, 70), result.sweep
        data = result.encode(pixels, setting)
        assert data == codec.encode(pixels)
        assert np.array_equal(result.decode(data), codec.decode(data))
        info = result.describe()
        assert info.caveat == "untrained"
        assert info.fingerprint == load_card(path).sha256
    with pytest.raises(BadOption, match="level=0, not level=1"):
        result.encode(pixels, Setting("level", 1))
