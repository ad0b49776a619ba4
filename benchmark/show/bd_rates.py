"""BD-rates as tables and a ranking; a sentence that compares one codec with the anchor."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmark.answer import Column, seconds_text
from benchmark.compare.anchor import headline_candidates
from benchmark.compare.bd import Ranking, Record
from benchmark.compare.interval import CONFIDENCE
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import Metric, remedies
from benchmark.registry import METRICS, metric_class
from benchmark.rows.edition import Edition, mark_bundled
from benchmark.show.sections import listed, metric_names
from benchmark.show.table import DOUBT_MARK, Table
from benchmark.system.text import counted, range_text

PERCENT = f"{100 * CONFIDENCE:.0f} %"
NO_METRIC = "no metric that ranks codecs was measured"
MAX_LABELS = 6  # labels in one note


def short_name(metric: Metric, metrics: Sequence[Metric] = ()) -> str:
    """Return a metric's title without its variant, unless another of `metrics` has the same one.

    >>> alex, squeeze = map(Metric.named, ("lpips", "lpips_squeeze"))
    >>> short_name(alex), short_name(alex, [alex, squeeze])
    ('LPIPS', 'LPIPS (AlexNet)')
    """
    name = metric.short_title or metric.title
    names = [other.short_title or other.title for other in metrics if other != metric]
    return metric.title if name in names else name


def bd_columns(metrics: Sequence[Metric]) -> tuple[Column, ...]:
    """Return the columns of a table of comparisons in some metrics."""
    metrics_by_column = {metric.column: metric for metric in metrics}

    def change_text(record: Record) -> str | None:
        text = number_text(record, "bd_metric", "+z.4g")
        return (
            f"{text} %" if text and metrics_by_column[record["metric"]].scale == "decades" else text
        )

    def images_text(record: Record) -> str | None:
        images, num_refused = record["images_bd_rate_images"], record["images_bd_rate_refused"]
        return f"{images} of {images + num_refused}" if num_refused else images and str(images)

    quartiles = "images_bd_rate_lower_quartile_percent", "images_bd_rate_upper_quartile_percent"
    return (
        Column("metric", lambda record: metrics_by_column[record["metric"]].axis_label),
        Column("codec"),
        Column("remark", _remark),
        Column("BD-rate (%)", number_text, str),
        Column(f"{PERCENT} interval", interval_text, str),
        Column("mean of images' (%)", "images_bd_rate_percent", "+z.2f"),
        Column(f"{PERCENT} interval", partial(interval_text, kind="images_"), str),
        Column("median", "images_bd_rate_median_percent", "+z.2f"),
        Column("quartiles", lambda record: ends_text(*map(record.get, quartiles)), str),
        Column("images", images_text, str),
        Column("BD-metric", change_text, str),
        Column("overlap (%)", "bd_rate_overlap", lambda share: f"{100 * share:.0f}"),
    )


def doubt_note(rule: Rule) -> str:
    """Return the note that explains the mark of doubtful BD-rates."""
    overshoot = ", or PCHIP's BD-rate differs by 10 % of the bits" if rule.bd == "akima" else ""
    return f"{DOUBT_MARK} The curves share less than half of their joint range{overshoot}."


def doubt_notes(doubt_flags: Iterable[bool], rule: Rule) -> list[str]:
    """Return a note on doubtful BD-rates, if there are any."""
    return [doubt_note(rule)] if any(doubt_flags) else []


def bd_table(
    records: Sequence[Record], metrics: Sequence[Metric], anchor: str, rule: Rule
) -> Table:
    """Return a row per metric and codec: BD-rates of mean curves and of images, BD-metric."""
    doubt_clause = ""
    if any(record["doubtful"] or record["bd_metric_doubtful"] for record in records):
        overshoot = ", or PCHIP's BD-rate differs by 10 % of the bits" if rule.bd == "akima" else ""
        doubt_clause = f" {DOUBT_MARK}: overlap below half (BD-metric: in rate){overshoot}."
    note = (
        f"Anchor: {anchor}{rule.words}. Overlap: share of the joint quality range that both reach."
        f"{doubt_clause} Remarks: why a number is missing, or dominated points and their distances."
    )
    return Table.create(bd_columns(metrics), records, [note])


def _remark(record: Record) -> str:
    if record["bd_rate_percent"] is None:
        hint = " (--any-overlap gives a number)" if record["bd_rate_overlap"] else ""
        return f"{record['reason']}{hint}"
    remarks = []
    if record["points_left_out"]:
        remarks.append(f"without {record['points_left_out'].replace('; ', ', ')}")
    if record["few"]:
        remarks.append("over few images")
    if record["crossing"] is not None:
        remarks.append(f"the curves cross at {record['crossing']:.4g}")
    if record["bd_metric"] is None:
        remarks.append(f"no BD-metric: {record['bd_metric_reason']} (rates)")
    return "; ".join(remarks)


def ends_text(low: float | None, high: float | None) -> str | None:
    """Format the ends of an interval."""
    return None if low is None or high is None else f"[{low:+z.1f}, {high:+z.1f}]"


def interval_text(record: Record, kind: str = "") -> str | None:
    """Format a BD-rate's interval; None without interval. kind: "" or "images_"."""
    return ends_text(*(record[f"{kind}bd_rate_{end}_percent"] for end in ("low", "high")))


