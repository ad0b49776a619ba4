"""Dimensions of CRDR's networks, the published ones and smaller ones. No torch."""

from dataclasses import dataclass, replace

from baselines.neural.dimensions import (
    ResidualSizes,
    require_count,
    require_kernels,
    require_slices,
    require_widths,
)

IMAGE_CHANNELS = 3
PUBLISHED_FREQUENCIES = 10  # of the embedded beta, each with a sine and a cosine


@dataclass(frozen=True, slots=True)
class Sizes(ResidualSizes):
    """Dimensions that determine the shapes of all parameters; see `ResidualSizes`."""

    support: int  # output of a stack of the hyper-decoder: input of the context's transforms
    slices: tuple[int, ...]  # widths, summing to `latent`; none: no autoregressive part
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[int, int]  # hidden widths of a slice's transforms
    context_kernels: tuple[int, int, int]
    condition: int  # of the embedded beta
    rate_levels: int = 5
    frequencies: int = PUBLISHED_FREQUENCIES  # of beta: fewer give a smoother control

    def __post_init__(self) -> None:
        ResidualSizes.__post_init__(self)
        require_widths((self.support, *self.slices, *self.context, self.condition))
        require_kernels(self.context_kernels)
        require_count("slices", len(self.slices))
        require_count("rate_levels", self.rate_levels, least=2)
        require_count("frequencies", self.frequencies, least=1)
        if self.slices:
            require_slices(self.latent, self.slices, self.support_slices)
        elif self.support != self.latent or self.support_slices:
            raise ValueError("without slices the hyper-decoder gives the latent's own parameters")


# The dimensions of "Controlling Rate, Distortion, and Realism" (Iwai et al., WACV 2024).
FULL = Sizes(
    encoder=(192, 192, 192),
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
    support_slices=5,
    context=(224, 128),
    context_kernels=(5, 5, 3),
    condition=512,
)

# For about half an hour of training on one data-centre GPU.
SMALL = Sizes(
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
    support=160,
    slices=(16, 32, 48, 96),
    support_slices=3,
    context=(112, 80),
    context_kernels=(3, 3, 3),
    condition=256,
)

# For some hours of training on two CPU cores.
MICRO = Sizes(
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
    support_slices=1,
    context=(48, 32),
    context_kernels=(3, 1, 1),
    condition=64,
)

# Three times the work of `MICRO`, for some days of training on two CPU cores.
MINI = Sizes(
    encoder=(80, 112, 144),
    decoder=(144, 112, 80),
    latent=192,
    hyper_latent=48,
    blocks=1,
    attention=False,
    outer_kernel=5,
    inner_kernel=3,
    hyper_encoder=(96, 96),
    hyper_decoder=(64, 80),
    hyper_kernel=3,
    support=64,
    slices=(24, 48, 120),
    support_slices=2,
    context=(72, 48),
    context_kernels=(3, 1, 1),
    condition=64,
    frequencies=3,
)

# For tests: has every part, takes no time.
TINY = Sizes(
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
    support=10,
    slices=(2, 4, 2, 4),
    support_slices=2,
    context=(8, 6),
    context_kernels=(5, 3, 3),
    condition=16,
)

NAMED = {"full": FULL, "small": SMALL, "mini": MINI, "micro": MICRO, "tiny": TINY}


def without_context(sizes: Sizes) -> Sizes:
    """Return sizes without the autoregressive part: the hyper-decoder gives mean and scale."""
    return replace(sizes, support=sizes.latent, slices=(), support_slices=0)
