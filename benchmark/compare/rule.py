"""The rule of BD-rates: interpolation, rate limit and minimum overlap of curves."""

from dataclasses import dataclass
from typing import Literal

from benchmark.errors import UnknownName
from benchmark.option import MANNER, option

Form = Literal["akima", "pchip", "cubic"]
FORM_NAMES = {"akima": "Akima", "pchip": "PCHIP", "cubic": "the cubic polynomial"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Rule for comparing two curves, as chosen by the options of a command.

    >>> Rule().words, Rule(bd="pchip", up_to_bpp=0.5).words
    ('', ', curves up to 0.5 bpp, by PCHIP')
    """

    bd: Form = option(
        "akima",
        MANNER,
        "Interpolation for BD-rates: akima, pchip, or cubic (the polynomial of VCEG-M33).",
    )
    up_to_bpp: float | None = option(
        None, MANNER, "Cut curves at this rate before computing BD-rates.", minimum=0.001
    )
    any_overlap: bool = option(
        False,
        MANNER,
        "Also show BD-rates of curves that share less than a third of their joint range.",
    )

    def __post_init__(self) -> None:
        """Raise `UnknownName` for an unknown form."""
        if self.bd not in FORM_NAMES:
            raise UnknownName("form of BD-rates", self.bd, FORM_NAMES)

    @property
    def words(self) -> str:
        """Clause on differences from the usual rule; "" for the usual rule."""
        return f"{self.end_words}{self.form_words}"

    @property
    def end_words(self) -> str:
        """Clause on the rate limit; "" without a limit."""
        return "" if self.up_to_bpp is None else f", curves up to {self.up_to_bpp:g} bpp"

    @property
    def form_words(self) -> str:
        """Clause on the interpolation; "" for the usual interpolation."""
        return "" if self.bd == USUAL_RULE.bd else f", by {FORM_NAMES[self.bd]}"


USUAL_RULE = Rule()
