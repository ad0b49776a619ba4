"""The discriminators of a stage, with their GAN loss and their own optimiser."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.crdr.training.discriminators import discriminator
from baselines.neural.crdr.training.stage import ConditionedStage
from baselines.neural.training.losses.gan import GAN_LOSSES
from baselines.neural.training.step_guard import StepGuard, load_optimiser
from baselines.neural.training.workers import Workers


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
        found = self._network(images, levels)
        self._network.requires_grad_(True)
        return self.gan.generator_loss(expected, found, beta)

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
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        self._network.load_state_dict(state["network"])
        load_optimiser(self._optimiser, state["optimiser"])

    def _levels(self, q: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.rint(q).astype(np.int64))  # on the CPU: they decide what runs
