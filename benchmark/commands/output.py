"""Tables and sentences on the terminal, and what an interruption says."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.summarise import Summary
    from benchmark.figures.table import Table

SHOWN_SENTENCES = 20


def print_summary(summary: "Summary", measures: "Sequence[Measure]") -> None:
    """A compact table of the points on the terminal, less usual and unmeasured metrics left out."""
    from benchmark.figures.table import means_table
    from benchmark.registry import DISTRIBUTION_METRICS, metric_class
    from benchmark.report.report import OVERVIEW

    columns = {metric_class(name).column for name in (*OVERVIEW, *DISTRIBUTION_METRICS)}
    shown = [one for one in measures if one.column in columns and summary.values_of(one.column)]
    print_table(means_table(summary, shown))


def print_table(table: "Table") -> None:
    """With rules on a terminal that is wide enough, else as plain text."""
    from benchmark.figures.table import plain

    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as RichTable

        console = Console(markup=False, highlight=False)
        for headers in (table.headers, [header.replace(" ", "\n") for header in table.headers]):
            rich = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=0)
            for place, header in enumerate(headers):
                rich.add_column(header, justify="left" if place < table.words else "right")
            for row in table.rows:
                rich.add_row(*row)
            if (
                console.measure(rich, options=console.options.update(width=9999)).maximum
                <= console.width
            ):
                console.print(rich)
                for note in table.notes:
                    console.print(note)
                return
    print(plain(table), end="")  # on a terminal too narrow for columns: nothing is cut off


def print_sentences(sentences: Sequence[str]) -> None:
    """Print the first of the sentences and say how many more the report has."""
    for sentence in sentences[:SHOWN_SENTENCES]:
        print(sentence)
    if len(sentences) > SHOWN_SENTENCES:
        print(f"and {len(sentences) - SHOWN_SENTENCES} more such lines, all in report.md")


@contextmanager
def interruptible(meaning: str) -> Iterator[None]:
    """Turn Ctrl-C or SIGTERM into one line and exit code 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"bench: interrupted; {meaning}", file=sys.stderr)
        raise typer.Exit(130) from None
