"""Image files that are refused by name: transparent, deep, several, too large, damaged."""

import os
import struct
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from benchmark.codec import Pixels
from benchmark.datasets import image as module
from benchmark.datasets.image import decode_image, read_image
from benchmark.errors import ImageRefused
from support.files.image_files import LOSSLESS, pillow, png, tiff, tiff_with_tags_last, webp


def with_alpha(photo: Pixels, alpha: Any) -> Image.Image:
    channel = np.broadcast_to(np.uint8(alpha), photo.shape[:2])[..., np.newaxis]
    return Image.fromarray(np.concatenate([photo, channel], axis=2))


TRANSPARENT = {"PNG": lambda p, a: pillow(with_alpha(p, a), "PNG"),
               "WebP": lambda p, a: webp(np.array(with_alpha(p, a))),
               "TIFF": lambda p, a: pillow(with_alpha(p, a), "TIFF")}  # fmt: skip


@pytest.mark.parametrize("form", TRANSPARENT)
def test_transparency_is_refused_unless_it_is_laid_over_white(form, photo, write):
    path = write("alpha.bin", TRANSPARENT[form](photo, 128))
    with pytest.raises(ImageRefused, match=r"^alpha\.bin .*--flatten"):
        read_image(path)
    assert np.array_equal(read_image(write("a", TRANSPARENT[form](photo, 255))).pixels, photo)
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[-1, -1] = 254
    with pytest.raises(ImageRefused, match="transparent"):
        read_image(write("a", TRANSPARENT[form](photo, alpha)))
    levels = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(3, 256).T[:, np.newaxis]
    path = write("levels", TRANSPARENT[form](np.ascontiguousarray(levels), 128))
    exact = levels * (128 / 255) + 255 * (127 / 255)
    assert np.array_equal(read_image(path, flatten=True).pixels, np.floor(exact + 0.5))


@pytest.mark.parametrize("colour", [0, 2, 3])
def test_a_transparent_colour_counts_as_alpha(colour, write):
    chunks = {0: [b"tRNS\0\x07"], 2: [b"tRNS\0\x07\0\x07\0\x07"],
              3: [b"PLTE" + bytes(24), b"tRNS" + b"\xff" * 7 + b"\0"]}  # fmt: skip
    rows = b"\0" + bytes([7] * (3 if colour == 2 else 1))
    path = write("key.png", png(1, 1, 8, colour, rows, *chunks[colour]))
    with pytest.raises(ImageRefused, match="transparent"):
        read_image(path)
    assert read_image(path, flatten=True).pixels.tolist() == [[[255, 255, 255]]]


def test_colours_that_were_multiplied_by_alpha_are_laid_over_white_once(write):
    half_red = np.uint8([[[128, 0, 0, 128], [200, 0, 0, 100]]])  # the second more than all
    path = write("a.tif", tiff(half_red, photometric="rgb", extrasamples=["assocalpha"]))
    assert read_image(path, flatten=True).pixels.tolist() == [[[255, 127, 127], [255, 155, 155]]]


def test_a_tiff_of_other_channels_is_refused_and_grey_with_alpha_is_grey(photo, write):
    def refused(channels: int, photometric: str, **options: Any) -> str:
        samples = np.zeros((16, 16, channels), np.uint8)
        with pytest.raises(ImageRefused) as error:
            read_image(write("a.tif", tiff(samples, photometric=photometric, **options)))
        return str(error.value)

    assert "a.tif has 5 channels (RGB)" in refused(5, "rgb")
    assert refused(6, "rgb").endswith(" axes YXS (16, 16, 6)")
    assert "a.tif has 3 channels (YCBCR)" in refused(3, "ycbcr")
    grey = np.stack([photo[..., 0], np.full(photo.shape[:2], 255, np.uint8)], axis=2)
    tiff_bytes = tiff(grey, photometric="minisblack", extrasamples=["unassalpha"])
    assert np.array_equal(read_image(write("a.tif", tiff_bytes)).pixels[..., 2], photo[..., 0])
    for of_jpeg in (6, 7, 33007):
        page = SimpleNamespace(photometric=6, extrasamples=(), bitspersample=8, compression=of_jpeg)
        assert np.array_equal(module._tiff_colours(page, photo, False), photo)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_refused_unless_it_is_flattened(form, photo, write):
    path = write("ink.bin", pillow(Image.fromarray(photo).convert("CMYK"), form))
    with pytest.raises(ImageRefused, match=r"^ink\.bin .*--flatten"):
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
    "TIFF, 5, 6 and 5 bits": lambda: tiff_with_tags_last(np.zeros((2, 2, 3), np.uint8), (5, 6, 5)),
    "float TIFF": lambda: tiff(np.zeros((2, 2, 3), np.float32), photometric="rgb"),
    "signed TIFF": lambda: tiff(np.zeros((2, 2, 3), np.int8), photometric="rgb"),
}


