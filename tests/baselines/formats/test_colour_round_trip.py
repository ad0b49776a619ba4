"""Colour conversions: each keeps what a right one keeps, in its codec too, and bytes rise."""

from itertools import pairwise

import numpy as np
import pytest

from baselines.formats.ycbcr import rgb_to_ycbcr, ycbcr_to_rgb
from benchmark.codec import Setting
from benchmark.metrics.psnr import psnr
from benchmark.rows.packs.pack import shipped_packs
from benchmark.spec import CodecSpec, load_codec, parse_codec

# Codecs that convert colours, by their formats -> the finest setting, and the PSNR that a
# conversion which truncates would not reach.
FINEST = {
    "avif": ("crf", 48), "avif:depth=8": ("crf", 46), "avif:subsampling=420": ("crf", 38),
    "x264:preset=fast": ("qp", 52), "x264:depth=8:preset=fast": ("qp", 49),
    "x264:preset=fast:subsampling=420": ("qp", 38),
    "x265:preset=fast": ("qp", 49), "x265:depth=10:preset=fast": ("qp", 52),
    "x265:preset=fast:subsampling=420": ("qp", 38), "vvenc": ("qp", 38),
}  # fmt: skip


@pytest.mark.parametrize("spec", FINEST)
def test_a_codec_at_its_finest_keeps_what_a_right_conversion_keeps(spec, coffee):
    crop = np.ascontiguousarray(coffee[100:196, 200:328])
    codec, (name, least) = load_codec(parse_codec(spec)), FINEST[spec]
    assert psnr(crop, codec.decode(codec.encode(crop, Setting(name, 0)))) >= least


def test_eight_bits_keep_53_db_of_a_photograph_and_ten_bits_everything(coffee):
    """53 dB is the published ceiling on Kodak; conversions that truncate end at 43.7."""
    kept = ycbcr_to_rgb(rgb_to_ycbcr(coffee, 8), 8)
    assert psnr(coffee, kept) == pytest.approx(53.2, abs=0.3)
    assert np.array_equal(coffee, ycbcr_to_rgb(rgb_to_ycbcr(coffee, 10), 10))


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
