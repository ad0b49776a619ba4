"""Rows of measurements in, points of rate-distortion curves out: means with their counts. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.analysis.comparable import Average, LeftOut, Rows, label_of
from benchmark.codec import Setting
from benchmark.metrics.metric import metric_columns
from benchmark.protocol import protocols as present_protocols
from benchmark.registry import CODECS, METRICS
from benchmark.system.arrays import BoolArray, Float64Array, Int64Array

SECONDS = ("encode_seconds", "decode_seconds")  # never of rows recorded in a pack
# Only of rows measured alone, on one machine: that of the latest such row.
TIMED = ("encode_seconds_per_megapixel", "decode_seconds_per_megapixel")
REASONS_KEPT = 3

Tally = tuple[
    tuple[str, int], ...
]  # texts and how often, most frequent first, REASONS_KEPT at most


class Mean(NamedTuple):
    """A mean over images, beside what it is a mean of."""

    value: float | None  # over the finite values; None where there is none
    bpp: float | None  # of the same images, so that a point's two coordinates belong together
    images: int  # in this mean
    infinite: int  # images of infinite value (identical to the source), not in the mean
    missing: int  # images that another point has a value of and this one has not
    reasons: Tally  # why images have no value


@dataclass(frozen=True, slots=True)
class Edition:
    """A codec variant as it ran: one program or weight file, one revision of the adapter."""

    label: str
    codec: str
    version: str
    command: str
    timed: str  # what the seconds contain
    devices: tuple[str, ...]
    caveats: tuple[str, ...]  # what tables and figures have to say of it
    recorded: bool = False  # streams of some rows come from a pack


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A codec variant at one setting."""

    edition: Edition
    setting: Setting
    bpp: float | None
    images: int  # with a stream
    missing: int  # images that another point has a stream of and this one has not
    failed: int
    failures: Tally
    means: Mapping[str, Mean]  # of every metric column, of SECONDS and of TIMED
    image_ids: (
        Int64Array  # (images,) numbers that stand for images, ascending, the same in all points
    )
    image_bpp: Float64Array  # (images,)
    image_values: Mapping[
        str, Float64Array
    ]  # (images,) of each metric column; NaN where there is none

    @property
    def label(self) -> str:
        """Name of the codec variant."""
        return self.edition.label


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """All points of a dataset, by codec as the registry lists them and then by rate."""

    points: tuple[Point, ...]
    images: int  # that the points are compared on
    dropped: int  # images that not every point has, left out because `common` was asked for
    average: Average  # of bpp
    protocols: Mapping[str, str]  # protocol id by metric column, and of "coding"
    machine: str  # that the TIMED means come from; empty for none
    left_out: tuple[LeftOut, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The codec variants, in order."""
        return tuple(dict.fromkeys(point.label for point in self.points))

    @property
    def protocols_in_use(self) -> dict[str, str]:
        """Those of `protocols` that any value was made under."""
        used = [name for name in self.protocols if name == "coding" or self.values_of(name)]
        return {name: self.protocols[name] for name in used}

    def values_of(self, column: str) -> int:
        """Values of a metric in all points together."""
        means = [point.means[column] for point in self.points]
        return sum(mean.images + mean.infinite for mean in means)

    def for_machines(self) -> list[dict[str, Any]]:
        """One flat record a point, json values only, each mean followed by its counts."""
        return [_record(point) for point in self.points]


def _record(point: Point) -> dict[str, Any]:
    record: dict[str, Any] = {
        "codec": point.label,
        "setting": str(point.setting),
        "bpp": point.bpp,
        "images": point.images,
        "images_missing": point.missing,
        "images_failed": point.failed,
    }
    for name, mean in point.means.items():
        record[name] = mean.value
        record[f"{name}_images"] = mean.images
        if name not in (*SECONDS, *TIMED):
            record[f"{name}_infinite"] = mean.infinite
    return {**record, "caveat": "; ".join(point.edition.caveats), "version": point.edition.version}


def mean_bpp(
    num_bytes: Int64Array, num_pixels: Int64Array, point: Int64Array, points: int, average: Average
) -> Float64Array:
    """Bits per pixel of each of `points` points; `point` (n,) says which one a row belongs to.

    "per_image": mean of each image's own bpp (the usual table).
    "pooled":    all bits over all pixels (benchmark_xl's convention); large images weigh more.
    NaN for a point without rows.

    >>> rows = np.array([100, 100]), np.array([800, 1600]), np.array([0, 0])
    >>> mean_bpp(*rows, 1, "per_image"), mean_bpp(*rows, 1, "pooled")
    (array([0.75]), array([0.66666667]))
    """
    if average == "pooled":
        above = np.bincount(point, 8 * num_bytes, points)
        below = np.bincount(point, num_pixels, points)
    else:
        above = np.bincount(point, 8 * num_bytes / num_pixels, points)
        below = np.bincount(point, minlength=points).astype(np.float64)
    return np.divide(above, below, out=np.full(points, np.nan), where=below > 0)


def summarise(
    table: pa.Table,
    protocols: Mapping[str, str] | None = None,
    average: Average = "per_image",
    common: bool = False,
) -> Summary:
    """Points of the rows (columns of `schema.table_schema`, one row a cell).

    `protocols` has the metric columns to summarise, each with the protocol id that its values must
    have, and "coding"; by default all metrics under their present protocols. `common` restricts
    everything to the images that all points have; without it points that lack images are given
    all the same, with `missing` counted, and must not be drawn or compared.
    """
    protocols = present_protocols(METRICS) if protocols is None else protocols
    rows = Rows(table, protocols["coding"])
    everything = rows.images_of(rows.ok)
    if common:
        rows.ok = rows.common(rows.ok)
    means, values = {}, {}
    coded_here = rows.ok & (rows.numbers("recorded") != 1)
    for name in SECONDS:
        means[name] = _means(rows, rows.numbers(name), coded_here, average, common)
    machine, timed = _timed_means(rows, average, common)
    means.update(timed)
    for name, protocol in protocols.items():
        if name != "coding":
            values[name], means[name] = _metric_means(rows, name, protocol, average, common)
    images = rows.images_of(rows.ok)
    return Summary(
        points=tuple(sorted(_points(rows, means, values, average), key=_place)),
        images=images,
        dropped=everything - images,
        average=average,
        protocols=dict(protocols),
        machine=machine,
        left_out=rows.left_out,
    )


def _means(
    rows: Rows, values: Float64Array, has: BoolArray, average: Average, common: bool
) -> list[Mean]:
    """The mean of each point over the marked rows that have a value."""
    has = has & ~np.isnan(values)
    has = rows.common(has) if common else has
    finite = has & np.isfinite(values)
    point = rows.point[finite]
    counts = np.bincount(point, minlength=rows.points).tolist()
    sums = np.bincount(point, values[finite], rows.points).tolist()
    rates = mean_bpp(rows.bytes[finite], rows.pixels[finite], point, rows.points, average).tolist()
    infinite = np.bincount(rows.point[has & ~finite], minlength=rows.points).tolist()
    images = rows.images_of(has)
    return [
        Mean(total / n if n else None, rate if n else None, n, endless, images - n - endless, ())
        for total, rate, n, endless in zip(sums, rates, counts, infinite, strict=True)
    ]


def _metric_means(
    rows: Rows, column: str, protocol: str, average: Average, common: bool
) -> tuple[Float64Array, list[Mean]]:
    """Values of a metric (NaN for none) and their means."""
    value_column, protocol_column, reason_column = metric_columns(column)
    values = np.where(rows.ok, rows.numbers(value_column), np.nan)
    other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
    values[other] = np.nan
    means = _means(rows, values, rows.ok, average, common)
    reason, reasons = rows.codes(reason_column)
    texts = [text or "not computed" for text in reasons]
    texts.append(f"measured by another rule than {protocol}")
    reason = np.where(other, len(texts) - 1, reason)
    why = _tallies(rows, rows.ok & np.isnan(values), reason, texts)
    return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(means)]


def _timed_means(rows: Rows, average: Average, common: bool) -> tuple[str, dict[str, list[Mean]]]:
    """The machine, and seconds per megapixel: the mean of each image's own."""
    machine, machines = rows.codes("machine")
    coded_here = rows.ok & (rows.numbers("recorded") != 1)
    alone = np.flatnonzero(coded_here & (rows.numbers("timing") == 1))
    has = np.zeros(len(rows.ok), np.bool_)
    chosen = -1
    if len(alone):
        chosen = int(machine[alone[rows.recency[alone].argmax()]])
        has[alone] = machine[alone] == chosen
    return str(machines[chosen]) if len(alone) else "", {
        name: _means(rows, rows.numbers(seconds) / (rows.pixels / 1e6), has, average, common)
        for name, seconds in zip(TIMED, SECONDS, strict=True)
    }


def _tallies(
    rows: Rows, marked: BoolArray, code: Int64Array, texts: Sequence[str]
) -> dict[int, Tally]:
    """The most frequent texts of the marked rows, by point."""
    pairs = rows.point[marked] * len(texts) + code[marked]
    found: dict[int, dict[str, int]] = defaultdict(dict)
    distinct, counts = np.unique(pairs, return_counts=True)
    for pair, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        point, text = divmod(pair, len(texts))
        found[point][texts[text]] = found[point].get(texts[text], 0) + count
    return {
        point: tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_KEPT])
        for point, counts in found.items()
    }


