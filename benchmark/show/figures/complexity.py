"""Seconds to encode and decode, measured and published: blocks of one unit and machine.

`results/published/complexity.csv` is made by `tools/import_published.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from benchmark.answer import NOTHING, Column
from benchmark.metrics.metric import Metric
from benchmark.published.curves import dataset_title
from benchmark.published.points import Text
from benchmark.rows.summary import TIMED, Summary, curves, excluded
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.style import LINE_POINTS, MARKER_POINTS, WIDTHS, figure_style
from benchmark.show.table import Table, records
from benchmark.system.text import counted

STAGES = {"encode": ("#0072B2", ">"), "decode": ("#D55E00", "<")}  # colour and marker
NAME_SHARE = 0.45  # of a panel's share of the width; longer names are broken into lines
ROW_INCHES = 0.15
EDGE_INCHES = 0.8  # title, ticks and words of the axis
ENCODE, DECODE = "encode_seconds", "decode_seconds"  # metrics of the csv, which has others, too
Span = tuple[float, float]


class ComplexityRow(msgspec.Struct, frozen=True, kw_only=True):
    """A number of one system; the field names are the csv's columns."""

    system: Text
    metric: Text
    value: float
    unit: Text
    dataset: Text
    machine: Text
    how: Text
    source: Text
    reference: Text


class Bar(NamedTuple):
    """Seconds of a system: the means of its fastest and its slowest setting."""

    name: str
    encode: Span
    decode: Span
    timed: str  # what the seconds contain, or which source and table they are from
    caveats: tuple[str, ...] = ()
    gpu: bool = False


class Block(NamedTuple):
    """Systems in one unit, measured on one machine; the slowest decoder last."""

    unit: str  # "s/MP"
    where: str  # dataset and machine, as a title
    measured: bool
    bars: tuple[Bar, ...]
    untimed: tuple[str, ...] = ()  # labels of codecs that were not timed there at all settings


def measured_block(summary: Summary, dataset: str, names: Mapping[str, str]) -> Block | None:
    """Return seconds per megapixel of codecs that were timed alone; None without any.

    names: of the codecs, by label.
    """
    metrics = [Metric(name, name, "lower") for name in TIMED]
    timed = [curves(summary, metric) for metric in metrics]
    bars = []
    for label in summary.labels:
        if all(label in by_label for by_label in timed):
            encode, decode = (
                [value for point in of[label] if (value := point.means[name].value) is not None]
                for name, of in zip(TIMED, timed, strict=True)
            )
            spans = (min(encode), max(encode)), (min(decode), max(decode))
            ran = timed[0][label][0].edition
            bars.append(Bar(names[label], *spans, ran.timed, ran.caveats, "cuda" in ran.devices))
    refused = {point.label for metric in metrics for point, _ in excluded(summary, metric)}
    untimed = tuple(label for label in summary.labels if label in refused)
    where = f"{dataset_title(dataset)}, {counted(summary.images, 'image')}, {summary.machine}"
    return Block("s/MP", where, True, _ordered(bars), untimed) if bars else None


def published_blocks(rows: Iterable[ComplexityRow]) -> list[Block]:
    """Return a block for each machine and dataset, in seconds per whole image there."""
    blocks: dict[tuple[str, str], dict[tuple[str, str], dict[str, float]]] = {}
    for row in rows:
        block = blocks.setdefault((row.machine, row.dataset), {})
        origin = row.system, f"{row.source}, {row.reference}"
        block.setdefault(origin, {})[row.metric] = row.value
    result = []
    for (machine, dataset), systems in blocks.items():
        bars = [
            Bar(name, (of[ENCODE],) * 2, (of[DECODE],) * 2, source)
            for (name, source), of in systems.items()
            if {ENCODE, DECODE} <= of.keys()
        ]
        where = f"{dataset_title(dataset)}, published, {machine}"
        if bars:
            result.append(Block("s per image", where, False, _ordered(bars)))
    return result


def _ordered(bars: Iterable[Bar]) -> tuple[Bar, ...]:
    return tuple(sorted(bars, key=lambda bar: (bar.decode[0], bar.encode[0], bar.name)))


def draw_complexity(blocks: Sequence[Block], kept: Collection[str] = ()) -> texts.Drawing:
    """Draw a panel for each block, a row for each system.

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
    width = texts.figure_width(len(blocks))
    share = width / (1 if width == WIDTHS["column"] else len(blocks))
    names = [
        [
            texts.wrapped(sections.marked(bar.name, bar.caveats), NAME_SHARE * share)
            for bar in block.bars
        ]
        for block in blocks
    ]
    lines = max(name.count("\n") + 1 for of_block in names for name in of_block)
    height = EDGE_INCHES + max(map(len, names)) * ROW_INCHES * lines
    every = [(block, bar) for block in blocks for bar in block.bars]
    caveats = sections.grouped((caveat, bar.name) for _, bar in every for caveat in bar.caveats)
    with figure_style():
        figure, every_axes, _ = texts.panel_figure(len(blocks), height)
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
            texts.plain_ticks(axes.xaxis)
            axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.margins(x=0.08)
            axes.set_yticks(range(len(of_block)), of_block)
            axes.tick_params(axis="y", length=0)
            axes.set_ylabel("")
            axes.set_xlabel(texts.wrapped(f"Time ({block.unit})", (1 - NAME_SHARE) * share))
            sns.despine(ax=axes, left=True)
            texts.title(axes, block.where, (1 - NAME_SHARE) * share)
        handles = [
            Line2D([], [], label=stage, marker=marker, color=colour, linestyle="")
            for stage, (colour, marker) in STAGES.items()
        ]
        texts.add_legend(figure, handles, sections.caveat_note(caveats))
    caption = sections.brief(
        "Time to encode (pointing right) and to decode (pointing left), on logarithmic axes; "
        "a bar spans a codec's settings.",
        "Compare within a panel alone: machines differ." if len(blocks) > 1 else None,
        sections.caveat_note(caveats),
    )
    table = Table.of(COLUMNS, every)
    return texts.Drawing(figure, caption, records(COLUMNS, every), table)


def _range(span: Span) -> str:
    low, high = (f"{value:.2g}" if value < 10 else f"{value:.1f}" for value in span)
    return low if low == high else f"{low} to {high}" if high else NOTHING


COLUMNS = (  # of a block and one of its bars
    Column("system", "1.name", key="system"),
    Column("", "0.measured", key="measured"),
    Column("unit", "0.unit", key="unit"),
    Column("where", "0.where"),
    Column("encode", "1.encode", _range),
    Column("", "1.encode.0", key="encode_fastest"),
    Column("", "1.encode.1", key="encode_slowest"),
    Column("decode", "1.decode", _range),
    Column("", "1.decode.0", key="decode_fastest"),
    Column("", "1.decode.1", key="decode_slowest"),
    Column("", "0.where", key="where"),
    Column("timed", "1.timed", key="timed"),
    Column("", lambda of: ", ".join(of[1].caveats), key="caveat"),
)
