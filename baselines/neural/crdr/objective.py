"""The three objectives of CRDR: a single rate, all rates, all rates and realism weights.

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024): rate and distortion as
L_dist and L_cond, LPIPS and a GAN weighted with beta. The formula is `ConditionedStage`'s.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.crdr.discriminators import discriminator
from baselines.neural.crdr.model import HIGHEST_BETA
from baselines.neural.crdr.stage import ConditionedStage, DrawnLevels, control, draw_levels
from baselines.neural.network import Estimate, Network
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.losses.gan import GAN_LOSSES
from baselines.neural.training.losses.rate_distortion import lambda_at, terms, validate
from baselines.neural.training.objective import (
    Batch,
    Loss,
    Setup,
    StageObjective,
    Validation,
    uncompiled,
)
from baselines.neural.training.step_guard import StepGuard, load_optimiser
from baselines.neural.training.workers import Workers
from benchmark.codec import Pixels

REALISTIC = 3.84  # the beta that is validated beside 0


class Adversary:
    """Discriminators by rate level; a fractional q takes that of the nearest one."""

    def __init__(
        self,
        stage: ConditionedStage,
        seed: int,
        device: torch.device,
        workers: Workers,
        guard: StepGuard | None = None,
    ) -> None:
        self.gan = GAN_LOSSES[stage.objective]
        self._stage, self._device, self._workers = stage, device, workers
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._network = discriminator(
                stage.discriminator, len(stage.lambdas), stage.discriminator_channels
            ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self._network.parameters())
        self._guard = guard or StepGuard()
        self._optimiser = self._guard.adam(self._parameters, stage.discriminator_learning_rate)

    def generator_loss(
        self, references: Tensor, images: Tensor, q: NDArray[np.float32], beta: Tensor
    ) -> Tensor:
        """Return the loss of each of `images` (n, 3, h, w), weighted with beta: (n,).

        beta: (n,), or (n, cells, cells) for regions.
        """
        levels = self._levels(q)
        self._network.requires_grad_(False)
        expected = None
        if self.gan.reference != "none":
            with torch.no_grad():
                expected = self._network(references, levels)
        logits = self._network(images, levels)
        self._network.requires_grad_(True)
        return self.gan.generator_loss(expected, logits, beta)

    def update(
        self,
        originals: Tensor,
        images: Tensor,
        q: NDArray[np.float32],
        factor: float,
        q_of_batch: NDArray[np.float32] | None = None,
    ) -> dict[str, Tensor]:
        """Update the discriminators by one step, averaged over processes; return their loss.

        q_of_batch: rates of the whole batch, where `q` are those of this process's part. What
        serves none of them stays as it is, the optimiser's moments too.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._stage.discriminator_learning_rate * factor
        self._optimiser.zero_grad()
        levels = self._levels(q)
        real = self._network(originals, levels)
        fake = self._network(images.detach().float(), levels)
        loss = self.gan.discriminator_loss(real, fake)
        loss.backward()  # type: ignore[no-untyped-call]
        everywhere = levels if q_of_batch is None else self._levels(q_of_batch)
        for parameter in self._network.serving(everywhere.tolist()):
            if parameter.grad is None:  # its levels are in other processes' parts alone
                parameter.grad = torch.zeros_like(parameter)
        averaged = self._workers.average(self._parameters, loss.detach().reshape(1))
        self._guard.step(self._optimiser)
        return {"discriminator": averaged[0]}

    def state(self) -> dict[str, Any]:
        """Return weights and optimiser."""
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._network.load_state_dict(state["network"])
        load_optimiser(self._optimiser, state["optimiser"])

    def _levels(self, q: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.rint(q).astype(np.int64))  # on the CPU: they decide what runs


class Passed(NamedTuple):
    """Crops of a step with their levels and the network's estimate."""

    crops: Tensor  # float32 (n, 3, side, side) in [-1, 1]
    levels: DrawnLevels
    estimate: Estimate


