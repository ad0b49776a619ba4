"""Reports of a training run: progress on standard error, read from its journal, and logs.

Logs are a csv table, TensorBoard events, Weights & Biases, and a function of the user.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any
from uuid import uuid4

from baselines.neural.training.loop import Log
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run_folder import entry_of, step_of
from baselines.neural.training.session import CSV, write_curves
from benchmark.commands import output
from benchmark.errors import UnknownName, UsageError
from benchmark.plugins import failed_in, load
from benchmark.registry import names_file
from benchmark.system.atomic import write_file

POLL_SECONDS = 0.5
TAIL_BYTES = 1 << 16  # several reports, each with a validation

Report = Mapping[str, Any]  # a line of the journal
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


FOLDER = "tensorboard"  # in that of a run


def csv_log(run: Path, recipe: Recipe | None) -> Log:
    """Return a log that writes a run's journal as a csv file, anew with each report."""
    if recipe is None:
        raise UsageError("--log csv: history.csv has these numbers already")
    return lambda _report: write_curves(run, recipe, [CSV])


def tensorboard_log(run: Path, recipe: Recipe | None) -> Log:
    """Return a log of TensorBoard events; what a resumed run repeats is replaced there."""
    from torch.utils.tensorboard import SummaryWriter

    writers: list[Any] = []

    def log(report: Mapping[str, Any]) -> None:
        step = run_step(report, recipe)
        if not writers:
            writers.append(SummaryWriter(str(run / FOLDER), purge_step=step))
        for name, value in numbers_of(report).items():
            writers[0].add_scalar(name, value, step)
        writers[0].flush()

    return log


WANDB_ID = "wandb-id"  # file in a run's folder, so that a resumed run goes on in the same place


def wandb_log(run: Path, recipe: Recipe | None) -> Log:
    """Return a log to Weights & Biases, by its own variables: WANDB_MODE=offline, WANDB_PROJECT.

    What a resumed run repeats stays there as it was the first time.
    """
    writers: list[Any] = []

    def log(report: Mapping[str, Any]) -> None:
        if not writers:
            import wandb

            run.mkdir(parents=True, exist_ok=True)
            if not (run / WANDB_ID).exists():
                write_file(run / WANDB_ID, uuid4().hex)
            name = (run / WANDB_ID).read_text()
            options = {"dir": run, "name": run.absolute().name, "resume": "allow"}
            writers.append(wandb.init(id=os.environ.get("WANDB_RUN_ID", name), **options))
        writers[0].log(numbers_of(report), step=run_step(report, recipe))

    return log


def numbers_of(report: Report) -> dict[str, float]:
    """Return the numbers of a report but its position."""
    numbers = {name: value for name, value in report.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if name not in ("stage", "step")}


LOGS: dict[str, Callable[[Path, Recipe | None], Log]] = {
    "csv": csv_log,
    "tensorboard": tensorboard_log,
    "wandb": wandb_log,
}


def log_of(names: Sequence[str], run: Path, recipe: Recipe | None) -> Log:
    """Return a log that passes each report to the logs named; see `require_logs`.

    recipe: None where reports have the step of all stages together, with 0 as their stage.
    """
    logs = [
        _of_user(name, load(name, "log"), recipe) if names_file(name) else LOGS[name](run, recipe)
        for name in names
    ]

    def log(report: Mapping[str, Any]) -> None:
        for write in logs:
            write(report)

    return log


def require_logs(names: Sequence[str]) -> None:
    """Raise `UsageError` for a name that is no log, or one that cannot be written here."""
    for name in names:
        if names_file(name):
            load(name, "log")
        elif name not in LOGS:
            raise UnknownName("log", name, [*LOGS, "FILE.py:FUNCTION"])
        elif name != "csv" and find_spec(name) is None:
            raise UsageError(
                f"--log {name}: the package {name} is not installed: install it, or take --log csv"
            )


def run_step(report: Mapping[str, Any], recipe: Recipe | None) -> int:
    """Return a report's step, counted through all stages."""
    stage, step = step_of(report)
    return (recipe.steps_before(stage) if recipe else 0) + step


def _of_user(name: str, function: Callable[[dict[str, Any]], object], recipe: Recipe | None) -> Log:
    def log(report: Mapping[str, Any]) -> None:
        try:
            function({**report, "run_step": run_step(report, recipe)})
        except Exception as error:  # a user's code raises anything
            raise failed_in(name, function, "a report", error) from error

    return log
