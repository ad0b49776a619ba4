"""CompressAI's networks with a hyperprior as an architecture that is trained here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from baselines.compressai.config import ZooConfig
from baselines.neural.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.compressai.network import ZooNetwork
    from benchmark.codec import Pixels


class CompressAIArchitecture(Architecture[ZooConfig]):
    """CompressAI's own networks at any widths, a network for each rate."""

    name = "compressai"
    presets: Mapping[str, ZooConfig] = {}
    config_type = ZooConfig

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
        self, network: "ZooNetwork", tables: "Mapping[str, Tensor]", device: object = "cpu"
    ) -> Any:
        """Return CompressAI's own network: the codec `compressai` codes with its methods."""
        return network.codec
