import math
from functools import partial

import bjontegaard
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator, interp1d

from benchmark.compare import rate_quality as rd
from benchmark.compare.bd import image_rates
from benchmark.compare.curve import Curve, CurvePoint
from benchmark.compare.rate_quality import RateQuality, bd_metric, bd_quality, bd_rate, cut
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.summary import excluded_points
from support.rows.by_label import compare, curves, ends, quartiles
from support.rows.measured import change_rows, row, sweep, table

PSNR = Metric.named("psnr")
LPIPS = Metric("lpips_alex", "LPIPS", "lower")
FD = Metric("fd_squeeze", "FD", "lower", "decades", is_distribution=True)
MS_SSIM = Metric("ms_ssim", "MS-SSIM", "higher", "saturating")
ANCHOR = RateQuality(np.array([0.1, 0.2, 0.4, 0.8, 1.6]), np.array([28.0, 31.0, 34.5, 36.0, 40.0]))


def moved(quality_db, factor=1.0):
    """The anchor at a quality higher by so much and rates times a factor."""
    return RateQuality(factor * ANCHOR.bpp, ANCHOR.quality + quality_db)


def line(bpp, offset_db, db_per_decade):
    """Quality linear in log rate: what Akima's interpolation reproduces exactly."""
    rates = np.array(bpp)
    return RateQuality(rates, offset_db + db_per_decade * np.log10(rates))


def rising(random, points):
    """A curve of random steps, steep and flat ones beside each other."""
    rate, quality = np.cumsum(10 ** random.uniform(-2, 0, (2, points)), axis=1)
    return RateQuality(0.03 * 10 ** (rate / 2), 25 + 4 * quality)


@pytest.mark.parametrize("form", ["akima", "pchip", "cubic"])
def test_deltas_are_those_of_the_bjontegaard_package(form):
    random, compared = np.random.default_rng(7), 0
    # The package fits powers of numbers far from 0: by exact fractions, it is off by 8e-8 there.
    near = 1e-6 if form == "cubic" else 1e-11
    settings = {"method": form, "require_matching_points": False, "min_overlap": 0}
    for _ in range(100):
        anchor, test = (rising(random, random.integers(4, 9)) for _ in range(2))
        for delta, package in ((bd_rate, bjontegaard.bd_rate), (bd_quality, bjontegaard.bd_psnr)):
            result = delta(anchor, test, Rule(bd=form, any_overlap=True))
            if result.value is not None:
                expected = package(*anchor, *test, **settings)
                assert result.value == pytest.approx(expected, rel=near, abs=near)
                compared += 1
    assert compared > 120


@pytest.mark.parametrize("form", ["akima", "pchip", "cubic"])
@pytest.mark.parametrize("options", [{}, {"any_overlap": True}, {"up_to_bpp": 1.0}])
def test_bd_rates_of_many_pairs_are_those_of_each_pair_alone(form, options):
    random, rule = np.random.default_rng(3), Rule(bd=form, **options)

    def curve():
        steps = random.normal(2, 2, random.choice([0, 1, 4, 5, 6, 7]))
        steps[random.uniform(size=len(steps)) < 0.1] = 0
        rates = 0.05 * 1.8 ** np.cumsum(np.sign(np.abs(steps)))
        return RateQuality(rates, 20 + random.uniform(0, 15) + np.cumsum(steps))

    pairs = [(curve(), curve()) for _ in range(300)]
    together = image_rates(*zip(*pairs, strict=True), rule)
    alone = [bd_rate(*pair, rule).value for pair in pairs]
    mask = [value is not None for value in alone]
    assert 8 < sum(mask) < 200
    assert (~np.isnan(together)).tolist() == mask
    assert together[mask] == pytest.approx([v for v in alone if v is not None], rel=1e-12)
    assert image_rates([], [], rule).shape == (0,)


