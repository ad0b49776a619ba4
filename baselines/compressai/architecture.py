"""CompressAI's networks with a hyperprior as an architecture that is trained here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.compressai.config import MODELS, ZooConfig
from baselines.neural.architecture import PlainArchitecture, Shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.compressai.network import ZooCoder, ZooNetwork
    from benchmark.codec import Pixels


class CompressAIArchitecture(PlainArchitecture[ZooConfig]):
    """CompressAI's own networks at any widths, one for each rate."""

    name = "compressai"
    presets: Mapping[str, ZooConfig] = {}
    landmarks = (
        *("g_a.0.weight", "g_a.6.weight", "g_s.0.weight", "h_a.0.weight", "h_s.4.weight"),
        *("g_a.1.gamma", "entropy_bottleneck.quantiles"),
    )
    config_type = ZooConfig

    def config_from_shapes(self, shapes: Shapes, known: ZooConfig | None = None) -> ZooConfig:
        """Return model and widths of the network with these tensors; its lambda is `known`'s."""
        widths = shapes["g_a.0.weight"][0], shapes["g_a.6.weight"][0]
        parameters = shapes["h_s.4.weight"][0] / widths[1]  # of a latent's distribution
        if parameters not in (1, 2):
            raise ValueError(f"it has {parameters:g} parameters for each channel of the latent")
        return ZooConfig(MODELS[int(parameters) - 1], widths, known.lmbda if known else 0.0)

    def build(self, config: ZooConfig) -> "ZooNetwork":
        """Return a network with CompressAI's random weights; raises `ValueError` for others."""
        import torch

        from baselines.compressai.network import ZooNetwork

        if torch.get_default_device().type == "meta":
            # CompressAI's constructors mix devices there: shapes without memory, in another way.
            from torch._subclasses.fake_tensor import FakeTensorMode

            with FakeTensorMode(), torch.device("cpu"):
                return ZooNetwork(config)
        return ZooNetwork(config)

    def initialise(self, network: "ZooNetwork", crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        network.initialise(crops, lambdas[0])

    def tables(self, network: "ZooNetwork", images: "Sequence[Pixels]" = ()) -> "dict[str, Tensor]":
        """Update CompressAI's own tables, buffers of the network; returns no others."""
        network.codec.update(force=True)
        return {}

    def coder(
        self,
        network: "ZooNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "ZooCoder":
        """Return the coder of a network whose buffers hold its tables."""
        from baselines.compressai.network import ZooCoder

        return ZooCoder(network, device)
