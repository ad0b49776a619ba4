"""A training run: what is trained, how a call trains it, and the files of its folder.

docs/training.md lists the files. A process that dies leaves the last state that was saved.
"""

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

import msgspec
import torch

from baselines.neural.architecture import load_architecture
from baselines.neural.card import TRAINING_UNKNOWN, UNKNOWN, Card, verified_card
from baselines.neural.checkpoint import load_checkpoint, make_checkpoint
from baselines.neural.network import Network
from baselines.neural.training.how import How, Report
from baselines.neural.training.photographs import names_and_sizes
from baselines.neural.training.recipe import Recipe, recipe_from
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.plugins import file_of
from benchmark.registry import names_file
from benchmark.system.atomic import (
    find_changed_folders,
    lock,
    replacing,
    synchronise,
    write_file,
)
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import BadFile, load_tensors
from benchmark.system.machine import commit
from benchmark.system.text import json_bytes, parsing, read_json

RECORD, JOURNAL = "recipe.json", "journal.jsonl"
STATE = "state.pt"  # after the last saved step
MILESTONE = "state-{}.pt"  # after a step, counted through all stages
PHOTOGRAPHS = "photographs.txt"  # names and sizes
MANNER = ("autocast",)  # fields of a recipe, which may change in a run
CROP_PX = 256  # of the photographs from which integer tables are made


@dataclass(frozen=True, slots=True)
class Start:
    """Checkpoint whose weights a run begins with, in place of the recipe's start values."""

    sha256: str
    crops: int  # that it has seen
    path: str = field(compare=False)
    steps: int = field(default=0, compare=False)  # of its training; 0 where unknown


@dataclass(frozen=True, slots=True)
class Run:
    """A network to train by a recipe, and the files that it is written to."""

    folder: Path
    target: Path  # of the checkpoint, a json card beside it
    recipe: Recipe
    start: Start | None = None
    after: Path | None = None  # folder of the finished run that this one goes on from

    @property
    def name(self) -> str:
        """Name of the folder, for reports."""
        return self.folder.name

    def build(self) -> Network:
        """Return a network with random weights; raises `UsageError`."""
        try:
            architecture = load_architecture(self.recipe.architecture)
            return architecture.build(self.recipe.network())
        except ValueError as error:
            raise UsageError(f"{self.recipe.architecture} has no such network: {error}") from error

    def begun_with(self, checkpoint: Path) -> "Run":
        """Return the run with a checkpoint's weights to begin with; raises `UsageError`."""
        try:
            card = verified_card(checkpoint)
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error
        if (card.architecture, card.config) != (self.recipe.architecture, self.recipe.network()):
            raise UsageError(
                f"{checkpoint} holds another network than the one to train, {self.recipe.sizes}."
            )
        start = Start(card.sha256, card.crops, str(checkpoint.resolve()), card.steps or 0)
        return replace(self, start=start)

    def load_start(self, network: Network) -> None:
        """Set the weights that the run begins with; raises `UsageError` for a damaged file."""
        assert self.start is not None
        try:
            network.load_state_dict(load_checkpoint(Path(self.start.path)).network.state_dict())
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error

    def steps_reported(self) -> int:
        """Return the steps of all stages that the journal reports."""
        reports = entries(self.folder)
        return self.recipe.step_in_all(*step_of(reports[-1])) if reports else 0

    def steps_saved(self) -> int:
        """Return the steps of all stages that a later call resumes behind."""
        state = load_state(self.folder, torch.device("meta"))
        with restoring(self.folder):
            return self.recipe.step_in_all(state["index"], state["step"]) if state else 0

    def is_complete(self) -> bool:
        """Return whether all steps of exactly this run are in its checkpoint already."""
        try:
            card = msgspec.json.decode(self.target.with_suffix(".json").read_bytes())
            begun = read_record(self.folder)
            recipe = replace(begun.recipe, name=self.recipe.name)
            same = (begun.start, recipe) == (self.start, self.recipe)
            same &= not edited_files(begun, self.recipe)
            earlier = self.start.steps if self.start else 0
            done = card["steps"] == earlier + self.recipe.steps
            return bool(same and done and self.target.exists())
        except (OSError, ValueError, KeyError, TypeError, BenchError):
            return False


