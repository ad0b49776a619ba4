"""Colour conversions of adapters alone: each keeps what a right one keeps, and bytes rise."""

import math
from itertools import pairwise

import numpy as np
import pytest

from baselines.formats.ycbcr import conversion_alone
from benchmark.errors import Unavailable
from benchmark.metrics.psnr import psnr
from benchmark.registry import CODECS
from benchmark.rows.packs.pack import shipped_packs
from benchmark.spec import CodecSpec, codec_class, load_codec


def converting():
    """Every variant of a registered codec that converts colours in a way of its own."""
    for name in CODECS:
        try:
            conversions = getattr(codec_class(CodecSpec(name, ())), "conversions", ())
        except Unavailable:
            continue
        for options in conversions:
            yield CodecSpec(name, tuple(sorted(options.items())))


VARIANTS = [spec.text for spec in converting()]


def test_every_adapter_that_converts_is_here_in_each_of_its_formats():
    assert {*VARIANTS} == {
        *("avif", "avif:depth=8", "avif:subsampling=420"),
        *(
            "x264",
            "x264:depth=8",
            "x264:subsampling=420",
            "x265",
            "x265:depth=10",
            "x265:subsampling=420",
            "vvenc",
            "vtm",
            "vtm:depth=10",
        ),
    }


@pytest.mark.parametrize("spec", [*converting()], ids=lambda spec: spec.text)
def test_a_conversion_alone_keeps_what_a_right_one_keeps(spec, coffee):
    codec = load_codec(spec)
    rounded, truncated = (
        psnr(coffee, codec.convert_only(coffee, truncated=truncated)) for truncated in (False, True)
    )
    assert rounded >= codec.conversion_floor_db
    assert truncated < min(rounded, 60)


def test_eight_bits_keep_53_db_when_rounded_and_44_when_cut_off_and_ten_bits_everything(coffee):
    """53 and 43.7 dB are the published ceilings on Kodak."""
    eight, ten = (load_codec(CodecSpec("vtm", of)) for of in ((), (("depth", "10"),)))
    assert psnr(coffee, eight.convert_only(coffee)) == pytest.approx(53.2, abs=0.3)
    assert psnr(coffee, eight.convert_only(coffee, truncated=True)) == pytest.approx(43.7, abs=0.5)
    assert psnr(coffee, ten.convert_only(coffee)) == math.inf
    wrong = psnr(coffee, conversion_alone(coffee, 8, 444, "down"))
    assert wrong < eight.conversion_floor_db, "a truncating adapter is told"


@pytest.mark.parametrize("name", ["avif", "x265", "vvenc"])
def test_the_bytes_of_an_encoder_rise_with_its_sweep(name, coffee):
    crop = np.ascontiguousarray(coffee[100:196, 200:328])
    codec = load_codec(CodecSpec(name, (("preset", "ultrafast"),) if name == "x265" else ()))
    sizes = [len(codec.encode(crop, setting)) for setting in codec.sweep]
    assert all(fewer < more for fewer, more in pairwise(sizes))


def test_the_bytes_of_the_pack_of_vtm_rise_with_its_sweep():
    (pack,) = (entry for entry in shipped_packs() if entry.path.stem == "vtm-23.13")
    (spec,) = pack.infos
    sizes = dict.fromkeys(pack.sweep(spec), 0)
    for (*_, setting), row in pack.streams.items():
        sizes[setting] += row["num_bytes"]
    assert [setting.value for setting in sizes] == [47, 42, 37, 32, 27, 22]
    assert all(fewer < more for fewer, more in pairwise(sizes.values()))
    assert sum(sizes.values()) == 4_159_240