@pytest.mark.parametrize(("form", "flatten"), [
    *((form, False) for form in DEEP), *((form, True) for form in DEEP if "PNG" not in form),
])  # fmt: skip
def test_more_than_8_bits_are_refused_and_never_cut(form, flatten, write):
    option = ".*--flatten" if form.endswith("PNG") else ""
    with pytest.raises(ImageRefused, match=rf"^deep\.bin .* bits{option}"):
        read_image(write("deep.bin", DEEP[form]()), flatten)


@pytest.mark.parametrize(("colours", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_flattened_16_bits_are_rounded_to_the_nearest_of_8(colours, channels, write):
    deep = np.random.default_rng(0).integers(0, 65536, (6, 5, channels)).astype(np.uint16)
    deep.ravel()[:6] = 0, 128, 129, 65535, 65407, 65406  # 128 / 257 is below a half, 129 above
    rows = deep.astype(">u2").reshape(6, -1)
    path = write("deep.png", png(5, 6, 16, colours, b"".join(b"\0" + r.tobytes() for r in rows)))
    rounded = np.rint(deep / 257)
    if channels in (2, 4):
        alpha = rounded[..., -1:] / 255
        rounded = np.floor(rounded[..., :-1] * alpha + 255 * (1 - alpha) + 0.5 + 1e-9)
    expected = np.broadcast_to(rounded, (6, 5, 3))
    assert np.array_equal(read_image(path, flatten=True).pixels, expected)


def animation(photo: Pixels, form: str) -> bytes:
    if form == "WEBP":
        return webp(photo, flags=2)
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    return pillow(frames[0], form, save_all=True, append_images=frames[1:])


FRAMES = {"PNG": "animation", "WEBP": "animation", "TIFF": "2 pages"}


@pytest.mark.parametrize("form", FRAMES)
def test_several_frames_or_pages_are_refused(form, photo, write):
    with pytest.raises(ImageRefused, match=rf"^many\.bin .*{FRAMES[form]}"):
        read_image(write("many.bin", animation(photo, form)))


def test_the_first_picture_of_a_multi_picture_jpeg_is_taken(photo, write):
    path = write("phone.jpg", animation(photo, "MPO"))
    alone = write("alone.jpg", pillow(Image.fromarray(photo), "JPEG"))
    assert np.array_equal(read_image(path).pixels, read_image(alone).pixels)


def webp_head(form: bytes, body: bytes, *chunks: bytes) -> bytes:
    return b"".join([b"RIFF\0\0\0\0WEBP", *chunks, form, struct.pack("<I", len(body)), body])


def lossless_head(width: int, height: int) -> bytes:
    return b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14 | 1 << 28)


def extended_head(width: int, height: int) -> bytes:
    return bytes(4) + b"".join((side - 1).to_bytes(3, "little") for side in (width, height))


BOMBS = {
    "PNG": ("20000 x 19000", png(20000, 19000, 8, 0, b"")),
    "PPM": ("20000 x 19000", b"P6 20000 19000 255\n"),
    "WebP, VP8L": ("16384 x 8193", webp_head(b"VP8L", lossless_head(16384, 8193))),
    "VP8L behind 3 bytes": (
        "16383 x 8192", webp_head(b"VP8L", lossless_head(16383, 8192), b"EXIF\3\0\0\0abc\0")),
    "WebP, VP8": (  # both sides with the bits of a scale
        "16383 x 8193",
        webp_head(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x7FFF, 0xA001))),
    "WebP, VP8X": ("65537 x 257", webp_head(b"VP8X", extended_head(65537, 257))),
}  # fmt: skip


