"""Codecs at a matched value: at a rate, or at a value of a metric, by interpolation.

The Pareto front of each image is interpolated as in BD-rates, and the means are over images. With a
budget of the whole set, as in the challenges of CLIC, all bytes count together: means are
interpolated over the pooled rate of the settings. Nothing is extrapolated: codecs are ranked on the
images that most of them reach the value in, and one that does not in all of these is not ranked.
After a search, a setting that meets the target counts as it is.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Setting
from benchmark.compare import curves as rd
from benchmark.compare import interval as over_images
from benchmark.compare.cost import mean_at_rate, typical_seconds
from benchmark.compare.curves import Curve, interpolated
from benchmark.compare.interval import Interval
from benchmark.compare.rule import USUAL_RULE
from benchmark.compare.tradeoff import average_over
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import SECONDS, Point, Summary, curves
from benchmark.system.text import by_key, counted, number_in

RATE = "bpp"
FORM = USUAL_RULE.bd  # by which images are interpolated
OF_RATE, OF_METRIC = 0.01, 0.002  # shares of a target within which a search has met it
WIDE_GAP = 1.5  # ratio of neighbouring rates beyond which a record has them
SAME_PLACE = 1e-9  # decades between a rate and that of a point, which needs no interpolation
LEAST_COMPARED = 0.95  # share of draws that need a number for an interval to be given
Estimate = tuple[float, Interval | None]  # a mean; without an interval of one image
# A difference from the best codec over the same images, and the images in which it is better, None
# for a set: of the mean, at a rate in the metric's units, else of the rate in percent
Paired = tuple[float, Interval | None, int | None]
TYPICAL = "typical_seconds_per_megapixel"  # of both ways on one core, as the codec declares
Budget = Literal["image", "set"]  # whether each image has the rate, or all images together


class Target(NamedTuple):
    """A rate, or a value of a metric, that codecs are compared or searched at."""

    name: str  # "bpp", or the name of a metric
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"

    def place(self, value: float) -> float:
        """Return where a value lies on the axis on which nearness counts."""
        return value if self.name == RATE else Metric.named(self.name).plotted(value)

    def distance(self, value: float) -> float:
        """Return how far a value is from the target, in tolerances of a search."""
        place = self.place(self.value)
        tolerance = (OF_RATE if self.name == RATE else OF_METRIC) * abs(place)
        return abs(self.place(value) - place) / tolerance if tolerance else math.inf


class Ranked(NamedTuple):
    """A codec variant, or a published system, at a target."""

    record: dict[str, Any]  # as `rank` gives it
    edition: Edition
    short: tuple[int, ...] = ()  # images of its curve that do not reach the target
    # Rates or values that all images of its curve reach; of a published system, those of its points
    span: tuple[float, float] | None = None
    set_reaches: bool = False  # means of its settings lie on both sides of the target


def parse_target(text: str) -> Target:
    """Parse a rate or a value of a metric. Raises `UsageError` or `UnknownName`.

    >>> parse_target("bpp=.3"), parse_target("psnr=32")
    (Target(name='bpp', value=0.3), Target(name='psnr', value=32.0))
    """
    name, _, number = (part.strip() for part in text.partition("="))
    value = number_in(number)
    if not math.isfinite(value) or (name == RATE and value <= 0):
        raise UsageError(f"a target is written as bpp=0.3 or psnr=32, not {text!r}")
    if name != RATE:
        (name,) = metric_names([name])
    return Target(name, value)


def parse_targets(texts: Iterable[str]) -> list[Target]:
    """Parse texts of one target or several, whose name need not be repeated.

    >>> [*map(str, parse_targets(["bpp=.05,.1", "psnr=32"]))]
    ['bpp=0.05', 'bpp=0.1', 'psnr=32']
    """
    targets = dict[Target, None]()
    for text in texts:
        name = ""
        for part in text.split(","):
            name = part.partition("=")[0] if "=" in part else name
            targets[parse_target(part if "=" in part else f"{name}={part}")] = None
    return [*targets]


def rank_at(
    summary: Summary,
    target: Target,
    metrics: Sequence[Metric],
    budget: Budget = "image",
    common: bool = False,
    *,
    anchor: Edition | None = None,
    tolerance: float | None = None,
) -> list[Ranked]:
    """Return all codec variants at a target, the best first, those that are not ranked last.

    The first of `metrics` ranks, or the rate where the target is a metric. common: compare on the
    images that all codecs reach, else on those that most do (`_compared`). anchor: compare rates
    with its, where the target is a metric. tolerance: take a setting measured here as it is whose
    mean is as near to the target, in tolerances of a search; the only setting of a codec is taken
    within one; None: interpolate always. Raises `UsageError` for metrics of whole sets without a
    budget of the set, and where no image is common to all codecs.
    """
    by_rate = target.name == RATE
    by = metrics[0] if by_rate else Metric.named(target.name)
    for metric in (by, *metrics):
        if metric.of_sets and (budget == "image" or not metric.by_image):
            how = "--budget set compares it" if metric.by_image else "name another metric"
            raise UsageError(f"{metric.label} has no curve of a single image: {how}")
    points = {m.column: _points(summary, m, budget, common) for m in (by, *metrics)}
    of_codec = _curves_at(target, by, points, budget, tolerance)
    images = _compared([*of_codec.values()], common)
    has_value = {*chain(*(_images_with(of, by) for of in points[by.column].values()))}
    if common and of_codec and not images:
        raise UsageError(_none_shared(of_codec, target))
    labels, of_rank = summary.labels, by.column if by_rate else RATE
    reaching: list[tuple[_SetCurves | _ImageCurves, Ranked, Float64Array]] = []
    others: list[Ranked] = []
    for edition in summary.editions:
        record = empty_record(target, labels[edition], edition, metrics)
        codec, values = Ranked(record, edition), dict[str, Float64Array]()
        if curve := of_codec.get(edition):
            record["images"], record["images_reached"] = len(images), len(curve.reached & images)
            short = tuple(sorted(curve.images & has_value - curve.reached))
            set_reaches = budget == "image" and _on_both_sides(
                points[by.column][edition], target, by
            )
            codec = Ranked(record, edition, short, curve.span, set_reaches)
            if images and images <= curve.reached:
                values = _add_means(record, curve, sorted(images), target, by, metrics)
        if curve and of_rank in values:
            reaching.append((curve, codec, values[of_rank]))
        else:
            others.append(codec)
    ranked = _placed(reaching, by if by_rate else None)
    of_anchor = [x for codec, x in ranked if codec.edition == anchor and not by_rate]
    for codec, x in ranked if of_anchor else ():
        if codec.edition == anchor:
            codec.record["to_anchor"] = 0.0
            continue
        change, ends, _ = of_codec[codec.edition].paired(x, of_anchor[0], None)
        codec.record.update(_with_ends("to_anchor", change, ends))
    others.sort(key=lambda codec: -codec.record["images_reached"])
    return [*(codec for codec, _ in ranked), *others]


def _curves_at(
    target: Target,
    by: Metric,
    points: Mapping[str, Mapping[Edition, Sequence[Point]]],
    budget: Budget,
    tolerance: float | None,
) -> "dict[Edition, _SetCurves | _ImageCurves]":
    """Return the curves of each edition at a target, or of the setting that counts as it is."""
    at_target = _SetCurves if budget == "set" else _ImageCurves
    result: dict[Edition, _SetCurves | _ImageCurves] = {}
    for edition in points[by.column]:
        own = {name: of[edition] for name, of in points.items() if edition in of}
        setting = _setting_at(target, by, own[by.column], budget, tolerance)
        if setting:
            own = {name: [p for p in of if p.setting == setting] for name, of in own.items()}
        result[edition] = at_target(target, by, own, setting)
    return result


def _placed(
    codecs: "Sequence[tuple[_SetCurves | _ImageCurves, Ranked, Float64Array]]", by: Metric | None
) -> list[tuple[Ranked, Float64Array]]:
    """Return codecs with their values, best first, and add ranks and differences to the records.

    by: the metric that the values are of; None: they are rates.
    """
    sign = -1 if by is not None and by.better == "higher" else 1
    scored = sorted((sign * of[0].average(of[2]), n, of) for n, of in enumerate(codecs))
    scores = [score for score, *_ in scored]
    for score, _, (curve, codec, x) in scored:
        codec.record["rank"] = bisect_left(scores, score) + 1
        if codec is not scored[0][2][1]:
            change, ends, better = curve.paired(x, scored[0][2][2], by)
            codec.record.update(_with_ends("to_best", change, ends), images_better=better)
    return [(codec, x) for _, _, (_, codec, x) in scored]


def empty_record(
    target: Target, name: str, edition: Edition, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Return the record of a codec that does not reach a target."""
    record: dict[str, Any] = {
        "at": str(target),
        "rank": None,
        "codec": name,
        "bundled": edition.bundled,
        "images": 0,
        "images_reached": 0,
    }
    for column in (RATE, *(metric.column for metric in metrics)):
        record |= _with_ends(column)
    record |= {**_with_ends("to_best"), "images_better": None}
    record |= dict.fromkeys((*SECONDS, TYPICAL))
    record |= {"origin": edition.origin, "setting": None, "reached": None, "points": None}
    record |= {"interpolated_from": None, "interpolated_to": None, "image_bytes": None}
    return record | _with_ends("to_anchor")


