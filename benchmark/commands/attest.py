"""`bench run --attest`: cells of a run to rows that a fresh process has vouched for."""

from typing import TYPE_CHECKING

from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.measure.run import Failure
    from benchmark.measure.workbench import Conditions
    from benchmark.plan.matrix import Matrix


def refuse_attesting(keep: bool, engine: str) -> None:
    """Raise `UsageError` where what a run leaves behind cannot be attested here."""
    if not keep:
        raise UsageError("--attest decodes kept streams again: leave --no-keep out")
    if engine != "local":
        raise UsageError(
            "--attest decodes on this machine: run the same command afterwards with --engine local"
        )


def attest_cells(matrix: "Matrix", conditions: "Conditions", quiet: bool) -> "list[Failure]":
    """Decode every stream that is not attested yet; what is not afterwards, with reasons."""
    from benchmark.audit.independent_decode import Terms, attest, kept_streams
    from benchmark.commands.progress import show_progress

    kept = kept_streams(matrix.store, [cell.key for cell in matrix.cells])
    # What codecs may run was said on the command line.
    terms = Terms(conditions.device, conditions.machine, conditions.jobs, trusted=True)
    with show_progress("attesting", kept.streams, quiet) as report:
        return attest(kept, terms, report)
