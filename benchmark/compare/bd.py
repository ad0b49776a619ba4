"""Codec variants compared with an anchor, by BD-rates and BD-metrics, and in order of BD-rate.

The BD-rate of a curve of means depends on how codecs spread rate and quality over images at one
setting (a quality, a rate or a quantiser); the images' own BD-rates do not. Codecs are ranked in a
distortion, and in a metric that no codec was trained on.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from benchmark.compare import curves as rd
from benchmark.compare import interval as over_images
from benchmark.compare.curves import Curve, Delta, bd_rate, cut
from benchmark.compare.interval import Interval
from benchmark.metrics.metric import RESCORE, Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_named
from benchmark.rows.summary import SECONDS, Point, Summary, curves, images_in
from benchmark.rows.systems import trained_on

DISTORTION = ("psnr", "psnr_y", "psnr_ycbcr")  # the first that is measured ranks the codecs
# Of these, the first if any codec has a curve in it, else that with the most curves; none that is
# in a codec's training loss.
HELD_OUT = (
    *("lpips_squeeze", "dists", "lpips_vgg", "lpips", "ms_ssim"),
    *("ssimulacra2", "butteraugli", "vmaf", "ssim"),
)
INDEPENDENT = metric_named(HELD_OUT[0]).column


class ImagesDelta(NamedTuple):
    """BD-rates of single images, percent; without any, `why`."""

    value: float | None = None  # the mean
    images: int | None = None  # in the mean
    refused: int | None = None  # images whose curves cannot be compared
    doubtful: int | None = (
        None  # of `images`, those whose curves share under half of what they span
    )
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    interval: Interval | None = None  # of the mean; None for a single image
    why: str = ""  # there is no value


class Comparison(NamedTuple):
    """A codec variant compared with the anchor under one metric."""

    column: str
    label: str
    anchor: str
    rate: Delta  # BD-rate of the mean curves, percent
    images_rate: ImagesDelta  # BD-rates of single images
    quality: Delta  # BD-metric of the mean curves, see `bd_metric`
    rate_interval: Interval | None = None  # of `rate`, over images
    few: bool = False  # a distribution metric over so few images that it is marked
    # Points of either curve off its Pareto front, each with how much better another point of no
    # higher rate is, in units of the axis: "webp quality=20 by 0.5".
    left_out: tuple[str, ...] = ()
    crossing: float | None = None  # the metric's value from which the other one needs fewer bits


def compare(
    summary: Summary,
    metric: Metric,
    anchor: str,
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
) -> list[Comparison]:
    """Compare every codec variant but the anchor's with the anchor, in order.

    up_to_bpp: cut all curves, also those of single images, at this rate first; see `cut`.
    any_overlap: as `curves.bd_rate` has it, for mean curves and images.
    """
    of = curves(summary, metric)
    intervals = rate_intervals(summary, metric, anchor, up_to_bpp)
    result = []
    for label in summary.labels:
        if label == anchor:
            continue
        key = metric.column, label, anchor
        if anchor not in of or label not in of:
            why = f"{'it' if anchor in of else anchor} has no complete point"
            result.append(Comparison(*key, Delta(why=why), ImagesDelta(why=why), Delta(why=why)))
            continue
        both = of[anchor], of[label]
        first, second = (cut(rd.mean_curve(points, metric), up_to_bpp) for points in both)
        pair = rd.compared(first, second, metric, any_overlap)
        result.append(
            Comparison(
                *key,
                pair.rate,
                _of_images(*both, metric, up_to_bpp, any_overlap),
                pair.quality,
                intervals.get(label) if pair.rate.value is not None else None,
                any(metric.few(p.means[metric.column].images) for side in both for p in side),
                tuple(p for points in both for p in _left_out(points, metric, up_to_bpp)),
                pair.crossing,
            )
        )
    return result


def rate_intervals(
    summary: Summary, metric: Metric, anchor: str, up_to_bpp: float | None = None
) -> dict[str, Interval]:
    """Return the intervals of codecs' BD-rates of mean curves against the anchor's, over images."""
    if not metric.by_image or summary.average != "per_image":
        return {}
    left_out = {
        label: over_images.resampled_curve(points, metric, over_images.set_and_left_out)
        for label, points in curves(summary, metric).items()
        if points[0].means[metric.column].images > 1
    }
    of_anchor = left_out.pop(anchor, None)
    ends = {
        label: over_images.bd_rate_interval(of_anchor, of, up_to_bpp)
        for label, of in left_out.items()
    }
    return {label: interval for label, interval in ends.items() if interval}


def _of_images(
    anchor: Sequence[Point],
    test: Sequence[Point],
    metric: Metric,
    up_to_bpp: float | None,
    any_overlap: bool,
) -> ImagesDelta:
    if metric.of_sets:
        return ImagesDelta(why="it is a metric of whole sets, with no curve of a single image")
    anchors, tests = rd.image_curves(anchor, metric), rd.image_curves(test, metric)
    deltas = [
        bd_rate(cut(curve, up_to_bpp), cut(tests[image], up_to_bpp), any_overlap)
        for image, curve in anchors.items()
    ]
    numbers = [delta for delta in deltas if delta.value is not None]
    if not numbers:
        reasons = [delta.why for delta in deltas if delta.value is None]
        return ImagesDelta(why=f"in no image: {reasons[0]}")
    values = np.array([delta.value for delta in numbers])
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    mean = math.fsum(values.tolist()) / len(values)
    logs = math.log1p(mean / 100) + (values - mean) / (100 + mean)
    return ImagesDelta(
        mean,
        len(values),
        len(deltas) - len(values),
        sum(delta.doubtful for delta in numbers),
        median,
        (lower, upper),
        over_images.percent_interval(logs) if len(values) > 1 else None,
    )


def _left_out(points: Sequence[Point], metric: Metric, up_to_bpp: float | None) -> list[str]:
    means = [point.means[metric.column] for point in points]
    sign = 1 if metric.better == "higher" else -1
    places = [sign * metric.plotted(math.nan if m.value is None else m.value) for m in means]
    curve = Curve(np.array([m.bpp or math.nan for m in means]), np.array(places))
    most = math.inf if up_to_bpp is None else up_to_bpp
    below = zip(points, rd.below_front(curve).tolist(), curve.bpp.tolist(), strict=True)
    return [
        f"{point.label} {point.setting} by {gap:.3g}"
        for point, gap, bpp in below
        if not math.isnan(gap) and bpp <= most
    ]


class Rank(NamedTuple):
    """A codec variant in a ranking."""

    label: str
    rates: tuple[Delta, ...]  # BD-rates (%) by the ranking's metrics; 0 for the anchor
    intervals: tuple[Interval | None, ...]  # of `rates`, where comparisons were given
    bpp: tuple[float, float] | None  # lowest and highest mean rate of the points of `images`
    encode_seconds: float | None  # per image, mean over the settings that were timed
    decode_seconds: float | None
    images: int  # least of its points, of those that are compared if any is

    @property
    def bd_rates(self) -> tuple[float | None, ...]:
        """The BD-rates in percent by the ranking's metrics; None where there is none."""
        return tuple(rate.value for rate in self.rates)


