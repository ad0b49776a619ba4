"""Dimensions of ELIC's networks, the published ones and smaller ones. No torch."""

from dataclasses import dataclass

from baselines.neural.dimensions import (
    ResidualSizes,
    require_count,
    require_kernels,
    require_widths,
)


@dataclass(frozen=True, slots=True)
class ElicSizes(ResidualSizes):
    """Dimensions that determine the shapes of all parameters; see `ResidualSizes`."""

    support: int  # output of the hyper-decoder
    groups: tuple[int, ...]  # widths, summing to `latent`
    channel_context: tuple[int, int]  # hidden widths of the context of earlier groups
    channel_kernel: int
    spatial_kernel: int  # of the checkerboard
    aggregation: tuple[int, int] | None  # hidden widths; None: falling linearly, at least `support`

    def __post_init__(self) -> None:
        ResidualSizes.__post_init__(self)
        aggregation = self.aggregation or ()
        require_widths((self.support, *self.groups, *self.channel_context, *aggregation))
        require_kernels((self.channel_kernel, self.spatial_kernel))
        require_count("groups", len(self.groups), least=1)
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


# The dimensions of He et al. (CVPR 2022) as CompressAI's `Elic2022Official` has them. Widths of the
# hyper-decoder and of the aggregation differ between implementations: the paper's text was not at
# hand.
FULL = ElicSizes(
    encoder=(192, 192, 192),
    decoder=(192, 192, 192),
    latent=320,
    hyper_latent=192,
    blocks=3,
    attention=True,
    outer_kernel=5,
    inner_kernel=5,
    hyper_encoder=(192, 192),
    hyper_decoder=(192, 288),
    hyper_kernel=5,
    support=384,
    groups=(16, 16, 32, 64, 192),
    channel_context=(224, 128),
    channel_kernel=5,
    spatial_kernel=5,
    aggregation=None,
)

# About the work per pixel of CRDR's `small`, with every part of the method.
SMALL = ElicSizes(
    encoder=(96, 136, 160),
    decoder=(160, 136, 96),
    latent=192,
    hyper_latent=96,
    blocks=2,
    attention=True,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(128, 128),
    hyper_decoder=(128, 160),
    hyper_kernel=5,
    support=192,
    groups=(8, 16, 24, 48, 96),
    channel_context=(128, 96),
    channel_kernel=5,
    spatial_kernel=5,
    aggregation=(192, 128),
)

# About the work per pixel of CRDR's `micro`, with every part of the method.
MICRO = ElicSizes(
    encoder=(32, 40, 48),
    decoder=(48, 40, 32),
    latent=112,
    hyper_latent=32,
    blocks=1,
    attention=True,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(64, 64),
    hyper_decoder=(64, 64),
    hyper_kernel=3,
    support=96,
    groups=(8, 8, 16, 32, 48),
    channel_context=(48, 32),
    channel_kernel=3,
    spatial_kernel=5,
    aggregation=(96, 64),
)

# The same work, in wider transforms without attention.
MICRO_PLAIN = ElicSizes(
    encoder=(44, 60, 60),
    decoder=(60, 60, 44),
    latent=144,
    hyper_latent=32,
    blocks=1,
    attention=False,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(64, 64),
    hyper_decoder=(64, 64),
    hyper_kernel=3,
    support=96,
    groups=(8, 8, 16, 32, 80),
    channel_context=(48, 32),
    channel_kernel=3,
    spatial_kernel=5,
    aggregation=(96, 64),
)

# For tests: has every part, takes no time.
TINY = ElicSizes(
    encoder=(8, 6, 8),
    decoder=(8, 6, 4),
    latent=12,
    hyper_latent=6,
    blocks=1,
    attention=True,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(8, 6),
    hyper_decoder=(6, 8),
    hyper_kernel=5,
    support=10,
    groups=(2, 4, 6),
    channel_context=(8, 6),
    channel_kernel=3,
    spatial_kernel=5,
    aggregation=(8, 6),
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "micro-plain": MICRO_PLAIN, "tiny": TINY}