def _add_means(
    record: dict[str, Any],
    curve: "_SetCurves | _ImageCurves",
    images: Sequence[int],
    target: Target,
    by: Metric,
    metrics: Sequence[Metric],
) -> dict[str, Float64Array]:
    """Add a codec's means over images at a target to its record; return the values of each."""
    column = RATE if target.name == RATE else by.column
    shown = metrics if curve.setting is None else (by, *metrics)
    every = {RATE: curve.rates(images), **{m.column: curve.at(images, m) for m in shown}}
    values = {name: x for name, x in every.items() if x is not None}
    means = {name: curve.mean(x) for name, x in values.items()}
    rate = means[RATE][0]
    if curve.setting is None:  # exact, which interpolation there and back would round
        means[column] = target.value, None
    elif column in means:
        record |= {"setting": str(curve.setting), "reached": means[column][0]}
    for name in means.keys() & record.keys():
        record |= _with_ends(name, *means[name])
    pooled, points = isinstance(curve, _SetCurves), curve.points[by.column]
    of_images = [average_over(point, images, (), pooled) for point in points]
    record |= _seconds([point for point in of_images if point.bpp], rate)
    pixels = {n: size for p in points for n, size in zip(p.image_ids, p.image_pixels, strict=True)}
    rates = rate if pooled else values[RATE]
    record["image_bytes"] = float(np.mean(rates * np.array([pixels[n] for n in images]))) / 8
    record |= points_beside(curve.count, *curve.neighbours(images))
    return values


