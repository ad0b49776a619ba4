"""The contract of benchmark.codec, over every codec in the registry that runs here."""

import re
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmark.codec import Between, Codec, OneOf, Pixels, Setting
from benchmark.errors import BadOption, Unavailable
from benchmark.facts import needs_options
from benchmark.registry import ALIASES, CODECS
from benchmark.spec import load_codec, parse_codec, resolve
from conftest import ROOT
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import write_checkpoint
from support.networks.tiny_diffusion import write_drawing
from support.processes import ran
from support.psnr import psnr

FACTORISED = "compressai:model=bmshj2018-factorized:metric=mse:weights=random"
WITH_OPTIONS = (FACTORISED, "jpeg2000:control=psnr", "repeat:base=jpeg", "ours:beta=0:effort=1")
TESTED_ELSEWHERE = {"folder", "command", "worker"}  # whose sizes or programs are the user's
SPECS = [*(name for name in CODECS if not needs_options(name)), *WITH_OPTIONS]
# An untrained network's pixels have nothing to do with the image, nor its rate with the setting.
METHODS = ("charm", "elic", "ivr", "hific", "multirealism", "pqmim")
DRAWING = ("dirac", "hfd")
UNTRAINED = ("ours", "ours:beta=0:effort=1", *METHODS, *DRAWING, FACTORISED)
STREAMS: dict[str, bytes] = {}


class Pair(NamedTuple):
    """Two instances, which share nothing but the bytes."""

    encoder: Codec
    decoder: Codec


@cache
def load_pair(spec: str) -> Pair:
    first, *_ = resolve(parse_codec(spec))
    return Pair(load_codec(first), load_codec(first))


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder / "ours.safetensors")
    for name in METHODS:
        for seed, level in enumerate([""] if name == "ivr" else ["-1", "-2"]):
            write_tiny(folder / f"{name}{level}.safetensors", name, seed=seed)
    for name in DRAWING:
        write_drawing(folder / f"{name}-elic.safetensors", name, "elic", weights=folder)
    return folder


@pytest.fixture(params=SPECS)
def pair(request, own_environment, tiny_weights, monkeypatch) -> Pair:
    if request.param.partition(":")[0] in ("ours", *METHODS, *DRAWING):
        monkeypatch.setenv("BENCH_WEIGHTS", str(tiny_weights))
    try:
        result = load_pair(request.param)
        result.encoder.describe()  # raises where a codec can decode but not encode
    except Unavailable as reason:
        pytest.skip(str(reason))
    return result


@pytest.fixture
def photo(request: pytest.FixtureRequest, photo: Pixels) -> Pixels:
    return photo[:49, :61].copy() if request.node.callspec.params["pair"] in UNTRAINED else photo


@pytest.fixture
def stream(pair: Pair, photo: Pixels, request: pytest.FixtureRequest) -> bytes:
    """The stream of `photo`, which cannot be written, at the middle setting; each coded once."""
    if (spec := request.node.callspec.params["pair"]) not in STREAMS:
        locked = photo.copy()
        locked.setflags(write=False)
        STREAMS[spec] = pair.encoder.encode(locked, middle(pair.encoder))
    return STREAMS[spec]


WITH_A_CURVE = [spec for spec in SPECS if spec not in UNTRAINED]
over_codecs_with_a_curve = pytest.mark.parametrize("pair", WITH_A_CURVE, indirect=True)


def middle(codec: Codec) -> Setting:
    return codec.sweep[len(codec.sweep) // 2]


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def test_every_codec_is_tested_here_or_elsewhere():
    assert {spec.partition(":")[0] for spec in SPECS} | TESTED_ELSEWHERE == CODECS.keys()
    assert {parse_codec(alias).name for alias in ALIASES} <= CODECS.keys()


def test_a_description_is_complete_and_a_sweep_has_distinct_settings_of_one_name(pair, request):
    codec, sweep = pair.encoder, pair.encoder.sweep
    assert len({setting.name for setting in sweep}) == 1
    assert len({str(setting) for setting in sweep}) == len(sweep)
    info = codec.describe()
    assert request.node.callspec.params["pair"].partition(":")[0] == codec.name
    assert all((info.version, info.licence, info.timed))
    licences = info.licence.split(" AND ")
    assert len({*licences}) == len(licences)
    assert f"{{{sweep[0].name}}}" in info.command
    assert re.fullmatch("[0-9a-f]{64}", info.fingerprint)
    assert info.fingerprint != sha256(b"").hexdigest()
    assert info.revision >= 1
    assert info == pair.decoder.describe()


def test_descriptions_of_networks_need_neither_torch_nor_their_packages(tiny_weights: Path):
    program = f"""
import sys
from benchmark.spec import load_codec, parse_codec, resolve
from benchmark.errors import Unavailable
for text in {UNTRAINED!r}:
    try:
        print(load_codec(resolve(parse_codec(text))[0]).describe().caveat)
    except Unavailable:
        print("unavailable")
print({{"torch", "compressai", "safetensors"}} & set(sys.modules))
"""
    result = ran(sys.executable, "-c", program, BENCH_WEIGHTS=tiny_weights, PYTHONPATH=ROOT)
    first, second, *_, imported = result.stdout.splitlines()
    assert (first, second, imported) == ("untrained", "untrained", "set()"), result.stderr


def ends_and_others(accepts: Between | OneOf) -> tuple[list[Setting], list[Setting]]:
    """Return the first and the last setting that a declaration has, and some next to it."""
    if isinstance(accepts, OneOf):
        ends = sorted(accepts.settings, key=lambda setting: setting.value)
    else:
        ends = [Setting(accepts.name, value) for value in (accepts.lowest, accepts.highest)]
    first, last = ends[0], ends[-1]
    whole = isinstance(accepts, OneOf) or accepts.whole
    step = 1.0 if whole else 0.01
    values = [float("nan"), first.value - step, last.value + step, *[first.value + 0.5] * whole]
    invalid_settings = [first._replace(value=value) for value in values]
    return [first, last], [Setting("other", first.value), *invalid_settings]


def test_a_codec_takes_the_settings_that_it_declares_and_no_others(pair: Pair, photo: Pixels):
    accepts = pair.encoder.accepts  # type: ignore[attr-defined]
    assert [setting for setting in pair.encoder.sweep if setting not in accepts] == []
    small = photo[:17, :33]  # VVenC codes no noise at its lowest QPs
    ends, invalid_settings = ends_and_others(accepts)
    for setting in ends:
        assert setting in accepts
        assert pair.decoder.decode(pair.encoder.encode(small, setting)).shape == small.shape
    for setting in invalid_settings:
        assert setting not in accepts
        with pytest.raises(BadOption, match=re.escape(str(setting))):
            pair.encoder.encode(small, setting)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)], ids=lambda size: "{}x{}".format(*size))
