"""The colour conversion against exact fractions, and PNG files of programs."""

import struct
import tracemalloc
import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from baselines.formats.external import read_png, write_png
from baselines.formats.ycbcr import Planes, double, halve, rgb_to_ycbcr, ycbcr_to_rgb
from benchmark.codec import Setting, max_stream_bytes
from benchmark.errors import ImageRefused
from benchmark.spec import load_codec, parse_codec
from support.files.image_files import png
from support.psnr import psnr

RED, BLUE = Fraction(2126, 10000), Fraction(722, 10000)
GREEN = 1 - RED - BLUE
FLOAT32 = 1e-3  # Pillow resamples 0..255 in single precision


def exact_codes(colour: list[int], depth: int) -> list[int]:
    """H.273's formulas in rationals; Python's round is half to even."""
    top = 2**depth - 1
    half = Fraction(2 ** (depth - 1), top)
    r, g, b = (Fraction(part, 255) for part in colour)
    y = RED * r + GREEN * g + BLUE * b
    values = (y, (b - y) / (2 - 2 * BLUE) + half, (r - y) / (2 - 2 * RED) + half)
    return [min(max(round(top * value), 0), top) for value in values]


def exact_colour(codes: list[int], depth: int) -> list[int]:
    y, cb, cr = (Fraction(code, 2**depth - 1) for code in codes)
    middle = Fraction(2 ** (depth - 1), 2**depth - 1)
    r = y + (2 - 2 * RED) * (cr - middle)
    b = y + (2 - 2 * BLUE) * (cb - middle)
    g = (y - RED * r - BLUE * b) / GREEN
    return [min(max(round(255 * value), 0), 255) for value in (r, g, b)]


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (10, np.uint16)])
def test_codes_and_colours_are_those_of_exact_arithmetic(depth, dtype):
    colours = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    colours[0, :8] = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    colours[1:3, :, 1] = colours[1:3, :, 0]  # R = G: halfway between two codes of Cb, often
    colours[3:5, :, 1] = colours[3:5, :, 2]
    codes = np.stack(rgb_to_ycbcr(colours, depth), axis=2)
    assert codes.dtype == dtype
    expected = [exact_codes(colour, depth) for colour in colours.reshape(-1, 3).tolist()]
    assert codes.reshape(-1, 3).tolist() == expected
    codes = np.random.default_rng(2).integers(0, 2**depth, (20, 20, 3), dtype)  # some outside RGB
    colours = ycbcr_to_rgb(Planes(*np.moveaxis(codes, 2, 0)), depth)
    assert colours.dtype == np.uint8
    expected = [exact_colour(code, depth) for code in codes.reshape(-1, 3).tolist()]
    assert colours.reshape(-1, 3).tolist() == expected


def test_ten_bits_lose_no_colour_and_may_be_floats():
    steps = np.array([*range(0, 256, 9), 254, 255], np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    assert np.array_equal(ycbcr_to_rgb(rgb_to_ycbcr(lattice, 10), 10), lattice)
    codes = np.random.default_rng(3).integers(0, 256, (3, 8, 8), np.uint8)
    fourfold = Planes(*(plane.astype(np.uint16) * 4 / 4 for plane in codes))
    assert np.array_equal(ycbcr_to_rgb(fourfold, 8), ycbcr_to_rgb(Planes(*codes), 8))


def pillow_resize(plane, size, box):
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box), np.float64)


