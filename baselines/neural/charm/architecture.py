"""Charm as an architecture of the boundary, with its dimensions. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from baselines.neural import dimensions as dim
from baselines.neural.architecture import HyperpriorArchitecture


@dataclass(frozen=True, slots=True)
class CharmSizes(dim.Dimensions):
    """Dimensions of transforms that go down or up by 16, and of an entropy model of slices."""

    transform: dim.Width  # between the four convolutions of either transform
    latent: dim.Width  # y
    hyper_latent: dim.Width  # z, a quarter of the sides of y
    kernel: dim.Kernel  # of the convolutions of the transforms
    hyper_encoder: tuple[dim.Width, dim.Width]
    hyper_decoder: tuple[dim.Width, dim.Width]  # of each of the two stacks
    hyper_kernel: dim.Kernel  # of the hyper-convolutions that change the resolution
    support: dim.Width  # output of a stack of the hyper-decoder: input of the slices' transforms
    slices: dim.Parts  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[dim.Width, dim.Width]  # hidden widths of a slice's transforms
    context_kernels: tuple[dim.Kernel, dim.Kernel, dim.Kernel]

    def __post_init__(self) -> None:
        dim.Dimensions.__post_init__(self)
        dim.require_slices(self.latent, self.slices, self.support_slices)


# `full` has the dimensions of Minnen and Singh (ICIP 2020), as TensorFlow Compression's
# models/ms2020.py has them. `small` and `micro` have about the work per pixel of CRDR's of that
# name, with slices' kernels of 3: of 5 they would take all of that work. `tiny` is for tests.
NAMED = dim.size_table(
    CharmSizes,
    "full small micro tiny",
    transform=(192, 136, 40, 6),
    latent=(320, 200, 160, 12),
    hyper_latent=(192, 96, 32, 4),
    kernel=(5, 5, 5, 5),
    hyper_encoder=((320, 256), (160, 128), (64, 64), (6, 6)),
    hyper_decoder=((192, 256), (96, 128), (48, 48), (6, 6)),
    hyper_kernel=(5, 5, 3, 3),
    support=(320, 160, 48, 6),
    slices=((32,) * 10, (20,) * 10, (16,) * 10, (2, 4, 2, 4)),
    support_slices=(5, 5, 5, 2),
    context=((224, 128), (128, 96), (24, 16), (6, 4)),
    context_kernels=((5, 5, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
)
FULL, SMALL, MICRO, TINY = NAMED.values()


class CharmArchitecture(HyperpriorArchitecture[CharmSizes]):
    """The network of Minnen and Singh (ICIP 2020), at any `CharmSizes`; a network for each rate."""

    name = "charm"
    presets: Mapping[str, CharmSizes] = NAMED
    network_type = "baselines.neural.charm.model:CharmNetwork"
