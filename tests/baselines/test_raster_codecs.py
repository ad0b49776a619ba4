"""Particulars of raw, JPEG, WebP, JPEG XL and JPEG 2000, read from their bytes; limits of AVIF."""

import ctypes
import hashlib
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from baselines.avif import AVIF
from baselines.formats import imagecodecs_wheel, openjpeg
from baselines.jpeg import JPEG
from baselines.jpeg2000 import JPEG2000
from baselines.jpegxl import JPEGXL
from baselines.raw import Raw
from baselines.webp import WebP
from benchmark.codec import Codec, Pixels, Setting
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.image import read_image
from benchmark.datasets.sample import open_sample
from benchmark.errors import BadOption, CorruptStream, Unavailable
from benchmark.rows.key import cell_key
from benchmark.rows.store import Store
from conftest import SHARED

PILLOWS_JPEG2000 = "57224187261032a3f037772fb0d551f5b9e1f1e18ea197ca22039f92f4e32e39"
ROOT = Path(__file__).parents[2]
KODAK = SHARED / "data" / "kodak"
CRF = Setting("crf", 34)


def bundled(dataset: str) -> list[dict[str, Any]]:
    """Return the bundled rows of JPEG 2000."""
    rows = Store(ROOT / "results" / dataset).versions(shipped=True)
    return [row for row in rows.to_pylist() if row["codec"] == "jpeg2000"]


def quality(value: float) -> Setting:
    return Setting("quality", value)


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(11).integers(0, 256, (height, width, 3), np.uint8)


def psnr(reference: Pixels, decoded: Pixels) -> float:
    error = reference.astype(np.float64) - decoded
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) up to the scan's data; ITU-T T.81, annex B."""
    assert data[:2] == b"\xff\xd8"
    start = 2
    while True:
        _, marker, length = struct.unpack_from(">BBH", data, start)
        yield marker, data[start + 4 : start + 2 + length]
        if marker == 0xDA:
            return
        start += 2 + length


def codestream_segments(data: bytes) -> dict[bytes, bytes]:
    """Marker to content in a JPEG 2000 main header; ISO/IEC 15444-1, annex A."""
    assert data[:2] == b"\xff\x4f"
    found, start = {}, 2
    while (marker := data[start : start + 2]) != b"\xff\x90":
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        found[marker] = data[start + 4 : end]
        start = end
    return found


class Bits:
    """A JPEG XL header read bit by bit, lowest first; ISO/IEC 18181-1, 9.2."""

    def __init__(self, data: bytes) -> None:
        self.rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return value

    def side(self) -> int:
        return 1 + self.take((9, 13, 18, 30)[self.take(2)])


def test_raw_is_four_bytes_of_header_and_the_pixels():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = Raw().encode(pixels, Setting("bits", 8))
    assert data == b"\x02\x00\x01\x00\x01\x02\x03\x04\x05\x06"
    assert np.array_equal(Raw().decode(data), pixels)


@pytest.mark.parametrize(
    "data",
    [b"\x01\x00\x01", b"\x01\x00\x01\x00ab", b"\x01\x00\x01\x00abcd", bytes(4)],
    ids=["no header", "too short", "too long", "no pixel"],
)
def test_raw_refuses_a_length_that_its_header_does_not_say(data: bytes):
    with pytest.raises(CorruptStream):
        Raw().decode(data)


def test_raw_refuses_a_side_that_its_header_cannot_say():
    with pytest.raises(BadOption, match="65535"):
        Raw().encode(np.zeros((1, 65536, 3), np.uint8), Setting("bits", 8))


@pytest.mark.parametrize("value", [5, 50, 95, 100])
def test_jpeg_is_what_pillow_saves_when_asked_for_a_quality_alone(photo: Pixels, value: int):
    plain = BytesIO()
    Image.fromarray(photo).save(plain, "JPEG", quality=value)
    assert JPEG().encode(photo, quality(value)) == plain.getvalue()


@pytest.mark.parametrize(
    ("subsampling", "luma_sampling"), [(420, 0x22), (422, 0x21), (444, 0x11)], ids=str
)
def test_jpeg_subsampling_is_the_one_in_the_frame_header(
    photo: Pixels, subsampling: int, luma_sampling: int
):
    frame = dict(jpeg_segments(JPEG(subsampling=subsampling).encode(photo, quality(50))))[0xC0]
    assert struct.unpack_from(">BHHB", frame) == (8, 181, 203, 3)
    assert [frame[7], frame[10], frame[13]] == [luma_sampling, 0x11, 0x11]


