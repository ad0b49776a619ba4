"""How many bits of their mantissas the float16 weights of a checkpoint keep.

The zeros behind them let archives and version control compress the file. Tensors of few numbers
(biases, gains of each rate) keep all bits: they decide how grey a flat area is, and take no room.
"""

from typing import NamedTuple

import torch
from torch import Tensor

STORED_BITS = 10  # of a float16, without the leading one
SMALL = 1000  # numbers in a tensor, below which it keeps all bits


class Mantissas(NamedTuple):
    """Bits (1 to 10) of all weights, and of those whose names begin with a part's."""

    bits: int = STORED_BITS
    parts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Mantissas":
        """Read bits, or bits and those of parts; raises `ValueError`.

        >>> Mantissas.parse("6,synthesis=5")
        Mantissas(bits=6, parts=(('synthesis', 5),))
        """
        first, *others = text.split(",")
        named = [one.partition("=") for one in others]
        counts = [first, *(bits for _, _, bits in named)]
        if not all(one.isdecimal() and 1 <= int(one) <= STORED_BITS for one in counts):
            raise ValueError(f"{text} is not of the form 8 or 6,synthesis=5, of 1 to 10 bits")
        return cls(int(first), tuple((name, int(bits)) for name, _, bits in named))

    def check(self, names: list[str]) -> None:
        """Raise `ValueError` for a part that none of these parameters belongs to."""
        for part, _ in self.parts:
            if not any(name.startswith(f"{part}.") for name in names):
                raise ValueError(f"the network has no part {part}")

    def rounded(self, name: str, weights: Tensor) -> Tensor:
        """Return float32 values of float16's range, rounded to the bits of the parameter."""
        bits = next((bits for part, bits in self.parts if name.startswith(f"{part}.")), self.bits)
        if weights.numel() < SMALL:
            bits = STORED_BITS
        mantissa, exponent = torch.frexp(weights.half().float())
        scale = 2.0 ** (bits + 1)
        return torch.ldexp(torch.round(mantissa * scale) / scale, exponent)


EXACT = Mantissas()
