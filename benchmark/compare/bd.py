"""BD-rates and BD-metrics of codec variants against an anchor, and rankings by BD-rate.

The BD-rate of mean curves depends on how codecs distribute rate and quality over images at one
setting (a quality, a rate or a quantiser); the BD-rates of images' own curves do not. Codecs are
ranked by a distortion metric, and by a metric that no codec was trained on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare import interval as image_intervals
from benchmark.compare import rate_quality as rd
from benchmark.compare.interval import Interval
from benchmark.compare.rate_quality import Delta, RateQuality, bd_rate, mean_curve
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import RESCORE, Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.summary import SECONDS, Point, Summary, count_images, curves

DISTORTION = ("psnr", "psnr_y", "psnr_ycbcr")  # the first metric with values ranks codecs
# The first metric ranks codecs if any codec has a curve in it, otherwise the metric with the most
# curves does. Metrics in any codec's training loss are excluded.
HELD_OUT_METRICS = (
    *("lpips_squeeze", "dists", "lpips_vgg", "lpips", "ms_ssim"),
    *("ssimulacra2", "butteraugli", "vmaf", "ssim"),
)
INDEPENDENT_COLUMN = metric_class(HELD_OUT_METRICS[0]).column


Record = dict[str, Any]  # flat, JSON values only
Comparisons = Mapping[tuple[Edition, str], Record]  # by edition and metric column


def compare_curves(anchor: RateQuality, test: RateQuality, metric: Metric, rule: Rule) -> Record:
    """Return the BD-rate and the BD-metric of a curve against the anchor's curve."""
    rate = bd_rate(anchor, test, rule)
    record = _comparison_record(metric, rule, rate, rd.bd_metric(anchor, test, metric, rule))
    crossing = rd.crossing(anchor, test, rule) if rate.value is not None else None
    return record | {"crossing": None if crossing is None else metric.value(crossing)}


def anchor_comparison(metric: Metric, rule: Rule) -> Record:
    """Return the comparison of the anchor's curve with itself."""
    return _comparison_record(metric, rule, Delta(0.0, 1.0), Delta(0.0, 1.0))


def missing_comparison(metric: Metric, rule: Rule, reason: str) -> Record:
    """Return the comparison of a codec that has no curve."""
    return _comparison_record(metric, rule, Delta(why=reason), Delta(why=reason))


def _comparison_record(metric: Metric, rule: Rule, rate: Delta, change: Delta) -> Record:
    """Return a comparison of mean curves; names and per-image fields stay empty."""
    return {
        "metric": metric.column,
        "codec": None,
        "anchor": None,
        "up_to_bpp": rule.up_to_bpp,
        "bd": rule.bd,
        "bd_rate_percent": rate.value,
        **interval_fields(None),  # over images
        "bd_rate_overlap": rate.overlap,
        "images_bd_rate_percent": None,  # mean of the BD-rates of images' own curves
        **interval_fields(None, "images_"),
        "images_bd_rate_median_percent": None,
        "images_bd_rate_lower_quartile_percent": None,
        "images_bd_rate_upper_quartile_percent": None,
        "images_bd_rate_images": None,  # number of images with a BD-rate
        "images_bd_rate_refused": None,  # number of images whose curves cannot be compared
        "bd_metric": change.value,
        "bd_metric_overlap": change.overlap,
        "few": False,  # whether a distribution metric has so few images that it is marked
        # Points of both curves below the Pareto front, with their distance in units of the axis:
        # "webp quality=20 by 0.5".
        "points_left_out": "",
        "reason": rate.why,  # why there is no BD-rate
        "doubtful": rate.doubtful,
        "bd_metric_doubtful": change.doubtful,
        "bd_metric_reason": change.why,
        # Metric value at which the curves cross: above it, the other curve needs fewer bits.
        "crossing": None,
    }


def compare(
    summary: Summary, metrics: Iterable[Metric], anchor: Edition, rule: Rule
) -> dict[tuple[Edition, str], Record]:
    """Compare editions with the anchor in each metric; intervals and images use `rule`, too."""
    labels = labels_of((*summary.editions, anchor))
    result = {}
    for metric in metrics:
        points = curves(summary, metric)
        intervals = rate_intervals(summary, metric, anchor, rule)
        anchor_points = () if metric.is_distribution else points.get(anchor, ())
        anchor_images = rd.image_curves(anchor_points, metric)
        for edition in summary.editions:
            if edition == anchor:
                continue
            if anchor in points and edition in points:
                anchor_points = points[anchor]
                record = _compare_points(anchor_points, points[edition], metric, rule, labels)
                record |= _image_fields(anchor_images, points[edition], metric, rule)
                if record["bd_rate_percent"] is not None:
                    record |= interval_fields(intervals.get(edition))
            else:
                name = "it" if anchor in points else labels[anchor]
                record = missing_comparison(metric, rule, f"{name} has no complete point")
            names = {"codec": labels[edition], "anchor": labels[anchor]}
            result[edition, metric.column] = record | names
    return result


