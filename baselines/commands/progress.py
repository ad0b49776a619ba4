"""Progress of a training run on standard error, read from its journal while it trains."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from baselines.neural.training.recipe import Recipe
from benchmark.commands import output

POLL_SECONDS = 0.5
TAIL_BYTES = 1 << 16  # several reports, each with a validation

Report = Mapping[str, Any]  # a line of the journal
Show = Callable[[Report, bool], None]  # shows a report, which may be the last
Seconds = Callable[[], float | None]  # that runs behind this one take; None where unknown


@contextmanager
def show_training(
    journal: Path, name: str, recipe: Recipe, quiet: bool, behind: Seconds | None = None
) -> Iterator[None]:
    """Show what comes into the journal while the block runs, the last report in any case.

    behind: where this is a run of a suite, the time of those behind it. The file is read by a
    thread, so that the trainer has the main one, where signals arrive.
    """
    if quiet:
        yield
        return
    ended = Event()

    def follow(show: Show) -> None:
        shown, over = last_report(journal), False  # of an earlier call
        while not over:
            over = ended.wait(POLL_SECONDS)
            report = last_report(journal)
            if report is not None and (report != shown or over):
                show(report, over)
            shown = report

    shows = _bar if sys.stderr.isatty() else _lines
    with shows(name, recipe, behind) as show:
        thread = Thread(target=follow, args=(show,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def sentence(report: Report, recipe: Recipe, behind: Seconds | None = None) -> str:
    """Return how far a run is, its last numbers and the time that is left, of its suite too."""
    at, stages = report["stage"], recipe.stages
    place = f"stage {at + 1} of {len(stages)}, step {report['step']} of {stages[at].steps}"
    return f"{place}, {_figures(report, recipe, behind)}"


def last_report(journal: Path) -> Report | None:
    """Return the last whole report; None where there is none yet."""
    try:
        with journal.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):
        try:
            report: Report = json.loads(line)
        except ValueError:
            continue
        return report
    return None


@contextmanager
def _lines(name: str, recipe: Recipe, behind: Seconds | None) -> Iterator[Show]:
    lines = output.Lines(at_once=True)
    yield lambda report, last: lines.say(
        lambda: f"{name}: {sentence(report, recipe, behind)}", last
    )


@contextmanager
def _bar(name: str, recipe: Recipe, behind: Seconds | None) -> Iterator[Show]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    console = Console(file=output.unfiltered(sys.stderr))
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn()
    bar = Progress(*columns, console=console)
    task = bar.add_task(name, total=recipe.steps)
    figures = Text()  # in a line of their own: beside the bar, 80 columns would cut them

    def show(report: Report, _last: bool) -> None:
        stage = report["stage"]
        done = recipe.steps_before(stage) + report["step"]
        bar.update(task, completed=done, description=f"{name} {stage + 1}/{len(recipe.stages)}")
        figures.plain = _figures(report, recipe, behind)

    with Live(Group(bar, figures), console=console):
        yield show


def _figures(report: Report, recipe: Recipe, behind: Seconds | None) -> str:
    """Return the last numbers, and the time left as if all stages saw as many crops per second."""
    known = {"loss": "loss {:.4g}", "bpp": "{:.3f} bpp", "validation_loss": "validation {:.4f}"}
    parts = [text.format(report[name]) for name, text in known.items() if name in report]
    for unit in ("steps", "crops"):
        rate = report[f"{unit}_per_second"]
        parts.append(f"{rate:.{1 if rate < 10 else 0}f} {unit}/s")
    stage, *later = recipe.stages[report["stage"] :]
    crops = (stage.steps - report["step"]) * stage.batch + sum(stage.crops for stage in later)
    seconds = crops / report["crops_per_second"]
    parts.append(f"{output.duration(seconds)} left")
    if behind is not None and (of_others := behind()) is not None:
        parts.append(f"{output.duration(seconds + of_others)} for the suite")
    return ", ".join([*parts, f"{report['skipped']} skipped"])
