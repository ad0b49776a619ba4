"""Image files of every kind, made here: read to the exact pixels, or refused by name."""

import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, features

from benchmark.codec import Pixels
from benchmark.datasets import image as module
from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused
from conftest import SHARED


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def pillow(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def tiff(samples: Any, **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, samples, **options)
    return stream.getvalue()


def webp(samples: Any, lossless: bool = True, *more: bytes, flags: int = 0) -> bytes:
    """A WebP file: the plain form, or the extended one with chunks of `more` after the pixels."""
    level = None if lossless else 90
    stream: bytes = imagecodecs.webp_encode(samples, level=level, lossless=lossless)
    if not (more or flags):
        return stream

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    height, width, _ = samples.shape
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    start = stream.index(b"VP8")
    body = b"WEBP" + chunk(b"VP8X", struct.pack("<I", flags) + canvas) + stream[start:]
    body += b"".join(chunk(one[:4], one[4:]) for one in more)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file from the specification alone, chunks of `more` before the pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(one[:4], one[4:]) for one in more)]
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def tiff_with_tags_last(pixels: Pixels, depths: tuple[int, int, int] = (8, 8, 8)) -> bytes:
    """Write a TIFF as libtiff does: pixels, then the tags, then the three samples' depths."""
    height, width, _ = pixels.shape
    start = 8 + pixels.size
    tags = [(256, width), (257, height), (258, 0), (259, 1), (262, 2), (273, 8), (277, 3)]
    tags += [(278, height), (279, pixels.size)]
    at = start + 2 + 12 * len(tags) + 4
    entries = [
        struct.pack("<HHII", 258, 3, 3, at)
        if tag == 258
        else struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in tags
    ]
    listed = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + pixels.tobytes()
        + listed
        + struct.pack("<HHH", *depths)
    )


def plain_rows(pixels: Pixels) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


LOSSLESS = {
    "PNG": lambda p: pillow(Image.fromarray(p), "PNG"),
    "PNG by hand": lambda p: png(p.shape[1], p.shape[0], 8, 2, plain_rows(p)),
    "PPM": lambda p: pillow(Image.fromarray(p), "PPM"),
    "plain PPM": lambda p: (
        b"P3 # a comment\n%d %d\n255\n" % (p.shape[1], p.shape[0])
        + b" ".join(b"%d" % sample for sample in p.ravel().tolist())
        + b"\n"
    ),
    "WebP": webp,
    "TIFF": lambda p: tiff(p, photometric="rgb"),
    "TIFF of Pillow": lambda p: pillow(Image.fromarray(p), "TIFF"),
    "TIFF, LZW": lambda p: tiff(p, photometric="rgb", compression="lzw"),
    "TIFF, zip": lambda p: tiff(p, photometric="rgb", compression="zlib", predictor=True),
    "TIFF, tiles": lambda p: tiff(p, photometric="rgb", tile=(64, 64)),
    "TIFF, planes": lambda p: tiff(
        np.moveaxis(p, 2, 0), photometric="rgb", planarconfig="separate"
    ),
    "TIFF, tags last": tiff_with_tags_last,
    "BigTIFF": lambda p: tiff(p, photometric="rgb", bigtiff=True),
    "TIFF, big-endian": lambda p: tiff(p, photometric="rgb", byteorder=">"),
}


@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_file_gives_the_pixels_that_went_in(form, photo, write):
    found = read_image(write("photo.bin", LOSSLESS[form](photo)))
    assert np.array_equal(found.pixels, photo)
    assert not found.lossy


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (7, 1, 3)])
def test_a_tiny_image_keeps_its_shape(form, shape, write):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert np.array_equal(read_image(write("tiny.bin", LOSSLESS[form](pixels))).pixels, pixels)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WebP"])
def test_the_pixels_are_the_callers_own(form, photo, write):
    pixels = read_image(write("photo.bin", LOSSLESS[form](photo))).pixels
    assert (pixels.dtype, pixels.shape) == (np.uint8, photo.shape)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


