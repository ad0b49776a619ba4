"""A training run: its recipe, and the files in its folder (listed in docs/training.md)."""

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
from baselines.neural.training.options import Report, TrainingOptions
from baselines.neural.training.photographs import names_and_sizes
from baselines.neural.training.recipe import Recipe, recipe_from
from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.plugins import file_of
from benchmark.registry import is_python_file
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
STATE = "state.pt"  # the last saved state
MILESTONE = "state-{}.pt"  # state after this step, counted over all stages
PHOTOGRAPHS = "photographs.txt"  # has names and sizes of the photographs
CHANGEABLE = ("autocast",)  # fields of a recipe that may change when a run is resumed
CROP_PX = 256  # side of the crops that integer tables are made from


@dataclass(frozen=True, slots=True)
class Start:
    """Checkpoint with the initial weights of a run."""

    sha256: str
    crops: int  # total number of crops in its training; 0: unknown
    path: str = field(compare=False)
    steps: int = field(default=0, compare=False)  # total number of steps; 0: unknown


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A network to train by a recipe, with the folder of the run and the path of the checkpoint."""

    folder: Path
    target: Path  # the checkpoint to write, next to its JSON card
    recipe: Recipe
    start: Start | None = None
    predecessor: Path | None = None  # folder of a finished run that this run continues

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def build(self) -> Network:
        """Return a network with random weights; raises `UsageError` for impossible sizes."""
        try:
            architecture = load_architecture(self.recipe.architecture)
            return architecture.build(self.recipe.network())
        except ValueError as error:
            raise UsageError(
                f"{self.recipe.architecture} cannot have this size: {error}"
            ) from error

    def start_from(self, checkpoint: Path) -> "TrainingRun":
        """Return a copy that starts from a checkpoint's weights; raises `UsageError`."""
        try:
            card = verified_card(checkpoint)
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error
        if (card.architecture, card.config) != (self.recipe.architecture, self.recipe.network()):
            raise UsageError(
                f"{checkpoint} does not hold the recipe's network {self.recipe.sizes}: name another"
            )
        start = Start(card.sha256, card.crops, str(checkpoint.resolve()), card.steps or 0)
        return replace(self, start=start)

    def load_start(self, network: Network) -> None:
        """Load the initial weights into `network`; raises `UsageError` for a damaged file."""
        assert self.start is not None
        try:
            network.load_state_dict(load_checkpoint(Path(self.start.path)).network.state_dict())
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error

    def steps_reported(self) -> int:
        """Return the number of the last reported step, counted over all stages."""
        reports = read_reports(self.folder)
        return self.recipe.total_step(*step_of(reports[-1])) if reports else 0

    def steps_saved(self) -> int:
        """Return the number of the last saved step, counted over all stages."""
        state = load_state(self.folder, torch.device("meta"))
        with restoring(self.folder):
            return self.recipe.total_step(state["index"], state["step"]) if state else 0

    def is_complete(self) -> bool:
        """Return whether the checkpoint exists, and comes from all steps of exactly this run."""
        try:
            card = msgspec.json.decode(self.target.with_suffix(".json").read_bytes())
            record = read_record(self.folder)
            recipe = replace(record.recipe, name=self.recipe.name)
            is_same_run = (record.start, recipe) == (self.start, self.recipe)
            is_same_run &= not _edited_files(record, self.recipe)
            start_steps = self.start.steps if self.start else 0
            is_finished = card["steps"] == start_steps + self.recipe.steps
            return bool(is_same_run and is_finished and self.target.exists())
        except (OSError, ValueError, KeyError, TypeError, BenchError):
            return False


@dataclass(frozen=True, slots=True)
class Record:
    """Contents of a run's `recipe.json`."""

    recipe: Recipe
    start: Start | None
    photographs: int
    names_and_sizes: str  # sha256 of `PHOTOGRAPHS`
    seen: str = ""  # the photographs in words, for the card; empty: unknown
    command: str = ""  # command that makes the same network; empty: unknown
    # Python file named in the recipe -> sha256 of each version that trained the run
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _loss_files(recipe: Recipe) -> dict[str, Path]:
    files = (file_of(stage.objective) for stage in recipe.stages if is_python_file(stage.objective))
    return {path.name: path for path in files}