def points_beside(points: int, low: float, high: float) -> dict[str, Any]:
    """Return the fields on points, and on the neighbouring rates if they are far apart."""
    ends = (low, high) if high > WIDE_GAP * low else (None, None)
    return {"points": points, "interpolated_from": ends[0], "interpolated_to": ends[1]}


def _with_ends(
    name: str, value: float | None = None, interval: Interval | None = None
) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _points(
    summary: Summary, metric: Metric, budget: Budget, common: bool
) -> dict[Edition, list[Point]]:
    """Return, by edition, the points whose images make the curves of a metric.

    Of a set these are complete settings. Each image has a curve of its own, so that a setting which
    lacks a value of one image has a part in those of the others, unless the edition has no value of
    some image at all.
    """
    complete = curves(summary, metric)
    if budget == "set":
        return complete
    known = (point for point in summary.points if point.bpp and point.has(metric.column))
    of_any_image = by_key((point.edition, point) for point in known)
    if common:
        return of_any_image
    images = {e: _images_with(points, metric) for e, points in of_any_image.items()}
    every, result = set().union(*images.values()), dict[Edition, list[Point]]()
    for edition, points in of_any_image.items():
        finite = [point for point in points if not point.means[metric.column].infinite]
        if _images_with(finite, metric) == every:
            result[edition] = finite
        elif edition in complete:
            result[edition] = complete[edition]
    return result


