"""Tables of BD-rates: an overview, all details, those of a figure; flat records."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmark.compare.bd import Comparison, ImagesDelta, compare
from benchmark.compare.curves import Delta, NoDelta, bd_rate
from benchmark.compare.interval import CONFIDENCE, Interval
from benchmark.compare.panel import Panel
from benchmark.metrics.measure import Measure
from benchmark.rows.summary import Summary
from benchmark.show.means import chosen_notes
from benchmark.show.sections import grouped, listed
from benchmark.show.table import DOUBTFUL, NOTHING, Column, Table, records
from benchmark.system.text import listed as counted_list

PERCENT = f"{100 * CONFIDENCE:.0f} %"
LONGEST_LIST = 6  # labels in one note
THREE_POINTS = " (3 points)"  # after a BD-rate by PCHIP, of a curve that has no more
DOUBTFUL_NOTE = f"{DOUBTFUL} The curves share less than half of the range that both span."


def short_name(measure: Measure, among: Sequence[Measure] = ()) -> str:
    """Return a metric's label without what is in brackets, unless that tells it from others.

    >>> alex, squeeze = (Measure(n, f"LPIPS ({n})", "lower") for n in ("AlexNet", "SqueezeNet"))
    >>> short_name(alex), short_name(alex, [alex, squeeze])
    ('LPIPS', 'LPIPS (AlexNet)')
    """
    name = measure.label.partition(" (")[0]
    same = [of for of in among if of != measure and of.label.partition(" (")[0] == name]
    return measure.label.partition(" (dB)")[0] if same else name


def range_text(low: float, high: float, form: str = ".2f") -> str:
    """Format a range of rates.

    >>> range_text(0.1, 1.25), range_text(0.5, 0.5)
    ('0.10 to 1.25', '0.50')
    """
    return f"{low:{form}} to {high:{form}}" if high > low else f"{low:{form}}"


def bd_overview(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return a row for each codec: BD-rates of the mean curves with intervals, by metric.

    Metrics in which no codec has a BD-rate are left out.
    """
    known = {(c.label, c.column): c for c in comparisons if isinstance(c.rate, Delta)}
    shown = [m for m in measures if any(column == m.column for _, column in known)]

    def cell(column: str, label: str) -> str | None:
        if (c := known.get((label, column))) is None:
            return None
        return f"{delta_text(c.rate)} {ends_text(c.rate_interval)}".rstrip()

    labels = list(dict.fromkeys(comparison.label for comparison in comparisons))
    columns = [Column("codec", str)]
    columns += [Column(m.axis_label, partial(cell, m.column), str) for m in shown]
    cut = "" if up_to_bpp is None else f", curves up to {up_to_bpp:g} bpp"
    notes = [
        f"BD-rate (%) against {anchor}{cut}; negative saves bits. In brackets {PERCENT} intervals "
        "over images."
    ]
    if any(getattr(comparison.rate, "doubtful", False) for comparison in known.values()):
        notes.append(DOUBTFUL_NOTE)
    notes += chosen_notes(labels)
    of_column = {measure.column: measure for measure in shown}
    cross = [
        f"{c.label} ({short_name(of_column[c.column])} {c.crossing:.4g})"
        for c in comparisons
        if c.crossing is not None
    ]
    if cross:
        notes.append(f"Ahead at some qualities, behind at others: {listed(cross)}.")
    return Table.of(columns, labels, notes)