def test_tiny_images_come_back_in_their_size(pair: Pair, size: tuple[int, int]):
    decoded = pair.decoder.decode(pair.encoder.encode(noise(*size), middle(pair.encoder)))
    assert decoded.shape == (*size, 3)
    assert decoded.dtype == np.uint8


@over_codecs_with_a_curve
def test_rate_and_quality_rise_along_the_sweep(pair: Pair, photo: Pixels):
    last = len(pair.encoder.sweep) - 1
    indices = sorted({0, last // 3, 2 * last // 3, last})
    streams = [pair.encoder.encode(photo, pair.encoder.sweep[index]) for index in indices]
    sizes = [len(data) for data in streams]
    quality = [psnr(photo, pair.decoder.decode(data)) for data in streams]
    assert sizes == sorted(set(sizes))
    assert quality == sorted(quality)


@over_codecs_with_a_curve
def test_the_chroma_format_is_the_one_that_the_description_names(pair: Pair):
    """Columns of two colours of equal luma keep their contrast in 4:4:4 and lose it in 4:2:0."""
    columns = np.uint8([(160, 100, 100), (89, 121, 100)])  # BT.709 luma of 113
    stripes = np.tile(columns, (64, 32, 1))
    finest = pair.encoder.sweep[-1]
    decoded = pair.decoder.decode(pair.encoder.encode(stripes, finest)).astype(np.float64)
    contrast = float(np.mean(decoded[:, ::2, 0] - decoded[:, 1::2, 0]) / (160 - 89))
    assert pair.encoder.describe().chroma == ("4:4:4" if contrast > 0.5 else "4:2:0")


@over_codecs_with_a_curve
def test_colours_keep_their_place_and_range(pair: Pair):
    """Swapped channels, a wrong matrix or range would move a patch by tens of levels."""
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (0, 0, 0), (255, 255, 255)]
    source = np.array([colours], np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    decoded = pair.decoder.decode(pair.encoder.encode(source, pair.encoder.sweep[-1]))
    for number, colour in enumerate(colours):
        inside = decoded[8:24, 32 * number + 8 : 32 * number + 24]
        assert np.abs(inside.mean(axis=(0, 1)) - colour).max() < 3


def test_a_grey_image_comes_back(pair: Pair, photo: Pixels):
    source = photo[:49, :61, 1:2].repeat(3, axis=2)
    data = pair.encoder.encode(source, middle(pair.encoder))
    assert pair.decoder.decode(data).shape == source.shape


def test_the_same_pixels_give_the_same_bytes_and_are_never_written(pair, photo, stream):
    pair.encoder.encode(noise(7, 9), pair.encoder.sweep[0])
    writable = photo.copy()
    assert pair.encoder.encode(writable, middle(pair.encoder)) == stream
    assert isinstance(stream, bytes)
    assert np.array_equal(writable, photo)


def test_two_instances_decode_a_stream_to_the_same_pixels(pair: Pair, photo: Pixels, stream: bytes):
    first = pair.decoder.decode(stream)
    assert (first.shape, first.dtype, first.flags.c_contiguous) == (photo.shape, np.uint8, True)
    assert np.array_equal(pair.encoder.decode(stream), first)
    assert np.array_equal(pair.decoder.decode(stream), first)


def test_a_view_codes_like_its_copy(pair: Pair, photo: Pixels):
    view = photo[40::-2, 5:50:3]
    setting = middle(pair.encoder)
    assert pair.encoder.encode(view, setting) == pair.encoder.encode(view.copy(), setting)


@pytest.mark.parametrize("damage", [
    lambda data: data[: len(data) // 2], lambda data: b"", lambda data: bytes(200),
    lambda data: np.random.default_rng(3).bytes(1000),
], ids=["half", "nothing", "zeros", "garbage"])  # fmt: skip
def test_bytes_that_are_no_stream_are_refused(pair, stream, damage):
    with pytest.raises(Exception):  # noqa: B017, PT011 - any exception makes a failed row
        pair.decoder.decode(damage(stream))


def test_a_stream_of_a_black_image_holds_no_text(pair: Pair):
    """Nearly all of it is header, and neither black nor the finest quantisers read as letters."""
    data = pair.encoder.encode(np.zeros((40, 56, 3), np.uint8), pair.encoder.sweep[-1])
    runs = re.findall(rb"[A-Za-z0-9 .,:;=/_-]{18,}", data)
    assert all(list(run) == sorted(run) for run in runs)  # JPEG's Huffman tables
    for word in b"Exif ICC http x264 x265 Lavc Lavf omment Created".split():
        assert word not in data
