"""Seconds that encoding and decoding take: a block for each unit and machine, side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.figures.captions import grouped, origins_note, told
from benchmark.figures.drawing import Drawing, frame, plain_numbers, title
from benchmark.figures.layout.legend import flat_legend, settle
from benchmark.figures.layout.wrapping import drawable, text_inches, wrapped
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    GREY,
    MARKER_POINTS,
    RULE_GREY,
    SINGLE_COLUMN_INCHES,
    Origin,
    Style,
    figure_style,
    marker_fill,
)
from benchmark.figures.table import NOTHING, Table
from benchmark.published.complexity import Bar, Block, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

ROW_INCHES = 0.145
AXIS_POINTS = 8.0  # of the type of words at an axis
NAME_SHARE = 0.6  # of a panel's share of the width; longer names are broken into lines
BESIDE_INCHES = 0.15  # of a panel, between its names and its axes and beside them
EDGE_INCHES = 0.8  # title, ticks and words of the axis
ENCODER, DECODER = (">", -0.13), ("<", 0.13)  # marker, and rows downwards


def draw_complexity(blocks: Sequence[Block], styles: Mapping[str, Style]) -> Drawing:
    """Draw one panel for each block, one row for each system.

    Marks that point to the right are encoders, to the left decoders, filled as `marker_fill` has
    it; a bar spans the settings. `styles` goes by `Bar.label`.
    """
    from matplotlib.figure import Figure

    rows = max(len(block.bars) for block in blocks)
    width = SINGLE_COLUMN_INCHES if len(blocks) == 1 else DOUBLE_COLUMN_INCHES
    with figure_style():
        figure = Figure(layout="constrained")
        share = width / len(blocks)
        names = [
            [wrapped(_name(bar), NAME_SHARE * share) for bar in block.bars] for block in blocks
        ]
        lines = max(len(name.splitlines()) for block in names for name in block)
        figure.set_size_inches(width, EDGE_INCHES + ROW_INCHES * rows * lines)
        widths = [max(text_inches(name)[0] for name in block) for block in names]
        room = (width - sum(widths)) / len(blocks) - BESIDE_INCHES
        every_axes = figure.subplots(1, len(blocks), squeeze=False)[0]
        for axes, block, named in zip(every_axes, blocks, names, strict=True):
            _draw_block(axes, block, styles, len(block.bars) / rows)
            axes.set_yticks(range(len(named)), [drawable(name) for name in named])
            axes.set_xlabel(wrapped(f"Time ({block.unit})", room, AXIS_POINTS))
            title(axes, wrapped(block.where, room))
        caveats = dict.fromkeys(c for block in blocks for bar in block.bars for c in bar.caveats)
        origins = [_origin(block) for block in blocks]
        notes = [*(f"* {caveat}" for caveat in caveats), origins_note(origins, lines=False)]
        flat_legend(figure, _handles(origins[0]), "\n".join(notes))
        settle(figure)
    return Drawing(figure, _caption(blocks), records(blocks), _table(blocks))


def _draw_block(axes: "Axes", block: Block, styles: Mapping[str, Style], tight: float) -> None:
    from matplotlib.ticker import LogLocator

    for row, bar in enumerate(block.bars):
        style = styles[bar.label]
        ends = bar.encode[0], bar.decode[0]
        axes.plot([min(ends), max(ends)], [row, row], color=RULE_GREY, linewidth=0.8, zorder=1)
        for span, marker, up in ((bar.encode, *ENCODER), (bar.decode, *DECODER)):
            axes.plot(
                span, [row + tight * up] * 2, color=style.colour, linewidth=1.6, alpha=0.4,
                zorder=2, solid_capstyle="round",
            )  # fmt: skip
            axes.plot(
                span[0], row + tight * up, marker=marker, color=style.colour, zorder=3,
                markersize=MARKER_POINTS, **marker_fill(style.colour, _origin(block)),
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    plain_numbers(axes.xaxis)
    axes.margins(x=0.08)
    axes.set_ylim(len(block.bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    frame(axes)
    axes.spines["left"].set_visible(False)


def _origin(block: Block) -> Origin:
    """Return where seconds come from: those of a pack's streams are never among them."""
    return "measured" if block.measured else "published"


def _name(bar: Bar) -> str:
    return bar.name + "*" * bool(bar.caveats)


def _handles(origin: Origin) -> "list[Line2D]":
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            label=label,
            marker=marker,
            color=GREY,
            linestyle="",
            markersize=MARKER_POINTS,
            **marker_fill(GREY, origin),
        )
        for label, (marker, _) in (("encode", ENCODER), ("decode", DECODER))
    ]


def _caption(blocks: Sequence[Block]) -> str:
    parts = [
        "Time to encode (pointing right) and to decode (pointing left), on logarithmic axes; "
        "open marks are published."
    ]
    for block in blocks:
        if block.measured:
            parts.append(
                f"{block.where}: measured one cell at a time with nothing else running; the mark "
                "is the mean of a codec's fastest setting, a bar ends at its slowest."
            )
            kinds = grouped((bar.timed, bar.name) for bar in block.bars)
            parts += [f"{', '.join(names)}: timed is {kind}." for kind, names in kinds.items()]
            parts += [f"{bar.name}: {', '.join(bar.caveats)}." for bar in block.bars if bar.caveats]
        else:
            sources = grouped((bar.timed, bar.name) for bar in block.bars)
            parts.append(f"{block.where}, {block.unit}: {told(sources)}.")
    if len({block.unit for block in blocks}) > 1:
        parts.append("Units and machines differ between the panels: compare within one alone.")
    return "\n".join(parts)


def _table(blocks: Sequence[Block]) -> Table:
    rows = [
        (bar.name, block.unit, block.where, _range(bar.encode), _range(bar.decode))
        for block in blocks
        for bar in block.bars
    ]
    return Table(("system", "unit", "where", "encode", "decode"), tuple(rows), 3)


def _range(span: tuple[float, float]) -> str:
    low, high = (f"{value:.2g}" if value < 10 else f"{value:.1f}" for value in span)
    return low if low == high else f"{low} to {high}" if high else NOTHING
