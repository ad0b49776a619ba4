"""Image files that are refused by name: transparent, deep, several, too large, damaged."""

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.codec import Pixels
from benchmark.datasets import image as module
from benchmark.datasets.image import read_image
from benchmark.errors import ImageRefused
from support.files.image_files import LOSSLESS, pillow, png, tiff, tiff_with_tags_last, webp


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
    assert np.array_equal(read_image(write("a", TRANSPARENT[form](photo, 255))).pixels, photo)
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[-1, -1] = 254
    with pytest.raises(ImageRefused, match="transparent"):
        read_image(write("a", TRANSPARENT[form](photo, alpha)))
    exact = photo * (128 / 255) + 255 * (127 / 255)
    assert np.array_equal(read_image(path, flatten=True).pixels, np.floor(exact + 0.5))


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
        (b"GIF89a", "is not a PNG, .* but GIF: convert it"),
        (b"\0\0\0\x18ftypheic", "but HEIC: convert it"),
        (b"BM is how a text may begin", "is not a PNG"),
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


def test_a_folder_and_a_missing_file_are_refused(tmp_path, write):
    with pytest.raises(ImageRefused, match=r"^'two\\nlines\\udcff.png' is empty$"):
        read_image(write("two\nlines\udcff.png", b""))
    for name in (".", "missing.png"):
        with pytest.raises(ImageRefused, match="is not a file"):
            read_image(tmp_path / name)


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
    refused, lengths = 0, range(0, len(stream), 17)
    for length in lengths:
        path = write("cut.bin", stream[:length])
        try:
            result = read_image(path).pixels
        except ImageRefused:
            refused += 1
        else:
            assert np.array_equal(result, whole)
    assert refused >= len(lengths) - 3  # PNG's last chunk, say, holds no pixel


def test_a_tiff_without_its_pixels_is_not_a_black_picture(photo, write):
    whole = tiff_with_tags_last(photo)
    none = whole.replace(
        struct.pack("<HHII", 279, 4, 1, photo.size), struct.pack("<HHII", 279, 4, 1, 0)
    )
    with pytest.raises(ImageRefused, match="not all of its strips"):
        read_image(write("sparse.tif", none))
