"""A parser under test: what it is given, what it may answer, and inputs to begin with."""

from collections.abc import Callable
from typing import NamedTuple

from benchmark.errors import CorruptStream

Parse = Callable[[bytes], int]  # bytes to the number of decoded pixels, 0 where there are none
MEND = 1  # bit of an input's first byte: make the checksums right


def as_it_is(data: bytes) -> bytes:
    """Return the same bytes."""
    return data


class Target(NamedTuple):
    """A parser of bytes that others send.

    An input of the fuzzer is one byte and the bytes for the parser. If the byte has the bit `MEND`,
    they are mended first: checksums, and names of machine-made checkpoints, become right, so that
    changes get past them. Inputs are kept in this form, which is the same on every machine.
    """

    parse: Parse  # raises one of `refusals`, and nothing else
    seeds: tuple[bytes, ...]  # bytes for the parser, made by the writer that belongs to it
    mend: Callable[[bytes], bytes] = as_it_is
    refusals: tuple[type[Exception], ...] = (CorruptStream,)
    most_pixels: int = 0  # that `parse` may return
    most_bytes: int = 256 << 20  # by which one execution may raise the process's peak memory
    longest: int = 512  # bytes of an input

    def inputs(self) -> list[bytes]:
        """Return the seeds as inputs, each mended and as it is."""
        return [bytes([flags]) + seed for seed in self.seeds for flags in (MEND, 0)]

    def bytes_of(self, data: bytes) -> bytes:
        """Return what the parser is given for an input."""
        return self.mend(data[1:]) if data[:1] and data[0] & MEND else data[1:]
