"""IVR as an architecture of the boundary: its sizes, its network, its tables, q in the header."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import HyperpriorArchitecture, Shapes
from baselines.neural.ivr.sizes import NAMED, IvrSizes
from baselines.neural.shapes import hyper_latent, stages

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
    from baselines.neural.entropy.hyperprior_coder import TransformNetwork
    from baselines.neural.ivr.coder import IvrCoder
    from baselines.neural.ivr.model import IvrNetwork
    from benchmark.codec import Pixels


class IvrArchitecture(HyperpriorArchitecture[IvrSizes]):
    """The network of Sun et al. (ACM MM 2021), at any sizes; one for all rates."""

    name = "ivr"
    presets: Mapping[str, IvrSizes] = NAMED
    config_type = IvrSizes
    landmarks = (
        "analysis.layers.0.weight",
        "analysis.masks.0.weight",
        "synthesis.masks.0.weight",
        "hyper_synthesis.0.weight",
        "prior.log_scale",
    )
    table_names = ("cdf", "z_cdf", "thresholds", "row_start", "row_shift")

    def config_from_shapes(self, shapes: Shapes, known: IvrSizes | None = None) -> IvrSizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        down = stages("analysis.layers", shapes)
        hyper = hyper_latent("hyper_synthesis", shapes)
        del hyper["support"]  # mean and scale of y
        return IvrSizes(
            transform=down[0][0],
            latent=down[3][0],
            rate_levels=shapes["analysis.masks.0.weight"][0],
            **hyper,
        )

    def rate_levels(self, config: IvrSizes) -> int:
        """Return the number of rate levels that one network serves, whole q from 0."""
        return config.rate_levels

    def control_block(self) -> "SingleControl":
        """Return how q stands in a stream's header."""
        from baselines.neural.bitstream.control_grid import SingleControl

        return SingleControl(rate_grid())

    def build(self, config: IvrSizes) -> "IvrNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.ivr.model import IvrNetwork

        return IvrNetwork(config)

    def initialise(self, network: "IvrNetwork", crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.ivr.model import initialise

        initialise(network, crops, lambdas)

    def tables(  # type: ignore[override]
        self, network: "IvrNetwork", images: "Sequence[Pixels]"
    ) -> "dict[str, Tensor]":
        """Return the distributions of y and z and the fractional bits.

        `images` are photographs whose activations say how fine the integers can be; two of 256 x
        256 suffice. Raises `ValueError` for a prior with parameters that are not finite.
        """
        import torch

        from baselines.neural.entropy.fixed.fractional_bits import calibrate, fractional_bit_tables
        from baselines.neural.ivr.laplace import laplace_tables

        with torch.inference_mode():
            bits = fractional_bit_tables(calibrate(network, self.latents(network, images)))
        return {**laplace_tables(network.prior), **bits}

    def coder(
        self,
        network: "TransformNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "IvrCoder":
        """Return the coder with the fastest integer kernel that is exact on `device`.

        Raises `ValueError` or `KeyError` for tables that are missing or do not fit the network.
        """
        from baselines.neural.ivr.coder import IvrCoder

        return IvrCoder(network, tables, device, margin=self.margin)


def rate_grid() -> "ControlGrid":
    """Return the levels that a stream can hold: 0 to 9 in steps of 1/16."""
    from baselines.neural.bitstream.control_grid import ControlGrid

    return ControlGrid("q", 16, 144)
