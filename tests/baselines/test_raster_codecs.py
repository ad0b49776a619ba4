"""Raster codecs: properties of streams, read from the bytes; limits of settings; bundled rows."""

import hashlib
import re
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, features

from baselines import jpeg, raster
from baselines.jpeg import JPEG, Jpegli, MozJPEG
from baselines.raster import JPEG2000, JPEGXL, Raw, WebP
from baselines.video import AVIF, X264, X265, VVenC
from benchmark.codec import Setting
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import BadOption, CorruptStream, ImageRefused, Unavailable
from benchmark.measure.execute import execute
from benchmark.rows.schema import cell_key
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec, parse_codec
from conftest import SHARED
from support.files.boxes import boxes
from support.psnr import psnr
from support.quick import quick
from support.rows.bundled_results import bundled_results

KODAK = SHARED / "data" / "kodak"
MEANS = ((10, 0.32659, 26.672), (50, 0.90552, 32.174), (90, 2.34632, 38.034))
CRF = Setting("crf", 34)
SCAN, TILE = 0xFFDA, 0xFF90  # which end the headers of JPEG and of JPEG 2000


def quality(value: float) -> Setting:
    return Setting("quality", value)


def segments(data: bytes, last: int) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) to the last one; ITU-T T.81, annex B; ISO/IEC 15444-1, annex A."""
    start, marker = 2, 0
    while marker != last:
        marker, length = struct.unpack_from(">HH", data, start)
        yield marker, data[start + 4 : start + 2 + length]
        start += 2 + length


def test_raw_is_four_bytes_of_header_and_the_pixels_and_no_other_length_is_read():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = Raw().encode(pixels, Setting("bits", 8))
    assert data == b"\x02\x00\x01\x00\x01\x02\x03\x04\x05\x06"
    assert np.array_equal(Raw().decode(data), pixels)
    with pytest.raises(BadOption, match="65535"):
        Raw().encode(np.zeros((1, 65536, 3), np.uint8), Setting("bits", 8))
    for wrong in (data[:3], data[:-1], data + b"d", bytes(4)):  # the last has no pixel
        with pytest.raises(CorruptStream):
            Raw().decode(wrong)


@pytest.mark.parametrize(("name", "side"), [("jpeg", 65500), ("webp", 16382), ("mozjpeg", 65500)])
def test_a_side_beyond_the_format_is_refused_in_a_sentence(name, side):
    codec = load_codec(parse_codec(name))
    assert codec.encode(np.zeros((1, side, 3), np.uint8), codec.sweep[0])
    with pytest.raises(ImageRefused, match=f"{side:,} pixels .*1 x"):
        codec.encode(np.zeros((side + 1, 1, 3), np.uint8), codec.sweep[0])


def test_jpeg_is_what_pillow_saves_with_the_subsampling_and_no_segment_without_a_need(photo):
    for value in (5, 50, 95, 100):
        plain = BytesIO()
        Image.fromarray(photo).save(plain, "JPEG", quality=value)
        assert JPEG().encode(photo, quality(value)) == plain.getvalue()
    for subsampling, luma_sampling in ((420, 0x22), (422, 0x21), (444, 0x11)):
        data = JPEG(subsampling=subsampling).encode(photo, quality(50))
        frame = dict(segments(data, SCAN))[0xFFC0]
        assert struct.unpack_from(">BHHB", frame) == (8, 181, 203, 3)
        assert [frame[7], frame[10], frame[13]] == [luma_sampling, 0x11, 0x11]
    for optimize in (0, 1):
        first, *others = segments(JPEG(optimize=optimize).encode(photo, quality(50)), SCAN)
        assert (first[0], first[1][:5], len(first[1])) == (0xFFE0, b"JFIF\0", 14)  # no thumbnail
        assert {marker for marker, _ in others} == {0xFFDB, 0xFFC0, 0xFFC4, SCAN}


@pytest.mark.parametrize("value", [95, 100])
@pytest.mark.parametrize("subsampling", [420, 444])
def test_optimised_jpeg_holds_the_same_coefficients_in_fewer_bytes(monkeypatch, subsampling, value):
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
        pixels = read_image(path).pixels
        data = JPEG().encode(pixels, quality(value))
        rates.append(8 * len(data) / (768 * 512))
        qualities.append(psnr(pixels, JPEG().decode(data)))
    assert len(rates) == 24
    assert np.mean(rates) == pytest.approx(bpp, abs=0.5e-5)
    assert np.mean(qualities) == pytest.approx(decibel, abs=0.5e-3)


def test_containers_are_counted_without_what_decoding_needs(photo):
    data = WebP().encode(photo, quality(50))
    riff, size, form, kind, chunk_size = struct.unpack_from("<4sI4s4sI", data)
    assert (riff, form, kind) == (b"RIFF", b"WEBP", b"VP8 ")
    assert len(data) == 8 + size == 20 + chunk_size
    assert execute(WebP(), WebP(), "photo.png", photo, quality(50)).container_bytes == 20
    assert struct.unpack_from("<3sHH", data, 23) == (b"\x9d\x01\x2a", 203, 181)  # RFC 6386, 9.1
    codec = AVIF(speed=6)
    data = codec.encode(photo, codec.sweep[2])
    location = boxes(boxes(data)[b"meta"][4:])[b"iloc"]  # ISO/IEC 14496-12, 8.11.3, version 0
    assert location[4:8] == b"\x44\x00\x00\x01"  # offset and length in 4 bytes, one item
    start, length = struct.unpack(">II", location[-8:])
    assert start + length == len(data)
    assert codec.container_bytes(data) == len(data) - length
    assert data[start] == 0x0A  # the picture begins with a sequence header (AV1, 5.3.2)
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


@pytest.mark.parametrize(("default", "changed", "setting"), [
    (WebP(), WebP(method=6), quality(50)), (AVIF(speed=6), AVIF(speed=5), CRF),
    (AVIF(speed=6), AVIF(speed=6, tune="ssim"), CRF),
    (JPEGXL(), JPEGXL(effort=3), Setting("distance", 2)),
    (X265(preset="ultrafast"), X265(preset="veryslow"), Setting("qp", 32)),
    (VVenC(preset="faster"), VVenC(preset="medium"), Setting("qp", 32)),
], ids=["webp", "avif", "avif tune", "jpegxl", "x265", "vvenc"])  # fmt: skip
def test_effort_changes_the_stream_and_is_stated(coffee, default, changed, setting):
    crop = np.ascontiguousarray(coffee[150:214, 250:346])
    assert default.encode(crop, setting) != changed.encode(crop, setting)
    assert default.describe().command != changed.describe().command
    assert default.describe().fingerprint == changed.describe().fingerprint


@pytest.mark.parametrize("kind", [JPEG, WebP, AVIF, JPEGXL, JPEG2000])
def test_a_stream_cut_anywhere_is_refused(photo, kind):
    codec = kind()
    data = codec.encode(photo, codec.sweep[2])
    for length in (1, 2, 12, 40, len(data) // 4, len(data) - 10, len(data) - 2, len(data) - 1):
        with pytest.raises((OSError, RuntimeError, ValueError, CorruptStream)):
            codec.decode(data[:length])


@pytest.mark.parametrize(("codec", "libraries"), [
    (WebP, {"_webp", "libwebp", "libwebpdemux", "libsharpyuv"}),
    (JPEGXL, {"_jpegxl", "libjxl", "libjxl_cms", "libjxl_threads"}),
    (lambda: JPEG2000(control="psnr"), {"_jpeg2k", "libopenjp2"}),
])  # fmt: skip
def test_the_fingerprint_covers_every_library_that_codes(monkeypatch, codec, libraries):
    monkeypatch.setattr(raster, "files_sha256", lambda paths: [*paths])
    paths = codec().describe().fingerprint
    assert {re.split("[-.]", path.name)[0] for path in paths} == libraries
    assert len(paths) == len(libraries)


@pytest.mark.parametrize(("codec", "package"), [
    (Jpegli, "pyjpegli"), (MozJPEG, "_libvips"), (MozJPEG, "pyvips"),
    *((codec, "imagecodecs") for codec in (WebP, JPEGXL, JPEG2000)),
])  # fmt: skip
def test_a_missing_package_or_library_makes_the_codec_unavailable(monkeypatch, codec, package):
    if package == "imagecodecs":
        part = {WebP: "WEBP", JPEGXL: "JPEGXL", JPEG2000: "JPEG2K"}[codec]
        monkeypatch.setattr(getattr(imagecodecs, part), "available", False)
        with pytest.raises(Unavailable, match=codec.name):
            codec()
    monkeypatch.setitem(sys.modules, package, None)
    jpeg._load_libvips.cache_clear()
    with pytest.raises(Unavailable, match=rf"\b{codec.name}\b"):
        codec()


@pytest.mark.parametrize(("codec", "header"), [
    (JPEGXL(), 0), (JPEG2000(), 0), (VVenC(preset="faster"), 1), (X265(preset="fast"), 3),
    (X264(), 3),
], ids=["jpegxl", "jpeg2000", "vvenc", "x265", "x264"])  # fmt: skip
def test_bare_streams_have_only_what_the_adapter_adds(photo, codec, header):
    """A codestream begins with its marker, video with a start code (Annex B)."""
    data = codec.encode(photo, codec.sweep[2])
    beginning = {0: (b"\xff\x0a", b"\xff\x4f"), 1: (b"\0\0\0\1",), 3: (b"\0\0\0\1",)}[header]
    assert codec.container_bytes(data) == header
    assert data[header:].startswith(beginning)


BASELINE, PROGRESSIVE = b"\xff\xc0", b"\xff\xc2"
ROBIDOUX = 16  # the smallest entry of ImageMagick's table, which is mozjpeg's third


def luma_table(data: bytes) -> list[int]:
    with Image.open(BytesIO(data)) as image:
        return list(image.quantization[0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(("codec", "frame", "sampling"), [
    (Jpegli(), BASELINE, 0x22), (MozJPEG(), PROGRESSIVE, 0x22),
    (MozJPEG(subsampling=444), PROGRESSIVE, 0x11),
], ids=["jpegli", "mozjpeg", "mozjpeg 4:4:4"])  # fmt: skip
def test_the_stream_has_the_stated_format(photo, codec, frame, sampling):
    data = codec.encode(photo, quality(50))
    position = data.index(frame)
    assert data[position + 4] == 8  # bits per sample; ITU-T T.81, B.2.2
    assert data[position + 11] == sampling
    assert b"JFIF" not in data
    assert codec.describe().chroma == ("4:2:0" if sampling == 0x22 else "4:4:4")


def test_mozjpeg_encodes_by_its_trellis_with_the_table_asked_for(photo):
    assert {*luma_table(MozJPEG(table=1).encode(photo, quality(50)))} == {16}
    assert min(luma_table(MozJPEG().encode(photo, quality(50)))) == ROBIDOUX
    lossless = BytesIO()
    Image.fromarray(photo).save(lossless, "JPEG", quality=50, progressive=True, optimize=True)
    data = MozJPEG(table=0).encode(photo, quality(50))
    assert luma_table(data) == luma_table(lossless.getvalue())  # as JPEG's at its quality
    assert len(data) < 0.95 * len(lossless.getvalue())
    assert MozJPEG().describe().version.startswith("mozjpeg 5.")


def test_jpegli_has_tables_of_its_own_and_no_application_segment(photo):
    data = Jpegli().encode(photo, quality(75))
    assert luma_table(data) != luma_table(JPEG().encode(photo, quality(75)))
    assert Jpegli().container_bytes(data) == MozJPEG().container_bytes(data) == 0
    assert psnr(photo, Jpegli().decode(data)) > 30
    assert re.match(r"pyjpegli \d+\.\d+\S*, .* libjpeg", Jpegli().describe().version)


@pytest.mark.parametrize("present", [False, True])
def test_a_libvips_of_the_system_is_not_taken_for_one_with_mozjpeg(monkeypatch, tmp_path, present):
    elsewhere = SimpleNamespace(origin=str(tmp_path / "_libvips.so"))
    if present:
        (tmp_path / "pyvips_binary.libs").mkdir()
        (tmp_path / "pyvips_binary.libs" / "libvips-1.so").touch()
    monkeypatch.setattr(jpeg, "find_spec", lambda name: elsewhere)
    jpeg._load_libvips.cache_clear()
    with pytest.raises(Unavailable, match="pyvips-binary"):
        MozJPEG()


def test_a_large_jpeg_is_decoded_without_a_warning(monkeypatch, photo):
    """Pillow warns above `MAX_IMAGE_PIXELS`, and refuses above twice that."""
    data, pixels = JPEG().encode(photo, quality(50)), photo.shape[0] * photo.shape[1]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels - 1)
    assert JPEG().decode(data).shape == photo.shape
    assert JPEG().setting_of(data) == quality(50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels // 3)
    with pytest.raises(Image.DecompressionBombError):
        JPEG().decode(data)


def bundled(dataset: str) -> list[dict[str, Any]]:
    rows = Store(bundled_results() / dataset).versions(bundled=True)
    return [row for row in rows.rows(named=True) if row["codec"] == "jpeg2000"]


@pytest.mark.parametrize(("control", "progression", "levels"), [("ratio", 0, 5), ("psnr", 2, 4)])
def test_jpeg2000_states_the_wavelet_and_carries_no_comment(photo, control, progression, levels):
    codec = JPEG2000(control=control)
    contents = dict(segments(codec.encode(photo, codec.sweep[4]), TILE))
    assert contents.keys() == {0xFF51, 0xFF52, 0xFF5C, TILE}  # SIZ, COD, QCD
    assert struct.unpack_from(">BBHBB", contents[0xFF52])[1:] == (progression, 1, 1, levels)
    assert contents[0xFF52][9] == 0  # 9/7 irreversible


def test_jpeg2000_without_its_comment_decodes_to_the_same_pixels(photo):
    signed = imagecodecs.jpeg2k_encode(photo, 34, codecformat="j2k", reversible=False)
    data = JPEG2000(control="psnr").encode(photo, Setting("psnr", 34))
    assert b"OpenJPEG" in signed
    assert len(signed) > len(data)
    assert np.array_equal(JPEG2000().decode(data), imagecodecs.jpeg2k_decode(signed))


def test_jpeg2000_meets_the_psnr_or_the_ratio_it_is_asked_for_and_wastes_nothing(coffee):
    by_ratio, by_psnr = JPEG2000(), JPEG2000(control="psnr")
    for target in (28, 33.5, 40):
        data = by_psnr.encode(coffee, Setting("psnr", target))
        assert psnr(coffee, by_ratio.decode(data)) == pytest.approx(target, abs=0.4)
    for ratio in (100, 48, 12.5):
        data = by_ratio.encode(coffee, Setting("ratio", ratio))
        comment = 39  # OpenJPEG counts it, and it is removed
        assert len(data) + comment == pytest.approx(coffee.size / ratio, rel=0.02)
        # Another way to the same bytes, a target of PSNR, is no better at them.
        quality = psnr(coffee, by_ratio.decode(data))
        assert len(data) <= 1.02 * len(by_psnr.encode(coffee, Setting("psnr", quality)))


def test_bundled_rows_of_jpeg2000_are_of_the_streams_that_it_makes():
    rows = [row for row in bundled("sample") if row["setting_value"] in (240, 48)]
    assert len(rows) == 2 * 4
    images = {image.name: image.path for image in open_sample().images}
    for row in rows:
        setting = Setting("ratio", row["setting_value"])
        data = JPEG2000().encode(read_image(images[row["image"]]).pixels, setting)
        assert len(data) == pytest.approx(row["num_bytes"], rel=0.01)
        if features.version("jpg_2000") == "2.5.4":  # which made the rows
            assert hashlib.sha256(data).hexdigest() == row["stream_sha256"]


def test_bundled_rows_of_jpeg2000_are_two_variants_with_a_curve_each():
    cells, info = set(), JPEG2000().describe()
    for row in bundled("kodak"):
        variant, name, revision = kind = row["variant"], row["setting_name"], row["revision"]
        cells.add((kind, row["setting_value"], row["image"]))
        own = replace(info, fingerprint=row["fingerprint"], revision=revision)
        spec, setting = CodecSpec.parse("jpeg2000", variant), Setting(name, row["setting_value"])
        place = row["image_sha256"], row["width_px"], row["coding_protocol"]
        assert cell_key(spec, own, setting, *place) == row["cell"]
    counts = Counter(kind for kind, *_ in cells)
    assert counts == {("", "ratio", 2): 8 * 24, ("control=psnr", "psnr", 1): 8 * 24}


def test_jpeg2000_is_of_two_packages_one_of_which_may_be_absent(monkeypatch, photo):
    monkeypatch.setattr(raster, "files_sha256", lambda paths: [*paths])
    folders = [path.parent.name for path in JPEG2000().describe().fingerprint]
    assert set(folders) == {"PIL", "pillow.libs", "imagecodecs", "imagecodecs.libs"}
    monkeypatch.setattr(features, "version", lambda name: None)
    for attempt in (JPEG2000().describe, lambda: JPEG2000().encode(photo, Setting("ratio", 20))):
        with pytest.raises(Unavailable, match="jpeg2000:control=psnr"):
            attempt()
    by_psnr = JPEG2000(control="psnr")
    assert by_psnr.describe().fingerprint
    assert by_psnr.encode(photo, Setting("psnr", 30))