def test_distances_of_distributions_are_compared_by_their_logarithm():
    """log10 FD falls linearly with log10 rate, so the BD-rate is that at the middle of both."""
    rates = np.array([0.1, 0.2, 0.4, 0.8])
    values = [10 ** (2 - 0.8 * np.log10(rates)), 10 ** (2.05 - 0.7 * np.log10(rates))]
    anchor, test = (rd.curve_of(rates.tolist(), value.tolist(), FD) for value in values)
    ends = (min(values[0][0], values[1][0]), max(values[0][-1], values[1][-1]))
    middle = np.mean(np.log10(ends))
    expected = 100 * (10 ** ((2.05 - middle) / 0.7 - (2 - middle) / 0.8) - 1)
    assert bd_rate(anchor, test, USUAL_RULE).value == pytest.approx(expected, abs=1e-9)
    lower_curve = rd.curve_of(rates.tolist(), (0.9 * values[0]).tolist(), FD)
    assert bd_metric(anchor, lower_curve, FD, USUAL_RULE).value == pytest.approx(-10, abs=1e-9)
    kid = rd.curve_of([0.1, 0.2], [3.0, -0.1], FD)  # of equal sets, it may be below 0
    assert len(kid.bpp) == 1
    pairs = zip(rates, values[0], strict=True)
    points = tuple(CurvePoint(*pair, "", "", 1, "", "", "") for pair in pairs)
    assert np.array_equal(Curve(FD, None, "", points).rates, anchor)


def test_points_of_equal_rate_and_quality_are_one_point_and_none_below_the_front():
    twice = RateQuality(*(np.append(axis, [axis[-1]] * 2) for axis in ANCHOR))
    assert np.isnan(rd.dominance_gaps(twice)).all()
    assert bd_rate(twice, moved(0, 0.8), USUAL_RULE) == bd_rate(ANCHOR, moved(0, 0.8), USUAL_RULE)


def test_curves_cross_where_the_other_one_needs_fewer_bits():
    """Lines of 10 and 8 dB a decade, through 30 and 31.2 dB at 1 bpp, meet at 36 dB."""
    rates = np.geomspace(0.1, 10, 9)
    anchor, test = line(rates, 30, 10), line(rates, 31.2, 8)
    common_qualities = np.linspace(23.2, 39.2, 101)[1:-1]  # the qualities of both
    ahead = (common_qualities - 31.2) / 8 - (common_qualities - 30) / 10
    expected = common_qualities[(common_qualities > 36) & (ahead > math.log10(1.01))][0]
    for pair in ((anchor, test), (test, anchor)):
        assert rd.crossing(*pair, USUAL_RULE) == pytest.approx(expected, abs=1e-9)
    for factor in (0.9, np.where(anchor.quality > 36, 0.995, 1.001)):  # always, or hardly
        assert rd.crossing(anchor, anchor._replace(bpp=factor * anchor.bpp), USUAL_RULE) is None


