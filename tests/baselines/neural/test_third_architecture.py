"""An architecture added through the public boundary alone, from initial values to decoded bytes.

It is a factorised-prior autoencoder (Ballé, Laparra, Simoncelli, ICLR 2017) without normalisation;
`tests/commands/test_contributing.py` trains it.
"""

import json

import numpy as np
import pytest

from baselines.neural.architecture import ARCHITECTURES, Architecture
from baselines.neural.card import card_path, load_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network_codec import NetworkCodec
from baselines.neural.picture_codec import PictureCodec
from benchmark import registry
from benchmark.codec import Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.spec import load_codec, parse_codec
from support.added.factorised import Widths
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise


class FactorisedCodec(NetworkCodec):
    name = "factorised"


MODULE = "support.added.factorised"
ROW = Architecture(f"{MODULE}:Widths", f"{MODULE}:Autoencoder", {"tiny": Widths(8, 6)})


def load(spec):
    return load_codec(parse_codec(spec))


def test_its_codec_is_a_class_with_a_name(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "factorised", ROW)
    monkeypatch.setitem(registry.CODECS, "factorised", f"{__name__}:FactorisedCodec")
    path = tmp_path / "factorised.safetensors"
    write_tiny(path, "factorised")
    record = json.loads(card_path(path).read_text())
    assert (record["architecture"], record["config"]) == ("factorised", {"hidden": 8, "latent": 6})
    with pytest.raises(Unavailable, match=r"factorised\.safetensors"):
        load("factorised")
    with pytest.raises(Unavailable, match="elsewhere"):
        load("factorised:checkpoint=elsewhere")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    codec, pixels = PictureCodec(load_checkpoint(path)), noise(61, 70)
    for result in (load("factorised"), load(f"factorised:checkpoint={path}")):
        data, info = result.encode(pixels, *result.sweep), result.describe()
        assert data == codec.encode(pixels)
        assert np.array_equal(result.decode(data), codec.decode(data))
        assert (info.caveat, info.fingerprint) == ("untrained", load_card(path).sha256)
    with pytest.raises(BadOption, match=r"level=0.* level=1"):
        result.encode(pixels, Setting("level", 1))
