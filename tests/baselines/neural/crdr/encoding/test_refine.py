"""The encoder's search, with the bundled network: less rate and distortion for the same decoder."""

import math
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
from benchmark.errors import BadOption, ImageRefused, Unavailable
from benchmark.metrics.deep_features import LPIPSAlex
from conftest import SHARED
from support.networks.tiny_checkpoint import TINY, write_checkpoint
from support.quick import quick

ALEXNET = SHARED / "data" / "weights"
LAMBDAS = (3.4, 1.2, 0.4, 0.13, 0.05)  # of the recipe that trained it


def ours(**options: object) -> CRDR:
    return CRDR(**{"beta": 0, "checkpoint": str(BUNDLED / "ours.safetensors.xz"), **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photograph():
    return read_image(open_sample().images[0].path).pixels[64:128, 128:192]


def cost(pixels: Pixels, data: bytes, weight: float) -> float:
    """Return 150 MSE of values in [0, 1] + lambda bpp, of real bytes and pixels."""
    error = np.square(np.subtract(pixels, ours().decode(data), dtype=float) / 255).mean()
    return 150 * float(error) + weight * 24 * len(data) / pixels.size


@pytest.mark.parametrize(
    ("q", "with_bfloat16", "picture", "tiled"),
    [
        (4, False, (0, np.s_[64:128, 128:192]), False),
        (2, True, (0, np.s_[64:114, 128:183]), False),  # padding has no part in it
        pytest.param(3, True, (1, np.s_[:64, :300]), True, marks=pytest.mark.slow),
    ],
)
def test_a_search_lowers_what_the_network_was_trained_for(
    q, with_bfloat16, picture, tiled, monkeypatch
):
    monkeypatch.setattr(encode, "has_bfloat16", lambda _device: with_bfloat16)
    image, part = picture
    pixels = read_image(open_sample().images[image].path).pixels[part]
    codecs = [ours(effort=effort) for effort in (0, 1)]
    codecs = [codec.in_tiles() if tiled else codec for codec in codecs]
    streams = [codec.encode(pixels, Setting("q", q)) for codec in codecs]
    one_pass, searched = (cost(pixels, stream, LAMBDAS[q]) for stream in streams)
    assert searched < 0.99 * one_pass


def test_it_repeats_and_beta_changes_no_bit(photograph):
    streams = [
        ours(effort=1, **options).encode(photograph, Setting("q", 1))
        for options in ({}, {}, {"beta": 3.84})
    ]
    first, again, realistic = streams
    assert first == again
    identity = load_card(BUNDLED / "ours.safetensors.xz").identity[:CHECKPOINT_BYTES]
    plain, real = (unpack(one, CRDRControlBlock(), identity).payloads for one in (first, realistic))
    assert plain == real


def test_a_map_of_rates_gives_each_region_its_own_worth_of_a_bit(photograph):
    pixels = np.concatenate([photograph] * 2, axis=1)
    q_map = np.zeros((64, 128, 3), np.uint8)
    q_map[:, 64:] = 255
    streams = [
        ours(effort=effort).encode(pixels, Setting("q", 0), q_map=q_map) for effort in (0, 1)
    ]
    errors = [
        np.square(np.subtract(pixels, ours().decode(data), dtype=float)).mean((0, 2))
        for data in streams
    ]
    weights = np.repeat([1 / LAMBDAS[0], 1 / LAMBDAS[-1]], 64)
    costs = [
        150 * float((weights * one).mean()) / 255**2 + 24 * len(data) / pixels.size
        for one, data in zip(errors, streams, strict=True)
    ]
    assert costs[1] < 0.99 * costs[0]


@pytest.fixture
def _alexnet(monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(ALEXNET))


@pytest.mark.usefixtures("_alexnet")
@pytest.mark.skipif(not ALEXNET.exists(), reason="needs ../shared/data/weights")
def test_a_search_for_realism_lowers_lpips_at_the_beta_of_the_stream():
    """By the metric's own LPIPS, and with what it costs in bits and squared error counted."""
    pixels = read_image(open_sample().images[0].path).pixels[64:164, 128:248]
    metric = LPIPSAlex()
    distances, costs = [], []
    for purpose in ("psnr", "realism"):
        codec = ours(beta=3.84, effort=1, search_for=purpose)
        data = codec.encode(pixels, Setting("q", 2))
        decoded = codec.decode(data)
        distances.append(metric.compare(metric.prepare(pixels), decoded))
        error = np.square(np.subtract(pixels, decoded, dtype=float) / 255).mean()
        bpp = 24 * len(data) / pixels.size
        costs.append(150 * error + 0.390625 * 3.84 * distances[-1] + LAMBDAS[2] * bpp)
    assert distances[1] < 0.9 * distances[0]
    assert costs[1] < 0.99 * costs[0]


def test_a_search_for_realism_without_the_weights_of_lpips_says_how_to_get_them(photograph):
    codec = ours(beta=3.84, effort=1, search_for="realism")
    with pytest.raises(Unavailable, match="bench fetch alexnet"):
        codec.describe()


def test_an_image_whose_quality_does_not_follow_its_rate_is_coded_in_one_pass():
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert ours(effort=1).encode(flat, Setting("q", 4))[:2] == b"C\xd2"


@pytest.mark.parametrize(("bpp", "effort"), quick([(0.2, 0), (0.4, 1)], (0.2, 0)))
def test_a_wanted_rate_is_hit_within_a_percent(photograph, bpp, effort):
    codec = ours(bpp=bpp, effort=effort)
    data = codec.encode(photograph, *codec.sweep)
    assert 24 * len(data) / photograph.size == pytest.approx(bpp, rel=0.01)


@pytest.mark.parametrize(("decibels", "effort"), quick([(31.0, 0), (29.0, 1)], (31.0, 0)))
def test_a_wanted_psnr_is_reached_with_little_to_spare(photograph, decibels, effort):
    codec = ours(psnr=decibels, effort=effort)
    decoded = codec.decode(codec.encode(photograph, *codec.sweep))
    error = np.square(np.subtract(photograph, decoded, dtype=float)).mean()
    assert decibels <= 10 * math.log10(255**2 / error) < decibels + 0.03  # a step of q is some .18


@pytest.mark.parametrize(
    ("target", "says"),
    [({"bpp": 9}, r"^9 bpp cannot be reached: this image has [\d.]+ bpp at most$"),
     ({"bpp": 0.001}, r"^0.001 bpp cannot be reached: this image has [\d.]+ bpp at least$"),
     ({"psnr": 60}, r"^60 dB cannot be reached: this image has [\d.]+ dB at most$")],
)  # fmt: skip
def test_what_no_q_gives_is_refused_with_the_nearest_that_is_there(photograph, target, says):
    codec = ours(**target)
    with pytest.raises(ImageRefused, match=says):
        codec.encode(photograph, *codec.sweep)


def test_a_target_takes_no_other_setting_and_no_map(photograph):
    codec = ours(bpp=0.3)
    with pytest.raises(BadOption, match="q=2"):
        codec.encode(photograph, Setting("q", 2))
    with pytest.raises(BadOption, match="no place for a map of q"):
        codec.encode(photograph, *codec.sweep, q_map=photograph)


def test_two_rates_are_enough_to_compare(photograph, tmp_path):
    path = tmp_path / "ours.safetensors"
    write_checkpoint(path, replace(TINY, rate_levels=2))
    codec = ours(checkpoint=str(path), effort=1)
    assert codec.decode(codec.encode(photograph, Setting("q", 1))).shape == photograph.shape