@pytest.mark.parametrize("optimize", [0, 1])
def test_jpeg_has_no_segment_that_decoding_does_not_need(photo: Pixels, optimize: int):
    segments = list(jpeg_segments(JPEG(optimize=optimize).encode(photo, quality(50))))
    assert [marker for marker, _ in segments[:1]] == [0xE0]
    assert segments[0][1][:5] == b"JFIF\0"
    assert len(segments[0][1]) == 14  # no thumbnail
    assert {marker for marker, _ in segments[1:]} == {0xDB, 0xC0, 0xC4, 0xDA}


@pytest.mark.parametrize("value", [95, 100])
@pytest.mark.parametrize("subsampling", [420, 444])
def test_optimised_jpeg_of_noise_holds_the_same_coefficients_in_fewer_bytes(
    monkeypatch: pytest.MonkeyPatch, subsampling: int, value: int
):
    monkeypatch.setattr("PIL.ImageFile.MAXBLOCK", 65536)  # Pillow's own, whatever ran before
    pixels = noise(301, 300)
    plain = JPEG(subsampling=subsampling).encode(pixels, quality(value))
    small = JPEG(subsampling=subsampling, optimize=1).encode(pixels, quality(value))
    assert len(small) < len(plain)
    assert np.array_equal(JPEG().decode(small), JPEG().decode(plain))


@pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")
@pytest.mark.parametrize(
    ("value", "bpp", "decibel"),
    [(10, 0.32659, 26.672), (50, 0.90552, 32.174), (90, 2.34632, 38.034)],
)
def test_jpeg_on_kodak_gives_the_means_that_others_measured(value: int, bpp: float, decibel: float):
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


def test_webp_is_one_lossy_chunk(photo: Pixels):
    data = WebP().encode(photo, quality(50))
    riff, size, form, kind, chunk_size = struct.unpack_from("<4sI4s4sI", data)
    assert (riff, form, kind) == (b"RIFF", b"WEBP", b"VP8 ")
    assert len(data) == 8 + size == 20 + chunk_size
    assert struct.unpack_from("<3sHH", data, 23) == (b"\x9d\x01\x2a", 203, 181)  # RFC 6386, 9.1


def test_jpegxl_is_a_bare_codestream_with_default_metadata(photo: Pixels):
    """All default: 8-bit sRGB coded as XYB, no profile, no extra channel, no orientation."""
    data = JPEGXL().encode(photo, Setting("distance", 2))
    assert data[:2] == b"\xff\x0a"
    bits = Bits(data[2:20])
    assert bits.take(1) == 0  # sides are not given in units of 8
    assert bits.side() == 181
    assert bits.take(3) == 0  # nor is the width a ratio
    assert bits.side() == 203
    assert bits.take(1) == 1  # all default


@pytest.mark.parametrize(("control", "progression", "levels"), [("ratio", 0, 5), ("psnr", 2, 4)])
def test_jpeg2000_states_the_wavelet_and_carries_no_comment(
    photo: Pixels, control: str, progression: int, levels: int
):
    codec = JPEG2000(control=control)
    segments = codestream_segments(codec.encode(photo, codec.sweep[4]))
    assert segments.keys() == {b"\xff\x51", b"\xff\x52", b"\xff\x5c"}  # SIZ, COD, QCD
    assert struct.unpack_from(">BBHBB", segments[b"\xff\x52"])[1:] == (progression, 1, 1, levels)
    assert segments[b"\xff\x52"][9] == 0  # 9/7 irreversible


def test_jpeg2000_without_its_comment_decodes_to_the_same_pixels(photo: Pixels):
    signed = imagecodecs.jpeg2k_encode(photo, 34, codecformat="j2k", reversible=False)
    data = JPEG2000(control="psnr").encode(photo, Setting("psnr", 34))
    assert b"OpenJPEG" in signed
    assert len(signed) > len(data)
    assert np.array_equal(JPEG2000().decode(data), imagecodecs.jpeg2k_decode(signed))


