"""AVIF: what its files say, what another decoder makes of them, what tuning is for."""

import struct

import imagecodecs
import numpy as np
import pytest

from baselines.video import AVIF
from benchmark.codec import Setting
from benchmark.errors import CorruptStream
from support.files.boxes import boxes
from support.psnr import psnr

CRF = Setting("crf", 34)


def avif_properties(data: bytes) -> dict[bytes, bytes]:
    """Return the properties of the only item (ISO/IEC 23008-12, 9.3; `meta` is a full box)."""
    return boxes(boxes(boxes(boxes(data)[b"meta"][4:])[b"iprp"])[b"ipco"])


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(
    ("subsampling", "profile", "shift"), [(420, 0, 3), (444, 1, 0)], ids=["420", "444"]
)
def test_avif_is_coded_as_stated_and_holds_one_bare_item(photo, subsampling, profile, shift, depth):
    data = AVIF(subsampling=subsampling, depth=depth, speed=6).encode(photo, CRF)
    assert boxes(data).keys() == {b"ftyp", b"meta", b"mdat"}
    assert boxes(boxes(data)[b"meta"][4:]).keys() == {b"hdlr", b"pitm", b"iloc", b"iinf", b"iprp"}
    properties = avif_properties(data)
    assert properties.keys() == {b"ispe", b"pixi", b"av1C", b"colr"}
    assert struct.unpack(">4xII", properties[b"ispe"]) == (203, 181)
    assert properties[b"pixi"][4:] == bytes((3, depth, depth, depth))
    # BT.709 primaries, sRGB transfer, BT.709 matrix, full range
    assert struct.unpack(">4sHHHB", properties[b"colr"]) == (b"nclx", 1, 13, 1, 0x80)
    assert properties[b"av1C"][1] >> 5 == profile
    assert properties[b"av1C"][2] >> 4 & 7 == (4 if depth == 10 else 0)  # not monochrome
    assert properties[b"av1C"][2] >> 2 & 3 == shift


@pytest.mark.parametrize(("subsampling", "depth", "off"), [(444, 8, 1), (444, 10, 2), (420, 8, 60)])
def test_another_decoder_makes_the_same_picture_of_an_avif_file(photo, subsampling, depth, off):
    """libavif reads the file's own colour properties; in 4:2:0 it interpolates chroma otherwise."""
    codec = AVIF(subsampling=subsampling, depth=depth, speed=6)
    data = codec.encode(photo[:180, :201], CRF)
    other = imagecodecs.avif_decode(data).astype(np.float64) / (2 ** (depth - 8))
    difference = np.abs(codec.decode(data) - other)
    assert difference.max() <= off
    assert difference.mean() < (1 if subsampling == 420 else 0.5)


@pytest.mark.parametrize("size", [(33, 17), (34, 17), (33, 18)], ids=str)
def test_odd_sides_keep_their_last_row_and_column_in_420(coffee, size):
    source = np.ascontiguousarray(coffee[100 : 100 + size[0], 200 : 200 + size[1]])
    codec = AVIF(subsampling=420, speed=6)
    decoded = codec.decode(codec.encode(source, Setting("crf", 5)))
    assert decoded.shape == source.shape
    last = np.s_[-1], np.s_[:, -1]
    assert all(psnr(source[edge], decoded[edge]) > psnr(source, decoded) - 8 for edge in last)


def test_two_pictures_in_a_file_or_none_are_refused(photo):
    data = AVIF(speed=6).encode(photo, CRF)
    start = data.index(b"mdat") - 4
    for spoilt in (data + data[start:], data[:start]):
        with pytest.raises(CorruptStream, match="mdat boxes"):
            AVIF(speed=6).decode(spoilt)
