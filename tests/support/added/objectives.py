"""An objective that the trainer has never heard of: a GAN with R1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, softplus

from baselines.neural.network import Estimate, Network
from baselines.neural.training.objective import Batch, Loss, Objective, Setup, rate_distortion
from baselines.neural.training.recipe import Stage, Weight
from benchmark.codec import Pixels
from support.training.fixtures import LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentGANStage(Stage):
    gan: Weight = 0.01
    r1: Weight = 1.0
    discriminator_learning_rate: Weight = 1e-3


class LatentGAN(Objective):
    """Rate, distortion and a GAN whose discriminator sees the latents too, as HiFiC's does."""

    stage_type = LatentGANStage
    frozen: ClassVar[frozenset[str]] = frozenset({"realism_control"})

    def __init__(self, stage: LatentGANStage, setup: Setup) -> None:
        super().__init__(stage, setup)
        with torch.random.fork_rng():
            torch.manual_seed(setup.recipe.seed)
            self.score = nn.Conv2d(3 + LEAST.latent, 1, 5, stride=4)
        self.optimiser = setup.optimisers.adam(self.score.parameters(), 1e-3)

    def scores(self, images: Tensor, latents: Tensor) -> Tensor:
        maps = interpolate(latents.detach(), size=images.shape[2:])
        return self.score(torch.cat([images, maps], 1))

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        q = float(self.setup.random(step).integers(0, 5))
        result: Estimate = network(batch.crops, network.controls_at(q, 0.0))
        assert result.latents is not None
        fake = softplus(-self.scores(result.images, result.latents)).mean()
        cost = rate_distortion(batch.crops, result.images, result.y_bits + result.z_bits)
        total = cost.loss(torch.tensor(self.stage.lambdas[0])).mean() + self.stage.gan * fake
        images, latents = result.images.detach(), result.latents.detach()

        def update(factor: float) -> dict[str, Tensor]:
            real = batch.crops.clone().requires_grad_()
            scores = self.scores(real, latents)
            (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
            r1 = slope.square().sum((1, 2, 3)).mean()
            loss = softplus(-scores).mean() + softplus(self.scores(images, latents)).mean()
            self.optimiser.param_groups[0]["lr"] = self.stage.discriminator_learning_rate * factor
            self.optimiser.zero_grad()
            (loss + self.stage.r1 / 2 * r1).backward()
            self.setup.optimisers.step(self.optimiser)
            return {"discriminator": loss.detach(), "r1": r1.detach()}

        return Loss(total, {"bpp": cost.bpp.mean()}, update)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> None:
        return None

    def state(self) -> Any:
        return {"score": self.score.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state(self, state: Any) -> None:
        self.score.load_state_dict(state["score"])
        self.optimiser.load_state_dict(state["optimiser"])
