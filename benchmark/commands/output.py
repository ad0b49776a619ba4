"""Output on the terminal: tables, JSON, sentences, progress and interruptions."""

import json
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TextIO

import typer

from benchmark.commands.terminal import PlainStream
from benchmark.errors import interrupt
from benchmark.system.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn

    from benchmark.answer import Answer
    from benchmark.measure.record import Progress
    from benchmark.show.table import Table

SHOWN_LINES = 5  # maximum number of lines on failures; --verbose shows all
FIRST_SECONDS, LINE_SECONDS = 10.0, 60.0  # before the first progress line, between lines
RESUME_HINT = "finished cells are kept: repeat the command to continue"


def unwrap_stream(stream: TextIO) -> TextIO:
    """Return the stream inside `PlainStream`, for libraries that draw tables and bars."""
    return stream.stream if isinstance(stream, PlainStream) else stream


def print_json(facts: object) -> None:
    """Print a result as JSON."""
    print(json_text(facts))


def print_records(records: Sequence[object]) -> None:
    """Print records as JSON: a list, or a single record."""
    print_json(records if len(records) > 1 else records[0])


def json_text(facts: object) -> str:
    """Format a result as JSON; numbers that are not finite become null."""
    return json.dumps(_replace_non_finite(facts), indent=1, allow_nan=False)


def _replace_non_finite(facts: object) -> object:
    if isinstance(facts, float):
        return facts if math.isfinite(facts) else None
    if isinstance(facts, Mapping):
        return {name: _replace_non_finite(value) for name, value in facts.items()}
    return [*map(_replace_non_finite, facts)] if isinstance(facts, list | tuple) else facts


def print_table(table: "Table") -> None:
    """Print a table: with rules and wrapped text on a terminal, else as plain text."""
    from benchmark.show.table import plain

    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as RichTable

        console = Console(markup=False, highlight=False, file=unwrap_stream(sys.stdout))
        wide_options = console.options.update(width=9999)
        stacked_headers = tuple(header.replace(" ", "\n") for header in table.headers)
        for headers, is_wrapped in (
            (table.headers, False),
            (stacked_headers, False),
            (stacked_headers, True),
        ):
            rich_table = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=0)
            for index, header in enumerate(headers):
                is_text = index < table.words
                justify: Literal["left", "right"] = "left" if is_text else "right"
                is_rigid = not (is_wrapped and is_text)
                rich_table.add_column(header, justify=justify, overflow="fold", no_wrap=is_rigid)
            for row in table.rows:
                rich_table.add_row(*map(visible, row))
            measurement = console.measure(rich_table, options=wide_options)
            if (measurement.minimum if is_wrapped else measurement.maximum) <= console.width:
                console.print(rich_table, *map(visible, table.notes), sep="\n")
                return
    print(plain(table), end="")  # plain text is not truncated on narrow terminals


def table_record(table: "Table") -> dict[str, object]:
    """Return a table's notes, and its rows as records of strings by header."""
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    return {"rows": rows, "notes": list(table.notes)}


def print_answers(answers: "Sequence[Answer]", as_json: bool = False) -> None:
    """Print answers as JSON, or as tables followed by summary and absences."""
    from benchmark.show.table import Table

    if as_json:
        print_records(
            [
                {
                    **answer.facts,
                    **({"title": answer.title} if answer.title else {}),
                    "records": answer.records,
                    "summary": answer.summary,
                    "absent": [absence._asdict() for absence in answer.absent],
                    **({"files": [*map(str, answer.files)]} if answer.files else {}),
                }
                for answer in answers
            ]
        )
        return
    for number, answer in enumerate(answers):
        print(end="\n" if number else "")
        if answer.title:
            print(answer.title)
        # Codecs without numbers are listed below as absences
        numeric_columns = [column for column in answer.columns if column.form]
        records = [
            row for row in answer.records
            if not numeric_columns or any(c.value(row) is not None for c in numeric_columns)
        ]  # fmt: skip
        lines: list[str] = []
        if answer.absent:
            from benchmark.show.absences import absent_lines  # needs polars

            lines = absent_lines(answer.absent)
        num_hidden = len(lines) - SHOWN_LINES
        lines = lines[:SHOWN_LINES]
        if num_hidden > 0:
            lines.append(f"and {num_hidden} more: --json lists them")
        notes = [*answer.summary.splitlines(), *lines]
        if records:
            print_table(Table.create(answer.columns, records, notes).drop_empty_columns())
        elif notes:
            print(*map(visible, notes), sep="\n")
        print(*answer.files, sep="\n", end="\n" if answer.files else "")