def _compare_points(
    anchor: Sequence[Point],
    test: Sequence[Point],
    metric: Metric,
    rule: Rule,
    labels: Mapping[Edition, str],
) -> Record:
    record = compare_curves(mean_curve(anchor, metric), mean_curve(test, metric), metric, rule)
    counts = [point.means[metric.column].images for point in (*anchor, *test)]
    dominated_points = [
        entry
        for side in (anchor, test)
        for entry in _dominated_points(side, metric, rule.up_to_bpp)
    ]
    record["few"] = any(map(metric.has_few_images, counts))
    record["points_left_out"] = "; ".join(
        f"{labels[point.edition]} {point.setting} by {gap:.3g}" for point, gap in dominated_points
    )
    return record


def interval_fields(interval: Interval | None, kind: str = "") -> Record:
    """Return the fields of a BD-rate interval; kind: "" or "images_"."""
    low, high = interval or (None, None)
    return {f"{kind}bd_rate_low_percent": low, f"{kind}bd_rate_high_percent": high}


def rate_intervals(
    summary: Summary, metric: Metric, anchor: Edition, rule: Rule
) -> dict[Edition, Interval]:
    """Return the intervals of the mean curves' BD-rates against the anchor, over images."""
    if not metric.has_image_values or summary.pooled:
        return {}
    resampled_curves = {
        edition: image_intervals.resample_curve(points, metric, image_intervals.jackknife_weights)
        for edition, points in curves(summary, metric).items()
        if points[0].means[metric.column].images > 1
    }
    anchor_curve = resampled_curves.pop(anchor, None)
    intervals = {
        edition: image_intervals.bd_rate_interval(anchor_curve, curve, rule)
        for edition, curve in resampled_curves.items()
    }
    return {edition: interval for edition, interval in intervals.items() if interval}


def _image_fields(
    anchor_curves: Mapping[int, RateQuality], test: Sequence[Point], metric: Metric, rule: Rule
) -> Record:
    """Return the fields on images' BD-rates, {} if there are none; anchor_curves: by image."""
    test_curves = rd.image_curves(test, metric) if anchor_curves else {}
    rates = image_rates(
        [*anchor_curves.values()], [test_curves[image] for image in anchor_curves], rule
    )
    values = rates[~np.isnan(rates)]
    if not len(values):
        return {}
    lower_quartile, median, upper_quartile = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    mean = math.fsum(values.tolist()) / len(values)
    logs = math.log1p(mean / 100) + (values - mean) / (100 + mean)
    interval = image_intervals.percent_interval(logs) if len(values) > 1 else None
    return interval_fields(interval, "images_") | {
        "images_bd_rate_percent": mean,
        "images_bd_rate_median_percent": median,
        "images_bd_rate_lower_quartile_percent": lower_quartile,
        "images_bd_rate_upper_quartile_percent": upper_quartile,
        "images_bd_rate_images": len(values),
        "images_bd_rate_refused": len(rates) - len(values),
    }


def image_rates(
    anchor_curves: Sequence[RateQuality], test_curves: Sequence[RateQuality], rule: Rule
) -> Float64Array:
    """Return the BD-rate (%) of each pair of curves, (pairs,); NaN if `bd_rate` has no value."""
    if not anchor_curves:
        return np.empty(0)
    stacked_anchor_curves, stacked_test_curves = (
        rd.stack_curves([rd.cut(curve, rule) for curve in side])
        for side in (anchor_curves, test_curves)
    )
    if not (
        stacked_anchor_curves.bpp.shape[1] and stacked_test_curves.bpp.shape[1]
    ):  # no curve begins below the rate limit
        return np.full(len(anchor_curves), np.nan)
    rates = image_intervals.bd_rates(
        stacked_anchor_curves, stacked_test_curves, replace(rule, up_to_bpp=None)
    )
    rates[rd.mark_refused_pairs(stacked_anchor_curves, stacked_test_curves, rule)] = np.nan
    return rates


