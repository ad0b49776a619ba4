"""Codec variants compared with an anchor, by BD-rates and BD-metrics, and in order of BD-rate.

The BD-rate of a curve of means depends on how codecs spread rate and quality over images at one
setting (a quality, a rate or a quantiser); the images' own BD-rates do not. Codecs are ranked in a
distortion, and in a metric that no codec was trained on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from benchmark.compare import curves as rd
from benchmark.compare import interval as over_images
from benchmark.compare.curves import Curve, Delta, bd_rate
from benchmark.compare.interval import Interval
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.metrics.metric import RESCORE, Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class
from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.summary import SECONDS, Point, Summary, curves, images_in

DISTORTION = ("psnr", "psnr_y", "psnr_ycbcr")  # the first that is measured ranks the codecs
# Of these, the first if any codec has a curve in it, else that with the most curves; none that is
# in a codec's training loss.
HELD_OUT = (
    *("lpips_squeeze", "dists", "lpips_vgg", "lpips", "ms_ssim"),
    *("ssimulacra2", "butteraugli", "vmaf", "ssim"),
)
INDEPENDENT = metric_class(HELD_OUT[0]).column


class Comparison(NamedTuple):
    """A curve beside an anchor's in a metric; of a codec's rows also names and images' BD-rates."""

    rate: Delta = Delta()  # BD-rate of the mean curves, percent
    quality: Delta = Delta()  # BD-metric of the mean curves, see `bd_metric`
    crossing: float | None = None  # the metric's value from which the other one needs fewer bits
    column: str = ""
    edition: Edition | None = None
    label: str = ""
    anchor: str = ""
    rate_interval: Interval | None = None  # of `rate`, over images
    few: bool = False  # a distribution metric over so few images that it is marked
    # Points of either curve off its Pareto front, each with how much better another point of no
    # higher rate is, in units of the axis: "webp quality=20 by 0.5".
    left_out: tuple[str, ...] = ()
    images: int | None = None  # with a BD-rate of their own curves, percent; of these:
    images_refused: int | None = None  # the other images, whose curves cannot be compared
    images_rate: float | None = None  # the mean
    images_interval: Interval | None = None  # of the mean; None for a single image
    images_median: float | None = None
    images_quartiles: tuple[float, float] | None = None


ITSELF = Comparison(Delta(0.0, 1.0), Delta(0.0, 1.0))  # the anchor's curve


def compared(anchor: Curve, test: Curve, metric: Metric, rule: Rule) -> Comparison:
    """Compare a curve with an anchor's."""
    rate = bd_rate(anchor, test, rule)
    crosses = rd.crossing(anchor, test, rule) if rate.value is not None else None
    quality = rd.bd_metric(anchor, test, metric, rule)
    return Comparison(rate, quality, None if crosses is None else metric.value(crosses))


def compare(summary: Summary, metric: Metric, anchor: Edition, rule: Rule) -> list[Comparison]:
    """Compare every edition but the anchor with the anchor, in order.

    rule: of mean curves, of their intervals and of the curves of single images.
    """
    of, labels = curves(summary, metric), labels_of((*summary.editions, anchor))
    intervals = rate_intervals(summary, metric, anchor, rule)
    result = []
    for edition in summary.editions:
        if edition == anchor:
            continue
        if anchor in of and edition in of:
            both = of[anchor], of[edition]
            first, second = (rd.mean_curve(points, metric) for points in both)
            comparison = compared(first, second, metric, rule)
            known = comparison.rate.value is not None
            comparison = comparison._replace(
                rate_interval=intervals.get(edition) if known else None,
                few=any(metric.few(p.means[metric.column].images) for side in both for p in side),
                left_out=tuple(
                    f"{labels[point.edition]} {point.setting} by {gap:.3g}"
                    for points in both
                    for point, gap in _dominated(points, metric, rule.up_to_bpp)
                ),
                **_of_images(*both, metric, rule),
            )
        else:
            none = Delta(why=f"{'it' if anchor in of else labels[anchor]} has no complete point")
            comparison = Comparison(none, none)
        comparison = comparison._replace(label=labels[edition], anchor=labels[anchor])
        result.append(comparison._replace(column=metric.column, edition=edition))
    return result


