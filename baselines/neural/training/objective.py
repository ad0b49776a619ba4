"""The boundary of training objectives: the loss of a stage, with all that it needs.

An objective is a class and a line in `recipe.OBJECTIVES`; a recipe's stage names it as its `kind`.
It owns its discriminators, its conditioning and its random choices: the loop sees a loss, numbers
to report and an optional second update.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from baselines.neural.training.photographs import Photographs
from baselines.neural.training.precision import Precision, precision_of
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.step_guard import StepGuard
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from baselines.neural.network import Network

Wrapped = TypeVar("Wrapped")


class Batch(NamedTuple):
    """This process's part of the crops of one step."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    first: int = 0  # position of the part's first crop in the batch of all processes
    numbers: range = range(0)  # of the crops in the run, as `draw_crops` counts them


class Loss(NamedTuple):
    """Loss of one step of one process."""

    total: Tensor  # scalar whose gradient trains the network
    numbers: Mapping[str, Tensor]  # scalars for the journal, the same names in all processes
    # Update of discriminators, called after the network's own with the factor of the learning
    # rate (`rate_factor`); it returns further numbers, averaged over the processes. On a GPU it is
    # called for steps that are left out too, which `Setup.guard` keeps optimisers from taking.
    after_step: Callable[[float], Mapping[str, Tensor | float]] | None = None


class ValidationPoint(NamedTuple):
    """Rate and distortion at one q and beta, means over the photographs."""

    q: float
    beta: float
    bpp: float  # estimated
    psnr_db: float


class Validation(NamedTuple):
    """Quality of one state of the network on photographs that it never learnt from."""

    points: tuple[ValidationPoint, ...]
    loss: float  # lower is better
    selects: bool = True  # whether the loss says which network of the stage is the best
    numbers: Mapping[str, float] = MappingProxyType({})  # for the journal, as `validation_NAME`


@dataclass(frozen=True, slots=True)
class Setup:
    """Surroundings of an objective: a stage of a run, in one of its processes."""

    recipe: Recipe
    index: int  # of the stage
    device: torch.device
    workers: Workers
    guard: StepGuard = field(default_factory=StepGuard)  # of the objective's own optimisers
    photographs: Photographs | None = None  # of which the crops are
    folder: Path | None = None  # of the run, for what an objective keeps of its photographs

    def random(self, step: int) -> np.random.Generator:
        """Return the generator of a step's choices, alike in all processes and after a resume."""
        return np.random.default_rng([self.recipe.seed, 2, self.index, step])

    @property
    def precision_name(self) -> Precision:
        """Precision of convolutions in this process: the recipe's, if the processor has it."""
        return precision_of(self.recipe, self.recipe.stages[self.index], self.device.type)

    def precision(self) -> torch.autocast:
        """Return the context in which networks are run."""
        reduced = self.precision_name == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)


class StageObjective:
    """Base class of objectives, made as `kind(stage, setup)` where a stage begins or resumes."""

    stage_type: ClassVar[type[Stage]]  # the fields that a recipe's stage has with this objective
    frozen: ClassVar[Collection[str]] = ()  # parts of networks that it does not train
    _adversary: Any = None  # discriminators with `state` and `load_state`, if it has any

    def __init__(self, stage: Any, setup: Setup) -> None:
        self.stage, self._setup = stage, setup

    def own_network(self, network: "Network", kind: type[Wrapped]) -> Wrapped:
        """Return the network behind `torch.compile`; raises `UsageError` unless it is a `kind`."""
        inner = uncompiled(network)
        if not isinstance(inner, kind):
            raise UsageError(
                f"A stage of the kind {self.stage.kind} does not train a {type(inner).__name__}."
            )
        return inner

    def loss(self, network: "Network", batch: Batch, step: int) -> Loss:
        """Return the loss of a step, counted from 0 in the stage."""
        raise NotImplementedError

    def validate(self, network: "Network", photographs: Sequence[Pixels]) -> Validation | None:
        """Return the quality on whole photographs, uint8 (height, width, 3); None without one."""
        raise NotImplementedError

    def state(self) -> Any:
        """Return all that the next step depends on beside the network: tensors, lists, dicts."""
        return None if self._adversary is None else self._adversary.state()

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        if self._adversary is not None:
            self._adversary.load_state(state)


def uncompiled(network: Wrapped) -> Wrapped:
    """Return the network behind `torch.compile`, for passes whose shapes would compile it anew."""
    inner: Wrapped = getattr(network, "_orig_mod", network)
    return inner
