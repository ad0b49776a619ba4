"""`bench published`: the registry of published curves, and measured rows compared with it."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.errors import UsageError
from benchmark.option import COMPARED, MANNER, ORIGIN, opt
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_named

if TYPE_CHECKING:
    from benchmark.published.points import PublishedPoint

DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,}/\S+)", re.IGNORECASE)
# Protocol ids of metrics as a paper has them, where the column does not name it.
REPORTED = {"psnr_db": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "ms_ssim_db": "ms-ssim-db-rgb"}

Dataset = Annotated[str, opt(COMPARED, "Dataset of the points, or 'all'.")]
Metrics = Annotated[str, opt(COMPARED, "Comma-separated metrics.", completes="metrics")]

published = Verbs("""Keep, show and compare numbers published in papers and repositories.

Examples:
  bench published list --dataset kodak
  bench published show tcm
  bench published compare tcm mlic++ mine.csv
""")


@published.verb("list")
def list_all(
    dataset: Dataset = "all",
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """List published systems, a line each; of one dataset, every curve with its rule.

    Doubtful points are plotted and compared only as doubtful:NAME.

    Examples:
      bench published list --dataset kodak
    """
    from benchmark.published.points import inventory, overview
    from benchmark.show.table import Table

    headers = ("system", "variant", "dataset", "metric", "protocol", "how", "points")
    points = _points(results, ["doubtful:all"], dataset)
    table = Table(headers, tuple(inventory(points)), 6)
    if as_json:
        output.print_json(output.table_for_machines(table)["rows"])
    elif dataset == "all":
        short = ("system", "datasets", "variants", "metrics", "doubtful", "points")
        output.print_table(Table(short, tuple(overview(points)), 2))
    else:
        output.print_table(table)


@published.verb("show")
def show(
    names: Annotated[list[str], typer.Argument(help="Systems, such as tcm or VTM:CompressAI.")],
    dataset: Dataset = "all",
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Print the points of published systems with source, rule and doubts.

    Examples:
      bench published show tcm --dataset kodak
      bench published show doubtful:hpcm
    """
    from msgspec.structs import asdict

    from benchmark.answer import Column
    from benchmark.show.table import Table

    points = _points(results, names, dataset)
    if as_json:
        output.print_json([asdict(point) for point in points])
        return
    words = ("system", "variant", "dataset", "metric", "protocol", "setting")
    columns = [Column(name, name) for name in words]
    columns += [Column(name, name, ".6g") for name in ("bpp", "value")]
    output.print_table(Table.of(columns, points, _origins(points)))