def rate_intervals(
    summary: Summary, metric: Metric, anchor: Edition, rule: Rule
) -> dict[Edition, Interval]:
    """Return the intervals of codecs' BD-rates of mean curves against the anchor's, over images."""
    if not metric.by_image or summary.pooled:
        return {}
    left_out = {
        edition: over_images.resampled_curve(points, metric, over_images.set_and_left_out)
        for edition, points in curves(summary, metric).items()
        if points[0].means[metric.column].images > 1
    }
    of_anchor = left_out.pop(anchor, None)
    ends = {
        edition: over_images.bd_rate_interval(of_anchor, of, rule)
        for edition, of in left_out.items()
    }
    return {edition: interval for edition, interval in ends.items() if interval}


def _of_images(
    anchor: Sequence[Point], test: Sequence[Point], metric: Metric, rule: Rule
) -> dict[str, Any]:
    """Return the fields of a comparison on images' BD-rates; none where no image has one."""
    if metric.of_sets:
        return {}
    anchors, tests = rd.image_curves(anchor, metric), rd.image_curves(test, metric)
    deltas = [bd_rate(curve, tests[image], rule).value for image, curve in anchors.items()]
    values = np.array([value for value in deltas if value is not None])
    if not len(values):
        return {}
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    mean = math.fsum(values.tolist()) / len(values)
    logs = math.log1p(mean / 100) + (values - mean) / (100 + mean)
    return {
        "images": len(values),
        "images_refused": len(deltas) - len(values),
        "images_rate": mean,
        "images_interval": over_images.percent_interval(logs) if len(values) > 1 else None,
        "images_median": median,
        "images_quartiles": (lower, upper),
    }


def _dominated(
    points: Sequence[Point], metric: Metric, up_to_bpp: float | None
) -> list[tuple[Point, float]]:
    """Return the points off the Pareto front, each with the gap in units of the axis."""
    means = [point.means[metric.column] for point in points]
    sign = 1 if metric.better == "higher" else -1
    places = [sign * metric.plotted(math.nan if m.value is None else m.value) for m in means]
    curve = Curve(np.array([m.bpp or math.nan for m in means]), np.array(places))
    most = math.inf if up_to_bpp is None else up_to_bpp
    below = zip(points, rd.below_front(curve).tolist(), curve.bpp.tolist(), strict=True)
    return [(point, gap) for point, gap, bpp in below if not math.isnan(gap) and bpp <= most]


class Ranking(NamedTuple):
    """Codec variants, best first; those without a BD-rate in the first metric come last."""

    anchor: Edition | None
    metrics: tuple[Metric, ...]  # a distortion, the held-out metric, `asked`, as far as measured
    # For each codec, JSON values only. `images` are the fewest of its points, of those that are
    # compared if any is; rates are of these, seconds means over the settings that were timed.
    records: tuple[dict[str, Any], ...]
    editions: tuple[Edition, ...] = ()  # in their order
    # By edition and column of a metric.
    comparisons: Mapping[tuple[Edition, str], Comparison] = {}
    absent: tuple[tuple[Metric, str], ...] = ()  # metrics that some codec has no value of, and why
    bundled: frozenset[Edition] = frozenset()  # as `Summary.bundled`
    why: str = ""  # this anchor, see `Anchor`
    again: str = RESCORE  # as `Summary.again`
    images: tuple[int, ...] = ()  # that the means of `metrics` are over
    rule: Rule = USUAL_RULE  # of the BD-rates
    asked: tuple[Metric, ...] = ()  # those that are shown since they were named alone

    @property
    def ranked(self) -> bool:
        """True if any codec but the anchor has a BD-rate."""
        of = self.comparisons.items()
        rates = [each.rate.value for (edition, _), each in of if edition != self.anchor]
        return any(rate is not None for rate in rates)


