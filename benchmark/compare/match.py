"""Compare two codecs over pairs of streams of one image that have about the same metric value.

As in codec-compare (github.com/webmproject/codec-compare), streams of one image are paired if their
values differ by no more than the tolerance. Image by image, in order of rate, each stream
of one codec takes the nearest unpaired stream of the other. This is done in both directions, and
the pairs with the smaller mean difference are used. Ratios are averaged geometrically; nothing is
interpolated.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, product
from statistics import fmean
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np

from benchmark.answer import Absent, Answer, Column, interval_text
from benchmark.codec import Float64Array, Int64Array, Setting
from benchmark.compare.caveats import differences
from benchmark.compare.experiment import IMAGES
from benchmark.compare.interval import draws_interval, image_draws
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, overview_columns, remedies
from benchmark.option import ARGUMENT, COMPARED, MANNER, opt
from benchmark.registry import METRICS
from benchmark.rows.edition import Edition, label_of, mark_bundled
from benchmark.rows.names import find_editions
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import RowSource, read_results
from benchmark.rows.summary import TIMED, Point, Summary
from benchmark.spec import split_codecs
from benchmark.system.text import group_by_key, number_in

# Bytes, seconds and distances are compared by ratio; scores, mostly in dB, by difference.
Kind = Literal["ratio", "difference"]
StoredRow = Mapping[str, Any]
MAX_BIAS = 0.02  # maximum mean difference in the metric, as the share of bytes it explains


CODECS = opt(ARGUMENT, "Codecs to compare, comma-separated, by name or label.")
OTHER_CODECS = opt(ARGUMENT, "Codecs to compare CODEC with, comma-separated.")
MATCHED_METRIC = opt(
    COMPARED, "Metric to match, then metrics to show ('all' or names; default: as in reports)."
)
TOLERANCE = opt(
    MANNER,
    "Maximum difference between matched values: in units of the metric (0.1; MS-SSIM in dB) or "
    "in percent of the larger value (1%).",
)
EACH_PAIR = opt(MANNER, "List every pair of streams, instead of means over the pairs.")


def match(
    source: RowSource,
    codec: Annotated[str, CODECS],
    against: Annotated[str, OTHER_CODECS],
    metric: Annotated[str, MATCHED_METRIC] = "psnr",
    *,
    tolerance: Annotated[str, TOLERANCE] = "0.1",
    each_pair: Annotated[bool, EACH_PAIR] = False,
    images: Annotated[tuple[str, ...], IMAGES] = (),
) -> Answer:
    """Compare codecs with AGAINST over pairs of streams of the same image and the same quality.

    Each stream is paired with the nearest one of the other codec, if their values of the metric
    differ by no more than the tolerance, and is in at most one pair, as in codec-compare.

    One record per pair of variants: geometric means of CODEC / AGAINST (0.9 means a tenth less) for
    bytes, metrics, and seconds if timed alone on one machine; mean differences of metrics where
    higher is better (MS-SSIM in dB). Each has a 95 % interval over images and a number of pairs.

    Examples:
      bench match ours jpeg
      bench match webp,avif,jpegxl jpeg --metric ssimulacra2 --tolerance 1
      bench match vtm avif --metric ms_ssim --tolerance 1% --csv matched.csv
      bench match vtm avif --each-pair --csv pairs.csv
    """
    parsed_tolerance, names = parse_tolerance(tolerance), metric_names(metric)
    all_names = tuple(dict.fromkeys((*METRICS, *names)))
    codec_list = f"{codec},{against}"
    dataset_results = read_results(
        source.results, source.dataset, codec_list, all_names, rows=source.rows, images=images
    )
    matches, failures = list[Match](), list[Absent]()
    codec_pairs = [*product(split_codecs(codec), split_codecs(against))]
    for codec_name, other_name in [
        pair for pair in codec_pairs if pair[0] != pair[1]
    ] or codec_pairs[:1]:
        try:
            matches += match_variants(
                dataset_results.summary, codec_name, other_name, metric, parsed_tolerance
            )
        except UsageError as error:
            failures.append(Absent(f"{codec_name} and {other_name}", str(error)))
    if not matches:
        raise UsageError(failures[0].why)
    matched_metric, *extra_metrics = shown_metrics = [*map(Metric.named, names)]
    facts = {
        "dataset": dataset_results.name,
        "metric": names[0],
        "tolerance": str(parsed_tolerance),
        **dataset_results.facts,
    }
    subject = (
        f"{dataset_results.subject}: streams whose {matched_metric.axis_label} differs by at most "
        f"{parsed_tolerance}"
    )
    if each_pair:
        pair_records = [
            pair for result in matches for pair in result.pair_records(dataset_results.image_names)
        ]
        columns = [
            Column(name)
            for name in ("image", "codec", "codec_setting", "against", "against_setting")
        ]
        columns += [
            Column(f"{side} {label}", f"{side}_{name}", form)
            for name, label, form in (
                ("bpp", "bpp", ".4f"),
                (matched_metric.column, matched_metric.axis_label, ".3f"),
            )
            for side in ("codec", "against")
        ]
        return Answer(pair_records, columns, f"{subject}.", facts=facts)
    column_names = [*(Metric.named(name).column for name in all_names), *TIMED]
    available_columns = {
        name: 1
        for name in column_names
        if any(_average_value(result.record, name, "_pairs") for result in matches)
    }
    shown_columns = (
        [m.column for m in shown_metrics]
        if extra_metrics
        else [matched_metric.column, *overview_columns(available_columns)]
    )
    absences = failures + [
        Absent(m.label, "no values", f"{dataset_results.summary.rescore_command} --metrics {name}")
        for name, m in zip(names, shown_metrics, strict=True)
        if available_columns and m.column not in available_columns
    ]
    if not available_columns.keys() & {*TIMED}:
        reason = "no pair was timed alone on the same machine"
        absences.append(Absent("times", reason, "bench run --timing"))
    absences += dataset_results.summary.not_shown
    labels = dataset_results.summary.labels
    average_names = [name for name in available_columns if name in (*shown_columns, *TIMED)]
    caveat_sentences = dict.fromkeys(f"{text}." for result in matches for text in result.caveats)
    return Answer(
        [{**result.record, "caveat": "; ".join(result.caveats)} for result in matches],
        _match_columns(
            average_names,
            shown_metrics,
            {labels[edition] for edition in dataset_results.summary.bundled},
        ),
        " ".join((f"{subject}; ratios are 'codec' divided by 'against'.", *caveat_sentences)),
        absences,
        facts,
    )


def _match_columns(
    names: Sequence[str], metrics: Sequence[Metric], bundled: Collection[str]
) -> list[Column]:
    def unmatched_text(record: Mapping[str, Any]) -> str:
        sides = (record[f"{side}_streams_without_match"] for side in ("codec", "against"))
        return " + ".join(map(str, sides))

    labels = {m.column: m.axis_label for m in (*metrics, *map(Metric.named, METRICS))}
    labels |= {"bytes": "bytes"} | dict(zip(TIMED, ("encode time", "decode time"), strict=True))
    columns = [
        Column(side, lambda row, side=side: mark_bundled(row[side], row[side] in bundled))  # type: ignore[misc]
        for side in ("codec", "against")
    ]
    columns += [
        Column(
            "images",
            lambda row: f"{row['images'] - row['images_without_match']}/{row['images']}",
            str,
        ),
        Column("pairs", "pairs", "d"),
        Column("unmatched", unmatched_text, str),
    ]
    for name in ("bytes", *names):
        columns.append(Column(labels[name], partial(_average_text, name), str))
    return columns


def _average_value(record: Mapping[str, Any], name: str, suffix: str = "") -> Any:
    values = (record.get(f"{_column_prefix(name)}_{kind}{suffix}") for kind in get_args(Kind))
    return next((value for value in values if value is not None), None)


def _column_prefix(name: str) -> str:
    """Return the prefix of an average's columns; megapixels cancel, as a pair has one image."""
    return name.removesuffix("_per_megapixel")