class SingleRate(StageObjective):
    """Rate and distortion at one lambda, with LPIPS where the stage weighs it."""

    stage_type = ConditionedStage
    frozen = frozenset({"rate_control", "realism_control"})
    betas: ClassVar[tuple[float, ...]] = (0.0,)  # validated at
    _adversary: Adversary | None

    def __init__(self, stage: ConditionedStage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = (
            Adversary(stage, setup.recipe.seed, setup.device, setup.workers, setup.guard)
            if stage.gan_per_beta
            else None
        )

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at random levels, and the discriminators' update."""
        everywhere = draw_levels(self.stage, self._setup.random(step))
        crops = batch.crops
        levels = everywhere.part(batch.first, batch.first + len(crops))
        plain = uncompiled(network)
        forward = plain if levels.is_map else network
        with self._setup.precision():
            estimate: Estimate = forward(crops, self._controls(network, levels))
            passed = Passed(crops, levels, estimate)
            penalty, parts = self._realism_penalty(plain, passed)
        costs = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        lambdas = self._lambdas(plain, passed)
        scale = lambdas.rsqrt() if self.stage.balanced else torch.ones_like(lambdas)
        numbers = {
            "mse": costs.mse.mean(),
            "bpp": costs.bpp.mean(),
            "z_bpp": (estimate.z_bits / crops[0, 0].numel()).mean(),
            # One figure for all rates, which a change of lambda only shifts.
            "log_loss": (costs.loss(lambdas) * lambdas.rsqrt()).log().mean(),
            **parts,
        }
        total = (scale * (costs.loss(lambdas) + penalty)).mean()
        adversary = self._adversary
        if adversary is None or levels.q_differs:
            return Loss(total, numbers)

        def update(factor: float) -> dict[str, Tensor]:
            with self._setup.precision():
                q, q_of_batch = levels.q_of_crops, everywhere.q_of_crops
                return adversary.update(crops, estimate.images, q, factor, q_of_batch)

        return Loss(total, numbers, update)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate and distortion at every whole q, which select a network before realism."""
        quality = validate(network, self.stage.lambdas, photographs, self.betas)
        return quality._replace(selects=self.betas == (0.0,))

    def _controls(self, network: Network, levels: DrawnLevels) -> Any:
        device = self._setup.device
        return network.controls_at(control(levels.q, device), control(levels.beta, device))

    def _lambdas(self, network: Network, passed: Passed) -> Tensor:
        crops, levels, _ = passed
        lambdas = lambda_at(self.stage.lambdas, self._tensor(levels.q))
        if not self.stage.targets_bpp:
            return lambdas
        with torch.no_grad(), self._setup.precision():
            rounded = network(crops, self._controls(network, levels), noisy=False)
        bits = self._setup.workers.mean((rounded.y_bits + rounded.z_bits).mean())
        bpp = bits / crops[0, 0].numel()
        return towards_target(self.stage, float(levels.q[0]), bpp, lambdas)

    def _realism_penalty(
        self, network: Network, passed: Passed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return LPIPS and the generator's loss of each crop, weighted with beta: (n,)."""
        stage, (crops, levels, estimate) = self.stage, passed
        beta = weight_of(self._tensor(levels.beta), stage.beta_growth)
        penalty = torch.zeros(len(crops), device=self._setup.device)
        parts = {}
        if self._perceptual is not None:
            weights = stage.lpips + stage.lpips_per_beta * beta
            distance = self._perceptual(crops, estimate.images, weights)
            penalty = penalty + distance
            parts["lpips"] = distance.mean() / weights.mean().clamp(min=1e-6)
        if self._adversary is not None and not levels.q_differs:
            reference = self._reference(self._adversary, network, passed)
            losses = self._adversary.generator_loss(
                reference, estimate.images, levels.q_of_crops, beta
            )
            penalty = penalty + stage.gan_per_beta * losses
            parts["generator"] = losses.mean() / beta.mean().clamp(min=1e-6)
        return penalty, parts

    def _reference(self, adversary: Adversary, network: Network, passed: Passed) -> Tensor:
        """Return the images to compare with: originals, or reconstructions at the next rate."""
        crops, levels, _ = passed
        if adversary.gan.reference != "next_rate":
            return crops
        highest = len(self.stage.lambdas) - 1
        q = levels.q_of_crops
        higher = levels._replace(q=np.minimum(q + 1, highest).astype(np.float32))
        with torch.no_grad():
            pictures = network(crops, self._controls(network, higher)).images
        real = self._tensor(q + 1 > highest)
        return torch.where(real[:, None, None, None], crops, pictures.float())

    def _tensor(self, values: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._setup.device)


class MultiRate(SingleRate):
    """Rate and distortion at all rate levels, and between them with `mixed_levels`."""

    frozen = frozenset({"realism_control"})


class Realism(SingleRate):
    """Rate, distortion and realism: LPIPS and the GAN weigh as much as beta says."""

    frozen = frozenset()
    betas = (0.0, REALISTIC)


def weight_of(betas: Tensor, growth: float) -> Tensor:
    """Return what LPIPS and the GAN weigh at betas of [0, 5.12], in the same range and shape."""
    if not growth:
        return betas
    return torch.expm1(betas * (growth / HIGHEST_BETA)) * (HIGHEST_BETA / math.expm1(growth))


def towards_target(stage: ConditionedStage, q: float, bpp: Tensor, lambdas: Tensor) -> Tensor:
    """Apply the published rule: lambda while the batch is above its target, else another.

    `bpp` (n,) of rounded latents, all at the whole `q`; `lambdas` (n,). Returns the same lambda for
    the whole batch, (n,).
    """
    if not stage.targets_bpp:
        return lambdas
    above = bpp.mean() > stage.targets_bpp[int(q)]
    return torch.where(above, lambdas, torch.full_like(lambdas, stage.lambda_below))
