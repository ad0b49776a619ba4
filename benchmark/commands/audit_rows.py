"""`bench audit rows`: measure stored rows again, and compare bytes, pixels and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import takes
from benchmark.errors import UnknownName
from benchmark.measure.request import Request
from benchmark.option import TARGET, opt
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.measure.select import Skipped
    from benchmark.review.audit.stored_results import SetAgain, VariantAgain


@takes(Request, "limit jobs timeout_seconds device timing data_dir weights_dir vtm_dir")
def audit_rows(
    request: Request,
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    dataset: options.StoredDatasets = "all",
    codecs: options.StoredCodecs = "all",
    metrics: options.ComparedMetrics = "all",
    out: Annotated[
        Path | None,
        opt(
            TARGET,
            "Folder of the new rows, in which the same command resumes; default: RESULTS/again.",
            refuses="folder",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure the newest rows of each codec again on this machine; compare them one by one.

    Metrics are those that the rows have values of. Exit code 1 if anything differs by more than
    float rounding, except for rows of a program, library or weight file that is not the one here,
    and a network's of another kind of processor, whose streams are of about the size.

    Examples:
      bench audit rows --dataset kodak --codecs ours,elic
      bench audit rows results --dataset sample --metrics psnr --json
    """
    from benchmark.commands.outcome import run_with_progress
    from benchmark.review.audit import stored_results
    from benchmark.rows.codecs import NamedCodecs
    from benchmark.rows.experiment import required_place
    from benchmark.rows.reduce import summarise_with_distributions
    from benchmark.rows.schema import metric_names
    from benchmark.rows.store import Store
    from benchmark.rows.stored import asked_datasets, datasets_with_results
    from benchmark.rows.systems import known_names

    compared: list[VariantAgain] = []
    sets: dict[str, list[SetAgain]] = {}  # by column
    skipped: dict[str, Skipped] = {}
    known: set[str] = set()
    named, chosen = NamedCodecs(codecs), metric_names(metrics)
    names_of_datasets = datasets_with_results(results, dataset)
    with output.interruptible():
        for place, name in zip(asked_datasets(results, dataset), names_of_datasets, strict=True):
            store = Store(results / name.partition(":")[0])
            table = store.table()
            known |= known_names(table.select("codec", "variant").unique().rows())
            output.say_not_run(named.not_run(table))
            rows = stored_results.rows_to_measure(table, named)
            points = stored_results.settings_of(rows)
            if not points:
                continue
            names = stored_results.metrics_with_values(rows, chosen)
            again = replace(
                request,
                codecs=tuple(points),
                points=tuple(text for texts in points.values() for text in texts),
                dataset=required_place(results, place),
                metrics=names,
                skip_missing=True,
                results=out or results / "again",
            )
            outcome = run_with_progress(again, quiet=as_json)
            compared += stored_results.compare_rows(rows, outcome.rows, names)
            skipped |= {codec.codec: codec for codec in outcome.skipped}
            of_sets = [metric for metric in names if metric in DISTRIBUTION_METRICS]
            before, now = (
                summarise_with_distributions(measured, folder, of_sets, allow_few=True)
                for measured, folder in (
                    (rows, store.folder),
                    (outcome.rows, outcome.matrix.store.folder),
                )
            )
            for column, values in stored_results.compare_sets(before, now, of_sets).items():
                sets.setdefault(column, []).extend(values)
    if not compared:
        raise UnknownName("codec with results", codecs, known)
    wrong = stored_results.what_is_wrong(compared, sets)
    if as_json:
        records = {column: [value._asdict() for value in values] for column, values in sets.items()}
        reasons = {name: codec.why for name, codec in skipped.items()}
        variants = [{**asdict(variant), "missing": variant.missing} for variant in compared]
        output.print_json({"codecs": variants, "sets": records, "skipped": reasons, "wrong": wrong})
    else:
        _print(compared, sets, skipped)
        output.print_wrong(wrong)
    raise typer.Exit(1 if wrong else 0)


def _print(
    compared: "Sequence[VariantAgain]",
    sets: "Mapping[str, Sequence[SetAgain]]",
    skipped: "Mapping[str, Skipped]",
) -> None:
    from benchmark.answer import Column
    from benchmark.commands.outcome import skipped_codecs
    from benchmark.review.audit.pack_audit import TOLERANCE
    from benchmark.review.audit.stored_results import DB_APART, SIZE_APART
    from benchmark.show.table import Table

    columns = (
        Column("codec"),
        Column("rows", "rows", "d"),
        Column("measured again", "measured_again", "d"),
        Column("same bytes", "bytes_equal", "d"),
        Column("same pixels", "pixels_equal", "d"),
        Column("float rounding", "rounded", "d"),
        Column(f"values within {TOLERANCE:g}", lambda of: f"{of.values_equal} of {of.values}", str),
        Column(
            "largest difference", lambda of: of.largest_difference if of.values else None, ".1g"
        ),
    )
    output.print_table(Table.of(columns, compared))
    for column, values in sets.items():
        largest = max(value.difference for value in values)
        print(f"metric   {column}: {len(values)} points, largest relative difference {largest:.1g}")
    for line in skipped_codecs(skipped.values()):
        print(f"skipped  {line}")
    for variant in compared:
        if variant.other_build:
            other = counted(variant.other_build, "row is", "rows are")
            print(
                f"another  {variant.codec}: {other} of another program, library or weight file "
                "than is here, and may differ"
            )
        if variant.other_processor:
            other = counted(variant.other_processor, "row is", "rows are")
            print(
                f"another  {variant.codec}: {other} of another kind of processor, a network's "
                f"streams within {100 * SIZE_APART:g} % in size and {DB_APART:g} dB in PSNR"
            )
        if variant.missing and variant.codec not in skipped:
            missing = counted(variant.missing, "row was", "rows were")
            print(f"absent   {variant.codec}: {missing} not measured again")
