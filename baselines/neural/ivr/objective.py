"""The objective of IVR: rate and distortion at two neighbouring levels, or half-way between them.

Sun et al., "Interpolation Variable Rate Image Compression" (ACM MM 2021), as the authors' code
draws levels: for each batch a pair of neighbours and a in {0, 1/2, 1}, all equally likely. The loss
of a crop is ::

    bpp + (a L_i + (1 - a) L_i+1) MSE

with MSE of values in [0, 1] and L = 150 / lambda; masks are interpolated with the same a. In the
authors' file bpp is commented out, which we take for its last run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from baselines.neural.blocks.control import Control
from baselines.neural.network import Estimate, Network
from baselines.neural.training.losses.rate_distortion import MSE_WEIGHT, terms, validate
from baselines.neural.training.objective import Batch, Loss, StageObjective, Validation
from baselines.neural.training.recipe import Stage
from benchmark.codec import Pixels

SHARES = (0.0, 0.5, 1.0)  # a, of the lower level of a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class IvrStage(Stage):
    """Stage of IVR; `lambdas` weigh a bit with 150 MSE beside it, as everywhere."""

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` for another number of lambdas than the network has rate levels."""
        if rate_levels < 2 or len(self.lambdas) != rate_levels:
            raise ValueError(f"an ivr stage has a lambda for each of {rate_levels} rate levels")


class Ivr(StageObjective):
    """The objective of one stage."""

    stage_type = IvrStage

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, all of whose crops have one level."""
        level, weight = self.random_level(step)
        control = Control(torch.full((1,), level, device=batch.crops.device), None)
        with self._setup.precision():
            estimate: Estimate = network(batch.crops, network.controls_at(control, control))
        parts = terms(batch.crops, estimate.images, estimate.y_bits + estimate.z_bits)
        numbers = {"mse": parts.mse.mean(), "bpp": parts.bpp.mean()}
        return Loss((parts.bpp + weight * parts.mse).mean(), numbers)

    def random_level(self, step: int) -> tuple[float, float]:
        """Return the level of a step, and the weight of MSE that belongs to it."""
        random, lambdas = self._setup.random(step), self.stage.lambdas
        lower = int(random.integers(len(lambdas) - 1))
        share = float(random.choice(SHARES))
        first, second = (MSE_WEIGHT / one for one in lambdas[lower : lower + 2])
        return lower + 1 - share, share * first + (1 - share) * second

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate and distortion at every level."""
        return validate(network, self.stage.lambdas, photographs)
