"""`bench tradeoff`: compare two codecs' distortion at equal rate and realism (or as seen)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.analysis.stored import DatasetResults
    from benchmark.analysis.summarise import Point
    from benchmark.analysis.tradeoff import Tradeoff
    from benchmark.figures.table import Table
    from benchmark.metrics.measure import Measure


def tradeoff(
    codec: Annotated[str, typer.Argument(help="The codec in question, with all of its variants.")],
    against: Annotated[
        str, typer.Argument(help="The reference codec, at whose settings both are compared.")
    ],
    dataset: options.DatasetName = "kodak",
    distortion: Annotated[
        str, typer.Option(help="The distortion metric: psnr, psnr_y or ms_ssim.")
    ] = "psnr",
    realism: Annotated[
        str,
        typer.Option(
            help="The realism metric (fid256, kid256, fd_squeeze, fd_alex), or one of perceptual "
            "quality (lpips_squeeze, dists)."
        ),
    ] = "fid256",
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", help="Also write the table to this csv file, at full precision."),
    ] = None,
    allow_few: options.AllowFew = False,
    results: options.Results = Path("results"),
) -> None:
    """Compare the distortion of CODEC with that of AGAINST at AGAINST's rates and realism.

    CODEC's variants (realism weights, say) span a surface; it is interpolated at every setting of
    AGAINST. The interval is over draws of images, both codecs' together. A metric such as LPIPS
    compares at equal perceptual quality, which is not realism.
    """
    from dataclasses import asdict

    from benchmark.analysis.rate_distortion import curves
    from benchmark.analysis.stored import read_results
    from benchmark.analysis.tradeoff import tradeoffs
    from benchmark.commands.output import print_table
    from benchmark.figures.table import csv_text
    from benchmark.metrics.measure import Measure
    from benchmark.registry import metric_names

    names = metric_names(f"{distortion},{realism}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--distortion and --realism each take one metric, and not the same")
    stored = read_results(results, dataset, "all", names, allow_few=allow_few)
    first, second = map(Measure.named, names)
    of_both = [curves(stored.summary, measure) for measure in (first, second)]
    known = {label: _common(of_both, label) for label in of_both[0] if label in of_both[1]}
    mine = _variants(known, codec, stored, second)
    found = [
        one
        for label, curve in _variants(known, against, stored, second).items()
        if label not in mine
        for one in tradeoffs(curve, list(mine.values()), first, second)
    ]
    if not found:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    print_table(_table(found, codec, first, second, stored))
    if csv_file is not None:
        csv_file.write_text(csv_text([asdict(one) for one in found]))


def _common(of_both: "Sequence[Mapping[str, Sequence[Point]]]", label: str) -> "list[Point]":
    """Return a variant's points that have both metrics."""
    second = {point.setting for point in of_both[1][label]}
    return [point for point in of_both[0][label] if point.setting in second]


def _variants(
    known: "Mapping[str, list[Point]]", asked: str, stored: "DatasetResults", realism: "Measure"
) -> "dict[str, list[Point]]":
    """Return the curve of a variant by its label, or of every variant by the codec's name."""
    found = {
        label: points
        for label, points in known.items()
        if points and asked in (label, points[0].edition.codec)
    }
    if found:
        return found
    without = [
        point for point in stored.summary.points if asked in (point.label, point.edition.codec)
    ]
    if without:
        reasons = without[0].means[realism.column].reasons
        why = reasons[0][0] if reasons else "its points are not over the same images as the others"
        raise UsageError(f"{asked} has no {realism.label} to compare: {why}")
    raise UnknownName("codec with results", asked, stored.summary.labels)


def _table(
    found: "Sequence[Tradeoff]",
    codec: str,
    distortion: "Measure",
    realism: "Measure",
    stored: "DatasetResults",
) -> "Table":
    from benchmark.analysis.interval import CONFIDENCE, DRAWS
    from benchmark.figures.table import NOTHING, Table

    percent = f"{100 * CONFIDENCE:.0f} %"
    headers = (
        "against", "setting", "comparison", "bpp", realism.label, distortion.label,
        f"{codec}'s", "difference", f"{percent} interval", "certainty (%)",
    )  # fmt: skip
    words = {"equal": f"equal {realism.kind}"} | (
        {"all better": "more realistic", "all worse": "less realistic"}
        if realism.kind == "realism"
        else {"all better": f"better {realism.kind}", "all worse": f"worse {realism.kind}"}
    )
    rows = []
    for one in found:
        cells = [NOTHING] * 4
        if one.other is not None and one.difference is not None:
            interval = f"{one.low:+.3f} to {one.high:+.3f}"
            cells = [f"{one.other:.3f}", f"{one.difference:+.3f}", interval]
            cells.append(f"{100 * (one.certainty or 0):.1f}")
        place = (f"{one.bpp:.4f}", f"{one.realism:.4f}", f"{one.distortion:.3f}")
        said = words.get(one.verdict, one.verdict)
        rows.append((one.label, one.setting, said, *place, *cells))
    ids = stored.summary.protocols
    notes = [
        f"{stored.name}, {stored.summary.images} images; protocols {ids[distortion.column]}, "
        f"{ids[realism.column]}.",
        f"{words['equal']}: {codec} interpolated at the same rate and the same {realism.label}. "
        f"{words['all better']}, {words['all worse']}: every variant of {codec} is, at that rate; "
        f"its nearest one is given. other rates: {codec} has none like it.",
        f"Interval and certainty (share of draws with the same sign): {DRAWS} draws of images, "
        "both codecs' together; the interval allows for the number of images.",
    ]
    return Table(headers, tuple(rows), 3, tuple(notes))
