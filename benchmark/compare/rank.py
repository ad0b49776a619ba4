"""Codecs at a matched value: at a rate, or at a value of a metric, by interpolation.

The Pareto front of each image is interpolated as in BD-rates, and the means are over images. With a
budget of the whole set, as in the challenges of CLIC, all bytes count together: means are
interpolated over the pooled rate of the settings. Nothing is extrapolated: codecs are ranked on the
images that most of them reach the value in, and one that does not in all of these is not ranked.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from benchmark.answer import Absent, Answer, Column, decimals, seconds_text, with_interval
from benchmark.codec import Float64Array
from benchmark.compare import curves as rd
from benchmark.compare import interval as over_images
from benchmark.compare.anchor import read_compared
from benchmark.compare.caveats import own_caveats
from benchmark.compare.cost import at_rate, typical_seconds
from benchmark.compare.curves import Curve, interpolated
from benchmark.compare.interval import Interval
from benchmark.compare.rule import USUAL_RULE
from benchmark.compare.tradeoff import over
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.option import ALLOW_FEW, ANCHOR, BUNDLED, COMPARED, EXPERIMENT, MANNER, opt
from benchmark.rows.edition import Edition, labels_of, marked_bundled
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import DatasetResults, Source
from benchmark.rows.summary import SECONDS, Point, Summary, curves
from benchmark.system.text import by_key, counted, listed, number_in

RATE = "bpp"
FORM = USUAL_RULE.bd  # by which images are interpolated
BRACKETS = "Brackets: 95 % intervals over images in pairs."
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


class Ranked(NamedTuple):
    """A codec variant at a target."""

    record: dict[str, Any]  # as `rank` gives it
    short: tuple[int, ...]  # images of its curve that do not reach the target
    span: tuple[float, float] | None  # rates or values that all images of its curve reach


AT = opt(COMPARED, "A rate or a value of a metric: bpp=.3, psnr=32; repeatable.", many="repeated")
SHOWN = opt(COMPARED, "Metrics to show; at a rate, the first one ranks.")
WHOSE = opt(MANNER, "What has the rate or value: each image, or the set as a whole.")
ALL_REACH = opt(MANNER, "Average over the images that all codecs reach, and rank those.")


def rank(
    source: Source,
    at: Annotated[tuple[str, ...], AT] = ("bpp=0.3",),
    *,
    metrics: Annotated[str, SHOWN] = "psnr,lpips_squeeze",
    codecs: Annotated[str, EXPERIMENT] = "all",
    bundled: Annotated[str, BUNDLED] = "",
    anchor: Annotated[str, ANCHOR] = "",
    budget: Annotated[str, WHOSE] = "image",
    common: Annotated[bool, ALL_REACH] = False,
    allow_few: Annotated[bool, ALLOW_FEW] = False,
) -> Answer:
    """Rank codecs at a rate or at a value of a metric, by interpolation of each image's curve.

    Ranked are the codecs of the experiment and its anchor, as in a report, on the images in which
    most of them reach the value; nothing is extrapolated. With the budget of a set the bytes of all
    images count together.

    A record is a codec at a target. `rank` is missing where not all `images` that are compared
    reach the target (`images_reached` do). `bpp` and metrics are means over images with their 95 %
    intervals; `to_best` is the difference from the best codec, at a rate of the first metric, else
    of the rate in percent, with its interval over images in pairs, and `images_better` those in
    which the codec is better. Seconds are of an image, measured here, or typical ones per megapixel
    on one core, as declared.

    Examples:
      bench rank --at bpp=.3
      bench rank --at psnr=32 --at lpips_squeeze=.15 --codecs ours,vtm,avif
      bench rank --dataset kodak,sample --bundled ours,elic
      bench rank --budget set --at bpp=.075 --at bpp=.15 --at bpp=.3
    """
    if budget not in ("image", "set"):
        raise UsageError(f"a budget is of an image or of the set, not of {budget!r}")
    of: Budget = "set" if budget == "set" else "image"
    names, targets = metric_names(metrics), [*map(parse_target, at)]
    asked = dict.fromkeys((*names, *(target.name for target in targets if target.name != RATE)))
    stored = read_compared(
        source, codecs, tuple(asked), bundled=bundled, anchor=anchor, allow_few=allow_few,
        common=common and of == "set",  # else by image, of any setting
    )  # fmt: skip
    shown = [*map(Metric.named, names)]
    ranks = {target: rank_at(stored.summary, target, shown, of, common) for target in targets}
    records = [codec.record for ranked in ranks.values() for codec in ranked]
    images, labels = len(stored.image_names), stored.summary.labels
    firsts = " ".join(_first(at, ranked, shown[0], images) for at, ranked in ranks.items())
    return Answer(
        records,
        _columns(shown, targets, {labels[edition] for edition in stored.summary.bundled}),
        " ".join([f"{stored.subject}. {firsts}", BRACKETS, *own_caveats(stored.summary)]),
        [
            absent
            for target, ranked in ranks.items()
            for absent in _absent(target, ranked, shown, stored)
        ]
        + stored.summary.not_shown,
        {"dataset": stored.name, "budget": budget, **stored.facts},
        0 if any(record["rank"] for record in records) else 1,
    )


def _columns(
    metrics: Sequence[Metric], targets: Sequence[Target], bundled: Collection[str]
) -> list[Column]:
    def better(record: Mapping[str, Any]) -> str | None:
        images = record["images_better"]
        return None if images is None else f"{images}/{record['images']}"

    columns = [Column("at")] if len(targets) > 1 else []
    columns += [
        Column("rank", lambda of: of["rank"] and str(of["rank"])),
        Column("codec", lambda of: marked_bundled(of["codec"], of["codec"] in bundled)),
    ]
    columns += [Column("bpp", "bpp", ".3f")] if any(at.name != RATE for at in targets) else []
    columns += [Column(of.label, of.column, f".{decimals(of.label)}f") for of in metrics]
    return [
        *columns,
        Column("to the best", partial(_to_best, metrics[0]), str),
        Column("better on", better, str),
        *(Column(name.partition("_")[0], name, seconds_text) for name in SECONDS),
        Column("typical, a Mpx", TYPICAL, seconds_text),
    ]


def _to_best(metric: Metric, record: Mapping[str, Any]) -> str | None:
    if record["at"].startswith(f"{RATE}="):
        unit = " dB" if metric.label.endswith("(dB)") else ""
        return with_interval(record, "to_best", f"+z.{decimals(metric.label)}f", unit)
    return with_interval(record, "to_best", "+z.1f", " %")


def _first(target: Target, ranked: Sequence["Ranked"], metric: Metric, images: int) -> str:
    """Return the sentence on the best codec at a target, and on the next one.

    images: of the dataset.
    """
    best = [codec.record for codec in ranked if codec.record["rank"] is not None]
    compared = best[0]["images"] if best else images
    few = f" on {compared} of {images} images" if compared < images else ""
    if len(best) < 2 or best[1]["to_best"] is None:
        only = f"only {best[0]['codec']}" if best else "no codec"
        return f"At {target}{few} {only} is ranked."
    first, second = best[:2]
    ends = [(of["to_best_low"], of["to_best_high"]) for of in best if of["to_best"] is not None]
    sure = all(low is not None and not low <= 0 <= high for low, high in ends)
    how = f"{first['codec']} {'is the best' if sure else 'has the best mean'}"
    if second["rank"] == 1:
        how = f"{first['codec']} is as good as {second['codec']}"
    change = _to_best(metric, second)
    return f"At {target}{few} {how}; {second['codec']} differs by {change}."


def _absent(
    target: Target, ranked: Sequence["Ranked"], metrics: Sequence[Metric], stored: DatasetResults
) -> Iterator[Absent]:
    """Yield the images that are not compared, and the codecs and metrics without a place."""
    names = stored.image_names
    best = [codec for codec in ranked if codec.record["rank"] is not None]
    if best and best[0].record["images"] < len(names):
        out = sorted({names[number] for codec in best for number in codec.short})
        by = metrics[0] if target.name == RATE else Metric.named(target.name)
        known = (
            {*stored.table.drop_nulls(by.column)["image"]} if not by.of_sets else {*names.values()}
        )
        whys = {
            f"not reached by {listed([of.record['codec'] for of in best if of.short])}": out,
            f"no {by.label}": sorted({*names.values()} - known),
        }
        for why, images in whys.items():
            if images:
                yield Absent(listed(images), f"not compared at {target}: {why}")
    for metric in metrics if best else ():
        has = any(codec.record[metric.column] is not None for codec in best)
        if not has and stored.summary.values_of(metric.column):
            yield Absent(metric.label, f"no codec has it of each compared image at {target}")
    for codec in ranked:
        if codec.record["rank"] is None:
            why = f"no curve for {target}"
            if codec.short:
                missed = listed(sorted(names[number] for number in codec.short))
                why = f"{target} not reached in {missed}"
                if codec.span:
                    low, high = codec.span
                    why += f"; everywhere at {target.name}={low:.3g} to {high:.3g}"
            yield Absent(codec.record["codec"], why)


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


def rank_at(
    summary: Summary,
    target: Target,
    metrics: Sequence[Metric],
    budget: Budget = "image",
    common: bool = False,
) -> list[Ranked]:
    """Return all codec variants at a target, the best first, those that are not ranked last.

    The first of `metrics` ranks, or the rate where the target is a metric. common: compare on the
    images that all codecs reach, by the settings that each image has, else on those that most do
    (`_compared`), by complete settings. Raises `UsageError` for metrics of whole sets without a
    budget of the set, and where no image is common to all codecs.
    """
    by_rate = target.name == RATE
    by = metrics[0] if by_rate else Metric.named(target.name)
    for metric in (by, *metrics):
        if metric.of_sets and (budget == "image" or not metric.by_image):
            how = "--budget set compares it" if metric.by_image else "name another metric"
            raise UsageError(f"{metric.label} has no curve of a single image: {how}")
    of_points = _of_any_image if common and budget == "image" else curves
    points = {metric.column: of_points(summary, metric) for metric in (by, *metrics)}
    at_target = _SetCurves if budget == "set" else _ImageCurves
    of_codec: dict[Edition, _SetCurves | _ImageCurves] = {}
    for edition in points[by.column]:
        own = {name: of[edition] for name, of in points.items() if edition in of}
        of_codec[edition] = at_target(target, by, own)
    images = _compared([*of_codec.values()], common)
    every = [point for of in points[by.column].values() for point in of]
    known = [p.image_ids[~np.isnan(p.image_values[by.column])].tolist() for p in every]
    has_value = {*chain(*known)}
    if common and of_codec and not images:
        raise UsageError(_none_shared(of_codec, target))
    order, labels = sorted(images), summary.labels
    of_rank = by.column if by_rate else RATE
    sign = -1 if by_rate and by.better == "higher" else 1
    ranked: list[tuple[float, Ranked, Float64Array]] = []
    others: list[Ranked] = []
    for edition in summary.editions:
        curve, seconds = of_codec.get(edition), dict[str, float | None]()
        of, means = dict[str, Float64Array | None](), dict[str, Estimate]()
        short = sorted(curve.images & has_value - curve.reached) if curve else ()
        if curve and images and images <= curve.reached:
            of = {RATE: curve.rates(order), **{m.column: curve.at(order, m) for m in metrics}}
            means = {name: at_target.mean(x) for name, x in of.items() if x is not None}
            points_of = [over(p, images, (), budget == "set") for p in curve.points[by.column]]
            seconds = _seconds([p for p in points_of if p.bpp], means[RATE][0])
        of_mean = means.get(of_rank, (0.0, None))[0]
        if means:  # exact, which interpolation there and back would round
            means[RATE if by_rate else by.column] = target.value, None
        record: dict[str, Any] = {
            "at": str(target),
            "rank": None,
            "codec": labels[edition],
            "bundled": edition.bundled,
            "images": len(images) if curve else 0,
            "images_reached": len(curve.reached & images) if curve else 0,
        }
        for name in (RATE, *(metric.column for metric in metrics)):
            record |= _with_ends(name, *means.get(name, (None, None)))
        record |= {**_with_ends("to_best"), "images_better": None}
        record |= {**dict.fromkeys((*SECONDS, TYPICAL)), **seconds}
        codec = Ranked(record, tuple(short), curve.span if curve else None)
        if (values := of.get(of_rank)) is None:
            others.append(codec)
        else:
            ranked.append((sign * of_mean, codec, values))
    ranked.sort(key=itemgetter(0))
    scores = [score for score, *_ in ranked]
    for score, codec, _ in ranked:
        codec.record["rank"] = bisect_left(scores, score) + 1
    for _, codec, values in ranked[1:]:
        change, ends, better = at_target.paired(values, ranked[0][2], by if by_rate else None)
        codec.record.update(_with_ends("to_best", change, ends), images_better=better)
    others.sort(key=lambda codec: -codec.record["images_reached"])
    return [*(codec for _, codec, _ in ranked), *others]


def _with_ends(
    name: str, value: float | None = None, interval: Interval | None = None
) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _of_any_image(summary: Summary, metric: Metric) -> dict[Edition, list[Point]]:
    """Return, by edition, the points with a value of any image."""
    known = (point for point in summary.points if point.bpp and point.has(metric.column))
    return by_key((point.edition, point) for point in known)


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

    def __init__(self, target: Target, by: Metric, points: Mapping[str, Sequence[Point]]) -> None:
        self.points = points
        fronts = _fronts(points[by.column], by)
        if target.name == RATE:
            self._log_rate = dict.fromkeys(fronts, math.log10(target.value))
        else:
            at = np.array([by.quality(target.value)])
            of_fronts = (
                (image, rd.log_rates_at(front, at, FORM)) for image, front in fronts.items()
            )
            self._log_rate = {image: float(rate) for image, (rate,) in of_fronts}
        self.span = _span(fronts.values(), target, by)
        self.images = {n for point in points[by.column] for n in point.image_ids.tolist()}
        there = {n: rd.quality_at(front, self._log_rate[n], FORM) for n, front in fronts.items()}
        self.reached = {image for image, quality in there.items() if math.isfinite(quality)}

    def rates(self, images: Sequence[int]) -> Float64Array:
        """Return the rate of each of these images."""
        return np.power(10.0, [self._log_rate[image] for image in images])

    def at(self, images: Sequence[int], metric: Metric) -> Float64Array | None:
        """Return the value of each image; None unless all of them have one."""
        fronts = _fronts(self.points.get(metric.column, ()), metric)
        known = [rd.quality_at(fronts[n], self._log_rate[n], FORM) for n in images if n in fronts]
        values = np.array([metric.value(quality) for quality in known], np.float64)
        return values if len(values) == len(images) and np.isfinite(values).all() else None

    @staticmethod
    def mean(values: Float64Array) -> Estimate:
        """Return the mean over images."""
        interval = over_images.bootstrap_interval(values) if len(values) > 1 else None
        return float(values.mean()), interval

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

    def __init__(self, target: Target, by: Metric, points: Mapping[str, Sequence[Point]]) -> None:
        self.points = points
        self.images = set(points[by.column][0].image_ids.tolist())
        curve = self._curve(by, self._known(by))
        log_rate, quality = curve.log_rate, curve.quality
        self.span = _span([Curve(*(axis[0] for axis in curve))], target, by)
        if target.name == RATE:
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
        points = [over(p, images, [metric.column]) for p in self.points[metric.column]]
        curve = over_images.resampled_curve(points, metric, over_images.set_and_draws, pooled=True)
        of_set = np.stack([axis[0] for axis in curve], axis=1)
        kept = np.stack(rd.pareto_front(Curve(*of_set.T)), axis=1)  # equal settings are one
        front = [int((of_set == point).all(axis=1).argmax()) for point in kept]
        return Curve(*(axis[:, front] for axis in curve))

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
    def mean(values: Float64Array) -> Estimate:
        """Return the first value and the interval of the others, unless too many have none."""
        finite = values[1:][np.isfinite(values[1:])]
        enough = len(finite) >= max(LEAST_COMPARED * (len(values) - 1), 2)
        interval = over_images.percentile_interval(finite) if enough else None
        return float(values[0]), interval

    @classmethod
    def paired(cls, values: Float64Array, best: Float64Array, metric: Metric | None) -> Paired:
        """Return the difference from the best codec's, in the same draws of as many images."""
        change = values - best if metric is not None else 100 * (values / best - 1)
        return *cls.mean(change), None


def _fronts(points: Sequence[Point], metric: Metric) -> dict[int, Curve]:
    curves = rd.image_curves(points, metric)
    fronts = {image: rd.pareto_front(curve) for image, curve in curves.items()}
    return {image: front for image, front in fronts.items() if len(front.bpp)}


def _span(fronts: Iterable[Curve], target: Target, by: Metric) -> tuple[float, float] | None:
    """Return the lowest and highest rate or value that all curves reach; None if there is none."""
    of_rate = target.name == RATE
    axes = [front.bpp if of_rate else front.quality for front in fronts]
    low, high = max(min(axis) for axis in axes), min(max(axis) for axis in axes)
    if low > high:
        return None
    ends = (low, high) if of_rate else sorted((by.value(low), by.value(high)))
    return float(ends[0]), float(ends[1])


def _seconds(points: Sequence[Point], bpp: float) -> dict[str, float | None]:
    seconds = {name: at_rate(points, name, bpp) for name in SECONDS}
    return {**seconds, TYPICAL: typical_seconds(points, bpp, points[0].edition.ran.devices)}
