"""Means over the images of each point, with the counts that belong to them.

Sums are `np.bincount`'s, which add in the order of the rows: pandas' and Arrow's differ in the last
digit.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.comparable import Average, ComparableRows
from benchmark.codec import BoolArray, Float64Array, Int64Array, bits_per_pixel
from benchmark.rows.schema import metric_columns

REASONS_KEPT = 3
# Texts and how often each occurs, most frequent first, at most REASONS_KEPT.
Tally = tuple[tuple[str, int], ...]


class Mean(NamedTuple):
    """A mean over images, with the counts that belong to it."""

    value: float | None  # over the finite values; None where there is none
    bpp: float | None  # of the same images, so that a point's two coordinates belong together
    images: int  # in this mean
    infinite: int  # images of infinite value (identical to the source), not in the mean
    missing: int  # images that another point has a value of and this one has not
    reasons: Tally  # why images have no value


def mean_bpp(rows: ComparableRows, used: BoolArray | slice, average: Average) -> Float64Array:
    """Return the bits per pixel of each point, float64 of shape (points,); NaN without rows.

    used: bool of shape (rows,), or a slice of all. average: "per_image" is the mean of each image's
    own bpp (the usual table); "pooled" is all bits over all pixels (benchmark_xl's convention),
    where large images weigh more: 100 bytes for 800 pixels and for 1600 are .75 and .667.
    """
    point = rows.point[used]
    if average == "pooled":
        weights = (rows.bytes[used], rows.pixels[used])
        sums = (np.bincount(point, of, rows.points) for of in weights)
        with np.errstate(invalid="ignore"):
            return bits_per_pixel(*sums)
    above = np.bincount(point, rows.bpp[used], rows.points)
    below = np.bincount(point, minlength=rows.points)
    return np.divide(above, below, out=np.full(rows.points, np.nan), where=below > 0)


def means(
    rows: ComparableRows, values: Float64Array, has: BoolArray, average: Average, common: bool
) -> list[Mean]:
    """Return the mean of each point over the marked rows that have a value.

    values: float64 of shape (rows,), NaN for no value. has: bool of shape (rows,).
    common: use only the images that every point has a value of.
    """
    has = has & ~np.isnan(values)
    if not has.any():
        return [Mean(None, None, 0, 0, 0, ())] * rows.points
    has = rows.common(has) if common else has
    finite = has & np.isfinite(values)
    infinite = np.bincount(rows.point[has & ~finite], minlength=rows.points).tolist()
    used = slice(None) if finite.all() else finite  # a million rows are not copied
    point = rows.point[used]
    counts = np.bincount(point, minlength=rows.points).tolist()
    sums = np.bincount(point, values[used], rows.points).tolist()
    rates = mean_bpp(rows, used, average).tolist()
    images = rows.images_of(has)
    return [
        Mean(total / n if n else None, rate if n else None, n, endless, images - n - endless, ())
        for total, rate, n, endless in zip(sums, rates, counts, infinite, strict=True)
    ]


def metric_means(
    rows: ComparableRows, column: str, protocol: str, average: Average, common: bool
) -> tuple[Float64Array, list[Mean]]:
    """Return the values of a metric, shape (rows,), NaN for none, and the mean of each point.

    Values under another protocol id than `protocol` do not count; the reasons say so.
    """
    value_column, protocol_column, reason_column = metric_columns(column)
    values = rows.numbers(value_column)
    if not rows.ok.all():
        values = np.where(rows.ok, values, np.nan)
    other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
    if other.any():
        values = np.where(other, np.nan, values)
    why = {}
    if (missing := rows.ok & np.isnan(values)).any():
        reason, reasons = rows.codes(reason_column)
        texts = [text or "not computed" for text in reasons]
        texts.append(f"measured by another rule than {protocol}")
        reason = np.where(other, len(texts) - 1, reason) if other.any() else reason
        why = tallies(rows, missing, reason, texts)
    result = means(rows, values, rows.ok, average, common)
    return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(result)]


def tallies(
    rows: ComparableRows, marked: BoolArray, code: Int64Array, texts: Sequence[str]
) -> dict[int, Tally]:
    """Count the texts of the marked rows, by the number of the point.

    code: int64 of shape (rows,), each row's index in `texts`, where a text may occur twice.
    """
    pairs = (rows.point if marked.all() else rows.point[marked]) * len(texts)
    pairs += code[marked] if code.any() else 0
    result: dict[int, dict[str, int]] = defaultdict(dict)
    counts = np.bincount(pairs)
    for pair in np.flatnonzero(counts).tolist():
        point, text = divmod(pair, len(texts))
        result[point][texts[text]] = result[point].get(texts[text], 0) + int(counts[pair])
    return {
        point: tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_KEPT])
        for point, counts in result.items()
    }
