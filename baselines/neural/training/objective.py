"""The boundary of training: the loss of a stage, its surroundings, its validation.

A recipe names one of `recipe.OBJECTIVES`, or a class of one's own as `FILE.py:CLASS`.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from baselines.neural.blocks.control import PlacedLevels
from baselines.neural.network import BLOCK, Network, to_images
from baselines.neural.training.optimisers import Optimisers, precision_of
from baselines.neural.training.photographs import Photographs
from baselines.neural.training.recipe import ANY_RATES, Recipe, Stage
from benchmark.codec import Pixels
from benchmark.errors import UsageError

Kind = TypeVar("Kind", bound=Network)


class Batch(NamedTuple):
    """The crops of a step."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    numbers: range = range(0)  # of the crops in the run, as `draw_crops` counts them
    random: Tensor | None = None  # in a recorded step, `Objective.random_inputs` on the device


class Loss(NamedTuple):
    """Loss of a step."""

    total: Tensor  # scalar whose gradient trains the network
    numbers: Mapping[str, Tensor] = {}  # scalars for the journal
    # Update of discriminators after the network's own, given the learning rate's factor, a number
    # or a tensor; it returns further numbers. On a GPU it is called for steps that are left out
    # too, which `Setup.optimisers` do not take.
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


@dataclass(frozen=True, slots=True)
class Setup:
    """Surroundings of an objective: a stage of a run."""

    recipe: Recipe
    index: int  # of the stage
    device: torch.device
    optimisers: Optimisers = field(default_factory=Optimisers)  # also of an objective's own
    photographs: Photographs | None = None  # of which the crops are
    folder: Path | None = None  # of the run, for what an objective keeps of its photographs

    def random(self, step: int) -> np.random.Generator:
        """Return the generator of a step's choices, the same after a resume."""
        return np.random.default_rng([self.recipe.seed, 2, self.index, step])

    def precision(self) -> torch.autocast:
        """Return the context in which networks are run."""
        stage = self.recipe.stages[self.index]
        reduced = precision_of(self.recipe, stage, self.device.type) == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)


class Objective:
    """Loss of a stage, made where a stage begins or resumes. A subclass has `loss`."""

    stage_type: ClassVar[type[Stage]] = Stage  # the fields that a recipe's stage has with it
    rates: ClassVar[Sequence[int]] = ANY_RATES  # of rate levels of networks that it trains
    weighs_rate: ClassVar[bool] = True  # with a lambda for each level
    reduces: ClassVar[bool] = True  # whether crops may be of reduced photographs
    frozen: ClassVar[Collection[str]] = ()  # parts of networks that it does not train
    _adversary: Any = None  # discriminators with `state` and `load_state`, if it has any

    def __init__(self, stage: Any, setup: Setup) -> None:
        self.stage, self.setup = stage, setup

    @staticmethod
    def is_recordable(stage: Any) -> bool:
        """Return whether it has `random_inputs`, and steps of a stage are to be recorded."""
        return False

    def random_inputs(self, step: int) -> Tensor | None:
        """Return what a step to be recorded draws on the CPU, (k, crops of the batch), or None.

        `loss` sees it in the batch, and may depend on the step by it alone.
        """
        return None

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, counted from 0 in the stage."""
        raise NotImplementedError

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return the quality on whole photographs, uint8 (height, width, 3), by default the loss.

        It is that of the stage's first step, with the same noise in every validation.
        """
        device, losses = next(network.parameters()).device, []
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            for pixels in photographs:
                batch = Batch(in_blocks(pixels, device))
                losses.append(float(self.loss(network, batch, 0).total))
        return Validation((), math.fsum(losses) / len(losses))

    def state(self) -> Any:
        """Return all that the next step depends on beside the network: tensors, lists, dicts."""
        return None if self._adversary is None else self._adversary.state()

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        if self._adversary is not None:
            self._adversary.load_state(state)


def own_network(objective: Objective, network: Network, kind: type[Kind]) -> Kind:
    """Return the network as a `kind`; raises `UsageError` for another method's."""
    if not isinstance(network, kind):
        name = objective.stage.objective
        raise UsageError(f"A stage with the objective {name} trains no {type(network).__name__}.")
    return network


def in_blocks(pixels: Pixels, device: torch.device) -> Tensor:
    """Return a photograph, cut to multiples of 64 pixels, as images (1, 3, H, W) in [-1, 1]."""
    height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
    return to_images(pixels[:height, :width], device)


MSE_WEIGHT = 150.0  # of values in [0, 1]


class RateDistortion(NamedTuple):
    """Distortion and rate of each crop, (n,)."""

    mse: Tensor  # of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """Return 150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def rate_distortion(crops: Tensor, images: Tensor, bits: Tensor) -> RateDistortion:
    """Return both of `crops` and reconstructions (n, 3, h, w) in [-1, 1], `bits` (n,)."""
    squared = (crops - images.float()).square()
    return RateDistortion(squared.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(lambdas: Sequence[float] | Tensor, q: Tensor) -> Tensor:
    """Return lambda at each q, geometric between levels, for maps (n, a, b) their mean: (n,)."""
    logs = torch.as_tensor(lambdas, dtype=torch.float32).to(q.device, non_blocking=True).log()
    below = q.floor().clamp(max=len(logs) - 1)
    above = (below + 1).clamp(max=len(logs) - 1)
    between = torch.lerp(logs[below.long()], logs[above.long()], q - below)
    return (between if between.ndim == 1 else between.mean((1, 2))).exp()


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
        pictures = [in_blocks(pixels, device) for pixels in photographs]
        for q in range(len(lambdas)):
            rate = PlacedLevels(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = PlacedLevels(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    coded = network(picture, network.controls_at(rate, realism), noisy=False)
                    bits = coded.y_bits + coded.z_bits
                    measured = rate_distortion(picture, coded.images.clamp(-1, 1), bits)
                    bpp += float(measured.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(measured.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(lambdas, rate.levels)
                        losses.append(math.log(float(measured.loss(weight) * weight.rsqrt())))
                points.append(ValidationPoint(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))
