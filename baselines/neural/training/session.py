"""Runs of a command, trained in part or to the end with loss curves, and exported."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import torch

from baselines.neural.card import TRAINING_UNKNOWN, UNKNOWN, Card
from baselines.neural.checkpoint import make_checkpoint
from baselines.neural.training.loop import Conditions
from baselines.neural.training.objective import ValidationPoint
from baselines.neural.training.recipe import Recipe
from baselines.neural.training.run import Subject, read_record, train
from baselines.neural.training.run_folder import (
    JOURNAL,
    STATE,
    Journal,
    load_state,
    restoring,
    step_of,
)
from baselines.neural.training.workers import Launch
from benchmark.errors import BenchError, UsageError
from benchmark.system.atomic import lock, write_files
from benchmark.system.machine import commit
from benchmark.system.processes import passed_on

LOSSES, VALIDATION, CSV = "losses.parquet", "validation.parquet", "losses.csv"
INTEGER, REAL = pl.Int64, pl.Float64
Column = tuple[str, type[pl.DataType], str, str]  # name, type, unit, meaning
POSITION: tuple[Column, ...] = (
    ("stage", INTEGER, "", "of the recipe, counted from 1"),
    ("step", INTEGER, "", "within the stage, counted from 1"),
    ("run_step", INTEGER, "", "all stages together"),
    ("crops", INTEGER, "", "seen since the beginning"),
)
# Means over the steps since the row before; null where a step that was left out made it no number.
REPORTED: tuple[Column, ...] = (
    ("loss", REAL, "", "what was minimised"),
    ("mse", REAL, "1", "mean squared error of values in 0..1, before rounding to 8 bits"),
    ("bpp", REAL, "bit/px", "estimated, of crops with noise in place of rounding"),
    ("z_bpp", REAL, "bit/px", "of these, for the hyper-latent"),
    ("log_loss", REAL, "", "log(lambda^-.5 (150 MSE + lambda bpp)), one figure for all rates"),
    ("lpips", REAL, "", "LPIPS with AlexNet, weighted with beta"),
    ("generator", REAL, "", "the generator's adversarial loss, weighted with beta"),
    ("discriminator", REAL, "", "the discriminators' loss"),
    ("skipped", INTEGER, "", "steps left out since the stage began: not finite, or above 10^4"),
    ("steps_per_second", REAL, "1/s", ""),
    ("crops_per_second", REAL, "1/s", ""),
    ("validation_loss", REAL, "", "log_loss at the whole q, beta 0, of whole photographs"),
)
VALIDATED: tuple[Column, ...] = (
    ("q", REAL, "", "rate"),
    ("beta", REAL, "", "realism"),
    ("bpp", REAL, "bit/px", "estimated, of rounded latents"),
    ("psnr_db", REAL, "dB", "mean over the photographs"),
)


class Table(NamedTuple):
    """Rows, and the unit and meaning of each column by its name."""

    rows: pl.DataFrame
    meanings: dict[str, str]


def curves(entries: Iterable[Mapping[str, Any]], recipe: Recipe) -> tuple[Table, Table]:
    """Return a table of reports, with columns for all numbers, and one of validations."""
    losses, validation = [], []
    others: set[str] = set()
    for entry in entries:
        stage, step = step_of(entry)
        position = {
            "stage": stage + 1,
            "step": step,
            "run_step": recipe.steps_before(stage) + step,
            "crops": recipe.crops_before(stage) + step * recipe.stages[stage].batch,
        }
        numbers = {k: v for k, v in entry.items() if isinstance(v, int | float)}
        losses.append(_finite(numbers) | position)
        others |= numbers.keys()
        validation += [position | _finite(point) for point in entry.get("validation") or ()]
    known = (*POSITION, *REPORTED)
    more: list[Column] = [
        (name, REAL, "", "") for name in sorted(others - {name for name, *_ in known})
    ]
    return _table(losses, (*known, *more)), _table(validation, (*POSITION, *VALIDATED))


def write_curves(run: Path, recipe: Recipe, names: Sequence[str] = (LOSSES, VALIDATION)) -> None:
    """Write the journal of a run's folder, if any, as tables beside it; raises `StoreError`."""
    entries = Journal(run / JOURNAL).entries()
    files = {}
    for name, table in zip(names, curves(entries, recipe) if entries else (), strict=False):
        sink = BytesIO()
        if name == CSV:
            table.rows.write_csv(sink)
        else:
            table.rows.write_parquet(sink, metadata=table.meanings)
        files[name] = sink.getvalue()
    if files:
        write_files(run, files, what="loss curves")


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def _table(rows: list[Any], columns: Sequence[Column]) -> Table:
    series = [pl.Series(n, [row.get(n) for row in rows], kind) for n, kind, *_ in columns]
    meanings = {name: " ".join(filter(None, texts)) for name, _, *texts in columns}
    return Table(pl.DataFrame(series), meanings)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A network to train, and the files that it is written to."""

    name: str
    folder: Path
    target: Path  # of the checkpoint, a json card beside it
    subject: Subject
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSession(Conditions):
    """Conditions and data that all runs of a command share."""

    data: tuple[Path, ...]  # photographs, or folders of them
    held_out: frozenset[str] = frozenset()  # paths in `data` that are not trained on
    photographs_changed: bool = False  # since the run was begun
    half: bool = False  # round weights to float16 when they become a checkpoint
    quantised: bool = False  # write the weights that tolerate it as integers of few bits


class Ended(Enum):
    """Reason why a call of the trainer ended."""

    FINISHED = "finished"
    OUT_OF_TIME = "the time is over"
    INTERRUPTED = "interrupted"


def leads() -> bool:
    """Return whether this process reports and writes: the only one, or the first of torchrun's."""
    launch = Launch.current()
    return launch is None or launch.rank == 0


