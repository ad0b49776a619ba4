"""Tables of BD-rates: the ranking, an overview, all details, those of a figure; flat records."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.compare.bd import Comparison, ImagesDelta, Rank, Ranking, compare
from benchmark.compare.curves import Delta, NoDelta, bd_rate
from benchmark.compare.interval import CONFIDENCE, Interval
from benchmark.compare.published.curves import Panel
from benchmark.metrics.measure import Measure
from benchmark.rows.summarise import Summary
from benchmark.show.figures.texts import grouped, listed, metric_names
from benchmark.show.table import DOUBTFUL, DOUBTFUL_NOTE, NOTHING, Table, chosen_notes
from benchmark.system.text import counted

PERCENT = f"{100 * CONFIDENCE:.0f} %"
LONGEST_LIST = 6  # labels in one note


def ranking_table(
    ranking: Ranking, intervals: bool = False, names: Mapping[str, str] | None = None
) -> Table:
    """Return a row for each codec, best first; columns that would be empty are left out.

    intervals: with the 95 % interval of each BD-rate. names: of figures, by label, to put first.
    """
    ranks = ranking.ranks
    several = len({rank.images for rank in ranks}) > 1
    labels = [rank.label for rank in ranks]
    columns = {"codec": labels}
    if names:
        columns = {"codec": [names[label] for label in labels], "spec": labels}
    for place, measure in enumerate(ranking.measures):
        cells = [_rank_cell(rank, place, intervals) for rank in ranks]
        # Digits stay below each other where some cells have a mark.
        marked = not intervals and any(cell.endswith(DOUBTFUL) for cell in cells)
        columns[short_name(measure)] = [
            cell + " " * (marked and bool(cell) and not cell.endswith(DOUBTFUL)) for cell in cells
        ]
    columns |= {
        "bpp": [_range(*rank.bpp) if rank.bpp else "" for rank in ranks],
        "encode": [_seconds(rank.encode_seconds) for rank in ranks],
        "decode": [_seconds(rank.decode_seconds) for rank in ranks],
        "images": [str(rank.images) if several else "" for rank in ranks],
    }
    rows = tuple(zip(*columns.values(), strict=True))
    notes = (DOUBTFUL_NOTE,) * any(cell.endswith(DOUBTFUL) for row in rows for cell in row)
    table = Table(tuple(columns), rows, 2 if names else 1, (*notes, *chosen_notes(labels))).filled()
    return table._replace(rows=tuple(tuple(cell or NOTHING for cell in row) for row in table.rows))


def ranking_heading(ranking: Ranking) -> str:
    """Return the line above the table, on what its numbers are."""
    if not ranking.measures:
        return "no metric that ranks codecs was measured"
    metrics = metric_names(ranking.measures)
    return f"BD-rate (%) against {ranking.anchor} in {metrics}, best first"


def headline(ranking: Ranking, images: int, dataset: str, names: Mapping[str, str]) -> str:
    """Return the sentence that a report begins with: the best codec by each measure.

    names: of figures, by label.

    >>> headline(Ranking("jpeg", (), ()), 4, "sample", {})
    'No codec can be ranked on sample.'
    """
    best: dict[str, list[str]] = {}
    for place, measure in enumerate(ranking.measures):
        rates = [
            (rate.value, rank.label)
            for rank in ranking.ranks
            if isinstance(rate := rank.rates[place], Delta) and not rate.doubtful
        ]
        value, label = min(rates, default=(0.0, ranking.anchor))
        if label != ranking.anchor:
            text = f"{abs(value):.0f} % fewer bits at equal {metric_names([measure])}"
            best.setdefault(label, []).append(text)
    if not best:
        return f"No codec can be ranked on {dataset}."
    parts = [f"{names[label]} needs {' and '.join(texts)}" for label, texts in best.items()]
    where = f"{counted(images, 'image')} of {dataset}"
    return f"Compared with {names[ranking.anchor]} on {where}, {', and '.join(parts)}."


def short_name(measure: Measure) -> str:
    """Return a metric's label without what is in brackets.

    >>> short_name(Measure("lpips_squeeze", "LPIPS (SqueezeNet)", "lower"))
    'LPIPS'
    """
    return measure.label.partition(" (")[0]


def _rank_cell(rank: Rank, place: int, intervals: bool) -> str:
    rate = rank.rates[place] if place < len(rank.rates) else None
    if not isinstance(rate, Delta):
        return ""
    text = f"{round(rate.value, 1) + 0.0:+.1f}" if rate.value else "0"
    ends = _ends(rank.intervals[place]) if intervals else ""
    return f"{text} {ends}".rstrip() + DOUBTFUL * rate.doubtful


def _range(low: float, high: float) -> str:
    """Format a range of rates.

    >>> _range(0.1, 1.25), _range(0.5, 0.5)
    ('0.10 to 1.25', '0.50')
    """
    return f"{low:.2f} to {high:.2f}" if high > low else f"{low:.2f}"


def _seconds(value: float | None) -> str:
    """Format seconds with two digits.

    >>> _seconds(0.00064), _seconds(12.3), _seconds(345.6)
    ('0.64 ms', '12 s', '346 s')
    """
    if value is None:
        return ""
    if value < 0.1:
        return f"{1000 * value:.2g} ms"
    return f"{value:.2g} s" if value < 99.5 else f"{value:.0f} s"


def bd_overview(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return a row for each codec: BD-rates of the mean curves with intervals, by metric.

    Metrics in which no codec has a BD-rate are left out.
    """
    cells, doubtful = {}, False
    for comparison in comparisons:
        if isinstance(comparison.rate, Delta):
            text = f"{_delta(comparison.rate)} {_ends(comparison.rate_interval)}".rstrip()
            cells[comparison.label, comparison.column] = text
            doubtful |= comparison.rate.doubtful
    columns = {column for _, column in cells}
    shown = [measure for measure in measures if measure.column in columns]
    rows = tuple(
        (label, *(cells.get((label, measure.column), NOTHING) for measure in shown))
        for label in dict.fromkeys(comparison.label for comparison in comparisons)
    )
    cut = "" if up_to_bpp is None else f", curves up to {up_to_bpp:g} bpp"
    note = (
        f"BD-rate (%) against {anchor}{cut}; negative saves bits. In brackets {PERCENT} intervals "
        "over images."
    )
    headers = ("codec", *(measure.axis_label for measure in shown))
    notes = [note, *[DOUBTFUL_NOTE] * doubtful, *chosen_notes(label for label, *_ in rows)]
    of_column = {measure.column: measure for measure in shown}
    cross = [
        f"{c.label} ({short_name(of_column[c.column])} {c.crossing:.4g})"
        for c in comparisons
        if c.crossing is not None
    ]
    if cross:
        notes.append(f"Ahead at some qualities, behind at others: {listed(cross)}.")
    return Table(headers, rows, 1, tuple(notes))


