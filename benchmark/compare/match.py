"""Two codecs compared pair by pair: streams of one image whose values of a metric match.

The rule is that of codec-compare (github.com/webmproject/codec-compare): a stream of one codec is
paired with one of the other of the same image, where the values of the metric differ by no more
than the tolerance. The streams of one codec take in turn, image by image and from the lowest rate
up, the nearest stream of the other that is left; of both sides, the pairs of the smaller mean
difference are kept. Ratios are averaged geometrically; nothing is interpolated.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, product
from statistics import fmean
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np

from benchmark.answer import Absent, Answer, Column, with_interval
from benchmark.codec import Float64Array, Int64Array, Setting
from benchmark.compare.caveats import differences
from benchmark.compare.experiment import IMAGES
from benchmark.compare.interval import draws_interval, image_draws
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, overview_columns, remedies
from benchmark.option import ARGUMENT, COMPARED, MANNER, opt
from benchmark.registry import METRICS
from benchmark.rows.edition import Edition, label_of, marked_bundled
from benchmark.rows.names import find_editions
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import Source, read_results
from benchmark.rows.summary import TIMED, Point, Summary
from benchmark.spec import split_codecs
from benchmark.system.text import by_key, number_in

# Bytes, seconds and distances are compared by their ratio; scores, mostly in dB, by difference.
Kind = Literal["ratio", "difference"]
StoredRow = Mapping[str, Any]
MOST_BIAS = 0.02  # of the bytes, that the pairs' mean difference in the metric may be worth


CODECS = opt(ARGUMENT, "Codecs in question, comma-separated, by name or label.")
AGAINST = opt(ARGUMENT, "The codec that they are compared with, or several.")
MATCHED = opt(
    COMPARED, "The metric that has to match, and others to show, or 'all'; alone: the usual ones."
)
TOLERATED = opt(
    MANNER,
    "The largest difference of matched values, in the metric's units (0.1; MS-SSIM in dB) or in "
    "percent of the larger one (1%).",
)
EACH = opt(MANNER, "Give every pair of streams, instead of means over the pairs.")


def match(
    source: Source,
    codec: Annotated[str, CODECS],
    against: Annotated[str, AGAINST],
    metric: Annotated[str, MATCHED] = "psnr",
    *,
    tolerance: Annotated[str, TOLERATED] = "0.1",
    each_pair: Annotated[bool, EACH] = False,
    images: Annotated[tuple[str, ...], IMAGES] = (),
) -> Answer:
    """Compare codecs with AGAINST over pairs of streams of the same image and the same quality.

    Each stream is paired with the nearest one of the other codec, if their values of the metric
    differ by no more than the tolerance, and is in one pair at most, as in codec-compare.

    A record is a pair of variants: geometric means of ratios, CODEC to AGAINST (0.9: a tenth less),
    of bytes, of metrics and of the seconds of pairs that were timed alone on one machine; mean
    differences of metrics that are better when higher (MS-SSIM in dB). Each is followed by the ends
    of its 95 % interval over images and by its number of pairs.

    Examples:
      bench match ours jpeg
      bench match webp,avif,jpegxl jpeg --metric ssimulacra2 --tolerance 1
      bench match vtm avif --metric ms_ssim --tolerance 1% --csv matched.csv
      bench match vtm avif --each-pair --csv pairs.csv
    """
    allowed, names = parse_tolerance(tolerance), metric_names(metric)
    every = tuple(dict.fromkeys((*METRICS, *names)))
    both = f"{codec},{against}"
    stored = read_results(
        source.results, source.dataset, both, every, rows=source.rows, images=images
    )
    matched, refused = list[Match](), list[Absent]()
    every_pair = [*product(split_codecs(codec), split_codecs(against))]
    for one, other in [pair for pair in every_pair if pair[0] != pair[1]] or every_pair[:1]:
        try:
            matched += matches(stored.summary, one, other, metric, allowed)
        except UsageError as error:
            refused.append(Absent(f"{one} and {other}", str(error)))
    if not matched:
        raise UsageError(refused[0].why)
    by, *others = shown = [*map(Metric.named, names)]
    facts = {"dataset": stored.name, "metric": names[0], "tolerance": str(allowed), **stored.facts}
    subject = f"{stored.subject}: streams whose {by.axis_label} differs by at most {allowed}"
    if each_pair:
        pairs = [pair for of in matched for pair in of.pair_records(stored.image_names)]
        columns = [
            Column(name)
            for name in ("image", "codec", "codec_setting", "against", "against_setting")
        ]
        columns += [
            Column(f"{side} {label}", f"{side}_{name}", form)
            for name, label, form in (("bpp", "bpp", ".4f"), (by.column, by.axis_label, ".3f"))
            for side in ("codec", "against")
        ]
        return Answer(pairs, columns, f"{subject}.", facts=facts)
    known = [*(Metric.named(name).column for name in every), *TIMED]
    has = {name: 1 for name in known if any(_of(each.record, name, "_pairs") for each in matched)}
    wanted = [of.column for of in shown] if others else [by.column, *overview_columns(has)]
    absent = refused + [
        Absent(of.label, "no values", f"{stored.summary.again} --metrics {name}")
        for name, of in zip(names, shown, strict=True)
        if has and of.column not in has
    ]
    if not has.keys() & {*TIMED}:
        why = "no pair was timed alone on one machine"
        absent.append(Absent("times", why, "bench run --timing"))
    absent += stored.summary.not_shown
    labels = stored.summary.labels
    averaged = [name for name in has if name in (*wanted, *TIMED)]
    texts = dict.fromkeys(f"{text}." for of in matched for text in of.caveats)
    return Answer(
        [{**of.record, "caveat": "; ".join(of.caveats)} for of in matched],
        _columns(averaged, shown, {labels[edition] for edition in stored.summary.bundled}),
        " ".join((f"{subject}; ratios are of codec to against.", *texts)),
        absent,
        facts,
    )


def _columns(
    names: Sequence[str], metrics: Sequence[Metric], bundled: Collection[str]
) -> list[Column]:
    """Return the columns of matches, with the bytes and these averages."""

    def unmatched(record: Mapping[str, Any]) -> str:
        sides = (record[f"{side}_streams_without_match"] for side in ("codec", "against"))
        return " + ".join(map(str, sides))

    labels = {of.column: of.axis_label for of in (*metrics, *map(Metric.named, METRICS))}
    labels |= {"bytes": "bytes"} | dict(zip(TIMED, ("encode time", "decode time"), strict=True))
    columns = [
        Column(side, lambda of, side=side: marked_bundled(of[side], of[side] in bundled))  # type: ignore[misc]
        for side in ("codec", "against")
    ]
    columns += [
        Column(
            "images", lambda of: f"{of['images'] - of['images_without_match']}/{of['images']}", str
        ),
        Column("pairs", "pairs", "d"),
        Column("unmatched", unmatched, str),
    ]
    for name in ("bytes", *names):
        columns.append(Column(labels[name], partial(_average, name), str))
    return columns


def _of(record: Mapping[str, Any], name: str, end: str = "") -> Any:
    """Return what a record has of an average, whether that is a ratio or a difference."""
    of_kinds = (record.get(f"{_start(name)}_{kind}{end}") for kind in get_args(Kind))
    return next((value for value in of_kinds if value is not None), None)


def _start(name: str) -> str:
    """Return how the columns of an average begin: seconds are in pairs of the same image."""
    return name.removesuffix("_per_megapixel")


def _average(name: str, record: Mapping[str, Any]) -> str | None:
    if name == "bytes":
        return with_interval(record, "bytes_ratio", ".3f")
    value = _of(record, name)
    if value is None:
        return None
    return f"{value:.3f}" if f"{_start(name)}_ratio" in record else f"{value:+z.3f}"


class Tolerance(NamedTuple):
    """The largest difference of two matched values."""

    value: float
    relative: bool = False  # to the larger of the two values, as codec-compare has it

    def __str__(self) -> str:
        return f"{100 * self.value:g} %" if self.relative else f"{self.value:g}"


class Streams(NamedTuple):
    """The streams of a codec variant with a finite value of the metric, by image and then rate."""

    label: str
    image: Int64Array  # the same number for the same image in all codecs
    settings: tuple[Setting, ...]
    # of "bytes" (bits per pixel), metric columns (as figures have them) and TIMED; NaN for none
    values: Mapping[str, Float64Array]


class Match(NamedTuple):
    """Two codec variants compared over their pairs of streams."""

    first: Streams
    second: Streams
    pairs: Int64Array  # (pairs, 2): places in `first` and in `second`
    record: dict[str, Any]  # counts and averages, JSON values only
    bias: float  # what the pairs' difference in the metric is worth in the logarithm of the bytes
    caveats: tuple[str, ...] = ()

    def pair_records(self, image_names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return a record of each pair: both streams' settings, rates and values."""
        records = []
        for first, second in self.pairs.tolist():
            record: dict[str, Any] = {"image": image_names[self.first.image[first]]}
            sides = ("codec", self.first, first), ("against", self.second, second)
            for side, streams, place in sides:
                record |= {side: streams.label, f"{side}_setting": str(streams.settings[place])}
                for name, values in streams.values.items():
                    value, column = float(values[place]), "bpp" if name == "bytes" else name
                    record[f"{side}_{column}"] = value if math.isfinite(value) else None
            records.append(record)
        return records


