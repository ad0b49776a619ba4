from dataclasses import replace

import numpy as np
import pytest

from benchmark.analysis.comparison import compare
from benchmark.analysis.interval import (
    ResampledCurve,
    bd_rate_draws,
    bd_rate_interval,
    image_draws,
    resampled_curve,
)
from benchmark.analysis.rate_distortion import Curve, Delta, bd_rate, curves, cut
from benchmark.analysis.summarise import summarise
from benchmark.metrics.frechet import frechet
from benchmark.metrics.measure import Measure
from support.rows.measured import row, sweep, table

PSNR = Measure.named("psnr")
MS_SSIM = Measure.named("ms_ssim")
LPIPS = Measure.named("lpips")


def drawn(points, seed, dips=False, draws=60):
    """Random curves, their points in one order that is not that of their rates."""
    random = np.random.default_rng(seed)
    log_rate = np.sort(random.uniform(-1.2, 0.4, (draws, points)), axis=1)
    quality = 25 + np.cumsum(random.uniform(0.2, 3, (draws, points)), axis=1)
    if dips:
        quality[:, 3] -= random.uniform(0, 4, draws)
    order = random.permutation(points)
    return ResampledCurve(log_rate[:, order], quality[:, order])


@pytest.mark.parametrize("dips", [False, True])
@pytest.mark.parametrize("up_to_bpp", [None, 0.8])
def test_every_draw_has_the_bd_rate_of_the_package(dips, up_to_bpp):
    anchor, test = drawn(7, 1, dips), drawn(9, 2, dips)
    found = bd_rate_draws(anchor, test, up_to_bpp)
    compared = 0
    for place, value in enumerate(found.tolist()):
        one, other = (
            cut(Curve(10 ** curve.log_rate[place], curve.quality[place]), up_to_bpp)
            for curve in (anchor, test)
        )
        expected = bd_rate(one, other, any_overlap=True)
        if isinstance(expected, Delta) and np.isfinite(value):
            assert value == pytest.approx(expected.value, rel=1e-9, abs=1e-9)
            compared += 1
    assert compared > 40


def uneven_rows(images):
    """Half of the images gain a half of their bits, with noise, the others nothing."""
    random = np.random.default_rng(3)
    names = [f"{number:02d}" for number in range(images)]
    rows = [*sweep("jpeg", names), *sweep("webp", names)]
    of_image = dict(zip(names, random.lognormal(0, 0.3, images), strict=True))
    gains = dict(zip(names, random.choice([0.5, 1.0], images), strict=True))
    for one in rows:
        own = of_image[one["image"]] * (gains[one["image"]] if one["codec"] == "webp" else 1)
        one["num_bytes"] = int(4000 * own * one["setting_value"])
        for column in ("psnr_db", "psnr_y_db"):
            one[column] += 10 * np.log10(of_image[one["image"]])
    return rows


@pytest.mark.parametrize("measure", [PSNR, MS_SSIM, LPIPS], ids=lambda one: one.column)
def test_the_interval_is_of_mean_curves_made_anew_for_each_draw(measure):
    summary = summarise(table(uneven_rows(8)))
    of = curves(summary, measure)
    sign = 1 if measure.better == "higher" else -1
    expected = []
    for weights in image_draws(8):
        both = []
        for label in ("jpeg", "webp"):
            means = [weights @ one.image_values[measure.column] for one in of[label]]
            rates = [weights @ one.image_bpp for one in of[label]]
            both.append(Curve(np.array(rates), sign * np.array([*map(measure.plotted, means)])))
        expected.append(bd_rate(*both).value)
        if len(expected) == 50:
            break
    found = bd_rate_draws(
        *(resampled_curve(of[label], measure, image_draws) for label in ("jpeg", "webp"))
    )
    assert found[:50] == pytest.approx(expected, rel=1e-9)
    (comparison,) = compare(summary, measure, "jpeg")
    log_ratio = np.log(1 + found / 100)
    half = 2.364624 * np.std(log_ratio, ddof=1) * np.sqrt(8 / 7)  # Student's t of 7 degrees, 97.5 %
    value = np.log(1 + comparison.rate.value / 100)
    expected = [100 * np.exp(value - half) - 100, 100 * np.exp(value + half) - 100]
    assert comparison.rate_interval == pytest.approx(expected, rel=1e-6)
    assert comparison.rate_interval.low < comparison.rate.value < comparison.rate_interval.high


