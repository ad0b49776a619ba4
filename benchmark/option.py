"""Options that are declared once: a field of a dataclass, an option of a verb, a Python argument.

    limit: int | None = option(None, MEASURED, "Only the first N images.", least=1)

`benchmark.commands.verb.takes` makes options of the command line from such fields, and `arguments`
those of a Python function.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, field, fields
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
# Panels of every verb's help, in their order on the terminal.
COMPARED = "What to compare"
MEASURED = "What to measure"
EXPORTED = "What to export"
TRAINED = "What to train"
CODED = "What to code"
ORIGIN = "Where from"
MANNER = "How"
DRAWING = "How to draw"
DEBUGGING = "For debugging"
TARGET = "Where to"
PANELS = (COMPARED, MEASURED, EXPORTED, TRAINED, CODED, ORIGIN, MANNER, DRAWING, TARGET, DEBUGGING)

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


# Singular and plural are accepted wherever one of them is an option.
SPELLINGS = {"codec": "codecs", "metric": "metrics", "datasets": "dataset", "point": "points"}


def opt(panel: str, help: str, *flags: str, **facts: Any) -> Option:  # noqa: A002
    """Return the declaration of an option that one verb has; `facts` as in `Option`.

    csv_file: Annotated[Path | None, opt(TARGET, "Also write this file.", "--csv")] = None
    """
    return Option(panel, help, flags, **facts)


def option(default: Any, panel: str, help: str, *flags: str, **facts: Any) -> Any:  # noqa: A002
    """Return a dataclass field with the declaration of an option; `facts` as in `Option`."""
    return shared(default, opt(panel, help, *flags, **facts))


def shared(default: Any, declaration: Option) -> Any:
    """Return a dataclass field with the declaration of an option that several verbs have."""
    return field(default=default, metadata={"option": declaration})


AGAINST = opt(COMPARED, "The codec that it is compared with.", completes="codecs")
CODEC = opt(COMPARED, "The codec in question, by name or label.", completes="codecs")
ALLOW_FEW = opt(MANNER, "Compute FID and KID of fewer than 50 images too, marked as such.")
ANCHOR = opt(
    COMPARED,
    "Codec that others are compared with; default: vtm where it has a curve, else the best "
    "conventional codec.",
    completes="codecs",
)
ANY_OVERLAP = opt(
    MANNER, "Also give BD-rates of curves that share less than a third of what they span."
)
BUNDLED = opt(
    COMPARED,
    "Also these bundled codecs, or 'all': their rows come with the project.",
    completes="codecs",
)
DATASETS = opt(COMPARED, "Datasets that have results, or 'all' of them.", completes="stored")
EXPERIMENT = opt(
    COMPARED,
    "Comma-separated codecs to show, or 'all' that were measured in this folder.",
    completes="codecs",
)
METRICS = opt(
    COMPARED,
    "Comma-separated metrics, each a name or path.py:Class, or 'all'.",
    completes="metrics",
)
PAGE_IMAGES = opt(
    DRAWING,
    "Decoded images in the page: files of a total size (14MB), those of a number of photographs "
    "(2), or 'all'.",
)
RESULTS = opt(ORIGIN, "Folder of results.", refuses="stored")
UP_TO_BPP = opt(MANNER, "Cut curves at this rate before taking BD-rates.", least=0.001)
VERIFIED_ONLY = opt(
    COMPARED, "Only rows that an independent decode has verified (`bench run --verify`)."
)


def declared(made: type[Any]) -> dict[str, tuple[Field[Any], Option]]:
    """Return the fields of a dataclass that are options, with their declarations, by name."""
    options = (known for known in fields(made) if "option" in known.metadata)
    return {known.name: (known, known.metadata["option"]) for known in options}


def arguments(made: type[Any]) -> Callable[[Function], Function]:
    """Return a decorator that gives a function the options of a dataclass in place of `**options`.

    Arguments of the function's own stay as they are. `{parameters}` in its docstring becomes the
    options in the form of numpydoc.
    """

    def decorate(function: Function) -> Function:
        bare = signature(function)
        own = {n: p for n, p in bare.parameters.items() if p.kind is not Parameter.VAR_KEYWORD}
        lines = []
        for name, (known, option) in declared(made).items():
            kind = WIDER.get(known.type, known.type)
            words = kind.__name__ if isinstance(kind, type) else str(kind)
            default = "" if known.default is MISSING else f", default {known.default!r}"
            lines += [f"{name} : {words.replace('collections.abc.', '')}{default}"]
            lines += [f"    {option.help} {option.python}".rstrip()]
            more = Parameter(name, Parameter.KEYWORD_ONLY, default=known.default, annotation=kind)
            own.setdefault(name, more)
        known_arguments = bare.replace(parameters=[*own.values()])
        function.__signature__ = known_arguments  # type: ignore[attr-defined]
        text = "\n    ".join(lines)
        function.__doc__ = (function.__doc__ or "").replace("{parameters}", text)
        return function

    return decorate
