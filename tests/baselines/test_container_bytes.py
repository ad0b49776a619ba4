"""Bytes of file formats, counted by each codec, against parsers that share nothing with them."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from baselines.avif import AVIF
from baselines.jpeg import JPEG
from baselines.jpeg2000 import JPEG2000
from baselines.jpegxl import JPEGXL
from baselines.vvenc import VVenC
from baselines.webp import WebP
from baselines.x265 import X265
from benchmark.measure.execute import Coded, Failed, execute
from support.files.boxes import boxes


@pytest.mark.parametrize("crop", [np.s_[:], np.s_[:64, :64], np.s_[:100, :131]], ids=str)
def test_avif_counts_all_but_the_item_that_iloc_points_to(photo, crop):
    codec = AVIF(speed=6)
    data = codec.encode(photo[crop], codec.sweep[2])
    location = boxes(boxes(data)[b"meta"][4:])[b"iloc"]  # ISO/IEC 14496-12, 8.11.3, version 0
    assert location[4:8] == b"\x44\x00\x00\x01"  # offset and length in 4 bytes, one item
    start, length = struct.unpack(">II", location[-8:])
    assert start + length == len(data)
    assert codec.container_bytes(data) == len(data) - length
    assert data[start] == 0x0A  # the picture begins with a sequence header (AV1, 5.3.2)


def test_webp_counts_the_headers_of_riff(photo):
    codec = WebP()
    data = codec.encode(photo, codec.sweep[3])
    assert data[:4] + data[8:16] == b"RIFFWEBPVP8 "
    assert codec.container_bytes(data) == 20


def test_jpeg_counts_jfif_and_nothing_that_decoding_needs(photo):
    codec = JPEG()
    data = codec.encode(photo, codec.sweep[3])
    start = data.index(b"\xff\xe0")
    size = codec.container_bytes(data)
    bare = data[:start] + data[start + size :]
    assert len(bare) == len(data) - size
    with Image.open(BytesIO(bare)) as image:
        assert "jfif" not in image.info
        assert np.array_equal(np.asarray(image), codec.decode(data))
    assert codec.container_bytes(bare) == 0


@pytest.mark.parametrize(
    ("codec", "header"),
    [(JPEGXL(), 0), (JPEG2000(), 0), (VVenC(preset="faster"), 1), (X265(preset="fast"), 3)],
    ids=["jpegxl", "jpeg2000", "vvenc", "x265"],
)
def test_bare_streams_have_only_what_the_adapter_adds(photo, codec, header):
    """A codestream begins with its marker, video with a start code (Annex B)."""
    data = codec.encode(photo, codec.sweep[2])
    beginning = {0: (b"\xff\x0a", b"\xff\x4f"), 1: (b"\0\0\0\1",), 3: (b"\0\0\0\1",)}[header]
    assert codec.container_bytes(data) == header
    assert data[header:].startswith(beginning)


class Boxed(JPEG):
    """A codec whose count of its container fails."""

    def container_bytes(self, data: bytes) -> int:
        raise ValueError("no boxes")


def test_a_row_has_the_count_and_a_count_that_fails_fails_the_cell(photo):
    done = execute(WebP(), WebP(), "photo.png", photo, WebP.sweep[2])
    assert isinstance(done, Coded)
    assert done.container_bytes == 20
    failed = execute(Boxed(), Boxed(), "photo.png", photo, JPEG.sweep[2])
    assert isinstance(failed, Failed)
    assert failed.stage == "decode"
    assert failed.reason.endswith(", in container_bytes: ValueError: no boxes")
