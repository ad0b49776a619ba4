"""The encoder's search, with the bundled network: less rate and distortion for the same decoder."""

from dataclasses import replace

import numpy as np
import pytest

from baselines.crdr import CRDR
from baselines.neural.bitstream.container import CHECKPOINT_BYTES, unpack
from baselines.neural.card import load_card
from baselines.neural.crdr import encode
from baselines.neural.crdr.model import CRDRControlBlock
from baselines.neural.network_codec import BUNDLED
from benchmark.codec import Pixels, Setting
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from support.networks.tiny_checkpoint import TINY, write_checkpoint

LAMBDAS = (3.4, 1.2, 0.4, 0.13, 0.05)  # of the recipe that trained it


def ours(**options: object) -> CRDR:
    return CRDR(**{"beta": 0, "checkpoint": str(BUNDLED / "ours.safetensors.xz"), **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photograph():
    return read_image(open_sample().images[0].path).pixels[64:128, 128:192]


def cost(pixels: Pixels, data: bytes, weight: float = 1, worth: object = 1) -> float:
    """Return 150 MSE of [0, 1], times the worth of each column, + lambda bpp, of real bytes."""
    errors = np.square(np.subtract(pixels, ours().decode(data), dtype=float) / 255).mean((0, 2))
    return 150 * float((worth * errors).mean()) + weight * 24 * len(data) / pixels.size


@pytest.mark.parametrize(
    ("q", "with_bfloat16", "part", "tiled"),
    [
        (4, False, np.s_[64:128, 128:192], False),
        (2, True, np.s_[64:114, 128:183], False),  # padding has no part in it
        pytest.param(3, True, np.s_[:64, :300], True, marks=pytest.mark.slow),
    ],
)
def test_a_search_lowers_the_loss(q, with_bfloat16, part, tiled, monkeypatch):
    monkeypatch.setattr(encode, "has_bfloat16", lambda _device: with_bfloat16)
    pixels, losses = read_image(open_sample().images[int(tiled)].path).pixels[part], []
    for effort in (0, 1):
        codec = ours(effort=effort).make_tiled() if tiled else ours(effort=effort)
        losses.append(cost(pixels, codec.encode(pixels, Setting("q", q)), LAMBDAS[q]))
    assert losses[1] < 0.99 * losses[0]


def test_a_search_repeats_and_beta_changes_no_bit_of_it(photograph):
    identity = load_card(BUNDLED / "ours.safetensors.xz").identity[:CHECKPOINT_BYTES]
    payloads = []
    for beta in (0, 3.84):
        data = ours(effort=1, beta=beta).encode(photograph, Setting("q", 1))
        payloads.append(unpack(data, CRDRControlBlock(), identity).payloads)
    assert payloads[0] == payloads[1]


def test_a_map_of_rates_gives_each_region_its_own_worth_of_a_bit(photograph):
    pixels = np.concatenate([photograph] * 2, axis=1)
    q_map = np.zeros((64, 128, 3), np.uint8)
    q_map[:, 64:] = 255
    worth, costs = np.repeat([1 / LAMBDAS[0], 1 / LAMBDAS[-1]], 64), []
    for effort in (0, 1):
        data = ours(effort=effort).encode(pixels, Setting("q", 0), q_map=q_map)
        costs.append(cost(pixels, data, worth=worth))
    assert costs[1] < 0.99 * costs[0]


def test_a_flat_image_and_a_network_of_two_rates_are_coded(photograph, tmp_path):
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert ours(effort=1).encode(flat, Setting("q", 4))[:2] == b"C\xd2", "coded in one pass"
    path = tmp_path / "ours.safetensors"
    write_checkpoint(path, replace(TINY, rate_levels=2))
    codec = ours(checkpoint=str(path), effort=1)
    assert codec.decode(codec.encode(photograph, Setting("q", 1))).shape == photograph.shape
