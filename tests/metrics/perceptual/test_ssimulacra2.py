"""SSIMULACRA 2 against the author's program, and its blur against the recursion it stands for."""

import hashlib

import numpy as np
import pytest

from benchmark.errors import NotMeasurable
from benchmark.metrics.jpeg_xl import SSIMULACRA2, WEIGHTS, blur
from support.metrics.cases import value


def coarse(pixels):
    return np.minimum(pixels // 24 * 24 + 12, 255).astype(np.uint8)


def smooth(pixels):
    height, width, _ = pixels.shape
    wide = np.pad(pixels.astype(int), ((1, 1), (1, 1), (0, 0)), mode="edge")
    sums = sum(wide[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return ((sums + 4) // 9).astype(np.uint8)


def noisy(pixels):
    noise = np.random.default_rng(5).integers(-9, 10, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def blocks(pixels):
    result = pixels.copy()
    height, width = (side // 8 * 8 for side in pixels.shape[:2])
    parts = pixels[:height, :width].astype(int).reshape(height // 8, 8, width // 8, 8, 3)
    result[:height, :width] = (parts.sum((1, 3)) // 64).repeat(8, 0).repeat(8, 1)
    return result


# Of the program ssimulacra2 2.1 (cloudinary/ssimulacra2, commit 81feacf), from PNG files
@pytest.mark.parametrize(("change", "of_coffee", "of_photo"), [
    (coarse, 40.74339704, 53.71598745), (smooth, 46.44131242, 55.00018914),
    (noisy, 73.49293222, 75.48536976), (blocks, -41.21284045, -40.64131743),
])  # fmt: skip
def test_the_authors_program_gives_the_same_score(coffee, photo, change, of_coffee, of_photo):
    result = [value(SSIMULACRA2(), image, change(image)) for image in (coffee, photo)]
    assert result == pytest.approx([of_coffee, of_photo], abs=0.04)  # it computes in float32


def test_the_weights_are_those_of_the_program():
    """Their sha256, as kWeights of ssimulacra2.cc has them in order; many are 0 on photographs."""
    digest = hashlib.sha256(np.array(WEIGHTS, "<f8").tobytes()).hexdigest()
    assert digest == "326e14699f6ac5306e5b36e2b0b8ce68a8896347a780e25150343e5710330559"


def recursion(signal):
    """Charalampidis's filter of order 6, sample by sample, zero beyond both ends."""
    sigma = 1.5
    radius = round(3.2795 * sigma + 0.2546)
    omega = np.pi / (2 * radius) * np.array([1, 3, 5])
    p1, p3, p5 = 1 / np.tan(omega / 2) * [1, -1, 1]
    r1, r3, r5 = np.array([p1, -p3, p5]) ** 2 / np.sin(omega) * [1, -1, 1]
    d13, d35, d51 = p1 * r3 - r1 * p3, p3 * r5 - r3 * p5, p5 * r1 - r5 * p1
    zeta = np.array([d35 / d13, d51 / d13, 1])
    rho = np.exp(-(sigma**2) * omega**2 / 2) / radius
    right = [1, radius**2 - sigma**2, zeta @ rho]
    beta = np.linalg.solve([[p1, p3, p5], [r1, r3, r5], zeta], right)
    gain, feedback = -beta * np.cos(omega * (radius + 1)), 2 * np.cos(omega)

    def at(place):
        return signal[place] if 0 <= place < len(signal) else 0.0

    second_last, last, result = np.zeros(3), np.zeros(3), []
    for place in range(1 - radius, len(signal)):
        fresh = gain * (at(place - radius - 1) + at(place + radius - 1))
        fresh += feedback * last - second_last
        second_last, last = last, fresh
        result.append(fresh.sum())
    return result[radius - 1 :]


def test_the_blur_is_the_recursive_filter_in_both_directions():
    planes = np.random.default_rng(2).random((2, 23, 31))
    expected = np.apply_along_axis(recursion, 2, np.apply_along_axis(recursion, 1, planes))
    np.testing.assert_allclose(blur(planes), expected, rtol=1e-9)


CONES = [[0.30, 0.622, 0.078], [0.23, 0.692, 0.078],
         [0.24342268924547819, 0.20476744424496821, 0.55180986650955360]]  # fmt: skip
BIAS = 0.0037930732552754493


def xyb_scales(pixels):
    levels = pixels / 255
    light = np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
    for _ in range(6):
        red, green, blue = (light[..., channel] for channel in range(3))
        long, medium, short = ((a * red + b * green + c * blue + BIAS) ** (1 / 3) - BIAS ** (1 / 3)
                               for a, b, c in CONES)  # fmt: skip
        x, y = (long - medium) / 2, (long + medium) / 2
        yield [x * 14 + 0.42, y + 0.01, short - y + 0.55]
        odd = [(0, side % 2) for side in light.shape]
        padded = np.pad(light, [*odd[:2], (0, 0)], mode="edge")
        padded = padded.reshape(len(padded) // 2, 2, padded.shape[1] // 2, 2, 3)
        light = padded.mean((1, 3))


def by_definition(source, decoded):
    """Return the score of the author's formulas, channel by channel, with our blur."""

    def smooth(plane):
        return blur(plane[None])[0]

    norms = np.zeros((3, 6, 2, 3))
    for scale, pair in enumerate(zip(xyb_scales(source), xyb_scales(decoded), strict=True)):
        for channel, (source_plane, decoded_plane) in enumerate(zip(*pair, strict=True)):
            mean, mean_other = smooth(source_plane), smooth(decoded_plane)
            covariance = smooth(source_plane * decoded_plane) - mean * mean_other
            variances = smooth(source_plane**2) - mean**2 + smooth(decoded_plane**2) - mean_other**2
            similar = (2 * covariance + 0.0009) / (variances + 0.0009)
            structure = 1 - (1 - (mean - mean_other) ** 2) * similar
            edges = (1 + abs(decoded_plane - mean_other)) / (1 + abs(source_plane - mean)) - 1
            for error_kind, errors in enumerate((structure, edges, -edges)):
                positive_errors = np.maximum(errors, 0)
                norms[channel, scale, 0, error_kind] = positive_errors.mean()
                norms[channel, scale, 1, error_kind] = (positive_errors**4).mean() ** (1 / 4)
    total = 0.9562382616834844 * (np.array(WEIGHTS) @ norms.ravel())
    total = np.polyval([6.248496625763138e-05, -0.020884521182843837, 2.326765642916932, 0], total)
    return 100 - 10 * total**0.6276336467831387


@pytest.mark.parametrize("change", [coarse, noisy, blocks])
def test_the_score_is_that_of_the_formulas(coffee, change):
    source = coffee[100:214, 200:315]
    dark = source // 12
    for pair in ((source, change(source)), (dark, smooth(dark))):
        assert value(SSIMULACRA2(), *pair) == pytest.approx(by_definition(*pair), rel=1e-9)


def test_odd_sides_and_the_smallest_have_a_score_and_smaller_ones_a_reason(coffee):
    source = coffee[:113, :115]
    assert -100 < value(SSIMULACRA2(), source, coarse(source)) < 70
    with pytest.raises(NotMeasurable, match=" 113 px"):
        SSIMULACRA2().prepare(coffee[:112])