def bd_columns(measures: Sequence[Measure], up_to_bpp: float | None = None) -> tuple[Column, ...]:
    """Return the columns of comparisons: of the table of details, and of csv at full precision.

    The remark is the reason why there is no number, or which points are off the Pareto front.
    """
    of_column = {measure.column: measure for measure in measures}

    def quality(c: Comparison) -> str | None:
        if isinstance(c.quality, NoDelta):
            return None
        unit = " %" if of_column[c.column].scale == "decades" else ""
        return f"{delta_text(c.quality, '+.4g')}{unit}"

    def count(of: ImagesDelta | NoDelta) -> str:
        if isinstance(of, NoDelta):
            return NOTHING
        return f"{of.images} of {of.images + of.refused}" if of.refused else str(of.images)

    return (
        Column("metric", lambda c: of_column[c.column].axis_label),
        Column("", "column", key="metric"),
        Column("codec", "label", key="codec"),
        Column("", "anchor", key="anchor"),
        Column("", lambda c: up_to_bpp, key="up_to_bpp"),
        Column("remark", _remark),
        Column("BD-rate (%)", "rate", delta_text),
        Column("", "rate.value", key="bd_rate_percent"),
        Column(f"{PERCENT} interval", "rate_interval", ends_text),
        Column("", "rate_interval.low", key="bd_rate_low_percent"),
        Column("", "rate_interval.high", key="bd_rate_high_percent"),
        Column("", "rate.overlap", key="bd_rate_overlap"),
        Column("mean of images' (%)", "images_rate.value", "+.2f", "images_bd_rate_percent"),
        Column(f"{PERCENT} interval", "images_rate.interval", ends_text),
        Column("", "images_rate.interval.low", key="images_bd_rate_low_percent"),
        Column("", "images_rate.interval.high", key="images_bd_rate_high_percent"),
        Column("median", "images_rate.median", "+.2f", "images_bd_rate_median_percent"),
        Column("quartiles", "images_rate.quartiles", ends_text),
        Column("", "images_rate.quartiles.0", key="images_bd_rate_lower_quartile_percent"),
        Column("", "images_rate.quartiles.1", key="images_bd_rate_upper_quartile_percent"),
        Column("images", "images_rate", count),
        Column("", "images_rate.images", key="images_bd_rate_images"),
        Column("", "images_rate.refused", key="images_bd_rate_refused"),
        Column("BD-metric", quality, str),
        Column("", "quality.value", key="bd_metric"),
        Column("", "quality.overlap", key="bd_metric_overlap"),
        Column("overlap (%)", "rate.overlap", lambda share: f"{100 * share:.0f}"),
        Column("", "rate.three_points", key="three_points"),
        Column("", "few", key="few"),
        Column("", lambda c: _off_front(c, "; "), key="points_left_out"),
        Column("", "rate.reason", key="reason"),
    )


