"""The boundary of training objectives: the loss of a stage, with all that it needs.

An objective is a class and a line in `recipe.OBJECTIVES`; a recipe's stage names it as its `kind`.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.inference import has_bfloat16
from baselines.neural.network import Network
from baselines.neural.training.photographs import Photographs
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels
from benchmark.errors import UsageError


class StepGuard:
    """Decision whether to leave a step out, shared by all optimisers of a stage.

    On a GPU, Adam's fused kernel is given the answer as a tensor, as in torch's GradScaler, and
    changes nothing where it is 1. On the CPU the answer is a truth value.
    """

    def __init__(self) -> None:
        # On a GPU: float32 scalar, 1 where the present step is left out; None on the CPU.
        self.left_out: Tensor | None = None
        self.recorded = False  # whether steps of the optimisers become part of a CUDA graph

    def counts(self, norm: Tensor, loss: Tensor, largest: float) -> bool:
        """Return whether to call the optimisers for a step of that gradient norm and loss."""
        good = torch.isfinite(norm) & (loss <= largest)
        if good.device.type == "cpu":
            self.left_out = None
            return bool(good)
        self.left_out = (~good).float()
        return True

    def adam(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Adam:
        """Return a fused Adam; on the CPU it takes a third of the unfused kernel's time."""
        return torch.optim.Adam(groups, learning_rate, fused=True, capturable=self.recorded)

    def soap(self, groups: Iterable[Any], learning_rate: float) -> torch.optim.Optimizer:
        """Return Adam in the eigenbases of Shampoo's preconditioners (Vyas et al., 2024)."""
        from pytorch_optimizer import SOAP

        betas, bases = (0.95, 0.99), {"precondition_frequency": 10, "max_precondition_dim": 256}
        return SOAP(groups, learning_rate, betas=betas, weight_decay=0.0, **bases)  # type: ignore[arg-type]

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Update the optimiser's parameters, unless the step is left out."""
        if self.left_out is not None:
            if isinstance(optimiser, torch.optim.Adam):
                optimiser.found_inf = self.left_out  # type: ignore[attr-defined]
                optimiser.grad_scale = None  # type: ignore[attr-defined]
            elif bool(self.left_out):
                return
        optimiser.step()


Precision = Literal["bfloat16", "tf32", "float32"]


def precision_of(recipe: Recipe, stage: Stage, device: str) -> Precision:
    """Return the precision of a stage's convolutions in this process."""
    if stage.float32 or not has_bfloat16(device):  # GPUs with bfloat16 have TF32, too
        return "float32"
    if recipe.autocast:
        return "bfloat16"
    return "tf32" if recipe.tf32 and device == "cuda" else "float32"


@contextmanager
def kernels_of(precision: Precision) -> Iterator[None]:
    """Have GPUs use TF32, which keeps 10 of 23 bits of a factor, in no kernel or in all.

    With bfloat16, what remains in float32 is as torch has it: TF32 in convolutions alone.
    """
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    if precision != "bfloat16":
        matmul.allow_tf32 = convolution.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Have torch use kernels with the same bits in every call; raise `UsageError` without any."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):  # torch has no type of its own for it
            raise
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--deterministic is not possible here: {reason}") from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]


Wrapped = TypeVar("Wrapped")


class Batch(NamedTuple):
    """This process's part of the crops of a step."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    first: int = 0  # position of the part's first crop in the batch of all processes
    numbers: range = range(0)  # of the crops in the run, as `draw_crops` counts them
    draws: Tensor | None = None  # the part's own of `StageObjective.draws`, on the device

    @property
    def places(self) -> slice:
        """Positions of the part's crops in the batch of all processes."""
        return slice(self.first, self.first + len(self.crops))


class Loss(NamedTuple):
    """Loss of a step in a process."""

    total: Tensor  # scalar whose gradient trains the network
    numbers: Mapping[str, Tensor]  # scalars for the journal, the same names in all processes
    # Update of discriminators after the network's own, given the factor of the learning rate; it
    # returns further numbers, averaged over the processes. On a GPU it is called for steps that are
    # left out too, which `Setup.guard` keeps optimisers from taking.
    after_step: Callable[[float], Mapping[str, Tensor | float]] | None = None


class ValidationPoint(NamedTuple):
    """Rate and distortion at a q and beta, means over the photographs."""

    q: float
    beta: float
    bpp: float  # estimated
    psnr_db: float


class Validation(NamedTuple):
    """Quality of a network on photographs that it never learnt from."""

    points: tuple[ValidationPoint, ...]
    loss: float  # lower is better
    selects: bool = True  # whether the loss says which network of the stage is the best
    numbers: Mapping[str, float] = {}  # for the journal, as `validation_NAME`


@dataclass(frozen=True, slots=True)
class Setup:
    """Surroundings of an objective: a stage of a run, in any of its processes."""

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
    accumulates: ClassVar[bool] = True  # whether `loss` may see a batch in parts, in turn
    _adversary: Any = None  # discriminators with `state` and `load_state`, if it has any

    def __init__(self, stage: Any, setup: Setup) -> None:
        self.stage, self._setup = stage, setup

    def own_network(self, network: Network, kind: type[Wrapped]) -> Wrapped:
        """Return the network behind `torch.compile`; raises `UsageError` unless it is a `kind`."""
        inner = uncompiled(network)
        if not isinstance(inner, kind):
            raise UsageError(
                f"A stage of the kind {self.stage.kind} does not train a {type(inner).__name__}."
            )
        return inner

    def draws(self, step: int) -> Tensor | None:
        """Return all that a step draws on the CPU, (k, crops of the batch), or None.

        With it a step can be recorded: `loss` then sees it in the batch, in place of a step.
        """
        return None

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, counted from 0 in the stage."""
        raise NotImplementedError

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return the quality on whole photographs, uint8 (height, width, 3); None without any."""
        raise NotImplementedError

    def state(self) -> Any:
        """Return all that the next step depends on beside the network: tensors, lists, dicts."""
        return None if self._adversary is None else self._adversary.state()

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        if self._adversary is not None:
            self._adversary.load_state(state)


def uncompiled(network: nn.Module) -> Any:
    """Return the network behind `torch.compile`, for passes whose shapes would compile it anew."""
    return network if isinstance(network, Network) else next(network.children())