def parse_tolerance(text: str) -> Tolerance:
    """Parse a tolerance in the metric's units, or in percent of the larger; raise `UsageError`.

    >>> parse_tolerance(".1 dB"), parse_tolerance("1%")
    (Tolerance(value=0.1, relative=False), Tolerance(value=0.01, relative=True))
    """
    value = number_in(text.strip().removesuffix("dB").removesuffix("%").strip())
    if not 0 <= value < math.inf:
        raise UsageError(f"the tolerance is a number such as 0.1 or 1%, not {text!r}")
    relative = text.strip().endswith("%")
    return Tolerance(value / 100 if relative else value, relative)


def matches(
    summary: Summary, codec: str, against: str, metric: str, tolerance: Tolerance
) -> list[Match]:
    """Compare every variant of a codec with every variant of another.

    summary: in METRICS. codec, against: names as `--codecs` has them. metric: the name of the one
    that has to match, and comma-separated others. Raises `UnknownName` and `UsageError`.
    """
    name, *_ = names = metric_names(metric)
    by = Metric.named(name)
    if by.of_sets:
        raise UsageError(
            f"{by.label} is of a set of images, so streams cannot match in it: name a metric of "
            "single images"
        )
    asked_for = {asked: find_editions([asked], summary.editions) for asked in (codec, against)}
    summary = _of_editions(summary, {*chain(*asked_for.values())})
    metrics = [Metric.named(name) for name in dict.fromkeys((*METRICS, *names))]
    metrics = [m for m in metrics if not m.of_sets and summary.values_of(m.column)]
    sides: list[list[tuple[Streams, Edition]]] = []
    for asked in (codec, against):
        own = _of_editions(summary, asked_for[asked])
        side = []
        for edition in own.editions:
            side.append((streams_of(own.of(edition), by, metrics), edition))
        if not any(len(streams.image) for streams, _ in side):
            why = remedies([name], command=summary.again)
            raise UsageError(f"{asked} has no finite {by.label} to match: {why}")
        sides.append(side)
    compared = []
    for (first, one_side), (second, other_side) in product(*sides):
        if first.label != second.label:
            result = match_streams(first, second, by, tolerance, metrics)
            worth = math.expm1(abs(result.bias))
            if worth > MOST_BIAS:
                value = _of(result.record, by.column) or 0.0
                ratio = f"{100 * value - 100:+z.3g} %"
                raise UsageError(
                    f"the pairs of {first.label} and {second.label} differ in {by.axis_label} by "
                    f"{f'{value:+z.3g}' if by.better == 'higher' else ratio} in the mean, worth "
                    f"{100 * worth:.1f} % of the bytes, more than {100 * MOST_BIAS:.0f} %: give a "
                    "smaller --tolerance"
                )
            compared.append(
                result._replace(
                    caveats=differences(one_side, other_side, (first.label, second.label))
                )
            )
    if not compared:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    return compared