def bd_table(comparisons: Sequence[Comparison], measures: Sequence[Measure], anchor: str) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric."""
    doubtful = any(getattr(c.rate, "doubtful", False) for c in comparisons)
    sign = f" {DOUBTFUL}: less than half." if doubtful else ""
    note = (
        f"Anchor: {anchor}. Overlap: what the curves share of the qualities that they span.{sign} "
        f"Remarks: why there is no number, or points left out because "
        "another of no higher rate is better, by so much."
    )
    labels = (comparison.label for comparison in comparisons)
    return Table.of(bd_columns(measures), comparisons, (note, *chosen_notes(labels)))


def bd_records(
    comparisons: Sequence[Comparison], up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    return records(bd_columns((), up_to_bpp), comparisons)


def _remark(comparison: Comparison) -> str:
    rate = comparison.rate
    if isinstance(rate, NoDelta):
        return f"{rate.reason} (--any-overlap gives a number)" if rate.overlap else rate.reason
    remarks = []
    if comparison.left_out:
        remarks.append(f"without {_off_front(comparison, ', ')}")
    if comparison.few:
        remarks.append("over few images")
    if comparison.crossing is not None:
        remarks.append(f"the curves cross at {comparison.crossing:.4g}")
    return "; ".join(remarks)


def _off_front(comparison: Comparison, separator: str) -> str:
    points = (f"{p.label} {p.setting} by {p.below:.3g}" for p in comparison.left_out)
    return separator.join(points)


def rate_table(panels: Sequence[Panel], anchor: str) -> Table:
    """Return a row for each curve of a figure: its points, rates, and BD-rates of what is plotted.

    anchor: label that they are against; without its curve there are none.
    """
    anchors = [panel.of_label(anchor) for panel in panels]
    rows: list[dict[str, Any]] = []
    doubtful: list[tuple[str, str]] = []
    for name in dict.fromkeys(curve.name for panel in panels for curve in panel.curves):
        mine = [next((c for c in panel.curves if c.name == name), None) for panel in panels]
        known = [curve for curve in mine if curve]
        bpp = [point.bpp for curve in known for point in curve.points]
        row: dict[str, Any] = {
            "system": known[0].system.name,
            "from": known[0].origin,
            "points": max(len(curve.points) for curve in known),
            "bpp": range_text(min(bpp), max(bpp), ".3f"),
        }
        for panel, curve, other in zip(panels, mine, anchors, strict=True):
            if other is None or curve is None:
                continue
            delta = bd_rate(other.rates(panel.measure), curve.rates(panel.measure))
            row[panel.measure.column] = delta
            if isinstance(delta, Delta) and delta.doubtful:
                share = f"{short_name(panel.measure)} {100 * delta.overlap:.0f} %"
                doubtful.append((known[0].system.name, share))
        rows.append(row)
    columns = [
        Column("system"),
        Column("from"),
        Column("points", form="d"),
        Column("bpp", form=str),
    ]
    every = [panel.measure for panel in panels]
    for panel in panels:
        name, column = f"BD-rate, {short_name(panel.measure, every)} (%)", panel.measure.column
        columns.append(Column(name, column, partial(delta_text, form="+.1f")))
    against = next((curve.system.name for curve in anchors if curve), "")
    if not against:
        return Table.of(columns[:4], rows)
    notes = [f"Against {against}, over the rates drawn; negative saves bits at equal quality."]
    decades = [panel.measure.label for panel in panels if panel.measure.scale == "decades"]
    if decades:
        notes.append(f"{listed(decades)} by its logarithm.")
    if doubtful:
        shares = [f"{system} ({', '.join(of)})" for system, of in grouped(doubtful).items()]
        words = counted_list(shares, most=LONGEST_LIST)
        notes.append(f"{DOUBTFUL} The curves share less than half of the range they span: {words}.")
    return Table.of(columns, rows, notes).filled(always=4)


def ends_text(interval: Interval | tuple[float, float] | None) -> str:
    """Format the ends of an interval; empty for none."""
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def delta_text(delta: Delta | NoDelta, form: str = "+.2f") -> str:
    """Return a delta with its marks: of little overlap, of a curve of three points.

    >>> delta_text(Delta(3.21, 0.4, three_points=True)), delta_text(NoDelta("no curve"))
    ('+3.21† (3 points)', '–')
    """
    if isinstance(delta, NoDelta):
        return NOTHING
    marks = DOUBTFUL if delta.doubtful else ""
    return f"{delta.value:{form}}{marks}{THREE_POINTS if delta.three_points else ''}"


def compare_all(
    summary: Summary,
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None,
    any_overlap: bool = False,
) -> tuple[list[Comparison], tuple[Table, Table] | str]:
    """Return BD-rates, and their tables (overview, details) or why there are none."""
    if anchor not in summary.labels:
        others = ", ".join(summary.labels)
        return [], f"No BD-rates: the anchor {anchor} has no rows; --anchor takes one of {others}."
    if len(summary.labels) == 1:
        return [], f"No BD-rates: there is no codec but the anchor {anchor}."
    comparisons = [
        comparison
        for measure in measures
        for comparison in compare(summary, measure, anchor, up_to_bpp, any_overlap)
    ]
    overview = bd_overview(comparisons, measures, anchor, up_to_bpp)
    return comparisons, (overview, bd_table(comparisons, measures, anchor))
