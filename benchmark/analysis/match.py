"""Two codecs compared pair by pair: streams of one image whose values of a metric match.

The rule is that of codec-compare (github.com/webmproject/codec-compare): a stream of one codec is
paired with one of the other of the same image, where the values of the metric differ by no more
than the tolerance. The streams of one codec take in turn, image by image and from the lowest rate
up, the nearest stream of the other that is left; of both sides, the pairs of the smaller mean
difference are kept. Ratios are averaged geometrically; nothing is interpolated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.analysis.interval import Interval, draws_interval, image_draws
from benchmark.analysis.summarise import TIMED, Point, Summary
from benchmark.codec import BoolArray, Float64Array, Int64Array, Setting
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.measure import Measure
from benchmark.plan.request import metric_names
from benchmark.registry import METRICS
from benchmark.rows.codecs import Side, caveats

# How a quantity of two matched streams is compared: bytes, seconds and distances by their ratio,
# averaged geometrically; scores that are better when higher, mostly in dB, by their difference.
Kind = Literal["ratio", "difference"]
StoredRow = Mapping[str, Any]
MOST_BIAS = 0.02  # of the bytes, that the pairs' mean difference in the metric may be worth
FARTHEST = 1.6  # a codec whose nearest setting has a rate further off, by ratio, is left out


class Tolerance(NamedTuple):
    """The largest difference of two matched values."""

    value: float
    relative: bool = False  # to the larger of the two values, as codec-compare has it

    def __str__(self) -> str:
        return f"{100 * self.value:g} %" if self.relative else f"{self.value:g}"


class Streams(NamedTuple):
    """The streams of a codec variant that have a finite value of the metric, shape (streams,).

    They are ordered by image and then by rate.
    """

    label: str
    image: Int64Array  # the same number for the same image in all codecs
    settings: tuple[Setting, ...]
    bpp: Float64Array
    # by metric column, as figures draw them, and of TIMED; NaN for none
    values: Mapping[str, Float64Array]


class Average(NamedTuple):
    """The mean over pairs of a ratio or difference, the first codec's to the second's."""

    kind: Kind
    value: float | None  # None without pairs
    interval: Interval | None  # over images; None for less than two
    pairs: int  # that have it


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Two codec variants compared over their pairs of streams."""

    first: Streams
    second: Streams
    pairs: Int64Array  # (pairs, 2): places in `first` and in `second`
    images: int  # that both codecs have streams of
    averages: Mapping[str, Average]  # of "bytes", metric columns and TIMED
    caveats: tuple[str, ...] = ()

    @property
    def matched_images(self) -> int:
        """The number of images with a pair."""
        return len(np.unique(self.first.image[self.pairs[:, 0]]))

    @property
    def unmatched(self) -> tuple[int, int]:
        """The numbers of streams of either codec that are in no pair."""
        return len(self.first.bpp) - len(self.pairs), len(self.second.bpp) - len(self.pairs)

    def for_machines(self) -> dict[str, Any]:
        """Return counts and averages as one flat record, JSON values only."""
        record: dict[str, Any] = {
            "codec": self.first.label,
            "against": self.second.label,
            "images": self.images,
            "images_without_match": self.images - self.matched_images,
            "pairs": len(self.pairs),
            "codec_streams_without_match": self.unmatched[0],
            "against_streams_without_match": self.unmatched[1],
        }
        for name, average in self.averages.items():
            low, high = average.interval or (None, None)
            column = f"{name.removesuffix('_per_megapixel')}_{average.kind}"
            record |= {column: average.value, f"{column}_low": low, f"{column}_high": high}
            record[f"{column}_pairs"] = average.pairs
        return {**record, "caveat": "; ".join(self.caveats)}

    def pair_records(self, names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return a record of each pair: both streams' settings, rates and values.

        names: of images, by their numbers.
        """
        records = []
        for pair in self.pairs.tolist():
            record: dict[str, Any] = {"image": names[self.first.image[pair[0]]]}
            sides = ("codec", self.first, pair[0]), ("against", self.second, pair[1])
            for side, streams, place in sides:
                record |= {side: streams.label, f"{side}_setting": str(streams.settings[place])}
                record[f"{side}_bpp"] = float(streams.bpp[place])
                for name, values in streams.values.items():
                    value = float(values[place])
                    record[f"{side}_{name}"] = value if math.isfinite(value) else None
            records.append(record)
        return records


def parse_tolerance(text: str) -> Tolerance:
    """Parse a tolerance in the metric's units, or in percent of the larger value.

    >>> parse_tolerance(".1 dB"), parse_tolerance("1%")
    (Tolerance(value=0.1, relative=False), Tolerance(value=0.01, relative=True))

    Raises `UsageError`.
    """
    number = text.strip().removesuffix("dB").removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"the tolerance is a number such as 0.1 or 1%, not {text!r}")
    relative = text.strip().endswith("%")
    return Tolerance(value / 100 if relative else value, relative)


def matches(
    summary: Summary, codec: str, against: str, metric: str, tolerance: Tolerance
) -> list[Match]:
    """Compare every variant of a codec with every variant of another, by metrics of single images.

    summary: in METRICS. codec, against: a label, or a codec's name for all of its variants. metric:
    the name of the one that has to match. Raises `UnknownName` and `UsageError`.
    """
    (name,) = metric_names([metric])
    by = Measure.named(name)
    if by.of_sets:
        raise UsageError(
            f"{by.label} is of a set of images, so streams cannot match in it: name a metric of "
            "single images"
        )
    others = [Measure.named(name) for name in dict.fromkeys((*METRICS, name))]
    others = [other for other in others if summary.values_of(other.column)]
    sides: dict[str, Side] = {}
    streams: dict[str, Streams] = {}
    labels: dict[str, list[str]] = {}
    for asked in (codec, against):
        of_asked = [p for p in summary.points if asked in (p.label, p.edition.codec)]
        if not of_asked:
            raise UnknownName("codec with results", asked, summary.labels)
        labels[asked] = list(dict.fromkeys(point.label for point in of_asked))
        for label in labels[asked]:
            points = [point for point in of_asked if point.label == label]
            streams[label] = streams_of(points, by, others)
            edition = points[0].edition
            sides[label] = Side(label, edition.facts, edition.caveats)
        if not any(len(streams[label].bpp) for label in labels[asked]):
            raise UsageError(
                f"{asked} has no finite {by.label} to match: `bench rescore --metrics {name}` "
                "computes what is missing from kept streams"
            )
    compared = [
        replace(
            match(streams[first], streams[second], by, tolerance, others),
            caveats=caveats(sides[first], sides[second]),
        )
        for first in labels[codec]
        for second in labels[against]
        if first != second
    ]
    for one in compared:
        if (worth := math.expm1(abs(bias(one, by)))) > MOST_BIAS:
            raise UsageError(
                f"the pairs of {one.first.label} and {one.second.label} differ in {by.axis_label} "
                f"by {one.averages[by.column].value:+.3g} in the mean, worth {100 * worth:.1f} % "
                f"of the bytes, more than {100 * MOST_BIAS:.0f} %: give a smaller --tolerance"
            )
    if not compared:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    return compared


def bias(match: Match, by: Measure) -> float:
    """Return the pairs' mean difference in the metric as one of log bytes, by the curves' slope."""
    slope = []
    for one in (match.first, match.second):
        _, number = np.unique(one.image, return_inverse=True)
        parts = np.log(one.bpp), one.values[by.column]
        centred = [x - (np.bincount(number, x) / np.bincount(number))[number] for x in parts]
        slope.append((float(centred[0] @ centred[1]), float(centred[1] @ centred[1])))
    rises, spreads = map(sum, zip(*slope, strict=True))
    mine, other = match.pairs.T
    if not len(mine) or not spreads:
        return 0.0
    difference = match.first.values[by.column][mine] - match.second.values[by.column][other]
    return rises / spreads * float(difference.mean())


def streams_of(points: Sequence[Point], by: Measure, others: Sequence[Measure]) -> Streams:
    """Return the streams of a codec variant's points that have a finite value of `by`."""
    values = {
        measure.column: np.array(
            [measure.drawn(v) for p in points for v in p.image_values[measure.column].tolist()]
        )
        for measure in (by, *others)
    }
    for name in TIMED:
        values[name] = np.concatenate([point.image_values[name] for point in points])
    image = np.concatenate([point.image_ids for point in points])
    bpp = np.concatenate([point.image_bpp for point in points])
    order = np.lexsort((bpp, image))
    order = order[np.isfinite(values[by.column][order])]
    settings = [point.setting for point in points for _ in point.image_ids]
    return Streams(
        points[0].label,
        image[order],
        tuple(settings[place] for place in order.tolist()),
        bpp[order],
        {name: of_name[order] for name, of_name in values.items()},
    )


def match(
    first: Streams, second: Streams, by: Measure, tolerance: Tolerance, others: Sequence[Measure]
) -> Match:
    """Pair the streams of two codecs by one metric, and average the ratios of everything else.

    others: measures to compare the pairs in, `by` among them where its remaining difference is
    wanted. Metrics that are better when higher are compared by their mean difference, all others by
    the geometric mean of ratios.
    """
    pairs = matched_pairs(first, second, by.column, tolerance)
    mine, other = pairs.T
    image = first.image[mine]
    averages = {"bytes": _average("ratio", first.bpp[mine], second.bpp[other], image)}
    kinds: dict[str, Kind] = {
        measure.column: "difference" if measure.better == "higher" else "ratio"
        for measure in others
    }
    for name, kind in (kinds | dict.fromkeys(TIMED, "ratio")).items():
        averages[name] = _average(kind, first.values[name][mine], second.values[name][other], image)
    shared = np.intersect1d(first.image, second.image)
    return Match(first, second, pairs, len(shared), averages)


def matched_pairs(first: Streams, second: Streams, column: str, tolerance: Tolerance) -> Int64Array:
    """Return the places of matched streams, shape (pairs, 2), by the rule of this module."""
    forward = _taken_in_turn(first, second, column, tolerance)
    backward = _taken_in_turn(second, first, column, tolerance)
    if _mean_error(backward) < _mean_error(forward):
        forward = [(two, one, error) for one, two, error in backward]
    return np.array([pair[:2] for pair in sorted(forward)], np.int64).reshape(-1, 2)


def _taken_in_turn(
    first: Streams, second: Streams, column: str, tolerance: Tolerance
) -> list[tuple[int, int, float]]:
    """Return places in both and the difference, each stream of `first` taking the nearest left."""
    left: dict[int, list[int]] = {}
    for place, image in enumerate(second.image.tolist()):
        left.setdefault(image, []).append(place)
    pairs = []
    values, others = first.values[column].tolist(), second.values[column].tolist()
    for place, image in enumerate(first.image.tolist()):
        near = [
            (error, other)
            for other in left.get(image, ())
            if (error := _error(values[place], others[other], tolerance)) <= tolerance.value
        ]
        if near:
            error, other = min(near)
            left[image].remove(other)
            pairs.append((place, other, error))
    return pairs


def _error(value: float, other: float, tolerance: Tolerance) -> float:
    """Return the difference of two values in the tolerance's terms; infinite for other signs."""
    if not tolerance.relative:
        return abs(value - other)
    if value == other:
        return 0.0
    small, large = sorted((abs(value), abs(other)))
    return 1 - small / large if value * other > 0 else math.inf


def _mean_error(pairs: Sequence[tuple[int, int, float]]) -> float:
    return math.fsum(error for _, _, error in pairs) / len(pairs) if pairs else 0.0


def _average(kind: Kind, values: Float64Array, others: Float64Array, image: Int64Array) -> Average:
    """Average over pairs; each image's pairs are drawn together for the interval.

    values, others: of the pairs' first and second streams, shape (pairs,); pairs without a finite
    comparison do not count. image: number of each pair's image.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        compared = np.log(values / others) if kind == "ratio" else values - others
    has: BoolArray = np.isfinite(compared)
    if not has.any():
        return Average(kind, None, None, 0)
    _, number = np.unique(image[has], return_inverse=True)
    sums, counts = np.bincount(number, compared[has]), np.bincount(number)
    images = len(sums)
    mean = float(sums.sum() / counts.sum())
    interval = None
    if images > 1:
        draws = image_draws(images)
        influenced = mean + images * (sums - mean * counts) / counts.sum()
        interval = draws_interval((draws @ sums) / (draws @ counts), influenced)
    if kind == "ratio":
        mean = math.exp(mean)
        interval = interval and Interval(*map(math.exp, interval))
    return Average(kind, mean, interval, int(has.sum()))


def nearest(
    rows: Mapping[str, Sequence[StoredRow]], bpp: float
) -> tuple[dict[str, StoredRow], list[str]]:
    """Return the row nearest to a rate by codec, and the codecs whose nearest is too far off."""
    near: dict[str, StoredRow] = {}
    far = []
    for name, of_codec in rows.items():
        ratio, row = min(
            ((abs(math.log(row["bpp"] / bpp)), row) for row in of_codec), key=lambda pair: pair[0]
        )
        if ratio > math.log(FARTHEST):
            far.append(name)
        else:
            near[name] = row
    return near, far
