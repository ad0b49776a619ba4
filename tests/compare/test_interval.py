"""Intervals of means, BD-rates and distribution metrics: textbook values and simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmark.codec import Setting
from benchmark.compare import interval as intervals
from benchmark.compare.interval import bd_rates, bootstrap_interval, image_draws, point_interval
from benchmark.compare.rate_quality import RateQuality, bd_rate, cut
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.metrics.frechet import frechet
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition
from benchmark.rows.means import summarise
from benchmark.rows.summary import Point
from benchmark.spec import CodecSpec
from support.rows.by_label import compare, curves, ends, quartiles
from support.rows.measured import row, sweep, table

PSNR, MS_SSIM, LPIPS = map(Metric.named, ("psnr", "ms_ssim", "lpips"))
FD = Metric("fd", "FD", "lower", is_distribution=True)


def point(values, order=None):
    ids, rates = np.arange(len(values)) if order is None else order, np.ones(len(values))
    edition, values = Edition.create(CodecSpec("jpeg", ())), np.array(values)
    columns = {"psnr_db": values, "fd": values}
    return Point(edition, Setting("q", 1), 1.0, len(ids), 0, 0, (), {}, ids, rates, columns)


def test_a_jackknife_interval_of_a_mean_is_students():
    values = np.random.default_rng(1).gamma(2, size=24)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert intervals.jackknife_interval(values) == pytest.approx(tuple(expected), rel=1e-12)


def test_a_bootstrap_interval_agrees_with_scipys():
    values = np.random.default_rng(2).gamma(2, size=24)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    # a thousand draws know a 2.5 % quantile of a normal mean to about a tenth of its spread
    near = pytest.approx(tuple(theirs), abs=0.06 * (theirs.high - theirs.low))
    assert bootstrap_interval(values) == near
    pinned = bootstrap_interval(np.arange(24.0))  # published tables have these draws
    assert pinned == pytest.approx((8.665625, 14.334375), rel=1e-12)


def test_draws_are_of_images_with_replacement_and_the_same_for_every_codec():
    draws = image_draws(24)
    assert draws.sum(axis=1) == pytest.approx(np.ones(len(draws)), abs=1e-12)
    assert draws.mean(axis=0) == pytest.approx(np.full(24, 1 / 24), rel=0.1)
    assert np.any(draws == 0)
    assert np.array_equal(draws, image_draws(24))
    values = np.random.default_rng(4).gamma(2, size=9)
    expected = [values.mean(), *(np.delete(values, index).mean() for index in range(9))]
    assert intervals.jackknife_weights(9) @ values == pytest.approx(expected)


def studentised(centred):
    result = []
    for counts in np.rint(len(centred) * image_draws(len(centred))).astype(int):
        sample = np.repeat(centred, counts)
        variance = max(sample.var(), np.mean(centred**2) / 4)
        result.append(sample.mean() / np.sqrt(variance / (len(centred) - 1)))
    return np.array(result)


@pytest.mark.parametrize("images", [2, 3, 9])
def test_a_studentised_mean_is_that_of_the_images_drawn(images):
    values = np.random.default_rng(8).gamma(2, size=images)
    centred = values - values.mean()
    columns = np.stack([centred, np.zeros(images)], axis=1)  # the second is of images all alike
    result = intervals.studentise(columns, image_draws(images))
    assert result[:, 0] == pytest.approx(studentised(centred), abs=1e-9)
    assert not result[:, 1].any()


def test_a_points_interval_is_of_the_finite_values_of_its_images_in_any_order():
    values, order = np.random.default_rng(4).gamma(2, size=9), np.arange(9)[::-1]
    assert point_interval(point(values), PSNR) == point_interval(point(values[order], order), PSNR)
    expected = point_interval(point([30.0, 31.0, 33.0]), FD)
    assert point_interval(point([30.0, np.nan, 31.0, np.inf, 33.0]), FD) == expected
    assert point_interval(point([30.0]), PSNR) is None
    assert point_interval(point(values[:2]), PSNR) == bootstrap_interval(values[:2])
    assert point_interval(point(values), FD) == intervals.jackknife_interval(values)
    assert point_interval(point(values), replace(FD, has_image_values=False)) is None


def test_records_carry_both_ends_beside_the_mean():
    summary = summarise(table(sweep("jpeg")))
    records = intervals.records_with_intervals(summary, [PSNR])
    for record, of_point in zip(records, summary.points, strict=True):
        ends = point_interval(of_point, PSNR)
        assert (record["psnr_db_low"], record["psnr_db_high"]) == ends
        assert ends.low < record["psnr_db"] < ends.high


def test_percentiles_of_draws_are_moved_outwards_as_far_as_students_t_is_wider():
    """Hesterberg's adjusted level at n = 24: the quantile -2.0687 sqrt(24 / 23) of a normal."""
    draws = np.sort(np.random.default_rng(6).normal(size=100_001))
    level = stats.norm.cdf(-2.0687 * np.sqrt(24 / 23))
    assert level == pytest.approx(0.0173, abs=1e-4)
    expected = draws[round(level * 100_000)], draws[round((1 - level) * 100_000)]
    assert intervals.draws_interval(draws, np.full(24, np.nan)) == pytest.approx(expected, abs=1e-3)


