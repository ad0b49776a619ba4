"""CRDR as an architecture of the boundary, with its dimensions. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from baselines.neural import dimensions as dim
from baselines.neural.architecture import HyperpriorArchitecture

if TYPE_CHECKING:
    from baselines.neural.crdr.model import CRDRControlBlock

PUBLISHED_FREQUENCIES = 10  # of the embedded beta, each with a sine and a cosine


@dataclass(frozen=True, slots=True)
class Sizes(dim.ConditionedSizes):
    """Dimensions of a network."""

    rate_levels: Annotated[int, Meta(ge=2, le=dim.LARGEST_COUNT)] = 5
    frequencies: dim.Number = PUBLISHED_FREQUENCIES  # of beta: fewer give a smoother control

    def __post_init__(self) -> None:
        dim.ConditionedSizes.__post_init__(self)
        dim.require_slices(self.latent, self.slices, self.support_slices)


# `full` has the dimensions of "Controlling Rate, Distortion, and Realism" (Iwai et al., WACV 2024).
# `small` is for about half an hour of training on one data-centre GPU, `micro` for some hours on
# two CPU cores, `mini`, with three times its work, for some days there. `tiny` is for tests.
NAMED = dim.size_table(
    Sizes,
    "full small mini micro tiny",
    encoder=((192, 192, 192), (96, 128, 192), (80, 112, 144), (48, 64, 64), (8, 6, 8)),
    decoder=((256, 256, 256), (192, 128, 96), (144, 112, 80), (64, 64, 48), (8, 6, 4)),
    latent=(320, 192, 192, 144, 12),
    hyper_latent=(192, 96, 48, 32, 6),
    blocks=(3, 2, 1, 1, 2),
    attention=(True, True, False, False, True),
    outer_kernel=(5, 5, 5, 5, 5),
    inner_kernel=(5, 3, 3, 3, 3),
    hyper_encoder=((320, 256), (160, 128), (96, 96), (64, 64), (8, 6)),
    hyper_decoder=((192, 256), (96, 128), (64, 80), (48, 48), (6, 8)),
    hyper_kernel=(5, 5, 3, 3, 5),
    support=(320, 160, 64, 48, 10),
    slices=((32,) * 10, (16, 32, 48, 96), (24, 48, 120), (72, 72), (2, 4, 2, 4)),
    support_slices=(5, 3, 2, 1, 2),
    context=((224, 128), (112, 80), (72, 48), (48, 32), (8, 6)),
    context_kernels=((5, 5, 3), (3, 3, 3), (3, 1, 1), (3, 1, 1), (5, 3, 3)),
    condition=(512, 256, 64, 64, 16),
    frequencies=(10, 10, 3, 10, 10),
)
FULL, SMALL, MINI, MICRO, TINY = NAMED.values()


class CRDRArchitecture(HyperpriorArchitecture[Sizes]):
    """The network of Iwai et al. (WACV 2024), at any `Sizes`."""

    name = "crdr"
    presets: Mapping[str, Sizes] = NAMED
    network_type = "baselines.neural.crdr.model:CRDRNetwork"
    coder_type = "baselines.neural.crdr.model:CRDRCoder"

    def control_block(self) -> "CRDRControlBlock":
        """Return the control block of q and beta."""
        from baselines.neural.crdr.model import CRDRControlBlock

        return CRDRControlBlock()
