"""`bench rank`: which codec at my rate, or at my quality."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.errors import UsageError
from benchmark.option import COMPARED, MANNER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.analysis.rank import Estimate, Ranked, Target
    from benchmark.analysis.stored import DatasetResults
    from benchmark.figures.table import Table
    from benchmark.metrics.measure import Measure


def rank(
    at: Annotated[
        list[str],
        opt(COMPARED, "A rate or a value of a metric: bpp=.3, psnr=32; repeatable.", "--at"),
    ] = ["bpp=0.3"],  # noqa: B006 - typer copies it
    dataset: options.StoredDataset = "kodak",
    codecs: options.StoredCodecs = "all",
    metrics: Annotated[
        str,
        opt(COMPARED, "Metrics to show; at a rate, the first one ranks.", completes="metrics"),
    ] = "psnr,lpips_squeeze",
    budget: Annotated[
        str, opt(MANNER, "Whose rate or value it is: each image's, or that of the set as a whole.")
    ] = "image",
    common: Annotated[
        bool, opt(MANNER, "Average over the images that all codecs reach, and rank those.")
    ] = False,
    csv_file: options.CsvFile = None,
    allow_few: options.AllowFew = False,
    all_rows: options.AllRows = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Rank codecs at a rate or at a value of a metric, by interpolation of each image's curve.

    Means are over images, with 95 % intervals. A codec that does not reach the value in all images
    is not ranked, but counted. With --budget set the bytes of all images count together.

    Examples:
      bench rank --at bpp=.3
      bench rank --at psnr=32 --at lpips_squeeze=.15 --codecs ours,vtm,avif
      bench rank --budget set --at bpp=.075 --at bpp=.15 --at bpp=.3
    """
    from benchmark.analysis.rank import RATE, parse_target
    from benchmark.analysis.rank import rank as ranked_at
    from benchmark.analysis.stored import read_one
    from benchmark.figures.table import csv_text
    from benchmark.metrics.measure import Measure
    from benchmark.plan.request import metric_names
    from benchmark.system.atomic import write_files

    if budget not in ("image", "set"):
        raise UsageError(f"--budget takes image or set, not {budget!r}")
    targets = [parse_target(text) for text in at]
    names = metric_names(metrics)
    asked = tuple(
        dict.fromkeys((*names, *(target.name for target in targets if target.name != RATE)))
    )
    stored = read_one(results, dataset, codecs, asked, allow_few=allow_few, all_rows=all_rows)
    measures = [Measure.named(one) for one in names]
    result = {
        target: ranked_at(
            stored.summary, target, measures, "set" if budget == "set" else "image", common
        )
        for target in targets
    }
    records = [one.record(measures) for of_target in result.values() for one in of_target]
    if as_json:
        told = {"dataset": stored.name, "budget": budget}
        print(json.dumps({**told, "ranks": records}, indent=1))
    else:
        output.print_table(_table(result, measures, stored, budget))
    if csv_file is not None:
        write_files(csv_file.parent, {csv_file.name: csv_text(records)}, what="table")
    if not any(one.rank for of_target in result.values() for one in of_target):
        raise typer.Exit(1)


def _table(
    found: "dict[Target, list[Ranked]]",
    measures: "Sequence[Measure]",
    stored: "DatasetResults",
    budget: str,
) -> "Table":
    from benchmark.analysis.interval import CONFIDENCE
    from benchmark.figures.table import NOTHING, Table
    from benchmark.report.left_out import gone_sentences
    from benchmark.system.text import counted

    def cell(estimate: "Estimate | None", form: str) -> str:
        if estimate is None:
            return NOTHING
        ends = estimate.interval
        return f"{estimate.value:{form}}" + (
            f" [{ends.low:{form}}, {ends.high:{form}}]" if ends else ""
        )

    rows = []
    for target, ranked in found.items():
        for one in ranked:
            if one.rank is None:
                continue
            cells = [str(target), str(one.rank), one.label, cell(one.bpp, ".3f")]
            cells += [
                cell(one.values.get(m.column), ".2f" if "dB" in m.label else ".4f")
                for m in measures
            ]
            seconds = one.encode_seconds, one.decode_seconds, one.typical_seconds
            cells += [
                NOTHING if s is None else f"{s:.2g}" if s < 100 else f"{s:.0f}" for s in seconds
            ]
            rows.append(cells)
    headers = ["at", "rank", "codec", "bpp", *(measure.label for measure in measures)]
    headers += ["encode (s)", "decode (s)", "typical (s/Mpx)"]
    shown = [at for at in range(len(headers)) if any(row[at] != NOTHING for row in rows)]
    images = max((one.images for ranked in found.values() for one in ranked), default=0)
    whose = "over all pixels of the set" if budget == "set" else "of each image"
    notes = [
        f"{stored.name}, {counted(images, 'image')}: bpp {whose}; values interpolated, with "
        f"{100 * CONFIDENCE:.0f} % intervals over images. Seconds are of an image, measured here; "
        "typical ones, to encode and decode on one core, are what the codec declares."
    ]
    for target, ranked in found.items():
        short = [
            f"{one.label} ({one.reached} of {one.images} images)"
            for one in ranked
            if one.rank is None and one.images
        ]
        notes += [
            f"Not ranked at {target}, which not all images reach: {', '.join(short)}."
        ] * bool(short)
        without = [one.label for one in ranked if not one.images]
        notes += [f"Without a curve for {target}: {', '.join(without)}."] * bool(without)
    notes += [f"{text}." for text in gone_sentences(stored.gone)]
    cut = (tuple(row[at] for at in shown) for row in (headers, *rows))
    return Table(next(cut), tuple(cut), 3, tuple(notes))