def _average_text(name: str, record: Mapping[str, Any]) -> str | None:
    if name == "bytes":
        return interval_text(record, "bytes_ratio", ".3f")
    value = _average_value(record, name)
    if value is None:
        return None
    return f"{value:.3f}" if f"{_column_prefix(name)}_ratio" in record else f"{value:+z.3f}"


class Tolerance(NamedTuple):
    """Maximum difference between two matched values."""

    value: float
    relative: bool = False  # True: a share of the larger value, as in codec-compare

    def __str__(self) -> str:
        return f"{100 * self.value:g} %" if self.relative else f"{self.value:g}"


class Streams(NamedTuple):
    """Streams of a codec variant with finite values of the metric, ordered by image, then rate."""

    label: str
    image_ids: Int64Array  # the same for all codecs
    settings: tuple[Setting, ...]
    # By column: "bytes" (as bits per pixel), metrics (as plotted), TIMED; NaN: no value
    values: Mapping[str, Float64Array]


class Match(NamedTuple):
    """Two codec variants compared over their pairs of streams."""

    first: Streams
    second: Streams
    pairs: Int64Array  # (pairs, 2): indices into `first` and `second`
    record: dict[str, Any]  # counts and averages, JSON values only
    bias: float  # log ratio of bytes that the pairs' difference in the metric explains
    caveats: tuple[str, ...] = ()

    def pair_records(self, image_names: Mapping[int, str]) -> list[dict[str, Any]]:
        """Return a record of each pair: both streams' settings, rates and values."""
        records = []
        for first_index, second_index in self.pairs.tolist():
            record: dict[str, Any] = {"image": image_names[self.first.image_ids[first_index]]}
            sides = ("codec", self.first, first_index), ("against", self.second, second_index)
            for side, streams, index in sides:
                record |= {side: streams.label, f"{side}_setting": str(streams.settings[index])}
                for name, values in streams.values.items():
                    value, column = float(values[index]), "bpp" if name == "bytes" else name
                    record[f"{side}_{column}"] = value if math.isfinite(value) else None
            records.append(record)
        return records


