"""Dimensions of Multi-Realism's networks, published ones and smaller ones. No torch."""

from dataclasses import dataclass

from baselines.neural.dimensions import (
    ResidualSizes,
    require_count,
    require_kernels,
    require_slices,
    require_widths,
)


@dataclass(frozen=True, slots=True)
class MultiRealismSizes(ResidualSizes):
    """Dimensions that determine the shapes of all parameters; see `ResidualSizes`."""

    support: int  # output of a stack of the hyper-decoder; each slice sees an equal part of it
    slices: tuple[int, ...]  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[int, int]  # hidden widths of a slice's transforms
    context_kernels: tuple[int, int, int]
    condition: int  # of the embedded beta

    def __post_init__(self) -> None:
        ResidualSizes.__post_init__(self)
        require_widths((self.support, *self.slices, *self.context, self.condition))
        require_kernels(self.context_kernels)
        require_count("slices", len(self.slices), least=1)
        require_slices(self.latent, self.slices, self.support_slices)
        if self.support % len(self.slices):
            raise ValueError(f"support {self.support} has no equal parts for each slice")


# The dimensions of the re-implementation Nikolai10/MRIC; the authors published no code, and the
# paper's "small" context was not at hand. There the two stacks of the hyper-decoder share their
# hidden layers.
FULL = MultiRealismSizes(
    encoder=(256, 256, 256),
    decoder=(256, 256, 256),
    latent=320,
    hyper_latent=192,
    blocks=3,
    attention=True,
    outer_kernel=5,
    inner_kernel=5,
    hyper_encoder=(320, 256),
    hyper_decoder=(192, 256),
    hyper_kernel=5,
    support=320,
    slices=(32,) * 10,
    support_slices=10,
    context=(224, 128),
    context_kernels=(5, 5, 3),
    condition=512,
)

# The dimensions of CRDR's `small` without channel attention; each slice sees its part of a wider
# support, and all slices before it.
SMALL = MultiRealismSizes(
    encoder=(96, 128, 192),
    decoder=(192, 128, 96),
    latent=192,
    hyper_latent=96,
    blocks=2,
    attention=True,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(160, 128),
    hyper_decoder=(96, 128),
    hyper_kernel=5,
    support=192,
    slices=(16, 32, 48, 96),
    support_slices=4,
    context=(112, 80),
    context_kernels=(3, 3, 3),
    condition=256,
)

# The dimensions of CRDR's `micro`, which has the same parts and channel attention.
MICRO = MultiRealismSizes(
    encoder=(48, 64, 64),
    decoder=(64, 64, 48),
    latent=144,
    hyper_latent=32,
    blocks=1,
    attention=False,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(64, 64),
    hyper_decoder=(48, 48),
    hyper_kernel=3,
    support=48,
    slices=(72, 72),
    support_slices=2,
    context=(48, 32),
    context_kernels=(3, 1, 1),
    condition=64,
)

# For tests: has every part, takes no time.
TINY = MultiRealismSizes(
    encoder=(8, 6, 8),
    decoder=(8, 6, 4),
    latent=12,
    hyper_latent=6,
    blocks=2,
    attention=True,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(8, 6),
    hyper_decoder=(6, 8),
    hyper_kernel=5,
    support=12,
    slices=(2, 4, 2, 4),
    support_slices=4,
    context=(8, 6),
    context_kernels=(5, 3, 3),
    condition=16,
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "tiny": TINY}