def pillows(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("options", [{}, {"progressive": True, "subsampling": "4:4:4"}])
def test_jpeg_gives_pillows_pixels_and_is_marked(options, photo, write):
    path = write("photo.jpg", pillow(Image.fromarray(photo), "JPEG", quality=90, **options))
    found = read_image(str(path))
    assert np.array_equal(found.pixels, pillows(path))
    assert found.lossy


def test_jpeg_inside_tiff_gives_the_same_pixels_and_is_marked(photo, write):
    path = write("photo.tif", tiff(photo, photometric="ycbcr", compression="jpeg"))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        (start,), (length,) = page.dataoffsets, page.databytecounts
    found = read_image(path)
    alone = write("alone.jpg", path.read_bytes()[start : start + length])
    assert np.array_equal(found.pixels, pillows(alone))
    assert found.lossy


@pytest.mark.parametrize("more", [[], [b"EXIFMM\0*"]])
def test_lossy_webp_is_marked(more, photo, write):
    path = write("photo.webp", webp(photo, False, *more))
    found = read_image(path)
    assert found.pixels.shape == photo.shape
    assert found.lossy
    if features.check("webp"):
        assert np.array_equal(found.pixels, pillows(path))


def test_extended_webp_without_loss_is_not_marked(photo, write):
    found = read_image(write("photo.webp", webp(photo, True, b"EXIFMM\0*")))
    assert np.array_equal(found.pixels, photo)
    assert not found.lossy


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
    stream = pillow(Image.fromarray(photo[:16, :24]), form, exif=exif)
    path = write("turned.bin", stream)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    pixels = read_image(path).pixels
    assert np.array_equal(pixels, expected)
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_a_turned_webp_is_turned_upright(prefix, photo, write):
    quarter_turn = prefix + b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    path = write("turned.webp", webp(photo, True, b"EXIF" + quarter_turn, flags=8))
    assert np.array_equal(read_image(path).pixels, np.rot90(photo, -1))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0II*\0\x08\0\0\0\x01", b"Exif\0\0nonsense"]
)
def test_an_exif_block_that_cannot_be_read_turns_nothing(exif, photo, write):
    path = write("odd.png", pillow(Image.fromarray(photo), "PNG", exif=exif))
    assert np.array_equal(read_image(path).pixels, photo)


def test_a_colour_profile_changes_no_pixel(photo, write):
    picture, profile = Image.fromarray(photo), bytes(128)
    path = write("profile.png", pillow(picture, "PNG", icc_profile=profile))
    assert b"iCCP" in path.read_bytes()
    assert np.array_equal(read_image(path).pixels, photo)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "PPM", "TIFF"])
def test_grey_becomes_three_equal_channels(form, photo, write):
    path = write("grey.bin", pillow(Image.fromarray(photo).convert("L"), form))
    pixels = read_image(path).pixels
    with Image.open(path) as image:
        assert np.array_equal(pixels, np.asarray(image)[..., np.newaxis].repeat(3, axis=2))


@pytest.mark.parametrize("form", ["PNG", "PPM", "TIFF"])
def test_black_and_white_becomes_0_and_255(form, photo, write):
    bitmap = Image.fromarray(photo).convert("1")
    pixels = read_image(write("bitmap.bin", pillow(bitmap, form))).pixels
    assert np.array_equal(pixels[..., 1], np.asarray(bitmap) * np.uint8(255))


def test_few_bits_are_stretched_to_the_full_range(write):
    rows = b"\0\x1b"  # four samples of two bits: 0, 1, 2, 3
    expected = [0, 85, 170, 255]
    assert read_image(write("2.png", png(4, 1, 2, 0, rows))).pixels[0, :, 0].tolist() == expected
    maximum_3 = b"P5\n4 1\n3\n\0\1\2\3"
    assert read_image(write("2.pgm", maximum_3)).pixels[0, :, 0].tolist() == expected


def test_tiff_with_white_as_zero_is_turned_round(photo, write):
    path = write("white.tif", tiff(255 - photo[..., 0], photometric="miniswhite"))
    assert np.array_equal(read_image(path).pixels[..., 2], photo[..., 0])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_a_palette_becomes_its_colours(form, photo, write):
    palette = Image.fromarray(photo).quantize(64)
    found = read_image(write("palette.bin", pillow(palette, form)))
    assert np.array_equal(found.pixels, np.asarray(palette.convert("RGB")))


def with_alpha(photo: Pixels, alpha: Any) -> Image.Image:
    channel = np.broadcast_to(np.uint8(alpha), photo.shape[:2])[..., np.newaxis]
    return Image.fromarray(np.concatenate([photo, channel], axis=2))


TRANSPARENT = {
    "PNG": lambda p, a: pillow(with_alpha(p, a), "PNG"),
    "WebP": lambda p, a: webp(np.array(with_alpha(p, a))),
    "TIFF": lambda p, a: pillow(with_alpha(p, a), "TIFF"),
}


@pytest.mark.parametrize("form", TRANSPARENT)
def test_transparency_is_refused_unless_it_is_laid_over_white(form, photo, write):
    path = write("alpha.bin", TRANSPARENT[form](photo, 128))
    with pytest.raises(ImageRefused, match=r"^alpha\.bin has transparent pixels.*--flatten"):
        read_image(path)
    exact = photo * (128 / 255) + 255 * (127 / 255)
    assert np.array_equal(read_image(path, flatten=True).pixels, np.floor(exact + 0.5))