def _points(
    rows: Rows,
    means: Mapping[str, list[Mean]],
    values: Mapping[str, Float64Array],
    average: Average,
) -> list[Point]:
    failures = _failures(rows)
    failed = np.bincount(rows.point[rows.failed], minlength=rows.points).tolist()
    ok = np.flatnonzero(rows.ok)
    of_point, image_bpp = rows.point[ok], 8 * rows.bytes[ok] / rows.pixels[ok]
    image_ids, values = rows.image[ok], {name: column[ok] for name, column in values.items()}
    rates = mean_bpp(rows.bytes[ok], rows.pixels[ok], of_point, rows.points, average).tolist()
    bounds = np.searchsorted(of_point, np.arange(rows.points + 1)).tolist()
    first = np.searchsorted(rows.point, np.arange(rows.points))
    setting, settings = rows.codes("setting_name")
    setting, value = setting[first].tolist(), rows.numbers("setting_value")[first].tolist()
    editions = _editions(rows)
    reference = rows.images_of(rows.ok)
    points = []
    for i in range(rows.points):
        mine = slice(bounds[i], bounds[i + 1])
        count = bounds[i + 1] - bounds[i]
        points.append(
            Point(
                edition=editions[int(rows.variant[first[i]])],
                setting=Setting(settings[setting[i]], value[i]),
                bpp=rates[i] if count else None,
                images=count,
                missing=reference - count,
                failed=failed[i],
                failures=failures.get(i, ()),
                means={name: of_points[i] for name, of_points in means.items()},
                image_ids=image_ids[mine],
                image_bpp=image_bpp[mine],
                image_values={name: column[mine] for name, column in values.items()},
            )
        )
    return points


