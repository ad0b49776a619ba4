"""Dimensions of networks: limits declared with the fields, and tables of named sizes. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from msgspec import Meta, ValidationError, convert

LARGEST_WIDTH = 4096
LARGEST_COUNT = 64

Width = Annotated[int, Meta(ge=1, le=LARGEST_WIDTH)]  # channels
EvenWidth = Annotated[int, Meta(ge=2, le=LARGEST_WIDTH)]  # with room for halves or pairs
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]  # of blocks or levels
Number = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]  # the same, at least 1
Kernel = Literal[1, 3, 5, 7, 9]
Parts = Annotated[tuple[Width, ...], Meta(max_length=LARGEST_COUNT)]  # widths of slices or groups

Sizes = TypeVar("Sizes")


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Configuration of a network, checked by its fields' limits; raises `ValueError`."""

    def __post_init__(self) -> None:
        for name, kind in _declared(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            try:
                convert(value, kind)
            except ValidationError as error:
                raise ValueError(f"{name} is {value!r}: {error}") from error


@cache
def _declared(kind: type[Dimensions]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


@dataclass(frozen=True, slots=True)
class ResidualSizes(Dimensions):
    """Dimensions of transforms that go down or up by 16, of hyper-transforms by another 4."""

    encoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # after each stage but the last, of `latent`
    decoder: tuple[EvenWidth, EvenWidth, EvenWidth]  # likewise; the last ends in the image
    latent: EvenWidth  # y
    hyper_latent: Width  # z
    blocks: Count  # bottleneck blocks per stage
    attention: bool  # residual attention in the middle and at the latent
    outer_kernel: Kernel  # of the convolution next to the image, at either end
    inner_kernel: Kernel  # of the other three that change the resolution
    hyper_encoder: tuple[Width, Width]
    hyper_decoder: tuple[Width, Width]  # of each stack, where there are two
    hyper_kernel: Kernel  # of the hyper-convolutions that change the resolution


@dataclass(frozen=True, slots=True)
class ConditionedSizes(ResidualSizes):
    """`ResidualSizes` with a channel context, and a decoder conditioned on a realism weight."""

    support: Width  # output of a stack of the hyper-decoder, from which slices take theirs
    slices: Parts  # widths, summing to `latent`
    support_slices: int  # number of slices, the first ones, that inform later ones
    context: tuple[Width, Width]  # hidden widths of a slice's transforms
    context_kernels: tuple[Kernel, Kernel, Kernel]
    condition: Width  # of the embedded beta


def require_slices(latent: int, slices: Sequence[int], support_slices: int) -> None:
    """Raise `ValueError` unless slices sum to the latent and enough inform later ones."""
    if sum(slices) != latent:
        raise ValueError(f"slices sum to {sum(slices)}, the latent has {latent}")
    if not 0 <= support_slices <= len(slices):
        raise ValueError(f"support_slices {support_slices} of {len(slices)} slices")


def size_table(kind: type[Sizes], names: str, **rows: Sequence[Any]) -> dict[str, Sizes]:
    """Return configurations by name from a table: a row for each field, a column for each name."""
    columns = zip(*rows.values(), strict=True)
    return {
        name: kind(**dict(zip(rows, column, strict=True)))
        for name, column in zip(names.split(), columns, strict=True)
    }
