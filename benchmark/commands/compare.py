"""`bench rank`, `tradeoff`, `match` and `bd`: codecs compared over the curves of stored rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchmark.commands import options, output
from benchmark.errors import UsageError
from benchmark.option import COMPARED, MANNER, TARGET, opt
from benchmark.registry import METRICS

if TYPE_CHECKING:
    from benchmark.show.table import Table

# Metrics that a curve's file may have.
BD_METRICS = ("psnr", "ms_ssim", "ssim", "lpips", "dists", "fid256", "kid256")


def rank(
    at: Annotated[
        list[str],
        opt(COMPARED, "A rate or a value of a metric: bpp=.3, psnr=32; repeatable.", "--at"),
    ] = ["bpp=0.3"],  # noqa: B006 - typer copies it
    dataset: options.StoredDatasets = "",
    codecs: options.ShownCodecs = "all",
    bundled: options.Bundled = "",
    anchor: options.Anchor = "",
    metrics: Annotated[
        str, opt(COMPARED, "Metrics to show; at a rate, the first one ranks.", completes="metrics")
    ] = "psnr,lpips_squeeze",
    budget: Annotated[
        str, opt(MANNER, "What has the rate or value: each image, or the set as a whole.")
    ] = "image",
    common: Annotated[
        bool, opt(MANNER, "Average over the images that all codecs reach, and rank those.")
    ] = False,
    csv_file: options.CsvFile = None,
    allow_few: options.AllowFew = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Rank codecs at a rate or at a value of a metric, by interpolation of each image's curve.

    Ranked are the codecs of the experiment and its anchor, as in a report; each dataset has a
    table. Codecs are compared on the images in which most of them reach the value; those left out
    are named. The difference from the best codec has a 95 % interval over images in pairs. With
    --budget set the bytes of all images count together.

    Examples:
      bench rank --at bpp=.3
      bench rank --at psnr=32 --at lpips_squeeze=.15 --codecs ours,vtm,avif
      bench rank --dataset kodak,sample --bundled ours,elic
      bench rank --budget set --at bpp=.075 --at bpp=.15 --at bpp=.3
    """
    from benchmark.commands.compare_tables import rank_table
    from benchmark.compare.panel import read_compared
    from benchmark.compare.rank import RATE, parse_target, rank_at
    from benchmark.metrics.metric import Metric
    from benchmark.rows.schema import metric_names
    from benchmark.rows.stored import asked_datasets

    if budget not in ("image", "set"):
        raise UsageError(f"--budget takes image or set, not {budget!r}")
    targets = [*map(parse_target, at)]
    names = metric_names(metrics)
    compared = [*names, *(target.name for target in targets if target.name != RATE)]
    shown: dict[str, Any] = {"bundled": bundled, "anchor": anchor}
    shown |= {"allow_few": allow_few}
    shown_metrics = [*map(Metric.named, names)]
    whose: Literal["image", "set"] = "set" if budget == "set" else "image"
    shown["common"] = common and whose == "set"  # else by image, of any setting
    compared_on = [
        read_compared(results, name, codecs, tuple(dict.fromkeys(compared)), **shown)
        for name in asked_datasets(results, dataset)
    ]
    facts: list[dict[str, Any]] = []
    tables: list[Table] = []
    for stored in compared_on:
        ranks = {at: rank_at(stored.summary, at, shown_metrics, whose, common) for at in targets}
        records = [
            codec.record(shown_metrics) for of_target in ranks.values() for codec in of_target
        ]
        facts.append({"dataset": stored.name, "budget": budget, "ranks": records})
        tables.append(rank_table(ranks, shown_metrics, stored, budget))
    if as_json:
        output.print_records(facts)
    for number, table in enumerate(() if as_json else tables):
        print(end="\n" if number else "")
        output.print_table(table)
    records = [{"dataset": of["dataset"], **record} for of in facts for record in of["ranks"]]
    output.write_csv(csv_file, records)
    if not any(record["rank"] for record in records):
        raise typer.Exit(1)


