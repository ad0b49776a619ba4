"""Panels of curves in; the paper's rate curves, with a grouped legend, table and caption, out."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.analysis.rate_distortion import Curve as Rates
from benchmark.analysis.rate_distortion import Measure, Refused, bd_rate
from benchmark.analysis.systems import GROUPS, OURS, SYSTEMS
from benchmark.figures.plate import (
    Entry,
    Plate,
    appearance,
    frame,
    legend_and_note,
    letters,
    listed,
    marked,
    plain_ticks,
)
from benchmark.figures.style import DOUBLE_COLUMN_INCHES, Look, paper_style, title
from benchmark.figures.table import DOUBTFUL, NOTHING, Table
from benchmark.published.curves import Curve, Panel, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 2.5  # height without legend and note
LOGARITHMIC = ("fid256",)  # columns whose values span decades
MOST_MARKERS = 14  # on one curve
BAR_POINTS, CAP_POINTS = 0.6, 1.2
OUTLIER = "JPEG"


def draw_paper_curves(
    panels: Sequence[Panel], looks: Mapping[str, Look], dataset: str, images: int, anchor: str
) -> Plate:
    """One panel a metric over two columns of a page, a legend by groups of systems below.

    `looks` goes by `System.look`; `anchor` is the system that the table's BD-rates are against.
    """
    from matplotlib.figure import Figure

    rules = _foreign_rules(panels)
    entries: list[Entry] = []
    with paper_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, one in zip(every_axes, panels, strict=True):
            for curve in one.curves:
                _draw(axes, curve, one.measure, looks[curve.system.look])
            _frame(axes, one)
        for curve in _every(panels).values():
            entries.append(_entry(curve, panels, looks[curve.system.look], rules))
        title(every_axes[0], f"{dataset}, {images} images")
        legend_and_note(figure, entries, GROUPS, _note(panels, rules))
    caption = _caption(panels, dataset, images, anchor)
    return Plate(figure, caption, records(panels), _table(panels, anchor))


def _draw(axes: "Axes", curve: Curve, measure: Measure, look: Look) -> None:
    ours = curve.system.group == OURS
    bpp = [spot.bpp for spot in curve.spots]
    values = [measure.drawn(spot.value) for spot in curve.spots]
    properties = appearance(look, curve.measured, ours)
    if curve.sampled:
        properties |= {"marker": "", "linestyle": (0, (5, 1.4, 1, 1.4))}
    order = 4 if ours and curve.measured else 3 if ours else 2
    every = math.ceil(len(bpp) / MOST_MARKERS)
    axes.plot(bpp, values, label=curve.name, markevery=every, zorder=order, **properties)
    if any(spot.value_error or spot.bpp_error for spot in curve.spots):
        _draw_errors(axes, curve, measure, look)


def _draw_errors(axes: "Axes", curve: Curve, measure: Measure, look: Look) -> None:
    """Bars as long as the reading error, or a band around samples of a drawn line."""
    bpp = [spot.bpp for spot in curve.spots]
    values = [measure.drawn(spot.value) for spot in curve.spots]
    ends = [
        sorted(measure.drawn(spot.value + sign * (spot.value_error or 0)) for sign in (-1, 1))
        for spot in curve.spots
    ]
    if curve.sampled:
        low, high = zip(*ends, strict=True)
        axes.fill_between(bpp, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=1)
        return
    below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
    axes.errorbar(
        bpp, values, yerr=[below, above], xerr=[spot.bpp_error or 0 for spot in curve.spots],
        fmt="none", ecolor=look.colour, elinewidth=BAR_POINTS, capsize=CAP_POINTS,
        capthick=BAR_POINTS, zorder=1.9,
    )  # fmt: skip


def _frame(axes: "Axes", one: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    measure = one.measure
    rates = [spot.bpp for curve in one.curves for spot in curve.spots]
    values = [measure.drawn(spot.value) for curve in _framing(one) for spot in curve.spots]
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 1.1, max(rates) * 1.1)
    plain_ticks(axes.xaxis)
    if measure.column in LOGARITHMIC:
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.2, max(values) * 1.2)
        plain_ticks(axes.yaxis)
    else:
        margin = 0.04 * (max(values) - min(values)) or 1.0
        axes.set_ylim(min(values) - margin, max(values) + margin)
        # not as many as fit: what is laid out for is what is drawn
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Rate (bit per pixel)")
    axes.set_ylabel(measure.axis_label + (" ↓" if measure.better == "lower" else ""))
    frame(axes)


def _framing(one: Panel) -> list[Curve]:
    """Whose values the axis spans: at its lowest qualities JPEG would press all others together."""
    others = [curve for curve in one.curves if curve.system.name != OUTLIER]
    return others or list(one.curves)


def _entry(curve: Curve, panels: Sequence[Panel], look: Look, rules: Mapping[str, str]) -> Entry:
    from matplotlib.lines import Line2D

    same = [c for one in panels for c in one.curves if c.name == curve.name]
    properties = appearance(look, curve.measured, curve.system.group == OURS)
    if all(one.sampled for one in same):
        properties |= {"marker": "", "linestyle": (0, (5, 1.4, 1, 1.4))}
    own = [rules[rule] for one in same for rule in one.protocols if rule in rules]
    return Entry(curve.system.group, marked(curve.name, own), Line2D([], [], **properties))


def _hides(one: Panel) -> bool:
    shown = [one.measure.drawn(spot.value) for curve in _framing(one) for spot in curve.spots]
    others = [
        one.measure.drawn(spot.value)
        for curve in one.curves
        if curve.system.name == OUTLIER
        for spot in curve.spots
    ]
    return bool(others) and (min(others) < min(shown) or max(others) > max(shown))


def _every(panels: Sequence[Panel]) -> dict[str, Curve]:
    """One curve a name, in the order of the systems, measured before published."""
    found = {curve.name: curve for one in panels for curve in one.curves}
    ordered = sorted(
        found.values(), key=lambda curve: (SYSTEMS.index(curve.system), not curve.measured)
    )
    return {curve.name: curve for curve in ordered}


def _own_rule(one: Panel) -> str:
    """Of what was measured here; where nothing was, of the first curve."""
    curves = sorted(one.curves, key=lambda curve: not curve.measured)
    return curves[0].protocols[0]


def _foreign_rules(panels: Sequence[Panel]) -> dict[str, str]:
    """A letter for each rule that is not its panel's own."""
    return letters(
        rule
        for one in panels
        for curve in one.curves
        for rule in curve.protocols
        if rule != _own_rule(one)
    )


