"""Published curves in; open markers, dashes and reading errors on axes, and words for them, out."""

import math
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import TYPE_CHECKING, NamedTuple

from benchmark.analysis.rate_distortion import Measure
from benchmark.figures.style import MARKER_POINTS, Look
from benchmark.published.points import COUNTERPARTS, PublishedCurve, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DASHES = (0, (2.4, 1.4))  # shorter than those of a caveat
DOTS_AND_DASHES = (0, (5, 1.4, 1, 1.4))
LINE_POINTS, BAR_POINTS, CAP_POINTS = 0.8, 0.6, 1.3
MOST_MARKERS = 16  # on one curve; some csv files have a hundred points
BAND_OPACITY = 0.18
UNDER, OVER = 1.9, 2.6  # measured lines are drawn at 2


# Variants that bear the look of their system, beside those that our own codecs make.
PLAIN = {
    ("Multi-Realism", "beta=2.56"): "multi-realism",
    ("ELIC", "mse"): "elic",
    ("IVR", "with U-Net"): "ivr",
    ("EGIC", "alpha=1"): "egic",
    ("DC-VIC", "oasis"): "dc-vic",
    ("VTM", "version 20.0"): "vtm",
    ("BPG", "4:4:4"): "bpg",
    ("HM", "CompressAI"): "hm",
}


class Overlaid(NamedTuple):
    """Published curves of one panel beside the protocol of its measured rows, None without any."""

    measure: Measure
    measured: str | None
    curves: tuple[PublishedCurve, ...]

    @property
    def protocols(self) -> dict[str, list[str]]:
        """Names of the curves by protocol; the first is the panel's own."""
        found: dict[str, list[str]] = {} if self.measured is None else {self.measured: []}
        for curve in self.curves:
            names = found.setdefault(curve.protocol, [])
            names += [curve.name] if curve.name not in names else []
        return found


def look_label(curve: PublishedCurve) -> str:
    """What `looks` goes by: the codec of ours that made it, if any, so that both look alike."""
    key = curve.system, curve.variant
    known = COUNTERPARTS.get(key) or PLAIN.get(key)
    variant = curve.variant if "=" in curve.variant else f"variant={slug(curve.variant)}"
    return known or (f"{slug(curve.system)}:{variant}" if curve.variant else slug(curve.system))


def places(curve: PublishedCurve, measure: Measure) -> tuple[list[float], list[float]]:
    """Rates, and values as the axis has them."""
    return [p.bpp for p in curve.points], [measure.drawn(p.value) for p in curve.points]


def draw_published(
    axes: "Axes", overlaid: Overlaid, looks: Mapping[str, Look]
) -> "dict[str, Line2D]":
    """The curves on the axes, and a legend handle by name.

    Points are open markers, joined by dashes within one source; samples of a drawn line are dots
    and dashes. Digitised numbers have bars, or a band, as large as their reading error.
    """
    handles: dict[str, Line2D] = {}
    for curve in overlaid.curves:
        look = looks[look_label(curve)]
        bpp, values = places(curve, overlaid.measure)
        sampled = curve.kind == "sample"
        (handle,) = axes.plot(
            bpp,
            values,
            label=curve.name,
            color=look.colour,
            linestyle=DOTS_AND_DASHES if sampled else DASHES,
            linewidth=LINE_POINTS,
            marker="" if sampled else look.marker,
            markevery=math.ceil(len(bpp) / MOST_MARKERS),
            markersize=MARKER_POINTS * (1.4 if look.marker == "*" else 1),
            markerfacecolor="white",
            markeredgecolor=look.colour,
            markeredgewidth=0.8,
            zorder=UNDER,
        )
        handles.setdefault(curve.name, handle)
        _draw_errors(axes, curve, overlaid.measure, look)
    return handles