def write_csv(path: Path | None, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records to a csv file if a path is given."""
    from benchmark.show.table import csv_text
    from benchmark.system.atomic import write_files

    if path is not None:
        names = dict.fromkeys(name for record in records for name in record)
        rows = [{name: record.get(name) for name in names} for record in records]
        write_files(path.parent, {path.name: csv_text(rows)}, what="table")


@contextmanager
def interruptible(hint: str = RESUME_HINT) -> Iterator[None]:
    """On Ctrl-C, SIGTERM or a closed terminal (SIGHUP), print one line; exit code 130."""
    from benchmark.system.processes import interrupt_at_hang_up

    signal.signal(signal.SIGTERM, interrupt)
    interrupt_at_hang_up()
    try:
        yield
    except KeyboardInterrupt:
        print(f"bench: interrupted; {hint}", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def show_progress(title: str, total: int) -> "Iterator[Callable[[Progress], None]]":
    """Show a progress bar on a terminal, else a line each minute; yield an update function."""
    from benchmark.measure.remaining import extrapolate_seconds

    start_seconds = monotonic()

    def state(progress: "Progress") -> str:
        remaining_seconds, elapsed_seconds = progress.left_seconds, monotonic() - start_seconds
        if remaining_seconds is None:
            remaining_seconds = extrapolate_seconds(progress.finished, total, elapsed_seconds)
        texts = [
            speed(progress.finished, elapsed_seconds) if elapsed_seconds >= FIRST_SECONDS else "",
            f"{progress.failed} failed" if progress.failed else "",
            "" if remaining_seconds is None else f"about {duration(remaining_seconds)} left",
            progress.current_cell,
        ]
        return ", ".join(filter(None, texts))

    if total == 0:
        yield lambda progress: None
    elif sys.stderr.isatty():
        from rich.progress import MofNCompleteColumn, TextColumn

        with progress_bars(MofNCompleteColumn(), TextColumn("{task.fields[state]}")) as bars:
            task = bars.add_task(title, total=total, state="")
            yield lambda progress: bars.update(
                task, completed=progress.finished, state=state(progress)
            )
    else:
        lines = ProgressLines()
        yield lambda progress: lines.say(
            lambda: f"{title}: {progress.finished} of {total}, {state(progress)}".removesuffix(", ")
        )


def speed(num_finished: int, seconds: float) -> str:
    """Format a speed in tasks per second, minute or hour; "" if none is finished.

    >>> speed(20, 10.0), speed(5, 100.0), speed(1, 600.0), speed(0, 9.0)
    ('2 a second', '3 a minute', '6 an hour', '')
    """
    rate = num_finished / max(seconds, 1e-9)
    for size, unit in ((1, "a second"), (60, "a minute")):
        if rate * size >= 1:
            return f"{rate * size:.2g} {unit}"
    return f"{rate * 3600:.2g} an hour" if num_finished else ""


def duration(seconds: float) -> str:
    """Format a rough duration.

    >>> duration(4.2), duration(89.6), duration(600), duration(9000), duration(417_179)
    ('4 s', '90 s', '10 min', '2.5 h', '4.8 days')
    """
    if round(seconds) <= 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} days"


@contextmanager
def progress_bars(*columns: "ProgressColumn") -> "Iterator[Bars]":
    """Show progress bars with the given columns on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    first_columns = TextColumn("{task.description}"), BarColumn()
    with Bars(*first_columns, *columns, console=Console(file=unwrap_stream(sys.stderr))) as bars:
        yield bars


class ProgressLines:
    """Printer of progress lines on standard error, after ten seconds and then each minute."""

    def __init__(self, immediate: bool = False) -> None:
        self._next_seconds = monotonic() + (0.0 if immediate else FIRST_SECONDS)
        self._last_line = ""

    def say(self, line: Callable[[], str], is_last: bool = False) -> None:
        """Print a line if it is due or is the last one, and differs from the previous line."""
        if is_last or monotonic() >= self._next_seconds:
            self._next_seconds = monotonic() + LINE_SECONDS
            previous_line, self._last_line = self._last_line, line()
            if self._last_line != previous_line:
                print(self._last_line, file=sys.stderr, flush=True)


def say(lines: Iterable[str]) -> None:
    """Print lines on standard error, unbuffered."""
    for line in lines:
        print(visible(line), file=sys.stderr, flush=True)


def say_not_run(refused_counts: Mapping[str, int]) -> None:
    """Print a line for each program or file that is not run, since only stored rows name it.

    refused_counts: see `NamedCodecs.count_refused`.
    """
    say(
        f"not run  {text}: only stored rows name this codec; to run it, give --codecs all,{text}"
        for text in refused_counts
    )


def print_lines(lines: Sequence[str], details: bool = False) -> None:
    """Print the first SHOWN_LINES lines, or all with `details`."""
    shown_lines = lines if details else lines[:SHOWN_LINES]
    for line in shown_lines:
        print(visible(line))
    if len(lines) > len(shown_lines):
        print(f"and {len(lines) - len(shown_lines)} more: -v shows them")
