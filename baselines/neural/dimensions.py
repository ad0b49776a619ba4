"""Limits of dimensions: a card that asks for more is of no network. No torch."""

from collections.abc import Iterable, Sequence

LARGEST_WIDTH = 4096  # channels
LARGEST_COUNT = 64  # of blocks, slices, levels
LARGEST_KERNEL = 9


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


def require_stages(widths: Iterable[int]) -> None:
    """Raise `ValueError` for a stage whose bottlenecks, of half its width, would have none."""
    if min(widths) < 2:
        raise ValueError("a stage is too narrow for a bottleneck of half its width")


def require_slices(latent: int, slices: Sequence[int], support_slices: int) -> None:
    """Raise `ValueError` unless slices sum to the latent and enough inform later ones."""
    if sum(slices) != latent:
        raise ValueError(f"slices sum to {sum(slices)}, the latent has {latent}")
    if not 0 <= support_slices <= len(slices):
        raise ValueError(f"support_slices {support_slices} of {len(slices)} slices")
