"""A training run: a network, a recipe and photographs in a folder, begun or resumed."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from baselines.neural.architecture import Architecture, load_architecture
from baselines.neural.card import verified_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network import BLOCK, Network
from baselines.neural.training.loop import Conditions, TrainingRequest, run_request
from baselines.neural.training.photograph_files import names_and_sizes, photograph_paths
from baselines.neural.training.photographs import MEMORY_BYTES, open_photographs
from baselines.neural.training.recipe import Recipe, recipe_from
from baselines.neural.training.workers import Launch, in_processes, launched
from benchmark.errors import Unavailable, UsageError
from benchmark.system.atomic import write_file
from benchmark.system.text import read_json

RECORD = "recipe.json"
GONE = {"scaled_decoding": False, "largest_reduction": 2.0}  # fields of stages, all of this value


@dataclass(frozen=True, slots=True)
class Start:
    """Checkpoint whose weights a run begins with, in place of the recipe's start values."""

    sha256: str
    crops: int  # that it has seen
    path: str = field(compare=False)
    steps: int = field(default=0, compare=False)  # of its training; 0 where unknown

    def load(self, network: Network) -> None:
        """Set the weights of `network`; raises `UsageError` where the file is gone or damaged."""
        try:
            network.load_state_dict(load_checkpoint(Path(self.path)).network.state_dict())
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error


@dataclass(frozen=True, slots=True)
class Subject:
    """Network to train: an architecture, and its configuration, else the recipe's preset."""

    architecture: str = "crdr"
    config: Mapping[str, Any] | None = None
    start: Start | None = None

    def load(self, sizes: str) -> tuple[Architecture, Any]:
        """Return the architecture and its configuration; raises `UsageError`."""
        architecture = load_architecture(self.architecture)
        try:
            if self.config is None:
                return architecture, architecture.sizes[sizes]
            return architecture, architecture.read(self.config)
        except (KeyError, ValueError) as error:
            raise UsageError(f"{self.architecture} has no network {error}") from error

    def begun_with(self, checkpoint: Path, sizes: str) -> "Subject":
        """Return the subject with a checkpoint's weights to begin with; raises `UsageError`."""
        try:
            card = verified_card(checkpoint)
        except Unavailable as error:
            raise UsageError(f"the run cannot begin: {error}") from error
        _, config = self.load(sizes)
        if (card.architecture, card.config) != (self.architecture, config):
            raise UsageError(f"{checkpoint} holds another network than the one to train, {sizes}.")
        start = Start(card.sha256, card.crops, str(checkpoint.resolve()), card.steps or 0)
        return replace(self, start=start)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Contents of a run's `recipe.json`."""

    subject: Subject
    recipe: Recipe
    photographs: int
    names_and_sizes: str = ""  # sha256 of the photographs' names and sizes; empty in older records
    seen: str = ""  # all photographs in words, those before a change too; empty: unknown
    command: str = ""  # that makes the same network; empty: unknown

    def covers(self, later: "RunRecord") -> bool:
        """Return whether `later` is this run, but for added stages, precision, parts of a batch.

        Its photographs may be others.
        """
        own = self.recipe
        stages = later.recipe.stages[: len(own.stages)]
        manner = {name: getattr(own, name) for name in ("autocast", "tf32", "accumulate")}
        recipe = replace(later.recipe, stages=stages, **manner)
        return (self.subject, own) == (later.subject, recipe)


