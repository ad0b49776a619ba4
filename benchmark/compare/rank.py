"""Compare codecs at a rate, or at a value of a metric, by interpolation.

The Pareto front of each image is interpolated as for BD-rates, and means are over images. With a
budget for the whole set, as in the CLIC challenges, the bytes of all images are added up: means are
interpolated over the settings' pooled rates. Nothing is extrapolated: codecs are ranked on the
images on which most of them reach the target, and a codec that misses it on any of these images is
not ranked. After a search, a setting that meets the target is used without interpolation.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from statistics import stdev
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Setting
from benchmark.compare import interval as image_intervals
from benchmark.compare import rate_quality as rd
from benchmark.compare.cost import mean_at_rate, typical_seconds
from benchmark.compare.interval import Interval
from benchmark.compare.rate_quality import RateQuality, interpolate
from benchmark.compare.rule import USUAL_RULE
from benchmark.compare.tradeoff import average_over
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, labels_of
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import SECONDS, Point, Summary, curves, split_seeds
from benchmark.system.text import counted, group_by_key, number_in

RATE = "bpp"
INTERPOLANT = USUAL_RULE.bd  # of images' curves
RATE_TOLERANCE, METRIC_TOLERANCE = 0.01, 0.002  # tolerances, as shares of a target
WIDE_GAP = 1.5  # a record lists neighbouring rates if their ratio is above this
MIN_DISTANCE = 1e-9  # decades; a rate closer to a point is not interpolated
MIN_RESAMPLE_SHARE = 0.95  # of resamples with a value; below it, no interval is given
Estimate = tuple[float, Interval | None]  # a mean and its interval; None: a single image
# A difference from the best codec over the same images (in the metric's units; for rates in
# percent), its interval, and the number of images where the codec is better (None for a set)
PairedDifference = tuple[float, Interval | None, int | None]
TYPICAL_SECONDS = "typical_seconds_per_megapixel"  # declared by the codec, for one core
Budget = Literal["image", "set"]  # whether the target holds per image or for all images together


class Target(NamedTuple):
    """A rate or a value of a metric, at which codecs are compared or their settings searched."""

    name: str  # "bpp", or the name of a metric
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"

    def place(self, value: float) -> float:
        """Return a value's position on the axis on which `distance` is measured."""
        return value if self.name == RATE else Metric.named(self.name).axis_position(value)

    def distance(self, value: float) -> float:
        """Return the distance of a value from the target, in units of a search's tolerance."""
        position = self.place(self.value)
        tolerance = (RATE_TOLERANCE if self.name == RATE else METRIC_TOLERANCE) * abs(position)
        return abs(self.place(value) - position) / tolerance if tolerance else math.inf


class RankedCodec(NamedTuple):
    """A codec variant, or a published system, at a target."""

    record: dict[str, Any]  # JSON values; `empty_record` lists the keys
    edition: Edition
    unreached_images: tuple[int, ...] = ()  # images whose curves miss the target
    # Range of rates or values that all images, or a published system's points, reach
    span: tuple[float, float] | None = None
    means_bracket_target: bool = False  # whether settings' means lie on both sides of it


def parse_target(text: str) -> Target:
    """Parse a rate or a metric's value ("bpp=.3"); raise `UsageError` or `UnknownName`."""
    name, _, number = (part.strip() for part in text.partition("="))
    value = number_in(number)
    if not math.isfinite(value) or (name == RATE and value <= 0):
        raise UsageError(f"a target must have the form bpp=0.3 or psnr=32, not {text!r}")
    if name != RATE:
        (name,) = metric_names([name])
    return Target(name, value)


