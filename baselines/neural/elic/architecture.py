"""ELIC as an architecture of the boundary: its sizes, its network and its coder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.elic.sizes import NAMED, ElicSizes
from baselines.neural.entropy.hyperprior_architecture import HyperpriorArchitecture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.elic.coder import ElicCoder
    from baselines.neural.elic.model import ElicNetwork
    from baselines.neural.entropy.transform_coder import TransformNetwork


class ElicArchitecture(HyperpriorArchitecture[ElicSizes]):
    """The network of He et al. (CVPR 2022), at any `ElicSizes`; one for each rate."""

    name = "elic"
    presets: Mapping[str, ElicSizes] = NAMED
    config_type = ElicSizes

    def build(self, config: ElicSizes) -> "ElicNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.elic.model import ElicNetwork

        return ElicNetwork(config)

    def initialise(self, network: "ElicNetwork", crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.elic.model import initialise

        initialise(network, crops, lambdas)

    def coder(
        self,
        network: "TransformNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "ElicCoder":
        """Return the coder with the fastest integer kernel that is exact on `device`.

        Raises `ValueError` or `KeyError` for tables that are missing or do not fit the network.
        """
        from baselines.neural.elic.coder import ElicCoder

        return ElicCoder(network, tables, device, margin=self.margin)
