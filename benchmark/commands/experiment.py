"""Options in a file: `bench run exp.toml`, the file that `--save` writes, that of figures.

A key is an option of `bench run` or of a figure; `[labels]` and `[colours]` are tables of texts,
and a table named as a figure has keys that are its own.
"""

import json
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import UnknownName, UsageError
from benchmark.measure.request import Request
from benchmark.option import SPELLINGS, declared, flat, kind_of
from benchmark.show.figures.style import Look
from benchmark.show.paper.crops import Crop
from benchmark.show.paper.own_figures import FIGURES
from benchmark.system.atomic import write_file
from benchmark.system.text import name_text, read_toml

TABLES = {"labels": "label", "colours": "colour"}  # of a file, and the options that they are
ALWAYS = ("codecs", "dataset", "metrics")  # written even where they are the defaults
LISTS = (*ALWAYS, "bundled", "published")  # texts that a file may have as lists
# Types of keys by those of options, and of keys that have other forms in a file.
TYPES: dict[Any, Any] = {bool: bool, int | None: int, float: float, float | None: float}
KINDS: dict[str, Any] = {
    "bpp": list[float] | str, "points": list[str] | dict[str, list[float]],
    "crops": list[Crop],
}  # fmt: skip


def options_in(
    path: Path, verb: str, known: Collection[str], typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that a verb takes of a file: its keys, then those of its own table.

    known: names of the verb's options. typed: options of the command line, which come first; of
    labels and colours they are added. Raises `UsageError` for a file that cannot be read.
    """
    whole = whole_file(path)
    metrics = whole.get("metrics", "")
    if verb == "realism" and len(metrics.split(",") if isinstance(metrics, str) else metrics) != 2:
        whole.pop("metrics", None)  # they are for other figures
    tables = {name: whole[name] for name in FIGURES if isinstance(whole.get(name), Mapping)}
    whole = {key: value for key, value in whole.items() if key not in tables}
    whole |= tables.get(verb, {})
    for table, name in TABLES.items():
        pairs = (f"{key}={value}" for key, value in whole.pop(table, {}).items())
        whole[name] = (*pairs, *typed.get(name, ()))
    added = {*TABLES.values()}
    return {k: of for k, of in whole.items() if k in known and (k in added or k not in typed)}


def whole_file(path: Path) -> dict[str, Any]:
    """Return what a file has, the options of a run and of its figures.

    Raises `UsageError` for a file that cannot be read, `UnknownName` for a key that is no option.
    """
    if path.suffix != ".toml":
        raise UsageError(f"{path} is no experiment.toml; --codecs {path} measures a codec")
    try:
        whole = _spelt(path, read_toml(path, dict[str, Any]))
        of_figure, of_file = _kinds()
        tables = {f", {name}": (whole.get(name), of_figure) for name in FIGURES}
        for place, (table, kinds) in {"": (whole, of_file), **tables}.items():
            for key in table if isinstance(table, dict) else ():
                if key not in kinds:
                    raise UsageError(f"{path}{place}: {UnknownName('option', key, kinds)}")
        msgspec.convert(whole, _struct(of_file))
    except UsageError:
        raise
    except (OSError, ValueError) as error:  # of TOML and of msgspec, too
        raise UsageError(f"{path} cannot be read: {error}") from error
    return whole


def _spelt(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Return a table with its keys as options have them; `UsageError` for one option twice."""
    result = {SPELLINGS.get(key, key): value for key, value in table.items()}
    for key in table.keys() - result.keys():
        if SPELLINGS[key] in table:
            raise UsageError(f"{path}: {key} and {SPELLINGS[key]} are one option: leave one")
    return result


def _kinds() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the types of the keys by name, in the table of a figure and in the whole file."""
    of_figure: dict[str, Any] = dict.fromkeys(TABLES, dict[str, str])
    every: list[Callable[..., Any]] = [Look, *map(flat, FIGURES.values())]
    for made in every:
        of_figure |= {name: _kind(of) for name, of in signature(made).parameters.items()}
    for name in TABLES.values():
        del of_figure[name]
    of_run = {name: _kind(of) for name, (of, _) in declared(Request).items()}
    table = _struct(of_figure)  # `bd` and `crops` are options, too
    figures = {name: of_figure[name] | table if name in of_figure else table for name in FIGURES}
    return of_figure, {"figures": list[str] | str, **of_run, **of_figure, **figures}


def _kind(parameter: Parameter) -> Any:
    kind = kind_of(parameter)
    is_list = parameter.name in LISTS or str(kind).startswith("tuple")
    usual = list[str] | str if is_list else TYPES.get(kind, str)
    return KINDS.get(parameter.name, usual)


def _struct(kinds: Mapping[str, Any]) -> Any:
    fields = [(key, kind | None, None) for key, kind in kinds.items()]
    return msgspec.defstruct("Keys", fields)


def save(path: Path, request: Request, figures: Collection[str], file: Path | None) -> None:
    """Write a run, its figures and their options of another file to one that `bench run` reads."""
    values = dict(whole_file(file)) if file else {}
    for name, (known, _) in declared(Request).items():
        values.pop(name, None)
        if name in ALWAYS or getattr(request, name) != known.default:
            values[name] = getattr(request, name)
    values["figures"] = [*figures]
    text = toml_text({key: of for key, of in values.items() if key != "figures" or of})
    if name_text(text) != text:
        raise UsageError(f"a name is not in UTF-8, which {path} cannot hold: rename that file")
    write_file(path, text)


def toml_text(values: Mapping[str, Any]) -> str:
    r"""Return a TOML file of numbers, texts, lists and tables.

    >>> print(toml_text({"codecs": ("jpeg", "a.py:A"), "limit": 3, "points": {"a.q": [1]}}), end="")
    codecs = ["jpeg", "a.py:A"]
    limit = 3
    <BLANKLINE>
    [points]
    "a.q" = [1]
    """
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key not in tables]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_toml(name)} = {_toml(v)}" for name, v in table.items())]
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(v)}' for key, v in value.items())}}}"
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