def _note(panels: Sequence[Panel], rules: Mapping[str, str]) -> str:
    """What the figure itself has to say."""
    curves = [curve for one in panels for curve in one.curves]
    said = "Open markers, broken lines: published."
    if any(curve.measured for curve in curves):
        said = "Filled markers: measured by this benchmark. " + said
    if any(spot.value_error for curve in curves for spot in curve.spots):
        said += " Bars and bands: reading error of digitised numbers."
    if not rules:
        return said
    own = listed(list(dict.fromkeys(_own_rule(one) for one in panels)))
    foreign = "; ".join(f"{letter}\N{NO-BREAK SPACE}{rule}" for rule, letter in rules.items())
    return f"{said}\nProtocols mixed: {foreign}; without a letter {own}."


def _caption(panels: Sequence[Panel], dataset: str, images: int, anchor: str) -> str:
    curves = [curve for one in panels for curve in one.curves]
    what = listed([one.measure.axis_label for one in panels])
    parts = [
        f"{what} against rate on {dataset}: means over {images} images, "
        "rates as the mean of each image's bpp."
    ]
    if any(one.measure.better == "lower" for one in panels):
        parts.append("An arrow down: lower is better.")
    if any(one.measure.saturating for one in panels):
        parts.append("MS-SSIM is drawn as -10 log10(1 - mean MS-SSIM).")
    parts += sources(curves)
    for one in panels:
        parts.append(_protocols(one))
    rates = {spot.rate_protocol for curve in curves for spot in curve.spots} - {"coding/1"}
    if rates:
        parts.append(f"Published rates are as their sources count them ({listed(sorted(rates))}).")
    hidden = [one.measure.label for one in panels if _hides(one)]
    if hidden:
        parts.append(f"{OUTLIER} goes on beyond the axis of {listed(hidden)}.")
    there = {curve.system.name for curve in curves}
    published = [system.name for system in SYSTEMS if system.published]
    absent = [name for name in published if name not in there]
    if absent:
        parts.append(f"Without numbers here: {', '.join(absent)}.")
    parts.append(f"BD-rates of the table are against {anchor}.")
    return "\n".join(parts)


