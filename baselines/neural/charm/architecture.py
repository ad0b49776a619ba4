"""Charm as an architecture of the boundary: its sizes and its network; the rest is inherited."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.charm.sizes import NAMED, CharmSizes
from baselines.neural.entropy.hyperprior_architecture import HyperpriorArchitecture

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.charm.model import CharmNetwork


class CharmArchitecture(HyperpriorArchitecture[CharmSizes]):
    """The network of Minnen and Singh (ICIP 2020), at any `CharmSizes`; one for each rate."""

    name = "charm"
    presets: Mapping[str, CharmSizes] = NAMED
    config_type = CharmSizes

    def build(self, config: CharmSizes) -> "CharmNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.charm.model import CharmNetwork

        return CharmNetwork(config)

    def initialise(
        self, network: "CharmNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.charm.model import initialise

        initialise(network, crops, lambdas)
