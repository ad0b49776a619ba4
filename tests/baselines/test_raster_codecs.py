"""Properties of raw, JPEG, WebP and JPEG XL streams, read from their bytes; limits of settings."""

import re
import struct
import sys
from collections.abc import Iterator
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from baselines import raster
from baselines.jpeg import JPEG
from baselines.raster import JPEG2000, JPEGXL, Raw, WebP
from baselines.video import AVIF, X264, X265, VVenC
from benchmark.codec import Setting
from benchmark.errors import BadOption, CorruptStream, ImageRefused, Unavailable
from benchmark.measure.cells import Failed
from benchmark.measure.execute import Coded, execute
from benchmark.spec import load_codec, parse_codec
from conftest import SHARED
from support.files.boxes import boxes
from support.psnr import psnr
from support.quick import quick

KODAK = SHARED / "data" / "kodak"
MEANS = ((10, 0.32659, 26.672), (50, 0.90552, 32.174), (90, 2.34632, 38.034))
CRF = Setting("crf", 34)


def quality(value: float) -> Setting:
    return Setting("quality", value)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) up to the scan's data; ITU-T T.81, annex B."""
    assert data[:2] == b"\xff\xd8"
    start = 2
    while True:
        _, marker, length = struct.unpack_from(">BBH", data, start)
        yield marker, data[start + 4 : start + 2 + length]
        if marker == 0xDA:
            return
        start += 2 + length


def test_raw_is_four_bytes_of_header_and_the_pixels():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = Raw().encode(pixels, Setting("bits", 8))
    assert data == b"\x02\x00\x01\x00\x01\x02\x03\x04\x05\x06"
    assert np.array_equal(Raw().decode(data), pixels)
    with pytest.raises(BadOption, match="65535"):
        Raw().encode(np.zeros((1, 65536, 3), np.uint8), Setting("bits", 8))


@pytest.mark.parametrize(
    ("name", "max_side"), [("jpeg", 65500), ("webp", 16382), ("mozjpeg", 65500)]
)
def test_a_side_beyond_the_format_is_refused_in_a_sentence(name, max_side):
    codec = load_codec(parse_codec(name))
    assert codec.encode(np.zeros((1, max_side, 3), np.uint8), codec.sweep[0])
    with pytest.raises(ImageRefused, match=f"{max_side:,} pixels .*1 x"):
        codec.encode(np.zeros((max_side + 1, 1, 3), np.uint8), codec.sweep[0])


@pytest.mark.parametrize(
    "data",
    [b"\x01\x00\x01", b"\x01\x00\x01\x00ab", b"\x01\x00\x01\x00abcd", bytes(4)],
    ids=["no header", "too short", "too long", "no pixel"],
)
def test_raw_refuses_a_length_that_differs_from_its_header(data):
    with pytest.raises(CorruptStream):
        Raw().decode(data)


@pytest.mark.parametrize("value", [5, 50, 95, 100])
def test_jpeg_is_what_pillow_saves_when_asked_for_a_quality_alone(photo, value):
    plain = BytesIO()
    Image.fromarray(photo).save(plain, "JPEG", quality=value)
    assert JPEG().encode(photo, quality(value)) == plain.getvalue()


@pytest.mark.parametrize(
    ("subsampling", "luma_sampling"), [(420, 0x22), (422, 0x21), (444, 0x11)], ids=str
)
def test_jpeg_subsampling_is_the_one_in_the_frame_header(photo, subsampling, luma_sampling):
    frame = dict(jpeg_segments(JPEG(subsampling=subsampling).encode(photo, quality(50))))[0xC0]
    assert struct.unpack_from(">BHHB", frame) == (8, 181, 203, 3)
    assert [frame[7], frame[10], frame[13]] == [luma_sampling, 0x11, 0x11]


@pytest.mark.parametrize("optimize", [0, 1])
def test_jpeg_has_no_segment_that_decoding_does_not_need(photo, optimize):
    segments = list(jpeg_segments(JPEG(optimize=optimize).encode(photo, quality(50))))
    assert [marker for marker, _ in segments[:1]] == [0xE0]
    assert segments[0][1][:5] == b"JFIF\0"
    assert len(segments[0][1]) == 14  # no thumbnail
    assert {marker for marker, _ in segments[1:]} == {0xDB, 0xC0, 0xC4, 0xDA}


@pytest.mark.parametrize("value", [95, 100])
@pytest.mark.parametrize("subsampling", [420, 444])
def test_optimised_jpeg_of_noise_holds_the_same_coefficients_in_fewer_bytes(
    monkeypatch, subsampling, value
):
    monkeypatch.setattr("PIL.ImageFile.MAXBLOCK", 65536)  # Pillow's default, whatever ran before
    pixels = np.random.default_rng(11).integers(0, 256, (301, 300, 3), np.uint8)
    plain = JPEG(subsampling=subsampling).encode(pixels, quality(value))
    small = JPEG(subsampling=subsampling, optimize=1).encode(pixels, quality(value))
    assert len(small) < len(plain)
    assert np.array_equal(JPEG().decode(small), JPEG().decode(plain))


@pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")
@pytest.mark.parametrize(("value", "bpp", "decibel"), quick(MEANS, MEANS[1]))
def test_jpeg_on_kodak_gives_the_means_that_others_measured(value, bpp, decibel):
    """CompressAI's `bench jpeg`, with libjpeg-turbo 2.1.5 and 3.2.0; digits as it prints them."""
    rates, qualities = [], []
    for path in sorted(KODAK.glob("kodim*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        data = JPEG().encode(pixels, quality(value))
        rates.append(8 * len(data) / (768 * 512))
        qualities.append(psnr(pixels, JPEG().decode(data)))
    assert len(rates) == 24
    assert np.mean(rates) == pytest.approx(bpp, abs=0.5e-5)
    assert np.mean(qualities) == pytest.approx(decibel, abs=0.5e-3)


def test_webp_is_one_lossy_chunk(photo):
    data = WebP().encode(photo, quality(50))
    riff, size, form, kind, chunk_size = struct.unpack_from("<4sI4s4sI", data)
    assert (riff, form, kind) == (b"RIFF", b"WEBP", b"VP8 ")
    assert len(data) == 8 + size == 20 + chunk_size
    assert WebP().container_bytes(data) == 20
    assert struct.unpack_from("<3sHH", data, 23) == (b"\x9d\x01\x2a", 203, 181)  # RFC 6386, 9.1


@pytest.mark.parametrize(
    ("default", "changed", "setting"),
    [
        (WebP(), WebP(method=6), quality(50)),
        (AVIF(speed=6), AVIF(speed=5), CRF),
        (AVIF(speed=6), AVIF(speed=6, tune="ssim"), CRF),
        (JPEGXL(), JPEGXL(effort=3), Setting("distance", 2)),
        (X265(preset="ultrafast"), X265(preset="veryslow"), Setting("qp", 32)),
        (VVenC(preset="faster"), VVenC(preset="medium"), Setting("qp", 32)),
    ],
    ids=["webp", "avif", "avif tune", "jpegxl", "x265", "vvenc"],
)
def test_effort_changes_the_stream_and_is_stated(coffee, default, changed, setting):
    crop = np.ascontiguousarray(coffee[150:214, 250:346])
    assert default.encode(crop, setting) != changed.encode(crop, setting)
    assert default.describe().command != changed.describe().command
    assert default.describe().fingerprint == changed.describe().fingerprint


@pytest.mark.parametrize(
    "codec", [JPEG(), WebP(), AVIF(speed=6), JPEGXL(), JPEG2000()], ids=lambda c: c.name
)
def test_a_stream_cut_anywhere_is_refused(photo, codec):
    data = codec.encode(photo, codec.sweep[2])
    for length in (1, 2, 12, 40, len(data) // 4, len(data) - 10, len(data) - 2, len(data) - 1):
        with pytest.raises((OSError, RuntimeError, ValueError, CorruptStream)):
            codec.decode(data[:length])


@pytest.mark.parametrize(
    ("codec", "libraries"),
    [
        (WebP, {"_webp", "libwebp", "libwebpdemux", "libsharpyuv"}),
        (JPEGXL, {"_jpegxl", "libjxl", "libjxl_cms", "libjxl_threads"}),
        (lambda: JPEG2000(control="psnr"), {"_jpeg2k", "libopenjp2"}),
    ],
)
def test_the_fingerprint_covers_every_library_that_codes(monkeypatch, codec, libraries):
    monkeypatch.setattr(raster, "files_sha256", lambda paths: [*paths])
    paths = codec().describe().fingerprint
    assert {re.split("[-.]", path.name)[0] for path in paths} == libraries
    assert len(paths) == len(libraries)


@pytest.mark.parametrize(
    ("codec", "part"), [(WebP, "WEBP"), (JPEGXL, "JPEGXL"), (JPEG2000, "JPEG2K")]
)
def test_a_missing_library_makes_the_codec_unavailable(monkeypatch, codec, part):
    monkeypatch.setattr(getattr(imagecodecs, part), "available", False)
    with pytest.raises(Unavailable, match=codec.name):
        codec()
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(Unavailable, match=codec.name):
        codec()


def test_avif_counts_all_but_the_item_that_iloc_points_to(photo):
    codec = AVIF(speed=6)
    data = codec.encode(photo, codec.sweep[2])
    location = boxes(boxes(data)[b"meta"][4:])[b"iloc"]  # ISO/IEC 14496-12, 8.11.3, version 0
    assert location[4:8] == b"\x44\x00\x00\x01"  # offset and length in 4 bytes, one item
    start, length = struct.unpack(">II", location[-8:])
    assert start + length == len(data)
    assert codec.container_bytes(data) == len(data) - length
    assert data[start] == 0x0A  # the picture begins with a sequence header (AV1, 5.3.2)


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
    [
        (JPEGXL(), 0),
        (JPEG2000(), 0),
        (VVenC(preset="faster"), 1),
        (X265(preset="fast"), 3),
        (X264(), 3),
    ],
    ids=["jpegxl", "jpeg2000", "vvenc", "x265", "x264"],
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
    coded = execute(WebP(), WebP(), "photo.png", photo, WebP.sweep[2])
    assert isinstance(coded, Coded)
    assert coded.container_bytes == 20
    failed = execute(Boxed(), Boxed(), "photo.png", photo, JPEG.sweep[2])
    assert isinstance(failed, Failed)
    assert failed.stage == "decode"
    assert failed.reason.endswith(", in container_bytes: ValueError: no boxes")