def _images_with(points: Iterable[Point], metric: Metric) -> set[int]:
    """Return the images that some point has a value of."""
    known = (p.image_ids[~np.isnan(p.image_values[metric.column])].tolist() for p in points)
    return {*chain(*known)}


def _setting_at(
    target: Target, by: Metric, points: Sequence[Point], budget: Budget, tolerance: float | None
) -> Setting | None:
    """Return the setting whose mean is nearest to the target, if it counts as it is."""
    here = points[0].edition.origin == "here"
    if tolerance is None or (len(points) > 1 and not (tolerance and here)):
        return None

    def distance(point: Point) -> float:
        mean = point.means[by.column]
        value = mean.bpp if target.name == RATE else mean.value
        if target.name == RATE and budget == "set":
            value = average_over(point, point.image_ids.tolist(), (), pooled=True).bpp
        return math.inf if value is None or mean.missing else target.distance(value)

    nearest = min(points, key=distance)
    least = max(tolerance, 1.0) if len(points) == 1 else tolerance
    return nearest.setting if distance(nearest) <= least else None


def _on_both_sides(points: Sequence[Point], target: Target, by: Metric) -> bool:
    """Return whether the means of settings include the target."""
    means = [point.means[by.column] for point in points]
    values = [mean.bpp if target.name == RATE else mean.value for mean in means]
    known = [value for value in values if value is not None]
    return bool(known) and min(known) <= target.value <= max(known)


def _compared(curves: "Sequence[_SetCurves | _ImageCurves]", common: bool) -> set[int]:
    """Return the images to compare on: those that all codecs reach, or most of them.

    A codec that reaches less than half of its images has no say in what most reach, unless none
    reaches more.
    """
    reached = [curve.reached for curve in curves if curve.reached]
    if common or not reached:
        return set.intersection(*reached) if reached else set()
    whole = [c.reached for c in curves if c.reached and 2 * len(c.reached) >= len(c.images)]
    votes = Counter(image for images in whole or reached for image in images)
    return {image for image, count in votes.items() if 2 * count > len(whole or reached)}


def _none_shared(curves: "Mapping[Edition, _SetCurves | _ImageCurves]", target: Target) -> str:
    """Return the sentence on codecs that reach no image in common, and which to leave out."""
    kept = sorted(curves, key=lambda edition: -len(curves[edition].reached))
    while kept and not (shared := set.intersection(*(curves[of].reached for of in kept))):
        kept.pop()
    if not kept:
        return f"no codec reaches {target} on any image: name another value"
    labels = labels_of(curves)
    counts = (
        f"{labels[edition]} ({len(curve.reached)} of {len(curve.images)})"
        for edition, curve in curves.items()
        if edition not in kept
    )
    names = ",".join(labels[edition] for edition in kept)
    return (
        f"no image reaches {target} with all codecs; without {', '.join(counts)} "
        f"{counted(len(shared), 'image does', 'images do')}: --codecs {names}"
    )


