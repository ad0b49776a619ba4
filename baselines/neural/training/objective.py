"""Interface of training objectives: the loss, resources and validation of a stage."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.network import BLOCK, Network, make_images
from baselines.neural.training.optimisers import Optimisers, precision_of
from baselines.neural.training.photographs import PhotographSet
from baselines.neural.training.recipe import ANY_RATES, Recipe, Stage
from benchmark.codec import Pixels
from benchmark.errors import UsageError

Kind = TypeVar("Kind", bound=Network)


class Batch(NamedTuple):
    """The crops of a step."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    numbers: range = range(0)  # the crops' numbers in the run, as in `draw_crops`
    random: Tensor | None = None  # in a captured step, `Objective.random_inputs` on the device


class Loss(NamedTuple):
    """Loss of a step."""

    total: Tensor  # scalar whose gradient trains the network
    numbers: Mapping[str, Tensor] = {}  # scalars for the journal
    # Updates discriminators after the network, given the factor of the learning rate (a float or
    # tensor), and returns more numbers. On a GPU, it is called even if the step is skipped;
    # `Setup.optimisers` then change nothing.
    after_step: Callable[[Any], Mapping[str, Tensor | float]] | None = None


class ValidationPoint(NamedTuple):
    """Rate and distortion at a q and beta, averaged over the photographs."""

    q: float
    beta: float
    bpp: float  # estimated from probabilities
    psnr_db: float


class Validation(NamedTuple):
    """Quality of a network on photographs outside the training set."""

    points: tuple[ValidationPoint, ...]
    loss: float  # lower is better


@dataclass(frozen=True, slots=True)
class Setup:
    """A stage of a run, with resources that its objective may use."""

    recipe: Recipe
    index: int  # index of the stage, from 0
    device: torch.device
    optimisers: Optimisers = field(default_factory=Optimisers)  # of discriminators, too
    photographs: PhotographSet | None = None  # source of the crops
    folder: Path | None = None  # the run's folder, for files of the objective

    def random(self, step: int) -> np.random.Generator:
        """Return a step's random generator; a resumed run gets the same."""
        return np.random.default_rng([self.recipe.seed, 2, self.index, step])

    def precision(self) -> torch.autocast:
        """Return the autocast context in which networks run."""
        stage = self.recipe.stages[self.index]
        uses_bfloat16 = precision_of(self.recipe, stage, self.device.type) == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=uses_bfloat16)


class Objective:
    """Loss of a stage, constructed when the stage begins or resumes; a subclass defines `loss`."""

    stage_type: ClassVar[type[Stage]] = Stage  # defines the fields in a recipe's stage
    rates: ClassVar[Sequence[int]] = ANY_RATES  # possible numbers of a network's rate levels
    weighs_rate: ClassVar[bool] = True  # whether it needs a lambda for each rate level
    uses_reduced_crops: ClassVar[bool] = True  # whether crops may be downsampled
    frozen: ClassVar[Collection[str]] = ()  # parts of networks to leave untrained
    _adversary: Any = None  # discriminators, with `state` and `load_state`; None: no GAN

    def __init__(self, stage: Any, setup: Setup) -> None:
        self.stage, self.setup = stage, setup

    @staticmethod
    def is_recordable(stage: Any) -> bool:
        """Return whether a CUDA graph can capture steps, which needs `random_inputs`."""
        return False

    def random_inputs(self, step: int) -> Tensor | None:
        """Return a captured step's random numbers, (k, batch) on the CPU, for `batch.random`."""
        # `loss` must depend on the step only through these; None: do not capture this step
        return None

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, counted from 0 in the stage."""
        raise NotImplementedError

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return the quality for photographs, uint8 (height, width, 3); by default, the loss."""
        device, losses = next(network.parameters()).device, []
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)  # the same noise in every validation
            for pixels in photographs:
                batch = Batch(_crop_to_blocks(pixels, device))
                losses.append(float(self.loss(network, batch, 0).total))
        return Validation((), math.fsum(losses) / len(losses))

    def state(self) -> Any:
        """Return all state except that of the network, as tensors, lists and dicts."""
        return None if self._adversary is None else self._adversary.state()

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        if self._adversary is not None:
            self._adversary.load_state(state)


def require_network(objective: Objective, network: Network, kind: type[Kind]) -> Kind:
    """Return the network if it is a `kind`, otherwise raise `UsageError`."""
    if not isinstance(network, kind):
        name = objective.stage.objective
        raise UsageError(
            f"the objective {name} cannot train a network of the class {type(network).__name__}"
        )
    return network


def _crop_to_blocks(pixels: Pixels, device: torch.device) -> Tensor:
    height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
    return make_images(pixels[:height, :width], device)


MSE_WEIGHT = 150.0  # weight of MSE of values in [0, 1]


class RateDistortion(NamedTuple):
    """Distortion and rate of each crop, (n,)."""

    mse: Tensor  # MSE of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """Return 150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def rate_distortion(crops: Tensor, images: Tensor, bits: Tensor) -> RateDistortion:
    """Compare `crops` (n, 3, h, w) in [-1, 1] with reconstructions coded in `bits` (n,)."""
    errors = (crops - images.float()).square()
    return RateDistortion(errors.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(lambdas: Sequence[float] | Tensor, q: Tensor) -> Tensor:
    """Interpolate lambda geometrically at each q; for maps (n, a, b), return their means (n,)."""
    logs = torch.as_tensor(lambdas, dtype=torch.float32).to(q.device, non_blocking=True).log()
    lower = q.floor().clamp(max=len(logs) - 1)
    upper = (lower + 1).clamp(max=len(logs) - 1)
    values = torch.lerp(logs[lower.long()], logs[upper.long()], q - lower)
    return (values if values.ndim == 1 else values.mean((1, 2))).exp()


def validate(
    network: Network,
    lambdas: Sequence[float],
    photographs: Sequence[Pixels],
    betas: Sequence[float] = (0.0,),
) -> Validation:
    """Return estimated bpp and PSNR at every rate level (one per lambda) and beta.

    photographs: uint8 (height, width, 3), cropped to multiples of 64. Bits are those of an ideal
    coder; images are not rounded to 8 bits. The loss is the mean over rates of
    log(lambda^-.5 (150 MSE + lambda bpp)).
    """
    device = next(network.parameters()).device
    points, losses = [], []
    with torch.no_grad():
        pictures = [_crop_to_blocks(pixels, device) for pixels in photographs]
        for q in range(len(lambdas)):
            rate = IndexedLevels(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = IndexedLevels(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    estimate = network(picture, network.controls_at(rate, realism), noisy=False)
                    bits = estimate.y_bits + estimate.z_bits
                    costs = rate_distortion(picture, estimate.images.clamp(-1, 1), bits)
                    bpp += float(costs.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(costs.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(lambdas, rate.levels)
                        losses.append(math.log(float(costs.loss(weight) * weight.rsqrt())))
                points.append(ValidationPoint(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))
