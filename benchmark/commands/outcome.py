"""What a run leaves: the summary for people or machines, and the exit code."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import typer

from benchmark.measure.run import Failure
from benchmark.plan.matrix import Matrix

if TYPE_CHECKING:
    from benchmark.analysis.summarise import Summary

SHOWN_FAILURES = 10


class Outcome(NamedTuple):
    """A finished run and the table of everything stored for its dataset."""

    matrix: Matrix
    table: pa.Table
    metrics: tuple[str, ...]  # that were asked for
    measured: int
    rescored: int
    failures: Sequence[Failure]

    def attested(self, unattested: Sequence[Failure]) -> "Outcome":
        """The same with the rows as they are now; what is not attested counts as failed."""
        failures = [*self.failures, *unattested]
        return self._replace(table=self.matrix.store.table(), failures=failures)

    @property
    def exit_code(self) -> int:
        """1 if a cell failed or an image was refused."""
        return 1 if self.failures or self.matrix.sources.refused else 0

    def asked(self) -> pa.Table:
        """The rows of the cells that were asked for."""
        keys = pa.array([cell.key for cell in self.matrix.cells], pa.string())
        return self.table.filter(pc.is_in(self.table["cell"], value_set=keys))

    def summary(self, allow_few: bool) -> "Summary":
        """Of the rows that were asked for."""
        from benchmark.analysis.reduce import summarise_with_distributions
        from benchmark.registry import METRICS

        names = tuple(dict.fromkeys((*METRICS, *self.metrics)))
        folder = self.matrix.store.folder
        return summarise_with_distributions(self.asked(), folder, names, allow_few=allow_few)


def finish(outcome: Outcome, as_json: bool, with_table: bool, allow_few: bool) -> None:
    """Print the summary and leave with the exit code."""
    if as_json:
        print(json.dumps(_for_machines(outcome, allow_few), indent=1))
    else:
        _print_for_people(outcome, with_table, allow_few)
    raise typer.Exit(outcome.exit_code)


def print_problems(
    failures: Sequence[Failure],
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


def _print_for_people(outcome: Outcome, with_table: bool, allow_few: bool) -> None:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.commands.output import print_summary

    sources = outcome.matrix.sources
    if outcome.asked().num_rows and with_table:
        measures = [Measure.named(name) for name in outcome.metrics]
        print_summary(outcome.summary(allow_few), measures)
    for one in outcome.matrix.selection.contenders:
        if one.pack is not None:
            print(f"recorded {one.spec.text}: streams of {one.info.version} from {one.pack.path}")
    refused = [one.reason for one in sources.refused]
    print_problems(outcome.failures, refused, outcome.matrix.selection.skipped)
    for name, count, reason in _nulls(outcome):
        print(f"no value {name} of {count} cells: {reason} (then `bench rescore` fills them in)")
    print(
        f"{outcome.measured} cells measured, {len(outcome.failures)} failed, "
        f"{len(outcome.matrix.cells) - outcome.measured} were done before; rows in "
        f"{outcome.matrix.store.folder}"
    )


def _nulls(outcome: Outcome) -> list[tuple[str, int, str]]:
    """Metrics without a value: column, count of cells, reason."""
    from benchmark.metrics.metric import metric_columns
    from benchmark.registry import metric_class, scored_by_image

    rows, found = outcome.asked(), []
    for name in scored_by_image(outcome.metrics):
        value, _, reason = metric_columns(metric_class(name).column)
        for entry in pc.value_counts(rows[reason].drop_null()).to_pylist():
            found.append((value, entry["counts"], entry["values"]))
    return found


def _for_machines(outcome: Outcome, allow_few: bool) -> dict[str, object]:
    matrix, rows = outcome.matrix, outcome.asked()
    return {
        "dataset": matrix.sources.dataset.name,
        "results": str(matrix.store.folder),
        "images": len(matrix.sources.images),
        "cells": len(matrix.cells),
        "measured": outcome.measured,
        "rescored": outcome.rescored,
        "failed": [failure._asdict() for failure in outcome.failures],
        "refused": {one.file.name: one.reason for one in matrix.sources.refused},
        "skipped": dict(matrix.selection.skipped),
        "recorded": {
            contender.spec.text: str(contender.pack.path)
            for contender in matrix.selection.contenders
            if contender.pack is not None
        },
        "without_value": [
            {"column": column, "cells": count, "reason": reason}
            for column, count, reason in _nulls(outcome)
        ],
        "summary": outcome.summary(allow_few).for_machines() if rows.num_rows else [],
    }