def train(
    subject: Subject,
    recipe: Recipe,
    data: Sequence[Path],
    run: Path,
    conditions: Conditions,
    held_out: Container[str] = (),
    photographs_changed: bool = False,
) -> None:
    """Begin the run in the folder `run`, or resume it. Under torchrun, every process calls this.

    held_out: paths in `data` that are not trained on. photographs_changed: go on with others than
    those that the run was begun with. Raises `UsageError` for a run of something
    else, folders without photographs and an operation without a deterministic kernel, `Unavailable`
    for a missing device.
    """
    launch = Launch.current()
    chosen = device_of(conditions.device, launch)
    if any(min(pixels.shape[:2]) < BLOCK for pixels in conditions.validation):
        raise UsageError(f"A photograph to validate with is smaller than {BLOCK} pixels.")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{run} cannot be a run's folder: {error}.") from error
    recipe = shared(recipe, chosen, launch)
    memory, count = MEMORY_BYTES, recipe.processes
    if launch is not None:  # every process holds photographs of its own
        memory, count = MEMORY_BYTES // launch.local_count, 1
    paths = [path for path in photograph_paths(data) if path not in held_out]
    seen = f"{len(paths)} photographs of {conditions.data_name}" if conditions.data_name else ""
    digest = names_and_sizes(paths)
    record = RunRecord(subject, recipe, len(paths), digest, seen, conditions.command)
    _begin(run, record, launch is None or launch.rank == 0, photographs_changed)
    photographs = open_photographs(paths, memory, count)
    architecture, config = subject.load(recipe.sizes)
    request = TrainingRequest(
        recipe,
        run,
        partial(architecture.build, config),
        photographs,
        replace(conditions, device=chosen),
        None if subject.start is None else subject.start.load,
    )
    if launch is None:
        in_processes(recipe.processes, run_request, request)
    else:
        run_request(launched(launch, chosen), request)


def device_of(asked: str, launch: Launch | None) -> str:
    """Return the device of this process: "cpu", "cuda" or "cuda:1"; raises `Unavailable`."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise Unavailable("torch cannot use a GPU here: leave --device cuda out.")
    if asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return "cuda" if launch is None else f"cuda:{launch.local_rank}"


def shared(recipe: Recipe, device: str, launch: Launch | None) -> Recipe:
    """Return the recipe for as many processes as there are; raises `UsageError`."""
    if launch is None and device == "cpu":
        return recipe
    try:
        return replace(recipe, processes=1 if launch is None else launch.count)
    except ValueError as error:
        raise UsageError(f"{recipe.name} cannot be trained so: {error}.") from error


def read_record(run: Path) -> RunRecord:
    """Return what a run was begun with; raises `Unavailable` without, `UsageError` if damaged."""
    path = run / RECORD
    try:
        return _record(read_json(path, dict[str, Any]))
    except FileNotFoundError:
        raise Unavailable(f"{run} is no run: it has no {RECORD}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no record of a training run: train elsewhere.") from error


def _record(stored: dict[str, Any]) -> RunRecord:
    fields, subject = stored["recipe"], msgspec.convert(stored["subject"], Subject)
    name, stages = fields.pop("name"), fields.pop("stages")
    if any(stage.pop(field, usual) != usual for stage in stages for field, usual in GONE.items()):
        raise ValueError("its crops are those of an earlier version")
    recipe = recipe_from(name, {**fields, "stage": stages})
    texts = (str(stored.get(name, "")) for name in ("names_and_sizes", "seen", "command"))
    return RunRecord(subject, recipe, int(stored["photographs"]), *texts)


def _begin(run: Path, record: RunRecord, leads: bool, photographs_changed: bool) -> None:
    """Write the record, unless the folder has another run; stages may be added to its own."""
    if (run / RECORD).exists():
        begun, later = read_record(run), _record(msgspec.to_builtins(record))
        if not begun.covers(later):
            raise UsageError(f"{run} is a run of another model or recipe.")
        known = begun.names_and_sizes or later.names_and_sizes, begun.photographs
        same = known == (later.names_and_sizes, later.photographs)
        if not same and not photographs_changed:
            raise UsageError(
                f"{run} was begun with {begun.photographs} photographs, and --data has "
                f"{later.photographs} of other names or sizes: give those again, or "
                "--photographs-changed to go on with these"
            )
        changed = f"{begun.seen or begun.photographs}, then {record.seen}"
        record = replace(record, seen=begun.seen or record.seen if same else changed)
    if leads:
        content = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        write_file(run / RECORD, content, durable=True)