@dataclass(frozen=True, slots=True)
class Record:
    """Contents of a run's `recipe.json`."""

    recipe: Recipe
    start: Start | None
    photographs: int
    names_and_sizes: str  # sha256 of `PHOTOGRAPHS`
    seen: str = ""  # the photographs in words; empty: unknown
    command: str = ""  # that makes the same network; empty: unknown
    # Sha256 of the files that the recipe names, by file; of one that was edited, of each version
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)


def named_files(recipe: Recipe) -> dict[str, Path]:
    """Return the Python files that the stages of a recipe name, by their names."""
    files = (file_of(of.objective) for of in recipe.stages if names_file(of.objective))
    return {path.name: path for path in files}


def edited_files(begun: Record, recipe: Recipe) -> list[str]:
    """Return the files that a recipe names which were edited since the run began."""
    known = {name: path for name, path in named_files(recipe).items() if begun.files.get(name)}
    return [name for name, path in known.items() if file_sha256(path) != begun.files[name][-1]]


def read_record(folder: Path) -> Record:
    """Return what a run was begun with; raises `Unavailable` without, `UsageError` if damaged."""
    path = folder / RECORD
    try:
        stored = read_json(path, dict[str, Any])
        fields, start = stored.pop("recipe"), stored.pop("start")
        name, stages = fields.pop("name"), fields.pop("stages")
        recipe = recipe_from(name, {**fields, "stage": stages})
        return Record(recipe, msgspec.convert(start, Start | None), **stored)
    except FileNotFoundError:
        raise Unavailable(f"{folder} is no run: it has no {RECORD}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no record of a training run of this version: train elsewhere."
        ) from error


def take_over(run: Run) -> None:
    """Begin where the run `after` which this one comes has ended, unless it has begun."""
    if run.after and not (run.folder / STATE).exists():
        for name in (JOURNAL, STATE):  # the state last: with it the run has begun
            write_file(run.folder / name, (run.after / name).read_bytes())


def write_record(run: Run, how: How, paths: Sequence[str]) -> None:
    """Write the record, unless the folder has another run; stages may be added to its own."""
    listed = names_and_sizes(paths)
    seen = f"{len(paths)} photographs of {how.data_name}" if how.data_name else ""
    digest = sha256(listed).hexdigest()
    sources = named_files(run.recipe)
    versions: dict[str, Sequence[str]] = {of: [file_sha256(path)] for of, path in sources.items()}
    record = Record(run.recipe, run.start, len(paths), digest, seen, how.command, versions)
    if (run.folder / RECORD).exists():
        begun = read_record(run.folder)
        if field := differing_field(begun, run):
            raise UsageError(f"{run.folder} is a run of another recipe: its {field} differs.")
        if (edited := edited_files(begun, run.recipe)) and not how.changed:
            raise UsageError(
                f"{run.folder}: {', '.join(edited)} was edited after step {run.steps_reported()} "
                "of the run: train elsewhere (--out), or go on with --changed"
            )
        if begun.names_and_sizes != digest:
            raise UsageError(
                f"{run.folder} was begun with {begun.photographs} photographs, and --data has "
                f"{len(paths)}{_first_other(run.folder, listed)}: give those again, or train "
                "elsewhere"
            )
        for name, of in begun.files.items():
            now = versions.get(name, ())
            versions[name] = [*of, *(digest for digest in now if digest != of[-1])]
        recipe = replace(run.recipe, name=begun.recipe.name)
        record = replace(record, seen=begun.seen or seen, recipe=recipe)
    for name, path in sources.items():
        copy = run.folder / f"{path.stem}-{versions[name][-1][:12]}.py"
        write_file(copy, path.read_bytes(), durable=True)
    write_file(run.folder / PHOTOGRAPHS, listed, durable=True)
    write_file(run.folder / RECORD, json_bytes(record), durable=True)


