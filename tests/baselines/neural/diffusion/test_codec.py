"""`dirac` and `hfd` as codecs: the base's bits, samples that repeat, bases that do not fit."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.diffusion.base_codec import BaseCodec, interpolate_position
from baselines.neural.diffusion.model import OVERHEAD, RATE
from baselines.neural.network import make_images
from benchmark.codec import Setting
from benchmark.errors import Unavailable
from benchmark.spec import load_codec, parse_codec
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise
from support.networks.tiny_diffusion import write_drawing

SPECS = ["dirac:steps=1", "hfd:steps=3", "dirac:steps=2:base=jpeg", "hfd:steps=2:base=jpeg"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for seed, level in enumerate((1, 2)):
        write_tiny(folder / f"elic-{level}.safetensors", "elic", seed=seed)
    for method in ("dirac", "hfd"):
        for base in ("elic", "jpeg"):
            write_drawing(folder / f"{method}-{base}.safetensors", method, base, weights=folder)
    write_drawing(folder / "dirac-webp.safetensors", "dirac", "webp")
    return folder


@pytest.fixture(autouse=True)
def _found(weights, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(weights))


def load(spec):
    return load_codec(parse_codec(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_the_bits_are_the_bases_and_a_drawing_repeats_unless_its_seed_is_another(spec):
    codec, second_codec, other_seed = load(spec), load(spec), load(f"{spec}:seed=1")
    base = load(dict(parse_codec(spec).options).get("base", "elic"))
    assert codec.sweep == base.sweep[: len(codec.sweep)]
    assert codec.accepts == base.accepts
    pixels = noise(61, 70)
    for setting in codec.sweep[:2]:
        data = codec.encode(pixels, setting)
        assert data == base.encode(pixels, setting)
    decoded = codec.decode(data)
    assert np.array_equal(decoded, second_codec.decode(data))
    assert other_seed.encode(pixels, setting) == data
    assert not np.array_equal(decoded, other_seed.decode(data))
    assert not np.array_equal(decoded, base.decode(data))


def test_more_steps_draw_more_than_one():
    single_step, many = load("dirac:steps=1"), load("dirac:steps=8")
    data = single_step.encode(noise(48, 48), single_step.sweep[0])
    assert not np.array_equal(single_step.decode(data), many.decode(data))
    assert single_step.describe().tuned_for == "PSNR"
    assert many.describe().tuned_for == "perceptual quality"


@pytest.mark.parametrize(("method", "late"), [("dirac", "0.5"), ("hfd", "0.3")])
def test_a_description_names_the_method_the_base_and_the_time_where_more_steps_begin(method, late):
    codec, base = load(f"{method}:steps=20:seed=4"), load("elic")
    info = codec.describe()
    assert info.caveat == "after the abstract; untrained"
    assert f"in 20 steps from time {late}, seed 4" in info.command
    assert info.command.startswith(base.describe().command)
    assert info.fingerprint != base.describe().fingerprint
    assert load(f"{method}:steps=1:base=jpeg").describe().chroma == "4:2:0"
    assert " from time " not in load(f"{method}:steps=1").describe().command, "pure noise"
    assert f" from time {late}," in load(f"{method}:steps=2").describe().command


def test_another_base_or_other_weights_of_it_are_refused(tmp_path, weights, monkeypatch):
    path = weights / "dirac-jpeg.safetensors"
    for spec, reason in (
        (f"dirac:steps=1:checkpoint={path}", "jpeg.* elic"),
        (r"dirac:steps=1:base=jpeg\:optimize=1", "jpeg.* jpeg:optimize=1"),
        (f"hfd:base=jpeg:checkpoint={path}", " dirac .* hfd"),
        ("dirac:steps=1:base=jpegxl", r"--members dirac-jpegxl"),
    ):
        with pytest.raises(Unavailable, match=reason):
            load(spec)
    for level in (1, 2):
        write_tiny(tmp_path / f"elic-{level}.safetensors", "elic", seed=7 + level)
    monkeypatch.setenv("BENCH_WEIGHTS", f"{tmp_path}:{weights}")
    with pytest.raises(Unavailable, match=r"dirac-elic.safetensors .* elic\b"):
        load("dirac:steps=1")


@pytest.mark.parametrize("spec", ["jpeg", "jpeg:optimize=1", "jpeg:subsampling=444", "elic"])
def test_a_stream_of_a_base_tells_its_setting(spec):
    codec = load(spec)
    qualities = [Setting("quality", value) for value in (1, 5, 30, 31, 74, 95, 100)]
    for setting in codec.sweep if spec == "elic" else qualities:
        assert codec.setting_of(codec.encode(noise(64, 64), setting)) == setting


def test_a_stream_is_placed_by_its_rate_where_it_tells_no_setting_and_levels_interpolated(weights):
    network = load_checkpoint(weights / "dirac-webp.safetensors").network
    base, pixels = BaseCodec("webp"), noise(256, 192, 3)
    rates = network.level_table[:, RATE].tolist()
    overhead = float(network.level_table[:, OVERHEAD].mean())
    streams = [base.codec.encode(pixels, setting) for setting in base.codec.sweep[:3]]
    places = [base.position(stream, pixels, (), rates, overhead) for stream in streams]
    assert rates == sorted(rates)
    assert places == sorted(places)
    assert np.abs(np.array(places) - [0, 1, 2]).max() < 1
    bits = 8 * (len(streams[1]) - overhead) / (256 * 192)
    assert places[1] == pytest.approx(interpolate_position(math.log2(bits), rates))
    network = load_checkpoint(weights / "dirac-jpeg.safetensors").network
    first, second, half = (network.facts(level) for level in (0, 1, 0.5))
    assert half.scale == pytest.approx(math.sqrt(first.scale * second.scale), rel=1e-6)
    assert half.threshold == pytest.approx(math.sqrt(first.threshold * second.threshold), rel=1e-6)
    assert network.facts(-1) == first
    assert network.facts(9) == network.facts(2)


def test_estimated_reconstructions_are_what_the_base_decodes():
    base = BaseCodec("elic")
    crops, setting = [noise(64, 64, seed) for seed in (4, 5)], base.codec.sweep[1]
    images = torch.cat([make_images(crop, torch.device("cpu")) for crop in crops])
    for crop, image, bits in zip(crops, *base.code_crops(images, setting), strict=True):
        data = base.codec.encode(crop, setting)
        levels = ((image + 1) * 127.5).round().permute(1, 2, 0).numpy()
        assert np.abs(levels - base.codec.decode(data)).mean() < 0.5
        assert 8 * len(data) == pytest.approx(float(bits), rel=0.05, abs=250)