@published.verb("compare")
def compare(
    names: Annotated[list[str], typer.Argument(help="Systems or files of curves.")],
    dataset: Annotated[str, opt(COMPARED, "Dataset of the points.")] = "kodak",
    metrics: Metrics = "psnr",
    any_overlap: options.AnyOverlap = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare every curve of these systems, of all sources, with the first; average nothing.

    Examples:
      bench published compare doubtful:vtm --dataset kodak
      bench published compare tcm mlic++ mine.csv
    """
    from benchmark.answer import Column
    from benchmark.compare.curves import Delta, compared
    from benchmark.metrics.metric import Metric
    from benchmark.published.curves import published_curves
    from benchmark.published.registry import chosen_points
    from benchmark.rows.schema import metric_names
    from benchmark.show.bd_tables import doubt_notes
    from benchmark.show.pair_table import DELTAS, remarks
    from benchmark.show.table import Table

    spelt = ",".join(name.replace(",", "\\,") for name in names)
    points = chosen_points(results, spelt, every=True)
    rows: list[dict[str, Any]] = []
    notes = ["By Akima's method, against the first curve; no two are averaged."]
    deltas: list[Delta] = []
    for metric in map(Metric.named, metric_names(metrics)):
        if len(curves := published_curves(points, dataset, metric)) < 2:
            continue
        first, *others = curves
        rows.append({"metric": metric, "curve": first})
        for curve in others:
            pair = compared(first.rates(metric), curve.rates(metric), metric, any_overlap)
            rows.append({"metric": metric, "curve": curve, "pair": pair})
            deltas += pair[:2]
            sentences = remarks(pair, (first.system.name, curve.system.name))
            notes += [f"{curve.system.name}, {metric.label}: {text}." for text in sentences]
    columns = (
        Column("metric", "metric.label"),
        Column("curve", "curve.system.name"),
        Column("source", lambda row: row["curve"].points[0].source),
        Column("protocol", lambda row: row["curve"].points[0].protocol),
        Column("points", lambda row: len(row["curve"].points), "d"),
        *DELTAS,
    )
    table = Table.of(columns, rows, (*notes, *doubt_notes(deltas)))
    if as_json:
        output.print_json(output.table_for_machines(table)["rows"])
    elif not rows:
        print(f"no two curves on {dataset} to compare")
    else:
        output.print_table(table)


@published.verb("add")
def add(
    file: Annotated[Path, typer.Argument(help="csv, CompressAI's json, or a table of a README.")],
    system: Annotated[str, opt(ORIGIN, "Name of the system; one curve in the file.")],
    reference: Annotated[str, opt(ORIGIN, "DOI, else the address of the numbers.")],
    dataset: Annotated[str, opt(ORIGIN, "Dataset of the means.", completes="dataset")] = "kodak",
    variant: Annotated[str, opt(ORIGIN, "Which variant, where there are several.")] = "",
    title: Annotated[str, opt(ORIGIN, "Title of the paper; default: the reference.")] = "",
    rule: Annotated[str, opt(MANNER, "How the values were computed, in your words.")] = "",
    results: options.ResultsTarget = Path("results"),
) -> None:
    """Check a curve and add it to the registry of a results folder.

    A curve that falls, or that no codec can have beside VTM's, is added as doubtful and not plotted
    unless asked for. To plot a file's curve without adding it: --published FILE.

    Examples:
      bench published add mine.json --system Mine --reference 10.1000/182
    """
    from benchmark.metrics.metric import Metric
    from benchmark.published.doubts import DOUBTS, copied, implausible, sentence
    from benchmark.published.points import PublishedPoint
    from benchmark.published.registry import add_paper, read_curve, read_points

    named = {metric_named(name).column: name for name in (*METRICS, *DISTRIBUTION_METRICS)}
    doi = DOI.fullmatch(reference.strip())
    curve = read_curve(str(file), dataset, results, only_file=True)
    known = read_points(results, doubtful=True)
    points, sentences = list[PublishedPoint](), list[str]()
    for column, (bpp, values) in curve.series.items():
        metric = Metric.named(named[column]) if column in named else None
        odd = implausible(metric, bpp, values, known, dataset) if metric else []
        doubts = [sentence(finding) for finding in odd if finding.kind in DOUBTS]
        sentences += map(sentence, odd)
        name, shown = (metric and metric.published) or column, list(values)
        if column in curve.in_db:
            name, shown = "ms_ssim_db", [-10 * math.log10(1 - value) for value in values]
        copy = copied(known, dataset, name, bpp, shown)
        sentences += [f"{name}: {copy} has these points already"] if copy else []
        points += [
            PublishedPoint(
                system=system, variant=variant, kind="point", dataset=dataset, bpp=rate,
                metric=name, value=value,
                protocol=f"{REPORTED.get(name, name.replace('_', '-'))}/reported",
                rate_protocol="bpp/reported", how="author_csv", reference=reference.strip(),
                source=title or reference, rule=rule, doubt="; ".join(doubts),
            )
            for rate, value in zip(bpp, shown, strict=True)
        ]  # fmt: skip
    path = add_paper(results, title or reference, doi[1] if doi else "", points)
    names = ", ".join(dict.fromkeys(point.metric for point in points))
    print(f"{path}: {len(points)} points of {names}")
    output.print_lines(sentences, details=True)


def _points(results: Path, names: Sequence[str], dataset: str) -> "list[PublishedPoint]":
    """Return the points of these names on a dataset; raise `UsageError` without any."""
    from benchmark.published.points import select
    from benchmark.published.registry import read_points

    chosen = select(read_points(results, doubtful=True), names)
    points = [point for point in chosen if dataset in ("all", point.dataset)]
    if not points:
        known = ", ".join(sorted({point.dataset for point in chosen}))
        raise UsageError(f"{', '.join(names)} has no points on {dataset}: name one of {known}")
    return points


def _origins(points: "Iterable[PublishedPoint]") -> Iterator[str]:
    """Yield a line for each source, rule and doubt."""
    lines: dict[str, None] = {}
    for p in points:
        where = f"{p.source}: {p.reference}" + (p.doi and f", doi:{p.doi}")
        of_values = p.rule and f"rule: {p.rule}", p.doubt and f"doubt: {p.doubt}"
        lines |= dict.fromkeys((where, *of_values))
    yield from filter(None, lines)
