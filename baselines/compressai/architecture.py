"""CompressAI's networks with a hyperprior as an architecture that is trained here. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baselines.neural.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from baselines.neural.network import Network
    from benchmark.codec import Pixels

MODELS = ("bmshj2018-hyperprior", "mbt2018-mean")
# N and M for the work of CRDR's `micro`, 14.6 k multiply-accumulates per pixel. With the zoo's own
# M / N, 1.5 to 1.7, principal components would end at 30.9 dB on Kodak, whatever the rate; those of
# these widths reach 35.4 dB, those of `micro` 34.2 dB.
MATCHED_WIDTHS = (48, 172)


@dataclass(frozen=True, slots=True)
class ZooConfig:
    """Configuration of a network of CompressAI's that is trained for a rate."""

    model: str  # CompressAI's name of the architecture
    widths: tuple[int, int]  # CompressAI's N and M: channels of the transforms, of the latent
    lmbda: float = 0.0  # CompressAI's: it weighs 255^2 times the MSE of values in [0, 1] with bpp


def rate_weight(lmbda: float) -> float:
    """Return the weight of a bit per pixel beside 150 MSE in [0, 1], from CompressAI's lambda.

    CompressAI minimises lambda 255^2 MSE + bpp. The function is its own inverse.

    >>> round(rate_weight(0.0067), 4)
    0.3443
    """
    return 150 / (lmbda * 255**2)


class CompressAIArchitecture(Architecture[ZooConfig]):
    """CompressAI's own networks at any widths, a network for each rate."""

    name = "compressai"
    presets: Mapping[str, ZooConfig] = {}
    config_type = ZooConfig
    network_type = "baselines.compressai.network:ZooNetwork"

    def build(self, config: ZooConfig) -> "Network":
        """Return a network with CompressAI's random weights; raises `ValueError` for others."""
        import torch

        if torch.get_default_device().type == "meta":
            # CompressAI's constructors mix devices there: shapes without memory, in another way.
            from torch._subclasses.fake_tensor import FakeTensorMode

            with FakeTensorMode(), torch.device("cpu"):
                return super().build(config)
        return super().build(config)

    def initialise(self, network: Any, crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        network.initialise(crops, lambdas[0])

    def tables(self, network: Any, images: "Sequence[Pixels]" = ()) -> "dict[str, Tensor]":
        """Update CompressAI's own tables, buffers of the network; returns no others."""
        network.codec.update(force=True)
        return {}

    def coder(self, network: Any, tables: "Mapping[str, Tensor]", device: object = "cpu") -> Any:
        """Return CompressAI's own network: the codec `compressai` codes with its methods."""
        return network.codec
