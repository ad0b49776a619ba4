"""Options of every verb that draws figures, and the look that is in force."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.errors import BenchError, UnknownName, UsageError
from benchmark.option import COMPARED, DRAWING, option

WIDTHS: Mapping[str, float] = {"column": 3.25, "page": 6.875}  # inches, of CVPR's pages
FORMATS = ("pdf", "png", "svg")
FONTS: Mapping[str, Sequence[str]] = {  # they come with matplotlib; "serif" looks as Times does
    "sans": ["DejaVu Sans"],
    "serif": ["STIXGeneral", "DejaVu Sans"],  # a sign that the first lacks is from the second
}
MOST_CURVES = 8


@dataclass(frozen=True, slots=True)
class Look:
    """Choices of a figure's looks; texts are as the command line has them."""

    label: tuple[str, ...] = option(
        (), DRAWING, "Name of a curve: ours:beta=3.84=Ours; repeat it for more.", many="repeated"
    )
    colour: tuple[str, ...] = option(
        (), DRAWING, "Colour of a curve: vtm=#332288; repeat it for more.", many="repeated"
    )
    order: tuple[str, ...] = option(
        (), DRAWING, "Codecs that legends have first, in their order: ours,vtm.", many="listed"
    )
    style: Path | None = option(None, DRAWING, "A matplotlib style file to draw with.")
    font: str = option("sans", DRAWING, "Typeface: sans, or serif as LaTeX's Times.")
    width: str = option(
        "", DRAWING, "Width: column (3.25 in) or page (6.875 in); default: a column for one panel."
    )
    format: tuple[str, ...] = option(
        ("pdf", "png"), DRAWING, "Kinds of files: pdf, png, svg.", many="listed"
    )
    linear_rate: bool = option(
        False, DRAWING, "A linear instead of a logarithmic rate axis.", "--linear-rate"
    )
    every_curve: bool = option(
        False, DRAWING, "Draw all curves in each figure, not eight of them.", "--all"
    )
    images: tuple[str, ...] = option(
        (), COMPARED, "Only these images: kodim0*,kodim23.", many="listed"
    )

    @classmethod
    def of(cls, **given: Any) -> "Look":
        """Return the look of options as a command line or Python has them."""
        for name in ("order", "format", "images"):
            if isinstance(given.get(name), str):
                given[name] = tuple(filter(None, map(str.strip, given[name].split(","))))
        for name in ("label", "colour"):
            texts = given.get(name) or ()
            given[name] = (texts,) if isinstance(texts, str) else tuple(texts)
        return cls(**given)

    @property
    def most(self) -> int | None:
        """The largest number of curves in a figure; None for all."""
        return None if self.every_curve else MOST_CURVES

    def names(self, labels: Iterable[str]) -> dict[str, str]:
        """Return the names that were given, by label."""
        return _by_label(self.label, labels)

    def colours(self, labels: Iterable[str]) -> dict[str, str]:
        """Return the colours that were given, by label."""
        return _by_label(self.colour, labels)

    def place(self, label: str) -> int:
        """Return a sort key: the place in the order that was given, of others the last."""
        meaning = names_meaning(label)
        return next((n for n, name in enumerate(self.order) if name in meaning), len(self.order))

    def check(self, labels: Iterable[str]) -> None:
        """Raise `UsageError` for choices that no figure of these labels can have."""
        labels = list(labels)
        for text in (*self.label, *self.colour):
            if not _by_label([text], labels):
                raise UnknownName("curve", text.rpartition("=")[0] or text, labels)
        for text in self.order:
            if all(text not in names_meaning(label) for label in labels):
                raise UnknownName("curve", text, labels)

    def check_values(self) -> None:
        """Raise `UsageError` for values that an option does not take."""
        from matplotlib.colors import is_color_like

        for kind, name, known in (
            ("font", self.font, FONTS),
            ("width", self.width or "page", WIDTHS),
            *(("format", name, FORMATS) for name in self.format),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        for text in self.colour:
            if not is_color_like(text.rpartition("=")[2]):
                raise UsageError(f"--colour {text!r} does not end with a colour: vtm=#332288")


def names_meaning(label: str) -> set[str]:
    """Return the names that mean a label: itself, and its codec's."""
    return {label, label.partition(":")[0]}


def _by_label(texts: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Return the last parts of texts LABEL=VALUE by the label among `labels` that is meant.

    >>> _by_label(["ours:beta=3.84=Ours", "vtm=a=b"], ["ours:beta=3.84", "vtm"])
    {'ours:beta=3.84': 'Ours', 'vtm': 'a=b'}
    """
    from benchmark.analysis.comparable import find_label  # which needs numpy

    labels = list(labels)
    result = {}
    for text in texts:
        parts = text.split("=")
        for count in range(len(parts) - 1, 0, -1):
            with suppress(BenchError):
                result[find_label("=".join(parts[:count]), labels)] = "=".join(parts[count:])
                break
    return result


_in_force: ContextVar[Look] = ContextVar("look of figures", default=Look())  # noqa: B039


def look() -> Look:
    """Return the look that is in force."""
    return _in_force.get()


@contextmanager
def drawn_as(chosen: Look | None = None, **changes: Any) -> Iterator[Look]:
    """Draw every figure inside with a look, or with changes of the present one.

    Raises `UsageError` for values that an option does not take.
    """
    chosen = replace(chosen or look(), **changes)
    chosen.check_values()
    token = _in_force.set(chosen)
    try:
        yield chosen
    finally:
        _in_force.reset(token)
