"""Options declared once: parameters of a function, or fields of a dataclass.

    limit: Annotated[int | None, opt(MEASURED, "Only the first N images.", minimum=1)] = None
    limit: int | None = option(None, MEASURED, "Only the first N images.", minimum=1)

`flatten` replaces a dataclass parameter with the dataclass's options, and takes values in the forms
of Python and the command line; `benchmark.commands.verb` turns functions into verbs.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, getdoc, signature
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from benchmark.spec import split_codecs, split_unescaped, text_of_list

Result = TypeVar("Result")
# Panels of every verb's help, in their order on the terminal.
ARGUMENT = ""  # an argument of the command, without a flag
COMPARED = "What to compare"
MEASURED = "What to measure"
EXPORTED = "What to export"
TRAINED = "What to train"
CODED = "What to code"
ORIGIN = "Input"
MANNER = "Method"
DRAWING = "How to draw"
DEBUGGING = "For debugging"
TARGET = "Output"
PANELS = (
    *(ARGUMENT, COMPARED, MEASURED, EXPORTED, TRAINED, CODED),
    *(ORIGIN, MANNER, DRAWING, TARGET, DEBUGGING),
)

# Names of argument types in the help of Python functions.
WORDS: dict[Any, str] = {
    tuple[str, ...]: "str or sequence of str",
    tuple[Path, ...]: "sequence of paths",
    Path: "path",
    Path | None: "path, optional",
    float | None: "float, optional",
    int | None: "int, optional",
}


class Option(NamedTuple):
    """Declaration of an option, without name, type and default: a parameter has these."""

    panel: str
    help: str  # sentence of the help
    flags: tuple[str, ...] = ()  # such as "--timeout"; empty: derived from the parameter's name
    minimum: float | None = None
    maximum: float | None = None
    value: str | None = None  # word for the value in help, such as "SECONDS"
    # Check of a path before any work: it must have results, or be usable as a folder or file
    path_check: Literal["", "stored", "folder", "file"] = ""
    # Form of several values: separated by commas, or with the option repeated
    value_form: Literal["", "listed", "repeated"] = ""
    options_file_for: Literal["", "run", "figures"] = ""  # verb whose options are in the file
    python: str = ""  # additional help for Python

    def __repr__(self) -> str:
        """Return the help, which Python shows in a signature."""
        return repr(self.help)


class OptionSubset(NamedTuple):
    """Options of a dataclass that a function takes, with defaults that replace others."""

    names: tuple[str, ...]  # empty: all
    defaults: Mapping[str, Any]


# If the singular or the plural is an option, both are accepted.
SPELLINGS = {"codec": "codecs", "metric": "metrics", "datasets": "dataset", "point": "points"}


def opt(panel: str, help: str, *flags: str, **facts: Any) -> Option:  # noqa: A002
    """Return the declaration of an option; facts: other fields of `Option`."""
    return Option(panel, help, flags, **facts)


def option(default: Any, panel: str, help: str, *flags: str, **facts: Any) -> Any:  # noqa: A002
    """Return a dataclass field with an option's declaration; facts: other fields of `Option`."""
    return shared_option(default, opt(panel, help, *flags, **facts))


def shared_option(default: Any, declaration: Option) -> Any:
    """Return a dataclass field with the declaration of an option that several verbs share."""
    return field(default=default, metadata={"option": declaration})


def subset(names: str = "", *groups: type[Any], **defaults: Any) -> OptionSubset:
    """Mark a parameter that takes these options of a dataclass, and `groups`, with `defaults`."""
    group_names = (entry.name for group in groups for entry in fields(group))
    return OptionSubset((*names.split(), *group_names), defaults)


OTHER_CODEC = opt(ARGUMENT, "Codec with which to compare the first codec.")
CODEC = opt(ARGUMENT, "Codec, by name or label.")
ALLOW_FEW = opt(MANNER, "Also compute FID and KID on fewer than 50 images, and mark the values.")
ANCHOR = opt(
    COMPARED,
    "Codec with which to compare the others; default: vtm if it has a curve, else the best "
    "conventional codec.",
)
BUNDLED = opt(COMPARED, "Add results shipped with the project: names, or 'all'.")
DATASETS = opt(COMPARED, "Datasets with results, or 'all'.")
SHOWN_CODECS = opt(COMPARED, "Comma-separated codecs to show; 'all': those that you measured.")
METRICS = opt(COMPARED, "Comma-separated metrics, each a name or path.py:Class, or 'all'.")
PAGE_IMAGES = opt(
    DRAWING,
    "Maximum total size of decoded images on the page, such as 14MB, or 'all'.",
)
RESULTS = opt(ORIGIN, "Folder of results.", path_check="stored")
VERIFIED_ONLY = opt(COMPARED, "Use only rows whose streams were verified (`bench run --verify`).")


def declaration(parameter: Parameter) -> Option | None:
    """Return the declaration in a parameter's `Annotated`; None if there is none."""
    options = (part for part in get_args(parameter.annotation) if isinstance(part, Option))
    return next(options, None)


