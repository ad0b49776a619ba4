"""Runs of a training command, one after the other, with what is said of each on the way."""

import sys
from functools import partial
from typing import TYPE_CHECKING

import typer

from baselines.commands.training_progress import duration, show_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.neural.training.session import TrainingRun, TrainingSession


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
