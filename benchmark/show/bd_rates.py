"""BD-rates as tables: overview, details, flat records, the ranking; a sentence on one codec."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmark.answer import NOTHING, Column, seconds_text
from benchmark.compare.anchor import headlined
from benchmark.compare.bd import Comparison, Ranking
from benchmark.compare.curves import Delta
from benchmark.compare.interval import CONFIDENCE, Interval
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import Metric, remedies
from benchmark.registry import METRICS, metric_class
from benchmark.rows.edition import Edition, marked_bundled
from benchmark.show.sections import listed, metric_names
from benchmark.show.table import DOUBTFUL, Table, records
from benchmark.system.text import counted, range_text

PERCENT = f"{100 * CONFIDENCE:.0f} %"
NO_METRIC = "no metric that ranks codecs was measured"
LONGEST_LIST = 6  # labels in one note


def short_name(metric: Metric, among: Sequence[Metric] = ()) -> str:
    """Return a metric's label without what is in brackets, unless that tells it from others.

    >>> alex, squeeze = (Metric(n, f"LPIPS ({n})", "lower") for n in ("AlexNet", "SqueezeNet"))
    >>> short_name(alex), short_name(alex, [alex, squeeze])
    ('LPIPS', 'LPIPS (AlexNet)')
    """
    name = metric.label.partition(" (")[0]
    same = [of for of in among if of != metric and of.label.partition(" (")[0] == name]
    return metric.label.partition(" (dB)")[0] if same else name


def bd_columns(metrics: Sequence[Metric], rule: Rule) -> tuple[Column, ...]:
    """Return the columns of comparisons: of the table of details, and of csv at full precision.

    The remark is the reason why there is no number, or which points are off the Pareto front.
    """
    of_column = {metric.column: metric for metric in metrics}

    def quality(c: Comparison) -> str | None:
        if c.quality.value is None:
            return None
        unit = " %" if of_column[c.column].scale == "decades" else ""
        return f"{delta_text(c.quality, '+z.4g')}{unit}"

    def count(c: Comparison) -> str | None:
        if c.images is None:
            return None
        refused = c.images_refused or 0
        return f"{c.images} of {c.images + refused}" if refused else str(c.images)

    return (
        Column("metric", lambda c: of_column[c.column].axis_label),
        Column("", "column", key="metric"),
        Column("codec", "label", key="codec"),
        Column("", "anchor", key="anchor"),
        Column("", lambda c: rule.up_to_bpp, key="up_to_bpp"),
        Column("", lambda c: rule.bd, key="bd"),
        Column("remark", _remark),
        Column("BD-rate (%)", "rate", delta_text),
        Column("", "rate.value", key="bd_rate_percent"),
        Column(f"{PERCENT} interval", "rate_interval", ends_text),
        Column("", "rate_interval.low", key="bd_rate_low_percent"),
        Column("", "rate_interval.high", key="bd_rate_high_percent"),
        Column("", "rate.overlap", key="bd_rate_overlap"),
        Column("mean of images' (%)", "images_rate", "+z.2f", "images_bd_rate_percent"),
        Column(f"{PERCENT} interval", "images_interval", ends_text),
        Column("", "images_interval.low", key="images_bd_rate_low_percent"),
        Column("", "images_interval.high", key="images_bd_rate_high_percent"),
        Column("median", "images_median", "+z.2f", "images_bd_rate_median_percent"),
        Column("quartiles", "images_quartiles", ends_text),
        Column("", "images_quartiles.0", key="images_bd_rate_lower_quartile_percent"),
        Column("", "images_quartiles.1", key="images_bd_rate_upper_quartile_percent"),
        Column("images", count, str),
        Column("", "images", key="images_bd_rate_images"),
        Column("", "images_refused", key="images_bd_rate_refused"),
        Column("BD-metric", quality, str),
        Column("", "quality.value", key="bd_metric"),
        Column("", "quality.overlap", key="bd_metric_overlap"),
        Column("overlap (%)", "rate.overlap", lambda share: f"{100 * share:.0f}"),
        Column("", "few", key="few"),
        Column("", lambda c: "; ".join(c.left_out), key="points_left_out"),
        Column("", "rate.why", key="reason"),
    )


def doubt_note(rule: Rule) -> str:
    """Return the note on the mark of doubtful BD-rates, by the reasons that a rule has for it."""
    return (
        f"{DOUBTFUL} The curves share less than half of the range that both span"
        f"{_overshoot_words(rule, 'BD-rate ')}."
    )


def _overshoot_words(rule: Rule, of: str = "") -> str:
    return f", or PCHIP's {of}is 10 % of the bits away" if rule.bd == "akima" else ""


def doubt_notes(rates: Iterable[Delta], rule: Rule) -> list[str]:
    """Return the note on doubtful BD-rates, if one of these is doubtful."""
    return [doubt_note(rule)] if any(rate.doubtful for rate in rates) else []


def bd_table(
    comparisons: Sequence[Comparison], metrics: Sequence[Metric], anchor: str, rule: Rule
) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric."""
    doubtful = any(c.rate.doubtful or c.quality.doubtful for c in comparisons)
    what = f"less than half (of a BD-metric: of the rates){_overshoot_words(rule)}"
    sign = f" {DOUBTFUL}: {what}." if doubtful else ""
    note = (
        f"Anchor: {anchor}{rule.words}. Overlap: what the curves share of the qualities that they "
        f"span.{sign} Remarks: why there is no number, or points left out because another of no "
        "higher rate is better, by so much."
    )
    return Table.of(bd_columns(metrics, rule), comparisons, [note])