def _of_editions(summary: Summary, editions: Collection[Edition]) -> Summary:
    points = (point for point in summary.points if point.edition in editions)
    return replace(summary, points=tuple(points))


def bias(
    first: Streams, second: Streams, pairs: Int64Array, column: str, other: str, kind: Kind
) -> float:
    """Return what the pairs' mean difference in a metric is worth in another, by its slope.

    column: of the metric that the pairs match in. other: a column, or "bytes". The slope is that
    of both codecs' streams within images; a ratio is given as its logarithm.
    """
    rises = spreads = 0.0
    for streams in (first, second):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(streams.values[other]) if kind == "ratio" else streams.values[other]
        has = np.isfinite(y)
        _, number = np.unique(streams.image[has], return_inverse=True)
        counts = np.bincount(number)
        rise, spread = (
            x - (np.bincount(number, x) / counts)[number]
            for x in (y[has], streams.values[column][has])
        )
        rises += float(rise @ spread)
        spreads += float(spread @ spread)
    if not len(pairs) or not spreads:
        return 0.0
    mine, theirs = pairs.T
    difference = first.values[column][mine] - second.values[column][theirs]
    return rises / spreads * float(difference.mean())


def streams_of(points: Sequence[Point], by: Metric, others: Sequence[Metric]) -> Streams:
    """Return the streams of points of a codec variant that have a finite value of `by`."""
    values = {"bytes": np.concatenate([point.image_bpp for point in points])}
    for metric in (by, *others):
        own = [value for p in points for value in p.image_values[metric.column].tolist()]
        values[metric.column] = np.array([metric.plotted(value) for value in own])
    values |= {name: np.concatenate([p.image_values[name] for p in points]) for name in TIMED}
    image = np.concatenate([point.image_ids for point in points])
    order = np.lexsort((values["bytes"], image))
    order = order[np.isfinite(values[by.column][order])]
    settings = [point.setting for point in points for _ in point.image_ids]
    return Streams(
        label_of(points[0].edition.spec),
        image[order],
        tuple(settings[place] for place in order.tolist()),
        {name: of_streams[order] for name, of_streams in values.items()},
    )


