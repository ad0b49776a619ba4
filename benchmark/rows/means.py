"""Means of comparable rows over the images of each codec variant and setting.

Sums use `np.bincount`, which adds in the order of rows: the last digit of polars' sums depends on
the number of threads.
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
from benchmark.rows.edition import Edition, RunFacts, labels_of
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

MAX_REASONS = 3  # per point and metric
Tallies = dict[int, Tally]  # by point index


def summarise(
    table: pl.DataFrame,
    protocols: Mapping[str, str] | None = None,
    pooled: bool = False,
    common: bool = False,
) -> Summary:
    """Compute the means of a table of rows (columns of `rows.schema`, one row per cell).

    protocols: required protocol id by metric column; "coding": that of rows; default: all image
    metrics. common: use only the images that every point has; otherwise, points that lack
    images must not be plotted or compared.
    """
    protocols = present_protocols(METRICS) if protocols is None else protocols
    return summarise_rows(ComparableRows(table, protocols["coding"]), protocols, pooled, common)


def summarise_rows(
    rows: ComparableRows,
    protocols: Mapping[str, str],
    pooled: bool = False,
    common: bool = False,
) -> Summary:
    """Compute the means of comparable rows; see `summarise`."""
    images_before_common = rows.count_images(rows.ok)
    if common:
        rows = rows.replace(ok=rows.restrict_to_common(rows.ok))
    means = _Means(rows, pooled, common)
    is_coded_here = rows.ok & (rows.numbers("recorded") != 1)
    latest_machine, is_timed = _select_latest_machine(rows, is_coded_here)
    machine, is_timed_alone = _select_latest_machine(
        rows, is_coded_here & (rows.numbers("timing") == 1) & rows.shown
    )
    values: dict[str, Float64Array] = {}
    means_by_column = {name: means.average(rows.numbers(name), is_timed) for name in SECONDS}
    for name, seconds in zip(TIMED, SECONDS, strict=True):
        values[name] = np.where(is_timed_alone, rows.numbers(seconds) / (rows.pixels / 1e6), np.nan)
        means_by_column[name] = means.average(values[name], is_timed_alone)
    means_by_column[CONTAINER] = means.average(rows.numbers(CONTAINER), rows.ok)
    for name in COSTS:
        cost = _real_to_estimated(rows) if name == REAL_TO_ESTIMATED else rows.numbers(name)
        if not np.isnan(cost[rows.ok]).all():
            means_by_column[name] = means.average(cost, rows.ok)
    empty_metric = None  # values and means that all metrics without measurements share
    for name, protocol in protocols.items():
        if name == "coding":
            continue
        if not (is_empty := _is_empty_metric(rows.table, name)) or empty_metric is None:
            values[name], means_by_column[name] = means.average_metric(name, protocol)
            empty_metric = (values[name], means_by_column[name]) if is_empty else empty_metric
        else:
            values[name], means_by_column[name] = empty_metric
    points = list(
        zip(_make_points(means, means_by_column, values), rows.point_table["shown"], strict=True)
    )
    labels = labels_of(point.edition for point, _ in points)
    points.sort(key=lambda pair: _sort_key(pair[0], labels))
    images = rows.count_images(rows.ok)
    return Summary(
        points=tuple(point for point, is_shown in points if is_shown),
        images=images,
        dropped=images_before_common - images,
        pooled=pooled,
        protocols=dict(protocols),
        machine=machine,
        seconds_machine=latest_machine if is_timed.sum() < is_coded_here.sum() else "",
        absent=rows.absent,
        replaced=tuple(point for point, is_shown in points if not is_shown),
    )


def _sort_key(point: Point, labels: Mapping[Edition, str]) -> tuple[Any, ...]:
    codec, label = point.edition.spec.name, labels[point.edition]
    rank = [*CODECS, codec].index(codec)
    return rank, label, point.bpp is None, point.bpp or 0.0, point.setting


def _real_to_estimated(rows: ComparableRows) -> Float64Array:
    estimated_bits = rows.numbers("estimated_bits")
    return np.asarray(8 * rows.bytes / np.where(estimated_bits > 0, estimated_bits, np.nan))


def _select_latest_machine(rows: ComparableRows, mask: BoolArray) -> tuple[str, BoolArray]:
    if not mask.any():
        return "", mask
    latest_row = rows.index[mask][rows.recency[mask].argmax()]
    machine = rows.table["machine"][int(latest_row)]
    same_machine = rows.table["machine"].eq_missing(machine).to_numpy()[rows.index]
    return str(machine), mask & same_machine


def _is_empty_metric(table: pl.DataFrame, column: str) -> bool:
    value, _, reason = metric_columns(column)
    columns = [table[name] for name in (value, reason) if name in table.columns]
    return all(values.null_count() == len(values) for values in columns)


class _Means:
    def __init__(self, rows: ComparableRows, pooled: bool, common: bool) -> None:
        self.rows, self._pooled, self._common = rows, pooled, common
        self._bytes, self.bpp = rows.bytes, rows.bpp

    def rates(self, mask: BoolArray | slice) -> Float64Array:
        """Return the bits per pixel of each point over the marked rows; NaN if it has none.

        This is the mean of per-image bpp (the usual table) or, if pooled, all bits over all pixels
        (benchmark_xl's convention), so that large images weigh more.
        """
        rows, point_numbers = self.rows, self.rows.point[mask]
        with np.errstate(invalid="ignore"):
            if self._pooled:
                quantities = self._bytes[mask], rows.pixels[mask]
                sums = (
                    np.bincount(point_numbers, quantity, rows.num_points) for quantity in quantities
                )
                return bits_per_pixel(*sums)
            bpp_sums = np.bincount(point_numbers, self.bpp[mask], rows.num_points)
            counts = np.bincount(point_numbers, minlength=rows.num_points)
            return np.asarray(bpp_sums / counts)

    def average(self, values: Float64Array, has_value: BoolArray) -> list[Mean]:
        """Return each point's mean over rows that `has_value` marks; arrays of shape (rows,)."""
        rows = self.rows
        has_value = has_value & ~np.isnan(values)
        if not has_value.any():
            return [Mean(None, None, 0, 0, 0, ())] * rows.num_points
        has_value = rows.restrict_to_common(has_value) if self._common else has_value
        is_finite = has_value & np.isfinite(values)
        infinite_counts = np.bincount(
            rows.point[has_value & ~is_finite], minlength=rows.num_points
        ).tolist()
        averaged_rows = slice(None) if is_finite.all() else is_finite  # a slice copies no rows
        point_numbers = rows.point[averaged_rows]
        counts = np.bincount(point_numbers, minlength=rows.num_points).tolist()
        sums = np.bincount(point_numbers, values[averaged_rows], rows.num_points).tolist()
        rates, images = self.rates(averaged_rows).tolist(), rows.count_images(has_value)
        return [
            Mean(
                total / count if count else None,
                rate if count else None,
                count,
                infinite_count,
                images - count - infinite_count,
                (),
            )
            for total, rate, count, infinite_count in zip(
                sums, rates, counts, infinite_counts, strict=True
            )
        ]

    def average_metric(self, column: str, protocol: str) -> tuple[Float64Array, list[Mean]]:
        """Return a metric's values under a protocol (per row, NaN if missing) and its means."""
        rows = self.rows
        value_column, protocol_column, reason_column = metric_columns(column)
        values = np.where(rows.ok, rows.numbers(value_column), np.nan)
        has_other_protocol = ~np.isnan(values) & ~rows.mark_equal(protocol_column, protocol)
        values = np.where(has_other_protocol, np.nan, values)
        is_missing = rows.ok & np.isnan(values)
        texts = pl.lit("not computed")
        if is_missing.any() and reason_column in rows.table.columns:
            reasons = rows.select(reason_column, mask=is_missing).to_series()
            other_protocol_reason = pl.lit(f"measured under a protocol other than {protocol}")
            reason = pl.coalesce(pl.lit(reasons.replace("", None)), texts)
            texts = (
                pl.when(pl.lit(pl.Series(has_other_protocol[is_missing])))
                .then(other_protocol_reason)
                .otherwise(reason)
            )
        tallies = self.count_texts(is_missing, texts)
        means = self.average(values, rows.ok)
        return values, [mean._replace(reasons=tallies.get(i, ())) for i, mean in enumerate(means)]

    def count_texts(self, mask: BoolArray, texts: pl.Expr) -> Tallies:
        """Count texts, one per marked row, by point index."""
        if not mask.any():
            return {}
        counts = pl.DataFrame({"point": self.rows.point[mask]}).with_columns(text=texts)
        counts = counts.group_by("point", "text").len()
        counts = counts.sort("point", "len", "text", descending=[False, True, False])
        tallies: Tallies = {}
        frequent_counts = counts.group_by("point", maintain_order=True).head(MAX_REASONS)
        for point, text, count in frequent_counts.rows():
            tallies[point] = (*tallies.get(point, ()), (text, count))
        return tallies

    def count_failures(self) -> Tallies:
        is_failed = self.rows.failed
        failed_rows = self.rows.select("stage", "reason", mask=is_failed)
        texts = failed_rows.select(pl.concat_str(pl.all().fill_null("None"), separator=": "))
        return self.count_texts(is_failed, pl.lit(texts.to_series()))


def _make_points(
    means: _Means, means_by_column: Mapping[str, list[Mean]], values: Mapping[str, Float64Array]
) -> list[Point]:
    rows = means.rows
    failed_counts = np.bincount(rows.point[rows.failed], minlength=rows.num_points).tolist()
    ok = slice(None) if rows.ok.all() else rows.ok  # a slice copies no rows
    image_ids, bpp, pixels = rows.image[ok], means.bpp[ok], rows.pixels[ok]
    values_by_column = {name: image_values[ok] for name, image_values in values.items()}
    bounds = np.searchsorted(rows.point[ok], np.arange(rows.num_points + 1)).tolist()
    rates, failures = means.rates(ok).tolist(), means.count_failures()
    editions = _describe_editions(rows)
    point_keys = rows.point_table.select("edition", "setting_name", "setting_value").rows()
    num_images = rows.count_images(rows.ok)
    return [
        Point(
            edition=editions[edition],
            setting=Setting(name, value),
            bpp=rates[i] if end > start else None,
            images=end - start,
            missing=num_images - (end - start),
            failed=failed_counts[i],
            failures=failures.get(i, ()),
            means={name: column_means[i] for name, column_means in means_by_column.items()},
            image_ids=image_ids[start:end],
            image_bpp=bpp[start:end],
            image_values={
                name: image_values[start:end] for name, image_values in values_by_column.items()
            },
            image_pixels=pixels[start:end],
        )
        for i, ((edition, name, value), (start, end)) in enumerate(
            zip(point_keys, pairwise(bounds), strict=True)
        )
    ]


LATEST_COLUMNS = ("codec_version", "command", "timed", "run", "fingerprint",
             "revision", "chroma", "tuned_for")  # fmt: skip
TEXT_COLUMNS = {"caveats": "caveat", "origins": "bytes_origin", "devices": "device",
         "versions": "codec_version"}  # fmt: skip


def _describe_editions(rows: ComparableRows) -> dict[int, Edition]:
    """Describe each edition by its latest row, and by TEXT_COLUMNS of all its rows."""
    is_random = pl.lit(False)
    if "reason" in rows.table.columns:
        is_random = (
            col("reason").cast(pl.String).str.starts_with(NOT_DETERMINISTIC).fill_null(False)
        )
    facts = rows.table.select(*TEXT_COLUMNS.values(), "recorded", random=is_random)[rows.index]
    facts = facts.with_columns(edition=pl.Series(rows.edition, dtype=pl.Int64)).unique()
    facts = facts.cast({pl.Categorical: pl.String})
    texts = {
        name: col(column).filter(col(column).fill_null("") != "").unique().sort()
        for name, column in TEXT_COLUMNS.items()
    }
    edition_texts = facts.group_by("edition").agg(
        **texts,
        is_recorded=col("recorded").fill_null(False).any(),
        is_random=col("random").any(),
    )
    texts_by_edition = {row["edition"]: row for row in edition_texts.rows(named=True)}
    is_latest = np.zeros(len(rows.index), np.bool_)
    is_latest[_find_latest_rows(rows)] = True
    latest_rows = rows.select(*LATEST_COLUMNS, mask=is_latest)
    editions_table = rows.point_table.unique("edition").sort("edition")
    specs, editions = rows.specs(), {}
    edition_keys = editions_table.select("edition", "bundled").rows(named=True)
    for latest_row, key in zip(latest_rows.rows(named=True), edition_keys, strict=True):
        latest_texts = {name: latest_row[name] or "" for name in LATEST_COLUMNS}
        edition_number, edition_row = key["edition"], texts_by_edition[key["edition"]]
        derived_caveats = ["bytes=declared"] if "declared" in edition_row["origins"] else []
        derived_caveats += [NOT_DETERMINISTIC] if edition_row["is_random"] else []
        spec = specs[edition_number]
        declared_facts = facts_of(spec)
        editions[edition_number] = Edition(
            spec,
            build=(latest_texts["fingerprint"], latest_row["revision"] or 0),
            origin="bundled" if key["bundled"] else "here",
            facts=declared_facts,
            run_facts=RunFacts(
                version=" and ".join(
                    dict.fromkeys((latest_texts["codec_version"], *edition_row["versions"]))
                ),
                command=latest_texts["command"],
                timed=latest_texts["timed"],
                devices=tuple(edition_row["devices"]),
                caveats=(*dict.fromkeys((*edition_row["caveats"], *derived_caveats)),),
                recorded=edition_row["is_recorded"],
                chroma=latest_texts["chroma"] or declared_facts.chroma,
                tuned_for=latest_texts["tuned_for"] or declared_facts.tuned_for,
                run=latest_texts["run"],
            ),
        )
    return editions


def _find_latest_rows(rows: ComparableRows) -> Int64Array:
    """Return the index of each edition's latest successful row, or else of its latest row."""
    order = np.lexsort([rows.recency, rows.ok, rows.edition])
    is_last = np.diff(rows.edition[order], append=-1) != 0
    return np.asarray(order[is_last], np.int64)
