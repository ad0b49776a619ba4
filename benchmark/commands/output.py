"""Output on the terminal: tables, sentences, progress, the outcome of a run, an interruption."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import typer

from benchmark.commands.verb import PlainStream
from benchmark.system.text import counted, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

    from benchmark.figures.table import Table
    from benchmark.measure.outcome import Outcome, Progress
    from benchmark.plan.estimate import WorkerPlan
    from benchmark.plan.matrix import Matrix
    from benchmark.plan.request import Request

SHOWN_PROBLEMS = 20  # of an audit
FIRST_SECONDS, LINE_SECONDS = 10.0, 30.0


def unfiltered(stream: TextIO) -> TextIO:
    """Return the stream behind `PlainStream`, for a library that draws tables and bars itself."""
    return stream.stream if isinstance(stream, PlainStream) else stream


def print_table(table: "Table") -> None:
    """Print a table, with rules on a terminal that is wide enough, else as plain text."""
    from benchmark.figures.table import plain

    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as RichTable

        console = Console(markup=False, highlight=False, file=unfiltered(sys.stdout))
        for headers in (table.headers, [header.replace(" ", "\n") for header in table.headers]):
            rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=0)
            for place, header in enumerate(headers):
                rich.add_column(header, justify="left" if place < table.words else "right")
            for row in table.rows:
                rich.add_row(*map(visible, row))
            if (
                console.measure(rich, options=console.options.update(width=9999)).maximum
                <= console.width
            ):
                console.print(rich)
                for note in table.notes:
                    console.print(visible(note))
                return
    print(plain(table), end="")  # on a terminal too narrow for columns: nothing is cut off


def table_for_machines(table: "Table") -> dict[str, object]:
    """Return the rows of a table as records of text by header, and its notes."""
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    return {"rows": rows, "notes": list(table.notes)}


@contextmanager
def interruptible(meaning: str) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM or a closed terminal (SIGHUP) into one line and exit code 130."""
    from benchmark.system.processes import interrupt_at_hang_up

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupt_at_hang_up()
    try:
        yield
    except KeyboardInterrupt:
        print(f"bench: interrupted; {meaning}", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def show_progress(
    what: str, total: int, quiet: bool = False
) -> "Iterator[Callable[[Progress], None]]":
    """Show a bar on a terminal, a line each half minute elsewhere; yield its update function.

    what: "measuring"; total: number of tasks; quiet: show nothing.
    """
    if quiet or total == 0:
        yield lambda progress: None
    elif sys.stderr.isatty():
        yield from _bar(what, total)
    else:
        yield _lines(what, total)


def _bar(what: str, total: int) -> "Iterator[Callable[[Progress], None]]":
    from rich.progress import MofNCompleteColumn, TextColumn

    started = monotonic()
    with progress_bars(MofNCompleteColumn(), TextColumn("{task.fields[rest]}")) as bars:
        task = bars.add_task(what, total=total, rest="")

        def update(progress: "Progress") -> None:
            rest = _rest(progress, total, monotonic() - started)
            bars.update(task, completed=progress.finished, rest=rest.removeprefix(", "))

        yield update


def _rest(progress: "Progress", total: int, seconds: float) -> str:
    """Return how many tasks failed and how long the others take, as far as there is such."""
    from benchmark.measure.remaining import at_this_pace

    left = progress.left
    if left is None:
        left = at_this_pace(progress.finished, total, seconds)
    failed = f", {progress.failed} failed" if progress.failed else ""
    return failed if left is None else f"{failed}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Format a rough duration.

    >>> duration(4.2), duration(89.6), duration(600), duration(9000)
    ('4 s', '90 s', '10 min', '2.5 h')
    """
    if round(seconds) <= 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress_bars(*columns: "ProgressColumn") -> "Iterator[Bars]":
    """Show bars on standard error, with a description and these columns."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    first = TextColumn("{task.description}"), BarColumn()
    console = Console(file=unfiltered(sys.stderr))
    with Bars(*first, *columns, console=console) as bars:
        yield bars


class Lines:
    """Printer of lines of progress on standard error: after ten seconds, then each half minute."""

    def __init__(self, at_once: bool = False) -> None:
        self._next_at = monotonic() + (0.0 if at_once else FIRST_SECONDS)
        self._printed = ""

    def say(self, line: Callable[[], str], last: bool = False) -> None:
        """Print a line if it is time for one, or if it is the last; no line twice."""
        if last or monotonic() >= self._next_at:
            self._next_at, before, self._printed = monotonic() + LINE_SECONDS, self._printed, line()
            if self._printed != before:
                print(self._printed, file=sys.stderr, flush=True)


def _lines(what: str, total: int) -> "Callable[[Progress], None]":
    started, lines = monotonic(), Lines()

    def update(progress: "Progress") -> None:
        lines.say(
            lambda: (
                f"{what}: {progress.finished} of {total}"
                + _rest(progress, total, monotonic() - started)
            )
        )

    return update


def run_with_progress(
    request: "Request",
    *,
    matrix: "Matrix | None" = None,
    quiet: bool = False,
    details: bool = False,
    judged: Sequence[str] = (),
) -> "Outcome":
    """Run a request; print plan, progress and warnings on standard error.

    quiet: without plan and progress. details: whole reasons why metrics are not measured. judged:
    metrics that a verdict on the outcome needs. Raises what `benchmark.measure.run.run` does.
    """
    from benchmark.measure.run import run

    def announce(
        matrix: "Matrix", lacking: Mapping[str, str], workers: "WorkerPlan | None"
    ) -> None:
        counts = (len(matrix.sources.images), "image"), (len(matrix.selection.contenders), "codec")
        planned = ", ".join(counted(*count) for count in (*counts, (len(matrix.cells), "cell")))
        say([f"{matrix.sources.dataset.name}: {planned}, {len(matrix.to_do)} to do"])
        say(metrics_not_measured(lacking, details, judged))
        if workers is not None and workers.remark and matrix.to_do:
            say([f"bench: {workers.remark}"])

    outcome = run(
        request,
        matrix=matrix,
        progress=partial(show_progress, quiet=quiet),
        announce=(lambda *_: None) if quiet else announce,
    )
    for remark in outcome.remarks:
        print(f"bench: {remark}", file=sys.stderr)
    return outcome


def metrics_not_measured(
    lacking: Mapping[str, str], details: bool = False, judged: Sequence[str] = ()
) -> list[str]:
    """Return a line for each kind of thing that a run's metrics lack.

    lacking: reasons by the names of metrics. details: one line per metric, with the whole reason.
    judged: metrics that a verdict needs.
    """
    from benchmark.metrics.availability import by_kind, labelled

    reasons = labelled(lacking)
    kinds = (
        [f"{label}: {why}" for label, why in reasons.items()]
        if details
        else by_kind(reasons.items())
    )
    lines = [f"not measured: {kind}" for kind in kinds]
    if needed := labelled({name: "" for name in lacking if name in judged}):
        lines.append(
            f"the verdict needs {', '.join(needed)}: without values it can only pass if every "
            "image has the pixels of the reference"
        )
    return lines


def say(lines: Iterable[str]) -> None:
    """Print lines on standard error at once."""
    for line in lines:
        print(visible(line), file=sys.stderr, flush=True)


def say_not_run(code: Mapping[str, int]) -> None:
    """Print a line for each program or Python file that rows name and that this command does not.

    code: numbers of rows by codec variant (`NamedCodecs.not_run`).
    """
    say(
        f"not run  {text!r}, which {counted(count, 'row')} name: it runs only where --codecs names "
        "it in full"
        for text, count in code.items()
    )


def print_wrong(sentences: Sequence[str]) -> None:
    """Print what an audit found wrong, the first `SHOWN_PROBLEMS` of it."""
    for sentence in sentences[:SHOWN_PROBLEMS]:
        print(f"wrong    {sentence}")
    if len(sentences) > SHOWN_PROBLEMS:
        print(f"wrong    and {len(sentences) - SHOWN_PROBLEMS} more")