def number_text(record: Record, name: str = "bd_rate_percent", form: str = "+z.2f") -> str | None:
    """Format a BD-rate or BD-metric, marked if doubtful; None without a number."""
    value = record[name]
    return None if value is None else f"{value:{form}}{doubt_mark(record, name)}"


def doubt_mark(record: Record, name: str = "bd_rate_percent") -> str:
    """Return the mark of a doubtful BD-rate or BD-metric; "" if it is not doubtful."""
    is_doubtful = record["bd_metric_doubtful" if name == "bd_metric" else "doubtful"]
    return DOUBT_MARK if is_doubtful else ""


def ranking_table(
    ranking: Ranking,
    intervals: bool = False,
    names: Mapping[Edition, str] | None = None,
    marks: bool = False,
) -> Table:
    """Return a table of codecs, best first, without empty columns; marks: of bundled codecs."""
    counts_differ = len({record["images"] for record in ranking.records.values()}) > 1
    marks = marks and not all(edition.bundled for edition in ranking.records)
    columns = [
        Column(
            "codec",
            lambda record: mark_bundled(record["codec"], marks and record["edition"].bundled),
        )
    ]
    if names:
        columns = [
            Column("codec", lambda record: names[record["edition"]]),
            Column("spec", "codec"),
        ]
    columns += [
        Column(
            short_name(metric, ranking.metrics),
            partial(_rank_cell, ranking, metric, intervals),
            str,
        )
        for metric in ranking.metrics
    ]
    columns += [
        Column("bpp", _rate_span, str),
        Column("mean encode", "encode_seconds", seconds_text),
        Column("mean decode", "decode_seconds", seconds_text),
        Column("images", lambda record: record["images"] if counts_differ else None, "d"),
    ]
    rows = [{**record, "edition": edition} for edition, record in ranking.records.items()]
    table = Table.create(columns, rows).drop_empty_columns()
    has_doubtful = any(DOUBT_MARK in cell for row in table.rows for cell in row)
    notes = [doubt_note(ranking.rule)] if has_doubtful else []
    notes += filter(None, (absent_note(ranking, *absent) for absent in ranking.absent))
    return table._replace(notes=tuple(notes))


def absent_note(ranking: Ranking, metric: Metric, reason: str) -> str:
    """Return a sentence on a metric without values for some codec, with the remedy."""
    names = [name for name in METRICS if metric_class(name).column == metric.column]
    scope = " for some codecs" if metric in ranking.metrics else ""
    return (
        f"No {metric.label}{scope}: {remedies(names, reason, ranking.rescore_command)}."
        if names
        else ""
    )


def ranking_heading(ranking: Ranking, names: Mapping[Edition, str]) -> str:
    """Return the line above a ranking, which describes its numbers."""
    if not ranking.metrics or ranking.anchor is None:
        return NO_METRIC
    anchor, max_images = names[ranking.anchor], max(ranking.image_counts)
    metrics = listed(
        [
            metric_names([metric])
            + (f" ({counted(images, 'image')})" if images < max_images else "")
            for metric, images in zip(ranking.metrics, ranking.image_counts, strict=True)
        ]
    )
    anchor = f"{anchor} ({ranking.anchor_reason})" if ranking.anchor_reason else anchor
    return f"BD-rate (%) against {anchor} in {metrics}{ranking.rule.words}, best first"


