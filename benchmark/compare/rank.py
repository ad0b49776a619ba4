"""Codecs at a matched value: at a rate, or at a value of a metric, by interpolation.

The Pareto front of each image is interpolated as in BD-rates, and the means are over images. With a
budget of the whole set, as in the challenges of CLIC, all bytes count together: means are
interpolated over the pooled rate of the settings. Nothing is extrapolated: a codec is ranked where
all images reach the value.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare import curves as rd
from benchmark.compare import interval as over_images
from benchmark.compare.curves import Curve
from benchmark.compare.interpolation import interpolated
from benchmark.compare.interval import Interval, ResampledCurve
from benchmark.errors import UsageError
from benchmark.facts import facts_of
from benchmark.measure.estimate import interpolated as typical_at
from benchmark.metrics.measure import Measure
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import SECONDS, Point, Summary

RATE = "bpp"
LEAST_COMPARED = 0.95  # share of draws that need a number for an interval to be given
Budget = Literal["image", "set"]  # whether each image has the rate, or all images together


class Target(NamedTuple):
    """A rate, or a value of a metric, that codecs are compared or searched at."""

    name: str  # "bpp", or the name of a metric
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"

    def place(self, value: float) -> float:
        """Return where a value lies on the axis on which nearness counts."""
        return value if self.name == RATE else Measure.named(self.name).plotted(value)


class Estimate(NamedTuple):
    """A mean over images, with its interval; None for one image."""

    value: float
    interval: Interval | None


class Ranked(NamedTuple):
    """A codec variant at a target."""

    target: Target
    label: str
    rank: int | None  # from 1 on; None where it is not ranked
    images: int  # of its curve; 0 without one
    reached: int  # of these, the images whose curves reach the target
    bpp: Estimate | None = None
    values: Mapping[str, Estimate] = {}  # by metric column
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    typical_seconds: float | None = None  # of both, a megapixel on one core, as the codec declares

    def record(self, measures: Sequence[Measure]) -> dict[str, Any]:
        """Return a flat record, JSON values only; each mean is followed by its interval."""
        record: dict[str, Any] = {
            "at": str(self.target),
            "rank": self.rank,
            "codec": self.label,
            "images": self.images,
            "images_reached": self.reached,
        }
        columns = [measure.column for measure in measures]
        for name, mean in {RATE: self.bpp, **{c: self.values.get(c) for c in columns}}.items():
            low, high = (mean and mean.interval) or (None, None)
            record |= {name: mean and mean.value, f"{name}_low": low, f"{name}_high": high}
        seconds = dict(zip(SECONDS, (self.encode_seconds, self.decode_seconds), strict=True))
        return {**record, **seconds, "typical_seconds_per_megapixel": self.typical_seconds}


def parse_target(text: str) -> Target:
    """Parse a rate or a value of a metric. Raises `UsageError` or `UnknownName`.

    >>> parse_target("bpp=.3"), parse_target("psnr=32")
    (Target(name='bpp', value=0.3), Target(name='psnr', value=32.0))
    """
    name, _, number = (part.strip() for part in text.partition("="))
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (name == RATE and value <= 0):
        raise UsageError(f"a target is written as bpp=0.3 or psnr=32, not {text!r}")
    if name != RATE:
        (name,) = metric_names([name])
    return Target(name, value)


def rank_at(
    summary: Summary,
    target: Target,
    measures: Sequence[Measure],
    budget: Budget = "image",
    common: bool = False,
) -> list[Ranked]:
    """Return all codec variants at a target, the best first, those that do not reach it last.

    The first of `measures` ranks, or the rate where the target is a metric. common: average over
    the images that all codecs reach. Raises `UsageError` for metrics of whole sets without a budget
    of the set.
    """
    by_rate = target.name == RATE
    by = measures[0] if by_rate else Measure.named(target.name)
    for measure in (by, *measures):
        if measure.of_sets and (budget == "image" or not measure.by_image):
            how = "--budget set compares it" if measure.by_image else "name another metric"
            raise UsageError(f"{measure.label} has no curve of a single image: {how}")
    points = {measure.column: rd.curves(summary, measure) for measure in (by, *measures)}
    at_target = _SetCurves if budget == "set" else _ImageCurves
    of_label: dict[str, _SetCurves | _ImageCurves] = {}
    for label in points[by.column]:
        own = {name: of[label] for name, of in points.items() if label in of}
        of_label[label] = at_target(target, by, own)
    reached = [curve.reached for curve in of_label.values() if curve.reached]
    shared = set.intersection(*reached) if common and reached else None
    exact = Estimate(target.value, None)  # what interpolation there and back would round
    ranked = []
    for label in summary.labels:
        codec = Ranked(target, label, None, 0, 0)
        if curve := of_label.get(label):
            images = curve.images if shared is None else shared
            codec = codec._replace(images=len(images), reached=len(curve.reached & images))
            if images and images <= curve.reached:
                bpp, values = curve.estimates(sorted(images), measures)
                values |= {} if by_rate else {by.column: exact}
                seconds = _seconds(curve.points[by.column], math.log10(bpp.value))
                codec = codec._replace(bpp=exact if by_rate else bpp, values=values, **seconds)
        ranked.append(codec)

    def order(codec: Ranked) -> tuple[bool, float]:
        estimate = codec.values.get(by.column) if by_rate else codec.bpp
        sign = -1 if by_rate and by.better == "higher" else 1
        return estimate is None, sign * estimate.value if estimate else -codec.reached

    places = enumerate(sorted(ranked, key=order), 1)
    return [codec._replace(rank=place if codec.bpp else None) for place, codec in places]


class _ImageCurves:
    """The curves of a codec variant's images, and the rates at which they reach a target."""

    def __init__(self, target: Target, by: Measure, points: Mapping[str, Sequence[Point]]) -> None:
        self.points = points
        fronts = _fronts(points[by.column], by)
        if target.name == RATE:
            self._log_rate = dict.fromkeys(fronts, math.log10(target.value))
        else:
            at = by.quality(target.value)
            self._log_rate = {image: rd.log_rate_at(front, at) for image, front in fronts.items()}
        self.images = set(points[by.column][0].image_ids.tolist())
        there = {n: rd.quality_at(front, self._log_rate[n]) for n, front in fronts.items()}
        self.reached = {image for image, quality in there.items() if math.isfinite(quality)}

    def estimates(
        self, images: Sequence[int], measures: Sequence[Measure]
    ) -> tuple[Estimate, dict[str, Estimate]]:
        """Return the means over these images: the rate, and the values by metric column."""
        values = {}
        for measure in measures:
            fronts = _fronts(self.points.get(measure.column, ()), measure)
            at = [rd.quality_at(fronts[n], self._log_rate[n]) for n in images if n in fronts]
            of_images = np.array([measure.value(quality) for quality in at], np.float64)
            if len(at) == len(images) and np.isfinite(of_images).all():
                values[measure.column] = _mean(of_images)
        return _mean(np.power(10.0, [self._log_rate[image] for image in images])), values


