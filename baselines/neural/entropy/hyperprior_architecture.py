"""Base class of architectures with two transforms and a hyperprior. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from baselines.neural.architecture import Config, Shapes
from baselines.neural.plain_architecture import PlainArchitecture

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from baselines.neural.entropy.transform_coder import TransformCoder, TransformNetwork
    from benchmark.codec import Pixels


class HyperpriorArchitecture(PlainArchitecture[Config]):
    """Base class of architectures whose networks are `TransformNetwork`; of one rate unless told.

    A subclass sets `name`, `presets`, `config_type` and `landmarks`, and defines `build`,
    `initialise` and `config_from_shapes`; one of several rates also `rate_levels`.
    """

    table_names: tuple[str, ...] = ("cdf", "z_cdf", "thresholds")
    margin: ClassVar[int] = 144  # pixels, a multiple of 16: at least the reach of the transforms

    def config_from_shapes(self, shapes: Shapes, known: Config | None = None) -> Config:
        """Return the configuration of the network whose tensors have these names and shapes."""
        raise NotImplementedError

    def tables(
        self, network: "TransformNetwork", images: "Sequence[Pixels]"
    ) -> "dict[str, Tensor]":
        """Return the distributions of y and z, the thresholds and the fractional bits.

        `images` are photographs whose activations say how fine the integers can be; two of 256 x
        256 suffice. Raises `ValueError` for a prior with parameters that are not finite.
        """
        from baselines.neural.entropy.hyperprior_coder import hyperprior_tables

        return hyperprior_tables(network, self.latents(network, images))

    def latents(
        self, network: "TransformNetwork", images: "Sequence[Pixels]"
    ) -> "Iterator[Tensor]":
        """Yield y (1, M, h, w) of each image, padded, at every whole rate level."""
        import torch

        from baselines.neural.blocks.raster import padded, to_images

        for pixels in images:
            planes = to_images(padded(pixels), torch.device("cpu"))
            for level in range(self.rate_levels(network.config)):
                yield network.analyse(planes, network.controls_at(float(level), 0.0))

    def coder(
        self,
        network: "TransformNetwork",
        tables: "Mapping[str, Tensor]",
        device: "torch.device | str" = "cpu",
    ) -> "TransformCoder":
        """Return the coder with the fastest integer kernel that is exact on `device`.

        Raises `ValueError` or `KeyError` for tables that are missing or do not fit the network.
        """
        from baselines.neural.entropy.transform_coder import TransformCoder

        return TransformCoder(network, tables, device, margin=self.margin)