def _edited_files(record: Record, recipe: Recipe) -> list[str]:
    paths = {name: path for name, path in _loss_files(recipe).items() if record.files.get(name)}
    return [name for name, path in paths.items() if file_sha256(path) != record.files[name][-1]]


def read_record(folder: Path) -> Record:
    """Read a run's record; `Unavailable` if there is none, `UsageError` if it is damaged."""
    path = folder / RECORD
    try:
        values = read_json(path, dict[str, Any])
        fields, start = values.pop("recipe"), values.pop("start")
        name, stages = fields.pop("name"), fields.pop("stages")
        recipe = recipe_from(name, {**fields, "stage": stages})
        return Record(recipe, msgspec.convert(start, Start | None), **values)
    except FileNotFoundError:
        raise Unavailable(f"{folder} is not a training run: it has no {RECORD}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is damaged, or from another version of rdrbench: train in another folder"
        ) from error


def copy_predecessor(run: TrainingRun) -> None:
    """Copy journal and state of the run's predecessor, unless the run has a state."""
    if run.predecessor and not (run.folder / STATE).exists():
        for name in (JOURNAL, STATE):  # the state last: it shows that the run has begun
            write_file(run.folder / name, (run.predecessor / name).read_bytes())


def write_record(run: TrainingRun, options: TrainingOptions, paths: Sequence[str]) -> None:
    """Write the run's record; raises `UsageError` if the folder has another run."""
    photograph_lines = names_and_sizes(paths)
    training_data = f"{len(paths)} photographs of {options.data_name}" if options.data_name else ""
    digest = sha256(photograph_lines).hexdigest()
    loss_files = _loss_files(run.recipe)
    versions: dict[str, Sequence[str]] = {n: [file_sha256(path)] for n, path in loss_files.items()}
    record = Record(
        run.recipe, run.start, len(paths), digest, training_data, options.command, versions
    )
    if (run.folder / RECORD).exists():
        stored = read_record(run.folder)
        if field := _differing_field(stored, run):
            raise UsageError(f"{run.folder} has a run whose recipe differs in its {field}")
        if (edited_files := _edited_files(stored, run.recipe)) and not options.changed:
            raise UsageError(
                f"{run.folder}: files were edited after step {run.steps_reported()} of the run: "
                f"{', '.join(edited_files)}; train in another folder (--out), or resume with "
                "--changed"
            )
        if stored.names_and_sizes != digest:
            raise UsageError(
                f"{run.folder} was begun with {stored.photographs} photographs, but --data has "
                f"{len(paths)}{_first_difference(run.folder, photograph_lines)}: give the same "
                "photographs, or train in another folder"
            )
        for name, recorded_versions in stored.files.items():
            new_versions = [v for v in versions.get(name, ()) if v != recorded_versions[-1]]
            versions[name] = [*recorded_versions, *new_versions]
        recipe = replace(run.recipe, name=stored.recipe.name)
        record = replace(record, seen=stored.seen or training_data, recipe=recipe)
    for name, path in loss_files.items():
        copy = run.folder / f"{path.stem}-{versions[name][-1][:12]}.py"
        write_file(copy, path.read_bytes(), durable=True)
    write_file(run.folder / PHOTOGRAPHS, photograph_lines, durable=True)
    write_file(run.folder / RECORD, json_bytes(record), durable=True)


def _differing_field(record: Record, run: TrainingRun) -> str:
    # the name and precision of the recipe, and folders of losses, may differ; stages may be added
    if record.start != run.start:
        return "start"
    stages = run.recipe.stages[: len(record.recipe.stages)]
    stage_pairs = zip(record.recipe.stages, stages, strict=False)
    for number, (recorded_stage, stage) in enumerate(stage_pairs, 1):
        for name, recorded in asdict(recorded_stage).items():
            value = getattr(stage, name, None)
            same_file = (
                name == "objective" and PurePath(recorded).name == PurePath(value or "").name
            )
            if recorded != value and not (same_file and is_python_file(recorded)):
                return f"{name} in stage {number}"
    if len(stages) < len(record.recipe.stages):
        return "number of stages"
    ignored = ("name", "stages", *CHANGEABLE)
    names = (field.name for field in fields(run.recipe) if field.name not in ignored)
    differing_names = (n for n in names if getattr(record.recipe, n) != getattr(run.recipe, n))
    return next(differing_names, "")