def bd_records(comparisons: Sequence[Comparison], rule: Rule) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    return records(bd_columns((), rule), comparisons)


def _remark(comparison: Comparison) -> str:
    rate = comparison.rate
    if rate.value is None:
        return f"{rate.why} (--any-overlap gives a number)" if rate.overlap else rate.why
    remarks = []
    if comparison.left_out:
        remarks.append(f"without {', '.join(comparison.left_out)}")
    if comparison.few:
        remarks.append("over few images")
    if comparison.crossing is not None:
        remarks.append(f"the curves cross at {comparison.crossing:.4g}")
    if comparison.quality.value is None:
        remarks.append(f"no BD-metric: {comparison.quality.why}, of rates")
    return "; ".join(remarks)


def ends_text(interval: Interval | tuple[float, float] | None) -> str:
    """Format the ends of an interval; empty for none."""
    return f"[{interval[0]:+z.1f}, {interval[1]:+z.1f}]" if interval else ""


def delta_text(delta: Delta, form: str = "+z.2f") -> str:
    """Return a delta with its marks.

    >>> delta_text(Delta(3.21, 0.4)), delta_text(Delta(why="no curve"))
    ('+3.21†', '–')
    """
    if delta.value is None:
        return NOTHING
    return f"{delta.value:{form}}{delta_marks(delta)}"


def delta_marks(delta: Delta) -> str:
    """Return the mark of a doubtful delta; empty for others."""
    return DOUBTFUL * delta.doubtful


def ranking_table(
    ranking: Ranking,
    intervals: bool = False,
    names: Mapping[Edition, str] | None = None,
    marks: bool = False,
) -> Table:
    """Return a row for each codec, best first; columns that would be empty are left out.

    intervals: with the 95 % interval of each BD-rate. names: of figures, to put first.
    marks: mark the labels of bundled codecs, as names do.
    """
    several = len({of["images"] for of in ranking.records}) > 1
    bundled = ranking.bundled if marks else frozenset()
    columns = [Column("codec", lambda of: marked_bundled(of["codec"], of["edition"] in bundled))]
    if names:
        columns = [Column("codec", lambda of: names[of["edition"]]), Column("spec", "codec")]
    columns += [
        Column(short_name(of, ranking.metrics), partial(_rank_cell, ranking, of, intervals), str)
        for of in ranking.metrics
    ]
    columns += [
        Column("bpp", _rates_text, str),
        Column("encode", "encode_seconds", seconds_text),
        Column("decode", "decode_seconds", seconds_text),
        Column("images", lambda of: of["images"] if several else None, "d"),
    ]
    both = zip(ranking.records, ranking.editions, strict=True)
    table = Table.of(columns, [{**record, "edition": of} for record, of in both]).filled()
    doubtful = any(DOUBTFUL in cell for row in table.rows for cell in row)
    notes = [doubt_note(ranking.rule)] if doubtful else []
    notes += filter(None, (absent_note(ranking, *absent) for absent in ranking.absent))
    return table._replace(notes=tuple(notes))


def absent_note(ranking: Ranking, metric: Metric, why: str) -> str:
    """Return the sentence on a metric that some codec has no value of, with what fills it in."""
    names = [name for name in METRICS if metric_class(name).column == metric.column]
    whose = " of some codecs" if metric in ranking.metrics else ""
    return f"No {metric.label}{whose}: {remedies(names, why, ranking.again)}." if names else ""