def headline(
    ranking: Ranking,
    images: int,
    names: Mapping[Edition, str],
    requested_codecs: Sequence[str] = (),
) -> str:
    """Return a report's first sentence: the user's codec compared with the anchor.

    Of several variants, the best in each metric is named. Without a user's codec, this is the best
    requested codec, with the next codec if their intervals overlap. names: names in figures.
    requested_codecs: values of `--codecs`.
    """
    scope, image_counts = f"on {counted(images, 'image')}", {*ranking.image_counts}
    editions = headline_candidates(ranking.records, ranking.anchor, requested_codecs)
    if not editions or ranking.anchor is None:
        beginning = "There is no codec"
        if ranking.anchor:
            beginning = f"{names[ranking.anchor]} has no other codec"
        return f"{beginning} to compare with {scope}."
    anchor, clauses, subject = names[ranking.anchor], list[str](), None
    for index, metric in enumerate(ranking.metrics):
        if metric in ranking.extra_metrics and len(ranking.metrics) > len(ranking.extra_metrics):
            continue
        records = {edition: ranking.comparisons[edition, metric.column] for edition in editions}
        rates = {edition: record["bd_rate_percent"] for edition, record in records.items()}
        if comparable_editions := [edition for edition in editions if rates[edition] is not None]:
            leader = min(comparable_editions, key=rates.__getitem__)
            value, record = rates[leader], records[leader]
            subject_text = f"{names[leader]} needs " if leader != subject else ""
            than_clause = "" if clauses else f" than {anchor}"
            overlap_clause = ""
            if record["doubtful"]:
                overlap_clause = f" (the {100 * record['bd_rate_overlap']:.0f} % that both reach)"
            difference = _bits_text(value, than_clause) + _runner_up(records, leader, names)
            image_clause = (
                f" on {counted(ranking.image_counts[index], 'image')}"
                if len(image_counts) > 1
                else ""
            )
            condition = f"at equal {metric_names([metric])}{overlap_clause}{image_clause}"
            clauses.append(f"{subject_text}{difference} {condition}")
            subject = leader
    if clauses:
        scope = f" on {counted(ranking.image_counts[0], 'image')}" if len(image_counts) == 1 else ""
        return f"{listed(clauses)}{scope}{ranking.rule.words}."
    first_records = [ranking.comparisons[editions[0], metric.column] for metric in ranking.metrics]
    reasons = [record["reason"] for record in first_records if record["bd_rate_percent"] is None]
    reason_text = f": {next(iter(reasons), NO_METRIC)}"
    return f"{names[editions[0]]} cannot be compared with {anchor} {scope}{reason_text}."


def _runner_up(
    records: Mapping[Edition, Record], leader: Edition, names: Mapping[Edition, str]
) -> str:
    """Return the next codec in brackets, if it may be as good; "" if the user's codec leads."""

    def rate(edition: Edition) -> float:
        return float(records[edition]["bd_rate_percent"])

    candidates = [
        edition
        for edition, record in records.items()
        if edition.family != leader.family and record["bd_rate_low_percent"] is not None
    ]
    runner_up = min(candidates, key=rate, default=None)
    leader_high = records[leader]["bd_rate_high_percent"]
    if leader.is_from_user or runner_up is None or leader_high is None:
        return ""
    if records[runner_up]["bd_rate_low_percent"] > leader_high:
        return ""
    return f" ({names[runner_up]}: {rate(runner_up):+z.0f} %, intervals overlap)"


def _bits_text(percent: float, than_clause: str) -> str:
    """Describe a difference of bits.

    >>> _bits_text(12.4, " than VTM"), _bits_text(-0.2, " than VTM")
    ('12 % more bits than VTM', 'as many bits as VTM (-0.2 %)')
    """
    if abs(percent) < 0.5:
        return f"as many bits{than_clause.replace(' than', ' as')} ({percent:+z.1f} %)"
    return f"{abs(percent):.0f} % {'more' if percent > 0 else 'fewer'} bits{than_clause}"


def _rate_span(record: Mapping[str, Any]) -> str | None:
    low, high = record["lowest_bpp"], record["highest_bpp"]
    return None if low is None else range_text(low, high)


def _rank_cell(
    ranking: Ranking, metric: Metric, intervals: bool, record: Mapping[str, Any]
) -> str | None:
    """Format a BD-rate; without intervals, digits are aligned with those of marked values."""
    comparison = ranking.comparisons[record["edition"], metric.column]
    value = comparison["bd_rate_percent"]
    if value is None:
        return None
    text = f"{value:+z.1f}" if value else "0"
    if intervals:
        text = f"{text} {interval_text(comparison) or ''}".rstrip()
    elif not comparison["doubtful"]:
        metric_records = (
            entry for entry in ranking.comparisons.values() if entry["metric"] == metric.column
        )
        return f"{text} " if any(entry["doubtful"] for entry in metric_records) else text
    return f"{text}{doubt_mark(comparison)}"