def parse_tolerance(text: str) -> Tolerance:
    """Parse ".1 dB" in the metric's units or "1%" of the larger value; raise `UsageError`."""
    value = number_in(text.strip().removesuffix("dB").removesuffix("%").strip())
    if not 0 <= value < math.inf:
        raise UsageError(f"the tolerance must be a number such as 0.1 or 1%, not {text!r}")
    is_relative = text.strip().endswith("%")
    return Tolerance(value / 100 if is_relative else value, is_relative)


def match_variants(
    summary: Summary, codec: str, against: str, metric: str, tolerance: Tolerance
) -> list[Match]:
    """Compare every variant of a codec with every variant of another.

    summary: includes METRICS. metric: comma-separated names; the first is matched. Raises
    `UnknownName` or `UsageError`.
    """
    name, *_ = names = metric_names(metric)
    matched_metric = Metric.named(name)
    if matched_metric.is_distribution:
        raise UsageError(
            f"{matched_metric.label} is a metric of a set of images, so it cannot match "
            "streams: choose a per-image metric"
        )
    editions_by_query = {
        query: find_editions([query], summary.editions) for query in (codec, against)
    }
    summary = _select_editions(summary, {*chain(*editions_by_query.values())})
    metrics = [Metric.named(name) for name in dict.fromkeys((*METRICS, *names))]
    metrics = [m for m in metrics if not m.is_distribution and summary.count_values(m.column)]
    sides: list[list[tuple[Streams, Edition]]] = []
    for query in (codec, against):
        side_summary = _select_editions(summary, editions_by_query[query])
        side = []
        for edition in side_summary.editions:
            side.append(
                (
                    collect_streams(side_summary.edition_points(edition), matched_metric, metrics),
                    edition,
                )
            )
        if not any(len(streams.image_ids) for streams, _ in side):
            remedy = remedies([name], command=summary.rescore_command)
            raise UsageError(
                f"{query} has no finite {matched_metric.label} values to match: {remedy}"
            )
        sides.append(side)
    matches = []
    for (first, first_edition), (second, second_edition) in product(*sides):
        if first.label != second.label:
            result = match_streams(first, second, matched_metric, tolerance, metrics)
            bias_share = math.expm1(abs(result.bias))
            if bias_share > MAX_BIAS:
                value = _average_value(result.record, matched_metric.column) or 0.0
                higher_is_better = matched_metric.better == "higher"
                change = f"{value:+z.3g}" if higher_is_better else f"{100 * value - 100:+z.3g} %"
                raise UsageError(
                    f"the pairs of {first.label} and {second.label} differ in "
                    f"{matched_metric.axis_label} by {change} on average, which corresponds to "
                    f"{100 * bias_share:.1f} % of the bytes, more than {100 * MAX_BIAS:.0f} %: "
                    "give a smaller --tolerance"
                )
            matches.append(
                result._replace(
                    caveats=differences(first_edition, second_edition, (first.label, second.label))
                )
            )
    if not matches:
        raise UsageError(f"{codec} and {against} are the same codec: name two different codecs")
    return matches