def test_each_bound_of_a_draws_interval_is_the_wider_one():
    values = np.random.default_rng(7).exponential(size=24)
    student = intervals.jackknife_interval(values)
    narrow, skewed = np.full(1000, values.mean()), image_draws(24) @ values
    assert intervals.draws_interval(narrow, values) == pytest.approx(student)
    result = intervals.draws_interval(skewed, values)
    alone = intervals.draws_interval(skewed, np.full(24, np.nan))
    lacking = np.where(values == values.max(), np.nan, values)
    assert intervals.draws_interval(skewed, lacking) == alone
    assert result == pytest.approx((min(student.low, alone.low), max(student.high, alone.high)))
    assert alone.high > student.high  # of skewed values


def test_the_spread_over_seeds_is_that_of_the_means_over_images():
    def rows(variant, shift, images):
        return [row("draws", 10, image, variant=variant, psnr_db=30 + shift) for image in images]

    seeds = [*rows("", 0, "abc"), *rows("seed=1", 1, "abc"), *rows("seed=2", 5, "abc")]
    alone = rows("steps=9", 7, "abc")
    (result,) = intervals.draw_spreads(summarise(table([*seeds, *alone])), [PSNR])
    assert [result[name] for name in ("label", "draws", "over_draws")] == ["draws", 3, (30, 35)]
    assert [result["mean"], *result["over_images"]] == pytest.approx([32] * 3)
    (of_two,) = intervals.draw_spreads(summarise(table(seeds[:6])), [PSNR])
    assert (of_two["draws"], of_two["mean"]) == (2, pytest.approx(30.5))
    other_images = [*rows("", 0, "abc"), *rows("seed=1", 1, "ab")]
    assert intervals.draw_spreads(summarise(table(other_images)), [PSNR]) == []


def random_curves(points, seed, dips=False, draws=60):
    """Random curves, their points in one order that is not that of their rates."""
    random = np.random.default_rng(seed)
    log_rate = np.sort(random.uniform(-1.2, 0.4, (draws, points)), axis=1)
    quality = 25 + np.cumsum(random.uniform(0.2, 3, (draws, points)), axis=1)
    if dips:
        quality[:, 3] -= random.uniform(0, 4, draws)
    order = random.permutation(points)
    return RateQuality(10 ** log_rate[:, order], quality[:, order])


@pytest.mark.parametrize("form", ["akima", "pchip", "cubic"])
@pytest.mark.parametrize("up_to_bpp", [None, 0.8])
@pytest.mark.parametrize(
    ("points", "dips"), [((7, 9), False), ((7, 9), True), ((4, 7), False), ((7, 4), False)]
)
def test_every_weighting_has_the_bd_rate_of_two_curves(points, dips, up_to_bpp, form):
    rule = Rule(bd=form, up_to_bpp=up_to_bpp, any_overlap=True)
    anchor, test = (random_curves(count, seed, dips) for seed, count in enumerate(points, 1))
    compared = 0
    for place, value in enumerate(bd_rates(anchor, test, rule).tolist()):
        pair = [RateQuality(*(axis[place] for axis in curve)) for curve in (anchor, test)]
        expected = bd_rate(*pair, rule)
        cut_curves = [cut(curve, rule) for curve in pair]
        overshot = any(
            curve.quality[-1] < curve.quality.max()
            for curve in cut_curves if up_to_bpp in curve.bpp
        )  # fmt: skip
        if expected.value is not None and not overshot:
            assert value == pytest.approx(expected.value, rel=1e-9, abs=1e-9)
            compared += 1
    assert compared > 20


