"""The objective of ELIC: rate and distortion, with contexts that may see noise at first.

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022); that contexts are trained on noisy latents first and on rounded ones
later is the schedule of the re-implementation VincentChandelier/ELiC-ReImplemetation.
"""

from dataclasses import dataclass

from baselines.neural.crdr.objective import SingleRate
from baselines.neural.crdr.stage import ConditionedStage
from baselines.neural.elic.model import ElicNetwork
from baselines.neural.network import Network
from baselines.neural.training.objective import Batch, Loss, uncompiled


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicStage(ConditionedStage):
    """Stage of rate and distortion; with `noisy_contexts`, contexts see latents with noise.

    The decoder sees rounded latents in any case.
    """

    noisy_contexts: bool = False


class Elic(SingleRate):
    """The objective of one stage."""

    stage_type: type[ConditionedStage] = ElicStage
    stage: ElicStage

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, as `SingleRate` defines it."""
        inner = uncompiled(network)
        assert isinstance(inner, ElicNetwork)
        inner.noisy_contexts = self.stage.noisy_contexts
        return SingleRate.loss(self, network, batch, step)
