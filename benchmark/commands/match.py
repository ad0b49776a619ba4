"""`bench match`: compare two codecs over pairs of streams of equal quality."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.commands import options, output
from benchmark.commands.options import opt, refuse_several
from benchmark.option import COMPARED, MANNER, TARGET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.analysis.match import Average, Match, Tolerance
    from benchmark.analysis.stored import DatasetResults
    from benchmark.figures.table import Table
    from benchmark.metrics.measure import Measure


def match(
    codec: options.Codec,
    against: options.Against,
    dataset: options.StoredDataset = "kodak",
    metric: Annotated[
        str, opt(COMPARED, "The metric that has to match: psnr, ms_ssim, ...", completes="metrics")
    ] = "psnr",
    tolerance: Annotated[
        str,
        opt(
            MANNER,
            "The largest difference of matched values, in the metric's units (0.1; MS-SSIM in "
            "dB) or in percent of the larger one (1%).",
        ),
    ] = "0.1",
    as_json: options.AsJson = False,
    csv_file: options.CsvFile = None,
    pairs_file: Annotated[
        Path | None,
        opt(TARGET, "Also write every pair to this csv file.", "--pairs", refuses="file"),
    ] = None,
    all_rows: options.AllRows = False,
    results: options.Results = Path("results"),
) -> None:
    """Compare CODEC with AGAINST over pairs of streams of the same image and the same quality.

    Each stream is paired with the nearest one of the other codec, if their values of the metric
    differ by no more than the tolerance, and is in one pair at most. Printed are geometric means of
    the pairs' ratios, CODEC to AGAINST (mean differences of metrics that are better when higher),
    with 95 % intervals over images. Codecs with several variants are compared variant by variant.

    Examples:
      bench match ours jpeg
      bench match vtm avif --metric ms_ssim --tolerance 1% --csv matched.csv
    """
    from benchmark.analysis.match import matches, parse_tolerance
    from benchmark.analysis.stored import read_one
    from benchmark.figures.table import csv_text
    from benchmark.metrics.measure import Measure
    from benchmark.plan.request import metric_names
    from benchmark.registry import METRICS
    from benchmark.rows.schema import image_numbers
    from benchmark.system.atomic import write_files

    refuse_several("--metric", metric)
    allowed = parse_tolerance(tolerance)
    metrics = tuple(dict.fromkeys((*METRICS, *metric_names(metric))))
    stored = read_one(results, dataset, "all", metrics, all_rows=all_rows)
    result = matches(stored.summary, codec, against, metric, allowed)
    records = [one.for_machines() for one in result]
    if as_json:
        told = {"dataset": stored.name, "metric": metric, "tolerance": str(allowed)}
        print(json.dumps({**told, "matches": records}, indent=1))
    else:
        output.print_table(_table(result, Measure.named(metric), allowed, stored))
    if csv_file is not None:
        write_files(csv_file.parent, {csv_file.name: csv_text(records)}, what="table")
    if pairs_file is not None:
        images = stored.table["image"].to_pylist()
        names = dict(zip(image_numbers(stored.table).tolist(), images, strict=True))
        pairs = csv_text([pair for one in result for pair in one.pair_records(names)])
        write_files(pairs_file.parent, {pairs_file.name: pairs}, what="pairs")


def _table(
    found: "Sequence[Match]", by: "Measure", tolerance: "Tolerance", stored: "DatasetResults"
) -> "Table":
    from benchmark.analysis.interval import CONFIDENCE
    from benchmark.analysis.summarise import TIMED
    from benchmark.figures.table import NOTHING, Table
    from benchmark.metrics.measure import Measure
    from benchmark.registry import METRICS
    from benchmark.report.left_out import gone_sentences

    labels = {measure.column: measure.axis_label for measure in map(Measure.named, METRICS)}
    labels.setdefault(by.column, by.axis_label)
    labels |= dict(zip(TIMED, ("encode time", "decode time"), strict=True))
    measured = {name for one in found for name, average in one.averages.items() if average.pairs}
    shown = [name for name in labels if name in measured]
    percent = f"{100 * CONFIDENCE:.0f} %"
    rows = []
    for one in found:
        size = one.averages["bytes"]
        cells = [f"{one.matched_images}/{one.images}", str(len(one.pairs)), _text(size)]
        ends = size.interval
        cells.append(f"{ends.low:.3f} to {ends.high:.3f}" if ends else NOTHING)
        cells += [_text(one.averages[name]) for name in shown]
        rows.append((one.first.label, one.second.label, *cells))
    headers = (
        "codec", "against", "images", "pairs", "bytes", f"{percent} interval",
        *(labels[name] for name in shown),
    )  # fmt: skip
    notes = [
        f"{stored.name}: streams whose {by.axis_label} differs by at most {tolerance}. images: "
        "those with a pair, of those that both have.",
        "Geometric means of ratios, codec to against (0.9: a tenth less); values with a sign are "
        "mean differences. The interval is over images.",
    ]
    unmatched = [
        f"{one.unmatched[0]} of {len(one.first.bpp)} streams of {one.first.label} and "
        f"{one.unmatched[1]} of {len(one.second.bpp)} of {one.second.label}"
        for one in found
    ]
    notes.append(f"Without a match: {'; '.join(unmatched)}.")
    notes += [f"{text}." for text in gone_sentences(stored.gone)]
    caveats = dict.fromkeys(text for one in found for text in one.caveats)
    notes += [f"Caveat: {text}." for text in caveats]
    if not set(TIMED) & set(shown):
        notes.append("No times: no pair was timed alone on one machine (`bench run --timing`).")
    return Table(headers, tuple(rows), 2, tuple(notes))


def _text(average: "Average") -> str:
    from benchmark.figures.table import NOTHING

    if average.value is None:
        return NOTHING
    return f"{average.value:.3f}" if average.kind == "ratio" else f"{average.value:+.3f}"
