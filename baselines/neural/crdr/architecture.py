"""CRDR as an architecture of the boundary: its sizes, its network, its tables and its coder."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from baselines.neural.architecture import PlainArchitecture, Shapes
from baselines.neural.crdr.recognise import LANDMARKS, sizes_from_shapes
from baselines.neural.crdr.sizes import NAMED, Sizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.crdr.coder import CRDRCoder
    from baselines.neural.crdr.controls import CRDRControlBlock
    from baselines.neural.crdr.model import CRDRNetwork
    from benchmark.codec import Pixels


class CRDRArchitecture(PlainArchitecture[Sizes]):
    """The network of Iwai et al. (WACV 2024), at any `Sizes`."""

    name = "crdr"
    presets: Mapping[str, Sizes] = NAMED
    config_type = Sizes
    landmarks = LANDMARKS
    table_names = ("cdf", "z_cdf", "thresholds")

    def config_from_shapes(self, shapes: Shapes, known: Sizes | None = None) -> Sizes:
        """Return the sizes of the network whose tensors have these names and shapes."""
        return sizes_from_shapes(shapes, known)

    def rate_levels(self, config: Sizes) -> int:
        """Return the number of rate levels that one network serves, whole q from 0."""
        return config.rate_levels

    def control_block(self) -> "CRDRControlBlock":
        """Return how q and beta stand in a stream's header."""
        from baselines.neural.crdr.controls import CRDRControlBlock

        return CRDRControlBlock()

    def build(self, config: Sizes) -> "CRDRNetwork":
        """Return a network with random weights, on torch's default device."""
        from baselines.neural.crdr.model import CRDRNetwork

        return CRDRNetwork(config)

    def initialise(self, network: "CRDRNetwork", crops: "Tensor", lambdas: Sequence[float]) -> None:
        """Start as an orthogonal transform fitted to `crops` (N, 3, H, W) in [-1, 1]."""
        from baselines.neural.crdr.initialise import initialise

        initialise(network, crops, lambdas)

    def tables(self, network: "CRDRNetwork", images: "Sequence[Pixels]") -> "dict[str, Tensor]":
        """Return the distributions of y and z, the thresholds and the fractional bits.

        `images` are photographs whose activations say how fine the integers can be; two of 256 x
        256 suffice. Raises `ValueError` for a prior with parameters that are not finite.
        """
        import torch

        from baselines.neural.entropy.hyperprior_coder import hyperprior_tables
        from baselines.neural.inference import padded, to_images

        with torch.inference_mode():
            planes = [to_images(padded(pixels), torch.device("cpu")) for pixels in images]
            levels = range(network.sizes.rate_levels)
            latents = (network.analyse(one, float(q)) for one in planes for q in levels)
            return hyperprior_tables(network, latents)

    def coder(
        self,
        network: "CRDRNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "CRDRCoder":
        """Return the coder with the fastest integer kernel that is exact on `device`.

        Raises `ValueError` or `KeyError` for tables that are missing or do not fit the network.
        """
        from baselines.neural.crdr.coder import CRDRCoder

        return CRDRCoder(network, tables, device)