def parse_targets(texts: Iterable[str]) -> list[Target]:
    """Parse texts with one or several targets; "bpp=.05,.1" names two rates."""
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
) -> list[RankedCodec]:
    """Return all codec variants at a target, best first, unranked ones last.

    Codecs are ranked by the first of `metrics`; if the target is a metric's value, by rate. common:
    compare images on which all codecs reach the target; default: most codecs (`_common_images`).
    anchor: if the target is a metric's value, compare rates with the anchor's. tolerance: in units
    of a search's tolerance; a setting measured here whose mean is this near is used without
    interpolation (at least 1 if a codec has one setting); None: always interpolate. Raises
    `UsageError` for metrics of sets without a budget for the set, or without a common image.
    """
    is_at_rate = target.name == RATE
    axis_metric = metrics[0] if is_at_rate else Metric.named(target.name)
    for metric in (axis_metric, *metrics):
        if metric.is_distribution and (budget == "image" or not metric.has_image_values):
            remedy = "use --budget set" if metric.has_image_values else "choose another metric"
            raise UsageError(f"{metric.label} has no per-image curves: {remedy}")
    points = {m.column: _curve_points(summary, m, budget, common) for m in (axis_metric, *metrics)}
    curves_by_edition = _codec_curves(target, axis_metric, points, budget, tolerance)
    images = _common_images([*curves_by_edition.values()], common)
    axis_points = points[axis_metric.column]
    scored_images = {*chain(*(_scored_images_of(p, axis_metric) for p in axis_points.values()))}
    if common and curves_by_edition and not images:
        raise UsageError(_no_common_image(curves_by_edition, target))
    labels, ranking_column = summary.labels, axis_metric.column if is_at_rate else RATE
    reaching_codecs: list[tuple[_SetCurves | _ImageCurves, RankedCodec, Float64Array]] = []
    unranked_codecs: list[RankedCodec] = []
    for edition in summary.editions:
        record = empty_record(target, labels[edition], edition, metrics)
        codec, values = RankedCodec(record, edition), dict[str, Float64Array]()
        if curve := curves_by_edition.get(edition):
            record["images"] = len(images)
            record["images_reached"] = len(curve.reached_images & images)
            unreached_images = tuple(sorted(curve.images & scored_images - curve.reached_images))
            means_bracket_target = budget == "image" and _is_bracketed(
                axis_points[edition], target, axis_metric
            )
            codec = RankedCodec(record, edition, unreached_images, curve.span, means_bracket_target)
            if images and images <= curve.reached_images:
                values = _add_means(record, curve, sorted(images), target, axis_metric, metrics)
        if curve and ranking_column in values:
            reaching_codecs.append((curve, codec, values[ranking_column]))
        else:
            unranked_codecs.append(codec)
    ranked_codecs = _rank_codecs(reaching_codecs, axis_metric if is_at_rate else None)
    anchor_rates = [x for codec, x in ranked_codecs if codec.edition == anchor and not is_at_rate]
    for codec, rates in ranked_codecs if anchor_rates else ():
        if codec.edition == anchor:
            codec.record["to_anchor"] = 0.0
            continue
        change, interval, _ = curves_by_edition[codec.edition].paired_difference(
            rates, anchor_rates[0], None
        )
        codec.record.update(_interval_fields("to_anchor", change, interval))
    unranked_codecs.sort(key=lambda codec: -codec.record["images_reached"])
    all_codecs = [*(codec for codec, _ in ranked_codecs), *unranked_codecs]
    if any(point.seed_points for point in summary.points):
        seed_rankings = (
            rank_at(seed_summary, target, metrics, budget, common, tolerance=tolerance)
            for seed_summary in split_seeds(summary)
        )
        columns = RATE, *(metric.column for metric in metrics)
        _add_seed_deviations(all_codecs, seed_rankings, columns)
    return all_codecs


def _add_seed_deviations(
    ranked_codecs: Iterable[RankedCodec],
    seed_rankings: Iterable[Iterable[RankedCodec]],
    columns: Sequence[str],
) -> None:
    seed_records = group_by_key((codec.edition, codec.record) for codec in chain(*seed_rankings))
    for codec in ranked_codecs:
        for column in columns:
            values = [record[column] for record in seed_records.get(codec.edition, ())]
            if len(values) > 1 and None not in values:
                fields = {"seeds": len(values), f"{column}_seeds_standard_deviation": stdev(values)}
                codec.record.update(fields)


def _codec_curves(
    target: Target,
    axis_metric: Metric,
    points: Mapping[str, Mapping[Edition, Sequence[Point]]],
    budget: Budget,
    tolerance: float | None,
) -> "dict[Edition, _SetCurves | _ImageCurves]":
    """Return each edition's curves; if a setting matches the target, of this setting alone."""
    curves_class = _SetCurves if budget == "set" else _ImageCurves
    codec_curves: dict[Edition, _SetCurves | _ImageCurves] = {}
    for edition in points[axis_metric.column]:
        edition_points = {
            name: column_points[edition]
            for name, column_points in points.items()
            if edition in column_points
        }
        setting = _matched_setting(
            target, axis_metric, edition_points[axis_metric.column], budget, tolerance
        )
        if setting:
            edition_points = {
                name: [p for p in column_points if p.setting == setting]
                for name, column_points in edition_points.items()
            }
        codec_curves[edition] = curves_class(target, axis_metric, edition_points, setting)
    return codec_curves


