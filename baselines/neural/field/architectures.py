"""The methods of the field as architectures, with their dimensions, from `sizes/`. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from baselines.neural.architecture import (
    LARGEST_WIDTH,
    ConditionedSizes,
    Count,
    Dimensions,
    EvenWidth,
    HyperpriorArchitecture,
    Kernel,
    Parts,
    ResidualSizes,
    Width,
    require_slices,
    size_table,
)
from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl


@dataclass(frozen=True, slots=True)
class CharmSizes(Dimensions):
    """Dimensions of transforms that go down or up by 16, and of an entropy model of slices."""

    transform: Width  # between the four convolutions of either transform
    latent: Width  # y
    hyper_latent: Width  # z, a quarter of the sides of y
    kernel: Kernel  # of the convolutions of the transforms
    hyper_encoder: tuple[Width, Width]
    hyper_decoder: tuple[Width, Width]  # of each of the two stacks
    hyper_kernel: Kernel  # of the hyper-convolutions that change the resolution
    support: Width  # output of a stack of the hyper-decoder: input of the slices' transforms
    slices: Parts  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[Width, Width]  # hidden widths of a slice's transforms
    context_kernels: tuple[Kernel, Kernel, Kernel]

    def __post_init__(self) -> None:
        Dimensions.__post_init__(self)
        require_slices(self.latent, self.slices, self.support_slices)


class CharmArchitecture(HyperpriorArchitecture[CharmSizes]):
    """The network of Minnen and Singh (ICIP 2020), at any `CharmSizes`; a network for each rate."""

    name = "charm"
    presets: Mapping[str, CharmSizes] = size_table(CharmSizes, "charm")
    network_type = "baselines.neural.field.charm:CharmNetwork"


@dataclass(frozen=True, slots=True)
class ElicSizes(ResidualSizes):
    """Dimensions that determine the shapes of all parameters; see `ResidualSizes`."""

    support: Width  # output of the hyper-decoder
    groups: Annotated[Parts, Meta(min_length=1)]  # widths, summing to `latent`
    channel_context: tuple[Width, Width]  # hidden widths of the context of earlier groups
    channel_kernel: Kernel
    spatial_kernel: Kernel  # of the checkerboard
    # Hidden widths; None: falling linearly, at least `support`.
    aggregation: tuple[Width, Width] | None = None

    def __post_init__(self) -> None:
        ResidualSizes.__post_init__(self)
        if sum(self.groups) != self.latent:
            raise ValueError(f"groups sum to {sum(self.groups)}, the latent has {self.latent}")

    def aggregation_widths(self, group: int) -> tuple[int, int]:
        """Return the hidden widths of a group's aggregation, group 0 being the first."""
        if self.aggregation is not None:
            return self.aggregation
        inputs, outputs = self.aggregation_inputs(group), 2 * self.groups[group]
        first, second = (inputs + (outputs - inputs) * part // 3 for part in (1, 2))
        return max(first, self.support), max(second, self.support)

    def aggregation_inputs(self, group: int) -> int:
        """Return the channels of spatial and channel context and of the hyper-decoder together."""
        return 2 * self.groups[group] * (2 if group else 1) + self.support


class ElicArchitecture(HyperpriorArchitecture[ElicSizes]):
    """The network of He et al. (CVPR 2022), at any `ElicSizes`; a network for each rate."""

    name = "elic"
    presets: Mapping[str, ElicSizes] = size_table(ElicSizes, "elic")
    network_type = "baselines.neural.field.elic:ElicNetwork"
    coder_type = "baselines.neural.field.elic:ElicCoder"


# Room for a colour, its negative and two constants: `start_values`.
Wide = Annotated[int, Meta(ge=4, le=LARGEST_WIDTH)]


@dataclass(frozen=True, slots=True)
class HificSizes(Dimensions):
    """Dimensions of transforms that go down or up by 16, and of a hyperprior without slices."""

    widths: tuple[Wide, Wide, Wide, Wide, Wide]  # of the encoder, reversed in the generator
    latent: EvenWidth  # y
    hyper_latent: EvenWidth  # z, a quarter of the sides of y
    residual_blocks: Count  # of the generator, at its widest
    hyper_encoder: tuple[EvenWidth, EvenWidth]
    hyper_decoder: tuple[EvenWidth, EvenWidth]  # of two stacks, which end in `latent`
    hyper_kernel: Kernel  # of the hyper-convolutions that change the resolution
    # The two stacks of the hyper-decoder give means and scales themselves.
    slices: ClassVar[tuple[int, ...]] = ()
    support_slices: ClassVar[int] = 0
    context: ClassVar[tuple[int, int]] = (0, 0)
    context_kernels: ClassVar[tuple[int, int, int]] = (0, 0, 0)

    @property
    def support(self) -> int:
        """Width of each output of the hyper-decoder: that of y."""
        return self.latent


class HificArchitecture(HyperpriorArchitecture[HificSizes]):
    """The network of Mentzer et al. (NeurIPS 2020), at any sizes; a network for each rate."""

    name = "hific"
    presets: Mapping[str, HificSizes] = size_table(HificSizes, "hific")
    network_type = "baselines.neural.field.hific:HificNetwork"


RATE_GRID = ControlGrid("q", 16, 144)  # levels that a stream can hold: 0 to 9 in steps of 1/16


@dataclass(frozen=True, slots=True)
class IvrSizes(Dimensions):
    """Dimensions of transforms that go down or up by 16, and of a hyperprior."""

    transform: Width  # between the four convolutions of either transform
    latent: Width  # y
    hyper_latent: Width  # z, a quarter of the sides of y
    hyper_encoder: tuple[Width, Width]
    hyper_decoder: tuple[Width, Width]
    hyper_kernel: Kernel  # of the hyper-convolutions that change the resolution
    rate_levels: Annotated[int, Meta(ge=2, le=10)]  # the header has room for ten


class IvrArchitecture(HyperpriorArchitecture[IvrSizes]):
    """The network of Sun et al. (ACM MM 2021), at any sizes; a network for all rates."""

    name = "ivr"
    presets: Mapping[str, IvrSizes] = size_table(IvrSizes, "ivr")
    network_type = "baselines.neural.field.ivr:IvrNetwork"
    coder_type = "baselines.neural.field.ivr:IvrCoder"
    symbols_type = "baselines.neural.field.ivr:laplace_tables"

    def control_block(self) -> SingleControl:
        """Return the control block of q."""
        return SingleControl(RATE_GRID)


BETA_GRID = ControlGrid("beta", 50, 128)  # that a stream can hold: 0 to 2.56 in steps of .02


@dataclass(frozen=True, slots=True)
class MultiRealismSizes(ConditionedSizes):
    """Dimensions of a network whose slices each see an equal part of the support."""

    def __post_init__(self) -> None:
        ConditionedSizes.__post_init__(self)
        require_slices(self.latent, self.slices, self.support_slices)
        if self.support % len(self.slices):
            raise ValueError(f"support {self.support} has no equal parts for each slice")


class MultiRealismArchitecture(HyperpriorArchitecture[MultiRealismSizes]):
    """The network of Agustsson et al. (CVPR 2023), at any sizes; a network for each rate."""

    name = "multirealism"
    presets: Mapping[str, MultiRealismSizes] = size_table(MultiRealismSizes, "multirealism")
    network_type = "baselines.neural.field.multirealism:MultiRealismNetwork"

    def control_block(self) -> SingleControl:
        """Return the control block of beta."""
        return SingleControl(BETA_GRID)