def kind_of(parameter: Parameter) -> Any:
    """Return the type of a parameter without its declaration."""
    annotation = parameter.annotation
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def declared_options(owner: Callable[..., Any]) -> dict[str, tuple[Parameter, Option]]:
    """Return the options of a function or dataclass by name, inherited options last."""
    parameters: Mapping[str, Parameter] = signature(owner).parameters
    if is_dataclass(owner):
        bases = [base for base in owner.__bases__ if is_dataclass(base)]
        inherited_names = {entry.name for base in bases for entry in fields(base)}
        parameters = {
            entry.name: parameters[entry.name].replace(
                annotation=Annotated[entry.type, entry.metadata["option"]]
            )
            for entry in sorted(fields(owner), key=lambda entry: entry.name in inherited_names)
            if "option" in entry.metadata
        }
    pairs = ((candidate, declaration(candidate)) for candidate in parameters.values())
    return {parameter.name: (parameter, option) for parameter, option in pairs if option}


def flatten(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that takes options instead of the dataclasses to which they belong.

    A parameter with the name of an option overrides it. See `_convert` for the forms of values.
    """
    own_parameters = signature(function).parameters
    dataclass_parameters, flat_parameters = {}, dict[str, Parameter]()
    for name, parameter in own_parameters.items():
        kind = kind_of(parameter)
        if not (isinstance(kind, type) and is_dataclass(kind)):
            flat_parameters[name] = parameter
            continue
        subsets = (
            part for part in get_args(parameter.annotation) if isinstance(part, OptionSubset)
        )
        names, defaults = next(subsets, OptionSubset((), {}))
        kind_options = declared_options(kind)
        options = {key: kind_options[key][0] for key in names or kind_options}
        options |= {key: options[key].replace(default=value) for key, value in defaults.items()}
        dataclass_parameters[name] = kind, options
        for key, option in options.items():
            flat_parameter = own_parameters.get(key, option.replace(kind=Parameter.KEYWORD_ONLY))
            if not declaration(flat_parameter):
                flat_parameter = flat_parameter.replace(annotation=option.annotation)
            flat_parameters[key] = flat_parameter
    no_default = Parameter.empty
    ordered_parameters = sorted(
        flat_parameters.values(), key=lambda p: (p.kind, p.default is not no_default)
    )
    flat_signature = signature(function).replace(parameters=ordered_parameters)

    @wraps(function)
    def call(*args: Any, **values: Any) -> Result:
        bound_arguments = flat_signature.bind(*args, **values)
        bound_arguments.apply_defaults()
        arguments = bound_arguments.arguments
        passed_arguments = {
            key: _convert(flat_parameters[key], value)
            for key, value in arguments.items()
            if key in own_parameters
        }
        for name, (kind, options) in dataclass_parameters.items():
            fields = {key: _convert(option, arguments[key]) for key, option in options.items()}
            passed_arguments[name] = getattr(kind, "create", kind)(**fields)
        return function(**passed_arguments)

    call.__signature__ = flat_signature  # type: ignore[attr-defined]
    call.__doc__ = getdoc(function)
    if dataclass_parameters and call.__doc__:
        call.__doc__ = call.__doc__.replace("{parameters}", "\n".join(numpydoc_lines(call)))
    return call


def numpydoc_lines(function: Callable[..., Any]) -> list[str]:
    """Return the options of a function in numpydoc format, two lines each."""
    lines = []
    for name, (parameter, option) in declared_options(function).items():
        kind, default = kind_of(parameter), parameter.default
        type_text = WORDS.get(kind, getattr(kind, "__name__", str(kind)))
        if get_origin(kind) is Literal:
            type_text = f"{{{', '.join(map(repr, get_args(kind)))}}}"
        if default not in (Parameter.empty, None):
            type_text += f", default {default!r}"
        lines += [f"{name} : {type_text}", f"    {option.help} {option.python}".rstrip()]
    return lines


def _convert(parameter: Parameter, value: Any) -> Any:
    """Convert lists to tuples or text, text to paths, and None to the default, by type."""
    kind, option = kind_of(parameter), declaration(parameter)
    if option is None or value is parameter.default:
        return value
    if value is None and parameter.default is not Parameter.empty:
        return parameter.default
    if option.value_form and isinstance(value, str):
        lists_codecs = parameter.name == "codecs"
        parts = split_codecs(value) if lists_codecs else split_unescaped(value, ",")
        value = [*filter(None, map(str.strip, parts))] if option.value_form == "listed" else [value]
    if option.value_form and isinstance(value, Collection) and not isinstance(value, Mapping):
        texts = (str(item) if isinstance(item, int | float) else item for item in value)
        return tuple(map(Path, texts) if get_args(kind)[0] is Path else texts)
    if kind is str and isinstance(value, list | tuple | Path | int | float):
        values = value if isinstance(value, list | tuple) else [str(value)]
        names_folders = parameter.name == "dataset"  # in other options, commas are escaped already
        return text_of_list(values) if names_folders else ",".join(map(str, values))
    return Path(value) if Path in (kind, *get_args(kind)) and isinstance(value, str) else value
