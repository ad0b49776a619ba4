"""An architecture added through the public boundary alone, from start values to decoded bytes.

It is a factorised-prior autoencoder (Ballé, Laparra, Simoncelli, ICLR 2017) without normalisation.
"""

import json

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.checkpoint.card import Card, card_path, load_card
from baselines.neural.checkpoint.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.checkpoint_codec import CheckpointCodec
from baselines.neural.inference import padded, to_images
from baselines.neural.picture_codec import PictureCodec
from benchmark import registry
from benchmark.errors import Unavailable, UnknownName
from support.added.factorised import Widths
from support.networks.tiny_checkpoint import noise


class FactorisedCodec(CheckpointCodec):
    """The codec."""

    name = "factorised"


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "factorised", "support.added.factorised:Factorised")
    monkeypatch.setitem(registry.CODECS, "factorised", f"{__name__}:FactorisedCodec")


@pytest.fixture
def codec(tmp_path):
    """The codec of an untrained network that was shipped through a file and its card."""
    torch.manual_seed(0)
    architecture = load_architecture("factorised")
    network = architecture.build(Widths(8, 6))
    photographs = [noise(64, 64, seed) for seed in (1, 2)]
    crops = torch.cat([to_images(one, torch.device("cpu")) for one in photographs])
    architecture.initialise(network, crops, [0.05])
    card = Card("factorised", network.config, "noise", 0, "none", "0")
    path = tmp_path / "factorised.safetensors"
    make_checkpoint(path, network, card, photographs, half=True)
    record = json.loads(card_path(path).read_text())
    assert (record["architecture"], record["config"]) == ("factorised", {"hidden": 8, "latent": 6})
    return PictureCodec(load_checkpoint(path))


@pytest.mark.parametrize("size", [(1, 1), (61, 70), (128, 64)], ids=str)
def test_a_stream_decodes_to_the_picture_of_the_latents_that_were_coded(codec, size):
    pixels = noise(*size)
    data = codec.encode(pixels)
    decoded, latents = codec.decode(data), codec.latents(data)
    assert decoded.shape == pixels.shape
    with torch.no_grad():
        network, whole = codec.coder.network, padded(pixels, 4)
        expected = network.prior.rounded(network.analysis(to_images(whole, torch.device("cpu"))))
        images = network.synthesis(latents)[0, :, : size[0], : size[1]]
    assert torch.allclose(latents, expected, atol=1e-6)
    assert len(latents.round().unique()) > 2
    levels = ((images + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.array_equal(decoded, levels)


def test_without_its_line_in_the_table_its_card_is_refused_by_name(codec, tmp_path, monkeypatch):
    monkeypatch.delitem(ARCHITECTURES, "factorised")
    with pytest.raises(UnknownName, match="factorised"):
        load_architecture("factorised")
    with pytest.raises(Unavailable, match=r"is no card of a checkpoint: No architecture"):
        load_card(tmp_path / "factorised.safetensors")
