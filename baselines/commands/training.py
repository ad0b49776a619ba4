"""Runs of a training command, one after the other, with their progress on standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import typer

from benchmark.commands import output

if TYPE_CHECKING:
    from baselines.neural.training.session import TrainingRun, TrainingSession

POLL_SECONDS = 0.5
TAIL_BYTES = 1 << 16  # several reports, each with a validation

Report = Mapping[str, Any]  # a line of the journal
Seconds = Callable[[], float | None]  # that runs behind this one take; None where unknown


@contextmanager
def show_training(
    journal: Path,
    name: str,
    stages: Sequence[tuple[int, int]],
    quiet: bool,
    behind: Seconds | None = None,
) -> Iterator[None]:
    """Show what comes into the journal while the block runs, the last report in any case.

    stages: steps and batch of each. behind: where this is a run of a suite, the time of those
    behind it, asked for with each report that is shown. The file is read by a thread of its own, so
    that the trainer can have the main one, where signals arrive.
    """

    if quiet:
        yield
    elif sys.stderr.isatty():
        with _bar(name, stages, behind) as show:
            yield from _followed(journal, show)
    else:
        lines = output.Lines(at_once=True)

        def show(report: Report, last: bool) -> None:
            lines.say(lambda: f"{name}: {sentence(report, stages, behind)}", last)

        yield from _followed(journal, show)


def sentence(
    report: Report, stages: Sequence[tuple[int, int]], behind: Seconds | None = None
) -> str:
    """Return how far a run is, its last numbers and the time that is left, of its suite too.

    >>> sentence({"stage": 0, "step": 50, "skipped": 1, "steps_per_second": 0.5, "loss": 2,
    ...     "crops_per_second": 4, "bpp": 0.25}, [(100, 8)])
    'stage 1 of 1, step 50 of 100, loss 2, 0.250 bpp, 0.5 steps/s, 4.0 crops/s, 2 min left,
     1 skipped'
    """
    stage = report["stage"]
    parts = [f"stage {stage + 1} of {len(stages)}", f"step {report['step']} of {stages[stage][0]}"]
    left = _left(report, stages, behind)
    return ", ".join([*parts, *_figures(report), *left, _skipped(report)])


def duration(seconds: float) -> str:
    """Return a time in words, rounded.

    >>> duration(99), duration(100), duration(7260)
    ('99 s', '2 min', '2 h 1 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


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
            result: Report = json.loads(line)
        except ValueError:
            continue
        return result
    return None


def _followed(journal: Path, show: Callable[[Report, bool], None]) -> Iterator[None]:
    """Call `show` with each new report, and whether it is the last one, while the block runs."""
    ended = Event()
    thread = Thread(target=_follow, args=(journal, show, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(journal: Path, show: Callable[[Report, bool], None], ended: Event) -> None:
    seen = last_report(journal)  # of an earlier call
    over = False
    while not over:
        over = ended.wait(POLL_SECONDS)
        report = last_report(journal)
        if report is not None and (report != seen or over):
            show(report, over)
        seen = report


@contextmanager
def _bar(
    name: str, stages: Sequence[tuple[int, int]], behind: Seconds | None
) -> Iterator[Callable[[Report, bool], None]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    console = Console(file=output.unfiltered(sys.stderr))
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn()
    bar = Progress(*columns, console=console)
    task = bar.add_task(name, total=sum(steps for steps, _ in stages))
    figures = Text()  # in a line of their own: beside the bar, 80 columns would cut them
    with Live(Group(bar, figures), console=console):

        def show(report: Report, _last: bool) -> None:
            stage = report["stage"]
            done = sum(steps for steps, _ in stages[:stage]) + report["step"]
            bar.update(task, completed=done, description=f"{name} {stage + 1}/{len(stages)}")
            left = _left(report, stages, behind)
            figures.plain = ", ".join([*_figures(report), *left, _skipped(report)])

        yield show


def _figures(report: Report) -> list[str]:
    known = ("loss", "loss {:.4g}"), ("bpp", "{:.3f} bpp"), ("validation_loss", "validation {:.4f}")
    shown = [text.format(report[name]) for name, text in known if name in report]
    rates = (report["steps_per_second"], "steps/s"), (report["crops_per_second"], "crops/s")
    return [*shown, *(f"{value:.{1 if value < 10 else 0}f} {unit}" for value, unit in rates)]


def _skipped(report: Report) -> str:
    return f"{report['skipped']} skipped"


def _left(report: Report, stages: Sequence[tuple[int, int]], behind: Seconds | None) -> list[str]:
    """Time left; later stages are taken to see as many crops per second as this one."""
    stage = report["stage"]
    crops = (stages[stage][0] - report["step"]) * stages[stage][1]
    crops += sum(steps * batch for steps, batch in stages[stage + 1 :])
    seconds = crops / report["crops_per_second"]
    later = None if behind is None else behind()
    whole = [] if later is None else [f"{duration(seconds + later)} for the suite"]
    return [f"{duration(seconds)} left", *whole]


def train_all(runs: "Sequence[TrainingRun]", session: "TrainingSession", quiet: bool) -> None:
    """Train each run to its end and a checkpoint; `typer.Exit` where time or a signal ends it."""
    from baselines.neural.training.session import is_complete, leads
    from baselines.neural.training.workers import decided

    quiet = quiet or not leads()
    if len(runs) > 1 and not quiet:
        print(outlook(runs), file=sys.stderr, flush=True)
    for number, run in enumerate(runs):
        if decided(is_complete(run)):
            _say(f"{run.target}: finished before, {run.steps} steps")
            continue
        _train_one(runs, number, session, quiet)
        if run is not runs[-1]:
            stop_if_over(run, session)


def outlook(runs: "Sequence[TrainingRun]") -> str:
    """Return what a suite has before it, in words."""
    from baselines.neural.training.session import is_complete, seconds_left, steps_left

    finished = sum(map(is_complete, runs))
    seconds = seconds_left(runs, runs)
    time = "their time unknown" if seconds is None else f"about {duration(seconds)}"
    return f"{len(runs)} networks, {finished} finished: {steps_left(runs)} steps left, {time}"


def stop_if_over(run: "TrainingRun", session: "TrainingSession") -> None:
    """End the command between two runs where the deadline has passed."""
    from baselines.neural.training.workers import decided

    if decided(session.is_over):
        _say(f"the time is over after {run.name}; the same command resumes with the next")
        raise typer.Exit(0)


def how_far(run: "TrainingRun") -> str:
    """Return the progress of a run in words."""
    from baselines.neural.training.session import position_of

    stage, step, done = position_of(run)
    if done == run.steps:
        return f"finished, {done} steps"
    where = f", in stage {stage} of {len(run.stages)} at step {step}" if stage else ""
    return f"{done} of {run.steps} steps ({100 * done / run.steps:.0f} %){where}"


def _train_one(
    runs: "Sequence[TrainingRun]", number: int, session: "TrainingSession", quiet: bool
) -> None:
    from baselines.neural.training.export import export
    from baselines.neural.training.precision import precision_of
    from baselines.neural.training.run_folder import JOURNAL
    from baselines.neural.training.session import Ended, leads, resume, seconds_left

    run, later = runs[number], runs[number + 1 :]
    if not quiet:
        stage = run.recipe.stages[0]
        precision: str = precision_of(run.recipe, stage, session.device)
        if precision == "float32" and run.recipe.autocast and not stage.float32:
            precision += ", since the processor has no instructions for bfloat16"
        where = f"on {session.device} in {precision}"
        print(f"{run.name}: {how_far(run)}, {where}", file=sys.stderr, flush=True)
    behind = partial(seconds_left, later, runs) if len(runs) > 1 else None
    shown = show_training(run.folder / JOURNAL, run.name, run.stages, quiet, behind)
    ended = resume(run, session, shown)
    if ended is Ended.FINISHED:
        if leads():
            card = export(run, session)
            _say(f"{run.target}: checkpoint {card.sha256[:8]}, {how_far(run)}")
        return
    why = "interrupted" if ended is Ended.INTERRUPTED else "the time is over"
    _say(f"{run.folder}: {why} after {how_far(run)}; the same command resumes from there")
    raise typer.Exit(130 if ended is Ended.INTERRUPTED else 0)


def _say(sentence: str) -> None:
    from baselines.neural.training.session import leads

    if leads():
        print(sentence, flush=True)