def _select_editions(summary: Summary, editions: Collection[Edition]) -> Summary:
    points = (point for point in summary.points if point.edition in editions)
    return replace(summary, points=tuple(points))


def bias(
    first: Streams, second: Streams, pairs: Int64Array, column: str, target: str, kind: Kind
) -> float:
    """Convert the pairs' mean difference in one metric to a difference in another, by their slope.

    column: the matched metric's column. target: a column, or "bytes". The slope is pooled over both
    codecs' streams within images; a ratio is given as its logarithm.
    """
    covariance_sum = variance_sum = 0.0
    for streams in (first, second):
        with np.errstate(divide="ignore", invalid="ignore"):
            target_values = (
                np.log(streams.values[target]) if kind == "ratio" else streams.values[target]
            )
        is_finite = np.isfinite(target_values)
        _, image_numbers = np.unique(streams.image_ids[is_finite], return_inverse=True)
        counts = np.bincount(image_numbers)
        target_deviations, column_deviations = (
            x - (np.bincount(image_numbers, x) / counts)[image_numbers]
            for x in (target_values[is_finite], streams.values[column][is_finite])
        )
        covariance_sum += float(target_deviations @ column_deviations)
        variance_sum += float(column_deviations @ column_deviations)
    if not len(pairs) or not variance_sum:
        return 0.0
    first_indices, second_indices = pairs.T
    difference = first.values[column][first_indices] - second.values[column][second_indices]
    return covariance_sum / variance_sum * float(difference.mean())


def collect_streams(
    points: Sequence[Point], matched_metric: Metric, other_metrics: Sequence[Metric]
) -> Streams:
    """Return a codec variant's streams with finite values of `matched_metric`."""
    values = {"bytes": np.concatenate([point.image_bpp for point in points])}
    for metric in (matched_metric, *other_metrics):
        image_values = [value for p in points for value in p.image_values[metric.column].tolist()]
        values[metric.column] = np.array([metric.axis_position(value) for value in image_values])
    values |= {name: np.concatenate([p.image_values[name] for p in points]) for name in TIMED}
    image_ids = np.concatenate([point.image_ids for point in points])
    order = np.lexsort((values["bytes"], image_ids))
    order = order[np.isfinite(values[matched_metric.column][order])]
    settings = [point.setting for point in points for _ in point.image_ids]
    return Streams(
        label_of(points[0].edition.spec),
        image_ids[order],
        tuple(settings[index] for index in order.tolist()),
        {name: stream_values[order] for name, stream_values in values.items()},
    )