def bd_table(comparisons: Sequence[Comparison], measures: Sequence[Measure], anchor: str) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric.

    The remark is the reason why there is no number, or which points are off the Pareto front.
    """
    headers = (
        "metric", "codec", "remark", "BD-rate (%)", f"{PERCENT} interval", "mean of images' (%)",
        f"{PERCENT} interval", "median", "quartiles", "images", "BD-metric", "overlap (%)",
    )  # fmt: skip
    of_column = {measure.column: measure for measure in measures}
    rows = []
    for comparison in comparisons:
        rate, images = comparison.rate, comparison.images_rate
        measure = of_column[comparison.column]
        remark = f"without {_off_front(comparison, ', ')}" if comparison.left_out else ""
        remark += "; over few images" * comparison.few
        if comparison.crossing is not None:
            remark += f"; the curves cross at {comparison.crossing:.4g}"
        if isinstance(rate, NoDelta):
            remark = rate.reason + " (--any-overlap gives a number)" * bool(rate.overlap)
        of_images = [NOTHING] * 5
        if isinstance(images, ImagesDelta):
            whole = f" of {images.images + images.refused}" if images.refused else ""
            of_images = [
                f"{images.value:+.2f}", _ends(images.interval) or NOTHING, f"{images.median:+.2f}",
                _ends(images.quartiles), f"{images.images}{whole}",
            ]  # fmt: skip
        metric = _delta(comparison.quality, "+.4g")
        if isinstance(comparison.quality, Delta) and measure.scale == "decades":
            metric += " %"
        rows.append((
            measure.axis_label, comparison.label, remark.removeprefix("; "), _delta(rate),
            _ends(comparison.rate_interval) or NOTHING, *of_images, metric,
            NOTHING if rate.overlap is None else f"{100 * rate.overlap:.0f}",
        ))  # fmt: skip
    note = (
        f"Anchor: {anchor}. Overlap: what the curves share of the qualities that they span; "
        f"{DOUBTFUL}: less than half. Remarks: why there is no number, or points left out because "
        "another of no higher rate is better, by so much."
    )
    labels = (comparison.label for comparison in comparisons)
    return Table(headers, tuple(rows), 3, (note, *chosen_notes(labels)))


def _off_front(comparison: Comparison, separator: str) -> str:
    points = (f"{p.label} {p.setting} by {p.below:.3g}" for p in comparison.left_out)
    return separator.join(points)


def bd_records(
    comparisons: Sequence[Comparison], up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    records = []
    for comparison in comparisons:
        rate, quality, images = comparison.rate, comparison.quality, comparison.images_rate
        low, high = comparison.rate_interval or (None, None)
        of_images = images if isinstance(images, ImagesDelta) else None
        ends = (of_images and of_images.interval) or (None, None)
        quartiles = of_images.quartiles if of_images else (None, None)
        records.append(
            {
                "metric": comparison.column,
                "codec": comparison.label,
                "anchor": comparison.anchor,
                "up_to_bpp": up_to_bpp,
                "bd_rate_percent": getattr(rate, "value", None),
                "bd_rate_low_percent": low,
                "bd_rate_high_percent": high,
                "bd_rate_overlap": rate.overlap,
                "images_bd_rate_percent": of_images and of_images.value,
                "images_bd_rate_low_percent": ends[0],
                "images_bd_rate_high_percent": ends[1],
                "images_bd_rate_median_percent": of_images and of_images.median,
                "images_bd_rate_lower_quartile_percent": quartiles[0],
                "images_bd_rate_upper_quartile_percent": quartiles[1],
                "images_bd_rate_images": of_images and of_images.images,
                "images_bd_rate_refused": of_images and of_images.refused,
                "bd_metric": getattr(quality, "value", None),
                "bd_metric_overlap": quality.overlap,
                "few": comparison.few,
                "points_left_out": _off_front(comparison, "; "),
                "reason": getattr(rate, "reason", None),
            }
        )
    return records


def rate_table(panels: Sequence[Panel], anchor: str) -> Table:
    """Return a row for each curve of a figure: its points, rates, and BD-rates of what is plotted.

    anchor: label that they are against.
    """
    anchors = [panel.of_label(anchor) for panel in panels]
    rows: list[tuple[str, ...]] = []
    doubtful: list[tuple[str, str]] = []
    for name in dict.fromkeys(curve.name for panel in panels for curve in panel.curves):
        mine = [next((c for c in panel.curves if c.name == name), None) for panel in panels]
        known = [curve for curve in mine if curve]
        rates = [point.bpp for curve in known for point in curve.points]
        system = known[0].system.name
        cells = [system, "here" if known[0].measured else "published"]
        cells.append(str(max(len(curve.points) for curve in known)))
        cells.append(f"{min(rates):.3f}" + f" to {max(rates):.3f}" * (min(rates) < max(rates)))
        for panel, curve, other in zip(panels, mine, anchors, strict=True):
            delta: Delta | NoDelta = NoDelta("")
            if other is not None and curve is not None and curve.name != other.name:
                delta = bd_rate(other.rates(panel.measure), curve.rates(panel.measure))
            cells.append(_delta(delta, "+.1f"))
            if isinstance(delta, Delta) and delta.doubtful:
                share = f"{short_name(panel.measure)} {100 * delta.overlap:.0f} %"
                doubtful.append((system, share))
        rows.append(tuple(cells))
    against = next((curve.system.name for curve in anchors if curve), anchor)
    notes = [f"Against {against}, over the rates drawn; negative saves bits at equal quality."]
    decades = [panel.measure.label for panel in panels if panel.measure.scale == "decades"]
    notes += [f"{listed(decades)} by its logarithm."] * bool(decades)
    if doubtful:
        shares = [f"{label} ({', '.join(of)})" for label, of in grouped(doubtful).items()]
        more = len(shares) - LONGEST_LIST
        words = ", ".join(shares[:LONGEST_LIST]) + f" and {more} more" * (more > 0)
        notes.append(f"{DOUBTFUL} The curves share less than half of the range they span: {words}.")
    headers = ["system", "from", "points", "bpp"]
    headers += [f"BD-rate, {short_name(panel.measure)} (%)" for panel in panels]
    return Table(tuple(headers), tuple(rows), 2, tuple(notes))


def _ends(interval: Interval | tuple[float, float] | None) -> str:
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def _delta(delta: Delta | NoDelta, form: str = "+.2f") -> str:
    if isinstance(delta, NoDelta):
        return NOTHING
    return f"{delta.value:{form}}{DOUBTFUL * delta.doubtful}"


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
