"""Seconds to encode and decode, published and measured, in blocks of one unit and machine.

`results/published/complexity.csv` is made by `tools/import_published.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from benchmark.analysis.rate_distortion import curves, excluded
from benchmark.analysis.summarise import TIMED, Summary
from benchmark.datasets.dataset import profile
from benchmark.metrics.measure import Measure
from benchmark.published.points import Text

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


def measured_block(summary: Summary | None, dataset: str, names: Mapping[str, str]) -> Block | None:
    """Return seconds per megapixel of codecs that were timed alone; None without any.

    names: of the codecs, by label.
    """
    if summary is None:
        return None
    measures = [Measure(name, name, "lower") for name in TIMED]
    timed = [curves(summary, measure) for measure in measures]
    bars = []
    for label in summary.labels:
        if all(label in by_label for by_label in timed):
            encode, decode = (
                _span(point.means[measure.column].value for point in by_label[label])
                for measure, by_label in zip(measures, timed, strict=True)
            )
            edition = timed[0][label][0].edition
            gpu = "cuda" in edition.devices
            bars.append(Bar(names[label], encode, decode, edition.timed, edition.caveats, gpu))
    refused = {one.label for measure in measures for one in excluded(summary, measure)}
    untimed = tuple(label for label in summary.labels if label in refused)
    where = f"{profile(dataset).title}, {summary.images} images, {summary.machine}"
    return Block("s/MP", where, True, _ordered(bars), untimed) if bars else None


def published_blocks(rows: Iterable[ComplexityRow]) -> list[Block]:
    """Return one block for each machine and dataset, in seconds per whole image there."""
    blocks: dict[tuple[str, str], dict[tuple[str, str], dict[str, float]]] = {}
    for row in rows:
        block = blocks.setdefault((row.machine, row.dataset), {})
        origin = row.system, f"{row.source}, {row.reference}"
        block.setdefault(origin, {})[row.metric] = row.value
    result = []
    for (machine, dataset), systems in blocks.items():
        bars = [
            Bar(name, (v[ENCODE], v[ENCODE]), (v[DECODE], v[DECODE]), source)
            for (name, source), v in systems.items()
            if {ENCODE, DECODE} <= v.keys()
        ]
        unit = f"s per image of {profile(dataset).title}"
        result.append(Block(unit, f"published, {machine}", False, _ordered(bars)))
    return [block for block in result if block.bars]


def records(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return one flat record for every bar."""
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
        for bar in block.bars
    ]


def _ordered(bars: Iterable[Bar]) -> tuple[Bar, ...]:
    return tuple(sorted(bars, key=lambda bar: (bar.decode[0], bar.encode[0], bar.name)))


def _span(values: Iterable[float | None]) -> Span:
    known = [value for value in values if value is not None]
    return min(known), max(known)
