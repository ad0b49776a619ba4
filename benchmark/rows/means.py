"""Means of comparable rows: of each codec variant and setting, over its images.

Sums are `np.bincount`'s, which add in the order of the rows: those of data frames differ in the
last digit from one number of threads to another.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import BoolArray, Float64Array, Int64Array, Setting, bits_per_pixel
from benchmark.facts import facts_of
from benchmark.metrics.metric import protocols as present_protocols
from benchmark.registry import CODECS, METRICS
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import Edition, Ran, labels_of
from benchmark.rows.schema import NOT_DETERMINISTIC, metric_columns
from benchmark.rows.summary import (
    CONTAINER,
    COSTS,
    REAL_TO_ESTIMATED,
    SECONDS,
    TIMED,
    Mean,
    Point,
    Summary,
    Tally,
)

REASONS_KEPT = 3
Tallies = dict[int, Tally]  # by the number of the point


def summarise(
    table: pl.DataFrame,
    protocols: Mapping[str, str] | None = None,
    pooled: bool = False,
    common: bool = False,
) -> Summary:
    """Return the means of a table of rows (columns of `rows.schema`, one row per cell).

    protocols: the metric columns to summarise, each with the protocol id that its values must have,
    and "coding"; by default all metrics of single images. common: restrict everything to the images
    that all points have; else points that lack images must not be plotted or compared.
    """
    protocols = present_protocols(METRICS) if protocols is None else protocols
    return summarise_rows(ComparableRows(table, protocols["coding"]), protocols, pooled, common)


def summarise_rows(
    rows: ComparableRows,
    protocols: Mapping[str, str],
    pooled: bool = False,
    common: bool = False,
) -> Summary:
    """Return the means of comparable rows; other arguments as in `summarise`."""
    everything = rows.count_images(rows.ok)
    if common:
        rows = rows.replace(ok=rows.common(rows.ok))
    means = _Means(rows, pooled, common)
    coded_here = rows.ok & (rows.numbers("recorded") != 1)
    latest, timed = _on_one_machine(rows, coded_here)
    machine, alone = _on_one_machine(rows, coded_here & (rows.numbers("timing") == 1) & rows.shown)
    values: dict[str, Float64Array] = {}
    of_points = {name: means.of(rows.numbers(name), timed) for name in SECONDS}
    for name, seconds in zip(TIMED, SECONDS, strict=True):
        values[name] = np.where(alone, rows.numbers(seconds) / (rows.pixels / 1e6), np.nan)
        of_points[name] = means.of(values[name], alone)
    of_points[CONTAINER] = means.of(rows.numbers(CONTAINER), rows.ok)
    for name in COSTS:
        cost = _real_to_estimated(rows) if name == REAL_TO_ESTIMATED else rows.numbers(name)
        if not np.isnan(cost[rows.ok]).all():
            of_points[name] = means.of(cost, rows.ok)
    absent = None  # what all metrics have that no row was measured with
    for name, protocol in protocols.items():
        if name == "coding":
            continue
        if not (lacking := _lacks(rows.table, name)) or absent is None:
            values[name], of_points[name] = means.of_metric(name, protocol)
            absent = (values[name], of_points[name]) if lacking else absent
        else:
            values[name], of_points[name] = absent
    points = list(zip(_points(means, of_points, values), rows.point_table["shown"], strict=True))
    labels = labels_of(point.edition for point, _ in points)
    points.sort(key=lambda pair: _sort_key(pair[0], labels))
    images = rows.count_images(rows.ok)
    return Summary(
        points=tuple(point for point, is_shown in points if is_shown),
        images=images,
        dropped=everything - images,
        pooled=pooled,
        protocols=dict(protocols),
        machine=machine,
        seconds_machine=latest if timed.sum() < coded_here.sum() else "",
        absent=rows.absent,
        replaced=tuple(point for point, is_shown in points if not is_shown),
    )


def _sort_key(point: Point, labels: Mapping[Edition, str]) -> tuple[Any, ...]:
    codec, label = point.edition.spec.name, labels[point.edition]
    rank = [*CODECS, codec].index(codec)
    return rank, label, point.bpp is None, point.bpp or 0.0, point.setting


def _real_to_estimated(rows: ComparableRows) -> Float64Array:
    estimated = rows.numbers("estimated_bits")
    return np.asarray(8 * rows.bytes / np.where(estimated > 0, estimated, np.nan))


def _on_one_machine(rows: ComparableRows, chosen: BoolArray) -> tuple[str, BoolArray]:
    """Return the machine of the latest of the chosen rows, and mark those of it."""
    if not chosen.any():
        return "", chosen
    latest = rows.index[chosen][rows.recency[chosen].argmax()]
    machine = rows.table["machine"][int(latest)]
    same = rows.table["machine"].eq_missing(machine).to_numpy()[rows.index]
    return str(machine), chosen & same


def _lacks(table: pl.DataFrame, column: str) -> bool:
    """Return whether no row has a value of this metric, nor a reason why it has none."""
    value, _, reason = metric_columns(column)
    there = [table[name] for name in (value, reason) if name in table.columns]
    return all(values.null_count() == len(values) for values in there)


class _Means:
    """Means of rows by point."""

    def __init__(self, rows: ComparableRows, pooled: bool, common: bool) -> None:
        self.rows, self._pooled, self._common = rows, pooled, common
        self._bytes, self.bpp = rows.bytes, rows.bpp

    def rates(self, used: BoolArray | slice) -> Float64Array:
        """Return the bits per pixel of each point over the rows used; NaN without any.

        The mean of each image's own bpp (the usual table), or pooled all bits over all pixels
        (benchmark_xl's convention), where large images weigh more: 100 bytes for 800 pixels and for
        1600 are .75 and .667.
        """
        rows, point = self.rows, self.rows.point[used]
        with np.errstate(invalid="ignore"):
            if self._pooled:
                parts = self._bytes[used], rows.pixels[used]
                sums = (np.bincount(point, of, rows.points) for of in parts)
                return bits_per_pixel(*sums)
            above = np.bincount(point, self.bpp[used], rows.points)
            below = np.bincount(point, minlength=rows.points)
            return np.asarray(above / below)

    def of(self, values: Float64Array, has: BoolArray) -> list[Mean]:
        """Return the mean of each point over the marked rows that have a value.

        values: shape (rows,), NaN for no value. has: shape (rows,).
        """
        rows = self.rows
        has = has & ~np.isnan(values)
        if not has.any():
            return [Mean(None, None, 0, 0, 0, ())] * rows.points
        has = rows.common(has) if self._common else has
        finite = has & np.isfinite(values)
        infinite = np.bincount(rows.point[has & ~finite], minlength=rows.points).tolist()
        used = slice(None) if finite.all() else finite  # a million rows are not copied
        point = rows.point[used]
        counts = np.bincount(point, minlength=rows.points).tolist()
        sums = np.bincount(point, values[used], rows.points).tolist()
        rates, images = self.rates(used).tolist(), rows.count_images(has)
        return [
            Mean(sum_ / n if n else None, rate if n else None, n, endless, images - n - endless, ())
            for sum_, rate, n, endless in zip(sums, rates, counts, infinite, strict=True)
        ]

    def of_metric(self, column: str, protocol: str) -> tuple[Float64Array, list[Mean]]:
        """Return the values of a metric, shape (rows,), NaN for none, and the mean of each point.

        Values under another protocol id than `protocol` do not count; the reasons say so.
        """
        rows = self.rows
        value_column, protocol_column, reason_column = metric_columns(column)
        values = np.where(rows.ok, rows.numbers(value_column), np.nan)
        other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
        values = np.where(other, np.nan, values)
        lacking = rows.ok & np.isnan(values)
        texts = pl.lit("not computed")
        if lacking.any() and reason_column in rows.table.columns:
            reasons = rows.select(reason_column, marked=lacking).to_series()
            by_other = pl.lit(f"measured by another rule than {protocol}")
            reason = pl.coalesce(pl.lit(reasons.replace("", None)), texts)
            texts = pl.when(pl.lit(pl.Series(other[lacking]))).then(by_other).otherwise(reason)
        why = self.tallies(lacking, texts)
        means = self.of(values, rows.ok)
        return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(means)]

    def tallies(self, marked: BoolArray, texts: pl.Expr) -> Tallies:
        """Count texts, one for each marked row, by the number of the point."""
        if not marked.any():
            return {}
        counts = pl.DataFrame({"point": self.rows.point[marked]}).with_columns(text=texts)
        counts = counts.group_by("point", "text").len()
        counts = counts.sort("point", "len", "text", descending=[False, True, False])
        result: Tallies = {}
        first = counts.group_by("point", maintain_order=True).head(REASONS_KEPT)
        for point, text, count in first.rows():
            result[point] = (*result.get(point, ()), (text, count))
        return result

    def failures(self) -> Tallies:
        """Return why rows failed, by the number of the point."""
        failed = self.rows.failed
        parts = self.rows.select("stage", "reason", marked=failed)
        texts = parts.select(pl.concat_str(pl.all().fill_null("None"), separator=": "))
        return self.tallies(failed, pl.lit(texts.to_series()))


def _points(
    means: _Means, of_points: Mapping[str, list[Mean]], values: Mapping[str, Float64Array]
) -> list[Point]:
    rows = means.rows
    failed = np.bincount(rows.point[rows.failed], minlength=rows.points).tolist()
    ok = slice(None) if rows.ok.all() else rows.ok  # a million rows are not copied
    ids, bpp, pixels = rows.image[ok], means.bpp[ok], rows.pixels[ok]
    of_images = {name: of[ok] for name, of in values.items()}
    bounds = np.searchsorted(rows.point[ok], np.arange(rows.points + 1)).tolist()
    rates, failures, editions = means.rates(ok).tolist(), means.failures(), _editions(rows)
    places = rows.point_table.select("edition", "setting_name", "setting_value").rows()
    reference = rows.count_images(rows.ok)
    return [
        Point(
            edition=editions[edition],
            setting=Setting(name, value),
            bpp=rates[i] if end > start else None,
            images=end - start,
            missing=reference - (end - start),
            failed=failed[i],
            failures=failures.get(i, ()),
            means={name: of_name[i] for name, of_name in of_points.items()},
            image_ids=ids[start:end],
            image_bpp=bpp[start:end],
            image_values={name: of[start:end] for name, of in of_images.items()},
            image_pixels=pixels[start:end],
        )
        for i, ((edition, name, value), (start, end)) in enumerate(
            zip(places, pairwise(bounds), strict=True)
        )
    ]


OF_LATEST = ("codec_version", "command", "timed", "run", "fingerprint",
             "revision", "chroma", "tuned_for")  # fmt: skip
NAMED = {"caveats": "caveat", "origins": "bytes_origin", "devices": "device",
         "versions": "codec_version"}  # fmt: skip


def _editions(rows: ComparableRows) -> dict[int, Edition]:
    """Describe each edition by its latest row (without failure, if any), with what all name."""
    random = pl.lit(False)
    if "reason" in rows.table.columns:
        random = col("reason").cast(pl.String).str.starts_with(NOT_DETERMINISTIC).fill_null(False)
    facts = rows.table.select(*NAMED.values(), "recorded", random=random)[rows.index]
    facts = facts.with_columns(edition=pl.Series(rows.edition, dtype=pl.Int64)).unique()
    facts = facts.cast({pl.Categorical: pl.String})
    texts = {
        name: col(column).filter(col(column).fill_null("") != "").unique().sort()
        for name, column in NAMED.items()
    }
    of_all = facts.group_by("edition").agg(
        **texts,
        is_recorded=col("recorded").fill_null(False).any(),
        is_random=col("random").any(),
    )
    named = {row["edition"]: row for row in of_all.rows(named=True)}
    marked = np.zeros(len(rows.index), np.bool_)
    marked[_latest(rows)] = True
    latest = rows.select(*OF_LATEST, marked=marked)
    made = rows.point_table.unique("edition").sort("edition")
    specs, editions = rows.specs(), {}
    points = made.select("edition", "bundled").rows(named=True)
    for row, point in zip(latest.rows(named=True), points, strict=True):
        text = {name: row[name] or "" for name in OF_LATEST}
        number, of_rows = point["edition"], named[point["edition"]]
        seen = ["bytes=declared"] if "declared" in of_rows["origins"] else []
        seen += [NOT_DETERMINISTIC] if of_rows["is_random"] else []
        spec = specs[number]
        declared = facts_of(spec)
        editions[number] = Edition(
            spec,
            build=(text["fingerprint"], row["revision"] or 0),
            origin="bundled" if point["bundled"] else "here",
            facts=declared,
            ran=Ran(
                version=" and ".join(dict.fromkeys((text["codec_version"], *of_rows["versions"]))),
                command=text["command"],
                timed=text["timed"],
                devices=tuple(of_rows["devices"]),
                caveats=(*dict.fromkeys((*of_rows["caveats"], *seen)),),
                recorded=of_rows["is_recorded"],
                chroma=text["chroma"] or declared.chroma,
                tuned_for=text["tuned_for"] or declared.tuned_for,
                run=text["run"],
            ),
        )
    return editions


def _latest(rows: ComparableRows) -> Int64Array:
    """Return the position of each edition's latest row, of one without failure if there is any."""
    order = np.lexsort([rows.recency, rows.ok, rows.edition])
    is_last = np.diff(rows.edition[order], append=-1) != 0
    return np.asarray(order[is_last], np.int64)
