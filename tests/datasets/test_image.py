"""Image files of every kind, made here and read to the exact pixels."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, features

from benchmark.codec import Pixels
from benchmark.datasets.image import read_image
from support.files.image_files import LOSSLESS, pillow, plain_rows, png, tiff, webp


@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_file_gives_the_pixels_that_went_in(form, photo, write):
    result = read_image(write("photo.bin", LOSSLESS[form](photo)))
    assert np.array_equal(result.pixels, photo)
    assert not result.lossy
    assert result.pixels.flags.c_contiguous
    assert result.pixels.flags.writeable
    for shape in ((1, 1, 3), (1, 7, 3), (7, 1, 3)):
        pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        assert np.array_equal(read_image(write("tiny.bin", LOSSLESS[form](pixels))).pixels, pixels)


def pillows(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("options", [{}, {"progressive": True, "subsampling": "4:4:4"}])
def test_jpeg_gives_pillows_pixels_and_is_marked(options, photo, write):
    path = write("photo.jpg", pillow(Image.fromarray(photo), "JPEG", quality=90, **options))
    result = read_image(str(path))
    assert np.array_equal(result.pixels, pillows(path))
    assert result.lossy


def test_jpeg_inside_tiff_gives_the_same_pixels_and_is_marked(photo, write):
    path = write("photo.tif", tiff(photo, photometric="ycbcr", compression="jpeg"))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        (start,), (length,) = page.dataoffsets, page.databytecounts
    result = read_image(path)
    alone = write("alone.jpg", path.read_bytes()[start : start + length])
    assert np.array_equal(result.pixels, pillows(alone))
    assert result.lossy


@pytest.mark.parametrize("chunks", [[], [b"EXIFMM\0*"]])
def test_lossy_webp_is_marked(chunks, photo, write):
    path = write("photo.webp", webp(photo, False, *chunks))
    result = read_image(path)
    assert result.pixels.shape == photo.shape
    assert result.lossy
    if features.check("webp"):
        assert np.array_equal(result.pixels, pillows(path))
    lossless = read_image(write("photo.webp", webp(photo, True, *chunks)))
    assert (np.array_equal(lossless.pixels, photo), lossless.lossy) == (True, False)


def test_webp_and_tiff_are_read_without_pillows_plugins(photo, write, monkeypatch):
    files = [write(form, LOSSLESS[form](photo)) for form in ("WebP", "TIFF, LZW")]
    monkeypatch.setattr(Image, "OPEN", {})
    monkeypatch.delattr(Image.core, "libtiff_decoder", raising=False)
    monkeypatch.setitem(sys.modules, "PIL._webp", None)
    for path in files:
        assert np.array_equal(read_image(path).pixels, photo)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_turned_photograph_is_turned_upright(form, orientation, photo, write):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write("turned.bin", pillow(Image.fromarray(photo[:16, :24]), form, exif=exif))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    pixels = read_image(path).pixels
    assert np.array_equal(pixels, expected)
    assert pixels.flags.c_contiguous


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TURN = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"


def raw_profile(content):
    digits = content.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return "\n".join(["", "profile", f"{len(content):8}", *lines, ""])


@pytest.mark.parametrize("texts", [
    {"XML:com.adobe.xmp": XMP},
    {"Raw profile type exif": raw_profile(b"Exif\0\0" + TURN)},
    {"Raw profile type APP1": raw_profile(b"Exif\0\0" + TURN)},
    {"Raw profile type xmp": raw_profile(XMP.encode())},
])  # fmt: skip
def test_a_png_is_turned_upright_by_xmp_and_by_raw_profiles(texts, photo, write):
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        (chunks.add_itxt if name.startswith("XML") else chunks.add_text)(name, text)
    path = write("turned.png", pillow(Image.fromarray(photo), "PNG", pnginfo=chunks))
    assert np.array_equal(read_image(path).pixels, np.rot90(photo, -1))
    spoilt = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        spoilt.add_text(name, text.replace("6", "z"))
    path = write("odd.png", pillow(Image.fromarray(photo), "PNG", pnginfo=spoilt))
    assert np.array_equal(read_image(path).pixels, photo)


def test_jpeg_webp_and_tiff_are_turned_upright_by_exif_or_xmp(photo, write):
    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.fromarray(photo)
    for turned, turns in (({}, -1), ({"exif": exif}, 2)):
        options = {"quality": 100, "subsampling": 0, "xmp": XMP.encode(), **turned}
        path = write("a.jpg", pillow(image, "JPEG", **options))
        assert np.abs(read_image(path).pixels.astype(int) - np.rot90(photo, turns)).mean() < 3
    turns_of_webp = (b"XMP " + XMP.encode(), 4), (b"EXIF" + TURN, 8), (b"EXIFExif\0\0" + TURN, 8)
    for chunk, flags in turns_of_webp:
        path = write("a.webp", webp(photo, True, chunk, flags=flags))
        assert np.array_equal(read_image(path).pixels, np.rot90(photo, -1))
    for tags, turns in (({}, -1), ({0x0112: 3}, 2)):
        path = write("a.tif", pillow(image, "TIFF", tiffinfo={700: XMP.encode(), **tags}))
        assert np.array_equal(read_image(path).pixels, np.rot90(photo, turns))


def test_neither_a_profile_nor_an_unreadable_exif_block_changes_a_pixel(photo, write):
    blocks = b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0II*\0\x08\0\0\0\x01", b"Exif\0\0nonsense"
    for options in ({"icc_profile": bytes(128)}, *({"exif": exif} for exif in blocks)):
        path = write("odd.png", pillow(Image.fromarray(photo), "PNG", **options))
        assert (b"iCCP" if "icc_profile" in options else b"eXIf") in path.read_bytes()
        assert np.array_equal(read_image(path).pixels, photo)


@pytest.mark.parametrize(("mode", "form"), [
    *(("L", form) for form in ("PNG", "JPEG", "PPM", "TIFF")),
    *(("1", form) for form in ("PNG", "PPM", "TIFF")), *(("P", form) for form in ("PNG", "TIFF")),
])  # fmt: skip
def test_grey_black_and_white_and_palettes_become_their_colours(mode, form, photo, write):
    picture = Image.fromarray(photo)
    picture = picture.quantize(64) if mode == "P" else picture.convert(mode)
    path = write("picture.bin", pillow(picture, form))
    expected = pillows(path) if form == "JPEG" else np.asarray(picture.convert("RGB"))
    assert np.array_equal(read_image(path).pixels, expected)


def test_few_bits_are_stretched_to_the_full_range(write):
    rows = b"\0\x1b"  # four samples of two bits: 0, 1, 2, 3
    expected = [0, 85, 170, 255]
    assert read_image(write("2.png", png(4, 1, 2, 0, rows))).pixels[0, :, 0].tolist() == expected
    assert read_image(write("2.pgm", b"P5\n4 1\n3\n\0\1\2\3")).pixels[0, :, 0].tolist() == expected
    for bits, packed in ((2, [0x1B]), (4, [0x05, 0xAF])):
        stream = tiff(np.uint8([packed]), photometric="minisblack")
        width = struct.pack("<HHII", 256, 4, 1, len(packed))
        stream = stream.replace(width, struct.pack("<HHII", 256, 4, 1, 4))
        depth = struct.pack("<HHIH", 258, 3, 1, 8)
        stream = stream.replace(depth, struct.pack("<HHIH", 258, 3, 1, bits))
        assert read_image(write("2.tif", stream)).pixels[0, :, 0].tolist() == expected


def test_tiff_with_white_as_zero_is_turned_round(photo, write):
    path = write("white.tif", tiff(255 - photo[..., 0], photometric="miniswhite"))
    assert np.array_equal(read_image(path).pixels[..., 2], photo[..., 0])


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("white", [0, 1])
def test_fax_in_tiff_is_read(photo, write, compression, white):
    black_or_white = photo[:, :, 0] > 128
    options = {"compression": compression, "tiffinfo": {262: white}}
    result = read_image(write("a.tif", pillow(Image.fromarray(black_or_white), "TIFF", **options)))
    assert np.array_equal(result.pixels[:, :, 1], 255 * black_or_white.astype(np.uint8))
    assert not result.lossy


def profile_of(red):
    """sRGB's ICC profile with another red, X, Y and Z under D50."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    tags = [struct.unpack_from(">4sII", data, 132 + 12 * number) for number in range(count)]
    (position,) = (position for tag, position, _ in tags if tag == b"rXYZ")
    struct.pack_into(">3i", data, position + 8, *(round(65536 * value) for value in red))
    return bytes(data)


