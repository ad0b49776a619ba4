import numpy as np
import pytest

from benchmark.published.doubts import findings
from support.figures.published import MS_SSIM, PSNR


def test_an_anchor_goes_on_as_a_chord_beyond_both_ends():
    anchor = (0.1, 0.2, 0.4, 0.8), (38.0, 41.0, 43.0, 44.0)  # dB, by 3, 2 and 1 a doubling
    rates, values = (0.025, 0.05, 0.1, 0.8, 3.2), (32.0, 35.0, 38.0, 44.0, 46.0)
    assert not findings(PSNR, rates, values, anchor)
    for place, most, kind in ((0, 2, "above"), (-1, 2, "above"), (0, -12, "below")):
        inside, beyond = (np.add(values, np.eye(5)[place] * most * by) for by in (0.99, 1.01))
        assert not findings(PSNR, rates, inside, anchor)
        (found,) = findings(PSNR, rates, beyond, anchor)
        assert (found.kind, found.bpp) == (kind, pytest.approx(rates[place]))
        assert found.amount == pytest.approx(abs(most) * 1.01)


@pytest.mark.parametrize(
    ("metric", "rates", "values", "found"),
    [
        (PSNR, (0.1, 0.2, 0.4, 0.8), (10.0, 31.0, 31.0, 60.0), []),
        (PSNR, (0.1, 0.2, 0.4), (9.99, 31.0, 33.0), [("range", 0.1, 9.99)]),
        (PSNR, (0.1, 0.2, 0.4), (30.0, 31.0, 60.01), [("range", 0.4, 60.01)]),
        (MS_SSIM, (0.1, 0.2, 0.4, 0.8), (0.3, 0.9, 0.95, 0.96), []),
        (MS_SSIM, (0.1, 0.2, 0.4), (0.29, 0.9, 0.95), [("range", 0.1, 0.29)]),
        (MS_SSIM, (0.1, 0.2, 0.4), (0.9, 0.95, 1.01), [("range", 0.4, 1.01)]),
        (PSNR, (0.1, 0.2), (30.0, 31.0), [("few", 0.1, 2)]),
        (PSNR, (0.1, 0.2, 0.4, 0.8), (30.0, 29.0, 33.0, 31.5), [("falls", 0.8, 1.5)]),
    ],
)
def test_what_is_unusual_about_a_curve_is_found_with_its_place_and_amount(
    metric, rates, values, found
):
    result = findings(metric, rates, values, None)
    assert [one[1:] for one in result] == [(kind, *map(pytest.approx, at)) for kind, *at in found]
