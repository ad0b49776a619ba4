"""Dimensions of HiFiC's networks, the published ones and smaller ones. No torch."""

from dataclasses import dataclass

from baselines.neural.dimensions import require_count, require_kernels, require_widths


@dataclass(frozen=True, slots=True)
class HificSizes:
    """Dimensions that determine the shapes of all parameters.

    Widths are numbers of channels, in the order of the data flow. All resolutions are fixed:
    the transforms go down or up by 16, the hyper-transforms by another 4. Raises `ValueError` for
    dimensions that no network can have.
    """

    widths: tuple[int, int, int, int, int]  # of the encoder; the generator has them in reverse
    latent: int  # y
    hyper_latent: int  # z
    residual_blocks: int  # of the generator, at its widest
    hyper_encoder: tuple[int, int]
    hyper_decoder: tuple[int, int]  # of each of the two stacks, which end in `latent`
    hyper_kernel: int  # of the hyper-convolutions that change the resolution

    def __post_init__(self) -> None:
        # A colour, its negative and two constants: `start_values`.
        require_widths(self.widths, least=4)
        require_widths(
            (self.latent, self.hyper_latent, *self.hyper_encoder, *self.hyper_decoder), least=2
        )
        require_kernels((self.hyper_kernel,))
        require_count("residual_blocks", self.residual_blocks)

    # Without slices, the two stacks of the hyper-decoder give means and scales themselves.

    @property
    def support(self) -> int:
        """Width of each output of the hyper-decoder: that of y."""
        return self.latent

    @property
    def slices(self) -> tuple[int, ...]:
        """No slices: the latent is coded at once."""
        return ()

    @property
    def support_slices(self) -> int:
        """No slices inform others."""
        return 0

    @property
    def context(self) -> tuple[int, int]:
        """No slices have transforms."""
        return 0, 0

    @property
    def context_kernels(self) -> tuple[int, int, int]:
        """No slices have transforms."""
        return 0, 0, 0


# The dimensions of Mentzer et al. (NeurIPS 2020), as TensorFlow Compression's models/hific has.
FULL = HificSizes(
    widths=(60, 120, 240, 480, 960),
    latent=220,
    hyper_latent=320,
    residual_blocks=9,
    hyper_encoder=(320, 320),
    hyper_decoder=(320, 320),
    hyper_kernel=5,
)

# About the work per pixel of CRDR's `small`, with all nine residual blocks.
SMALL = HificSizes(
    widths=(25, 50, 100, 200, 400),
    latent=192,
    hyper_latent=128,
    residual_blocks=9,
    hyper_encoder=(128, 128),
    hyper_decoder=(128, 128),
    hyper_kernel=5,
)

# About the work per pixel of CRDR's `micro`. Nine residual blocks would be most of it; with two,
# the layers near the image keep their share, and the checkpoints are
# small enough to be bundled.
MICRO = HificSizes(
    widths=(11, 22, 44, 88, 176),
    latent=128,
    hyper_latent=32,
    residual_blocks=2,
    hyper_encoder=(32, 32),
    hyper_decoder=(32, 32),
    hyper_kernel=5,
)

# For tests: has every part, takes no time.
TINY = HificSizes(
    widths=(4, 4, 6, 8, 8),
    latent=12,
    hyper_latent=4,
    residual_blocks=1,
    hyper_encoder=(6, 6),
    hyper_decoder=(6, 6),
    hyper_kernel=3,
)

NAMED = {"full": FULL, "small": SMALL, "micro": MICRO, "tiny": TINY}