def tradeoff(
    codec: options.Codec,
    against: options.Against,
    dataset: options.StoredDataset = "",
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
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare the distortion of CODEC with that of AGAINST at AGAINST's rates and realism.

    CODEC's variants (realism weights, say) of one build, that is one program or checkpoint, span a
    surface; it is interpolated at every setting of AGAINST. What is left out is named below the
    table. The interval is over resampled images, the same for both codecs. A metric such as LPIPS
    compares at equal perceptual quality, which is not realism.

    Examples:
      bench tradeoff ours vtm --realism fd_squeeze
      bench tradeoff ours hyperprior --realism lpips_squeeze --csv tradeoff.csv
    """
    from dataclasses import asdict

    from benchmark.commands.compare_tables import families, require_values, tradeoff_table
    from benchmark.compare.tradeoff import tradeoffs
    from benchmark.metrics.metric import Metric
    from benchmark.rows.experiment import NO_ANCHOR
    from benchmark.rows.schema import metric_names
    from benchmark.rows.stored import read_results, require_one

    names = metric_names(f"{distortion},{realism}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--distortion and --realism each take one metric, and not the same")
    require_one(results, dataset)
    both = f"{codec},{against}"
    stored = read_results(
        results, dataset, both, names,
        choose=lambda of: (of.every_variant(), NO_ANCHOR), allow_few=allow_few,
    )  # fmt: skip
    metrics = Metric.named(names[0]), Metric.named(names[1])
    require_values(stored, metrics)
    mine, others = families(stored.summary, codec, against, metrics, build)
    points = [
        point
        for other in others
        for label, curve in other.points.items()
        if label not in mine.points
        for point in tradeoffs(curve, list(mine.points.values()), *metrics)
    ]
    if not points:
        raise UsageError(f"{codec} and {against} are the same codec: name two")
    table = tradeoff_table(points, codec, metrics, stored, mine, others)
    records = [*map(asdict, points)]
    facts = {"dataset": stored.name, "distortion": names[0], "realism": names[1]}
    facts_and_points = {**facts, "points": records, "notes": table.notes}
    output.print_comparison(as_json, facts_and_points, table, csv_file, records)


def match(
    codec: options.Codec,
    against: options.Against,
    dataset: options.StoredDataset = "",
    metric: Annotated[
        str,
        opt(
            COMPARED,
            "The metric that has to match, and others to show, or 'all'; alone: the usual ones.",
            completes="metrics",
        ),
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
    from benchmark.commands.compare_tables import image_names, match_table
    from benchmark.compare.match import matches, parse_tolerance
    from benchmark.metrics.metric import Metric
    from benchmark.rows.schema import metric_names
    from benchmark.rows.stored import read_one

    allowed, names = parse_tolerance(tolerance), metric_names(metric)
    metrics = tuple(dict.fromkeys((*METRICS, *names)))
    stored = read_one(results, dataset, f"{codec},{against}", metrics)
    matched = matches(stored.summary, codec, against, metric, allowed)
    records = [variants.for_machines() for variants in matched]
    facts = {"dataset": stored.name, "metric": names[0], "tolerance": str(allowed)}
    table = match_table(matched, [*map(Metric.named, names)], allowed, stored)
    output.print_comparison(as_json, {**facts, "matches": records}, table, csv_file, records)
    images = image_names(stored)
    output.write_csv(pairs_file, [pair for of in matched for pair in of.pair_records(images)])


def bd(
    anchor: Annotated[
        str, typer.Argument(help="Anchor: a file, or a published system such as VTM:CompressAI.")
    ],
    test: Annotated[str, typer.Argument(help="The curve to compare with it, likewise.")],
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: all that both have.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of published points.")] = "kodak",
    any_overlap: options.AnyOverlap = False,
    as_json: options.AsJson = False,
    results: options.Results = Path("results"),
) -> None:
    """Compute BD-rate and BD-metric of TEST against ANCHOR, by Akima and by the older cubic form.

    Curves are compared as `bench report` compares them: on their Pareto fronts, with a mark where
    they share less than half of what they span, and by PCHIP where one has three points.

    Files are csv, CompressAI's json or a table of a README, with columns such as bpp, psnr, ms-ssim
    (linear or in dB) and lpips. Papers differ by the form of interpolation, so both are given, with
    the share of the range that both curves reach.

    Examples:
      bench bd vtm.csv mine.json
      bench bd VTM:CompressAI mine.csv --metrics psnr
    """
    from benchmark.compare.curves import curve_of
    from benchmark.metrics.metric import Metric
    from benchmark.published.registry import read_curve
    from benchmark.rows.schema import metric_names
    from benchmark.show.pair_table import by_form, form_records, form_table

    curves = [read_curve(text, dataset, results) for text in (anchor, test)]
    first, second = (curve.name for curve in curves)
    rows: list[dict[str, Any]] = []
    for name in metric_names(metrics) if metrics else BD_METRICS:
        metric = Metric.named(name)
        columns = metric.column, metric.published
        series = [curve.series.get(columns[0]) or curve.series.get(columns[1]) for curve in curves]
        if all(series):
            both = [curve_of(*known, metric) for known in series if known]
            rows += by_form(metric, both[0], both[1], (first, second), any_overlap)
        elif metrics:
            lacking = curves[bool(series[0])]
            raise UsageError(f"{lacking.name} has no {metric.label}: name another metric")
    if not rows:
        raise UsageError(f"{first} and {second} have no metric in common")
    if as_json:
        output.print_json({"anchor": first, "test": second, "rows": [*form_records(rows)]})
    else:
        print(f"{second} against {first}")
        output.print_table(form_table(rows))
