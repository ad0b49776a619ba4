"""CRDR as an architecture of the boundary, with its dimensions. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from baselines.neural.architecture import (
    LARGEST_COUNT,
    ConditionedSizes,
    HyperpriorArchitecture,
    Number,
    require_slices,
    size_table,
)

if TYPE_CHECKING:
    from baselines.neural.crdr.model import CRDRControlBlock

PUBLISHED_FREQUENCIES = 10  # of the embedded beta, each with a sine and a cosine


@dataclass(frozen=True, slots=True)
class Sizes(ConditionedSizes):
    """Dimensions of a network."""

    rate_levels: Annotated[int, Meta(ge=2, le=LARGEST_COUNT)] = 5
    frequencies: Number = PUBLISHED_FREQUENCIES  # of beta: fewer give a smoother control

    def __post_init__(self) -> None:
        ConditionedSizes.__post_init__(self)
        require_slices(self.latent, self.slices, self.support_slices)


NAMED = size_table(Sizes, "crdr")
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
