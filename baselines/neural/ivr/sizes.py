"""Dimensions of IVR's networks, the published ones and smaller ones. No torch."""

from dataclasses import dataclass

from baselines.neural.dimensions import require_kernels, require_widths

LARGEST_LEVELS = 10  # that the header has room for


@dataclass(frozen=True, slots=True)
class IvrSizes:
    """Dimensions that determine the shapes of all parameters.

    Widths are numbers of channels, in the order of the data flow. All resolutions are fixed:
    the transforms go down or up by 16, the hyper-transforms by another 4. Raises `ValueError` for
    dimensions that no network can have.
    """

    transform: int  # between the four convolutions of either transform
    latent: int  # y
    hyper_latent: int  # z
    hyper_encoder: tuple[int, int]
    hyper_decoder: tuple[int, int]
    hyper_kernel: int  # of the hyper-convolutions that change the resolution
    rate_levels: int

    def __post_init__(self) -> None:
        require_widths(
            (
                *(self.transform, self.latent, self.hyper_latent),
                *(*self.hyper_encoder, *self.hyper_decoder),
            )
        )
        require_kernels((self.hyper_kernel,))
        if not 2 <= self.rate_levels <= LARGEST_LEVELS:
            raise ValueError(f"rate_levels is not within 2..{LARGEST_LEVELS}")


# The dimensions of Sun et al. (ACM MM 2021) as the authors' code has them, without the optional
# context of single positions and without the optional network behind the decoder.
FULL = IvrSizes(
    transform=256,
    latent=320,
    hyper_latent=256,
    hyper_encoder=(256, 256),
    hyper_decoder=(256, 384),
    hyper_kernel=5,
    rate_levels=10,
)

# About the work per pixel of CRDR's `small`, and its rate levels.
SMALL = IvrSizes(
    transform=174,
    latent=256,
    hyper_latent=128,
    hyper_encoder=(128, 128),
    hyper_decoder=(128, 192),
    hyper_kernel=5,
    rate_levels=5,
)

# About the work per pixel of CRDR's `micro`, and its rate levels.
MICRO = IvrSizes(
    transform=50,
    latent=160,
    hyper_latent=48,
    hyper_encoder=(48, 48),
    hyper_decoder=(48, 72),
    hyper_kernel=5,
    rate_levels=5,
)

# For tests: has every part, takes no time.
TINY = IvrSizes(
    transform=6,
    latent=12,
    hyper_latent=4,
    hyper_encoder=(6, 6),
    hyper_decoder=(6, 6),
    hyper_kernel=3,
    rate_levels=5,
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "tiny": TINY}
