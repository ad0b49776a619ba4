"""Codecs at a matched value: at a rate, or at a value of a metric, by interpolation.

The curve of each image, its Pareto front, is interpolated as in BD-rates (`interpolation`), and the
means are over images. With a budget of the whole set, as in the challenges of CLIC, all bytes count
together and one setting serves all images: their values are interpolated over the pooled rate of
the settings. Nothing is extrapolated: a codec is ranked where all images reach the value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.analysis.comparison import LEAST_COMPARED
from benchmark.analysis.interpolation import interpolated
from benchmark.analysis.interval import Interval, bootstrap_interval, image_draws, tails
from benchmark.analysis.rate_distortion import (
    Curve,
    curves,
    image_curves,
    log_rate_at,
    pareto_front,
    qualities,
    quality_at,
)
from benchmark.analysis.summarise import SECONDS, Point, Summary
from benchmark.codec import Float64Array
from benchmark.codec_spec import facts_of
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.plan.estimate import interpolated as typical_at
from benchmark.plan.request import metric_names

RATE = "bpp"
Budget = Literal["image", "set"]  # whether each image has the rate, or all images together


class Target(NamedTuple):
    """A rate, or a value of a metric, that codecs are compared at."""

    name: str  # "bpp", or the name of a metric
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


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

    def exact(self, by: Measure) -> "Ranked":
        """Return the same with the target's own value, which interpolation there and back rounds.

        by: the metric that the codecs were compared in.
        """
        there = Estimate(self.target.value, None)
        if self.target.name == RATE:
            return self._replace(bpp=there)
        return self._replace(values={**self.values, by.column: there})

    def record(self, measures: Sequence[Measure]) -> dict[str, Any]:
        """Return a flat record, JSON values only; each mean is followed by its interval."""
        result: dict[str, Any] = {
            "at": str(self.target),
            "rank": self.rank,
            "codec": self.label,
            "images": self.images,
            "images_reached": self.reached,
        }
        values = {
            RATE: self.bpp,
            **{measure.column: self.values.get(measure.column) for measure in measures},
        }
        for name, one in values.items():
            low, high = (one and one.interval) or (None, None)
            result |= {name: one and one.value, f"{name}_low": low, f"{name}_high": high}
        seconds = dict(zip(SECONDS, (self.encode_seconds, self.decode_seconds), strict=True))
        return {**result, **seconds, "typical_seconds_per_megapixel": self.typical_seconds}


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
        raise UsageError(f"a value to compare at is written as bpp=0.3 or psnr=32, not {text!r}")
    if name != RATE:
        (name,) = metric_names([name])
    return Target(name, value)


def rank(
    summary: Summary,
    target: Target,
    measures: Sequence[Measure],
    budget: Budget = "image",
    common: bool = False,
) -> list[Ranked]:
    """Return all codec variants at a target, the best first, those that do not reach it last.

    They are in the order of the first of `measures`, or of the rate where the target is a metric.
    common: average over the images that all codecs reach, in place of ranking those that reach it
    with all images. Raises `UsageError` for metrics of whole sets without a budget of the set.
    """
    by = measures[0] if target.name == RATE else Measure.named(target.name)
    for one in (by, *measures):
        if one.of_sets and (budget == "image" or not one.by_image):
            how = "--budget set compares it" if one.by_image else "name another metric"
            raise UsageError(f"{one.label} has no curve of a single image: {how}")
    points = {measure.column: curves(summary, measure) for measure in (by, *measures)}
    at_target = _SetCurves if budget == "set" else _ImageCurves
    result: dict[str, _SetCurves | _ImageCurves] = {}
    for label in points[by.column]:
        of_label = {name: of[label] for name, of in points.items() if label in of}
        result[label] = at_target(target, by, of_label)
    reached = [one.reached for one in result.values() if one.reached]
    shared = set.intersection(*reached) if common and reached else None
    ranked = [Ranked(target, label, None, 0, 0) for label in summary.labels if label not in result]
    for label, curve in result.items():
        images = curve.images if shared is None else shared
        first = Ranked(target, label, None, len(images), len(curve.reached & images))
        if images and images <= curve.reached:
            first = first._replace(**curve.estimates(sorted(images), measures)).exact(by)
        ranked.append(first)

    def order(one: Ranked) -> tuple[bool, float, int]:
        estimate = one.bpp if target.name != RATE else one.values.get(by.column)
        sign = -1 if target.name == RATE and by.better == "higher" else 1
        value = sign * estimate.value if estimate else -one.reached
        return estimate is None, value, summary.labels.index(one.label)

    places = enumerate(sorted(ranked, key=order), 1)
    return [one._replace(rank=place if one.bpp else None) for place, one in places]


class _ImageCurves:
    """The curves of a codec variant's images, and the rates at which they reach a target."""

    def __init__(self, target: Target, by: Measure, points: Mapping[str, Sequence[Point]]) -> None:
        self._points, self._by = points, by
        self._fronts = {by.column: _fronts(points[by.column], by)}
        at = math.log10(target.value) if target.name == RATE else by.quality(target.value)
        self._log_rate = {
            image: at if target.name == RATE else log_rate_at(front, at)
            for image, front in self._fronts[by.column].items()
        }
        quality = {
            image: quality_at(front, self._log_rate[image])
            for image, front in self._fronts[by.column].items()
        }
        self.images = set(points[by.column][0].image_ids.tolist())
        self.reached = {image for image, value in quality.items() if math.isfinite(value)}

    def estimates(self, images: Sequence[int], measures: Sequence[Measure]) -> dict[str, Any]:
        """Return the means over these images, as fields of `Ranked`."""
        log_rate = np.array([self._log_rate[image] for image in images])
        values = {}
        for measure in measures:
            if measure.column not in self._points:
                continue
            fronts = self._fronts.get(measure.column) or _fronts(
                self._points[measure.column], measure
            )
            at = [quality_at(fronts[n], self._log_rate[n]) for n in images if n in fronts]
            values_there = np.array([measure.value(quality) for quality in at], np.float64)
            if len(at) == len(images) and np.isfinite(values_there).all():
                values[measure.column] = _mean(values_there)
        bpp = _mean(np.asarray(10**log_rate, np.float64))
        seconds = _seconds(self._points[self._by.column], math.log10(bpp.value))
        return {"bpp": bpp, "values": values, **seconds}