@pytest.mark.parametrize("target", [28, 33.5, 40])
def test_jpeg2000_meets_the_psnr_it_is_asked_for(coffee: Pixels, target: float):
    data = JPEG2000(control="psnr").encode(coffee, Setting("psnr", target))
    assert psnr(coffee, JPEG2000().decode(data)) == pytest.approx(target, abs=0.4)


@pytest.mark.parametrize("ratio", [100, 48, 12.5])
def test_jpeg2000_meets_the_ratio_it_is_asked_for_and_wastes_nothing(coffee: Pixels, ratio: float):
    """Another way to the same bytes, a target of PSNR, is no better at them."""
    data = JPEG2000().encode(coffee, Setting("ratio", ratio))
    comment = 39  # OpenJPEG counts it, and it is removed
    assert len(data) + comment == pytest.approx(coffee.size / ratio, rel=0.02)
    quality = psnr(coffee, JPEG2000().decode(data))
    other = JPEG2000(control="psnr").encode(coffee, Setting("psnr", quality))
    assert len(data) <= 1.02 * len(other)


def test_jpeg2000_makes_the_bytes_of_pillows_openjpeg_at_a_ratio(photo: Pixels):
    """sha256 of what Pillow 12.1 with OpenJPEG 2.5.4 writes, its comment removed."""
    if "2.5.4" not in imagecodecs.jpeg2k_version():
        pytest.skip("OpenJPEG is not 2.5.4")
    data = JPEG2000().encode(photo, Setting("ratio", 20))
    assert hashlib.sha256(data).hexdigest() == PILLOWS_JPEG2000


def test_bundled_rows_of_jpeg2000_are_of_the_streams_that_it_makes():
    codec, info = JPEG2000(), JPEG2000().describe()
    rows = [row for row in bundled("sample") if row["setting_value"] in (240, 48)]
    assert len(rows) == 2 * 4
    images = {one.name: one.path for one in open_sample().images}
    for row in rows:
        pixels = read_image(images[row["image"]]).pixels
        data = codec.encode(pixels, Setting("ratio", row["setting_value"]))
        assert len(data) == pytest.approx(row["num_bytes"], rel=0.01)
        if row["fingerprint"] == info.fingerprint:  # the same wheel
            assert hashlib.sha256(data).hexdigest() == row["stream_sha256"]


def test_bundled_rows_of_jpeg2000_are_two_variants_with_a_curve_each():
    found: dict[tuple[str, str, int], set[tuple[float, str]]] = {}
    for row in bundled("kodak"):
        kind = row["variant"], row["setting_name"], row["revision"]
        found.setdefault(kind, set()).add((row["setting_value"], row["image"]))
        info = replace(JPEG2000().describe(), fingerprint=row["fingerprint"], revision=kind[2])
        spec, at = CodecSpec.of("jpeg2000", kind[0]), Setting(kind[1], row["setting_value"])
        place = row["image_sha256"], row["width_px"], row["coding_protocol"]
        assert cell_key(spec, info, at, *place) == row["cell"]
    assert {kind: len(cells) for kind, cells in found.items()} == {
        ("", "ratio", 2): 8 * 24,
        ("control=psnr", "psnr", 1): 8 * 24,
    }


def test_a_library_that_is_not_openjpeg_or_has_another_layout_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    (webp,) = imagecodecs_wheel.bundled_libraries("libwebp-")
    (openjpeg_library,) = imagecodecs_wheel.bundled_libraries("libopenjp2")
    with pytest.raises(Unavailable, match="libwebp"):
        openjpeg.open_library(webp)

    class Shifted(ctypes.Structure):
        _fields_ = [("new", ctypes.c_int), *openjpeg._Parameters._fields_]

    monkeypatch.setattr(openjpeg, "_Parameters", Shifted)
    with pytest.raises(Unavailable, match="no OpenJPEG 2"):
        openjpeg.open_library.__wrapped__(openjpeg_library)


@pytest.mark.parametrize(
    ("default", "other", "setting"),
    [
        (WebP(), WebP(method=6), quality(50)),
        (AVIF(speed=6), AVIF(speed=5), CRF),
        (JPEGXL(), JPEGXL(effort=3), Setting("distance", 2)),
    ],
    ids=["webp", "avif", "jpegxl"],
)
def test_effort_changes_the_stream_and_is_stated(
    coffee: Pixels, default: Codec, other: Codec, setting: Setting
):
    assert default.encode(coffee, setting) != other.encode(coffee, setting)
    assert default.describe().command != other.describe().command
    assert default.describe().fingerprint == other.describe().fingerprint


