"""Options that codecs refuse, by name, and a picture that is coded repeatedly."""

import numpy as np
import pytest

from benchmark.codec import Setting
from benchmark.errors import BadOption
from benchmark.facts import facts_of
from benchmark.registry import CODECS
from benchmark.spec import (
    codec_class,
    load_codec,
    parameters_of,
    parse_codec,
    refers_to_code,
    resolve,
)

COPY = r"command:encode=cp -n{q} {in} {out}:decode=cp {in} {out}:values=10/30"
WRONG_OPTIONS = [
    "jpeg:subsampling=411", "jpeg:optimize=2", "jpegli:quality=3", "mozjpeg:table=99",
    "mozjpeg:subsampling=422", "webp:method=7", "webp:method=-1", "jpeg2000:control=bpp",
    "avif:speed=7", "avif:tune=vmaf", "avif:depth=12", "avif:subsampling=422", "jpegxl:effort=11",
    "jpegxl:effort=0", "bpg:level=10", "bpg:level=0", "bpg:depth=12", "x265:preset=placebo",
    "x265:depth=12", "x265:subsampling=422", "vvenc:preset=veryfast", "x264:preset=placebo",
    "x264:depth=12", "x264:subsampling=422", "vtm:depth=12", "raw:bits=7", "ours:beta=9",
    "ours:beta=-0.1", "ours:beta=nan", "ours:beta=0:exact=2", "ours:beta=0:size=huge",
    "ours:beta=0:effort=4", "multirealism:beta=2.6", "multirealism:beta=-0.1", "pqmim:perceptual=2",
    "dirac:steps=0", "dirac:steps=1:seed=-1", "hfd:steps=1001", "dirac:steps=1:base=ours",
    "dirac:steps=1:base=hfd", "repeat:base=jpeg:times=0", "hyperprior:weights=best",
    "bpg:subsampling=422", COPY + ":timeout_seconds=0",
    "command:encode=cp {in}:decode=cp {in} {out}:values=1",
]  # fmt: skip


@pytest.mark.parametrize("codec", WRONG_OPTIONS)
def test_an_option_out_of_range_is_refused_at_once(codec):
    with pytest.raises(BadOption):
        load_codec(resolve(parse_codec(codec))[0])


def test_every_codec_with_options_has_a_wrong_one_here():
    only_files = {"folder", "charm", "elic", "ivr", "hific", "worker"}  # as options
    specs = map(parse_codec, CODECS.keys() - only_files)
    with_options = {spec.name for spec in specs if parameters_of(spec, codec_class(spec))}
    assert {parse_codec(codec).name for codec in WRONG_OPTIONS} >= with_options


PIXELS = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_the_stream_is_the_last_one(times):
    setting, jpeg, pixels = Setting("quality", 30), load_codec(parse_codec("jpeg")), PIXELS
    repeat = load_codec(parse_codec(f"repeat:base=jpeg:times={times}"))
    for _ in range(times):
        stream = jpeg.encode(pixels, setting)
        pixels = jpeg.decode(stream)
    assert repeat.encode(PIXELS, setting) == stream
    assert np.array_equal(repeat.decode(stream), pixels)
    assert (repeat.sweep, repeat.accepts) == (jpeg.sweep, jpeg.accepts)
    assert repeat.describe().fingerprint == jpeg.describe().fingerprint


def test_a_base_that_cannot_be_coded_again_is_refused(tmp_path):
    (tmp_path / "sizes.csv").write_text("image,setting,num_bytes\na.png,1,9\n")
    for options, names in {
        "base=ours": "ours:beta=0, ours:beta=3.84", "base=repeat\\:base=jpeg": "times",
        "base=jpeg:times=0": "times=0", "times=3": "base",
        f"base=folder\\:path={tmp_path}": "base=folder",
    }.items():  # fmt: skip
        with pytest.raises(BadOption, match=names):
            load_codec(parse_codec(f"repeat:{options}"))


def test_it_has_the_colour_of_its_base_a_name_of_its_own_and_runs_no_code_of_stored_rows():
    avif, twice = (facts_of(parse_codec(spec)) for spec in ("avif", "repeat:base=avif"))
    assert (twice.title, twice.family) == ("AVIF speed 4, coded 2 times", "avif")
    assert twice.colour == avif.colour
    assert twice.typical[0].seconds[0][1] == 2 * avif.typical[0].seconds[0][1]
    options = parse_codec("repeat:base=jpeg\\:optimize=1:times=5")
    assert facts_of(options).title == "JPEG (optimised), coded 5 times"
    for base, runs_code in (("mine.py\\:Mine", True), ("avif", False)):
        assert refers_to_code(parse_codec(f"repeat:base={base}")) == runs_code