def uneven_rows():
    """Half of the images gain a half of their bits, with noise, the others nothing."""
    random = np.random.default_rng(3)
    names = [f"{number:02d}" for number in range(8)]
    rows = [*sweep("jpeg", names), *sweep("webp", names)]
    of_image = dict(zip(names, random.lognormal(0, 0.3, 8), strict=True))
    gains = dict(zip(names, random.choice([0.5, 1.0], 8), strict=True))
    for record in rows:
        size = of_image[record["image"]]
        gain = gains[record["image"]] if record["codec"] == "webp" else 1
        record["num_bytes"] = int(4000 * size * gain * record["setting_value"])
        record["psnr_db"] += 10 * np.log10(size)
    return rows


@pytest.mark.parametrize("metric", [PSNR, MS_SSIM, LPIPS], ids=lambda metric: metric.column)
def test_the_interval_is_of_mean_curves_without_each_image_in_turn(metric):
    """The wider bounds of Student's t (2.364624) and of the studentised bootstrap, moved."""
    summary = summarise(table(uneven_rows()))
    points_by_label = curves(summary, metric)
    sign = 1 if metric.better == "higher" else -1
    logs = []
    for left_out in (None, *range(8)):
        image_indices = [image for image in range(8) if image != left_out]
        pair = []
        for points in (points_by_label["jpeg"], points_by_label["webp"]):
            means = [p.image_values[metric.column][image_indices].mean() for p in points]
            rates = [point.image_bpp[image_indices].mean() for point in points]
            quality = sign * np.array([*map(metric.axis_position, means)])
            pair.append(RateQuality(np.array(rates), quality))
        logs.append(np.log1p(bd_rate(*pair, USUAL_RULE).value / 100))
    (comparison,) = compare(summary, metric, "jpeg", USUAL_RULE)
    influence = 7 * (np.mean(logs[1:]) - logs[1:])
    error = np.sqrt(np.mean(influence**2) / 7)
    share = stats.norm.sf(2.364624 * np.sqrt(8 / 7))
    low, high = np.quantile(studentised(influence), [share, 1 - share])
    bounds = logs[0] - error * np.array([max(2.364624, high), min(-2.364624, low)])
    assert ends(comparison) == pytest.approx(tuple(100 * np.expm1(bounds)), rel=1e-5)


def test_the_interval_of_a_frechet_distance_is_as_wide_as_leaving_images_out_says():
    """The jackknife that computes every distance anew without one image after another."""
    random = np.random.default_rng(11)
    names, settings = [f"{number:02d}" for number in range(30)], range(5)
    sources = [random.normal(random.normal(0, 0.5), 1, (60, 4)) for _ in names]
    busy = random.lognormal(0, 0.3, len(names))
    num_bytes, decoded = {}, {}
    for codec, scale in (("jpeg", 1.0), ("webp", 0.8)):
        for setting in settings:
            spread = scale * 0.5**setting * busy
            sizes = 4000 * 2**setting * busy * random.lognormal(0, 0.1, 30)
            num_bytes[codec, setting] = np.round(sizes)
            decoded[codec, setting] = [
                array + random.normal(0.3 * size, size, array.shape)
                for array, size in zip(sources, spread, strict=True)
            ]
    fd = {key: frechet(sources, images) for key, images in decoded.items()}
    rows = [
        row(codec, setting, name, num_bytes=int(num_bytes[codec, setting][n]),
            lpips_alex=reduced.value + influence)
        for (codec, setting), reduced in fd.items()
        for n, (name, influence) in enumerate(zip(names, reduced.influence, strict=True))
    ]  # fmt: skip
    metric = replace(LPIPS, is_distribution=True)
    (result,) = compare(summarise(table(rows)), metric, "jpeg", USUAL_RULE)

    def log_ratio(indices):
        curves = []
        for codec in ("jpeg", "webp"):
            keys = [(codec, setting) for setting in settings]
            rates = np.array([num_bytes[key][indices].mean() for key in keys])
            images = [sources[n] for n in indices]
            quality = [-frechet(images, [decoded[key][n] for n in indices]).value for key in keys]
            curves.append(RateQuality(rates, np.array(quality)))
        return np.log1p(bd_rate(*curves, USUAL_RULE).value / 100)

    everyone = np.arange(len(names))
    assert np.log1p(result["bd_rate_percent"] / 100) == pytest.approx(log_ratio(everyone), rel=1e-6)
    error = np.std([log_ratio(np.delete(everyone, n)) for n in everyone]) * np.sqrt(29)
    low, high = np.log1p(np.array(ends(result)) / 100)
    assert high - low == pytest.approx(2 * 2.045 * error, rel=0.15)  # Student's t of 29 degrees
    assert (result["images_bd_rate_images"], result["images_bd_rate_percent"]) == (None, None)