@pytest.mark.parametrize(
    "codec", [JPEG(), WebP(), AVIF(speed=6), JPEGXL(), JPEG2000()], ids=lambda c: c.name
)
def test_a_stream_cut_anywhere_is_refused(photo: Pixels, codec: Codec):
    data = codec.encode(photo, codec.sweep[2])
    for length in (1, 2, 12, 40, len(data) // 4, len(data) - 10, len(data) - 2, len(data) - 1):
        with pytest.raises((OSError, RuntimeError, ValueError, CorruptStream)):
            codec.decode(data[:length])


@pytest.mark.parametrize(
    ("codec", "setting"),
    [
        (Raw(), Setting("bits", 10)),
        (JPEG(), quality(0)),
        (JPEG(), quality(101)),
        (JPEG(), quality(50.5)),
        (JPEG(), Setting("effort", 5)),
        (WebP(), quality(-1)),
        (WebP(), quality(101)),
        (AVIF(), quality(50)),
        (AVIF(), Setting("crf", 64)),
        (AVIF(), Setting("crf", 7.5)),
        (JPEGXL(), Setting("distance", 0)),
        (JPEGXL(), Setting("distance", 26)),
        (JPEGXL(), quality(1)),
        (JPEG2000(), Setting("ratio", 0.5)),
        (JPEG2000(), Setting("psnr", 31)),
        (JPEG2000(control="psnr"), Setting("psnr", 0.5)),
        (JPEG2000(control="psnr"), Setting("ratio", 20)),
    ],
    ids=lambda value: (
        getattr(value, "name", None) if not isinstance(value, Setting) else str(value)
    ),
)
def test_a_setting_that_would_be_bent_silently_is_refused(
    photo: Pixels, codec: Codec, setting: Setting
):
    with pytest.raises(BadOption, match=str(setting)):
        codec.encode(photo, setting)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        (JPEG, {"subsampling": 411}),
        (JPEG, {"optimize": 2}),
        (WebP, {"method": 7}),
        (AVIF, {"speed": 7}),
        (AVIF, {"subsampling": 422}),
        (AVIF, {"depth": 12}),
        (AVIF, {"tune": "vmaf"}),
        (JPEGXL, {"effort": 0}),
    ],
)
def test_an_option_out_of_range_is_refused(codec: type, options: dict[str, int]):
    with pytest.raises(BadOption, match=str(*options.values())):
        codec(**options)


@pytest.mark.parametrize(
    ("codec", "libraries"),
    [
        (WebP, {"_webp", "libwebp", "libwebpdemux", "libsharpyuv"}),
        (JPEGXL, {"_jpegxl", "libjxl", "libjxl_cms", "libjxl_threads"}),
        (JPEG2000, {"_jpeg2k", "libopenjp2"}),
    ],
)
def test_the_fingerprint_covers_every_library_that_codes(
    monkeypatch: pytest.MonkeyPatch, codec: type, libraries: set[str]
):
    monkeypatch.setattr(imagecodecs_wheel, "files_sha256", lambda paths: [*paths])
    paths = codec().describe().fingerprint
    assert {re.split("[-.]", path.name)[0] for path in paths} == libraries
    assert len(paths) == len(libraries)


@pytest.mark.parametrize(
    ("codec", "part"),
    [(WebP, "WEBP"), (JPEGXL, "JPEGXL"), (JPEG2000, "JPEG2K")],
)
def test_a_missing_library_makes_the_codec_unavailable(
    monkeypatch: pytest.MonkeyPatch, codec: type, part: str
):
    monkeypatch.setattr(getattr(imagecodecs, part), "available", False)
    with pytest.raises(Unavailable, match=codec.name):
        codec()
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(Unavailable, match=codec.name):
        codec()


def test_importing_the_modules_imports_no_library():
    modules = ", ".join(f"baselines.{name}" for name in ("webp", "avif", "jpegxl", "jpeg2000"))
    program = f"import sys, {modules}; print('imagecodecs' in sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=900
    )
    assert finished.stdout == "False\n"
