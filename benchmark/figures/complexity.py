"""Seconds that encoding and decoding take: a block for each unit and machine, side by side."""

from collections.abc import Collection, Sequence

from benchmark.figures.captions import CAVEAT, brief, by_name, caveat_note, grouped
from benchmark.figures.labels import (
    Drawing,
    add_legend,
    figure_width,
    panel_figure,
    plain_ticks,
    title,
    wrapped,
)
from benchmark.figures.look import WIDTHS
from benchmark.figures.style import LINE_POINTS, MARKER_POINTS, figure_style
from benchmark.figures.table import NOTHING, Table
from benchmark.published.complexity import Block, Span, records

STAGES = {"encode": ("#0072B2", ">"), "decode": ("#D55E00", "<")}  # colour and marker
NAME_SHARE = 0.45  # of a panel's share of the width; longer names are broken into lines
ROW_INCHES = 0.15
EDGE_INCHES = 0.8  # title, ticks and words of the axis


def draw_complexity(blocks: Sequence[Block], kept: Collection[str] = ()) -> Drawing:
    """Draw one panel for each block, one row for each system.

    Marks that point to the right are encoders, to the left decoders; a bar spans the settings.
    kept: names of measured systems to draw; empty for all.
    """
    import pandas as pd
    import seaborn as sns
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator

    blocks = [
        block._replace(bars=tuple(bar for bar in block.bars if bar.name in kept) or block.bars)
        if block.measured
        else block
        for block in blocks
    ]
    width = figure_width(len(blocks))
    share = width / (1 if width == WIDTHS["column"] else len(blocks))
    names = [
        [wrapped(bar.name + CAVEAT * bool(bar.caveats), NAME_SHARE * share) for bar in block.bars]
        for block in blocks
    ]
    lines = max(name.count("\n") + 1 for of_block in names for name in of_block)
    rows = max(map(len, names)) * ROW_INCHES * lines
    with figure_style():
        figure, every_axes, _ = panel_figure(len(blocks), EDGE_INCHES + rows)
        for axes, block, of_block in zip(every_axes, blocks, names, strict=True):
            seconds = [
                (row, stage, value)
                for row, bar in enumerate(block.bars)
                for stage, span in zip(STAGES, (bar.encode, bar.decode), strict=True)
                for value in span
            ]
            sns.pointplot(
                pd.DataFrame(seconds, columns=["row", "stage", "seconds"]),
                x="seconds", y="row", hue="stage", ax=axes, orient="h", legend=False,
                palette=[colour for colour, _ in STAGES.values()],
                markers=[marker for _, marker in STAGES.values()], markersize=MARKER_POINTS,
                estimator="min", errorbar=("pi", 100), linestyle="none", dodge=0.3,
                err_kws={"linewidth": LINE_POINTS},
            )  # fmt: skip
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
            axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.margins(x=0.08)
            axes.set_yticks(range(len(of_block)), of_block)
            axes.tick_params(axis="y", length=0)
            axes.set_ylabel("")
            axes.set_xlabel(wrapped(f"Time ({block.unit})", (1 - NAME_SHARE) * share))
            sns.despine(ax=axes, left=True)
            title(axes, block.where, (1 - NAME_SHARE) * share)
        handles = [
            Line2D([], [], label=stage, marker=marker, color=colour, linestyle="")
            for stage, (colour, marker) in STAGES.items()
        ]
        bars = [bar for block in blocks for bar in block.bars]
        caveats = grouped((caveat, bar.name) for bar in bars for caveat in bar.caveats)
        add_legend(figure, handles, caveat_note(caveats))
    cells = tuple(
        (bar.name, block.unit, block.where, _range(bar.encode), _range(bar.decode))
        for block in blocks
        for bar in block.bars
    )
    table = Table(("system", "unit", "where", "encode", "decode"), cells, 3)
    caption = brief(
        [
            "Time to encode (pointing right) and to decode (pointing left), on logarithmic axes; "
            "a bar spans a codec's settings.",
            "Compare within a panel alone: machines differ." * (len(blocks) > 1),
            caveat_note(caveats),
        ]
    )
    return Drawing(figure, caption, records(blocks), table, tuple(_details(blocks)))


def _details(blocks: Sequence[Block]) -> list[str]:
    parts = []
    for block in blocks:
        timed = grouped((bar.timed, bar.name) for bar in block.bars)
        if not block.measured:
            parts.append(f"{block.where}, {block.unit}: {by_name(timed)}.")
            continue
        parts.append(
            f"{block.where}: measured one cell at a time with nothing else running; the mark "
            "is the mean of a codec's fastest setting, a bar ends at its slowest."
        )
        parts += [f"{', '.join(names)}: timed is {what}." for what, names in timed.items()]
        parts += [f"{bar.name}: {', '.join(bar.caveats)}." for bar in block.bars if bar.caveats]
        gpu = [bar.name for bar in block.bars if bar.gpu]
        parts += [f"On a GPU: {', '.join(gpu)}."] * bool(gpu)
        untimed = f"Not or not wholly timed there: {', '.join(block.untimed)}."
        parts += [untimed] * bool(block.untimed)
    if len({block.unit for block in blocks}) > 1:
        parts.append("Units and machines differ between the panels: compare within one alone.")
    return parts


def _range(span: Span) -> str:
    low, high = (f"{value:.2g}" if value < 10 else f"{value:.1f}" for value in span)
    return low if low == high else f"{low} to {high}" if high else NOTHING
