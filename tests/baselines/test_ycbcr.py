"""The colour conversion against exact fractions, Pillow's resampling, and losses of codecs."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from baselines.formats.ycbcr import Planes, double, halve, rgb_to_ycbcr, ycbcr_to_rgb
from benchmark.codec import Setting
from benchmark.spec import load_codec, parse_codec
from conftest import SHARED
from support.psnr import psnr

KODAK = SHARED / "data" / "kodak"
RED, BLUE = Fraction(2126, 10000), Fraction(722, 10000)
GREEN = 1 - RED - BLUE
FLOAT32 = 1e-3  # Pillow resamples 0..255 in single precision


def exact_codes(colour: tuple[int, int, int], depth: int) -> tuple[int, ...]:
    """H.273's formulas in rationals; Python's round is half to even."""
    top = 2**depth - 1
    r, g, b = (Fraction(int(part), 255) for part in colour)
    y = RED * r + GREEN * g + BLUE * b
    values = (y, (b - y) / (2 - 2 * BLUE), (r - y) / (2 - 2 * RED))
    offsets = (0, 2 ** (depth - 1), 2 ** (depth - 1))
    return tuple(
        min(max(round(top * value + offset), 0), top)
        for value, offset in zip(values, offsets, strict=True)
    )


def exact_colour(codes: tuple[int, int, int], depth: int) -> list[int]:
    y, cb, cr = (Fraction(int(code), 2**depth - 1) for code in codes)
    middle = Fraction(2 ** (depth - 1), 2**depth - 1)
    r = y + (2 - 2 * RED) * (cr - middle)
    b = y + (2 - 2 * BLUE) * (cb - middle)
    g = (y - RED * r - BLUE * b) / GREEN
    return [min(max(round(255 * value), 0), 255) for value in (r, g, b)]


@pytest.mark.parametrize("depth", [8, 10])
def test_codes_are_those_of_exact_arithmetic(depth):
    colours = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    colours[0, :8] = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    colours[1:3, :, 1] = colours[1:3, :, 0]  # R = G: halfway between two codes of Cb, often
    colours[3:5, :, 1] = colours[3:5, :, 2]
    codes = np.stack(rgb_to_ycbcr(colours, depth), axis=2)
    assert codes.dtype == (np.uint8 if depth == 8 else np.uint16)
    expected = [exact_codes(tuple(colour), depth) for colour in colours.reshape(-1, 3)]
    assert codes.reshape(-1, 3).tolist() == [list(code) for code in expected]


@pytest.mark.parametrize("depth", [8, 10])
def test_colours_are_those_of_exact_arithmetic_even_where_codes_lie_outside_rgb(depth):
    dtype = np.uint8 if depth == 8 else np.uint16
    codes = np.random.default_rng(2).integers(0, 2**depth, (20, 20, 3), dtype)
    colours = ycbcr_to_rgb(Planes(*np.moveaxis(codes, 2, 0)), depth)
    assert colours.dtype == np.uint8
    expected = [exact_colour(tuple(code), depth) for code in codes.reshape(-1, 3)]
    assert colours.reshape(-1, 3).tolist() == expected


def test_ten_bits_lose_no_colour_and_may_be_floats():
    steps = np.array([*range(0, 256, 9), 254, 255], np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    assert np.array_equal(ycbcr_to_rgb(rgb_to_ycbcr(lattice, 10), 10), lattice)
    codes = np.random.default_rng(3).integers(0, 256, (3, 8, 8), np.uint8)
    fourfold = Planes(*(plane.astype(np.uint16) * 4 / 4 for plane in codes))
    assert np.array_equal(ycbcr_to_rgb(fourfold, 8), ycbcr_to_rgb(Planes(*codes), 8))


@pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")
def test_the_colour_round_trip_of_kodak_loses_what_rounding_does():
    """Truncating in both directions would give about 44 dB in 4:4:4 at 8 bits, not 53."""
    with Image.open(KODAK / "kodim13.png") as image:
        photo = np.asarray(image.convert("RGB"))
    kept_db = psnr(photo, ycbcr_to_rgb(rgb_to_ycbcr(photo, 8), 8))
    assert kept_db == pytest.approx(53.17, abs=0.01)
    halved = ycbcr_to_rgb(rgb_to_ycbcr(photo, 10, 420), 10)
    assert psnr(photo, halved) > 44.66  # what a box and a cubic filter reach


def pillow_resize(
    plane: NDArray[np.float64], size: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box), np.float64)


@pytest.fixture
def plane(coffee):
    return coffee[:80, :120, 1].astype(np.float64)


def test_halving_and_doubling_are_pillows_lanczos(plane):
    """Away from the edges, where Pillow cuts the filter off instead of repeating the edge."""
    # an output sample of Pillow lies at the centre of its share of the box; 2 lies at the centre
    # of 1.5 .. 3.5, so this box begins with the sample that is number 1 in ours
    across = pillow_resize(plane, (58, 80), (1.5, 0, 117.5, 80))
    resized = pillow_resize(across, (58, 40), (0, 0, 58, 80))
    assert np.abs(halve(plane)[4:-4, 5:55] - resized[4:-4, 4:54]).max() < FLOAT32
    # twice the columns, of which number 0 lies a quarter of a source column right of its left edge
    across = pillow_resize(plane, (236, 80), (0.25, 0, 118.25, 80))
    resized = pillow_resize(across, (236, 160), (0, 0, 236, 80))
    assert np.abs(double(plane)[6:-6, 8:228] - resized[6:-6, 8:228]).max() < FLOAT32


def test_chroma_is_rounded_once_after_halving(coffee):
    planes = rgb_to_ycbcr(coffee, 8, 420)
    red, green, blue = np.moveaxis(coffee.astype(np.float64), 2, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    for plane, exact in (
        (planes.blue, (blue - luma) / 1.8556),
        (planes.red, (red - luma) / 1.5748),
    ):
        assert np.abs(plane.astype(float) - 128 - halve(exact)).max() < 0.5 + 1e-9
    assert planes.luma.shape == (400, 600)
    assert planes.blue.shape == planes.red.shape == (200, 300)


def test_a_flat_plane_stays_flat_up_to_its_edges():
    flat = np.full((6, 10), 77.0)
    assert np.abs(halve(flat) - 77).max() < 1e-12
    assert np.abs(double(flat) - 77).max() < 1e-12
    assert double(flat).shape == (12, 20)


@pytest.mark.parametrize("shape", [(5, 4, 3), (4, 5, 3)])
def test_odd_sides_are_refused_in_420(shape):
    with pytest.raises(ValueError, match="even sides"):
        rgb_to_ycbcr(np.zeros(shape, np.uint8), 8, 420)


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
