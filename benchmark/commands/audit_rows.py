"""`bench audit rows`: measure stored rows again, and compare bytes, pixels and metrics."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.commands.outcome import skipped_codecs
from benchmark.commands.verb import takes
from benchmark.option import TARGET
from benchmark.plan.request import Request
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.audit.rows_again import VariantAgain
    from benchmark.plan.select import Skipped

SET_TOLERANCE = 1e-4  # relative, of distribution metrics: their features differ between processors

Sets = Mapping[str, Sequence[tuple[str, float, float]]]


@takes(Request, "limit jobs timeout_seconds device timing data_dir weights_dir vtm_dir")
def audit_rows(
    request: Request,
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    out: Annotated[
        Path,
        opt(TARGET, "Folder of the new rows; the same command resumes there.", refuses="folder"),
    ] = Path("again"),
    as_json: options.AsJson = False,
) -> None:
    """Measure the newest rows of each codec again on this machine; compare them one by one.

    Metrics are those that the rows have values of. Exit code 1 if anything differs by more than
    float rounding, but for rows of another program, library or weight file than is here, which may.

    Examples:
      bench audit rows --dataset kodak --codecs ours,elic
      bench audit rows results --dataset sample --metrics psnr --json
    """
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.analysis.stored import datasets_with_results
    from benchmark.audit import rows_again
    from benchmark.errors import UsageError
    from benchmark.plan.request import metric_names
    from benchmark.registry import DISTRIBUTION_METRICS
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.rows.store import Store

    result: list[VariantAgain] = []
    sets: dict[str, list[tuple[str, float, float]]] = {}
    skipped: dict[str, Skipped] = {}
    named = NamedCodecs(codecs)
    names_of_datasets = datasets_with_results(results, dataset)
    with output.interruptible("finished cells are kept; the same command resumes from there"):
        for name in names_of_datasets:
            store = Store(results / name.partition(":")[0])
            table = store.table()
            output.say_not_run(named.not_run(table))
            rows = rows_again.rows_to_measure(table, named)
            points = rows_again.settings_of(rows)
            if not points:
                continue
            names = rows_again.metrics_with_values(rows, metric_names(metrics))
            again = replace(
                request,
                codecs=tuple(points),
                points=tuple(text for texts in points.values() for text in texts),
                dataset=name if dataset == "all" else dataset,
                metrics=names,
                skip_missing=True,
                results=out,
            )
            outcome = output.run_with_progress(again, quiet=as_json)
            result += rows_again.compare_rows(rows, outcome.rows, names)
            skipped |= {one.codec: one for one in outcome.skipped}
            of_sets = [one for one in names if one in DISTRIBUTION_METRICS]
            folder = outcome.matrix.store.folder
            compared = rows_again.compare_sets(
                summarise_with_distributions(rows, store.folder, of_sets, allow_few=True),
                summarise_with_distributions(outcome.rows, folder, of_sets, allow_few=True),
                of_sets,
            )
            for column, values in compared.items():
                sets.setdefault(column, []).extend(values)
    if not result:
        raise UsageError(f"{results} holds no rows of {codecs}: `bench run` measures some")
    wrong = [sentence for one in result for sentence in one.wrong] + _wrong_sets(sets)
    if as_json:
        records = {
            column: [dict(zip(("point", "before", "now"), value, strict=True)) for value in values]
            for column, values in sets.items()
        }
        reasons = {name: one.why for name, one in skipped.items()}
        codecs_again = [{**asdict(one), "missing": one.missing} for one in result]
        facts = {"codecs": codecs_again, "sets": records, "skipped": reasons, "wrong": wrong}
        print(json.dumps(facts, indent=1))
    else:
        _print(result, sets, skipped, wrong)
    raise typer.Exit(1 if wrong else 0)


def _wrong_sets(sets: Sets) -> list[str]:
    return [
        f"{point}: {column} is {now}, not {before}"
        for column, values in sets.items()
        for point, before, now in values
        if abs(now - before) > SET_TOLERANCE * abs(before)
    ]


def _print(
    compared: "Sequence[VariantAgain]",
    sets: Sets,
    skipped: "Mapping[str, Skipped]",
    wrong: Sequence[str],
) -> None:
    from benchmark.audit.pack_audit import TOLERANCE
    from benchmark.figures.table import NOTHING, Table

    headers = (
        "codec", "rows", "measured again", "same bytes", "same pixels",
        "float rounding", f"values within {TOLERANCE:g}", "largest difference",
    )  # fmt: skip
    rows = [
        (
            *map(str, (one.codec, one.rows, one.measured_again, one.bytes_equal, one.pixels_equal)),
            str(one.rounded),
            f"{one.values_equal} of {one.values}",
            f"{one.largest_difference:.1g}" if one.values else NOTHING,
        )
        for one in compared
    ]
    output.print_table(Table(headers, tuple(rows), 1, ()))
    for column, values in sets.items():
        largest = max(abs(now - before) / abs(before) for _, before, now in values)
        print(f"metric   {column}: {len(values)} points, largest relative difference {largest:.1g}")
    for line in skipped_codecs(skipped.values()):
        print(f"skipped  {line}")
    for one in compared:
        if one.other_build:
            other = counted(one.other_build, "row is", "rows are")
            print(
                f"another  {one.codec}: {other} of another program, library or weight file than is "
                "here, and may differ"
            )
        if one.missing and one.codec not in skipped:
            missing = counted(one.missing, "row was", "rows were")
            print(f"absent   {one.codec}: {missing} not measured again")
    output.print_wrong(wrong)