def steps_done(run: TrainingRun) -> int:
    """Return the steps of all stages that a run's journal reports."""
    entries = Journal(run.folder / JOURNAL).entries()
    stage, step = step_of(entries[-1]) if entries else (0, 0)
    return run.recipe.steps_before(stage) + step


def is_complete(run: TrainingRun) -> bool:
    """Return whether all steps of exactly this run are in its checkpoint already."""
    try:
        card = msgspec.json.decode(run.target.with_suffix(".json").read_bytes())
        begun = read_record(run.folder)
        recipe = replace(run.recipe, processes=begun.recipe.processes)  # as the device has it
        same = begun == replace(begun, subject=run.subject, recipe=recipe)
        earlier = 0 if run.subject.start is None else run.subject.start.steps
        return bool(same and card["steps"] == earlier + run.recipe.steps and run.target.exists())
    except (OSError, ValueError, KeyError, TypeError, BenchError):
        return False


def resume(
    run: TrainingRun, session: TrainingSession, progress: AbstractContextManager[None]
) -> Ended:
    """Train until the last stage is finished, the time is over, or SIGINT or SIGTERM comes.

    Raises `UsageError` for a folder of another run, in use or not writable, `Unavailable` for
    weights that any of the stages will need.
    """
    for stage in run.recipe.stages:
        stage.find_resources()  # now, not hours later
    owned = _owned(run) if leads() else nullcontext()
    try:
        with owned, passed_on() as interrupted:
            try:
                with progress:
                    network = run.subject, run.recipe
                    photographs = session.held_out, session.photographs_changed
                    train(*network, session.data, run.folder, session, *photographs)
            except KeyboardInterrupt:
                return Ended.INTERRUPTED  # before the first step: nothing has changed
            except Exception:
                if interrupted():  # a process that had not begun yet
                    return Ended.INTERRUPTED
                raise
            if steps_done(run) == run.recipe.steps:
                return Ended.FINISHED
            return Ended.INTERRUPTED if interrupted() else Ended.OUT_OF_TIME
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{error.filename or run.folder} cannot be used: {reason}") from error