def _dominated_points(
    points: Sequence[Point], metric: Metric, up_to_bpp: float | None
) -> list[tuple[Point, float]]:
    """Return the points below the Pareto front, with their distance in units of the axis."""
    means = [point.means[metric.column] for point in points]
    sign = 1 if metric.better == "higher" else -1
    plotted_values = [
        sign * metric.axis_position(math.nan if m.value is None else m.value) for m in means
    ]
    curve = RateQuality(np.array([m.bpp or math.nan for m in means]), np.array(plotted_values))
    max_rate = math.inf if up_to_bpp is None else up_to_bpp
    gaps = zip(points, rd.dominance_gaps(curve).tolist(), curve.bpp.tolist(), strict=True)
    return [(point, gap) for point, gap, bpp in gaps if not math.isnan(gap) and bpp <= max_rate]


class Ranking(NamedTuple):
    """Editions, best first; those without a BD-rate in the first metric are last."""

    anchor: Edition | None
    rule: Rule
    metrics: tuple[Metric, ...]  # distortion and held-out metric if measured, `extra_metrics`
    # JSON values only. Rates and `images` (minimum over points) are those of compared points, if
    # there are any; seconds are means over the timed settings.
    records: Mapping[Edition, Record]
    comparisons: Comparisons
    image_counts: tuple[int, ...] = ()  # number of images averaged, for each of `metrics`
    extra_metrics: tuple[Metric, ...] = ()  # shown only because they were requested
    absent: tuple[tuple[Metric, str], ...] = ()  # metrics that lack values of some codec, and why
    anchor_reason: str = ""  # from `Anchor.why`
    rescore_command: str = RESCORE  # from `Summary.rescore_command`

    @property
    def ranked(self) -> bool:
        """True if any codec other than the anchor has a BD-rate."""
        return any(
            comparison["bd_rate_percent"] is not None
            for (edition, _), comparison in self.comparisons.items()
            if edition != self.anchor
        )


def rank_by_bd_rate(
    summary: Summary,
    metrics: Iterable[Metric],
    anchor: Edition | None,
    rule: Rule,
    comparisons: Comparisons | None = None,
    requested_metrics: Iterable[Metric] = (),
) -> Ranking:
    """Rank the codec variants of a summary against an anchor.

    comparisons: computed earlier with the same rule; default: BD-rates of mean curves and their
    intervals are computed. requested_metrics: shown even if they rank nothing.
    """
    metrics = [*metrics]
    main_metrics = ranking_metrics(summary, metrics)
    candidates = (
        *main_metrics,
        *(m for m in requested_metrics if m not in main_metrics and curves(summary, m)),
    )
    points = {metric: curves(summary, metric) for metric in candidates}
    shown_metrics = tuple(metric for metric in candidates if anchor in points[metric]) or candidates
    all_comparisons = dict[tuple[Edition, str], Record]()
    for metric in shown_metrics:
        all_comparisons |= _compare_in_metric(
            metric, points[metric], summary, anchor, rule, comparisons
        )
    labels, records = summary.labels, dict[Edition, Record]()
    for edition in summary.editions:
        curve_points = [
            point
            for points_by_edition in points.values()
            for point in points_by_edition.get(edition, ())
        ]
        records[edition] = {
            "codec": labels[edition],
            "anchor": labels[anchor] if anchor else "",
            "bd_rate_percent": {
                metric.column: all_comparisons[edition, metric.column]["bd_rate_percent"]
                for metric in shown_metrics
            },
            **_rates_and_seconds(summary.edition_points(edition), curve_points),
        }
    independent_metrics = [metric for metric in metrics if metric.column == INDEPENDENT_COLUMN]
    return Ranking(
        anchor,
        rule,
        shown_metrics,
        dict(sorted(records.items(), key=lambda item: _ranking_key(item[1]))),
        all_comparisons,
        image_counts=tuple(count_images(summary, metric) for metric in shown_metrics),
        extra_metrics=tuple(metric for metric in shown_metrics if metric not in main_metrics),
        absent=_incomplete_metrics(summary, [*candidates, *independent_metrics]),
        rescore_command=summary.rescore_command,
    )