def _rank_codecs(
    codecs: "Sequence[tuple[_SetCurves | _ImageCurves, RankedCodec, Float64Array]]",
    metric: Metric | None,
) -> list[tuple[RankedCodec, Float64Array]]:
    """Return codecs and values (metric None: rates), best first; add ranks to the records."""
    sign = -1 if metric is not None and metric.better == "higher" else 1
    scored_codecs = sorted(
        (sign * entry[0].average(entry[2]), index, entry) for index, entry in enumerate(codecs)
    )
    scores = [score for score, *_ in scored_codecs]
    for score, _, (curve, codec, values) in scored_codecs:
        codec.record["rank"] = bisect_left(scores, score) + 1
        _, best_codec, best_values = scored_codecs[0][2]
        if codec is not best_codec:
            change, interval, wins = curve.paired_difference(values, best_values, metric)
            codec.record.update(_interval_fields("to_best", change, interval), images_better=wins)
    return [(codec, values) for _, _, (_, codec, values) in scored_codecs]


def empty_record(
    target: Target, name: str, edition: Edition, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Return a record for a codec that does not reach a target."""
    record: dict[str, Any] = {
        "at": str(target),
        "rank": None,
        "codec": name,
        "bundled": edition.bundled,
        "images": 0,
        "images_reached": 0,
    }
    for column in (RATE, *(metric.column for metric in metrics)):
        record |= _interval_fields(column)
    record |= {**_interval_fields("to_best"), "images_better": None}
    record |= dict.fromkeys((*SECONDS, TYPICAL_SECONDS))
    record |= {"origin": edition.origin, "setting": None, "reached": None, "points": None}
    record |= {"interpolated_from": None, "interpolated_to": None, "image_bytes": None}
    return record | _interval_fields("to_anchor")


def _add_means(
    record: dict[str, Any],
    curve: "_SetCurves | _ImageCurves",
    images: Sequence[int],
    target: Target,
    axis_metric: Metric,
    metrics: Sequence[Metric],
) -> dict[str, Float64Array]:
    """Add a codec's means over images at a target to `record`; return values by column."""
    column = RATE if target.name == RATE else axis_metric.column
    shown_metrics = metrics if curve.setting is None else (axis_metric, *metrics)
    values_by_column = {
        RATE: curve.rates(images),
        **{m.column: curve.metric_values(images, m) for m in shown_metrics},
    }
    values = {name: x for name, x in values_by_column.items() if x is not None}
    means = {name: curve.mean(x) for name, x in values.items()}
    rate = means[RATE][0]
    if curve.setting is None:  # the interpolated value would be rounded
        means[column] = target.value, None
    elif column in means:
        record |= {"setting": str(curve.setting), "reached": means[column][0]}
    for name in means.keys() & record.keys():
        record |= _interval_fields(name, *means[name])
    is_pooled, points = isinstance(curve, _SetCurves), curve.points[axis_metric.column]
    image_points = [average_over(point, images, (), is_pooled) for point in points]
    record |= _seconds_at_rate([point for point in image_points if point.bpp], rate)
    pixels = {n: size for p in points for n, size in zip(p.image_ids, p.image_pixels, strict=True)}
    rates = rate if is_pooled else values[RATE]
    record["image_bytes"] = float(np.mean(rates * np.array([pixels[n] for n in images]))) / 8
    record |= neighbour_fields(curve.num_points, *curve.neighbours(images))
    return values


def neighbour_fields(num_points: int, low: float, high: float) -> dict[str, Any]:
    """Return the number of points, and the neighbouring rates if their gap is wide."""
    ends = (low, high) if high > WIDE_GAP * low else (None, None)
    return {"points": num_points, "interpolated_from": ends[0], "interpolated_to": ends[1]}


def _interval_fields(
    name: str, value: float | None = None, interval: Interval | None = None
) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _curve_points(
    summary: Summary, metric: Metric, budget: Budget, common: bool
) -> dict[Edition, list[Point]]:
    """Return the points of a metric's curves by edition.

    For a set, points are complete settings. Otherwise each image has its own curve, so a setting
    that lacks some images is used for the remaining ones, if all images have values at settings.
    """
    complete_points = curves(summary, metric)
    if budget == "set":
        return complete_points
    valued_points = (point for point in summary.points if point.bpp and point.has(metric.column))
    points_by_edition = group_by_key((point.edition, point) for point in valued_points)
    if common:
        return points_by_edition
    images = {e: _scored_images_of(points, metric) for e, points in points_by_edition.items()}
    all_images, curve_points = set().union(*images.values()), dict[Edition, list[Point]]()
    for edition, points in points_by_edition.items():
        finite_points = [point for point in points if not point.means[metric.column].infinite]
        if _scored_images_of(finite_points, metric) == all_images:
            curve_points[edition] = finite_points
        elif edition in complete_points:
            curve_points[edition] = complete_points[edition]
    return curve_points


def _scored_images_of(points: Iterable[Point], metric: Metric) -> set[int]:
    ids = (p.image_ids[~np.isnan(p.image_values[metric.column])].tolist() for p in points)
    return {*chain(*ids)}


def _matched_setting(
    target: Target,
    axis_metric: Metric,
    points: Sequence[Point],
    budget: Budget,
    tolerance: float | None,
) -> Setting | None:
    """Return the setting nearest to the target by its mean, if it needs no interpolation."""
    is_measured_here = points[0].edition.origin == "here"
    if tolerance is None or (len(points) > 1 and not (tolerance and is_measured_here)):
        return None

    def distance(point: Point) -> float:
        mean = point.means[axis_metric.column]
        value = mean.bpp if target.name == RATE else mean.value
        if target.name == RATE and budget == "set":
            value = average_over(point, point.image_ids.tolist(), (), pooled=True).bpp
        return math.inf if value is None or mean.missing else target.distance(value)

    nearest_point = min(points, key=distance)
    limit = max(tolerance, 1.0) if len(points) == 1 else tolerance
    return nearest_point.setting if distance(nearest_point) <= limit else None


def _is_bracketed(points: Sequence[Point], target: Target, axis_metric: Metric) -> bool:
    means = [point.means[axis_metric.column] for point in points]
    values = [mean.bpp if target.name == RATE else mean.value for mean in means]
    finite_values = [value for value in values if value is not None]
    return bool(finite_values) and min(finite_values) <= target.value <= max(finite_values)


def _common_images(curves: "Sequence[_SetCurves | _ImageCurves]", common: bool) -> set[int]:
    """Return the images to compare, on which all (`common`) or most codecs reach the target.

    A codec that reaches it on less than half of its images is ignored, unless all codecs would be.
    """
    reached_images = [curve.reached_images for curve in curves if curve.reached_images]
    if common or not reached_images:
        return set.intersection(*reached_images) if reached_images else set()
    voters = [
        c.reached_images
        for c in curves
        if c.reached_images and 2 * len(c.reached_images) >= len(c.images)
    ]
    votes = Counter(image for images in voters or reached_images for image in images)
    return {image for image, count in votes.items() if 2 * count > len(voters or reached_images)}


def _no_common_image(curves: "Mapping[Edition, _SetCurves | _ImageCurves]", target: Target) -> str:
    remaining_editions = sorted(curves, key=lambda edition: -len(curves[edition].reached_images))
    while remaining_editions and not (
        shared_images := set.intersection(
            *(curves[edition].reached_images for edition in remaining_editions)
        )
    ):
        remaining_editions.pop()
    if not remaining_editions:
        return f"no codec reaches {target} on any image: choose another value"
    labels = labels_of(curves)
    counts = (
        f"{labels[edition]} ({len(curve.reached_images)} of {len(curve.images)})"
        for edition, curve in curves.items()
        if edition not in remaining_editions
    )
    names = ",".join(labels[edition] for edition in remaining_editions)
    return (
        f"no image reaches {target} with all codecs; without {', '.join(counts)}, "
        f"{counted(len(shared_images), 'image remains', 'images remain')}: try --codecs {names}"
    )


class _ImageCurves:
    """Per-image curves of a codec variant, and their rates at a target."""

    def __init__(
        self,
        target: Target,
        axis_metric: Metric,
        points: Mapping[str, Sequence[Point]],
        setting: Setting | None = None,
    ) -> None:
        """Find the rates. setting: the one setting of `points`; their rates are then used."""
        self.points, self.setting = points, setting
        self._fronts = fronts = _fronts(points[axis_metric.column], axis_metric)
        if setting is not None:
            self._log_rate = {n: float(front.log_rate[0]) for n, front in fronts.items()}
        elif target.name == RATE:
            self._log_rate = dict.fromkeys(fronts, math.log10(target.value))
        else:
            target_quality = np.array([axis_metric.quality(target.value)])
            rates = (
                (image, rd.log_rates_at(front, target_quality, INTERPOLANT))
                for image, front in fronts.items()
            )
            self._log_rate = {image: float(rate) for image, (rate,) in rates}
        self.num_points = min((len(front.bpp) for front in fronts.values()), default=0)
        self.span = shared_span(fronts.values(), target, axis_metric) if fronts else None
        self.images = {n for point in points[axis_metric.column] for n in point.image_ids.tolist()}
        qualities = self._qualities(fronts, [*fronts])
        self.reached_images = {
            image
            for image, quality in zip(fronts, qualities, strict=True)
            if math.isfinite(quality)
        }

    def neighbours(self, images: Sequence[int]) -> tuple[float, float]:
        """Return geometric means of the measured rates below and above the images' rates."""
        ends = [neighbour_rates(self._fronts[image], self._log_rate[image]) for image in images]
        low, high = np.exp(np.log(ends).mean(axis=0))
        return float(low), float(high)

    def rates(self, images: Sequence[int]) -> Float64Array:
        return np.power(10.0, [self._log_rate[image] for image in images])

    def metric_values(self, images: Sequence[int], metric: Metric) -> Float64Array | None:
        fronts = _fronts(self.points.get(metric.column, ()), metric)
        qualities = self._qualities(fronts, [image for image in images if image in fronts])
        values = np.array([metric.value(quality) for quality in qualities], np.float64)
        return values if len(values) == len(images) and np.isfinite(values).all() else None

    def _qualities(self, fronts: Mapping[int, RateQuality], images: Sequence[int]) -> list[float]:
        rates = np.array([self._log_rate[image] for image in images], np.float64)
        qualities = rd.qualities_at([fronts[image] for image in images], rates, INTERPOLANT)
        return [float(quality) for quality in qualities]

    @staticmethod
    def average(values: Float64Array) -> float:
        return float(values.mean())

    @classmethod
    def mean(cls, values: Float64Array) -> Estimate:
        interval = image_intervals.bootstrap_interval(values) if len(values) > 1 else None
        return cls.average(values), interval

    @staticmethod
    def paired_difference(
        values: Float64Array, best_values: Float64Array, metric: Metric | None
    ) -> PairedDifference:
        """Return the difference from the best values; in percent for rates (metric None)."""
        can_resample = len(values) > 1
        higher_is_better = metric is not None and metric.better == "higher"
        num_better = int(np.sum(values > best_values if higher_is_better else values < best_values))
        if metric is not None:
            differences = values - best_values
            interval = image_intervals.skewed_interval(differences) if can_resample else None
            return float(np.mean(differences)), interval, num_better
        ratio = math.log(values.mean() / best_values.mean())
        pseudo_logs = ratio + values / values.mean() - best_values / best_values.mean()
        interval = image_intervals.percent_interval(pseudo_logs) if can_resample else None
        return 100 * math.expm1(ratio), interval, num_better


class _SetCurves:
    """Curves of a codec variant over all images together: for the set, then for each resample."""

    def __init__(
        self,
        target: Target,
        axis_metric: Metric,
        points: Mapping[str, Sequence[Point]],
        setting: Setting | None = None,
    ) -> None:
        self.points, self.setting = points, setting
        self.images = set(points[axis_metric.column][0].image_ids.tolist())
        curve = self._front_curve(axis_metric, self._scored_images(axis_metric))
        log_rate, quality = curve.log_rate, curve.quality
        self._front = RateQuality(*(axis[0] for axis in curve))
        self.num_points = len(self._front.bpp)
        self.span = shared_span([self._front], target, axis_metric)
        if setting is not None:
            self._log_rate = log_rate[:, 0]
        elif target.name == RATE:
            self._log_rate = np.full(len(log_rate), math.log10(target.value))
        else:
            target_quality = np.full(len(log_rate), axis_metric.quality(target.value))
            self._log_rate = interpolate(quality, log_rate, target_quality, INTERPOLANT)
        is_reached = math.isfinite(interpolate(log_rate, quality, self._log_rate, INTERPOLANT)[0])
        self.reached_images = self._scored_images(axis_metric) if is_reached else set()

    def _scored_images(self, metric: Metric) -> set[int]:
        point, *_ = self.points[metric.column]
        return {*point.image_ids[np.isfinite(point.image_values[metric.column])].tolist()}

    def _front_curve(self, metric: Metric, images: Collection[int]) -> RateQuality:
        points = [average_over(p, images, [metric.column]) for p in self.points[metric.column]]
        curve = image_intervals.resample_curve(
            points, metric, image_intervals.bootstrap_weights, pooled=True
        )
        set_points = np.stack([axis[0] for axis in curve], axis=1)
        # Use duplicate points once
        front_points = np.stack(rd.pareto_front(RateQuality(*set_points.T)), axis=1)
        indices = [int((set_points == point).all(axis=1).argmax()) for point in front_points]
        return RateQuality(*(axis[:, indices] for axis in curve))

    def neighbours(self, _: Sequence[int]) -> tuple[float, float]:
        """Return the measured rates below and above the set's rate."""
        return neighbour_rates(self._front, float(self._log_rate[0]))

    def rates(self, _: Sequence[int]) -> Float64Array:
        """Return the rate of the set, then of each resample."""
        return np.power(10.0, self._log_rate)

    def metric_values(self, images: Sequence[int], metric: Metric) -> Float64Array | None:
        """Return the value of the set, then of each resample; None if an image has no value."""
        scored_images = self._scored_images(metric) if metric.column in self.points else set()
        if not scored_images.issuperset(images) or (
            metric.is_distribution and len(scored_images) > len(images)
        ):
            return None
        curve = self._front_curve(metric, images)
        qualities = interpolate(curve.log_rate, curve.quality, self._log_rate, INTERPOLANT)
        return np.array([*map(metric.value, qualities)]) if math.isfinite(qualities[0]) else None

    @staticmethod
    def average(values: Float64Array) -> float:
        return float(values[0])

    @classmethod
    def mean(cls, values: Float64Array) -> Estimate:
        """Return the set's value, and its interval unless too many resamples have no value."""
        finite_values = values[1:][np.isfinite(values[1:])]
        has_enough_values = len(finite_values) >= max(MIN_RESAMPLE_SHARE * (len(values) - 1), 2)
        interval = image_intervals.percentile_interval(finite_values) if has_enough_values else None
        return cls.average(values), interval

    @classmethod
    def paired_difference(
        cls, values: Float64Array, best_values: Float64Array, metric: Metric | None
    ) -> PairedDifference:
        """Return the difference from the best codec's values in each resample."""
        change = values - best_values if metric is not None else 100 * (values / best_values - 1)
        return *cls.mean(change), None


def _fronts(points: Sequence[Point], metric: Metric) -> dict[int, RateQuality]:
    curves = rd.image_curves(points, metric)
    fronts = {image: rd.pareto_front(curve) for image, curve in curves.items()}
    return {image: front for image, front in fronts.items() if len(front.bpp)}


def neighbour_rates(front: RateQuality, log_rate: float) -> tuple[float, float]:
    """Return the rates of the points below and above a log10 rate; at a point, its rate twice."""
    if np.abs(front.log_rate - log_rate).min() < MIN_DISTANCE:
        return 10**log_rate, 10**log_rate
    index = int(np.searchsorted(front.log_rate, log_rate))
    return float(front.bpp[index - 1]), float(front.bpp[index])


def shared_span(
    fronts: Iterable[RateQuality], target: Target, axis_metric: Metric
) -> tuple[float, float] | None:
    """Return the range of rates or values that all curves reach; None if it is empty."""
    is_rate = target.name == RATE
    axes = [front.bpp if is_rate else front.quality for front in fronts]
    low, high = max(min(axis) for axis in axes), min(max(axis) for axis in axes)
    if low > high:
        return None
    ends = (low, high) if is_rate else sorted((axis_metric.value(low), axis_metric.value(high)))
    return float(ends[0]), float(ends[1])


def _seconds_at_rate(points: Sequence[Point], bpp: float) -> dict[str, float | None]:
    seconds = {name: mean_at_rate(points, name, bpp) for name in SECONDS}
    devices = points[0].edition.run_facts.devices
    return seconds | {TYPICAL_SECONDS: typical_seconds(points, bpp, devices)}
