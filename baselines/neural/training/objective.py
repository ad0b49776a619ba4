"""The boundary of training objectives: what a stage minimises, with all that it needs for that.

An objective is a class and a line in `OBJECTIVES`; a recipe's stage names it as its `kind`. It owns
its discriminators with their optimisers, its conditioning, its random choices and its schedule of
weights: the loop sees a loss, numbers to report and an optional second update.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from baselines.neural.training.photographs import Photographs
from baselines.neural.training.precision import Precision, precision_of
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.step_guard import StepGuard
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels
from benchmark.errors import UnknownName

if TYPE_CHECKING:
    from baselines.neural.network import Network

# Kind of a stage -> "module:class", as text: looking one up imports it.
OBJECTIVES = {
    "single_rate": "baselines.neural.crdr.training.objective:SingleRate",
    "multi_rate": "baselines.neural.crdr.training.objective:MultiRate",
    "realism": "baselines.neural.crdr.training.objective:Realism",
    "elic": "baselines.neural.elic.objective:Elic",
    "ivr": "baselines.neural.ivr.objective:Ivr",
    "hific": "baselines.neural.hific.objective:Hific",
    "multirealism": "baselines.neural.multirealism.objective:MultiRealism",
    "pqmim_autoencoder": "baselines.neural.pqmim.objective:Autoencoder",
    "pqmim_transformer": "baselines.neural.pqmim.objective:Transformer",
    "dirac": "baselines.neural.diffusion.objective:Drawing",
    "hfd": "baselines.neural.diffusion.objective:Drawing",
}

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
        """Return the generator of a step's choices, the same in all processes and after a resume.

        torch's own generator is seeded for every step too, differently in each process.
        """
        return np.random.default_rng([self.recipe.seed, 2, self.index, step])

    @property
    def precision_name(self) -> Precision:
        """Precision of convolutions in this process: the recipe's, if the processor has it."""
        return precision_of(self.recipe, self.recipe.stages[self.index], self.device.type)

    def precision(self) -> torch.autocast:
        """Return the context in which networks are run."""
        reduced = self.precision_name == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)


class StageObjective(Protocol):
    """Objective of one stage, made as `kind(stage, setup)` where the stage begins or resumes."""

    stage_type: ClassVar[type[Stage]]  # the fields that a recipe's stage has with this objective
    frozen: ClassVar[Collection[str]]  # parts of networks that it does not train, if they have them

    def loss(self, network: "Network", batch: Batch, step: int) -> Loss:
        """Return the loss of a step, counted from 0 in the stage."""
        ...

    def validate(self, network: "Network", photographs: Sequence[Pixels]) -> Validation | None:
        """Return the quality on whole photographs, uint8 (height, width, 3); None without one."""
        ...

    def state(self) -> Any:
        """Return all that the next step depends on beside the network: tensors, lists, dicts."""
        ...

    def load_state(self, state: Any) -> None:
        """Take up what `state` returned."""
        ...


class Stateless:
    """Part of an objective that keeps nothing from step to step but the network."""

    def state(self) -> None:
        """Return that there is nothing to keep."""

    def load_state(self, state: Any) -> None:
        """Take up what `state` returned: nothing."""


class Adversary(Protocol):
    """Discriminators of a stage, with their optimiser."""

    def state(self) -> Any:
        """Return their weights and the optimiser's moments."""
        ...

    def load_state(self, state: Any) -> None:
        """Take up what `state` returned."""
        ...


OwnAdversary = TypeVar("OwnAdversary", bound=Adversary)


class Adversarial(Generic[OwnAdversary]):
    """Part of an objective that keeps its discriminators from step to step, if it has any."""

    _adversary: OwnAdversary | None

    def state(self) -> Any:
        """Return the discriminators' state, None without them."""
        return None if self._adversary is None else self._adversary.state()

    def load_state(self, state: Any) -> None:
        """Take up what `state` returned."""
        if self._adversary is not None:
            self._adversary.load_state(state)


def objective_class(kind: str) -> Any:
    """Return the class of the objective of that name; raises `UnknownName`."""
    if kind not in OBJECTIVES:
        raise UnknownName("objective", kind, OBJECTIVES)
    module, _, attribute = OBJECTIVES[kind].partition(":")
    return getattr(import_module(module), attribute)


def uncompiled(network: Wrapped) -> Wrapped:
    """Return the network behind `torch.compile`, for passes whose shapes would compile it anew."""
    found: Wrapped = getattr(network, "_orig_mod", network)
    return found
