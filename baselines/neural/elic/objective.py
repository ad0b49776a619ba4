"""The objective of ELIC: 150 MSE + lambda bpp, with contexts that may see noise at first.

That contexts are trained on noisy latents first is the schedule of the re-implementation
VincentChandelier/ELiC-ReImplemetation.
"""

from dataclasses import dataclass

from baselines.neural.elic.model import ElicNetwork
from baselines.neural.network import Network
from baselines.neural.training.objective import Batch
from baselines.neural.training.rate_distortion import MSE_WEIGHT, RateDistortion
from baselines.neural.training.recipe import ONE_RATE, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicStage(Stage):
    """Stage of rate and distortion; with `noisy_contexts`, contexts see latents with noise."""

    noisy_contexts: bool = False

    rates = ONE_RATE


class Elic(RateDistortion):
    """The objective of a stage."""

    stage_type = ElicStage

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[None, float, float]:
        """Return the weights; raises `UsageError` for a network of another method."""
        self.own_network(network, ElicNetwork).noisy_contexts = self.stage.noisy_contexts
        return None, MSE_WEIGHT, self.stage.lambdas[0]
