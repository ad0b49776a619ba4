"""ELIC as an architecture of the boundary, with its dimensions. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from baselines.neural.architecture import HyperpriorArchitecture
from baselines.neural.dimensions import Kernel, Parts, ResidualSizes, Width, size_table


@dataclass(frozen=True, slots=True)
class ElicSizes(ResidualSizes):
    """Dimensions that determine the shapes of all parameters; see `ResidualSizes`."""

    support: Width  # output of the hyper-decoder
    groups: Annotated[Parts, Meta(min_length=1)]  # widths, summing to `latent`
    channel_context: tuple[Width, Width]  # hidden widths of the context of earlier groups
    channel_kernel: Kernel
    spatial_kernel: Kernel  # of the checkerboard
    # Hidden widths; None: falling linearly, at least `support`.
    aggregation: tuple[Width, Width] | None

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


# `full` has the dimensions of He et al. (CVPR 2022) as CompressAI's `Elic2022Official` has them:
# widths of the hyper-decoder and of the aggregation differ between implementations, and the paper's
# text was not at hand. `small` and `micro` have about the work per pixel of CRDR's of that name,
# with every part of the method; `micro-plain` has wider transforms without attention instead, and
# `micro-wide` a latent that the highest rate needs: the principal components of 112 channels end at
# 29.9 dB on the photographs held out of training, those of 192 at 34.0 dB. `tiny` is for tests.
NAMED = size_table(
    ElicSizes,
    "full small micro micro-plain micro-wide tiny",
    encoder=(
        *((192, 192, 192), (96, 136, 160), (32, 40, 48)),
        *((44, 60, 60), (40, 48, 56), (8, 6, 8)),
    ),
    decoder=(
        *((192, 192, 192), (160, 136, 96), (48, 40, 32)),
        *((60, 60, 44), (56, 48, 40), (8, 6, 4)),
    ),
    latent=(320, 192, 112, 144, 192, 12),
    hyper_latent=(192, 96, 32, 32, 32, 6),
    blocks=(3, 2, 1, 1, 1, 1),
    attention=(True, True, True, False, False, True),
    outer_kernel=(5, 5, 5, 5, 5, 5),
    inner_kernel=(5, 3, 3, 3, 3, 3),
    hyper_encoder=((192, 192), (128, 128), (64, 64), (64, 64), (64, 64), (8, 6)),
    hyper_decoder=((192, 288), (128, 160), (64, 64), (64, 64), (64, 64), (6, 8)),
    hyper_kernel=(5, 5, 3, 3, 3, 5),
    support=(384, 192, 96, 96, 96, 10),
    groups=(
        *((16, 16, 32, 64, 192), (8, 16, 24, 48, 96)),
        *((8, 8, 16, 32, 48), (8, 8, 16, 32, 80), (8, 8, 16, 32, 128), (2, 4, 6)),
    ),
    channel_context=((224, 128), (128, 96), (48, 32), (48, 32), (48, 32), (8, 6)),
    channel_kernel=(5, 5, 3, 3, 3, 3),
    spatial_kernel=(5, 5, 5, 5, 5, 5),
    aggregation=(None, (192, 128), (96, 64), (96, 64), (96, 64), (8, 6)),
)
FULL, SMALL, MICRO, MICRO_PLAIN, MICRO_WIDE, TINY = NAMED.values()


class ElicArchitecture(HyperpriorArchitecture[ElicSizes]):
    """The network of He et al. (CVPR 2022), at any `ElicSizes`; a network for each rate."""

    name = "elic"
    presets: Mapping[str, ElicSizes] = NAMED
    network_type = "baselines.neural.elic.model:ElicNetwork"
    coder_type = "baselines.neural.elic.model:ElicCoder"
