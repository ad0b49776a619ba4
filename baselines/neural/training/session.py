"""A training run that is asked for -> trained in part or to the end: loss curves, a checkpoint.

What trains is named as text, since the harness knows no contender by import. A run's folder is the
trainer's own; `losses.parquet` and `validation.parquet` in it are written here.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from baselines.neural.training.curves import JOURNAL, read_journal, write_curves
from benchmark import errors
from benchmark.codec import Pixels
from benchmark.errors import BenchError, StoreError, UnknownName, UsageError
from benchmark.system.interruption import passed_on
from benchmark.system.machine import commit

TRAINER = "baselines.neural.training"
NETWORKS = "baselines.compressai.network"
BEGUN, STATE = "recipe.json", "state.pt"  # the trainer's files
OURS, HYPERPRIOR = "ours", "compressai:bmshj2018-hyperprior"
CROP_PX = 256  # of the photographs that say how large activations become


@dataclass(frozen=True, slots=True)
class Run:
    """One network to train; `recipe` is the trainer's, and so is what `subject` makes."""

    name: str
    folder: Path
    target: Path  # of the checkpoint, a json card beside it
    model: str
    lmbda: float
    widths: tuple[int, int]
    recipe: Any

    @property
    def stages(self) -> list[tuple[int, int]]:
        """Steps and batch of each."""
        return [(stage.steps, stage.batch) for stage in self.recipe.stages]

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(steps for steps, _ in self.stages)

    def subject(self) -> Any:
        """As the trainer takes it."""
        return trainer("run").Subject(self.model, self.lmbda, self.widths)


@dataclass(frozen=True, slots=True)
class Session:
    """What is the same for all runs of a command."""

    data: tuple[Path, ...]  # photographs, or folders of them
    data_name: str
    validation: Sequence[Pixels]
    device: str
    deadline: float | None  # on the clock of `monotonic`
    command: str  # that makes the same networks, for their cards
    half: bool = False  # round weights to float16 when they become a checkpoint

    @property
    def is_over(self) -> bool:
        """Whether the time that was given is used up."""
        return self.deadline is not None and monotonic() >= self.deadline

    @property
    def minutes_left(self) -> float | None:
        """None without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic()) / 60


class Ended(Enum):
    """How a call of the trainer came to its end."""

    FINISHED = "the last stage is finished"
    OUT_OF_TIME = "the time is over"
    INTERRUPTED = "a signal came"


class Place(NamedTuple):
    """How far a run is by its journal."""

    stage: int  # counted from 1; 0 before the first report
    step: int  # of the stage
    run_step: int


def trainer(part: str) -> Any:
    """A module of the trainer."""
    return import_module(f"{TRAINER}.{part}")


def model_named(name: str) -> str:
    """The trainer's name of a model; raises `UnknownName`."""
    architectures = [f"compressai:{one}" for one in import_module(NETWORKS).MODELS]
    if name == "hyperprior":
        return HYPERPRIOR
    if name not in (OURS, *architectures):
        raise UnknownName("model to train", name, [OURS, "hyperprior", *architectures])
    return name


def place_of(run: Run) -> Place:
    """Exact after a call of the trainer that ended by itself."""
    entries = read_journal(run.folder / JOURNAL)
    if not entries:
        return Place(0, 0, 0)
    stage, step = entries[-1]["stage"], entries[-1]["step"]
    return Place(stage + 1, step, sum(steps for steps, _ in run.stages[:stage]) + step)


def is_complete(run: Run) -> bool:
    """Whether all steps of just this run are in its checkpoint already."""
    try:
        card = json.loads(run.target.with_suffix(".json").read_text())
        begun = json.loads((run.folder / BEGUN).read_text())
        expected = json.loads(
            json.dumps({"subject": asdict(run.subject()), "recipe": asdict(run.recipe)})
        )
        for one in (begun, expected):
            del one["recipe"]["processes"]  # differs between devices
        same = all(begun[key] == expected[key] for key in expected)
        return bool(same and card["steps"] == run.steps and run.target.exists())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def go_on(run: Run, session: Session, shown: AbstractContextManager[None]) -> Ended:
    """Train until the last stage is finished, the time is over, or SIGINT or SIGTERM comes.

    `shown` is entered while the trainer works. Raises `UsageError` for a folder that belongs to
    another run, is in use or cannot be written, `Unavailable` for weights that any of the stages
    will need, and whatever explained failure the trainer raises.
    """
    if any(stage.lpips or stage.lpips_per_beta for stage in run.recipe.stages):
        trainer("perceptual").Perceptual()  # now, not hours later
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with _held(run.folder):
            return _train(run, session, shown)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{error.filename or run.folder} cannot be used: {reason}") from error


def export(run: Run, session: Session) -> Any:
    """The run's present state as a checkpoint that codecs load; returns its card.

    Raises `UsageError` where the run has saved no state, or one of which no checkpoint can be made.
    """
    if not (run.folder / STATE).exists():
        raise UsageError(f"{run.folder} holds no training run yet: train without --export-now")
    begun = json.loads((run.folder / BEGUN).read_text())
    try:
        return trainer("export").export(
            run.folder,
            run.target,
            command=session.command,
            training_data=f"{begun['photographs']} photographs of {session.data_name}",
            commit=commit() or "unknown",
            images=[pixels[-CROP_PX:, -CROP_PX:] for pixels in session.validation],
            half=session.half,
        )
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot become a checkpoint: {error}") from error


def _train(run: Run, session: Session, shown: AbstractContextManager[None]) -> Ended:
    with passed_on() as interrupted:
        try:
            with shown:
                trainer("run").train(
                    run.subject(),
                    run.recipe,
                    session.data,
                    run.folder,
                    validation=session.validation,
                    device=session.device,
                    max_minutes=session.minutes_left,
                )
        except KeyboardInterrupt:
            return Ended.INTERRUPTED  # before the first step: nothing has changed
        except Exception as error:
            if interrupted():  # a process that had not begun yet
                return Ended.INTERRUPTED
            _raise_explained(error, run.folder)
        finally:
            write_curves(run.folder, run.stages)
        if place_of(run).run_step == run.steps:
            return Ended.FINISHED
        return Ended.INTERRUPTED if interrupted() else Ended.OUT_OF_TIME


def _raise_explained(error: Exception, folder: Path) -> None:
    """As it is, or as the explained failure that a worker process told of in a traceback."""
    if type(error).__name__ == "ProcessExitedException":
        raise BenchError(
            f"a process that trained {folder} died ({error}): the same command goes on from the "
            "last saved step"
        ) from error
    last = str(error).strip().rpartition("\n")[2]
    told = re.fullmatch(rf"{errors.__name__}\.(\w+): (.+)", last)
    if type(error).__name__ != "ProcessRaisedException" or not told:
        raise error
    kind = getattr(errors, told[1])
    known = (UsageError, errors.Unavailable, StoreError, BenchError)
    raise next(one for one in known if issubclass(kind, one))(told[2]) from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other commands from training in the folder; the lock goes with the process."""
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
