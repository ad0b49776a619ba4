"""Files of options: `bench run exp.toml`, as written by `--save`, and figures.toml.

A key is an option of `bench run` or of a figure; `[labels]` and `[colours]` are tables of strings;
a table with the name of a figure has options for that figure alone.
"""

import json
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import SPELLINGS, declared_options, flatten, kind_of
from benchmark.show.figures.style import Look
from benchmark.show.paper.crops import Crop
from benchmark.show.paper.own_figures import FIGURES
from benchmark.system.atomic import write_file
from benchmark.system.text import name_text, read_toml

TABLES = {"labels": "label", "colours": "colour"}  # options, by the name of their table in a file
ALWAYS_WRITTEN = ("codecs", "dataset", "metrics")  # written even if they are the defaults
LISTS = (*ALWAYS_WRITTEN, "bundled", "published")  # strings that may be lists in a file
# Types of values in a file by type of the option; exceptions by name of the option
TYPES: dict[Any, Any] = {bool: bool, int | None: int, float: float, float | None: float}
TYPES_BY_NAME: dict[str, Any] = {
    "bpp": list[float] | str, "points": list[str] | dict[str, list[float]],
    "crops": list[Crop],
}  # fmt: skip


def verb_options(
    path: Path, verb: str, option_names: Collection[str], command_line_options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a verb's options in a file; the command line overrides all but tables."""
    content = read_options_file(path)
    metrics = content.get("metrics", "")
    if verb == "realism" and len(metrics.split(",") if isinstance(metrics, str) else metrics) != 2:
        content.pop("metrics", None)  # the file's metrics are for other figures
    tables = {name: content[name] for name in FIGURES if isinstance(content.get(name), Mapping)}
    content = {key: value for key, value in content.items() if key not in tables}
    content |= tables.get(verb, {})
    for table, name in TABLES.items():
        pairs = (f"{key}={value}" for key, value in content.pop(table, {}).items())
        content[name] = (*pairs, *command_line_options.get(name, ()))
    overriding_names = {*command_line_options} - {*TABLES.values()}
    return {
        key: value
        for key, value in content.items()
        if key in option_names and key not in overriding_names
    }


def read_options_file(path: Path) -> dict[str, Any]:
    """Read the options of a run and its figures from a file; `UsageError` if it is invalid."""
    if path.suffix != ".toml":
        raise UsageError(f"{path} is not a toml file: to measure a codec, use --codecs {path}")
    try:
        content = _rename_keys(path, read_toml(path, dict[str, Any]))
        figure_types, file_types = _key_types()
        tables = {f", {name}": (content.get(name), figure_types) for name in FIGURES}
        for location, (table, types) in {"": (content, file_types), **tables}.items():
            for key in table if isinstance(table, dict) else ():
                if key not in types:
                    raise UsageError(f"{path}{location}: {UnknownName('option', key, types)}")
        msgspec.convert(content, _make_struct(file_types))
    except UsageError:
        raise
    except (OSError, ValueError) as error:  # includes errors of TOML and msgspec
        raise UsageError(f"{path} cannot be read: {error}") from error
    return content


def _rename_keys(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Return a table with options' current names as keys; `UsageError` for a duplicate."""
    renamed_table = {SPELLINGS.get(key, key): value for key, value in table.items()}
    for key in table.keys() - renamed_table.keys():
        if SPELLINGS[key] in table:
            raise UsageError(f"{path}: {key} and {SPELLINGS[key]} are the same option: delete one")
    return renamed_table


def _key_types() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the types of keys by name, in a figure's table and in the file."""
    figure_types: dict[str, Any] = dict.fromkeys(TABLES, dict[str, str])
    functions: list[Callable[..., Any]] = [Look, *map(flatten, FIGURES.values())]
    for function in functions:
        figure_types |= {
            name: _key_type(parameter) for name, parameter in signature(function).parameters.items()
        }
    for name in TABLES.values():
        del figure_types[name]
    run_types = {
        name: _key_type(parameter) for name, (parameter, _) in declared_options(Request).items()
    }
    table = _make_struct(figure_types)  # `bd` and `crops` are options, too
    figures = {
        name: figure_types[name] | table if name in figure_types else table for name in FIGURES
    }
    return figure_types, {"figures": list[str] | str, **run_types, **figure_types, **figures}


def _key_type(parameter: Parameter) -> Any:
    kind = kind_of(parameter)
    is_list = parameter.name in LISTS or str(kind).startswith("tuple")
    default_type = list[str] | str if is_list else TYPES.get(kind, str)
    return TYPES_BY_NAME.get(parameter.name, default_type)


def _make_struct(types: Mapping[str, Any]) -> Any:
    fields = [(key, value_type | None, None) for key, value_type in types.items()]
    return msgspec.defstruct("Keys", fields)


def save(path: Path, request: Request, figures: Collection[str], file: Path | None) -> None:
    """Write a request, its figures and other options in `file` to `path`, for `bench run`."""
    values = dict(read_options_file(file)) if file else {}
    for name, (parameter, _) in declared_options(Request).items():
        values.pop(name, None)
        if name in ALWAYS_WRITTEN or getattr(request, name) != parameter.default:
            values[name] = getattr(request, name)
    values["figures"] = [*figures]
    text = toml_text({key: value for key, value in values.items() if key != "figures" or value})
    if name_text(text) != text:
        raise UsageError(f"{path} cannot store a file name that is not UTF-8: rename that file")
    write_file(path, text)


def toml_text(values: Mapping[str, Any]) -> str:
    r"""Format numbers, strings, lists and tables as TOML.

    >>> print(toml_text({"codecs": ("jpeg", "a.py:A"), "limit": 3, "points": {"a.q": [1]}}), end="")
    codecs = ["jpeg", "a.py:A"]
    limit = 3
    <BLANKLINE>
    [points]
    "a.q" = [1]
    """
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in values.items() if key not in tables]
    for key, table in tables.items():
        lines += [
            "",
            f"[{key}]",
            *(f"{_toml_value(name)} = {_toml_value(item)}" for name, item in table.items()),
        ]
    return "\n".join([*lines, ""])


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml_value(key)} = {_toml_value(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
