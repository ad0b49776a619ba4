"""Multi-Realism as an architecture, with its dimensions; beta in the header. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from baselines.neural.architecture import HyperpriorArchitecture
from baselines.neural.bitstream.control_grid import ControlGrid, SingleControl
from baselines.neural.dimensions import ConditionedSizes, require_slices, size_table

BETA_GRID = ControlGrid("beta", 50, 128)  # that a stream can hold: 0 to 2.56 in steps of .02


@dataclass(frozen=True, slots=True)
class MultiRealismSizes(ConditionedSizes):
    """Dimensions of a network whose slices each see an equal part of the support."""

    def __post_init__(self) -> None:
        ConditionedSizes.__post_init__(self)
        require_slices(self.latent, self.slices, self.support_slices)
        if self.support % len(self.slices):
            raise ValueError(f"support {self.support} has no equal parts for each slice")


# `full` has the dimensions of the re-implementation Nikolai10/MRIC, where the two stacks of the
# hyper-decoder share their hidden layers; the authors published no code, and the paper's "small"
# context was not at hand. `small` has those of CRDR's without channel attention, with all slices
# informing later ones and a wider support; `micro` those of CRDR's. `tiny` is for tests.
NAMED = size_table(
    MultiRealismSizes,
    "full small micro tiny",
    encoder=((256, 256, 256), (96, 128, 192), (48, 64, 64), (8, 6, 8)),
    decoder=((256, 256, 256), (192, 128, 96), (64, 64, 48), (8, 6, 4)),
    latent=(320, 192, 144, 12),
    hyper_latent=(192, 96, 32, 6),
    blocks=(3, 2, 1, 2),
    attention=(True, True, False, True),
    outer_kernel=(5, 5, 5, 5),
    inner_kernel=(5, 3, 3, 3),
    hyper_encoder=((320, 256), (160, 128), (64, 64), (8, 6)),
    hyper_decoder=((192, 256), (96, 128), (48, 48), (6, 8)),
    hyper_kernel=(5, 5, 3, 5),
    support=(320, 192, 48, 12),
    slices=((32,) * 10, (16, 32, 48, 96), (72, 72), (2, 4, 2, 4)),
    support_slices=(10, 4, 2, 4),
    context=((224, 128), (112, 80), (48, 32), (8, 6)),
    context_kernels=((5, 5, 3), (3, 3, 3), (3, 1, 1), (5, 3, 3)),
    condition=(512, 256, 64, 16),
)
FULL, SMALL, MICRO, TINY = NAMED.values()


class MultiRealismArchitecture(HyperpriorArchitecture[MultiRealismSizes]):
    """The network of Agustsson et al. (CVPR 2023), at any sizes; a network for each rate."""

    name = "multirealism"
    presets: Mapping[str, MultiRealismSizes] = NAMED
    network_type = "baselines.neural.multirealism.model:MultiRealismNetwork"

    def control_block(self) -> SingleControl:
        """Return the control block of beta."""
        return SingleControl(BETA_GRID)
