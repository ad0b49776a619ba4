"""The boundary of training objectives: the loss of a stage, what it needs; rate and distortion.

An objective is a class and a line in `recipe.OBJECTIVES`; a recipe's stage names it as its `kind`.
"""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import Control
from baselines.neural.network import BLOCK, Estimate, Network, has_bfloat16, to_images
from baselines.neural.training.photographs import Photographs
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels
from benchmark.errors import UsageError

Wrapped = TypeVar("Wrapped")


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
        return self.prepared(torch.optim.Adam(groups, learning_rate, fused=True))

    def prepared(self, optimiser: Wrapped) -> Wrapped:
        """Have an Adam hold what a recorded step needs, whatever device its state comes from."""
        for group in optimiser.param_groups if isinstance(optimiser, torch.optim.Adam) else ():
            rate, group["capturable"] = float(group["lr"]), self.recorded
            group["lr"] = group["params"][0].new_full((), rate) if self.recorded else rate
        return optimiser

    def set_rate(self, group: dict[str, Any], rate: float | Tensor) -> None:
        """Set a group's learning rate, where steps are recorded in the tensor that they read."""
        group["lr"] = group["lr"].fill_(rate) if self.recorded else rate

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


class Batch(NamedTuple):
    """This process's part of the crops of a step."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    first: int = 0  # position of the part's first crop in the batch of all processes
    numbers: range = range(0)  # of the crops in the run, as `draw_crops` counts them
    draws: Tensor | None = None  # of a recorded step, `StageObjective.draws` on the device

    @property
    def places(self) -> slice:
        """Positions of the part's crops in the batch of all processes."""
        return slice(self.first, self.first + len(self.crops))


class Loss(NamedTuple):
    """Loss of a step in a process."""

    total: Tensor  # scalar whose gradient trains the network
    numbers: Mapping[str, Tensor]  # scalars for the journal, the same names in all processes
    # Update of discriminators after the network's own, given the learning rate's factor, a number
    # or a tensor; it returns further numbers, averaged over the processes. On a GPU it is called
    # for steps that are left out too, which `Setup.guard` keeps optimisers from taking.
    after_step: Callable[[Any], Mapping[str, Tensor | float]] | None = None


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
        """Return what a step to be recorded draws on the CPU, (k, crops of the batch), or None.

        `loss` sees it in the batch, and may depend on the step by it alone.
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


MSE_WEIGHT = 150.0  # of values in [0, 1]


class Terms(NamedTuple):
    """Distortion and rate of each crop, (n,)."""

    mse: Tensor  # of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """Return 150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def terms(crops: Tensor, images: Tensor, bits: Tensor) -> Terms:
    """Return the terms of `crops` and reconstructions (n, 3, h, w) in [-1, 1], `bits` (n,)."""
    squared = (crops - images.float()).square()
    return Terms(squared.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(lambdas: Sequence[float] | Tensor, q: Tensor) -> Tensor:
    """Return lambda at each q, geometric between levels, for maps (n, a, b) their mean: (n,)."""
    logs = torch.as_tensor(lambdas, dtype=torch.float32).to(q.device, non_blocking=True).log()
    below = q.floor().clamp(max=len(logs) - 1)
    above = (below + 1).clamp(max=len(logs) - 1)
    between = torch.lerp(logs[below.long()], logs[above.long()], q - below)
    return (between if between.ndim == 1 else between.mean((1, 2))).exp()


class RateDistortion(StageObjective):
    """Base class of objectives of rate and distortion, validated at every level and at `betas`."""

    betas: Sequence[float] = (0.0,)

    @property
    def selects(self) -> bool:
        """True where the loss of a validation says which network of the stage is the best."""
        return self.betas == (0.0,)

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[Any, float, float]:
        """Return the network's controls, and the weights of MSE and of bpp in a step's loss."""
        raise NotImplementedError

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step without realism."""
        controls, of_mse, of_bpp = self.conditions(network, batch, step)
        with self._setup.precision():
            estimate: Estimate = network(batch.crops, controls)
        parts = terms(batch.crops, estimate.images, estimate.y_bits + estimate.z_bits)
        numbers = {"mse": parts.mse.mean(), "bpp": parts.bpp.mean()}
        return Loss((of_mse * parts.mse + of_bpp * parts.bpp).mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return rate and distortion of whole photographs, uint8 (height, width, 3)."""
        quality = validate(network, self.stage.lambdas, photographs, self.betas)
        return quality._replace(selects=self.selects)


def validate(
    network: Network,
    lambdas: Sequence[float],
    photographs: Sequence[Pixels],
    betas: Sequence[float] = (0.0,),
) -> Validation:
    """Return estimated bpp and PSNR at the rate level of each of `lambdas` and at each of `betas`.

    photographs: uint8 (height, width, 3), cut to multiples of 64. Bits are an ideal coder's, images
    not yet of 8 bits. The loss is the mean over rates of log(lambda^-.5 (150 MSE + lambda bpp)).
    """
    device = next(network.parameters()).device
    points, losses = [], []
    with torch.no_grad():
        pictures = []
        for pixels in photographs:
            height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
            pictures.append(to_images(pixels[:height, :width], device))
        for q in range(len(lambdas)):
            rate = Control(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = Control(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    coded = network(picture, network.controls_at(rate, realism), noisy=False)
                    bits = coded.y_bits + coded.z_bits
                    measured = terms(picture, coded.images.clamp(-1, 1), bits)
                    bpp += float(measured.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(measured.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(lambdas, rate.levels)
                        losses.append(math.log(float(measured.loss(weight) * weight.rsqrt())))
                points.append(ValidationPoint(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))