class _ImageCurves:
    """The curves of a codec variant's images, and the rates at which they reach a target."""

    def __init__(
        self,
        target: Target,
        by: Metric,
        points: Mapping[str, Sequence[Point]],
        setting: Setting | None = None,
    ) -> None:
        """Find the rates; setting: of all points, which count as they are."""
        self.points, self.setting = points, setting
        self._fronts = fronts = _fronts(points[by.column], by)
        if setting is not None:
            self._log_rate = {n: float(front.log_rate[0]) for n, front in fronts.items()}
        elif target.name == RATE:
            self._log_rate = dict.fromkeys(fronts, math.log10(target.value))
        else:
            at = np.array([by.quality(target.value)])
            of_fronts = (
                (image, rd.log_rates_at(front, at, FORM)) for image, front in fronts.items()
            )
            self._log_rate = {image: float(rate) for image, (rate,) in of_fronts}
        self.count = min((len(front.bpp) for front in fronts.values()), default=0)
        self.span = span_of(fronts.values(), target, by) if fronts else None
        self.images = {n for point in points[by.column] for n in point.image_ids.tolist()}
        there = self._qualities(fronts, [*fronts])
        self.reached = {image for image, of in zip(fronts, there, strict=True) if math.isfinite(of)}

    def neighbours(self, images: Sequence[int]) -> tuple[float, float]:
        """Return the geometric means of the rates between which images are interpolated."""
        ends = [neighbours_of(self._fronts[image], self._log_rate[image]) for image in images]
        low, high = np.exp(np.log(ends).mean(axis=0))
        return float(low), float(high)

    def rates(self, images: Sequence[int]) -> Float64Array:
        """Return the rate of each of these images."""
        return np.power(10.0, [self._log_rate[image] for image in images])

    def at(self, images: Sequence[int], metric: Metric) -> Float64Array | None:
        """Return the value of each image; None unless all of them have one."""
        fronts = _fronts(self.points.get(metric.column, ()), metric)
        known = self._qualities(fronts, [image for image in images if image in fronts])
        values = np.array([metric.value(quality) for quality in known], np.float64)
        return values if len(values) == len(images) and np.isfinite(values).all() else None

    def _qualities(self, fronts: Mapping[int, Curve], images: Sequence[int]) -> list[float]:
        """Return the quality of each of these images at its rate."""
        rates = np.array([self._log_rate[image] for image in images], np.float64)
        qualities = rd.qualities_at([fronts[image] for image in images], rates, FORM)
        return [float(quality) for quality in qualities]

    @staticmethod
    def average(values: Float64Array) -> float:
        """Return the mean over images."""
        return float(values.mean())

    @classmethod
    def mean(cls, values: Float64Array) -> Estimate:
        """Return the mean over images with its interval."""
        interval = over_images.bootstrap_interval(values) if len(values) > 1 else None
        return cls.average(values), interval

    @staticmethod
    def paired(values: Float64Array, best: Float64Array, metric: Metric | None) -> Paired:
        """Return the difference from the best codec's values of a metric, None: of the rate."""
        several, higher = len(values) > 1, metric is not None and metric.better == "higher"
        better = int(np.sum(values > best if higher else values < best))
        if metric is not None:
            interval = over_images.skewed_interval(values - best) if several else None
            return float(np.mean(values - best)), interval, better
        ratio = math.log(values.mean() / best.mean())
        influenced = ratio + values / values.mean() - best / best.mean()
        interval = over_images.percent_interval(influenced) if several else None
        return 100 * math.expm1(ratio), interval, better