def test_the_interval_of_a_frechet_distance_is_as_wide_as_leaving_images_out_says():
    """The jackknife that computes every distance anew without one image after another."""
    random = np.random.default_rng(11)
    names, settings = [f"{number:02d}" for number in range(30)], range(5)
    sources = [random.normal(random.normal(0, 0.5), 1, (60, 4)) for _ in names]
    busy = random.lognormal(0, 0.3, len(names))
    num_bytes, decoded = {}, {}
    for codec, scale in (("jpeg", 1.0), ("webp", 0.8)):
        for at in settings:
            spread = scale * 0.5**at * busy
            num_bytes[codec, at] = np.round(4000 * 2**at * busy * random.lognormal(0, 0.1, 30))
            decoded[codec, at] = [
                one + random.normal(0.3 * size, size, one.shape)
                for one, size in zip(sources, spread, strict=True)
            ]
    fd = {key: frechet(sources, images) for key, images in decoded.items()}
    rows = [
        row(codec, at, name, num_bytes=int(num_bytes[codec, at][n]), lpips_alex=value)
        for (codec, at), reduced in fd.items()
        for n, (name, value) in enumerate(
            zip(names, reduced.value + reduced.influence, strict=True)
        )
    ]
    (found,) = compare(summarise(table(rows)), replace(LPIPS, of_sets=True), "jpeg")

    def log_ratio(kept):
        curves = [
            Curve(
                np.array([num_bytes[codec, at][kept].mean() for at in settings]),
                -np.array(
                    [
                        frechet(
                            [sources[n] for n in kept], [decoded[codec, at][n] for n in kept]
                        ).value
                        for at in settings
                    ]
                ),
            )
            for codec in ("jpeg", "webp")
        ]
        return np.log1p(bd_rate(*curves).value / 100)

    everyone = np.arange(len(names))
    assert np.log1p(found.rate.value / 100) == pytest.approx(log_ratio(everyone), rel=1e-6)
    error = np.std([log_ratio(np.delete(everyone, n)) for n in everyone]) * np.sqrt(29)
    low, high = np.log1p(np.array(found.rate_interval) / 100)
    assert high - low == pytest.approx(2 * 2.045 * error, rel=0.15)  # Student's t of 29 degrees
    assert found.images_rate.reason.startswith("it is a metric of whole sets")


def test_codecs_that_differ_by_one_factor_on_every_image_have_no_width():
    rows = uneven_rows(8)
    bits = {(one["image"], one["setting_value"]): one["num_bytes"] for one in rows[:48]}
    for one in rows[48:]:
        one["num_bytes"] = bits[one["image"], one["setting_value"]] // 2
    for one in rows:
        one["num_bytes"] -= one["num_bytes"] % 2
    (found,) = compare(summarise(table(rows)), PSNR, "jpeg")
    assert found.rate_interval == pytest.approx((-50, -50), abs=0.02)


def test_a_single_image_and_too_few_comparable_draws_have_no_interval():
    (found,) = compare(summarise(table([*sweep("jpeg", "a"), *sweep("webp", "a")])), PSNR, "jpeg")
    assert found.rate_interval is None
    assert found.images_rate.interval is None
    assert found.images_rate.quartiles == (found.images_rate.value,) * 2
    apart = drawn(7, 4)
    apart = ResampledCurve(np.sort(apart.log_rate), np.sort(apart.quality))
    far = ResampledCurve(apart.log_rate, apart.quality + 100)
    some = ResampledCurve(
        apart.log_rate, apart.quality + np.where(np.arange(60) < 10, 100, 0)[:, None]
    )
    assert bd_rate_interval(0.0, 9, apart, far) is None
    assert bd_rate_interval(0.0, 9, apart, some) is None
    assert bd_rate_interval(0.0, 9, apart, apart) == pytest.approx((0, 0), abs=1e-9)


def test_pooled_rates_have_no_interval_since_draws_average_by_image():
    rows = table([*sweep("jpeg"), *sweep("webp")])
    (found,) = compare(summarise(rows, average="pooled"), PSNR, "jpeg")
    assert found.rate_interval is None
    assert found.images_rate.interval is not None


@pytest.mark.parametrize(("points", "computed"), [(3, False), (4, True)])
def test_four_points_are_enough_for_a_draw_and_three_are_not(points, computed):
    found = bd_rate_draws(drawn(points, 1), drawn(points, 2))
    assert (~np.isnan(found)).any() == computed
