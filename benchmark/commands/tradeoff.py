"""`bench tradeoff`: compare two codecs' distortion at equal rate and realism (or as seen)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.errors import UnknownName, UsageError
from benchmark.option import COMPARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.analysis.builds import Family
    from benchmark.analysis.stored import DatasetResults
    from benchmark.analysis.summarise import Edition
    from benchmark.analysis.tradeoff import Tradeoff
    from benchmark.figures.table import Table
    from benchmark.metrics.measure import Measure


def tradeoff(
    codec: options.Codec,
    against: options.Against,
    dataset: options.StoredDataset = "kodak",
    distortion: Annotated[
        str, opt(COMPARED, "The distortion metric: psnr, psnr_y or ms_ssim.", completes="metrics")
    ] = "psnr",
    realism: Annotated[
        str,
        opt(
            COMPARED,
            "The realism metric (fid256, kid256, fd_squeeze, fd_alex), or one of perceptual "
            "quality (lpips_squeeze, dists).",
            completes="metrics",
        ),
    ] = "fid256",
    csv_file: options.CsvFile = None,
    build: Annotated[
        str,
        opt(
            COMPARED,
            "Take CODEC's variants of this build, by the first digits of its fingerprint or "
            "checkpoint; default: the newest that has most variants.",
        ),
    ] = "",
    allow_few: options.AllowFew = False,
    all_rows: options.AllRows = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare the distortion of CODEC with that of AGAINST at AGAINST's rates and realism.

    CODEC's variants (realism weights, say) of one build, that is one program or checkpoint, span a
    surface; it is interpolated at every setting of AGAINST. What is left out is named below the
    table. The interval is over draws of images, both codecs' together. A metric such as LPIPS
    compares at equal perceptual quality, which is not realism.

    Examples:
      bench tradeoff ours vtm --realism fd_squeeze
      bench tradeoff ours hyperprior --realism lpips_squeeze --csv tradeoff.csv
    """
    from dataclasses import asdict

    from benchmark.analysis.stored import read_one
    from benchmark.analysis.tradeoff import tradeoffs
    from benchmark.figures.table import csv_text
    from benchmark.metrics.measure import Measure
    from benchmark.plan.request import metric_names
    from benchmark.system.atomic import write_files

    names = metric_names(f"{distortion},{realism}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--distortion and --realism each take one metric, and not the same")
    stored = read_one(results, dataset, "all", names, allow_few=allow_few, all_rows=all_rows)
    first, second = map(Measure.named, names)
    mine = _family(stored, codec, (first, second), build)
    builds = {
        point.edition.build.fingerprint
        for point in (*stored.summary.points, *stored.summary.replaced)
        if codec in (point.label, point.edition.codec)
    }
    if not any(one.startswith(build) for one in builds):
        raise UsageError(f"no build of {codec} begins with {build!r}: {', '.join(sorted(builds))}")
    if not mine.points:
        raise UsageError(_nothing(codec, (first, second), [mine]))
    others = [_family(stored, label, (first, second)) for label in _labels(stored, against)]
    curves = {label: points for other in others for label, points in other.points.items()}
    if not curves:
        raise UsageError(_nothing(against, (first, second), others))
    result = [
        one
        for label, curve in curves.items()
        if label not in mine.points
        for one in tradeoffs(curve, list(mine.points.values()), first, second)
    ]
    if not result:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    table = _table(result, codec, first, second, stored, mine, others)
    if as_json:
        told = {"dataset": stored.name, "distortion": names[0], "realism": names[1]}
        rows = [asdict(one) for one in result]
        print(json.dumps({**told, "points": rows, "notes": table.notes}, indent=1))
    else:
        output.print_table(table)
    if csv_file is not None:
        text = csv_text([asdict(one) for one in result])
        write_files(csv_file.parent, {csv_file.name: text}, what="table")


def _labels(stored: "DatasetResults", asked: str) -> list[str]:
    """Return the labels of a codec's variants, or one; raise `UnknownName` for no such codec.

    A codec's name alone means its default network and encoder, where those have results.
    """
    from benchmark.analysis.builds import is_default

    editions = [point.edition for point in stored.summary.points]
    result = [edition for edition in editions if asked in (edition.label, edition.codec)]
    if not result:
        raise UnknownName("codec with results", asked, stored.summary.labels)
    of_default = [one for one in result if is_default(one)]
    return list(dict.fromkeys(one.label for one in of_default or result))


def _family(
    stored: "DatasetResults", asked: str, measures: "Sequence[Measure]", build: str = ""
) -> "Family":
    """Return the variants of one build of a codec, or those of one variant, by its label."""
    from benchmark.analysis.builds import one_build

    labels = _labels(stored, asked)
    points = [point.edition for point in stored.summary.points if point.label in labels]
    variants = {(point.codec, point.variant) for point in points}

    def belongs(edition: "Edition") -> bool:
        return (edition.codec, edition.variant) in variants

    return one_build(stored.summary, belongs, measures, build)


def _nothing(asked: str, measures: "Sequence[Measure]", families: "Sequence[Family]") -> str:
    metrics = " and ".join(measure.label for measure in measures)
    reasons = [sentence for family in families for sentence in family.left_out]
    return f"{asked} has no points with {metrics} to compare: {'; '.join(reasons)}"


def _table(
    found: "Sequence[Tradeoff]",
    codec: str,
    distortion: "Measure",
    realism: "Measure",
    stored: "DatasetResults",
    mine: "Family",
    others: "Sequence[Family]",
) -> "Table":
    from benchmark.analysis.interval import CONFIDENCE, DRAWS
    from benchmark.figures.table import NOTHING, Table
    from benchmark.report.left_out import gone_sentences

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
        f"The surface of {codec}: {mine.described}.",
    ]
    notes += [f"{text}." for text in gone_sentences(stored.gone)]
    notes += dict.fromkeys(
        f"{sentence[0].upper()}{sentence[1:]}."
        for other in (mine, *others)
        for sentence in other.left_out
    )
    return Table(headers, tuple(rows), 3, tuple(notes))
