"""Commands that complete stored rows; reasons why editions are not shown."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.answer import Absent
from benchmark.errors import StoreError
from benchmark.rows.codecs import rerun_command
from benchmark.rows.edition import Edition
from benchmark.rows.store import Store
from benchmark.rows.summary import Summary
from benchmark.spec import refers_to_code
from benchmark.system.text import bench_command


def add_remedies(summary: Summary, folder: Path, runs: Iterable[str | None]) -> Summary:
    """Add editions that are not shown, and `rescore_command`, to the summary of a folder."""
    store = Store(folder)
    absences = (*summary.absent, *_editions_not_shown(summary, store))
    return replace(summary, absent=absences, rescore_command=_rescore_command(summary, store, runs))


def command_on_rows(verb: str, results: Path, dataset: str, **options: object) -> str:
    """Return the command line of a verb on a dataset's stored rows."""
    results_option = "" if results == Path("results") else results
    return bench_command(verb, dataset=dataset, **options, results=results_option)


def _rescore_command(summary: Summary, store: Store, runs: Iterable[str | None]) -> str:
    """Return `bench rescore` with specs of user code, or `bench run` if streams were not kept."""
    if runs_without_streams := [run for run in runs if run and not store.keeps_streams(run)]:
        return rerun_command(store.record(max(runs_without_streams)))
    specs = dict.fromkeys(edition.spec for edition in summary.editions)
    code_specs = [spec.text for spec in specs if refers_to_code(spec)]
    codecs = ",".join(("all", *code_specs)) if code_specs else ""
    return command_on_rows("rescore", store.folder.parent, store.folder.name, codecs=codecs)


def _editions_not_shown(summary: Summary, store: Store) -> Iterator[Absent]:
    image_counts: dict[Edition, int] = {}
    for point in (*summary.points, *summary.replaced):
        image_counts[point.edition] = max(image_counts.get(point.edition, 0), point.num_attempted)
    shown_editions, labels = {edition.spec: edition for edition in summary.editions}, summary.labels
    for edition, count in image_counts.items():
        if edition.bundled or edition == shown_editions[edition.spec]:
            continue
        replacement = shown_editions[edition.spec]
        if not replacement.bundled and replacement.run_facts.run > edition.run_facts.run:
            reason = f"an older build, {edition.build_text}, is not shown"
            yield Absent(labels[edition], reason)
            continue
        reason = (
            f"your build, {edition.build_text}, has {count} of {image_counts[replacement]} "
            f"images: the {'bundled' if replacement.bundled else 'older'} build is shown"
        )
        record: dict[str, Any] = {"request": {"codecs": edition.spec.text}}
        record["request"]["dataset"] = store.folder.name
        with suppress(StoreError):
            record |= store.record(edition.run_facts.run)
        yield Absent(labels[edition], reason, rerun_command(record, limit=None, part=""))
