"""`bench published`: the registry of published curves, and measured rows compared with it."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.errors import UsageError
from benchmark.option import COMPARED, MANNER, ORIGIN, opt
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_named
from benchmark.system.text import by_key

if TYPE_CHECKING:
    from benchmark.compare.published.agreement import Finding
    from benchmark.compare.published.points import PublishedPoint
    from benchmark.metrics.metric import Metric

DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,}/\S+)", re.IGNORECASE)
# Protocol ids of metrics as a paper has them, where the column does not name it.
REPORTED = {"psnr_db": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "ms_ssim_db": "ms-ssim-db-rgb"}
SAME = 1e-6  # share by which two numbers of one point may differ

Dataset = Annotated[str, opt(COMPARED, "Dataset of the points, or 'all'.")]
Metrics = Annotated[str, opt(COMPARED, "Comma-separated metrics.", completes="metrics")]

published = Verbs("""Keep, show and compare numbers published in papers and repositories.

Examples:
  bench published list --dataset kodak
  bench published show tcm
  bench published check
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
    from benchmark.compare.published.points import inventory, overview
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
    names: Annotated[
        list[str] | None, typer.Argument(help="Systems or files; default: all with two sources.")
    ] = None,
    dataset: Annotated[str, opt(COMPARED, "Dataset of the points.")] = "kodak",
    metrics: Metrics = "psnr",
    any_overlap: options.AnyOverlap = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare every curve of these systems, of all sources, with the first; average nothing.

    Without names: the systems whose sources contradict each other by more than 0.05 dB.

    Examples:
      bench published compare doubtful:vtm --dataset kodak
      bench published compare tcm mlic++ mine.csv
      bench published compare --dataset clic2020-valid
    """
    from benchmark.compare.published.agreement import contradictions
    from benchmark.compare.published.curves import published_curves
    from benchmark.compare.published.points import DOUBTFUL
    from benchmark.compare.published.registry import chosen_points
    from benchmark.metrics.metric import Metric
    from benchmark.rows.schema import metric_names
    from benchmark.show.pair_table import apart_table

    points = chosen_points(
        results, ",".join(n.replace(",", "\\,") for n in names or [f"{DOUBTFUL}all"]), every=True
    )
    groups = []
    for name in metric_names(metrics):
        metric = Metric.named(name)
        curves = published_curves(points, dataset, metric)
        groups += contradictions(curves, metric) if not names else [(metric, curves)]
    table = apart_table([group for group in groups if len(group[1]) > 1], any_overlap)
    if as_json:
        output.print_json(output.table_for_machines(table)["rows"])
    elif not table.rows:
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
    from benchmark.compare.published.agreement import DOUBTS
    from benchmark.compare.published.points import PublishedPoint
    from benchmark.compare.published.registry import add_paper, read_curve, read_points
    from benchmark.metrics.metric import Metric

    named = {metric_named(name).column: name for name in (*METRICS, *DISTRIBUTION_METRICS)}
    doi = DOI.fullmatch(reference.strip())
    curve = read_curve(str(file), dataset, results, only_file=True)
    known = read_points(results, doubtful=True)
    points, sentences = list[PublishedPoint](), list[str]()
    for column, (bpp, values) in curve.series.items():
        metric = Metric.named(named[column]) if column in named else None
        implausible = _implausible(metric, bpp, values, known, dataset) if metric else []
        doubts = [_sentence(finding) for finding in implausible if finding.kind in DOUBTS]
        sentences += [_sentence(finding) for finding in implausible]
        name, shown = (metric and metric.published) or column, list(values)
        if column in curve.in_db:
            name, shown = "ms_ssim_db", [-10 * math.log10(1 - value) for value in values]
        copy = _copied(known, dataset, name, bpp, shown)
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


@published.verb("check")
def check(
    dataset: options.StoredDatasets = "all",
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare measured points with published ones of the same codec, dataset and rules.

    Exit code 1 where they differ by more than anything known explains.

    Examples:
      bench published check
      bench published check --dataset kodak --json
    """
    from benchmark.show.pair_table import check_published

    table, differs = check_published(results, dataset)
    if as_json:
        output.print_json({"differs": differs, **output.table_for_machines(table)})
    else:
        output.print_table(table)
    if differs:
        raise typer.Exit(1)


def _points(results: Path, names: Sequence[str], dataset: str) -> "list[PublishedPoint]":
    """Return the points of these names on a dataset; raise `UsageError` without any."""
    from benchmark.compare.published.points import select
    from benchmark.compare.published.registry import read_points

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


def _implausible(
    metric: "Metric",
    bpp: Sequence[float],
    values: Sequence[float],
    known: "Iterable[PublishedPoint]",
    dataset: str,
) -> "list[Finding]":
    """Return findings on a curve, beside the first published VTM's on the dataset."""
    from benchmark.compare.published.agreement import findings
    from benchmark.compare.published.curves import published_curves

    vtm = [p for p in known if p.system == "VTM" and not p.doubt]
    anchors = [c for c in published_curves(vtm, dataset, metric) if len(c.points) > 1]
    anchor = anchors[0].points if anchors else ()
    series = ([p.bpp for p in anchor], [p.value for p in anchor]) if anchor else None
    return findings(metric, bpp, values, series)


def _copied(
    known: "Iterable[PublishedPoint]",
    dataset: str,
    metric: str,
    bpp: Sequence[float],
    values: Sequence[float],
) -> str:
    """Return the system whose published points have all of these, or nothing."""
    import numpy as np

    alike = (p for p in known if (p.dataset, p.metric) == (dataset, metric))
    of_system = by_key((p.system, (p.bpp, p.value)) for p in alike)
    mine = [*zip(bpp, values, strict=True)]
    for system, points in of_system.items():
        if all(np.isclose(points, point, rtol=SAME, atol=0).all(axis=1).any() for point in mine):
            return system
    return ""


def _sentence(finding: "Finding") -> str:
    from benchmark.compare.curves import LEAST_POINTS

    at = f"{finding.column} at {finding.bpp:.4g} bpp"
    return {
        "falls": f"{at} is {finding.amount:.3g} below that of a lower rate",
        "above": f"{at} is {finding.amount:.3g} dB above VTM: no known codec is",
        "below": f"{at} is {finding.amount:.3g} dB below VTM: no known codec is",
        "units": f"{at} is beside VTM only if rates are multiplied by {finding.amount:.3g}: "
        f"bits per pixel are expected, not {'bytes' if finding.amount > 1 else 'eighths of a bit'}",
        "range": f"{at} is {finding.amount:.4g}, which the metric does not reach on photographs",
        "few": f"{finding.column} has {finding.amount:g} points: a BD-rate needs {LEAST_POINTS}",
    }[finding.kind]
