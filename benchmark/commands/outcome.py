"""What a run leaves: the summary for people or machines, and the exit code."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from benchmark.analysis.summarise import Summary
    from benchmark.measure.outcome import Failure, Outcome
    from benchmark.plan.matrix import Matrix
    from benchmark.plan.request import Request

SHOWN_FAILURES = 10


def run_with_progress(
    request: "Request", *, matrix: "Matrix | None" = None, quiet: bool = False
) -> "Outcome":
    """Run a request; say on standard error what is planned, how far it is and what was remarked.

    quiet: without plan and progress. Raises what `benchmark.measure.run.run` does.
    """
    from benchmark.commands.progress import show_progress
    from benchmark.measure.run import run

    outcome = run(
        request,
        matrix=matrix,
        progress=partial(show_progress, quiet=quiet),
        announce=(lambda matrix: None) if quiet else _announce,
    )
    for remark in outcome.remarks:
        print(f"bench: {remark}", file=sys.stderr)
    return outcome


def _announce(matrix: "Matrix") -> None:
    print(
        f"{matrix.sources.dataset.name}: {len(matrix.sources.images)} images, "
        f"{len(matrix.selection.contenders)} codecs, {len(matrix.cells)} cells, "
        f"{len(matrix.to_do)} to do",
        file=sys.stderr,
        flush=True,
    )


def finish(outcome: "Outcome", as_json: bool, with_table: bool, allow_few: bool) -> None:
    """Print the outcome and leave with its exit code."""
    if as_json:
        print(json.dumps(_for_machines(outcome, allow_few), indent=1))
    else:
        print_outcome(outcome, with_table, allow_few)
    raise typer.Exit(outcome.exit_code)


def _summary(outcome: "Outcome", allow_few: bool) -> "Summary":
    """Summarise the rows that were asked for."""
    from benchmark.analysis.reduce import summarise_with_distributions
    from benchmark.registry import METRICS

    names = tuple(dict.fromkeys((*METRICS, *outcome.metrics)))
    folder = outcome.matrix.store.folder
    return summarise_with_distributions(outcome.rows(), folder, names, allow_few=allow_few)


def print_problems(
    failures: "Sequence[Failure]",
    refused: Sequence[str],
    skipped: Sequence[tuple[str, str]],
) -> None:
    """Failed cells, refused images and skipped codecs, each with its reason."""
    for failure in failures[:SHOWN_FAILURES]:
        print(f"failed   {failure.cell}: {failure.stage}: {failure.reason}")
    if len(failures) > SHOWN_FAILURES:
        print(f"failed   and {len(failures) - SHOWN_FAILURES} more cells, all in the table")
    for reason in refused:
        print(f"refused  {reason}")
    for name, reason in skipped:
        print(f"skipped  {name}: {reason}")


def print_outcome(outcome: "Outcome", with_table: bool = True, allow_few: bool = False) -> None:
    """Print the means, what failed, was refused or skipped, and where the rows are."""
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.commands.output import print_summary

    if outcome.rows().num_rows and with_table:
        measures = [Measure.named(name) for name in outcome.metrics]
        print_summary(_summary(outcome, allow_few), measures)
    for one in outcome.matrix.selection.contenders:
        if one.pack is not None:
            print(f"recorded {one.spec.text}: streams of {one.info.version} from {one.pack.path}")
    print_problems(outcome.failures, [one.reason for one in outcome.refused], outcome.skipped)
    for name, count, reason in _nulls(outcome):
        print(f"no value {name} of {count} cells: {reason} (then `bench rescore` fills them in)")
    print(
        f"{outcome.measured} cells measured, {len(outcome.failures)} failed, "
        f"{len(outcome.cells) - outcome.measured} were done before; rows in "
        f"{outcome.matrix.store.folder}"
    )


def _nulls(outcome: "Outcome") -> list[tuple[str, int, str]]:
    """Return metrics without a value: column, count of cells, reason."""
    import pyarrow.compute as pc

    from benchmark.metrics.metric import metric_columns
    from benchmark.registry import metric_class, scored_by_image

    rows, found = outcome.rows(), []
    for name in scored_by_image(outcome.metrics):
        value, _, reason = metric_columns(metric_class(name).column)
        for entry in pc.value_counts(rows[reason].drop_null()).to_pylist():
            found.append((value, entry["counts"], entry["values"]))
    return found


def _for_machines(outcome: "Outcome", allow_few: bool) -> dict[str, object]:
    matrix = outcome.matrix
    return {
        "dataset": matrix.sources.dataset.name,
        "results": str(matrix.store.folder),
        "images": len(matrix.sources.images),
        "cells": len(outcome.cells),
        "measured": outcome.measured,
        "rescored": outcome.rescored,
        "failed": [failure._asdict() for failure in outcome.failures],
        "refused": {one.file.name: one.reason for one in outcome.refused},
        "skipped": dict(outcome.skipped),
        "recorded": {
            contender.spec.text: str(contender.pack.path)
            for contender in matrix.selection.contenders
            if contender.pack is not None
        },
        "without_value": [
            {"column": column, "cells": count, "reason": reason}
            for column, count, reason in _nulls(outcome)
        ],
        "summary": _summary(outcome, allow_few).for_machines() if outcome.rows().num_rows else [],
    }
