"""Codec variants compared with an anchor: BD-rates of mean curves and of images, BD-metrics.

A curve of means averages over images at one setting, so its BD-rate depends on how codecs spread
rate and quality over images there: a setting may be a quality, a rate or a quantiser. The images'
own BD-rates do not depend on it. Both are kept, with the spread over images.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.drawn_delta import DrawnCurve, bd_rate_interval, drawn_curve
from benchmark.analysis.interval import Interval, bootstrap_interval
from benchmark.analysis.rate_distortion import (
    Delta,
    NoDelta,
    bd_quality,
    bd_rate,
    below_front,
    curves,
    cut,
    edition_in,
    image_curves,
    mean_curve,
)
from benchmark.analysis.summarise import Point, Summary
from benchmark.metrics.measure import Measure

DISAGREEMENT = 3.0  # percentage points from which both kinds of averages are shown in overviews


class ImagesDelta(NamedTuple):
    """BD-rates of single images, percent: their mean, median and quartiles."""

    value: float  # the mean
    images: int  # in the mean
    refused: int  # images whose curves cannot be compared
    doubtful: int  # of `images`, those whose curves share less than half of what they span
    median: float
    quartiles: tuple[float, float]
    interval: Interval | None  # of the mean; None for a single image


class LeftOutPoint(NamedTuple):
    """A point off the Pareto front of its mean curve, which BD-rates leave out."""

    label: str
    setting: str
    below: float  # how much better another point of no higher rate is, in units of the axis


class RateSpread(NamedTuple):
    """The rates of single images at one setting."""

    label: str
    setting: str
    lowest_bpp: float
    median_bpp: float
    highest_bpp: float


class Comparison(NamedTuple):
    """A codec variant compared with the anchor under one metric."""

    column: str
    label: str
    anchor: str  # label of the edition that stands for the anchor's variant
    rate: Delta | NoDelta  # BD-rate of the mean curves, percent
    rate_interval: Interval | None  # of `rate`, over draws of images
    images_rate: ImagesDelta | NoDelta  # BD-rates of single images
    quality: Delta | NoDelta  # BD-metric of the mean curves, in units of the axis, sign as measured
    few: bool = False  # a distribution metric over so few images that it is marked
    left_out: tuple[LeftOutPoint, ...] = ()  # of either curve
    spread: tuple[RateSpread, ...] = ()  # of both curves, at the setting in their middle

    @property
    def disagreement(self) -> float:
        """The mean of the images' BD-rates less that of the mean curves, percentage points."""
        if isinstance(self.rate, NoDelta) or isinstance(self.images_rate, NoDelta):
            return 0.0
        return self.images_rate.value - self.rate.value


def compare(
    summary: Summary,
    measure: Measure,
    anchor: str,
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
) -> list[Comparison]:
    """Compare every codec variant but the anchor's with the anchor (`edition_in`), in order.

    up_to_bpp: cut all curves, also those of single images, at this rate first; see `cut`.
    any_overlap: as `rate_distortion.bd_rate` has it, for mean curves and images.
    """
    of = curves(summary, measure)
    anchor = edition_in(summary, measure, anchor)
    variant = {
        point.label: (point.edition.codec, point.edition.variant) for point in summary.points
    }
    drawn: dict[str, DrawnCurve | None] = {}
    if measure.by_image and summary.average == "per_image":
        drawn = {label: drawn_curve(points, measure) for label, points in of.items()}
    found = []
    for label in summary.labels:
        if variant[label] == variant.get(anchor):
            continue
        if anchor not in of or label not in of:
            whose = "it" if anchor in of else anchor
            refused = NoDelta(f"{whose} has no complete point")
            found.append(Comparison(measure.column, label, anchor, refused, None, refused, refused))
            continue
        both = of[anchor], of[label]
        means = [cut(mean_curve(points, measure), up_to_bpp) for points in both]
        rate = bd_rate(means[0], means[1], any_overlap)
        interval = None
        if isinstance(rate, Delta):
            images = both[0][0].means[measure.column].images
            curves_drawn = drawn.get(anchor), drawn.get(label)
            interval = bd_rate_interval(rate.value, images, *curves_drawn, up_to_bpp)
        quality = bd_quality(means[0], means[1], any_overlap)
        found.append(
            Comparison(
                measure.column,
                label,
                anchor,
                rate,
                interval,
                _of_images(*both, measure, up_to_bpp, any_overlap),
                _in_units(quality, measure),
                any(measure.few(point.means[measure.column].images) for point in both[0] + both[1]),
                tuple(one for points in both for one in _left_out(points, measure, up_to_bpp)),
                tuple(_spread(points) for points in both),
            )
        )
    return found


def _of_images(
    anchor: Sequence[Point],
    test: Sequence[Point],
    measure: Measure,
    up_to_bpp: float | None,
    any_overlap: bool,
) -> ImagesDelta | NoDelta:
    if measure.of_sets:
        return NoDelta("it is a metric of whole sets, with no curve of a single image")
    anchors, tests = image_curves(anchor, measure), image_curves(test, measure)
    deltas = [
        bd_rate(cut(anchors[image], up_to_bpp), cut(tests[image], up_to_bpp), any_overlap)
        for image in sorted(anchors.keys() & tests)
    ]
    numbers = [delta for delta in deltas if isinstance(delta, Delta)]
    if not numbers:
        reasons = [delta.reason for delta in deltas if isinstance(delta, NoDelta)]
        return NoDelta(f"in no image: {reasons[0]}" if reasons else "no image in common")
    values = np.array([delta.value for delta in numbers])
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return ImagesDelta(
        math.fsum(values.tolist()) / len(values),
        len(values),
        len(deltas) - len(values),
        sum(delta.doubtful for delta in numbers),
        median,
        (lower, upper),
        bootstrap_interval(values) if len(values) > 1 else None,
    )


def _left_out(
    points: Sequence[Point], measure: Measure, up_to_bpp: float | None
) -> list[LeftOutPoint]:
    curve = mean_curve(points, measure)
    most = math.inf if up_to_bpp is None else up_to_bpp
    return [
        LeftOutPoint(point.label, str(point.setting), below)
        for point, below, bpp in zip(
            points, below_front(curve).tolist(), curve.bpp.tolist(), strict=True
        )
        if not math.isnan(below) and bpp <= most
    ]


def _spread(points: Sequence[Point]) -> RateSpread:
    middle = points[len(points) // 2]
    lowest, median, highest = np.quantile(middle.image_bpp, [0, 0.5, 1]).tolist()
    return RateSpread(middle.label, str(middle.setting), lowest, median, highest)


def _in_units(delta: Delta | NoDelta, measure: Measure) -> Delta | NoDelta:
    if isinstance(delta, NoDelta) or measure.better == "higher":
        return delta
    return delta._replace(value=-delta.value)