def rank_by_bd_rate(
    summary: Summary,
    metrics: Iterable[Metric],
    anchor: Edition | None,
    rule: Rule,
    comparisons: Iterable[Comparison] | None = None,
    named: Iterable[Metric] = (),
) -> Ranking:
    """Rank the codec variants of a summary against an anchor.

    comparisons: those that were made already by the rule, with their intervals; else BD-rates of
    mean curves are computed. named: metrics that were asked for, to show also where they rank
    nothing.
    """
    metrics, labels = [*metrics], summary.labels
    ranking = ranked_measures(summary, metrics)
    more = [of for of in named if of not in ranking and curves(summary, of)]
    first = (*ranking, *more)
    known = {metric.column: curves(summary, metric) for metric in first}
    ranked = tuple(metric for metric in first if anchor in known[metric.column]) or first
    beside = {(each.edition, each.column): each for each in comparisons or ()}
    for metric in ranked if comparisons is None else ():
        of = {
            edition: rd.mean_curve(points, metric)
            for edition, points in known[metric.column].items()
        }
        if anchor in of:
            rates = {edition: bd_rate(of[anchor], of[edition], rule) for edition in of}
            beside |= {(of, metric.column): Comparison(rate) for of, rate in rates.items()}

    def comparison(edition: Edition, column: str) -> Comparison:
        for lacking in (anchor, edition):
            if lacking not in known[column]:
                common = _common_images(summary, lacking, column)
                how = f"; `bench report --common` compares the {common} that all have"
                name = "it" if lacking in (edition, None) else labels[lacking]
                return Comparison(Delta(why=f"{name} has no complete point{how if common else ''}"))
        none = Comparison(Delta(why="no BD-rate was computed"))
        return ITSELF if edition == anchor else beside.get((edition, column), none)

    columns = [metric.column for metric in ranked]
    of_codecs = {(c, name): comparison(c, name) for c in summary.editions for name in columns}
    rows: dict[Edition, dict[str, Any]] = {}
    for edition in summary.editions:
        points = summary.of(edition)
        whole = [point for of in known.values() for point in of.get(edition, ())] or points
        bpp = [point.bpp for point in whole if point.bpp]
        record: dict[str, Any] = {
            "codec": labels[edition],
            "anchor": labels[anchor] if anchor else "",
            "bd_rate_percent": {name: of_codecs[edition, name].rate.value for name in columns},
            "lowest_bpp": min(bpp, default=None),
            "highest_bpp": max(bpp, default=None),
        }
        for name in SECONDS:
            means = [p.means[name].value for p in points]
            timed = [value for value in means if value is not None]
            record[name] = fmean(timed) if timed else None
        rows[edition] = {**record, "images": min(point.images for point in whole)}

    def order(edition: Edition) -> tuple[float, ...]:
        rates = rows[edition]["bd_rate_percent"].values()
        return tuple(math.inf if rate is None else rate for rate in rates)

    best_first = sorted(rows, key=order)
    measured = {point.edition for point in summary.points if point.images}
    absent = [
        (metric, summary.why_without(metric.column))
        for metric in dict.fromkeys((*first, *(m for m in metrics if m.column == INDEPENDENT)))
        if {point.edition for point in summary.points if point.has(metric.column)} < measured
    ]
    return Ranking(
        anchor,
        ranked,
        tuple(rows[edition] for edition in best_first),
        tuple(best_first),
        of_codecs,
        tuple(absent),
        summary.bundled,
        again=summary.again,
        images=tuple(images_in(summary, metric) for metric in ranked),
        rule=rule,
        asked=tuple(metric for metric in ranked if metric in more),
    )


def _common_images(summary: Summary, edition: Edition | None, column: str) -> int:
    """Count the images that all points with a value have one of; 0 where `edition` has none."""
    points = [point for point in summary.points if point.has(column)]
    known = (point.image_ids[~np.isnan(point.image_values[column])].tolist() for point in points)
    has_one = any(point.edition == edition for point in points)
    return len(set.intersection(*map(set, known))) if has_one else 0


def ranked_measures(summary: Summary, metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return those of the metrics that rank codecs: a distortion, the held-out metric, users' own.

    The first choice stays where only some codecs have values of it: the others are not ranked.
    Where no codec has a complete point, the metrics are those that have values.
    """
    counts = {m: len(curves(summary, m)) for m in metrics if summary.values_of(m.column)}
    known = {m.column: (n, m) for m, n in counts.items() if n or not any(counts.values())}
    trained = {column for edition in summary.editions for column in edition.facts.trained_on}
    first, others = (
        [known[c] for c in (metric_class(name).column for name in names) if c in known]
        for names in (DISTORTION, HELD_OUT)
    )
    others = [(count, metric) for count, metric in others if metric.column not in trained]
    most = max((count for count, _ in others), default=0)
    held_out = [m for count, m in others if count == most or m.column == INDEPENDENT]
    here = {metric_class(name).column for name in (*METRICS, *DISTRIBUTION_METRICS)}
    own = [metric for column, (_, metric) in known.items() if column not in here]
    return (*(metric for _, metric in first[:1]), *held_out[:1], *own)