@pytest.mark.parametrize("points", [2, 3, 5, 9])
@pytest.mark.parametrize("form", ["akima", "pchip", "cubic"])
def test_curves_together_are_those_of_scipy_also_over_stretches_that_are_straight(points, form):
    random = np.random.default_rng(points)
    x = np.cumsum(random.uniform(0.1, 1, (40, points)), axis=1)
    steps = random.uniform(-1, 2, (40, points))
    width = np.diff(x, axis=1, prepend=0)
    steps[::4] = width[::4]  # a line; then two of another slope each
    steps[1::4] = width[1::4] * np.where(np.arange(points) < points // 2, 1.7, 0.3)
    y = np.cumsum(steps, axis=1)
    positions = x[:, 0] + random.uniform(0, 1, 40) * (x[:, -1] - x[:, 0])
    positions[:4] = x[range(4), [0, points // 2, -1, points // 2]]
    value, area = rd.interpolate(x, y, positions, form), rd.integral(x, y, x[:, 0], positions, form)
    for n in range(40):
        theirs = interp1d(x[n], y[n])
        if form == "cubic":
            theirs = np.poly1d(np.polyfit(x[n], y[n], min(3, points - 1)))
        elif points > 2:
            theirs = {"akima": Akima1DInterpolator, "pchip": PchipInterpolator}[form](x[n], y[n])
        assert value[n] == pytest.approx(float(theirs(positions[n])), abs=1e-9)
        grid = np.linspace(x[n, 0], positions[n], 2001)
        assert area[n] == pytest.approx(trapezoid(theirs(grid), grid), abs=1e-5)
    for beyond in (x[:, 0] - 1e-9, x[:, -1] + 1e-9):
        assert np.isnan(rd.interpolate(x, y, beyond, form)).all()
    single = rd.interpolate(x[:2, :1], y[:2, :1], np.array([x[0, 0], 9]), form)
    assert np.array_equal(single, [y[0, 0], np.nan], equal_nan=True)


@given(st.lists(st.tuples(st.floats(0.01, 9), st.floats(20, 50)), min_size=1, max_size=12))
def test_the_pareto_front_is_what_nothing_beats(points):
    front = rd.pareto_front(RateQuality(*map(np.array, zip(*points, strict=True))))
    front_points = set(zip(front.bpp.tolist(), front.quality.tolist(), strict=True))
    for bpp, quality in points:
        beaten = any(b <= bpp and q >= quality and (b, q) != (bpp, quality) for b, q in points)
        assert ((bpp, quality) in front_points) == (not beaten)


def test_fewer_than_four_points_on_the_front_are_refused_with_whose_they_are():
    short = RateQuality(ANCHOR.bpp[:3], ANCHOR.quality[:3])
    assert "anchor has 3 of " in bd_rate(short, ANCHOR, USUAL_RULE).why
    assert " 3 of the 4" in bd_quality(ANCHOR, short, USUAL_RULE).why
    assert bd_metric(ANCHOR, short, LPIPS, USUAL_RULE) == bd_quality(ANCHOR, short, USUAL_RULE)
    falling = RateQuality(np.array([0.1, 0.2, 0.3]), np.array([30.0, 32, 31]))
    assert " 2 of the 4" in bd_rate(ANCHOR, falling, USUAL_RULE).why
    up_to = Rule(up_to_bpp=0.9)
    assert " 0 of the 4" in bd_rate(ANCHOR, moved(0, 10), up_to).why
    assert "anchor has 0 of the 4" in bd_rate(moved(0, 10), ANCHOR, up_to).why


@pytest.mark.parametrize(("rates", "quality", "expected"), [
    ([0.4, 0.1, 0.2, 0.3, 0.5, 0.1], [29.5, 30, 33, 27, 33, 28], [3.5, np.nan, np.nan, 6, 0, 2]),
    ([0.1, 0.1, 0.2], [30, 30, 33], [np.nan] * 3), ([1.0, 1.0, 0.5], [20, 20, 20], [0, 0, np.nan]),
])  # fmt: skip
def test_the_distance_below_the_front_is_to_the_best_of_no_higher_rate(rates, quality, expected):
    gaps = rd.dominance_gaps(RateQuality(np.array(rates), np.array(quality, float)))
    assert gaps.tolist() == pytest.approx(expected, nan_ok=True)


def dipping(points, bad):
    """A line of points of which some, every second from the third on, lie below the front."""
    curve = line(np.geomspace(0.1, 2, points), 40, 10)
    curve.quality[2 : 2 * bad + 1 : 2] -= 6
    return curve


@pytest.mark.parametrize(("points", "bad", "is_refused"), [(10, 2, 0), (10, 3, 1), (7, 3, 1)])
def test_more_than_one_point_in_five_below_the_front_is_refused(points, bad, is_refused):
    good_curve, bad_curve = dipping(points, 0), dipping(points, bad)
    for pair, owner in (((good_curve, bad_curve), "it"), ((bad_curve, good_curve), "the anchor")):
        result = bd_rate(*pair, USUAL_RULE)
        assert (result.value is None) == is_refused
        if is_refused:
            assert f"{bad} of {points} points of {owner} " in result.why
            assert bd_quality(*pair, USUAL_RULE).value is None


def test_a_cut_does_not_hide_the_points_below_the_front():
    assert "2 of 7 points" in bd_rate(ANCHOR, dipping(8, 2), Rule(up_to_bpp=1.0)).why


def test_less_than_a_third_of_overlap_is_given_only_when_asked_for():
    overlap, any_overlap = pytest.approx(5 / 19), Rule(any_overlap=True)  # of 19 dB
    why = rd.TOO_LITTLE_OVERLAP
    assert bd_rate(ANCHOR, moved(7), USUAL_RULE) == rd.Delta(None, overlap, why=why)
    assert bd_rate(ANCHOR, moved(7), any_overlap).overlap == overlap
    assert bd_rate(ANCHOR, moved(6), USUAL_RULE).value is not None
    for delta in (bd_quality, partial(bd_metric, metric=PSNR)):
        assert delta(ANCHOR, moved(0, 10), rule=USUAL_RULE).value is None
        assert delta(ANCHOR, moved(0, 10), rule=any_overlap).value is not None
    assert bd_rate(ANCHOR, moved(20), any_overlap)[:2] == (None, 0.0)
    assert bd_quality(ANCHOR, moved(20), USUAL_RULE).value is not None
    assert bd_quality(ANCHOR, moved(0, 100), USUAL_RULE).value is None


def test_a_cut_curve_ends_on_the_interpolated_curve_at_that_rate():
    rates = [0.1, 0.2, 0.4, 0.8]
    for limit, expected in ((0.5, [0.1, 0.2, 0.4, 0.5]), (2, rates), (0.4, rates[:3]), (0.05, [])):
        result = cut(line(rates, 40, 10), Rule(up_to_bpp=limit))
        assert result.bpp.tolist() == expected
        assert result.quality == pytest.approx(line(expected, 40, 10).quality, abs=1e-12)


def test_an_overshoot_of_the_interpolation_is_marked():
    rates = np.array([0.1, 0.2, 0.4, 0.8])
    anchor = RateQuality(rates, np.array([28.0, 31, 34, 37]))
    uneven = RateQuality(rates, np.array([28.0, 36, 36.2, 37]))
    means = {}
    for form in (Akima1DInterpolator, PchipInterpolator):
        areas = [form(c.quality, np.log10(c.bpp)).integrate(28, 37) for c in (anchor, uneven)]
        means[form] = 100 * (10 ** ((areas[1] - areas[0]) / 9) - 1)
    delta = bd_rate(anchor, uneven, USUAL_RULE)
    assert delta.value == pytest.approx(means[Akima1DInterpolator], abs=1e-9)
    assert means[PchipInterpolator] > -50 > -90 > delta.value
    assert (delta.overshoots, delta.doubtful) == (True, True)
    even = RateQuality(0.8 * rates, anchor.quality + np.array([0, 0.3, -0.2, 0]))
    even_delta = bd_rate(anchor, even, USUAL_RULE)
    assert (even_delta.overshoots, even_delta.doubtful) == (False, False)


def test_the_overlap_is_the_share_of_both_ranges_and_less_than_half_is_marked():
    # Two ranges of 12 dB, moved by s, share (12 - s) of (12 + s): half at s = 4.
    for shift_db in (3.9, 4.1):
        result = bd_rate(ANCHOR, moved(shift_db), USUAL_RULE)
        assert result.overlap == pytest.approx((12 - shift_db) / (12 + shift_db))
        assert result.doubtful is (shift_db > 4)
    middle = (ANCHOR.quality.min() + ANCHOR.quality.max()) / 2
    within = RateQuality(ANCHOR.bpp, middle + (ANCHOR.quality - middle) / 4)
    assert bd_rate(ANCHOR, within, USUAL_RULE).overlap == pytest.approx(1 / 4)
    assert bd_rate(within, ANCHOR, USUAL_RULE).overlap == pytest.approx(1 / 4)
    assert not rd.Delta(0.0, 0.5).doubtful


def sized_rows(size, images=("a", "bb", "ccc")):
    """Rows of JPEG and WebP whose bytes are a factor of codec and image times the setting."""
    rows = [*sweep("jpeg", images), *sweep("webp", images)]
    for record in rows:
        record["num_bytes"] = int(size(record["codec"], record["image"]) * record["setting_value"])
    return rows


def compare_rows(rows, metric=PSNR, rule=USUAL_RULE):
    (result,) = compare(summarise(table(rows)), metric, "jpeg", rule)
    return result


def test_where_lower_is_better_fewer_bits_are_still_negative_and_the_metric_keeps_its_sign():
    result = compare_rows(sized_rows(lambda codec, _: 30 if codec == "webp" else 40), LPIPS)
    assert result["bd_rate_percent"] == pytest.approx(-25, abs=1e-6)
    assert result["images_bd_rate_percent"] == pytest.approx(-25, abs=1e-6)
    assert result["bd_metric"] < 0


def test_ms_ssim_is_compared_in_decibels():
    summary = summarise(table([*sweep("jpeg"), *sweep("webp", ms_ssim=None)]))
    better = [row | {"ms_ssim": 1 - (1 - row["ms_ssim"]) / 10} for row in sweep("webp")]
    result = compare_rows([*sweep("jpeg"), *better], MS_SSIM)
    assert result["bd_metric"] == pytest.approx(10, abs=1e-9)  # a tenth of 1 - x is 10 dB
    assert "ms_ssim of 0 of 3 images" in excluded_points(summary, MS_SSIM)[0][1]
    assert MS_SSIM.axis_label == "MS-SSIM (dB)"


def test_the_mean_of_the_images_bd_rates_stands_beside_its_count():
    factors = {"a": 0.5, "bb": 1.0, "ccc": 0.9}
    rows = sized_rows(lambda codec, image: 1000 * (factors[image] if codec == "webp" else 1))
    result = compare_rows(rows)
    assert result["images_bd_rate_percent"] == pytest.approx(-20, abs=1e-9)
    assert (result["images_bd_rate_images"], result["images_bd_rate_refused"]) == (3, 0)
    assert result["images_bd_rate_median_percent"] == pytest.approx(-10, abs=1e-9)
    assert quartiles(result) == pytest.approx((-30, -5), abs=1e-9)
    assert result["bd_rate_percent"] == pytest.approx(100 * (2.4 / 3 - 1), abs=1e-9)


def test_an_image_whose_curves_cannot_be_compared_is_counted_apart():
    rows = [*sweep("jpeg"), *sweep("webp")]
    for record in rows:
        if record["image"] != "bb":
            record["psnr_db"] = 30.0
    result = compare_rows(rows)
    assert (result["images_bd_rate_images"], result["images_bd_rate_refused"]) == (1, 2)
    for record in rows:
        record["psnr_db"] += 50 * (record["codec"] == "webp" and record["image"] == "bb")
    result = compare_rows(rows)
    assert (result["images_bd_rate_images"], result["images_bd_rate_percent"]) == (None, None)
    (result,) = compare(summarise(table(rows[:18])), PSNR, "webp")
    assert result["reason"].startswith("webp has no")


def test_the_interval_of_two_images_bd_rates_is_students_of_their_logarithms():
    rows = sized_rows(lambda *places: 500 if places == ("webp", "a") else 1000, ("a", "bb"))
    result = compare_rows(rows)
    reach = math.exp(12.7062 * 25 / 75)  # t of one degree, the standard error of -50 and 0 %
    expected = (100 * (0.75 / reach - 1), 100 * (0.75 * reach - 1))
    assert ends(result, "images_") == pytest.approx(expected, rel=1e-5)
    assert None not in ends(result)


@pytest.mark.parametrize("metric", [PSNR, MS_SSIM, LPIPS], ids=lambda metric: metric.column)
def test_points_below_the_front_are_left_out_by_how_much_another_is_better(metric):
    rows = sized_rows(lambda *_: 100)
    for quality, values in ((10, (26.0, 0.95, 0.05)), (20, (25.5, 0.9, 0.09))):
        columns = dict(zip(("psnr_db", "ms_ssim", "lpips_alex"), values, strict=True))
        rows = change_rows(rows, {"codec": "webp", "setting_value": quality}, **columns)

    def left_out(up_to_bpp=None):
        return compare_rows(rows, metric, Rule(up_to_bpp=up_to_bpp))["points_left_out"]

    gap = {"psnr_db": 0.5, "ms_ssim": 10 * math.log10(2), "lpips_alex": 0.04}[metric.column]
    assert left_out() == left_out(2.0) == f"webp quality=20 by {gap:.3g}"  # bpp of that setting
    assert left_out(1.99) == ""


def test_incomplete_points_are_neither_drawn_nor_compared():
    rows = [*sweep("jpeg"), *(record for record in sweep("webp") if record["image"] != "a")]
    summary = summarise(table(rows))
    assert list(curves(summary, PSNR)) == ["jpeg"]
    excluded = {(p.edition.spec.text, why) for p, why in excluded_points(summary, PSNR)}
    assert excluded == {("webp", "2 of 3 images")}
    lost = change_rows(sweep("webp"), {"image": "a"}, psnr_db=None)
    for case_rows, reason in (
        ([*sweep("jpeg"), *lost], "psnr_db of 2 of 3 images: "),
        (sweep("webp", psnr_db=None, psnr_db_reason="no"), "psnr_db of 0 of 3 images: no"),
        (sweep("jpeg", num_bytes=0), "no bits"),
    ):
        (why,) = {why for _, why in excluded_points(summarise(table(case_rows)), PSNR)}
        assert why.startswith(reason)
    assert rd.image_curves([], PSNR) == {}
    assert rd.curve_of([0.0, 0.1], [30.0, 31.0], PSNR).bpp.tolist() == [0.1]
    (result,) = compare(summary, PSNR, "jpeg")
    assert (result["bd_rate_percent"], result["bd_metric"]) == (None, None)
    assert "complete" in result["reason"] == result["bd_metric_reason"]
    assert not result["few"]
    dearer = [record | {"num_bytes": 9 * record["num_bytes"]} for record in sweep("webp")]
    for any_overlap in (False, True):
        result = compare_rows([*sweep("jpeg"), *dearer], rule=Rule(any_overlap=any_overlap))
        assert (result["bd_metric"] is not None) is any_overlap


def test_points_with_identical_images_are_not_drawn():
    rows = [row("raw", 8, name, psnr_db=math.inf, ms_ssim=1.0) for name in "ab"]
    rows += [row("jpeg", 5, "a"), row("jpeg", 5, "b", psnr_db=math.inf)]
    summary = summarise(table(rows))
    assert curves(summary, PSNR) == {}
    reasons = [reason for _, reason in excluded_points(summary, PSNR)]
    assert ["2 of 2" in reasons[0], "1 of 2" in reasons[1], len(reasons)] == [True, True, 2]
    assert list(curves(summary, MS_SSIM)) == ["jpeg"]
    assert list(curves(summary, LPIPS)) == ["raw", "jpeg"]


def test_curves_run_from_low_rate_to_high_by_the_bpp_of_the_metrics_images():
    rows = change_rows([*sweep("jpeg"), *sweep("webp")], {"image": "a"}, ms_ssim=None)
    (points, _) = curves(summarise(table(rows)), MS_SSIM).values()
    rates = [point.means["ms_ssim"].bpp for point in points]
    assert rates == sorted(rates)
    assert rates[0] != points[0].bpp


def test_qualities_of_many_fronts_are_those_of_each_front():
    random = np.random.default_rng(5)
    fronts = [rising(random, count) for count in (1, 2, 5, 5, 8, 5)]
    rates = np.array([np.log10(front.bpp).mean() for front in fronts])
    rates[3] = 9  # beyond its end
    together = rd.qualities_at(fronts, rates, "akima")
    alone = [rd.quality_at(*pair, "akima") for pair in zip(fronts, rates.tolist(), strict=True)]
    assert np.array_equal(together, alone, equal_nan=True)
    assert np.isnan(together).tolist() == [False, False, False, True, False, False]
    assert rd.qualities_at([], np.empty(0), "akima").shape == (0,)


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("scale", ["linear", "saturating", "decades"])
def test_qualities_are_those_of_each_value(scale, better):
    metric = Metric("m", "M", better, scale)
    values = [-1.0, 0.0, 0.25, 0.999, 1.0, 1.5, 40.0, math.inf, math.nan]
    expected = np.reshape([metric.quality(value) for value in values], (3, 3))
    result = rd.qualities(np.reshape(values, (3, 3)), metric)
    assert result == pytest.approx(expected, rel=1e-15, nan_ok=True)
