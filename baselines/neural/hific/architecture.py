"""HiFiC as an architecture of the boundary: its sizes and its network; the rest is inherited."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.entropy.hyperprior_architecture import HyperpriorArchitecture
from baselines.neural.hific.sizes import NAMED, HificSizes

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.hific.model import HificNetwork


class HificArchitecture(HyperpriorArchitecture[HificSizes]):
    """The network of Mentzer et al. (NeurIPS 2020), at any `HificSizes`; one for each rate."""

    name = "hific"
    presets: Mapping[str, HificSizes] = NAMED
    config_type = HificSizes

    def build(self, config: HificSizes) -> "HificNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.hific.model import HificNetwork

        return HificNetwork(config)

    def initialise(
        self, network: "HificNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Scale the latent to a few levels on `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.hific.model import initialise

        initialise(network, crops, lambdas)
