"""A model's name, a recipe and folders of photographs -> a run, begun or taken up again.

ours                              at the recipe's named size
compressai:bmshj2018-hyperprior   with `lmbda` and `widths`, at the recipe's schedule
"""

import json
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from baselines.neural.crdr.initialise import initialise
from baselines.neural.crdr.model import CRDR
from baselines.neural.crdr.sizes import NAMED
from baselines.neural.network import Network
from baselines.neural.training.loop import Request, run_request
from baselines.neural.training.photographs import load_photographs
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.validate import BLOCK
from baselines.neural.training.workers import in_processes
from benchmark.codec import Pixels
from benchmark.errors import Unavailable, UsageError

FILE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is trained."""

    model: str = "ours"  # or compressai:NAME
    lmbda: float = 0.0  # of a model of CompressAI's, in its convention
    widths: tuple[int, int] = (0, 0)  # its N and M


def train(
    subject: Subject,
    recipe: Recipe,
    data: Sequence[Path],
    run: Path,
    *,
    validation: Sequence[Pixels] = (),
    device: str = "auto",
    max_minutes: float | None = None,
) -> None:
    """Go on with the run in the folder `run`, or begin one.

    validation: photographs, uint8 (height, width, 3). max_minutes: stop after so many, everything
    saved, to go on in a next call. Raises `UsageError` for a run of something else and for folders
    without photographs, `Unavailable` for a device that is not there.
    """
    deadline = None if max_minutes is None else monotonic() + 60 * max_minutes
    chosen = _device(device)
    if any(min(one.shape[:2]) < BLOCK for one in validation):
        raise UsageError(f"A photograph to validate with is smaller than {BLOCK} pixels.")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{run} cannot be a run's folder: {error}.") from error
    photographs = load_photographs(data)
    if recipe.processes > 1 and chosen != "cpu":
        recipe = replace(recipe, processes=1)
    _check_same(run, subject, recipe, photographs.pictures)
    request = Request(
        recipe,
        run,
        partial(make_network, subject, recipe),
        partial(initialise_network, subject, recipe),
        photographs,
        validation,
        chosen,
        deadline,
    )
    in_processes(recipe.processes, run_request, request)


def make_network(subject: Subject, recipe: Recipe) -> Network:
    """With weights as they come."""
    if subject.model == "ours":
        return CRDR(NAMED[recipe.sizes])
    from baselines.compressai.network import ZooNetwork

    return ZooNetwork(subject.model.removeprefix("compressai:"), subject.widths, subject.lmbda)


def initialise_network(subject: Subject, recipe: Recipe, network: nn.Module, crops: Tensor) -> None:
    """From crops (n, 3, h, w) in [-1, 1]."""
    if isinstance(network, CRDR):
        initialise(network, crops, recipe.stages[0].lambdas)
    else:
        from baselines.compressai.network import rate_weight

        network.initialise(crops, rate_weight(subject.lmbda))  # type: ignore[operator]


def _device(asked: str) -> str:
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"No device {asked!r}: it is auto, cpu or cuda.")
    if asked == "cuda" and not torch.cuda.is_available():
        raise Unavailable("torch cannot use a GPU here: leave --device cuda out.")
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def _check_same(run: Path, subject: Subject, recipe: Recipe, photographs: int) -> None:
    """A run goes on with what it was begun with; stages may be added behind the ones it has.

    A field that came with a later version of the trainer was at its default before.
    """
    record: dict[str, Any] = {
        "subject": asdict(subject),
        "recipe": asdict(recipe),
        "photographs": photographs,
    }
    path = run / FILE
    now = json.loads(json.dumps(record))
    if path.exists():
        before = _read_record(path)
        shared = len(before["recipe"]["stages"])
        trimmed = {**now, "recipe": {**now["recipe"], "stages": now["recipe"]["stages"][:shared]}}
        if before != trimmed:
            raise UsageError(f"{run} is a run of another model, recipe or set of photographs.")
    draft = run / f".{FILE}.part"
    draft.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(draft, path)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        recipe = _defaults(Recipe) | found["recipe"]
        recipe["stages"] = [_defaults(Stage) | stage for stage in recipe["stages"]]
        return {**found, "subject": _defaults(Subject) | found["subject"], "recipe": recipe}
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path} is no record of a training run: train elsewhere.") from error


def _defaults(kind: type) -> dict[str, Any]:
    """As they stand in the record."""
    values = {one.name: one.default for one in fields(kind) if one.default is not MISSING}
    known: dict[str, Any] = json.loads(json.dumps(values))
    return known