def _draw_errors(axes: "Axes", curve: PublishedCurve, measure: Measure, look: Look) -> None:
    if not any(point.value_error or point.bpp_error for point in curve.points):
        return
    bpp, values = places(curve, measure)
    errors = [point.value_error or 0.0 for point in curve.points]
    ends = [
        sorted((measure.drawn(point.value - error), measure.drawn(point.value + error)))
        for point, error in zip(curve.points, errors, strict=True)
    ]
    if curve.kind == "sample":
        low, high = [end[0] for end in ends], [end[1] for end in ends]
        axes.fill_between(
            bpp, low, high, color=look.colour, alpha=BAND_OPACITY, linewidth=0, zorder=UNDER
        )
        return
    below = [value - end[0] for value, end in zip(values, ends, strict=True)]
    above = [end[1] - value for value, end in zip(values, ends, strict=True)]
    axes.errorbar(
        bpp,
        values,
        yerr=[below, above],
        xerr=[point.bpp_error or 0.0 for point in curve.points],
        fmt="none",
        ecolor=look.colour,
        elinewidth=BAR_POINTS,
        capsize=CAP_POINTS,
        capthick=BAR_POINTS,
        zorder=OVER,
    )


def letters(panels: Sequence[Overlaid]) -> dict[str, str]:
    """A letter for each protocol that is not its panel's own, by protocol id."""
    others = [protocol for one in panels for protocol in list(one.protocols)[1:]]
    return dict(zip(dict.fromkeys(others), ascii_lowercase, strict=False))


def mark_protocols(handles: "Mapping[str, Line2D]", panels: Sequence[Overlaid]) -> None:
    """A raised letter after the legend's name of every curve that follows another rule."""
    known = letters(panels)
    for name, handle in handles.items():
        mine = [
            letter
            for protocol, letter in known.items()
            if any(name in one.protocols.get(protocol, ()) for one in panels)
        ]
        if mine:
            handle.set_label(f"{name}$^{{\\mathrm{{{','.join(mine)}}}}}$")


def published_note(panels: Sequence[Overlaid]) -> str:
    """What the figure itself has to say, a sentence a line: its marks, and mixed protocols."""
    curves = [curve for one in panels for curve in one.curves]
    if not curves:
        return ""
    marks = {"point": "bars", "sample": "bands"}
    digitised = {curve.kind for curve in curves if curve.how == "digitised"}
    read = ", ".join(mark for kind, mark in marks.items() if kind in digitised)
    errors = f"; {read}: reading error" if read else ""
    sentences = [f"Open markers, broken lines: published{errors}."]
    other = letters(panels)
    if other:
        own = dict.fromkeys(next(iter(one.protocols)) for one in panels if one.protocols)
        rules = [f"{letter}\N{NO-BREAK SPACE}{protocol}" for protocol, letter in other.items()]
        sentences.append(f"Protocols mixed: {'; '.join(rules)}; without a letter {', '.join(own)}.")
    return "\n".join(sentences)


def published_caption(panels: Sequence[Overlaid]) -> list[str]:
    """Sentences on sources, reading errors, rates and protocols of every published curve."""
    curves = [curve for one in panels for curve in one.curves]
    if not curves:
        return []
    origins = {"author_csv": "", "table": ", a table", "digitised": ", read from a figure"}
    found: dict[str, dict[str, None]] = {}
    for curve in curves:
        found.setdefault(curve.source + origins[curve.how], {})[curve.name] = None
    sources = "; ".join(f"{', '.join(names)}: {source}" for source, names in found.items())
    sentences = [f"Published (open markers, broken lines): {sources}."]
    sentences += [_errors(one) for one in panels if _errors(one)]
    if any(point.rate_protocol != "coding/1" for curve in curves for point in curve.points):
        sentences.append("Published rates are as their sources count them.")
    for one in panels:
        own, *others = one.protocols.items() or [("", [])]
        if others:
            rules = "; ".join(f"{protocol} {', '.join(names)}" for protocol, names in others)
            sentences.append(
                f"Protocols mixed in {one.measure.label}: {rules}; all others {own[0]}."
            )
    return sentences


def _errors(overlaid: Overlaid) -> str:
    found: dict[float, dict[str, None]] = {}
    for curve in overlaid.curves:
        for point in curve.points:
            if point.value_error:
                found.setdefault(point.value_error, {})[curve.name] = None
    read = "; ".join(f"{', '.join(names)} ± {error:g}" for error, names in found.items())
    return f"Reading error in {overlaid.measure.label}: {read}." if read else ""
