"""Options that are declared once: a field of a dataclass, an option of a verb, a Python argument.

    limit: int | None = option(None, MEASURED, "Only the first N images.", least=1)

`benchmark.commands.verb.takes` makes options of the command line from such fields, and `signature`
the arguments of a Python function.
"""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, field, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Literal, NamedTuple

# Panels of every verb's help, in their order on the terminal.
COMPARED = "What to compare"
MEASURED = "What to measure"
EXPORTED = "What to export"
TRAINED = "What to train"
CODED = "What to code"
ORIGIN = "Where from"
MANNER = "How"
DRAWING = "How to draw"
TARGET = "Where to"
# Help of options that several verbs have.
ALL_ROWS = "Also rows of photographs that the dataset no longer has."
ALLOW_FEW = "Compute FID and KID of fewer than 50 images too, marked as such."
VERIFIED_ONLY = "Only rows that an independent decode has verified (`bench run --verify`)."
ANCHOR = "Anchor of BD-rates; default: jpeg:optimize=1, else jpeg."
PAGE_IMAGES = (
    "Decoded images in the page: files of a total size (14MB), those of a number of photographs "
    "(2), or 'all'."
)
PANELS = (COMPARED, MEASURED, EXPORTED, TRAINED, CODED, ORIGIN, MANNER, DRAWING, TARGET)

# Types of arguments in Python, by the type of the field that they become.
WIDER: dict[Any, Any] = {
    tuple[str, ...]: str | Sequence[str],
    tuple[Path, ...]: Sequence[str | Path],
    Path: str | Path,
    Path | None: str | Path | None,
}


class Option(NamedTuple):
    """Declaration of an option beside the name, type and default of its field."""

    panel: str
    help: str  # a sentence
    flags: tuple[str, ...] = ()  # "--timeout"; empty: made of the field's name
    least: float | None = None
    most: float | None = None
    value: str | None = None  # word for the value in help: "SECONDS"
    completes: Literal["", "codecs", "dataset", "metrics", "stored"] = ""  # names for a shell
    refuses: Literal["", "stored", "folder", "file"] = ""  # check of a path before any work
    many: Literal["", "listed", "repeated"] = ""  # a comma-separated text, or given repeatedly
    python: str = ""  # more help for Python


def option(default: Any, panel: str, help: str, *flags: str, **facts: Any) -> Any:  # noqa: A002
    """Return a dataclass field with the declaration of an option; `facts` as in `Option`."""
    return field(default=default, metadata={"option": Option(panel, help, flags, **facts)})


def declared(made: type[Any]) -> dict[str, tuple[Field[Any], Option]]:
    """Return the fields of a dataclass that are options, with their declarations, by name."""
    options = (known for known in fields(made) if "option" in known.metadata)
    return {known.name: (known, known.metadata["option"]) for known in options}


def signature(
    made: type[Any], first: Sequence[str], needed: Iterable[str], *more: Parameter, returns: Any
) -> Signature:
    """Return the signature of a Python function that takes all options of a dataclass.

    first: options that may be given by position. needed: options without default here. more: the
    function's own keyword arguments.
    """
    options = declared(made)
    ordered = [*first, *(name for name in options if name not in first)]
    parameters = []
    for name in ordered:
        known, _ = options[name]
        kind = Parameter.POSITIONAL_OR_KEYWORD if name in first else Parameter.KEYWORD_ONLY
        default = Parameter.empty if name in needed else known.default
        annotation = WIDER.get(known.type, known.type)
        parameters.append(Parameter(name, kind, default=default, annotation=annotation))
    return Signature([*parameters, *more], return_annotation=returns)


def documented(made: type[Any]) -> str:
    """Return the options of a dataclass as a numpydoc section "Parameters"."""
    lines = ["Parameters", "----------"]
    for name, (known, option) in declared(made).items():
        kind = WIDER.get(known.type, known.type)
        words = kind.__name__ if isinstance(kind, type) else str(kind)
        default = "" if known.default is MISSING else f", default {known.default!r}"
        lines += [f"{name} : {words.replace('collections.abc.', '')}{default}"]
        lines += [f"    {option.help} {option.python}".rstrip()]
    return "\n".join(lines)