class Ranking(NamedTuple):
    """Codec variants, best first; those without a BD-rate in the first metric come last."""

    anchor: str
    metrics: tuple[Metric, ...]  # a distortion, the held-out metric, `asked`, as far as measured
    ranks: tuple[Rank, ...]
    absent: tuple[tuple[Metric, str], ...] = ()  # metrics that some codec has no value of, and why
    bundled: frozenset[str] = frozenset()  # as `Summary.bundled`
    why: str = ""  # this anchor, see `Anchor`
    again: str = RESCORE  # as `Summary.again`
    images: tuple[int, ...] = ()  # that the means of `metrics` are over
    up_to_bpp: float | None = None  # where all curves were cut
    asked: tuple[Metric, ...] = ()  # those that are shown since they were named alone

    @property
    def ranked(self) -> bool:
        """True if any codec but the anchor has a BD-rate."""
        others = (codec.bd_rates for codec in self.ranks if codec.label != self.anchor)
        return any(rate is not None for rates in others for rate in rates)

    def for_machines(self) -> list[dict[str, Any]]:
        """Return one record for each codec, JSON values only, best first."""
        columns = [metric.column for metric in self.metrics]
        return [
            {
                "codec": codec.label,
                "anchor": self.anchor,
                "bd_rate_percent": dict(zip(columns, codec.bd_rates, strict=True)),
                "lowest_bpp": codec.bpp and codec.bpp[0],
                "highest_bpp": codec.bpp and codec.bpp[1],
                "encode_seconds": codec.encode_seconds,
                "decode_seconds": codec.decode_seconds,
                "images": codec.images,
            }
            for codec in self.ranks
        ]


