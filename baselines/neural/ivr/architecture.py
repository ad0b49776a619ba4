"""IVR as an architecture of the boundary, with its dimensions; q in the header. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from baselines.neural.architecture import HyperpriorArchitecture
from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
from baselines.neural.dimensions import Dimensions, Kernel, Width, size_table

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


# `full` has the dimensions of Sun et al. (ACM MM 2021) as the authors' code has them, without the
# optional context of single positions and network behind the decoder. `small` and `micro` have
# about the work per pixel of CRDR's of that name, and its rate levels. `tiny` is for tests.
NAMED = size_table(
    IvrSizes,
    "full small micro tiny",
    transform=(256, 174, 50, 6),
    latent=(320, 256, 160, 12),
    hyper_latent=(256, 128, 48, 4),
    hyper_encoder=((256, 256), (128, 128), (48, 48), (6, 6)),
    hyper_decoder=((256, 384), (128, 192), (48, 72), (6, 6)),
    hyper_kernel=(5, 5, 5, 3),
    rate_levels=(10, 5, 5, 5),
)
FULL, SMALL, MICRO, TINY = NAMED.values()


class IvrArchitecture(HyperpriorArchitecture[IvrSizes]):
    """The network of Sun et al. (ACM MM 2021), at any sizes; a network for all rates."""

    name = "ivr"
    presets: Mapping[str, IvrSizes] = NAMED
    network_type = "baselines.neural.ivr.model:IvrNetwork"
    coder_type = "baselines.neural.ivr.model:IvrCoder"
    symbols_type = "baselines.neural.ivr.model:laplace_tables"

    def control_block(self) -> SingleControl:
        """Return the control block of q."""
        return SingleControl(RATE_GRID)
