"""Tables of BD-rates: an overview by codec, details by metric, and flat records."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.analysis.comparison import Comparison, ImagesDelta
from benchmark.analysis.interval import CONFIDENCE, DRAWS, Interval
from benchmark.analysis.rate_distortion import Delta, NoDelta, bd_rate
from benchmark.figures.captions import grouped, listed
from benchmark.figures.table import DOUBTFUL, DOUBTFUL_NOTE, NOTHING, Table
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel

PERCENT = f"{100 * CONFIDENCE:.0f} %"
LONGEST_LIST = 6  # labels in one note


def bd_overview(
    comparisons: Sequence[Comparison],
    measures: Sequence[Measure],
    anchor: str,
    up_to_bpp: float | None = None,
) -> Table:
    """Return a row for each codec: BD-rates of the mean curves with intervals, by metric.

    Metrics in which no codec has a BD-rate are left out.
    """
    result = {
        (comparison.label, comparison.column): comparison
        for comparison in comparisons
        if isinstance(comparison.rate, Delta)
    }
    columns = {column for _, column in result}
    shown = [measure for measure in measures if measure.column in columns]
    rows = []
    for label in dict.fromkeys(comparison.label for comparison in comparisons):
        of_codec = [result.get((label, measure.column)) for measure in shown]
        cells = (
            f"{_delta(one.rate)} {_ends(one.rate_interval)}" if one else NOTHING for one in of_codec
        )
        rows.append((label, *(cell.rstrip() for cell in cells)))
    cut = "" if up_to_bpp is None else f", curves up to {up_to_bpp:g} bpp"
    note = (
        f"BD-rate (%) against {anchor}{cut}; negative saves bits. In brackets {PERCENT} intervals, "
        f"from {DRAWS} draws of images."
    )
    marked = any(isinstance(one.rate, Delta) and one.rate.doubtful for one in result.values())
    headers = ("codec", *(measure.axis_label for measure in shown))
    return Table(headers, tuple(rows), 1, (note, *[DOUBTFUL_NOTE] * marked))


def bd_table(comparisons: Sequence[Comparison], measures: Sequence[Measure], anchor: str) -> Table:
    """Return a row for each metric and codec: BD-rates of mean curves and of images, BD-metric.

    The last column is the reason why there is no number, or which points are off the Pareto front.
    """
    headers = (
        "metric", "codec", "remark", "BD-rate (%)", f"{PERCENT} interval", "mean of images' (%)",
        f"{PERCENT} interval", "median", "quartiles", "images", "BD-metric", "overlap (%)",
    )  # fmt: skip
    labels = {measure.column: measure.axis_label for measure in measures}
    decades = {measure.column for measure in measures if measure.scale == "decades"}
    rows = []
    for comparison in comparisons:
        images = comparison.images_rate
        of_images = [NOTHING] * 5
        if isinstance(images, ImagesDelta):
            whole = images.images + images.refused
            of_images = [
                f"{images.value:+.2f}", _ends(images.interval) or NOTHING,
                f"{images.median:+.2f}", _ends(images.quartiles),
                f"{images.images} of {whole}" if images.refused else str(images.images),
            ]  # fmt: skip
        overlap = comparison.rate.overlap
        first = _delta(comparison.rate), _ends(comparison.rate_interval) or NOTHING
        last = NOTHING if overlap is None else f"{100 * overlap:.0f}"
        metric = _delta(comparison.quality, "+.4g")
        if isinstance(comparison.quality, Delta) and comparison.column in decades:
            metric += " %"
        start = labels[comparison.column], comparison.label, _remark(comparison)
        rows.append((*start, *first, *of_images, metric, last))
    notes = (
        f"Anchor: {anchor}. Overlap: what the curves share of the qualities that they span; "
        f"{DOUBTFUL}: less than half. Remarks: why there is no number, or points left out because "
        "another of no higher rate is better, by so much.",
    )
    return Table(headers, tuple(rows), 3, notes)


def _remark(one: Comparison) -> str:
    if isinstance(one.rate, NoDelta):
        return one.rate.reason + " (--any-overlap gives a number)" * bool(one.rate.overlap)
    left_out = [f"{point.label} {point.setting} by {point.below:.3g}" for point in one.left_out]
    text = f"without {', '.join(left_out)}" if left_out else ""
    return f"{text}; over few images".removeprefix("; ") if one.few else text


def bd_records(
    comparisons: Sequence[Comparison], up_to_bpp: float | None = None
) -> list[dict[str, Any]]:
    """Return a flat record for each comparison, at full precision; refused ones have a reason."""
    records = []
    for comparison in comparisons:
        images = comparison.images_rate if isinstance(comparison.images_rate, ImagesDelta) else None
        low, high = comparison.rate_interval or (None, None)
        images_low, images_high = (images and images.interval) or (None, None)
        lower, upper = images.quartiles if images else (None, None)
        record = {
            "metric": comparison.column,
            "codec": comparison.label,
            "anchor": comparison.anchor,
            "up_to_bpp": up_to_bpp,
            "bd_rate_percent": getattr(comparison.rate, "value", None),
            "bd_rate_low_percent": low,
            "bd_rate_high_percent": high,
            "bd_rate_overlap": comparison.rate.overlap,
            "images_bd_rate_percent": images and images.value,
            "images_bd_rate_low_percent": images_low,
            "images_bd_rate_high_percent": images_high,
            "images_bd_rate_median_percent": images and images.median,
            "images_bd_rate_lower_quartile_percent": lower,
            "images_bd_rate_upper_quartile_percent": upper,
            "images_bd_rate_images": images and images.images,
            "images_bd_rate_refused": images and images.refused,
            "bd_metric": getattr(comparison.quality, "value", None),
            "bd_metric_overlap": comparison.quality.overlap,
            "few": comparison.few,
            "points_left_out": "; ".join(
                f"{point.label} {point.setting} by {point.below:.3g}"
                for point in comparison.left_out
            ),
            "reason": getattr(comparison.rate, "reason", None),
        }
        records.append(record)
    return records


def rate_table(panels: Sequence[Panel], anchor: str) -> Table:
    """Return a row for each curve of a figure: its points, rates, and BD-rates of what is drawn.

    anchor: label that they are against.
    """
    labels = [panel.measure.label.partition(" (")[0] for panel in panels]
    rows: list[tuple[str, ...]] = []
    doubtful: list[tuple[str, str]] = []
    anchors = [
        next((c for c in (*panel.measured, *panel.published) if c.system.label == anchor), None)
        for panel in panels
    ]
    names = dict.fromkeys(curve.name for panel in panels for curve in panel.curves)
    for name in names:
        mine = [next((c for c in panel.curves if c.name == name), None) for panel in panels]
        rates = [point.bpp for curve in mine if curve for point in curve.points]
        known = next(curve for curve in mine if curve)
        cells = [
            known.system.name,
            "here" if known.measured else "published",
            str(max(len(curve.points) for curve in mine if curve)),
            f"{min(rates):.3f}" + f" to {max(rates):.3f}" * (min(rates) < max(rates)),
        ]
        for panel, label, curve, other in zip(panels, labels, mine, anchors, strict=True):
            delta = None
            if other is not None and curve is not None and curve.name != other.name:
                delta = bd_rate(other.rates(panel.measure), curve.rates(panel.measure))
            if not isinstance(delta, Delta):
                cells.append(NOTHING)
                continue
            cells.append(f"{delta.value:+.1f}" + DOUBTFUL * delta.doubtful)
            if delta.doubtful:
                doubtful.append((known.system.name, f"{label} {100 * delta.overlap:.0f} %"))
        rows.append(tuple(cells))
    against = next((one.system.name for one in anchors if one), anchor)
    notes = [f"Against {against}, over the rates drawn; negative saves bits at equal quality."]
    decades = [panel.measure.label for panel in panels if panel.measure.scale == "decades"]
    notes += [f"{listed(decades)} by its logarithm."] * bool(decades)
    headers = ["system", "from", "points", "bpp", *(f"BD-rate, {one} (%)" for one in labels)]
    return Table(tuple(headers), tuple(rows), 2, (*notes, *doubtful_note(doubtful)))


def doubtful_note(shares: Sequence[tuple[str, str]]) -> list[str]:
    """Return the note on BD-rates of little overlap, if any: pairs (label, "PSNR 38 %")."""
    text = (
        f"{DOUBTFUL} The curves share less than half of the range they span: {_by_label(shares)}."
    )
    return [text] * bool(shares)


def _ends(interval: Interval | tuple[float, float] | None) -> str:
    return f"[{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def _delta(delta: Delta | NoDelta, form: str = "+.2f") -> str:
    if isinstance(delta, NoDelta):
        return NOTHING
    return f"{delta.value:{form}}{DOUBTFUL * delta.doubtful}"


def _by_label(pairs: Iterable[tuple[str, str]]) -> str:
    """Return "label (text, text), label (text)" of pairs (label, text), the first labels alone."""
    texts = [f"{label} ({', '.join(of)})" for label, of in grouped(pairs).items()]
    more = len(texts) - LONGEST_LIST
    return ", ".join(texts[:LONGEST_LIST]) + f" and {more} more" * (more > 0)
