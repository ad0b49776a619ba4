"""Dimensions of Charm's networks, the published ones and smaller ones. No torch."""

from dataclasses import dataclass

from baselines.neural.dimensions import (
    require_count,
    require_kernels,
    require_slices,
    require_widths,
)


@dataclass(frozen=True, slots=True)
class CharmSizes:
    """Dimensions that determine the shapes of all parameters.

    Widths are numbers of channels, in the order of the data flow. All resolutions are fixed:
    the transforms go down or up by 16, the hyper-transforms by another 4. Raises `ValueError` for
    dimensions that no network can have.
    """

    transform: int  # between the four convolutions of either transform
    latent: int  # y
    hyper_latent: int  # z
    kernel: int  # of the convolutions of the transforms
    hyper_encoder: tuple[int, int]
    hyper_decoder: tuple[int, int]  # of each of the two stacks
    hyper_kernel: int  # of the hyper-convolutions that change the resolution
    support: int  # output of a stack of the hyper-decoder: input of the slices' transforms
    slices: tuple[int, ...]  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[int, int]  # hidden widths of a slice's transforms
    context_kernels: tuple[int, int, int]

    def __post_init__(self) -> None:
        require_widths(
            (
                *(self.transform, self.latent, self.hyper_latent, self.support),
                *(*self.hyper_encoder, *self.hyper_decoder, *self.slices, *self.context),
            )
        )
        require_kernels((self.kernel, self.hyper_kernel, *self.context_kernels))
        require_count("slices", len(self.slices), least=1)
        require_slices(self.latent, self.slices, self.support_slices)


# The dimensions of Minnen and Singh (ICIP 2020), as TensorFlow Compression's models/ms2020.py has.
FULL = CharmSizes(
    transform=192,
    latent=320,
    hyper_latent=192,
    kernel=5,
    hyper_encoder=(320, 256),
    hyper_decoder=(192, 256),
    hyper_kernel=5,
    support=320,
    slices=(32,) * 10,
    support_slices=5,
    context=(224, 128),
    context_kernels=(5, 5, 3),
)

# About the work per pixel of CRDR's `small`, with the slices' kernels of `micro`.
SMALL = CharmSizes(
    transform=136,
    latent=200,
    hyper_latent=96,
    kernel=5,
    hyper_encoder=(160, 128),
    hyper_decoder=(96, 128),
    hyper_kernel=5,
    support=160,
    slices=(20,) * 10,
    support_slices=5,
    context=(128, 96),
    context_kernels=(3, 3, 3),
)

# About the work per pixel of CRDR's `micro`. Slices, supports and residual prediction are those of
# the paper. Our choice are the slices' kernels of 3: one of 5 alone would take all of that work.
MICRO = CharmSizes(
    transform=40,
    latent=160,
    hyper_latent=32,
    kernel=5,
    hyper_encoder=(64, 64),
    hyper_decoder=(48, 48),
    hyper_kernel=3,
    support=48,
    slices=(16,) * 10,
    support_slices=5,
    context=(24, 16),
    context_kernels=(3, 3, 3),
)

# For tests: has every part, takes no time.
TINY = CharmSizes(
    transform=6,
    latent=12,
    hyper_latent=4,
    kernel=5,
    hyper_encoder=(6, 6),
    hyper_decoder=(6, 6),
    hyper_kernel=3,
    support=6,
    slices=(2, 4, 2, 4),
    support_slices=2,
    context=(6, 4),
    context_kernels=(3, 3, 3),
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "tiny": TINY}
