"""Options that codecs refuse, by name."""

import pytest

from benchmark.errors import BadOption
from benchmark.registry import CODECS
from benchmark.spec import load_codec, parse_codec, resolve

COPY = r"command:encode=cp -n{q} {in} {out}:decode=cp {in} {out}:values=10/30"
WRONG_OPTIONS = [
    *("jpeg:subsampling=411", "jpeg:optimize=2", "jpegli:quality=3", "mozjpeg:table=99"),
    *("mozjpeg:subsampling=422", "webp:method=7", "webp:method=-1", "jpeg2000:control=bpp"),
    *("avif:speed=7", "avif:tune=vmaf", "avif:depth=12", "avif:subsampling=422"),
    *("jpegxl:effort=11", "jpegxl:effort=0", "bpg:level=10", "bpg:level=0", "bpg:depth=12"),
    *("x265:preset=placebo", "x265:depth=12", "x265:subsampling=422", "vvenc:preset=veryfast"),
    *("x264:preset=placebo", "x264:depth=12", "x264:subsampling=422"),
    *("vtm:depth=12", "raw:bits=7"),
    *("ours:beta=9", "ours:beta=-0.1", "ours:beta=nan", "ours:beta=0:exact=2"),
    *("ours:beta=0:size=huge", "ours:beta=0:effort=4"),
    *("multirealism:beta=2.6", "multirealism:beta=-0.1", "pqmim:perceptual=2"),
    *("dirac:steps=0", "dirac:steps=1:seed=-1", "hfd:steps=1001"),
    *("dirac:steps=1:base=ours", "dirac:steps=1:base=hfd"),
    "repeat:base=jpeg:times=0",
    "hyperprior:weights=best",
    "bpg:subsampling=422",
    *(COPY + ":timeout_seconds=0", "command:encode=cp {in}:decode=cp {in} {out}:values=1"),
]


@pytest.mark.parametrize("codec", WRONG_OPTIONS)
def test_an_option_out_of_range_is_refused_at_once(codec):
    with pytest.raises(BadOption):
        load_codec(resolve(parse_codec(codec))[0])


def test_every_codec_with_options_has_a_wrong_one_here():
    codecs_tested = {
        codec.partition(":")[0].replace("hyperprior", "compressai") for codec in WRONG_OPTIONS
    }
    only_files = {"folder", "charm", "elic", "ivr", "hific", "worker"}  # as options
    assert codecs_tested == CODECS.keys() - only_files