def _first_difference(folder: Path, photograph_lines: bytes) -> str:
    path = folder / PHOTOGRAPHS
    recorded = path.read_bytes().splitlines() if path.exists() else []
    current = photograph_lines.splitlines()
    for word, lines, others in (("without", recorded, {*current}), ("plus", current, {*recorded})):
        for line in lines:
            if line not in others:
                return f", {word} {os.fsdecode(line.partition(b' ')[2])}"
    return " in another order"


@contextmanager
def lock_folder(run: TrainingRun) -> Iterator[None]:
    """Prevent other processes from training in the run's folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(run.folder, os.O_RDONLY)
    try:
        lock(handle)  # the lock ends with the process
        yield
    except BlockingIOError:
        raise UsageError(f"{run.folder} is being trained by another process") from None
    finally:
        os.close(handle)


# States


def save_state(folder: Path, state: dict[str, Any], milestone: int | None = None) -> None:
    """Replace the saved state atomically; copy it as a `milestone`, if given a step."""
    path = folder / STATE
    try:
        folders = find_changed_folders([path])
        with replacing(path) as draft:
            with draft.open("wb") as file:  # given a path, torch would hide the cause of a failure
                torch.save(state, file)
            synchronise([draft])
        if milestone is not None:
            with replacing(folder / MILESTONE.format(milestone)) as draft:
                shutil.copyfile(path, draft)
                synchronise([draft])
        synchronise(folders)
    except (OSError, RuntimeError) as error:  # torch wraps the system's error
        system_error = error if isinstance(error, OSError) else error.__context__
        reason = getattr(system_error, "strerror", None) or str(error).partition("\n")[0]
        kept_note = "; the previous state is kept" if path.exists() else ""
        raise BenchError(
            f"the state in {folder} cannot be written: {reason}{kept_note}: fix this, then run "
            "the same command again"
        ) from error


def require_disk_space(folder: Path, network: Network) -> None:
    """Raise `UsageError` unless the disk has space for a state and the draft of the next state."""
    weight_bytes = sum(weight.nbytes for weight in network.parameters())
    needed_bytes = 2 * 3 * weight_bytes  # three: a weight, and both of Adam's moments
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise UsageError(
            f"{folder} has {free_bytes / 1e6:.3g} MB of free space, but this training needs "
            f"{needed_bytes / 1e6:.3g} MB: free some space, or train in another folder"
        )


def load_state(folder: Path, device: torch.device, name: str = STATE) -> dict[str, Any] | None:
    """Return a saved state, None if there is none; raises `UsageError` if it is damaged."""
    path = folder / name
    if not path.exists():
        return None
    try:
        state = load_tensors(path, device)
    except Exception as error:  # unpickling untrusted bytes may raise anything
        raise _bad_state(path) from error
    if not isinstance(state, dict):
        raise _bad_state(path)
    return state


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Raise `UsageError` for a state that is incomplete or of another network."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _bad_state(folder / STATE) from error


def _bad_state(path: Path) -> UsageError:
    return UsageError(f"{path} is not a training state: delete the file to start again")


# The journal has a JSON object per line


def append_report(folder: Path, entry: Report) -> None:
    """Append a line to the journal, and wait until it is on the disk."""
    path = folder / JOURNAL
    is_new = not path.exists()
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        synchronise([folder])


def read_reports(folder: Path, last: tuple[float, float] = (math.inf, 0)) -> list[dict[str, Any]]:
    """Return the reports up to `last`, (stage, step), without damaged or superseded lines."""
    path, reports = folder / JOURNAL, list[dict[str, Any]]()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(BadFile), parsing("JSON"):  # skips a truncated or damaged line
            entry: dict[str, Any] = json.loads(line)
            if any(type(number) is not int for number in step_of(entry)):
                continue
            while reports and step_of(reports[-1]) >= step_of(entry):
                reports.pop()
            reports.append(entry)
    return [entry for entry in reports if step_of(entry) <= last]


def truncate_journal(folder: Path, stage: int, step: int) -> None:
    """Delete the reports after a step of a stage."""
    reports = read_reports(folder, (stage, step))
    text = "".join(json.dumps(entry) + "\n" for entry in reports)
    write_file(folder / JOURNAL, text, durable=True)


def step_of(entry: Report) -> tuple[int, int]:
    """Return a report's stage, counted from 0, and the step in the stage, counted from 1."""
    return entry["stage"], entry["step"]


