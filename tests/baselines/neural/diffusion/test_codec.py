"""`dirac` and `hfd` as codecs: the base's bits, samples that repeat, bases that do not fit."""

import math

import numpy as np
import pytest
import torch

from baselines.field import _load_diffusion
from baselines.neural.card import load_card
from baselines.neural.diffusion.base_codec import BaseCodec, interpolate_position
from baselines.neural.diffusion.model import OVERHEAD, RATE
from benchmark.codec import Setting
from benchmark.errors import Unavailable
from benchmark.spec import load_codec, parse_codec
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise
from support.networks.tiny_diffusion import write_drawing

SPECS = [
    "dirac:steps=1",
    "dirac:steps=3",
    "hfd:steps=3",
    "dirac:steps=2:base=jpeg",
    "hfd:steps=2:base=jpeg",
]


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
def test_the_bits_are_the_bases_in_every_image(spec):
    codec = load(spec)
    base = load(dict(parse_codec(spec).options).get("base", "elic"))
    assert codec.sweep == base.sweep[: len(codec.sweep)]
    assert codec.accepts == base.accepts
    for size in ((1, 1), (40, 33)):
        for setting in codec.sweep[:2]:
            assert codec.encode(noise(*size), setting) == base.encode(noise(*size), setting)


@pytest.mark.parametrize("spec", SPECS)
def test_a_drawing_repeats_and_another_seed_gives_another(spec):
    codec, second_codec, other_seed = load(spec), load(spec), load(f"{spec}:seed=1")
    pixels = noise(61, 70)
    data = codec.encode(pixels, codec.sweep[0])
    decoded = codec.decode(data)
    assert np.array_equal(decoded, second_codec.decode(data))
    assert other_seed.encode(pixels, codec.sweep[0]) == data
    assert not np.array_equal(decoded, other_seed.decode(data))
    assert not np.array_equal(decoded, codec._base.codec.decode(data))


def test_more_steps_draw_more_than_one():
    pixels = noise(48, 48)
    single_step, many = load("dirac:steps=1"), load("dirac:steps=8")
    data = single_step.encode(pixels, single_step.sweep[0])
    assert not np.array_equal(single_step.decode(data), many.decode(data))
    assert (single_step.describe().tuned_for, many.describe().tuned_for) == (
        "PSNR",
        "perceptual quality",
    )


def test_a_description_names_the_method_and_the_base():
    codec, base = load("dirac:steps=20:seed=4"), load("elic")
    info = codec.describe()
    assert info.caveat == "after the abstract; untrained"
    assert "in 20 steps from time 0.5, seed 4" in info.command
    assert info.command.startswith(base.describe().command)
    assert info.fingerprint != base.describe().fingerprint
    assert load("dirac:steps=1:base=jpeg").describe().chroma == "4:2:0"


@pytest.mark.parametrize(("method", "late"), [("dirac", "0.5"), ("hfd", "0.3")])
def test_one_step_begins_in_pure_noise_and_more_begin_late(method, late):
    commands = [load(f"{method}:steps={steps}").describe().command for steps in (1, 2)]
    starts = [command.partition(" from time ")[2].partition(",")[0] for command in commands]
    assert starts == ["", late]


def test_other_weights_of_the_base_are_refused(tmp_path, weights, monkeypatch):
    for level in (1, 2):
        write_tiny(tmp_path / f"elic-{level}.safetensors", "elic", seed=7 + level)
    monkeypatch.setenv("BENCH_WEIGHTS", f"{tmp_path}:{weights}")
    with pytest.raises(Unavailable, match=r"dirac-elic.safetensors .*elic \("):
        load("dirac:steps=1")


def test_another_base_is_refused(weights):
    path = weights / "dirac-jpeg.safetensors"
    with pytest.raises(Unavailable, match="base jpeg, not for elic"):
        load(f"dirac:steps=1:checkpoint={path}")
    with pytest.raises(Unavailable, match="not for jpeg:optimize=1"):
        load(r"dirac:steps=1:base=jpeg\:optimize=1")
    with pytest.raises(Unavailable, match=r"of dirac .*not of hfd"):
        load(f"hfd:base=jpeg:checkpoint={path}")
    with pytest.raises(Unavailable, match=r"--members dirac-jpegxl"):
        load("dirac:steps=1:base=jpegxl")


@pytest.mark.parametrize("options", ["", ":optimize=1", ":subsampling=444"])
def test_a_jpeg_tells_its_quality(options):
    jpeg = load(f"jpeg{options}")
    for quality in (1, 5, 30, 31, 74, 95, 100):
        data = jpeg.encode(noise(16, 16), Setting("quality", quality))
        assert jpeg.setting_of(data) == Setting("quality", quality)


def test_streams_of_learned_bases_tell_their_level():
    codec = load("elic")
    for setting in codec.sweep:
        assert codec.setting_of(codec.encode(noise(64, 64), setting)) == setting


def test_a_stream_that_does_not_tell_its_setting_is_placed_by_its_rate(weights):
    path = weights / "dirac-webp.safetensors"
    network = _load_diffusion(path, load_card(path).sha256, "cpu")
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


def test_statistics_between_two_levels_are_interpolated(weights):
    path = weights / "dirac-jpeg.safetensors"
    network = _load_diffusion(path, load_card(path).sha256, "cpu")
    first, second = network.facts(0), network.facts(1)
    half = network.facts(0.5)
    assert half.scale == pytest.approx(math.sqrt(first.scale * second.scale), rel=1e-6)
    assert half.threshold == pytest.approx(math.sqrt(first.threshold * second.threshold), rel=1e-6)
    assert network.facts(-1) == first
    assert network.facts(9) == network.facts(2)


def test_estimated_reconstructions_are_what_the_base_decodes():
    base = BaseCodec("elic")
    crops = torch.stack([torch.from_numpy(noise(64, 64, seed)) for seed in (4, 5)])
    images = crops.permute(0, 3, 1, 2).float() / 127.5 - 1
    setting = base.codec.sweep[1]
    coded = base.code_crops(images, setting)
    for crop, image, bits in zip(crops, *coded, strict=True):
        data = base.codec.encode(crop.numpy(), setting)
        levels = ((image + 1) * 127.5).round().permute(1, 2, 0).numpy()
        assert np.abs(levels - base.codec.decode(data)).mean() < 0.5
        assert 8 * len(data) == pytest.approx(float(bits), rel=0.05, abs=250)