def differing_field(begun: Record, run: Run) -> str:
    """Return the field by which a run is another than the one that was begun; "" for the same.

    The name, the precision and the folders of files may differ, and stages may be added.
    """
    if begun.start != run.start:
        return "start"
    stages = run.recipe.stages[: len(begun.recipe.stages)]
    for number, (before, stage) in enumerate(zip(begun.recipe.stages, stages, strict=False), 1):
        for name, value in asdict(before).items():
            now = getattr(stage, name, None)
            same_file = name == "objective" and PurePath(value).name == PurePath(now or "").name
            if value != now and not (same_file and names_file(value)):
                return f"{name} in stage {number}"
    if len(stages) < len(begun.recipe.stages):
        return "number of stages"
    others = ("name", "stages", *MANNER)
    names = (field.name for field in fields(run.recipe) if field.name not in others)
    differing = (n for n in names if getattr(begun.recipe, n) != getattr(run.recipe, n))
    return next(differing, "")


def _first_other(folder: Path, listed: bytes) -> str:
    """Return in words which photograph differs first from those that a run was begun with."""
    path = folder / PHOTOGRAPHS
    before = path.read_bytes().splitlines() if path.exists() else []
    after = listed.splitlines()
    for words, lines, others in (("without", before, {*after}), ("with another", after, {*before})):
        for line in lines:
            if line not in others:
                return f", {words} {os.fsdecode(line.partition(b' ')[2])}"
    return " in another order"