def _failures(rows: Rows) -> dict[int, Tally]:
    stage, stages = rows.codes("stage")
    reason, reasons = rows.codes("reason")
    pair = stage[rows.failed] * len(reasons) + reason[rows.failed]
    distinct, pair = np.unique(pair, return_inverse=True)
    code = np.zeros(len(stage), np.int64)
    code[rows.failed] = pair
    texts = [
        f"{stages[at // len(reasons)]}: {reasons[at % len(reasons)]}" for at in distinct.tolist()
    ]
    return _tallies(rows, rows.failed, code, texts)


def _editions(rows: Rows) -> dict[int, Edition]:
    """By variant: the words of its latest row, and every caveat and device of any."""
    caveats = _distinct(rows, "caveat")
    origins = _distinct(rows, "bytes_origin")
    devices = _distinct(rows, "device")
    recorded = set(rows.variant[rows.numbers("recorded") == 1].tolist())
    variant = rows.variant
    order = np.lexsort((rows.recency, rows.ok, variant))
    names = ("codec", "variant", "codec_version", "command", "timed")
    editions, whole = {}, {}
    for last in order[np.flatnonzero(np.diff(variant[order], append=-1))].tolist():
        number = int(variant[last])
        row = {name: rows.table[name][int(rows.index[last])].as_py() or "" for name in names}
        declared = ["bytes=declared"] if "declared" in origins[number] else []
        whole[number] = f"{row['codec']}:{row['variant']}".rstrip(":")
        editions[number] = Edition(
            label=label_of(row["codec"], row["variant"]),
            codec=row["codec"],
            version=row["codec_version"],
            command=row["command"],
            timed=row["timed"],
            devices=devices[number],
            caveats=(*caveats[number], *declared),
            recorded=number in recorded,
        )
    # Two variants of one label (files of one name in two folders, say) would become one curve.
    labels = Counter(edition.label for edition in editions.values())
    return {
        number: replace(edition, label=whole[number]) if labels[edition.label] > 1 else edition
        for number, edition in editions.items()
    }


def _distinct(rows: Rows, column: str) -> dict[int, tuple[str, ...]]:
    code, values = rows.codes(column)
    found: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for pair in np.flatnonzero(np.bincount(rows.variant * len(values) + code)).tolist():
        number, at = divmod(pair, len(values))
        found[number] += (values[at],) if values[at] else ()
    return found


def _place(point: Point) -> tuple[Any, ...]:
    known = list(CODECS)
    order = known.index(point.edition.codec) if point.edition.codec in known else len(known)
    return order, point.label, point.bpp is None, point.bpp or 0.0, point.setting