def match_streams(
    first: Streams,
    second: Streams,
    matched_metric: Metric,
    tolerance: Tolerance,
    other_metrics: Sequence[Metric],
) -> Match:
    """Pair the streams of two codecs by one metric, and average over the pairs.

    other_metrics: averaged as differences where higher is better, else as geometric means of
    ratios. Intervals are widened by what the pairs' difference in the matched metric explains.
    """
    pairs = find_pairs(first, second, matched_metric.column, tolerance)
    first_indices, second_indices = pairs.T
    image_ids = first.image_ids[first_indices]
    num_images = len(np.intersect1d(first.image_ids, second.image_ids))
    record: dict[str, Any] = {
        "codec": first.label,
        "against": second.label,
        "images": num_images,
        "images_without_match": num_images - len(np.unique(image_ids)),
        "pairs": len(pairs),
        "codec_streams_without_match": len(first.image_ids) - len(pairs),
        "against_streams_without_match": len(second.image_ids) - len(pairs),
    }
    difference_columns = {metric.column for metric in other_metrics if metric.better == "higher"}
    biases = {}
    for name in ("bytes", *(metric.column for metric in other_metrics), *TIMED):
        kind: Kind = "difference" if name in difference_columns else "ratio"
        has_bias = name != matched_metric.column
        biases[name] = (
            bias(first, second, pairs, matched_metric.column, name, kind) if has_bias else 0.0
        )
        pair_values = first.values[name][first_indices], second.values[name][second_indices]
        averages = _average_pairs(kind, *pair_values, image_ids, biases[name])
        record |= {
            f"{_column_prefix(name)}_{kind}{suffix}": value for suffix, value in averages.items()
        }
    return Match(first, second, pairs, record, biases["bytes"])


def find_pairs(first: Streams, second: Streams, column: str, tolerance: Tolerance) -> Int64Array:
    """Return the indices of matched streams, shape (pairs, 2), by the rule of this module."""
    forward = _greedy_pairs(first, second, column, tolerance)
    backward = [(b, a, error) for a, b, error in _greedy_pairs(second, first, column, tolerance)]
    best_pairs = min(forward, backward, key=lambda pairs: fmean([e for *_, e in pairs] or [0.0]))
    return np.array([pair[:2] for pair in sorted(best_pairs)], np.int64).reshape(-1, 2)


def _greedy_pairs(
    first: Streams, second: Streams, column: str, tolerance: Tolerance
) -> list[tuple[int, int, float]]:
    """Pair each stream of `first` with the nearest unpaired one; return indices and errors."""
    remaining_indices = group_by_key(
        (image_id, index) for index, image_id in enumerate(second.image_ids.tolist())
    )
    pairs = []
    first_values, second_values = first.values[column].tolist(), second.values[column].tolist()
    for index, image_id in enumerate(first.image_ids.tolist()):
        candidates = [
            (_error(first_values[index], second_values[candidate], tolerance), candidate)
            for candidate in remaining_indices.get(image_id, ())
        ]
        error, candidate = min(candidates, default=(math.inf, -1))
        if error <= tolerance.value:
            remaining_indices[image_id].remove(candidate)
            pairs.append((index, candidate, error))
    return pairs


def _error(value: float, other_value: float, tolerance: Tolerance) -> float:
    if not tolerance.relative:
        return abs(value - other_value)
    if value == other_value:
        return 0.0
    small, large = sorted((abs(value), abs(other_value)))
    return 1 - small / large if value * other_value > 0 else math.inf


def _average_pairs(
    kind: Kind, values: Float64Array, other_values: Float64Array, image_ids: Int64Array, bias: float
) -> dict[str, Any]:
    """Return the mean, its interval over images and the number of finite pairs, by suffix."""
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.log(values / other_values) if kind == "ratio" else values - other_values
    is_finite = np.isfinite(changes)
    result: dict[str, Any] = {"": None, "_low": None, "_high": None, "_pairs": int(is_finite.sum())}
    if not is_finite.any():
        return result
    inverse = math.exp if kind == "ratio" else float
    _, image_numbers = np.unique(image_ids[is_finite], return_inverse=True)
    sums, counts = np.bincount(image_numbers, changes[is_finite]), np.bincount(image_numbers)
    mean = float(sums.sum() / counts.sum())
    if len(sums) > 1:
        draws = image_draws(len(sums))
        pseudo_values = mean + len(sums) * (sums - mean * counts) / counts.sum()
        low, high = draws_interval((draws @ sums) / (draws @ counts), pseudo_values)
        result |= {"_low": inverse(low - max(bias, 0.0)), "_high": inverse(high - min(bias, 0.0))}
    return result | {"": inverse(mean)}
