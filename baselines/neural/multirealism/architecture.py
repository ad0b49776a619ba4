"""Multi-Realism as an architecture of the boundary: its sizes, its network, beta in the header."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import HyperpriorArchitecture, Shapes
from baselines.neural.multirealism.sizes import NAMED, MultiRealismSizes
from baselines.neural.shapes import channel_context, hyper_latent, residual_transforms

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
    from baselines.neural.multirealism.model import MultiRealismNetwork


class MultiRealismArchitecture(HyperpriorArchitecture[MultiRealismSizes]):
    """The network of Agustsson et al. (CVPR 2023), at any sizes; one for each rate."""

    name = "multirealism"
    presets: Mapping[str, MultiRealismSizes] = NAMED
    config_type = MultiRealismSizes
    landmarks = (
        "analysis.0.weight",
        "synthesis.embedding.0.weight",
        "hyper_synthesis.mean.0.weight",
        "context.residual.0.0.weight",
        "prior.quantiles",
    )

    def config_from_shapes(
        self, shapes: Shapes, known: MultiRealismSizes | None = None
    ) -> MultiRealismSizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        hyper = hyper_latent("hyper_synthesis.mean", shapes)
        return MultiRealismSizes(
            **residual_transforms("analysis", "synthesis.layers", shapes),
            **hyper,
            **channel_context(hyper["support"], shapes, known, own_support=True),
            condition=shapes["synthesis.embedding.0.weight"][0],
        )

    def control_block(self) -> "SingleControl":
        """Return how beta stands in a stream's header."""
        from baselines.neural.bitstream.control_grid import SingleControl

        return SingleControl(beta_grid())

    def build(self, config: MultiRealismSizes) -> "MultiRealismNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.multirealism.model import MultiRealismNetwork

        return MultiRealismNetwork(config)

    def initialise(
        self, network: "MultiRealismNetwork", crops: "Tensor", lambdas: Sequence[float]
    ) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.multirealism.model import initialise

        initialise(network, crops, lambdas)


def beta_grid() -> "ControlGrid":
    """Return the realism weights that a stream can hold: 0 to 2.56 in steps of .02."""
    from baselines.neural.bitstream.control_grid import ControlGrid

    return ControlGrid("beta", 50, 128)
