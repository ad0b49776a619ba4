"""Timed rows of ours and published seconds in; how long encoding and decoding take, drawn, out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.analysis.rate_distortion import Measure, curves
from benchmark.analysis.summarise import TIMED, Summary
from benchmark.analysis.systems import measured_names, titled
from benchmark.figures.plate import Plate, frame
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    MARKER_POINTS,
    SINGLE_COLUMN_INCHES,
    Look,
    paper_style,
    short_names,
    title,
)
from benchmark.figures.table import NOTHING, Table
from benchmark.published.complexity import DECODE, ENCODE, Complexity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_INCHES = 0.145
EDGE_INCHES = 0.8  # title, ticks and words of the axis
ENCODER, DECODER = (">", -0.13), ("<", 0.13)  # marker, and rows downwards


class Bar(NamedTuple):
    """A system's seconds: the means of its fastest and its slowest setting."""

    name: str
    look: str
    encode: tuple[float, float]
    decode: tuple[float, float]
    timed: str  # what the seconds contain, or which machine and table they are from
    caveats: tuple[str, ...] = ()


class Block(NamedTuple):
    """Systems in one unit, and the words for it."""

    unit: str  # "s per megapixel"
    where: str  # title
    measured: bool
    bars: tuple[Bar, ...]


def measured_block(summary: Summary | None, dataset: str) -> Block | None:
    """Seconds per megapixel of what was timed alone (`bench run --timing`); None without any."""
    if summary is None:
        return None
    encode, decode = (curves(summary, Measure(name, name, "lower")) for name in TIMED)
    names = short_names(summary.labels)
    bars = []
    for label in summary.labels:
        if label in encode and label in decode:
            spans = [
                _span([p.means[name].value for p in of[label]])
                for of, name in zip((encode, decode), TIMED, strict=True)
            ]
            edition = encode[label][0].edition
            name = measured_names().get(label, names[label])
            bars.append(Bar(name, label, spans[0], spans[1], edition.timed, edition.caveats))
    where = f"{titled(dataset)}, {summary.images} images, {summary.machine}"
    return Block("s/MP", where, True, tuple(bars)) if bars else None


def published_blocks(rows: Sequence[Complexity]) -> list[Block]:
    """One block a machine and dataset: seconds of a whole image there, not of a megapixel."""
    found: dict[tuple[str, str], list[Bar]] = {}
    for row in rows:
        if ENCODE in row.values and DECODE in row.values:
            encode, decode = ((row.values[name], row.values[name]) for name in (ENCODE, DECODE))
            bar = Bar(row.system, row.look, encode, decode, f"{row.source}, {row.reference}")
            found.setdefault((row.machine, row.dataset), []).append(bar)
    return [
        Block(f"s per image of {titled(dataset)}", f"published, {machine}", False, tuple(bars))
        for (machine, dataset), bars in found.items()
    ]


def draw_complexity(blocks: Sequence[Block], looks: Mapping[str, Look]) -> Plate:
    """A block beside the other; a row a system, the slowest decoder last.

    Marks that point to the right are encoders, to the left decoders; filled ones were measured
    here; a bar spans the settings.
    """
    from matplotlib.figure import Figure

    rows = max(len(block.bars) for block in blocks)
    width = SINGLE_COLUMN_INCHES if len(blocks) == 1 else DOUBLE_COLUMN_INCHES
    with paper_style():
        figure = Figure(figsize=(width, EDGE_INCHES + ROW_INCHES * rows), layout="constrained")
        every_axes = figure.subplots(1, len(blocks), squeeze=False)[0]
        for axes, block in zip(every_axes, blocks, strict=True):
            _draw_block(axes, block, looks, len(block.bars) / rows)
        _legend(every_axes[-1])
    return Plate(figure, _caption(blocks), _records(blocks), _table(blocks))