def ranking_heading(ranking: Ranking, names: Mapping[Edition, str]) -> str:
    """Return the line above the table, on what its numbers are. names: of figures."""
    if not ranking.metrics or ranking.anchor is None:
        return NO_METRIC
    anchor, most = names[ranking.anchor], max(ranking.images)
    metrics = listed(
        [
            metric_names([of]) + (f" ({counted(images, 'image')})" if images < most else "")
            for of, images in zip(ranking.metrics, ranking.images, strict=True)
        ]
    )
    anchor = f"{anchor} ({ranking.why})" if ranking.why else anchor
    return f"BD-rate (%) against {anchor} in {metrics}{ranking.rule.words}, best first"


def headline(
    ranking: Ranking, images: int, names: Mapping[Edition, str], named: Sequence[str] = ()
) -> str:
    """Return the sentence that a report begins with: the user's codec beside the anchor.

    Of several variants it is the best by each metric. names: of figures. named: codecs
    that were asked for.

    >>> headline(Ranking(None, (), ()), 4, {})
    'There is no codec to compare with on 4 images.'
    """
    where, counts = f"on {counted(images, 'image')}", {*ranking.images}
    editions = headlined(ranking.editions, ranking.anchor, named)
    if not editions or ranking.anchor is None:
        alone = "There is no codec"
        if ranking.anchor:
            alone = f"{names[ranking.anchor]} has no other codec"
        return f"{alone} to compare with {where}."
    anchor, parts, subject = names[ranking.anchor], list[str](), None
    for place, metric in enumerate(ranking.metrics):
        if metric in ranking.asked and len(ranking.metrics) > len(ranking.asked):
            continue
        rates = {of: ranking.comparisons[of, metric.column].rate for of in editions}
        known = [of for of in editions if rates[of].value is not None]
        if known:
            best = min(known, key=lambda of: rates[of].number)
            rate, value = rates[best], rates[best].number
            who = f"{names[best]} needs " if best != subject else ""
            than = "" if parts else f" than {anchor}"
            share = (
                f" (the {100 * (rate.overlap or 0):.0f} % that both reach)" if rate.doubtful else ""
            )
            bits = _more_or_fewer(value, than)
            over = f" on {counted(ranking.images[place], 'image')}" if len(counts) > 1 else ""
            parts.append(f"{who}{bits} at equal {metric_names([metric])}{share}{over}")
            subject = best
    if parts:
        where = f" on {counted(ranking.images[0], 'image')}" if len(counts) == 1 else ""
        return f"{listed(parts)}{where}{ranking.rule.words}."
    of_first = (ranking.comparisons[editions[0], metric.column] for metric in ranking.metrics)
    reasons = [each.rate.why for each in of_first if each.rate.value is None]
    why = f": {next(iter(reasons), NO_METRIC)}"
    return f"{names[editions[0]]} cannot be compared with {anchor} {where}{why}."


def _more_or_fewer(percent: float, than: str) -> str:
    """Return a difference of bits in words.

    >>> _more_or_fewer(12.4, " than VTM"), _more_or_fewer(-0.2, " than VTM")
    ('12 % more bits than VTM', 'as many bits as VTM (-0.2 %)')
    """
    if abs(percent) < 0.5:
        return f"as many bits{than.replace(' than', ' as')} ({percent:+z.1f} %)"
    return f"{abs(percent):.0f} % {'more' if percent > 0 else 'fewer'} bits{than}"


def _rates_text(record: Mapping[str, Any]) -> str | None:
    low, high = record["lowest_bpp"], record["highest_bpp"]
    return None if low is None else range_text(low, high)


def _rank_cell(
    ranking: Ranking, metric: Metric, intervals: bool, record: Mapping[str, Any]
) -> str | None:
    """Return a BD-rate; without intervals digits stay below each other, whatever has a mark."""
    mine = ranking.comparisons[record["edition"], metric.column]
    if mine.rate.value is None:
        return None
    text = f"{mine.rate.value:+z.1f}" if mine.rate.value else "0"
    if intervals:
        text = f"{text} {ends_text(mine.rate_interval)}".rstrip()
    elif not mine.rate.doubtful:
        of_metric = (of for (_, name), of in ranking.comparisons.items() if name == metric.column)
        return f"{text} " if any(of.rate.doubtful for of in of_metric) else text
    return f"{text}{delta_marks(mine.rate)}"
