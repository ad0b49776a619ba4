"""The objective of ELIC: rate and distortion, with contexts that may see noise at first.

He et al., "ELIC: Efficient learned image compression with unevenly grouped space-channel contextual
adaptive coding" (CVPR 2022); that contexts are trained on noisy latents first and on rounded ones
later is the schedule of the re-implementation VincentChandelier/ELiC-ReImplemetation. The loss of a
crop is 150 MSE + lambda bpp, with MSE of values in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from baselines.neural.elic.model import ElicNetwork
from baselines.neural.network import Estimate, Network
from baselines.neural.training.losses.rate_distortion import terms, validate
from baselines.neural.training.objective import Batch, Loss, StageObjective, Validation
from baselines.neural.training.recipe import Stage
from benchmark.codec import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicStage(Stage):
    """Stage of rate and distortion; with `noisy_contexts`, contexts see latents with noise.

    The decoder sees rounded latents in any case.
    """

    noisy_contexts: bool = False

    def check_network(self, rate_levels: int) -> None:
        """Raise `ValueError` for a network of several rates, or several lambdas."""
        if rate_levels != 1 or len(self.lambdas) != 1:
            raise ValueError("an elic stage trains a network of one rate, with one lambda")


class Elic(StageObjective):
    """The objective of one stage."""

    stage_type = ElicStage

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step; raises `UsageError` for a network of another method."""
        self.own_network(network, ElicNetwork).noisy_contexts = self.stage.noisy_contexts
        with self._setup.precision():
            estimate: Estimate = network(batch.crops, None)
        parts = terms(batch.crops, estimate.images, estimate.y_bits + estimate.z_bits)
        weights = torch.full_like(parts.mse, self.stage.lambdas[0])
        numbers = {"mse": parts.mse.mean(), "bpp": parts.bpp.mean()}
        return Loss(parts.loss(weights).mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate and distortion, which select the network."""
        return validate(network, self.stage.lambdas, photographs)
