"""HiFiC as an architecture of the boundary, with its dimensions. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from baselines.neural import dimensions as dim
from baselines.neural.architecture import HyperpriorArchitecture

# Room for a colour, its negative and two constants: `start_values`.
Wide = Annotated[int, Meta(ge=4, le=dim.LARGEST_WIDTH)]


@dataclass(frozen=True, slots=True)
class HificSizes(dim.Dimensions):
    """Dimensions of transforms that go down or up by 16, and of a hyperprior without slices."""

    widths: tuple[Wide, Wide, Wide, Wide, Wide]  # of the encoder, reversed in the generator
    latent: dim.EvenWidth  # y
    hyper_latent: dim.EvenWidth  # z, a quarter of the sides of y
    residual_blocks: dim.Count  # of the generator, at its widest
    hyper_encoder: tuple[dim.EvenWidth, dim.EvenWidth]
    hyper_decoder: tuple[dim.EvenWidth, dim.EvenWidth]  # of two stacks, which end in `latent`
    hyper_kernel: dim.Kernel  # of the hyper-convolutions that change the resolution
    # The two stacks of the hyper-decoder give means and scales themselves.
    slices: ClassVar[tuple[int, ...]] = ()
    support_slices: ClassVar[int] = 0
    context: ClassVar[tuple[int, int]] = (0, 0)
    context_kernels: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    @property
    def support(self) -> int:
        """Width of each output of the hyper-decoder: that of y."""
        return self.latent


# `full` has the dimensions of Mentzer et al. (NeurIPS 2020), as TensorFlow Compression's
# models/hific has them. `small` and `micro` have about the work per pixel of CRDR's of that name.
# Nine residual blocks would be most of `micro`; with two, the layers near the image keep their
# share, and the checkpoints are small enough to be bundled. `tiny` is for tests.
NAMED = dim.size_table(
    HificSizes,
    "full small micro tiny",
    widths=(
        *((60, 120, 240, 480, 960), (25, 50, 100, 200, 400)),
        *((11, 22, 44, 88, 176), (4, 4, 6, 8, 8)),
    ),
    latent=(220, 192, 128, 12),
    hyper_latent=(320, 128, 32, 4),
    residual_blocks=(9, 9, 2, 1),
    hyper_encoder=((320, 320), (128, 128), (32, 32), (6, 6)),
    hyper_decoder=((320, 320), (128, 128), (32, 32), (6, 6)),
    hyper_kernel=(5, 5, 5, 3),
)
FULL, SMALL, MICRO, TINY = NAMED.values()


class HificArchitecture(HyperpriorArchitecture[HificSizes]):
    """The network of Mentzer et al. (NeurIPS 2020), at any sizes; a network for each rate."""

    name = "hific"
    presets: Mapping[str, HificSizes] = NAMED
    network_type = "baselines.neural.hific.model:HificNetwork"