def test_a_single_image_and_pooled_rates_have_no_interval():
    rows = table([*sweep("jpeg", "a"), *sweep("webp", "a")])
    (result,) = compare(summarise(rows), PSNR, "jpeg", USUAL_RULE)
    assert ends(result) == ends(result, "images_") == (None, None)
    assert quartiles(result) == (result["images_bd_rate_percent"],) * 2
    rows = table([*sweep("jpeg"), *sweep("webp")])
    (result,) = compare(summarise(rows, pooled=True), PSNR, "jpeg", USUAL_RULE)
    assert ends(result) == (None, None)  # since curves average by image
    assert None not in ends(result, "images_")


def test_curves_that_do_not_meet_without_some_image_have_no_interval():
    curve = RateQuality(*map(np.sort, random_curves(7, 4)))
    cheap, dear = (curve._replace(bpp=curve.bpp * factor) for factor in (1e-200, 1e200))
    assert np.isinf(bd_rates(cheap, dear, USUAL_RULE)).all()
    better = curve._replace(quality=curve.quality + 100 * (np.arange(60) == 9)[:, None])
    assert intervals.bd_rate_interval(curve, better, USUAL_RULE) is None
    assert intervals.bd_rate_interval(curve, curve, USUAL_RULE) == pytest.approx((0, 0), abs=1e-9)


def test_weightings_that_keep_three_of_four_points_are_not_mixed_with_those_of_four():
    curve = RateQuality(np.array([[0.1, 0.2, 0.4, 0.8]] * 2), np.array([[28.0, 31, 34, 37]] * 2))
    curve.quality[1, 2] = 30
    rates = bd_rates(curve, curve, USUAL_RULE)
    assert rates[0] == 0
    assert np.isnan(rates[1])


@pytest.mark.parametrize(("points", "computed"), [(3, False), (4, True)])
def test_four_points_are_enough_for_a_curve_and_three_are_not(points, computed):
    one, other = random_curves(points, 1), random_curves(5, 2)
    for pair in ((one, other), (other, one)):
        assert (~np.isnan(bd_rates(*pair, USUAL_RULE))).any() == computed


