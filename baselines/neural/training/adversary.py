"""The discriminators of a stage, their objective and their own updates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.training.discriminators import discriminator
from baselines.neural.training.objectives import OBJECTIVES
from baselines.neural.training.recipe import Stage
from baselines.neural.training.workers import Workers


class Adversary:
    """Judges pictures at their rate level, a fractional q at the nearest one."""

    def __init__(self, stage: Stage, seed: int, device: torch.device, workers: Workers) -> None:
        self.objective = OBJECTIVES[stage.objective]
        self._stage, self._device, self._workers = stage, device, workers
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._network = discriminator(
                stage.discriminator, len(stage.lambdas), stage.discriminator_channels
            ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self._network.parameters())
        self._optimiser = torch.optim.Adam(self._parameters, stage.discriminator_learning_rate)

    def generator_loss(
        self, references: Tensor, images: Tensor, q: NDArray[np.float32], beta: Tensor
    ) -> Tensor:
        """Of each picture (n, 3, h, w), weighted with beta (n,) or (n, cells, cells): (n,)."""
        levels = self._levels(q)
        self._network.requires_grad_(False)
        expected = None
        if self.objective.reference != "none":
            with torch.no_grad():
                expected = self._network(references, levels)
        found = self._network(images, levels)
        self._network.requires_grad_(True)
        return self.objective.generator_loss(expected, found, beta)

    def update(
        self, originals: Tensor, images: Tensor, q: NDArray[np.float32], factor: float
    ) -> dict[str, float]:
        """One step of the discriminators on a batch; its loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._stage.discriminator_learning_rate * factor
        self._optimiser.zero_grad()
        levels = self._levels(q)
        real = self._network(originals, levels)
        fake = self._network(images.detach().float(), levels)
        loss = self.objective.discriminator_loss(real, fake)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self._parameters:  # a level may be missing from this worker's part only
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        (averaged,) = self._workers.average(self._parameters, loss.detach().reshape(1)).tolist()
        self._optimiser.step()
        return {"discriminator": averaged}

    def state(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _levels(self, q: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.rint(q)).long()  # on the CPU, where they decide what runs