@contextmanager
def _owned(run: TrainingRun) -> Iterator[None]:
    """Keep other commands from training in the run's folder, and leave its curves there."""
    run.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(run.folder, os.O_RDONLY)
    try:
        lock(handle)  # it ends with the process
        try:
            yield
        finally:
            write_curves(run.folder, run.recipe)
    except BlockingIOError:
        raise UsageError(f"{run.folder} is being trained by another process") from None
    finally:
        os.close(handle)


CROP_PX = 256  # of the photographs from which integer tables are made


def export(run: TrainingRun, session: TrainingSession, name: str = STATE) -> Card:
    """Write the run's last saved network to its target; return the card, which says how far it is.

    name: of the state's file, the last or a milestone.

    Raises `UsageError` without a saved state, or for one of which no checkpoint can be made.
    """
    state = load_state(run.folder, torch.device("cpu"), name)
    if state is None:
        raise UsageError(f"{run.folder} holds no training run yet: train without --export-now")
    record = read_record(run.folder)
    subject, recipe = record.subject, record.recipe
    architecture, config = subject.load(recipe.sizes)
    network = architecture.build(config)
    with restoring(run.folder):
        index, step = range(len(recipe.stages))[state["index"]], int(state["step"])
        network.load_state_dict({**state["network"], **state.get("mean", {})})
    steps, by_side = recipe.steps_before(index) + step, recipe.crops_by_side(index, step)
    crops, caveat = by_side.total(), recipe.caveat
    whole = f"{crops} crops: " if len(by_side) > 1 else ""
    listed = ", ".join(f"{number} crops of {side} px" for side, number in by_side.items())
    seen = record.seen or f"{record.photographs} photographs of {session.data_name}"
    seen += f", {whole}{listed}"
    if steps < recipe.steps:
        caveat = f"{steps} of {recipe.steps} training steps"
        seen += f", stopped after {steps} of {recipe.steps} steps"
    if (start := subject.start) is not None:
        steps, crops = steps + start.steps, crops + start.crops if start.crops else 0
        before = f"{start.crops} crops: {crops} crops in all" if crops else "unknown training"
        seen += f", begun from checkpoint {start.sha256[:8]} of {before}"
        if not (start.crops or start.steps):
            caveat = ", ".join(filter(None, [TRAINING_UNKNOWN, caveat]))
    measured: dict[str, float] = {}  # by the last validation up to this step
    for entry in Journal(run.folder / JOURNAL).entries():
        if "validation" in entry and step_of(entry) <= (index, step):
            measured |= estimates(ValidationPoint(**point) for point in entry["validation"])
    optimisers = dict.fromkeys(stage.optimiser for stage in recipe.stages[: index + 1])
    averaged = [f"mean of weights, {recipe.ema:g}"] if recipe.ema > 0 else []
    card = Card(
        architecture=subject.architecture,
        config=config,
        training_data=seen,
        steps=steps,
        crops=crops,
        command=record.command or session.command or UNKNOWN,
        commit=commit() or UNKNOWN,
        measured=measured,
        precision_steps=state["precision_steps"],
        deterministic_steps=state.get("deterministic_steps", 0),
        optimiser=", ".join([*optimisers, *averaged]),
        seed=recipe.seed,
        device=state.get("device", UNKNOWN),
        caveat=caveat,
    )
    try:
        images = [pixels[-CROP_PX:, -CROP_PX:] for pixels in session.validation]
        form = {"half": session.half, "quantised": session.quantised}
        return make_checkpoint(run.target, network, card, images, **form)
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot become a checkpoint: {error}") from error


def estimates(points: Iterable[ValidationPoint]) -> dict[str, float]:
    """Return estimates for a card: "validation_q2_beta0_psnr_db", "..._estimated_bpp"."""
    return {
        f"validation_q{point.q:g}_beta{point.beta:g}_{name}": value
        for point in points
        for name, value in (("estimated_bpp", point.bpp), ("psnr_db", point.psnr_db))
    }