SRGB, ADOBE, P3 = (0.436, 0.2225, 0.0139), (0.6097, 0.3111, 0.0195), (0.5151, 0.2412, -0.0011)


@pytest.mark.parametrize(("red", "wide"), [(SRGB, False), (ADOBE, True), (P3, True)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WebP"])
def test_a_profile_of_other_primaries_is_said_and_changes_no_pixel(red, wide, form, photo, write):
    image, profile = Image.fromarray(photo), profile_of(red)
    if form == "WebP":
        path = write("photo.webp", webp(photo, True, b"ICCP" + profile))
    else:
        path = write(f"photo.{form}", pillow(image, form, icc_profile=profile))
    result = read_image(path)
    assert bool(result.colours) == wide
    if form != "JPEG":
        assert np.array_equal(result.pixels, photo)


@pytest.mark.parametrize(("numbers", "name"), [
    ((1, 13), ""), ((9, 16), "PQ"), ((9, 18), "HLG"), ((12, 13), "Display P3"), ((2, 2), ""),
])  # fmt: skip
def test_a_png_says_its_colours_by_number(numbers, name, photo, write):
    height, width, _ = photo.shape
    data = png(width, height, 8, 2, plain_rows(photo), b"cICP" + bytes([*numbers, 0, 1]))
    result = read_image(write("photo.png", data))
    assert (result.colours, np.array_equal(result.pixels, photo)) == (name, True)


@pytest.mark.parametrize("profile", [b"", b"x" * 20, b"\xff" * 140, b"\xff" * 4000])
def test_a_profile_that_is_none_says_nothing(profile, photo, write):
    result = read_image(write("a.jpg", pillow(Image.fromarray(photo), "JPEG", icc_profile=profile)))
    assert result.colours == ""
