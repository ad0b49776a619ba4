"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from benchmark.measure.outcome import Progress

LINE_SECONDS = 30.0


@contextmanager
def show_progress(
    what: str, total: int, quiet: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """A function to call with the state of the run, often."""
    if quiet or total == 0:
        yield lambda progress: None
    elif sys.stderr.isatty():
        yield from _bar(what, total)
    else:
        yield _lines(what, total)


def _bar(what: str, total: int) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[rate]:.1f} cells/s"),
        TimeRemainingColumn(),
    )
    started = monotonic()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, failed=0, rate=0.0)

        def update(progress: Progress) -> None:
            rate = progress.finished / max(monotonic() - started, 1e-9)
            bar.update(task, completed=progress.finished, failed=progress.failed, rate=rate)

        yield update


def _lines(what: str, total: int) -> Callable[[Progress], None]:
    started = monotonic()
    spoken = started

    def update(progress: Progress) -> None:
        nonlocal spoken
        now = monotonic()
        if now - spoken < LINE_SECONDS:
            return
        spoken = now
        rate = progress.finished / (now - started)
        left = f"{(total - progress.finished) / rate:.0f} s left" if rate else "time left unknown"
        print(
            f"{what}: {progress.finished} of {total}, {progress.failed} failed, "
            f"{rate:.1f} cells/s, {left}",
            file=sys.stderr,
            flush=True,
        )

    return update