@pytest.mark.parametrize("form", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(form, write):
    sides, data = BOMBS[form]
    with pytest.raises(ImageRefused, match=rf"^bomb\.bin .*{sides}"):
        read_image(write("bomb.bin", data))


@pytest.mark.parametrize(("side", "message"), [(16384, " 16384 x 1 "), (16383, "decod")])
def test_a_webp_has_sides_of_at_most_16383_pixels(side, message, write):
    for across, down in ((side, 1), (1, side)):
        with pytest.raises(ImageRefused, match=message.replace("16384 x 1", f"{across} x {down}")):
            read_image(write("wide.webp", webp_head(b"VP8X", extended_head(across, down))))


@pytest.mark.parametrize(("width", "height", "num_bytes", "message"), [
    (4096, 4096, 1, None),
    (4097, 4096, 1, "4097 x 4096 pixels .* 1 bytes, .* 128 "),
    (4097, 4096, 4097 * 32, None),
    (4097, 4096, 4097 * 32 - 1, " 128 pixels per byte"),
    *((1, 1, 1, None), (0, 5, 9, "pixels"), (5, 0, 9, "pixels")),
    (178_956_970, 1, 1 << 30, None),
    (178_956_971, 1, 1 << 30, "178956971 x 1 pixels, .* 178956970 "),
])  # fmt: skip
def test_a_picture_has_pixels_and_a_large_one_enough_bytes(width, height, num_bytes, message):
    with pytest.raises(ImageRefused, match=message) if message else nullcontext():
        module._refuse_large(width, height, num_bytes)


def test_a_jpeg_has_at_most_a_hundred_scans_and_those_of_a_large_picture_twelve(photo, write):
    stream = pillow(Image.fromarray(photo), "JPEG")
    assert read_image(write("a.jpg", stream + 99 * b"\xff\xda")).pixels.shape == photo.shape
    with pytest.raises(ImageRefused, match=r"101 scans .* 36743"):
        read_image(write("a.jpg", stream + 100 * b"\xff\xda"))
    sides = stream.index(b"\xff\xc0") + 5
    largest = stream[:sides] + struct.pack(">HH", 13370, 13377) + stream[sides + 4 :]
    with pytest.raises(ImageRefused, match="128 pixels per byte"):
        read_image(write("a.jpg", largest + 11 * b"\xff\xda"))
    with pytest.raises(ImageRefused, match=r"13 scans .* 178850490"):
        read_image(write("a.jpg", largest + 12 * b"\xff\xda"))


def test_a_tiff_bomb_is_not_decoded_and_one_without_pixels_is_not_black(write, photo):
    stream = bytearray(tiff(np.zeros((1, 1, 3), np.uint8), photometric="rgb"))
    for tag in (256, 257):  # width and height: one number of type LONG
        entry = bytes(stream).index(struct.pack("<HHII", tag, 4, 1, 1))
        struct.pack_into("<I", stream, entry + 8, 60000)
    with pytest.raises(ImageRefused, match="60000 x 60000 pixels"):
        read_image(write("bomb.tif", bytes(stream)))
    tiff_bytes = tiff_with_tags_last(photo)
    sparse_bytes = tiff_bytes.replace(
        struct.pack("<HHII", 279, 4, 1, photo.size), struct.pack("<HHII", 279, 4, 1, 0)
    )
    with pytest.raises(ImageRefused, match="strips"):
        read_image(write("sparse.tif", sparse_bytes))


def test_a_file_larger_than_any_image_is_not_even_read(monkeypatch, write):
    huge = write("huge.ppm", b"P6 ")
    os.truncate(huge, 2**30 + 1)
    with pytest.raises(ImageRefused, match=r"1073741825 .*1073741824"):
        read_image(huge)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 3)
    with pytest.raises(ImageRefused, match="PPM header"):
        read_image(write("small.ppm", b"P6 "))


@pytest.mark.parametrize(("error", "message"), [
    (MemoryError(), ".* memory"),
    (ValueError(f"a  b{'c' * 300}"), rf".*: a b{'c' * 197}"),
    (ValueError(), ".*: ValueError"),
])  # fmt: skip
def test_whatever_a_decoder_raises_is_about_the_file(error, message):
    with pytest.raises(ImageRefused, match=f"^a.png {message}$"):
        decode_image("a.png", Mock(side_effect=error))


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "empty"),
    (b"GIF89a", " GIF: "),
    (b"\0\0\0\x18ftypheic", " HEIC: "),
    (b"BM is how a text may begin", " PNG"),
    (b"\x89PNG\r\n\x1a\n", " PNG"), (b"P6 0 5 255\n", "decoded"),
    (b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\0\0\0\0", "pixels"),
    (b"P6 1 1\n", "PPM header"), (b"\xff\xd8\xff\xe0", "truncated"),
])  # fmt: skip
def test_what_is_no_image_is_refused_with_its_name(data, reason, write):
    with pytest.raises(ImageRefused, match=rf"^odd\.png .*{reason}"):
        read_image(write("odd.png", data))


def test_a_folder_and_a_missing_file_are_refused(tmp_path, write):
    with pytest.raises(ImageRefused, match=r"^'two\\nlines\\udcff.png' .*empty"):
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
    "TIFF, strips": lambda p: tiff(p, photometric="rgb", rowsperstrip=5),
}


@pytest.mark.parametrize("form", CUT)
def test_a_file_cut_anywhere_is_refused_or_whole(form, photo, write):
    stream = CUT[form](photo[:20, :30])
    expected = read_image(write("whole.bin", stream)).pixels
    refusals, lengths = 0, range(0, len(stream), max(17, len(stream) // 200))
    for length in lengths:
        try:
            result = read_image(write("cut.bin", stream[:length])).pixels
        except ImageRefused:
            refusals += 1
        else:
            assert np.array_equal(result, expected)
    assert refusals >= len(lengths) - 3  # PNG's last chunk, say, holds no pixel