@contextmanager
def owned(run: Run) -> Iterator[None]:
    """Keep other commands from training in the run's folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(run.folder, os.O_RDONLY)
    try:
        lock(handle)  # it ends with the process
        yield
    except BlockingIOError:
        raise UsageError(f"{run.folder} is being trained by another process") from None
    finally:
        os.close(handle)


# States


def save_state(folder: Path, state: dict[str, Any], milestone: int | None = None) -> None:
    """Replace the file at once: a process that dies here leaves the last version.

    At a `milestone` it is kept by its step as well. Raises `BenchError` if it cannot be written.
    """
    path = folder / STATE
    try:
        folders = find_changed_folders([path])
        with replacing(path) as draft:
            with draft.open("wb") as file:  # by a path, torch would not say why it failed
                torch.save(state, file)
            synchronise([draft])
        if milestone is not None:
            with replacing(folder / MILESTONE.format(milestone)) as draft:
                shutil.copyfile(path, draft)
                synchronise([draft])
        synchronise(folders)
    except (OSError, RuntimeError) as error:  # torch's own after one of the system
        system = error if isinstance(error, OSError) else error.__context__
        reason = getattr(system, "strerror", None) or str(error).partition("\n")[0]
        kept = "the one before is kept, so " if path.exists() else ""
        raise BenchError(
            f"the state in {folder} cannot be written: {reason}; {kept}mend that and run the same "
            "command again"
        ) from error


def require_room(folder: Path, network: Network) -> None:
    """Raise `UsageError` where the disk has no room for a state and the draft of the next."""
    weights = sum(weight.nbytes for weight in network.parameters())
    needed, free = 2 * 3 * weights, shutil.disk_usage(folder).free  # with both means of Adam
    if free < needed:
        raise UsageError(
            f"{folder} has room for {free / 1e6:.3g} MB, and the states of this training take "
            f"{needed / 1e6:.3g} MB: make room, or train elsewhere"
        )


def load_state(folder: Path, device: torch.device, name: str = STATE) -> dict[str, Any] | None:
    """Return the state, None without any; raises `UsageError`."""
    path = folder / name
    if not path.exists():
        return None
    try:
        state = load_tensors(path, device)
    except Exception as error:  # whatever unpickling foreign bytes raises
        raise _no_state(path) from error
    if not isinstance(state, dict):
        raise _no_state(path)
    return state


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Raise `UsageError` for a state that lacks a part, or has that of another network or kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _no_state(folder / STATE) from error


def _no_state(path: Path) -> UsageError:
    return UsageError(f"{path} is no state of a training run: remove it to start anew.")


# The journal, a JSON object per line


def report(folder: Path, entry: Report) -> None:
    """Append a line to the journal, which is on the disk on return."""
    path = folder / JOURNAL
    begun = not path.exists()
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if begun:
        synchronise([folder])


def entries(folder: Path, until: tuple[float, float] = (math.inf, 0)) -> list[dict[str, Any]]:
    """Return the reports in the order of steps, without unfinished lines and repeated steps."""
    path, kept = folder / JOURNAL, list[dict[str, Any]]()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(BadFile), parsing("JSON"):  # of a line that is unfinished or damaged
            entry: dict[str, Any] = json.loads(line)
            if any(type(number) is not int for number in step_of(entry)):
                continue
            while kept and step_of(kept[-1]) >= step_of(entry):
                kept.pop()
            kept.append(entry)
    return [entry for entry in kept if step_of(entry) <= until]


def cut(folder: Path, stage: int, step: int) -> None:
    """Keep the reports up to a step of a stage."""
    kept = entries(folder, (stage, step))
    text = "".join(json.dumps(entry) + "\n" for entry in kept)
    write_file(folder / JOURNAL, text, durable=True)


def step_of(entry: Report) -> tuple[int, int]:
    """Return the stage, counted from 0, and the step in it, counted from 1."""
    return entry["stage"], entry["step"]


# The checkpoint


def export(run: Run, how: How, name: str = STATE) -> Card:
    """Write the run's last saved network to its target; return the card, which says how far it is.

    name: of the state's file, the last or a milestone. Raises `UsageError` without a saved state,
    or for one of which no checkpoint can be made.
    """
    state = load_state(run.folder, torch.device("cpu"), name)
    if state is None:
        raise UsageError(f"{run.folder} holds no training run yet: train without --export-now")
    record = read_record(run.folder)
    recipe, start = record.recipe, record.start
    network = replace(run, recipe=recipe).build()
    with restoring(run.folder):
        index, step = range(len(recipe.stages))[state["index"]], int(state["step"])
        network.load_state_dict({**state["network"], **state.get("mean", {})})
    steps, by_side = recipe.steps_before(index) + step, recipe.crops_by_side(index, step)
    crops, caveat = by_side.total(), recipe.caveat
    whole = f"{crops} crops: " if len(by_side) > 1 else ""
    listed = ", ".join(f"{number} crops of {side} px" for side, number in by_side.items())
    seen = record.seen or f"{record.photographs} photographs of {how.data_name}"
    seen += f", {whole}{listed}"
    if steps < recipe.steps:
        caveat = f"{steps} of {recipe.steps} training steps"
        seen += f", stopped after {steps} of {recipe.steps} steps"
    if start is not None:
        steps, crops = steps + start.steps, crops + start.crops if start.crops else 0
        before = f"{start.crops} crops: {crops} crops in all" if crops else "unknown training"
        seen += f", begun from checkpoint {start.sha256[:8]} of {before}"
        if not (start.crops or start.steps):
            caveat = ", ".join(filter(None, [TRAINING_UNKNOWN, caveat]))
    optimisers = dict.fromkeys(stage.optimiser for stage in recipe.stages[: index + 1])
    averaged = [f"mean of weights, {recipe.ema:g}"] if recipe.ema > 0 else []
    card = Card(
        architecture=recipe.architecture,
        config=recipe.network(),
        training_data=seen,
        steps=steps,
        crops=crops,
        command=record.command or how.command or UNKNOWN,
        commit=commit() or UNKNOWN,
        measured=estimates(  # the last validation counts
            point
            for entry in entries(run.folder, (index, step))
            for point in entry.get("validation", ())
        ),
        precision_steps=state["precision_steps"],
        optimiser=", ".join([*optimisers, *averaged]),
        seed=recipe.seed,
        device=state.get("device", UNKNOWN),
        caveat=caveat,
        losses=tuple(f"{name}, sha256 {' and '.join(of)}" for name, of in record.files.items()),
    )
    try:
        images = [pixels[-CROP_PX:, -CROP_PX:] for pixels in how.validation]
        return make_checkpoint(run.target, network, card, images, quantised=how.quantised)
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot become a checkpoint: {error}") from error


def estimates(points: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return estimates for a card: "validation_q2_beta0_psnr_db", "..._estimated_bpp"."""
    return {
        f"validation_q{point['q']:g}_beta{point['beta']:g}_{name}": point[of]
        for point in points
        for name, of in (("estimated_bpp", "bpp"), ("psnr_db", "psnr_db"))
    }