def _draw_block(axes: "Axes", block: Block, looks: Mapping[str, Look], tight: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ordered = _ordered(block)
    for row, bar in enumerate(ordered):
        look = looks[bar.look]
        ends = bar.encode[0], bar.decode[0]
        axes.plot([min(ends), max(ends)], [row, row], color="#CCCCCC", linewidth=0.8, zorder=1)
        face = look.colour if block.measured else "white"
        for span, marker, up in ((bar.encode, *ENCODER), (bar.decode, *DECODER)):
            axes.plot(
                span, [row + tight * up] * 2, color=look.colour, linewidth=1.6, alpha=0.4, zorder=2,
                solid_capstyle="round",
            )  # fmt: skip
            axes.plot(
                span[0], row + tight * up, marker=marker, color=look.colour, markerfacecolor=face,
                markeredgewidth=0.8, zorder=3, markersize=MARKER_POINTS,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08)
    axes.set_yticks(range(len(ordered)), [bar.name + "*" * bool(bar.caveats) for bar in ordered])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    caveats = dict.fromkeys(caveat for bar in ordered for caveat in bar.caveats)
    axes.set_xlabel(f"Time ({block.unit})" + "".join(f"\n* {caveat}" for caveat in caveats))
    title(axes, block.where)
    frame(axes)
    axes.spines["left"].set_visible(False)


def _legend(axes: "Axes") -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=label, marker=marker, color="#555555", linestyle="", markersize=3.6)
        for label, (marker, _) in (("encode", ENCODER), ("decode", DECODER))
    ]
    axes.legend(
        handles=handles, loc="upper right", fontsize=6.3, frameon=True, framealpha=0.9,
        edgecolor="none", handletextpad=0.1, borderpad=0.2,
    )  # fmt: skip


def _ordered(block: Block) -> list[Bar]:
    return sorted(block.bars, key=lambda bar: (bar.decode[0], bar.encode[0], bar.name))


def _span(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return min(known), max(known)


def _records(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [
        {
            "system": bar.name,
            "measured": block.measured,
            "unit": block.unit,
            "encode_fastest": bar.encode[0],
            "encode_slowest": bar.encode[1],
            "decode_fastest": bar.decode[0],
            "decode_slowest": bar.decode[1],
            "where": block.where,
            "timed": bar.timed,
            "caveat": ", ".join(bar.caveats),
        }
        for block in blocks
        for bar in _ordered(block)
    ]


def _caption(blocks: Sequence[Block]) -> str:
    parts = [
        "Time to encode (pointing right) and to decode (pointing left), on logarithmic axes; "
        "open marks are published."
    ]
    for block in blocks:
        if block.measured:
            parts.append(
                f"{block.where}: measured one cell at a time with nothing beside it; the mark "
                "is the mean of a codec's fastest setting, a bar ends at its slowest."
            )
            kinds: dict[str, list[str]] = {}
            for bar in block.bars:
                kinds.setdefault(bar.timed, []).append(bar.name)
            parts += [f"{', '.join(names)}: timed is {kind}." for kind, names in kinds.items()]
            parts += [f"{bar.name}: {', '.join(bar.caveats)}." for bar in block.bars if bar.caveats]
        else:
            sources: dict[str, list[str]] = {}
            for bar in block.bars:
                sources.setdefault(bar.timed, []).append(bar.name)
            told = "; ".join(f"{', '.join(names)}: {source}" for source, names in sources.items())
            parts.append(f"{block.where}, {block.unit}: {told}.")
    if len({block.unit for block in blocks}) > 1:
        parts.append("Units and machines differ between the panels: compare within one alone.")
    return "\n".join(parts)


def _table(blocks: Sequence[Block]) -> Table:
    rows = [
        (bar.name, block.unit, _range(bar.encode), _range(bar.decode), block.where)
        for block in blocks
        for bar in _ordered(block)
    ]
    cells = [(name, unit, where, encode, decode) for name, unit, encode, decode, where in rows]
    return Table(("system", "unit", "where", "encode", "decode"), tuple(cells), 3)


def _range(span: tuple[float, float]) -> str:
    low, high = (f"{value:.2g}" if value < 10 else f"{value:.1f}" for value in span)
    return low if low == high else f"{low} to {high}" if high else NOTHING