def test_a_point_at_a_rate_of_another_is_left_out_and_one_at_the_cut_is_where_the_curve_ends():
    log_rate = np.tile(np.linspace(-1, 0.5, 7), (6, 1))
    quality = 30 + 8 * log_rate + np.arange(6)[:, None] * log_rate**2
    curve, dearer = (RateQuality(10 ** (log_rate + shift), quality) for shift in (0, 0.1))
    worse = RateQuality(
        *(np.insert(a, 3, a[:, 3] - by, axis=1) for a, by in zip(curve, (0, 1), strict=True))
    )
    assert bd_rates(worse, dearer, USUAL_RULE) == pytest.approx(bd_rates(curve, dearer, USUAL_RULE))
    shifted_bpp = 10 ** (log_rate - 1e-3 * (np.arange(6) % 2)[:, None])  # end: 1 or less
    boundary_curve = curve._replace(bpp=shifted_bpp)
    up_to_one = Rule(up_to_bpp=1.0, any_overlap=True)
    for place, result in enumerate(bd_rates(boundary_curve, dearer, up_to_one).tolist()):
        pair = [RateQuality(*(axis[place] for axis in stack)) for stack in (boundary_curve, dearer)]
        assert result == pytest.approx(bd_rate(*pair, up_to_one).value, rel=1e-6)
    higher_curve = curve._replace(quality=quality + np.ptp(quality, axis=1)[:, None])
    assert np.isnan(bd_rates(curve, higher_curve, USUAL_RULE)).all()  # they touch
    bpp = 10 ** np.array([[-1, -0.9, -0.2, 0.2, 0.3, 0.4, 0.5]])
    bent = RateQuality(bpp, np.array([[1, 1.6, 1.7, 3.2, 7.6, 11.5, 15.3]]))
    falls_before_it_rises = Rule(up_to_bpp=10**-0.16)  # by Akima
    assert np.isnan(bd_rates(bent, bent, falls_before_it_rises))
    assert bd_rates(bent, bent, Rule(up_to_bpp=10**0.35)) == pytest.approx([0])


QUALITIES = np.arange(27.0, 43, 3)  # dB that settings aim at
# Of images' rates at equal quality: spread of their logarithm; of codecs: change of log rate, its
# spread, its slope over log rate and over dB.
GENERATORS = {
    "similar codecs": (0.5, -0.05, 0.05, 0.03, 0.0),
    "lognormal rates": (1.0, -0.2, 0.1, 0.08, 0.0),
    "lognormal rates, gain where they are low": (1.0, -0.2, 0.04, 0.2, 0.0),
    "driven by quality": (0.6, -0.15, 0.1, 0.05, 0.0),
    "driven by quality, gain where rates are low": (0.6, -0.15, 0.04, 0.125, 0.0),
    "crossing curves": (0.5, 0.0, 0.05, 0.0, 0.03),
}


def made_up_images(kind, images, random):
    """Rates (bpp) and dB of two codecs, four arrays of shape (images, settings)."""
    sigma, gain, spread, by_rate, by_quality = GENERATORS[kind]
    busy = random.normal(0, sigma, (images, 1))
    slope = 0.16 * np.exp(random.normal(0, 0.12, (images, 1)))
    first = QUALITIES - 1.5 * busy + random.normal(0, 0.5, (images, 1))
    second = first + 0.7 + random.normal(0, 0.3, (images, 1))
    if kind.startswith("driven"):
        second = np.broadcast_to(QUALITIES, first.shape)
    change = gain + by_rate * busy + spread * random.normal(size=(images, 1))
    by_quality = by_quality + by_quality / 3 * random.normal(size=(images, 1))
    change = change + by_quality * (second - 34)
    first_rates, second_rates = (np.exp(busy - 1 + slope * (dB - 34)) for dB in (first, second))
    return first_rates, first, second_rates * np.exp(change), second


def curves_of(weights, *axes):
    rates, quality, other_rates, other_quality = (weights @ axis for axis in axes)
    return RateQuality(rates, quality), RateQuality(other_rates, other_quality)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "minimum_share"), [(8, 0.88), (24, 0.92), (100, 0.92)])
@pytest.mark.parametrize("kind", GENERATORS)
def test_intervals_cover_the_value_of_all_images_as_documented(kind, images, minimum_share):
    everyone = np.full((1, 200_000), 1 / 200_000)
    population = made_up_images(kind, 200_000, np.random.default_rng(9))
    truth = bd_rates(*curves_of(everyone, *population), USUAL_RULE)
    weights, sets = intervals.jackknife_weights(images), 1000
    intervals_below = intervals_above = 0
    for seed in range(sets):
        sample = made_up_images(kind, images, np.random.default_rng([seed, images]))
        low, high = intervals.bd_rate_interval(*curves_of(weights, *sample), USUAL_RULE)
        intervals_below += high < truth[0]
        intervals_above += low > truth[0]
    share = 1 - (intervals_below + intervals_above) / sets
    sides = intervals_below / sets, intervals_above / sets
    assert share >= minimum_share, (kind, images, share, *sides)