def match_streams(
    first: Streams, second: Streams, by: Metric, tolerance: Tolerance, others: Sequence[Metric]
) -> Match:
    """Pair the streams of two codecs by one metric, and average over the pairs.

    others: measures to compare the pairs in, by their mean difference where more is better, else by
    the geometric mean of ratios, as bytes and seconds are. Intervals reach to where they would lie
    if the pairs did not differ in the metric.
    """
    pairs = matched_pairs(first, second, by.column, tolerance)
    mine, other = pairs.T
    image = first.image[mine]
    images = len(np.intersect1d(first.image, second.image))
    record: dict[str, Any] = {
        "codec": first.label,
        "against": second.label,
        "images": images,
        "images_without_match": images - len(np.unique(image)),
        "pairs": len(pairs),
        "codec_streams_without_match": len(first.image) - len(pairs),
        "against_streams_without_match": len(second.image) - len(pairs),
    }
    differences, worth = {metric.column for metric in others if metric.better == "higher"}, {}
    for name in ("bytes", *(metric.column for metric in others), *TIMED):
        kind: Kind = "difference" if name in differences else "ratio"
        with_bias = name != by.column
        worth[name] = bias(first, second, pairs, by.column, name, kind) if with_bias else 0.0
        of_pairs = first.values[name][mine], second.values[name][other]
        averages = _averaged(kind, *of_pairs, image, worth[name])
        record |= {f"{_start(name)}_{kind}{end}": value for end, value in averages.items()}
    return Match(first, second, pairs, record, worth["bytes"])


def matched_pairs(first: Streams, second: Streams, column: str, tolerance: Tolerance) -> Int64Array:
    """Return the places of matched streams, shape (pairs, 2), by the rule of this module."""
    forward = _taken_in_turn(first, second, column, tolerance)
    backward = [(b, a, error) for a, b, error in _taken_in_turn(second, first, column, tolerance)]
    best = min(forward, backward, key=lambda pairs: fmean([e for *_, e in pairs] or [0.0]))
    return np.array([pair[:2] for pair in sorted(best)], np.int64).reshape(-1, 2)


def _taken_in_turn(
    first: Streams, second: Streams, column: str, tolerance: Tolerance
) -> list[tuple[int, int, float]]:
    """Return places in both and the difference, each stream of `first` taking the nearest left."""
    left = by_key((image, place) for place, image in enumerate(second.image.tolist()))
    pairs = []
    values, others = first.values[column].tolist(), second.values[column].tolist()
    for place, image in enumerate(first.image.tolist()):
        near = [(_error(values[place], others[at], tolerance), at) for at in left.get(image, ())]
        error, at = min(near, default=(math.inf, -1))
        if error <= tolerance.value:
            left[image].remove(at)
            pairs.append((place, at, error))
    return pairs


def _error(value: float, other: float, tolerance: Tolerance) -> float:
    if not tolerance.relative:
        return abs(value - other)
    if value == other:
        return 0.0
    small, large = sorted((abs(value), abs(other)))
    return 1 - small / large if value * other > 0 else math.inf


def _averaged(
    kind: Kind, values: Float64Array, others: Float64Array, image: Int64Array, bias: float
) -> dict[str, Any]:
    """Return mean, interval and number of the pairs that have a finite comparison, by column's end.

    An image's pairs are resampled together.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        compared = np.log(values / others) if kind == "ratio" else values - others
    has = np.isfinite(compared)
    result: dict[str, Any] = {"": None, "_low": None, "_high": None, "_pairs": int(has.sum())}
    if not has.any():
        return result
    shown = math.exp if kind == "ratio" else float
    _, number = np.unique(image[has], return_inverse=True)
    sums, counts = np.bincount(number, compared[has]), np.bincount(number)
    mean = float(sums.sum() / counts.sum())
    if len(sums) > 1:
        draws = image_draws(len(sums))
        influenced = mean + len(sums) * (sums - mean * counts) / counts.sum()
        low, high = draws_interval((draws @ sums) / (draws @ counts), influenced)
        result |= {"_low": shown(low - max(bias, 0.0)), "_high": shown(high - min(bias, 0.0))}
    return result | {"": shown(mean)}
