"""ELIC as an architecture of the boundary: its sizes, its network and its coder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from baselines.neural.architecture import HyperpriorArchitecture, Shapes
from baselines.neural.elic.sizes import NAMED, ElicSizes
from baselines.neural.shapes import count, hyper_latent, residual_transforms

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.elic.coder import ElicCoder
    from baselines.neural.elic.model import ElicNetwork
    from baselines.neural.entropy.hyperprior_coder import TransformNetwork


class ElicArchitecture(HyperpriorArchitecture[ElicSizes]):
    """The network of He et al. (CVPR 2022), at any `ElicSizes`; one for each rate."""

    name = "elic"
    presets: Mapping[str, ElicSizes] = NAMED
    config_type = ElicSizes
    landmarks = (
        "analysis.0.weight",
        "hyper_synthesis.0.weight",
        "context.spatial.0.weight",
        "context.aggregation.0.0.weight",
        "prior.quantiles",
    )

    def config_from_shapes(self, shapes: Shapes, known: ElicSizes | None = None) -> ElicSizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        groups = count("context.spatial.{}.weight", shapes)
        spatial = [shapes[f"context.spatial.{k}.weight"] for k in range(groups)]
        channel = [shapes[f"context.channel.1.{layer}.weight"] for layer in (0, 2)]
        aggregation = [shapes[f"context.aggregation.0.{layer}.weight"][0] for layer in (0, 2)]
        sizes = ElicSizes(
            **residual_transforms("analysis", "synthesis", shapes),
            **hyper_latent("hyper_synthesis", shapes),
            groups=tuple(one[1] for one in spatial),
            channel_context=(channel[0][0], channel[1][0]),
            channel_kernel=channel[0][2],
            spatial_kernel=spatial[0][2],
            aggregation=None,
        )
        falling = [sizes.aggregation_widths(k) for k in range(groups)]
        found = [
            tuple(shapes[f"context.aggregation.{k}.{layer}.weight"][0] for layer in (0, 2))
            for k in range(groups)
        ]
        if found == falling:
            return sizes
        return replace(sizes, aggregation=(aggregation[0], aggregation[1]))

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