@pytest.mark.parametrize("form", TRANSPARENT)
def test_an_alpha_channel_that_hides_nothing_is_dropped(form, photo, write):
    path = write("opaque.bin", TRANSPARENT[form](photo, 255))
    assert np.array_equal(read_image(path).pixels, photo)


def test_one_pixel_that_is_not_opaque_is_enough_to_refuse(photo, write):
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[-1, -1] = 254
    with pytest.raises(ImageRefused, match="transparent"):
        read_image(write("alpha.png", TRANSPARENT["PNG"](photo, alpha)))


@pytest.mark.parametrize("colour", [0, 2, 3])
def test_a_transparent_colour_counts_as_alpha(colour, write):
    chunks = {
        0: [b"tRNS\0\x07"],
        2: [b"tRNS\0\x07\0\x07\0\x07"],
        3: [b"PLTE" + bytes(24), b"tRNS" + b"\xff" * 7 + b"\0"],
    }
    rows = b"\0" + bytes([7] * (3 if colour == 2 else 1))
    path = write("key.png", png(1, 1, 8, colour, rows, *chunks[colour]))
    with pytest.raises(ImageRefused, match="transparent"):
        read_image(path)
    assert read_image(path, flatten=True).pixels.tolist() == [[[255, 255, 255]]]


