"""Commands that bring what stored rows lack, and the editions of them that are not shown."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.answer import Absent
from benchmark.errors import StoreError
from benchmark.rows.codecs import run_again
from benchmark.rows.edition import Edition
from benchmark.rows.store import Store
from benchmark.rows.summary import Summary
from benchmark.spec import names_code
from benchmark.system.text import bench_command


def with_remedies(summary: Summary, folder: Path, runs: Iterable[str | None]) -> Summary:
    """Return a summary of a folder's rows with what is not shown, and the command of `again`.

    runs: that the rows are of.
    """
    store = Store(folder)
    absent = (*summary.absent, *_editions_not_shown(summary, store))
    return replace(summary, absent=absent, again=_rescore_command(summary, store, runs))


def command_on_rows(verb: str, results: Path, dataset: str, **options: object) -> str:
    """Return the command line of a verb on a dataset's stored rows, with more options.

    >>> command_on_rows("report", Path("my results"), "kodak", anchor="vtm")
    "bench report --dataset kodak --anchor vtm --results 'my results'"
    """
    elsewhere = "" if results == Path("results") else results
    return bench_command(verb, dataset=dataset, **options, results=elsewhere)


def _rescore_command(summary: Summary, store: Store, runs: Iterable[str | None]) -> str:
    """Return the command that computes metrics of a store's rows, without its `--metrics`.

    That is `bench rescore`, which names the code that may run; a run that kept no streams codes its
    images again.
    """
    if streamless := [run for run in runs if run and not store.keeps_streams(run)]:
        return run_again(store.record(max(streamless)))
    specs = dict.fromkeys(edition.spec for edition in summary.editions)
    code = [spec.text for spec in specs if names_code(spec)]
    codecs = ",".join(("all", *code)) if code else ""
    return command_on_rows("rescore", store.folder.parent, store.folder.name, codecs=codecs)


def _editions_not_shown(summary: Summary, store: Store) -> Iterator[Absent]:
    """Yield the editions measured here that are not shown, each with the remedy."""
    images: dict[Edition, int] = {}
    for point in (*summary.points, *summary.replaced):
        images[point.edition] = max(images.get(point.edition, 0), point.coded)
    shown, labels = {edition.spec: edition for edition in summary.editions}, summary.labels
    for edition, count in images.items():
        if edition.bundled or edition == shown[edition.spec]:
            continue
        replacement = shown[edition.spec]
        if not replacement.bundled and replacement.ran.run > edition.ran.run:
            why = f"an older build, {edition.build_words}, is not shown"
            yield Absent(labels[edition], why)
            continue
        why = (
            f"yours ({edition.build_words}) has {count} of {images[replacement]} images: "
            f"the {'bundled' if replacement.bundled else 'older'} one is shown"
        )
        record: dict[str, Any] = {"request": {"codecs": edition.spec.text}}
        record["request"]["dataset"] = store.folder.name
        with suppress(StoreError):
            record |= store.record(edition.ran.run)
        yield Absent(labels[edition], why, run_again(record, limit=None, part=""))