class _SetCurves:
    """The curves of a codec variant over all images together: of the set, then of every draw."""

    def __init__(
        self,
        target: Target,
        by: Metric,
        points: Mapping[str, Sequence[Point]],
        setting: Setting | None = None,
    ) -> None:
        """Find the rates; setting: of all points, which count as they are."""
        self.points, self.setting = points, setting
        self.images = set(points[by.column][0].image_ids.tolist())
        curve = self._curve(by, self._known(by))
        log_rate, quality = curve.log_rate, curve.quality
        self._front = Curve(*(axis[0] for axis in curve))
        self.count = len(self._front.bpp)
        self.span = span_of([self._front], target, by)
        if setting is not None:
            self._log_rate = log_rate[:, 0]
        elif target.name == RATE:
            self._log_rate = np.full(len(log_rate), math.log10(target.value))
        else:
            at = np.full(len(log_rate), by.quality(target.value))
            self._log_rate = interpolated(quality, log_rate, at, FORM)
        there = math.isfinite(interpolated(log_rate, quality, self._log_rate, FORM)[0])
        self.reached = self._known(by) if there else set()

    def _known(self, metric: Metric) -> set[int]:
        """Return the images that have a value of a metric."""
        point, *_ = self.points[metric.column]
        return {*point.image_ids[np.isfinite(point.image_values[metric.column])].tolist()}

    def _curve(self, metric: Metric, images: Collection[int]) -> Curve:
        """Return the curve of the settings on the Pareto front of the set, by rising rate."""
        points = [average_over(p, images, [metric.column]) for p in self.points[metric.column]]
        curve = over_images.resample_curve(
            points, metric, over_images.bootstrap_weights, pooled=True
        )
        of_set = np.stack([axis[0] for axis in curve], axis=1)
        kept = np.stack(rd.pareto_front(Curve(*of_set.T)), axis=1)  # equal settings are one
        front = [int((of_set == point).all(axis=1).argmax()) for point in kept]
        return Curve(*(axis[:, front] for axis in curve))

    def neighbours(self, _: Sequence[int]) -> tuple[float, float]:
        """Return the rates between which the set is interpolated."""
        return neighbours_of(self._front, float(self._log_rate[0]))

    def rates(self, _: Sequence[int]) -> Float64Array:
        """Return the rate of the set, then of every draw."""
        return np.power(10.0, self._log_rate)

    def at(self, images: Sequence[int], metric: Metric) -> Float64Array | None:
        """Return the value of the set, then of every draw; None unless all images have one."""
        known = self._known(metric) if metric.column in self.points else set()
        if not known.issuperset(images) or (metric.of_sets and len(known) > len(images)):
            return None
        curve = self._curve(metric, images)
        qualities = interpolated(curve.log_rate, curve.quality, self._log_rate, FORM)
        return np.array([*map(metric.value, qualities)]) if math.isfinite(qualities[0]) else None

    @staticmethod
    def average(values: Float64Array) -> float:
        """Return the value of the set."""
        return float(values[0])

    @classmethod
    def mean(cls, values: Float64Array) -> Estimate:
        """Return the first value and the interval of the others, unless too many have none."""
        finite = values[1:][np.isfinite(values[1:])]
        enough = len(finite) >= max(LEAST_COMPARED * (len(values) - 1), 2)
        interval = over_images.percentile_interval(finite) if enough else None
        return cls.average(values), interval

    @classmethod
    def paired(cls, values: Float64Array, best: Float64Array, metric: Metric | None) -> Paired:
        """Return the difference from the best codec's, in the same draws of as many images."""
        change = values - best if metric is not None else 100 * (values / best - 1)
        return *cls.mean(change), None


def _fronts(points: Sequence[Point], metric: Metric) -> dict[int, Curve]:
    curves = rd.image_curves(points, metric)
    fronts = {image: rd.pareto_front(curve) for image, curve in curves.items()}
    return {image: front for image, front in fronts.items() if len(front.bpp)}


def neighbours_of(front: Curve, log_rate: float) -> tuple[float, float]:
    """Return the rates of the points beside a rate, given as log10; twice itself at a point."""
    if np.abs(front.log_rate - log_rate).min() < SAME_PLACE:
        return 10**log_rate, 10**log_rate
    place = int(np.searchsorted(front.log_rate, log_rate))
    return float(front.bpp[place - 1]), float(front.bpp[place])


def span_of(fronts: Iterable[Curve], target: Target, by: Metric) -> tuple[float, float] | None:
    """Return the lowest and highest rate or value that all curves reach; None if there is none."""
    of_rate = target.name == RATE
    axes = [front.bpp if of_rate else front.quality for front in fronts]
    low, high = max(min(axis) for axis in axes), min(max(axis) for axis in axes)
    if low > high:
        return None
    ends = (low, high) if of_rate else sorted((by.value(low), by.value(high)))
    return float(ends[0]), float(ends[1])


def _seconds(points: Sequence[Point], bpp: float) -> dict[str, float | None]:
    seconds = {name: mean_at_rate(points, name, bpp) for name in SECONDS}
    return {**seconds, TYPICAL: typical_seconds(points, bpp, points[0].edition.ran.devices)}
