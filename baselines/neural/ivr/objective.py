"""The objective of IVR: rate and distortion at two neighbouring levels, or half-way between them.

Sun et al. (ACM MM 2021), as the authors' code has it: for each batch a pair of neighbours and a in
{0, 1/2, 1}, all equally likely. The loss is bpp + (a L_i + (1 - a) L_i+1) MSE with MSE of values in
[0, 1] and L = 150 / lambda; masks are interpolated with the same a.
"""

from dataclasses import dataclass
from typing import Any

import torch

from baselines.neural.blocks.control import Control
from baselines.neural.network import Network
from baselines.neural.training.objective import Batch
from baselines.neural.training.rate_distortion import MSE_WEIGHT, RateDistortion
from baselines.neural.training.recipe import ANY_RATES, Stage

SHARES = (0.0, 0.5, 1.0)  # a, of the lower level of a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class IvrStage(Stage):
    """Stage of IVR; `lambdas` weigh a bit with 150 MSE beside it, as everywhere."""

    rates = ANY_RATES[1:]


class Ivr(RateDistortion):
    """The objective of a stage, in each step of which all crops have the same level."""

    stage_type = IvrStage

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[Any, float, float]:
        """Return a random level as controls, and its weights."""
        level, weight = self.random_level(step)
        control = Control(torch.full((1,), level, device=batch.crops.device), None)
        return network.controls_at(control, control), weight, 1.0

    def random_level(self, step: int) -> tuple[float, float]:
        """Return the level of a step, and the weight of MSE that belongs to it."""
        random, lambdas = self._setup.random(step), self.stage.lambdas
        lower = int(random.integers(len(lambdas) - 1))
        share = float(random.choice(SHARES))
        first, second = (MSE_WEIGHT / weight for weight in lambdas[lower : lower + 2])
        return lower + 1 - share, share * first + (1 - share) * second