class _SetCurves:
    """The curves of a codec variant over all images together, in every draw of images.

    Rates are all bits over all pixels. Arrays have shape (1 + draws, points), the first row without
    drawing.
    """

    def __init__(self, target: Target, by: Measure, points: Mapping[str, Sequence[Point]]) -> None:
        self._points, self._by = points, by
        self.images = set(points[by.column][0].image_ids.tolist())
        log_rate, quality = self._curve(by)
        at = np.full(len(log_rate), by.quality(target.value) if target.name != RATE else 0.0)
        self._log_rate = np.full(len(log_rate), math.log10(target.value))
        if target.name != RATE:
            self._log_rate = interpolated(quality, log_rate, at)
        there = np.isfinite(interpolated(log_rate, quality, self._log_rate)[0])
        self.reached = self.images if there else set()

    def _curve(self, measure: Measure) -> tuple[Float64Array, Float64Array]:
        """Return rates, as log10, and qualities of the settings on the Pareto front of the set."""
        points = self._points[measure.column]
        images = len(points[0].image_ids)
        weights = np.vstack([np.full(images, 1 / images), image_draws(images)])
        pixels, bits, values = (
            np.stack(columns, axis=1)
            for columns in zip(*(_of_images(point, measure) for point in points), strict=True)
        )
        rate = (weights @ bits) / (weights @ pixels)
        quality = qualities(weights @ values, measure)
        front = np.isin(rate[0], pareto_front(Curve(rate[0], quality[0])).bpp)
        order = np.argsort(rate[0][front])
        return np.log10(rate[:, front][:, order]), quality[:, front][:, order]

    def estimates(self, images: Sequence[int], measures: Sequence[Measure]) -> dict[str, Any]:
        """Return the means over the set, as fields of `Ranked`."""
        values = {}
        for measure in measures:
            if measure.column in self._points:
                log_rate, quality = self._curve(measure)
                result = interpolated(log_rate, quality, self._log_rate)
                if math.isfinite(result[0]):
                    values[measure.column] = _drawn(np.array([measure.value(at) for at in result]))
        seconds = _seconds(self._points[self._by.column], float(self._log_rate[0]))
        bpp = _drawn(np.asarray(10**self._log_rate, np.float64))
        return {"bpp": bpp, "values": values, **seconds}


def _of_images(point: Point, measure: Measure) -> tuple[Float64Array, Float64Array, Float64Array]:
    order = np.argsort(point.image_ids)
    pixels = point.image_pixels[order].astype(np.float64)
    return pixels, point.image_bpp[order] * pixels, point.image_values[measure.column][order]


def _fronts(points: Sequence[Point], measure: Measure) -> dict[int, Curve]:
    result = {image: pareto_front(one) for image, one in image_curves(points, measure).items()}
    return {image: front for image, front in result.items() if len(front.bpp)}


def _mean(values: Float64Array) -> Estimate:
    """Return the mean of the values of images, shape (images,)."""
    interval = bootstrap_interval(values) if len(values) > 1 else None
    return Estimate(float(values.mean()), interval)


def _drawn(values: Float64Array) -> Estimate:
    """Return the first value, with the interval of those of the draws, shape (1 + draws,).

    Without one where too many draws do not reach the target."""
    finite = values[1:][np.isfinite(values[1:])]
    if len(finite) < max(LEAST_COMPARED * (len(values) - 1), 2):
        return Estimate(float(values[0]), None)
    low, high = np.quantile(finite, tails())
    return Estimate(float(values[0]), Interval(float(low), float(high)))


def _seconds(points: Sequence[Point], log_rate: float) -> dict[str, float | None]:
    """Return the seconds at a rate, interpolated between the means of the settings.

    Measured seconds are None where no point has any; typical ones, where none are declared.
    """
    rates = np.log10([point.bpp or math.nan for point in points])
    result: dict[str, float | None] = {}
    for name in SECONDS:
        values = np.array([point.means[name].value for point in points], np.float64)
        known = np.isfinite(values)
        result[name] = (
            float(np.interp(log_rate, rates[known], values[known])) if known.any() else None
        )
    edition, setting = points[0].edition, points[0].setting.name
    value = float(np.interp(log_rate, rates, [float(point.setting.value) for point in points]))
    typical = [
        one.seconds
        for one in facts_of(edition.spec).typical
        if one.device in edition.devices and one.setting in (setting, "")
    ]
    return {**result, "typical_seconds": typical_at(typical[0], value) if typical else None}
