"""Means and counts over the rows of each point, a codec variant at one setting.

Arrays of shape (points,) hold one number for each point. Sums are `np.bincount`'s, which add in the
order of the rows: pandas' and Arrow's compensate or reorder, and so differ in the last digit.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.comparable import Average, ComparableRows
from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.metrics.metric import metric_columns
from benchmark.protocol import bits_per_pixel

REASONS_KEPT = 3
OF_MEAN_MSE = ("psnr_db", "psnr_y_db")  # columns that also have the dB of the mean squared error

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


def mean_bpp(
    num_bytes: Int64Array, num_pixels: Int64Array, point: Int64Array, points: int, average: Average
) -> Float64Array:
    """Return the bits per pixel of each point, float64 of shape (points,); NaN without rows.

    num_bytes, num_pixels, point: shape (rows,); `point` is the number of the row's point.
    average: "per_image" is the mean of each image's own bpp (the usual table); "pooled" is all bits
    over all pixels (benchmark_xl's convention), where large images weigh more.

    >>> rows = np.array([100, 100]), np.array([800, 1600]), np.array([0, 0])
    >>> mean_bpp(*rows, 1, "per_image"), mean_bpp(*rows, 1, "pooled")
    (array([0.75]), array([0.66666667]))
    """
    if average == "pooled":
        sums = (np.bincount(point, weights, points) for weights in (num_bytes, num_pixels))
        with np.errstate(invalid="ignore"):
            return bits_per_pixel(*sums)
    above = np.bincount(point, bits_per_pixel(num_bytes, num_pixels), points)
    below = np.bincount(point, minlength=points)
    return np.divide(above, below, out=np.full(points, np.nan), where=below > 0)


def means(
    rows: ComparableRows, values: Float64Array, has: BoolArray, average: Average, common: bool
) -> list[Mean]:
    """Return the mean of each point over the marked rows that have a value.

    values: float64 of shape (rows,), NaN for no value. has: bool of shape (rows,).
    common: use only the images that every point has a value of.
    """
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


def psnr_of_mean_mse(psnr_db: Float64Array) -> float | None:
    """Return the PSNR (dB) of the mean over images of their mean squared errors.

    psnr_db: PSNR of each image, NaN for none, infinite for an image without error, which counts.
    None where no image has a value, or none an error.

    >>> psnr_of_mean_mse(np.array([20.0, np.inf]))
    23.01029...
    """
    known = psnr_db[~np.isnan(psnr_db)]
    if not np.isfinite(known).any():
        return None
    return float(-10 * np.log10(np.mean(10 ** (-known / 10))))


def metric_means(
    rows: ComparableRows, column: str, protocol: str, average: Average, common: bool
) -> tuple[Float64Array, list[Mean]]:
    """Return the values of a metric, shape (rows,), NaN for none, and the mean of each point.

    Values under another protocol id than `protocol` do not count; the reasons say so.
    """
    value_column, protocol_column, reason_column = metric_columns(column)
    values = np.where(rows.ok, rows.numbers(value_column), np.nan)
    other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
    values[other] = np.nan
    reason, reasons = rows.codes(reason_column)
    texts = [text or "not computed" for text in reasons]
    texts.append(f"measured by another rule than {protocol}")
    reason = np.where(other, len(texts) - 1, reason)
    why = tallies(rows, rows.ok & np.isnan(values), reason, texts)
    result = means(rows, values, rows.ok, average, common)
    return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(result)]


def tallies(
    rows: ComparableRows, marked: BoolArray, code: Int64Array, texts: Sequence[str]
) -> dict[int, Tally]:
    """Count the texts of the marked rows, by the number of the point.

    code: int64 of shape (rows,), each row's index in `texts`, where a text may occur twice.
    """
    pairs = rows.point[marked] * len(texts) + code[marked]
    result: dict[int, dict[str, int]] = defaultdict(dict)
    distinct, counts = np.unique(pairs, return_counts=True)
    for pair, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        point, text = divmod(pair, len(texts))
        result[point][texts[text]] = result[point].get(texts[text], 0) + count
    return {
        point: tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_KEPT])
        for point, counts in result.items()
    }