def sources(curves: Sequence[Curve]) -> list[str]:
    """Sentences on where every curve is from: measured, recorded, or which publication."""
    origins = {"author_csv": "", "table": ", a table", "digitised": ", read from a figure"}
    measured: dict[str, dict[str, None]] = {}
    published: dict[str, dict[str, None]] = {}
    notes: dict[str, dict[str, None]] = {}
    for curve in curves:
        for spot in curve.spots:
            if curve.measured:
                measured.setdefault(spot.how, {})[f"{curve.system.name} ({spot.source})"] = None
            else:
                source = spot.source + origins[spot.how]
                published.setdefault(source, {})[curve.system.name] = None
                if spot.note:
                    notes.setdefault(spot.note, {})[curve.system.name] = None
    how = {"measured": "Measured", "recorded": "Measured and recorded (a pack, or shipped rows)"}
    found = [f"{how[one]}: {', '.join(who)}." for one, who in measured.items()]
    if published:
        texts = "; ".join(f"{', '.join(who)}: {source}" for source, who in published.items())
        found.append(f"Published (open markers, broken lines): {texts}.")
    found += [f"{', '.join(who)}: {note}." for note, who in notes.items()]
    return found


def _protocols(one: Panel) -> str:
    found: dict[str, dict[str, None]] = {}
    for curve in one.curves:
        for rule in curve.protocols:
            found.setdefault(rule, {})[curve.name] = None
    mixed = "Protocols mixed in" if len(found) > 1 else "Protocol of"
    rules = "; ".join(f"{rule} {', '.join(names)}" for rule, names in found.items())
    return f"{mixed} {one.measure.label}: {rules}."


def _table(panels: Sequence[Panel], anchor: str) -> Table:
    """A row a curve: its points and rates, and BD-rates against the anchor's curve."""
    headers = ["system", "from", "points", "bpp"]
    headers += [f"BD-rate, {one.measure.label.partition(' (')[0]} (%)" for one in panels]
    anchors = {one.measure.column: _rates(one, anchor) for one in panels}
    rows = []
    for name, known in _every(panels).items():
        mine = [{curve.name: curve for curve in one.curves}.get(name) for one in panels]
        spots = [spot for curve in mine if curve for spot in curve.spots]
        most = max(len(curve.spots) for curve in mine if curve)
        low, high = min(spot.bpp for spot in spots), max(spot.bpp for spot in spots)
        cells = [
            name.removesuffix(" (published)"),
            "here" if known.measured else "published",
            str(most),
        ]
        cells.append(f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}")
        for one, curve in zip(panels, mine, strict=True):
            cells.append(_delta(anchors[one.measure.column], curve, one.measure, anchor))
        rows.append(tuple(cells))
    notes = [f"Against {anchor}, over the rates drawn; negative saves bits at equal quality."]
    if any(one.measure.column in LOGARITHMIC for one in panels):
        notes.append("FID by its logarithm.")
    text = "".join(cell for row in rows for cell in row)
    if DOUBTFUL in text:
        notes.append(f"{DOUBTFUL} The curves share less than half of the range they span.")
    return Table(tuple(headers), tuple(rows), 2, tuple(notes))


def _rates(one: Panel, name: str) -> Rates | None:
    """The system's curve, measured before published."""
    mine = [curve for curve in one.curves if curve.system.name == name]
    mine.sort(key=lambda curve: not curve.measured)
    return _as_rates(mine[0], one.measure) if mine else None


def _as_rates(curve: Curve, measure: Measure) -> Rates:
    sign = 1 if measure.better == "higher" else -1
    # FID falls by decades: as a straight quality its lowest values would decide nothing.
    quality = [
        -math.log10(spot.value) if measure.column in LOGARITHMIC else
        sign * measure.drawn(spot.value)
        for spot in curve.spots
    ]  # fmt: skip
    return Rates(np.array([spot.bpp for spot in curve.spots]), np.array(quality))


def _delta(anchor: Rates | None, curve: Curve | None, measure: Measure, name: str) -> str:
    if anchor is None or curve is None or curve.system.name == name:
        return NOTHING
    found = bd_rate(anchor, _as_rates(curve, measure))
    if isinstance(found, Refused):
        return NOTHING
    return f"{found.value:+.1f}" + (DOUBTFUL if found.doubtful else "")
