"""Reports of a training run: progress on standard error, read from its journal, losses, logs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import polars as pl

from baselines.neural.training.how import Log, Report
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import entries, entry_of, step_of
from benchmark.commands import output
from benchmark.plugins import failed_in, load
from benchmark.system.atomic import write_file, write_files

POLL_SECONDS = 0.5
TAIL_BYTES = 1 << 16  # several reports, each with a validation

LOSSES, LOSSES_PNG = "losses.csv", "losses.png"
# Shows the last report, None before the first, the seconds since then, and whether it is the end
Show = Callable[[Report | None, float, bool], None]


@contextmanager
def show_training(journal: Path, name: str, recipe: Recipe, quiet: bool) -> Iterator[None]:
    """Show what comes into the journal while the block runs, the last report in any case.

    The file is read by a thread, so that the trainer has the main one, where signals arrive.
    """
    if quiet:
        yield
        return
    ended = Event()

    def follow(show: Show) -> None:
        before = shown = last_report(journal)  # of an earlier call
        since, over = monotonic(), False
        while not over:
            over = ended.wait(POLL_SECONDS)
            report = last_report(journal)
            if report != shown:
                shown, since = report, monotonic()
            show(None if shown == before and not over else shown, monotonic() - since, over)

    shows = _bar if sys.stderr.isatty() else _lines
    with shows(name, recipe) as show:
        thread = Thread(target=follow, args=(show,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def sentence(report: Report, recipe: Recipe) -> str:
    """Return how far a run is, its last numbers and the time that is left."""
    at, stages = report["stage"], recipe.stages
    place = f"stage {at + 1} of {len(stages)}, step {report['step']} of {stages[at].steps}"
    return f"{place}, {_figures(report, recipe)}"


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
        if (report := entry_of(line)) is not None:
            return report
    return None


@contextmanager
def _lines(name: str, recipe: Recipe) -> Iterator[Show]:
    lines = output.Lines(at_once=True)

    def line(report: Report | None, seconds: float) -> str:
        if report is None:
            return f"{name}: no step is reported yet, {output.duration(seconds)} after the start"
        late = seconds > output.LINE_SECONDS
        ago = f"; reported {output.duration(seconds)} ago" if late else ""
        return f"{name}: {sentence(report, recipe)}{ago}"

    def show(report: Report | None, seconds: float, last: bool) -> None:
        if report is not None or (seconds > output.FIRST_SECONDS and not last):
            lines.say(lambda: line(report, seconds), last)

    yield show


@contextmanager
def _bar(name: str, recipe: Recipe) -> Iterator[Show]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    console = Console(file=output.unfiltered(sys.stderr))
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn()
    bar = Progress(*columns, console=console)
    task = bar.add_task(name, total=recipe.steps)
    figures = Text()  # in a line of their own: beside the bar, 80 columns would cut them

    def show(report: Report | None, _seconds: float, _last: bool) -> None:
        if report is None:
            return
        stage = report["stage"]
        done = recipe.steps_before(stage) + report["step"]
        bar.update(task, completed=done, description=f"{name} {stage + 1}/{len(recipe.stages)}")
        figures.plain = _figures(report, recipe)

    with Live(Group(bar, figures), console=console):
        yield show


def _figures(report: Report, recipe: Recipe) -> str:
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
    return ", ".join([*parts, f"{report['skipped']} skipped"])


def log_of(names: Sequence[str], _run: Path, recipe: Recipe) -> Log:
    """Return a log that passes each report to the functions named, FILE.py:FUNCTION."""
    logs = [_of_user(name, load(name, "log"), recipe) for name in names]

    def log(report: Report) -> None:
        for write in logs:
            write(report)

    return log


def losses(reports: Iterable[Report], recipe: Recipe) -> pl.DataFrame:
    """Return a table of reports, stages counted from 1."""
    rows = []
    for entry in reports:
        stage, step = step_of(entry)
        position = {
            "stage": stage + 1,
            "step": step,
            "run_step": recipe.steps_before(stage) + step,
            "crops": recipe.crops_before(stage) + step * recipe.stages[stage].batch,
        }
        numbers = {name: of for name, of in entry.items() if isinstance(of, int | float)}
        rows.append(position | {k: of for k, of in numbers.items() if k not in position})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def write_losses(folder: Path, recipe: Recipe) -> None:
    """Write the journal of a run's folder, if any, as a csv file beside it."""
    if reports := entries(folder):
        write_files(folder, {LOSSES: losses(reports, recipe).write_csv()}, what="losses")


def draw_losses(run: Path, recipe: Recipe) -> None:
    """Draw the loss and the validation's of a run's folder over its steps, as `losses.png`."""
    from matplotlib.figure import Figure

    reports = entries(run)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("loss", "-"), ("log_loss", "-"), ("validation_loss", "o")):
        points = [(run_step(of, recipe), of[name]) for of in reports if name in of]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name, markersize=3)
    for stage in range(1, len(recipe.stages)):
        axes.axvline(recipe.steps_before(stage), color="0.7", linewidth=0.8)
    axes.set(xlabel="step", title=f"{run.name}, {recipe.name}")
    if axes.has_data():
        axes.legend()
    drawing = BytesIO()
    figure.savefig(drawing, format="png", dpi=150)
    write_file(run / LOSSES_PNG, drawing.getvalue())


def run_step(report: Mapping[str, Any], recipe: Recipe) -> int:
    """Return a report's step, counted through all stages."""
    stage, step = step_of(report)
    return recipe.steps_before(stage) + step


def _of_user(name: str, function: Callable[[dict[str, Any]], object], recipe: Recipe) -> Log:
    def log(report: Mapping[str, Any]) -> None:
        try:
            function({**report, "run_step": run_step(report, recipe)})
        except Exception as error:  # a user's code raises anything
            raise failed_in(name, function, "a report", error) from error

    return log
