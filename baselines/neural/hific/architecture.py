"""HiFiC as an architecture of the boundary: its sizes and its network; the rest is inherited."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import HyperpriorArchitecture, Shapes
from baselines.neural.hific.sizes import NAMED, HificSizes
from baselines.neural.shapes import count, hyper_latent

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.hific.model import HificNetwork


class HificArchitecture(HyperpriorArchitecture[HificSizes]):
    """The network of Mentzer et al. (NeurIPS 2020), at any `HificSizes`; one for each rate."""

    name = "hific"
    presets: Mapping[str, HificSizes] = NAMED
    config_type = HificSizes
    landmarks = (
        "analysis.0.weight",
        "synthesis.head.1.weight",
        "synthesis.tail.0.weight",
        "hyper_synthesis.mean.0.weight",
        "prior.quantiles",
    )

    def config_from_shapes(self, shapes: Shapes, known: HificSizes | None = None) -> HificSizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        widths = [shapes[f"analysis.{layer}.weight"][0] for layer in (0, 3, 6, 9, 12)]
        hyper = hyper_latent("hyper_synthesis.mean", shapes)
        del hyper["support"]
        return HificSizes(
            widths=(widths[0], widths[1], widths[2], widths[3], widths[4]),
            latent=shapes["analysis.15.weight"][0],
            residual_blocks=count("synthesis.blocks.{}.layers.0.weight", shapes),
            **hyper,
        )

    def build(self, config: HificSizes) -> "HificNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.hific.model import HificNetwork

        return HificNetwork(config)

    def initialise(
        self, network: "HificNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.hific.start_values import initialise

        initialise(network, crops, lambdas)