def _compare_in_metric(
    metric: Metric,
    points: Mapping[Edition, Sequence[Point]],
    summary: Summary,
    anchor: Edition | None,
    rule: Rule,
    comparisons: Comparisons | None,
) -> Comparisons:
    anchor_curve = mean_curve(points[anchor], metric) if anchor and anchor in points else None
    intervals = dict[Edition, Interval]()
    if comparisons is None and anchor and anchor_curve is not None:
        intervals = rate_intervals(summary, metric, anchor, rule)
    result = {}
    for edition in summary.editions:
        key = edition, metric.column
        if anchor_curve is None or edition not in points:
            edition_without_curve = anchor if anchor_curve is None else edition
            reason = _no_curve_reason(summary, metric, edition, edition_without_curve)
            result[key] = missing_comparison(metric, rule, reason)
        elif edition == anchor:
            result[key] = anchor_comparison(metric, rule)
        elif comparisons is None:
            rate = bd_rate(anchor_curve, mean_curve(points[edition], metric), rule)
            interval = intervals.get(edition) if rate.value is not None else None
            result[key] = _comparison_record(metric, rule, rate, Delta()) | interval_fields(
                interval
            )
        else:
            missing_record = missing_comparison(metric, rule, "no BD-rate was computed")
            result[key] = comparisons.get(key, missing_record)
    return result


def _rates_and_seconds(points: Sequence[Point], curve_points: Sequence[Point]) -> Record:
    """Return rates and image count of `curve_points`, or else `points`, and seconds of `points`."""
    curve_points = curve_points or points
    rates = [point.bpp for point in curve_points if point.bpp]
    seconds = dict[str, float | None]()
    for name in SECONDS:
        means = [point.means[name].value for point in points]
        mean_seconds = [value for value in means if value is not None]
        seconds[name] = fmean(mean_seconds) if mean_seconds else None
    rate_range = {"lowest_bpp": min(rates, default=None), "highest_bpp": max(rates, default=None)}
    return rate_range | seconds | {"images": min(point.images for point in curve_points)}


def _ranking_key(record: Record) -> tuple[float, ...]:
    rates = record["bd_rate_percent"].values()
    return tuple(math.inf if rate is None else rate for rate in rates)


def _incomplete_metrics(
    summary: Summary, metrics: Iterable[Metric]
) -> tuple[tuple[Metric, str], ...]:
    measured_editions = {point.edition for point in summary.points if point.images}
    return tuple(
        (metric, summary.absence_reason(metric.column))
        for metric in dict.fromkeys(metrics)
        if {point.edition for point in summary.points if point.has(metric.column)}
        < measured_editions
    )


def _no_curve_reason(
    summary: Summary, metric: Metric, edition: Edition, edition_without_curve: Edition | None
) -> str:
    """Return why an edition has no BD-rate; edition_without_curve: itself, or the anchor."""
    name = (
        "it" if edition_without_curve in (edition, None) else summary.labels[edition_without_curve]
    )
    points = [point for point in summary.points if point.has(metric.column)]
    hint = ""
    if any(point.edition == edition_without_curve for point in points):
        values = ((point.image_ids, point.image_values[metric.column]) for point in points)
        images = (set(ids[~np.isnan(image_values)].tolist()) for ids, image_values in values)
        if num_common := len(set.intersection(*images)):
            hint = f"; `bench report --common` compares the {num_common} images of all codecs"
    return f"{name} has no complete point{hint}"


def ranking_metrics(summary: Summary, metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return the metrics that rank codecs: a distortion, a held-out metric, and users' metrics.

    A metric ranks even if only some codecs have values; the other codecs are not ranked. If no
    codec has a complete point, all metrics with values are candidates.
    """
    counts = {
        metric: len(curves(summary, metric))
        for metric in metrics
        if summary.count_values(metric.column)
    }
    measured_metrics = {
        metric.column: (count, metric)
        for metric, count in counts.items()
        if count or not any(counts.values())
    }
    trained_columns = {
        column for edition in summary.editions for column in edition.facts.trained_on
    }
    distortion_candidates, held_out_candidates = (
        [
            measured_metrics[column]
            for column in (metric_class(name).column for name in names)
            if column in measured_metrics
        ]
        for names in (DISTORTION, HELD_OUT_METRICS)
    )
    held_out_candidates = [
        (count, metric)
        for count, metric in held_out_candidates
        if metric.column not in trained_columns
    ]
    max_count = max((count for count, _ in held_out_candidates), default=0)
    held_out_metrics = [
        metric
        for count, metric in held_out_candidates
        if count == max_count or metric.column == INDEPENDENT_COLUMN
    ]
    builtin_columns = {metric_class(name).column for name in (*METRICS, *DISTRIBUTION_METRICS)}
    user_metrics = [
        metric for column, (_, metric) in measured_metrics.items() if column not in builtin_columns
    ]
    return (
        *(metric for _, metric in distortion_candidates[:1]),
        *held_out_metrics[:1],
        *user_metrics,
    )