def test_colours_that_were_multiplied_by_alpha_are_laid_over_white_once(write):
    half_red = np.uint8([[[128, 0, 0, 128]]])
    path = write("a.tif", tiff(half_red, photometric="rgb", extrasamples=["assocalpha"]))
    assert read_image(path, flatten=True).pixels.tolist() == [[[255, 127, 127]]]


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_refused_unless_it_is_flattened(form, photo, write):
    path = write("ink.bin", pillow(Image.fromarray(photo).convert("CMYK"), form))
    with pytest.raises(ImageRefused, match=r"^ink\.bin is CMYK.*--flatten"):
        read_image(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(read_image(path, flatten=True).pixels, expected)


DEEP = {
    "grey PNG": lambda: png(1, 1, 16, 0, b"\0\1\2"),
    "RGB PNG": lambda: png(1, 1, 16, 2, b"\0\1\2\3\4\5\6"),
    "RGBA PNG": lambda: png(1, 1, 16, 6, b"\0\1\2\3\4\5\6\xff\xff"),
    "PPM": lambda: b"P6\n1 1\n65535\n\1\2\3\4\5\6",
    "PPM, 9 bits": lambda: b"P6\n1 1\n256\n\1\2\1\2\1\2",
    "PGM": lambda: b"P5 1 1\n# deep\n1023 \1\2",
    "plain PPM": lambda: b"P3 1 1 65535 1 2 3\n",
    "grey TIFF": lambda: tiff(np.zeros((2, 2), np.uint16), photometric="minisblack"),
    "RGB TIFF": lambda: tiff(np.zeros((2, 2, 3), np.uint16), photometric="rgb"),
    "TIFF, 5, 6 and 5 bits": lambda: tiff_with_tags_last(
        np.zeros((2, 2, 3), np.uint8), depths=(5, 6, 5)
    ),
    "float TIFF": lambda: tiff(np.zeros((2, 2, 3), np.float32), photometric="rgb"),
    "signed TIFF": lambda: tiff(np.zeros((2, 2, 3), np.int8), photometric="rgb"),
}


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("form", DEEP)
def test_more_than_8_bits_are_refused_and_never_cut(form, flatten, write):
    with pytest.raises(ImageRefused, match=r"^deep\.bin has samples of .* bits"):
        read_image(write("deep.bin", DEEP[form]()), flatten)


def animation(photo: Pixels, form: str) -> bytes:
    if form == "WEBP":
        return webp(photo, flags=2)
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    return pillow(frames[0], form, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("form", "reason"), [("PNG", "animation"), ("WEBP", "animation"), ("TIFF", "2 pages")]
)
def test_several_frames_or_pages_are_refused(form, reason, photo, write):
    with pytest.raises(ImageRefused, match=rf"^many\.bin .*{reason}"):
        read_image(write("many.bin", animation(photo, form)))


def test_the_first_picture_of_a_multi_picture_jpeg_is_taken(photo, write):
    path = write("phone.jpg", animation(photo, "MPO"))
    alone = write("alone.jpg", pillow(Image.fromarray(photo), "JPEG"))
    assert np.array_equal(read_image(path).pixels, read_image(alone).pixels)


BOMBS = {
    "PNG": png(20000, 20000, 8, 0, b""),
    "PPM": b"P6 20000 20000 255\n",
    "WebP, VP8L": b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0",
    "WebP, VP8": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
    "WebP, VP8X": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\0\xff\xff\0",
}


@pytest.mark.parametrize("form", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(form, write):
    with pytest.raises(ImageRefused, match=r"^bomb\.bin has \d+ x \d+ pixels, more than"):
        read_image(write("bomb.bin", BOMBS[form]))


def test_a_tiff_bomb_is_refused_before_it_is_decoded(write):
    stream = bytearray(tiff(np.zeros((1, 1, 3), np.uint8), photometric="rgb"))
    for tag in (256, 257):  # width and height: one number of type LONG
        entry = bytes(stream).index(struct.pack("<HHII", tag, 4, 1, 1))
        struct.pack_into("<I", stream, entry + 8, 60000)
    with pytest.raises(ImageRefused, match="60000 x 60000 pixels"):
        read_image(write("bomb.tif", bytes(stream)))


def test_an_image_of_exactly_the_limit_is_read(monkeypatch, photo, write):
    path = write("photo.png", LOSSLESS["PNG"](photo))
    monkeypatch.setattr(module, "MOST_PIXELS", photo.shape[0] * photo.shape[1])
    assert np.array_equal(read_image(path).pixels, photo)
    monkeypatch.setattr(module, "MOST_PIXELS", photo.shape[0] * photo.shape[1] - 1)
    with pytest.raises(ImageRefused, match="203 x 181 pixels, more than the 36742 allowed"):
        read_image(path)


def test_a_file_larger_than_any_image_is_not_even_read(monkeypatch, write):
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 9)
    with pytest.raises(ImageRefused, match="has 10 bytes"):
        read_image(write("huge.ppm", bytes(10)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is not a PNG, JPEG, WebP, TIFF or PPM file"),
        (b"\x89PNG\r\n\x1a\n", "is not a PNG"),
        (b"P6 0 5 255\n", "cannot be decoded"),
        (b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\0\0\0\0", "has no pixels"),
        (b"P6 1 1\n", "no PPM header"),
        (b"\xff\xd8\xff\xe0", "damaged or truncated"),
    ],
)
def test_what_is_no_image_is_refused_with_its_name(data, reason, write):
    with pytest.raises(ImageRefused, match=rf"^odd\.png .*{reason}"):
        read_image(write("odd.png", data))


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for name in (".", "missing.png"):
        with pytest.raises(ImageRefused, match="is not a file"):
            read_image(tmp_path / name)


def test_a_refusal_is_one_printable_line(write):
    with pytest.raises(ImageRefused) as refusal:
        read_image(write("two\nlines\udcff.png", b""))
    assert str(refusal.value) == r"'two\nlines\udcff.png' is empty"


CUT = {
    **{form: make for form, make in LOSSLESS.items() if "plain" not in form},
    "JPEG": lambda p: pillow(Image.fromarray(p), "JPEG"),
    "progressive JPEG": lambda p: pillow(Image.fromarray(p), "JPEG", progressive=True),
    "lossy WebP": lambda p: webp(p, False),
    "JPEG in TIFF": lambda p: tiff(p, photometric="ycbcr", compression="jpeg"),
}


@pytest.mark.parametrize("form", CUT)
def test_a_file_cut_anywhere_is_refused_or_whole(form, photo, write):
    stream = CUT[form](photo[:20, :30])
    whole = read_image(write("whole.bin", stream)).pixels
    refused = 0
    for length in range(0, len(stream), 7):
        path = write("cut.bin", stream[:length])
        try:
            found = read_image(path).pixels
        except ImageRefused:
            refused += 1
        else:
            assert np.array_equal(found, whole)
    assert refused >= len(range(0, len(stream), 7)) - 5  # PNG's last chunk, say, holds no pixel


def test_a_tiff_without_its_pixels_is_not_a_black_picture(photo, write):
    whole = tiff_with_tags_last(photo)
    none = whole.replace(
        struct.pack("<HHII", 279, 4, 1, photo.size), struct.pack("<HHII", 279, 4, 1, 0)
    )
    with pytest.raises(ImageRefused, match="not all of its strips"):
        read_image(write("sparse.tif", none))


@pytest.mark.skipif(not (SHARED / "data" / "kodak").exists(), reason="needs ../shared/data/kodak")
def test_kodak_is_read_to_pillows_pixels():
    path = SHARED / "data" / "kodak" / "kodim04.png"
    with Image.open(path) as image:
        assert np.array_equal(read_image(path).pixels, np.asarray(image))