def test_halving_and_doubling_are_pillows_lanczos_and_leave_flat_planes_flat(coffee):
    """Away from the edges, where Pillow cuts the filter off instead of repeating the edge."""
    plane = coffee[:80, :120, 1].astype(np.float64)
    # an output sample of Pillow lies at the centre of its share of the box; 2 lies at the centre
    # of 1.5 .. 3.5, so this box begins with the sample that is number 1 in ours
    across = pillow_resize(plane, (58, 80), (1.5, 0, 117.5, 80))
    resized = pillow_resize(across, (58, 40), (0, 0, 58, 80))
    assert np.abs(halve(plane)[4:-4, 5:55] - resized[4:-4, 4:54]).max() < FLOAT32
    # twice the columns, of which number 0 lies a quarter of a source column right of its left edge
    across = pillow_resize(plane, (236, 80), (0.25, 0, 118.25, 80))
    resized = pillow_resize(across, (236, 160), (0, 0, 236, 80))
    assert np.abs(double(plane)[6:-6, 8:228] - resized[6:-6, 8:228]).max() < FLOAT32
    flat = np.full((6, 10), 77.0)
    assert np.abs(halve(flat) - 77).max() < 1e-12
    assert np.abs(double(flat) - np.full((12, 20), 77)).max() < 1e-12
    for shape in ((5, 4, 3), (4, 5, 3)):
        with pytest.raises(ValueError, match="4:2:0"):
            rgb_to_ycbcr(np.zeros(shape, np.uint8), 8, 420)


def test_chroma_is_rounded_once_after_halving(coffee):
    planes = rgb_to_ycbcr(coffee, 8, 420)
    red, green, blue = np.moveaxis(coffee.astype(np.float64), 2, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    exact_planes = (blue - luma) / 1.8556, (red - luma) / 1.5748
    for plane, exact in zip((planes.blue, planes.red), exact_planes, strict=True):
        assert np.abs(plane.astype(float) - 128 - halve(exact)).max() < 0.5 + 1e-9
    assert planes.luma.shape == (400, 600)
    assert planes.blue.shape == planes.red.shape == (200, 300)


# Codec specs, one for each format -> name of the setting, whose finest value is 0, and a PSNR (dB)
# that a truncating conversion would not reach.
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
    codec, (name, min_psnr) = load_codec(parse_codec(spec)), FINEST[spec]
    assert psnr(crop, codec.decode(codec.encode(crop, Setting(name, 0)))) >= min_psnr


def add_chunk(png: bytes, size: int) -> bytes:
    chunk = b"juNk" + bytes(size)
    framed = struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + framed + png[33:]


def test_a_png_comes_back_however_well_it_compresses_and_one_far_too_large_is_refused(tmp_path):
    path, pixels = tmp_path / "a.png", np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    write_png(path, pixels)
    assert np.array_equal(read_png(path), pixels)
    png, max_bytes = path.read_bytes(), max_stream_bytes(4, 5)
    path.write_bytes(add_chunk(png, max_bytes - len(png) - 12))
    assert path.stat().st_size == max_bytes
    assert np.array_equal(read_png(path), pixels)
    path.write_bytes(add_chunk(png, max_bytes - len(png) - 11))
    with pytest.raises(ImageRefused, match=rf"(?=.* 5 x 4\b).*{max_bytes + 1:,}"):
        read_png(path)
    flat = np.zeros((3000, 2000, 3), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.png", compress_level=9)
    assert (tmp_path / "a.png").stat().st_size < flat.size / 900
    assert np.array_equal(read_png(tmp_path / "a.png"), flat)


def header(width: int, height: int) -> bytes:
    """Return a PNG that announces 8-bit RGB of a size, and has 100 zeros as its picture."""
    return png(width, height, 8, 2, bytes(100))


@pytest.mark.parametrize(("width", "height", "reason"), [
    (0xFFFFFFFF, 0xFFFFFFFF, "4294967295 x 4294967295.* 178956970"),
    (14000, 14000, "14000 x 14000.* 178956970"),
    (13000, 13000, r"(?=.*\b69\b).*13000 x 13000"),
])  # fmt: skip
def test_a_small_png_of_many_pixels_takes_no_memory(width, height, reason, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(header(width, height))
    tracemalloc.start()
    with pytest.raises(ImageRefused, match=reason):
        read_png(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 28])
def test_a_png_that_ends_within_its_header_is_refused(size, tmp_path):
    (tmp_path / "a.png").write_bytes(header(5, 4)[:size])
    with pytest.raises(ImageRefused, match=r"PNG.*header"):
        read_png(tmp_path / "a.png")