def rank_by_bd_rate(
    summary: Summary,
    metrics: Iterable[Metric],
    anchor: str,
    comparisons: Iterable[Comparison] | None = None,
    named: Iterable[Metric] = (),
) -> Ranking:
    """Rank the codec variants of a summary against an anchor, a label.

    comparisons: those that were made already, with their intervals; else BD-rates of mean curves
    are computed. named: metrics that were asked for, to show also where they rank nothing.
    """
    metrics = [*metrics]
    ranking = ranked_measures(summary, metrics)
    more = [of for of in named if of not in ranking and curves(summary, of)]
    first = (*ranking, *more)
    known = {metric.column: curves(summary, metric) for metric in first}
    ranked = tuple(metric for metric in first if anchor in known[metric.column]) or first
    rates: dict[tuple[str, str], Delta] = {}
    intervals: dict[tuple[str, str], Interval | None] = {}
    for comparison in comparisons or ():
        key = comparison.label, comparison.column
        rates[key], intervals[key] = comparison.rate, comparison.rate_interval
    for metric in ranked if comparisons is None else ():
        of = {
            label: rd.mean_curve(points, metric) for label, points in known[metric.column].items()
        }
        if anchor in of:
            rates |= {(name, metric.column): bd_rate(of[anchor], of[name]) for name in of}

    def rate(label: str, column: str) -> Delta:
        if lacks := next((name for name in (anchor, label) if name not in known[column]), ""):
            common = _common_images(summary, lacks, column)
            how = f"; `bench report --common` compares the {common} that all have" if common else ""
            return Delta(why=f"{'it' if lacks == label else lacks} has no complete point{how}")
        return Delta(0.0, 1.0) if label == anchor else rates.get((label, column), none)

    ranks, none = [], Delta(why="no BD-rate was computed")
    for label in summary.labels:
        keys = [(label, metric.column) for metric in ranked]
        deltas = [rate(*key) for key in keys]
        points = [point for point in summary.points if point.label == label]
        whole = [point for of in known.values() for point in of.get(label, ())] or points
        bpp = [point.bpp for point in whole if point.bpp]
        seconds = [[p.means[name].value for p in points] for name in SECONDS]
        timed = [[value for value in values if value is not None] for values in seconds]
        encode, decode = (fmean(values) if values else None for values in timed)
        ends = (min(bpp), max(bpp)) if bpp else None
        images = min(point.images for point in whole)
        of_rates = tuple(map(intervals.get, keys))
        ranks.append(Rank(label, tuple(deltas), of_rates, ends, encode, decode, images))

    def order(rank: Rank) -> tuple[float, ...]:
        return tuple(math.inf if rate is None else rate for rate in rank.bd_rates)

    measured = {point.label for point in summary.points if point.images}
    absent = [
        (metric, summary.why_without(metric.column))
        for metric in dict.fromkeys((*first, *(m for m in metrics if m.column == INDEPENDENT)))
        if {point.label for point in summary.points if point.has(metric.column)} < measured
    ]
    ordered = tuple(sorted(ranks, key=order))
    over = tuple(images_in(summary, metric) for metric in ranked)
    shown = tuple(absent), summary.bundled
    asked = tuple(metric for metric in ranked if metric in more)
    return Ranking(anchor, ranked, ordered, *shown, again=summary.again, images=over, asked=asked)


def _common_images(summary: Summary, label: str, column: str) -> int:
    """Count the images that all points with a value have one of; 0 where `label` has none."""
    points = [point for point in summary.points if point.has(column)]
    known = (point.image_ids[~np.isnan(point.image_values[column])].tolist() for point in points)
    has_one = any(point.label == label for point in points)
    return len(set.intersection(*map(set, known))) if has_one else 0


def ranked_measures(summary: Summary, metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return those of the metrics that rank codecs: a distortion, the held-out metric, users' own.

    The first choice stays where only some codecs have values of it: the others are not ranked.
    Where no codec has a complete point, the metrics are those that have values.
    """
    counts = {m: len(curves(summary, m)) for m in metrics if summary.values_of(m.column)}
    known = {m.column: (n, m) for m, n in counts.items() if n or not any(counts.values())}
    trained = {column for label in summary.labels for column in trained_on(label)}
    first, others = (
        [known[c] for c in (metric_named(name).column for name in names) if c in known]
        for names in (DISTORTION, HELD_OUT)
    )
    others = [(count, metric) for count, metric in others if metric.column not in trained]
    most = max((count for count, _ in others), default=0)
    held_out = [m for count, m in others if count == most or m.column == INDEPENDENT]
    here = {metric_named(name).column for name in (*METRICS, *DISTRIBUTION_METRICS)}
    own = [metric for column, (_, metric) in known.items() if column not in here]
    return (*(metric for _, metric in first[:1]), *held_out[:1], *own)
