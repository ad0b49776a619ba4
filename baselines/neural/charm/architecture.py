"""Charm as an architecture of the boundary: its sizes and its network; the rest is inherited."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import HyperpriorArchitecture, Shapes
from baselines.neural.charm.sizes import NAMED, CharmSizes
from baselines.neural.shapes import channel_context, hyper_latent, stages

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.charm.model import CharmNetwork


class CharmArchitecture(HyperpriorArchitecture[CharmSizes]):
    """The network of Minnen and Singh (ICIP 2020), at any `CharmSizes`; one for each rate."""

    name = "charm"
    presets: Mapping[str, CharmSizes] = NAMED
    config_type = CharmSizes
    landmarks = (
        "analysis.0.weight",
        "analysis.1.gamma",
        "synthesis.1.gamma",
        "hyper_synthesis.mean.0.weight",
        "context.residual.0.0.weight",
        "prior.quantiles",
    )

    def config_from_shapes(self, shapes: Shapes, known: CharmSizes | None = None) -> CharmSizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        down = stages("analysis", shapes)
        hyper = hyper_latent("hyper_synthesis.mean", shapes)
        return CharmSizes(
            transform=down[0][0],
            latent=down[3][0],
            kernel=down[0][2],
            **hyper,
            **channel_context(hyper["support"], shapes, known),
        )

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