class _SetCurves:
    """The curves of a codec variant over all images together: of the set, then of every draw."""

    def __init__(self, target: Target, by: Measure, points: Mapping[str, Sequence[Point]]) -> None:
        self.points = points
        self.images = set(points[by.column][0].image_ids.tolist())
        log_rate, quality = self._curve(by)
        if target.name == RATE:
            self._log_rate = np.full(len(log_rate), math.log10(target.value))
        else:
            at = np.full(len(log_rate), by.quality(target.value))
            self._log_rate = interpolated(quality, log_rate, at)
        there = interpolated(log_rate, quality, self._log_rate)[0]
        has = np.isfinite(points[by.column][0].image_values[by.column])
        ids = points[by.column][0].image_ids[has & np.isfinite(there)]
        self.reached: set[int] = set(ids.tolist())

    def _curve(self, measure: Measure) -> ResampledCurve:
        """Return the curve of the settings on the Pareto front of the set, by rising rate."""
        points, weights = self.points[measure.column], over_images.set_and_draws
        curve = over_images.resampled_curve(points, measure, weights, pooled=True)
        log_rate, quality = (axis[0] for axis in curve)
        front = np.flatnonzero(np.isin(log_rate, rd.pareto_front(Curve(log_rate, quality)).bpp))
        front = front[np.argsort(log_rate[front])]
        return ResampledCurve(*(axis[:, front] for axis in curve))

    def estimates(
        self, _: Collection[int], measures: Sequence[Measure]
    ) -> tuple[Estimate, dict[str, Estimate]]:
        """Return the rate of the set, and its values by metric column."""
        values = {}
        for measure in measures:
            points = self.points.get(measure.column)
            if points and np.isfinite(points[0].image_values[measure.column]).all():
                at = interpolated(*self._curve(measure), self._log_rate)
                if math.isfinite(at[0]):
                    values[measure.column] = _of_set(np.array([*map(measure.value, at)]))
        return _of_set(np.power(10.0, self._log_rate)), values


def _fronts(points: Sequence[Point], measure: Measure) -> dict[int, Curve]:
    curves = rd.image_curves(points, measure)
    fronts = {image: rd.pareto_front(curve) for image, curve in curves.items()}
    return {image: front for image, front in fronts.items() if len(front.bpp)}


def _mean(values: Float64Array) -> Estimate:
    interval = over_images.bootstrap_interval(values) if len(values) > 1 else None
    return Estimate(float(values.mean()), interval)


def _of_set(values: Float64Array) -> Estimate:
    """Return the first value and the interval of the others, unless too many draws have none."""
    finite = values[1:][np.isfinite(values[1:])]
    enough = len(finite) >= max(LEAST_COMPARED * (len(values) - 1), 2)
    interval = over_images.percentile_interval(finite) if enough else None
    return Estimate(float(values[0]), interval)


def _seconds(points: Sequence[Point], log_rate: float) -> dict[str, Any]:
    """Return the seconds at a rate, interpolated between the means of the settings."""
    rates = np.log10([point.bpp or math.nan for point in points])
    seconds: dict[str, float | None] = {}
    for name in SECONDS:
        values = np.array([point.means[name].value for point in points], np.float64)
        known = np.isfinite(values)
        at = float(np.interp(log_rate, rates[known], values[known])) if known.any() else None
        seconds[name] = at
    edition, setting = points[0].edition, points[0].setting.name
    value = float(np.interp(log_rate, rates, [float(point.setting.value) for point in points]))
    typical = [
        declared.seconds
        for declared in facts_of(edition.spec).typical
        if declared.device in edition.devices and declared.setting in (setting, "")
    ]
    return {**seconds, "typical_seconds": typical_at(typical[0], value) if typical else None}