# The checkpoint


def export(run: TrainingRun, options: TrainingOptions, name: str = STATE) -> Card:
    """Write the network of a state to the run's checkpoint; `UsageError` if there is no state."""
    state = load_state(run.folder, torch.device("cpu"), name)
    if state is None:
        raise UsageError(f"{run.folder} has no saved state yet: train without --export-now")
    record = read_record(run.folder)
    recipe, start = record.recipe, record.start
    network = replace(run, recipe=recipe).build()
    with restoring(run.folder):
        index, step = range(len(recipe.stages))[state["index"]], int(state["step"])
        network.load_state_dict({**state["network"], **state.get("mean", {})})
    steps, crops_by_side = recipe.steps_before(index) + step, recipe.crops_by_side(index, step)
    crops, caveat = crops_by_side.total(), recipe.caveat
    total = f"{crops} crops: " if len(crops_by_side) > 1 else ""
    crop_list = ", ".join(f"{count} crops of {side} px" for side, count in crops_by_side.items())
    training_data = record.seen or f"{record.photographs} photographs of {options.data_name}"
    training_data += f", {total}{crop_list}"
    if steps < recipe.steps:
        caveat = f"{steps} of {recipe.steps} training steps"
        training_data += f", stopped after {steps} of {recipe.steps} steps"
    if start is not None:
        steps, crops = steps + start.steps, crops + start.crops if start.crops else 0
        origin = f"{start.crops} crops: {crops} crops in all" if crops else "unknown training"
        training_data += f", begun from checkpoint {start.sha256[:8]} of {origin}"
        if not (start.crops or start.steps):
            caveat = ", ".join(filter(None, [TRAINING_UNKNOWN, caveat]))
    optimisers = dict.fromkeys(stage.optimiser for stage in recipe.stages[: index + 1])
    averaging = [f"mean of weights, {recipe.ema:g}"] if recipe.ema > 0 else []
    card = Card(
        architecture=recipe.architecture,
        config=recipe.network(),
        training_data=training_data,
        steps=steps,
        crops=crops,
        command=record.command or options.command or UNKNOWN,
        commit=commit() or UNKNOWN,
        measured=estimates(  # later validations replace earlier ones
            point
            for entry in read_reports(run.folder, (index, step))
            for point in entry.get("validation", ())
        ),
        precision_steps=state["precision_steps"],
        optimiser=", ".join([*optimisers, *averaging]),
        seed=recipe.seed,
        device=state.get("device", UNKNOWN),
        caveat=caveat,
        losses=tuple(f"{n}, sha256 {' and '.join(digests)}" for n, digests in record.files.items()),
    )
    try:
        images = [pixels[-CROP_PX:, -CROP_PX:] for pixels in options.validation]
        return make_checkpoint(run.target, network, card, images, quantised=options.quantised)
    except OSError as error:
        raise UsageError(f"{run.target} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{run.folder} cannot be exported: {error}") from error


def estimates(points: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return estimates for a card by name, such as "validation_q2_beta0_psnr_db"."""
    return {
        f"validation_q{point['q']:g}_beta{point['beta']:g}_{name}": point[key]
        for point in points
        for name, key in (("estimated_bpp", "bpp"), ("psnr_db", "psnr_db"))
    }
