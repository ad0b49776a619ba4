import numpy as np
import pytest

from benchmark.compare.curves import curve_of
from benchmark.published.doubts import doubts
from support.figures.published import MS_SSIM, PSNR


def test_an_anchor_goes_on_as_a_chord_beyond_both_ends():
    anchor = (0.1, 0.2, 0.4, 0.8), (38.0, 41.0, 43.0, 44.0)  # dB, by 3, 2 and 1 a doubling
    rates, values = (0.025, 0.05, 0.1, 0.8, 3.2), (32.0, 35.0, 38.0, 44.0, 46.0)
    vtm = curve_of(*anchor, PSNR)
    assert not doubts(PSNR, rates, values, vtm)
    for place, most, kind in ((0, 2, "above"), (-1, 2, "above"), (0, -12, "below")):
        inside, beyond = (np.add(values, np.eye(5)[place] * most * by) for by in (0.99, 1.01))
        assert not doubts(PSNR, rates, inside, vtm)
        apart = f"psnr_db at {rates[place]} bpp is {abs(most) * 1.01:.3g} dB {kind} VTM: no known"
        (said,) = doubts(PSNR, rates, beyond, vtm)
        assert said.startswith(apart)


@pytest.mark.parametrize(
    ("metric", "rates", "values", "said"),
    [
        (PSNR, (0.1, 0.2, 0.4, 0.8), (10.0, 31.0, 31.0, 60.0), []),
        (PSNR, (0.1, 0.2, 0.4), (9.99, 31.0, 33.0), ["psnr_db at 0.1 bpp is 9.99, which"]),
        (PSNR, (0.1, 0.2, 0.4), (30.0, 31.0, 60.01), ["psnr_db at 0.4 bpp is 60.01, which"]),
        (MS_SSIM, (0.1, 0.2, 0.4, 0.8), (0.3, 0.9, 0.95, 0.96), []),
        (MS_SSIM, (0.1, 0.2, 0.4), (0.29, 0.9, 0.95), ["ms_ssim at 0.1 bpp is 0.29, which"]),
        (MS_SSIM, (0.1, 0.2, 0.4), (0.9, 0.95, 1.01), ["ms_ssim at 0.4 bpp is 1.01, which"]),
        (PSNR, (0.1, 0.2), (30.0, 31.0), []),
        (PSNR, (0.1, 0.2, 0.4, 0.8), (30.0, 29.0, 33.0, 31.5),
         ["psnr_db at 0.8 bpp is 1.5 below that of a lower rate"]),
    ],
)  # fmt: skip
def test_what_is_unusual_about_a_curve_is_said_with_its_place_and_amount(
    metric, rates, values, said
):
    result = doubts(metric, rates, values, None)
    assert [one[: len(start)] for one, start in zip(result, said, strict=True)] == said
