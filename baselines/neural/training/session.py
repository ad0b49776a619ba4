"""Runs of a command, trained in part or to the end with loss curves, and their time left."""

import fcntl
import os
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import msgspec

from baselines.neural.training.curves import write_curves
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.run import RunRecord, Subject, read_record, train
from baselines.neural.training.run_folder import JOURNAL, Journal, step_of
from baselines.neural.training.workers import Launch
from benchmark.codec import Pixels
from benchmark.errors import BenchError, UsageError
from benchmark.system.processes import passed_on


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A network to train, and the files that it is written to."""

    name: str
    folder: Path
    target: Path  # of the checkpoint, a json card beside it
    subject: Subject
    recipe: Recipe

    @property
    def stages(self) -> list[tuple[int, int]]:
        """Steps and batch of each stage."""
        return [(stage.steps, stage.batch) for stage in self.recipe.stages]

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return self.recipe.steps_before(len(self.recipe.stages))


@dataclass(frozen=True, slots=True)
class TrainingSession:
    """Conditions that all runs of a command share."""

    data: tuple[Path, ...]  # photographs, or folders of them
    data_name: str
    validation: Sequence[Pixels]
    device: str
    deadline: float | None  # on the clock of `monotonic`
    command: str  # that makes the same networks, for their cards
    held_out: frozenset[str] = frozenset()  # paths in `data` that are not trained on
    half: bool = False  # round weights to float16 when they become a checkpoint
    quantised: bool = False  # write the weights that tolerate it as integers of few bits
    deterministic: bool = False  # train with deterministic kernels alone

    @property
    def is_over(self) -> bool:
        """True where the deadline has passed."""
        return self.deadline is not None and monotonic() >= self.deadline


class Ended(Enum):
    """Reason why a call of the trainer ended."""

    FINISHED = "the last stage is finished"
    OUT_OF_TIME = "the time is over"
    INTERRUPTED = "a signal came"


class Position(NamedTuple):
    """Position of a run by its journal."""

    stage: int  # counted from 1; 0 before the first report
    step: int  # of the stage
    run_step: int


def leads() -> bool:
    """Return whether this process reports and writes: the only one, or the first of torchrun's."""
    launch = Launch.found()
    return launch is None or launch.rank == 0


def position_of(run: TrainingRun) -> Position:
    """Return the position of a run, exact after a call of the trainer that ended by itself."""
    entries = Journal(run.folder / JOURNAL).entries()
    if not entries:
        return Position(0, 0, 0)
    stage, step = step_of(entries[-1])
    return Position(stage + 1, step, run.recipe.steps_before(stage) + step)


def is_complete(run: TrainingRun) -> bool:
    """Return whether all steps of exactly this run are in its checkpoint already."""
    try:
        card = msgspec.json.decode(run.target.with_suffix(".json").read_bytes())
        begun = read_record(run.folder)
        recipe = replace(run.recipe, processes=begun.recipe.processes)  # differs between devices
        same = begun == RunRecord(run.subject, recipe, begun.photographs)
        return bool(same and card["steps"] == run.steps and run.target.exists())
    except (OSError, ValueError, KeyError, TypeError, BenchError):
        return False


def resume(
    run: TrainingRun, session: TrainingSession, progress: AbstractContextManager[None]
) -> Ended:
    """Train until the last stage is finished, the time is over, or SIGINT or SIGTERM comes.

    `progress` is entered meanwhile. Raises `UsageError` for a folder that belongs to another run,
    is in use or cannot be written, `Unavailable` for weights that any of the stages will need.
    """
    for stage in run.recipe.stages:
        stage.find_resources()  # now, not hours later
    if not leads():
        return _train(run, session, progress)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with _locked(run.folder):
            try:
                return _train(run, session, progress)
            finally:
                write_curves(run.folder, run.stages)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{error.filename or run.folder} cannot be used: {reason}") from error


def _train(
    run: TrainingRun, session: TrainingSession, progress: AbstractContextManager[None]
) -> Ended:
    with passed_on() as interrupted:
        try:
            with progress:
                train(
                    run.subject,
                    run.recipe,
                    session.data,
                    run.folder,
                    validation=session.validation,
                    held_out=session.held_out,
                    device=session.device,
                    deadline=session.deadline,
                    deterministic=session.deterministic,
                )
        except KeyboardInterrupt:
            return Ended.INTERRUPTED  # before the first step: nothing has changed
        except Exception:
            if interrupted():  # a process that had not begun yet
                return Ended.INTERRUPTED
            raise
        if position_of(run).run_step == run.steps:
            return Ended.FINISHED
        return Ended.INTERRUPTED if interrupted() else Ended.OUT_OF_TIME


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other commands from training in the folder; the lock ends with the process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(f"{folder} is being trained by another process") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def steps_left(runs: Sequence[TrainingRun]) -> int:
    """Return the number of steps left in `runs`, by their journals."""
    return sum(run.steps - position_of(run).run_step for run in runs)


def seconds_left(runs: Sequence[TrainingRun], timed: Sequence[TrainingRun]) -> float | None:
    """Estimate how long `runs` still train, by the speeds of `timed`; None without any.

    A crop takes as long as in stages of the same architecture and objective, with or without LPIPS
    and a GAN alike; else as its architecture's, else as all. Only training steps are counted.
    """
    seconds: dict[Hashable, float] = defaultdict(float)
    crops: dict[Hashable, int] = defaultdict(int)
    for run in timed:
        stages, last = run.recipe.stages, (0, 0)
        for entry in Journal(run.folder / JOURNAL).entries():
            index, step = step_of(entry)
            if index >= len(stages):  # of another run, which the trainer will refuse
                break
            seen = (step - (last[1] if last[0] == index else 0)) * stages[index].batch
            last = index, step
            for group in _groups(run, stages[index]):
                seconds[group] += seen / entry["crops_per_second"]
                crops[group] += seen
    if not crops:
        return None
    total = 0.0
    for run in runs:
        done = position_of(run).run_step
        for index, stage in enumerate(run.recipe.stages):
            steps = stage.steps - min(max(done - run.recipe.steps_before(index), 0), stage.steps)
            if steps:
                group = next(one for one in _groups(run, stage) if one in crops)
                total += steps * stage.batch * seconds[group] / crops[group]
    return total


def _groups(run: TrainingRun, stage: Stage) -> tuple[Hashable, ...]:
    """Return the groups whose speeds a stage has, the most alike first, all stages last."""
    architecture = run.subject.architecture
    costly = [getattr(stage, name, None) for name in ("has_lpips", "has_gan")]
    return (architecture, stage.kind, *costly), architecture, ""
