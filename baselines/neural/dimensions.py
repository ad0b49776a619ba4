"""Dimensions that methods share, and limits: a card beyond these is of no network. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_WIDTH = 4096  # channels
LARGEST_COUNT = 64  # of blocks, slices, levels
LARGEST_KERNEL = 9


@dataclass(frozen=True, slots=True)
class ResidualSizes:
    """Dimensions of residual bottleneck transforms and of the stacks of a hyperprior.

    Widths are numbers of channels, in the order of the data flow. All resolutions are fixed:
    the transforms go down or up by 16, the hyper-transforms by another 4. A subclass adds its
    entropy model. Raises `ValueError` for dimensions that no network can have.
    """

    encoder: tuple[int, int, int]  # after each stage but the last, which ends in `latent`
    decoder: tuple[int, int, int]  # after each stage but the last, which ends in the image
    latent: int  # y
    hyper_latent: int  # z
    blocks: int  # bottleneck blocks per stage
    attention: bool  # residual attention in the middle and at the latent
    outer_kernel: int  # of the convolution next to the image, at either end
    inner_kernel: int  # of the other three that change the resolution
    hyper_encoder: tuple[int, int]
    hyper_decoder: tuple[int, int]  # of each stack, where there are two
    hyper_kernel: int  # of the hyper-convolutions that change the resolution

    def __post_init__(self) -> None:
        stages = (*self.encoder, *self.decoder, self.latent)
        require_widths((*stages, self.hyper_latent, *self.hyper_encoder, *self.hyper_decoder))
        require_kernels((self.outer_kernel, self.inner_kernel, self.hyper_kernel))
        require_stages(stages)
        require_count("blocks", self.blocks)


def require_widths(widths: Sequence[int], least: int = 1) -> None:
    """Raise `ValueError` unless all widths are from `least` to 4096 channels."""
    if not all(least <= width <= LARGEST_WIDTH for width in widths):
        raise ValueError(f"a width is not within {least}..{LARGEST_WIDTH}: {tuple(widths)}")


def require_kernels(kernels: Sequence[int]) -> None:
    """Raise `ValueError` unless all kernels are odd and at most 9."""
    if not all(1 <= kernel <= LARGEST_KERNEL and kernel % 2 for kernel in kernels):
        raise ValueError(f"a kernel is not odd and at most {LARGEST_KERNEL}: {tuple(kernels)}")


def require_count(name: str, number: int, least: int = 0) -> None:
    """Raise `ValueError` unless a number of parts is from `least` to 64."""
    if not least <= number <= LARGEST_COUNT:
        raise ValueError(f"the number of {name} is not within {least}..{LARGEST_COUNT}")


def require_stages(widths: Sequence[int]) -> None:
    """Raise `ValueError` for a stage whose bottlenecks, of half its width, would have none."""
    if min(widths) < 2:
        raise ValueError("a stage is too narrow for a bottleneck of half its width")


def require_slices(latent: int, slices: Sequence[int], support_slices: int) -> None:
    """Raise `ValueError` unless slices sum to the latent and enough inform later ones."""
    if sum(slices) != latent:
        raise ValueError(f"slices sum to {sum(slices)}, the latent has {latent}")
    if not 0 <= support_slices <= len(slices):
        raise ValueError(f"support_slices {support_slices} of {len(slices)} slices")
