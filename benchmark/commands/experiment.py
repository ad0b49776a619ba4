"""An experiment in a file: `bench run exp.toml`, the file that `--save` writes, its figures."""

import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from benchmark.commands.verb import typed_options
from benchmark.errors import UsageError
from benchmark.measure.request import Request, with_settings_as_points
from benchmark.option import ARGUMENT, DRAWING, TARGET, declared, opt
from benchmark.show.paper.request import FigureRequest, whole_file
from benchmark.system.atomic import write_file
from benchmark.system.text import name_text

File = Annotated[
    Path | None,
    opt(ARGUMENT, "Options in a file, which those here override.", value="EXPERIMENT.toml"),
]
Figures = Annotated[
    str, opt(DRAWING, "Figures to draw of the rows: rd,bd,complexity,realism,crops.")
]
Save = Annotated[
    Path | None,
    opt(TARGET, "Write these options to a file that gives the same run.", refuses="file"),
]
ALWAYS = ("codecs", "dataset", "metrics")  # written even where they are the defaults


class Experiment(NamedTuple):
    """Options of a run, and the figures to draw of its rows."""

    request: Request
    figures: tuple[str, ...]
    file: Path | None
    more: Mapping[str, Any]  # keys of the file that are options of figures alone


def read_experiment(
    request: Request, figures: str, file: Path | None, context: typer.Context
) -> Experiment:
    """Return an experiment of a file's options, and of those given here, which come first.

    Raises `UsageError` for a file that cannot be read or names an unknown option or figure.
    """
    from benchmark.commands.figures import require_figures

    whole: dict[str, Any] = {}
    if file is not None:
        if file.suffix != ".toml":
            raise UsageError(f"{file} is no experiment.toml; --codecs {file} measures a codec")
        whole = whole_file(file)
    typed = typed_options(context)
    of_run = {key: value for key, value in whole.items() if key in declared(Request)}
    paths = {known.name for known in fields(Request) if known.type in (Path, Path | None)}
    values = {key: Path(value) if key in paths else value for key, value in of_run.items()}
    made = Request.of(**values)
    chosen = {key: getattr(made, key) for key in of_run.keys() - typed}
    names = figures if "figures" in typed else whole.pop("figures", ())
    listed = tuple(filter(None, names.split(","))) if isinstance(names, str) else tuple(names)
    require_figures(listed)
    more = {key: value for key, value in whole.items() if key not in of_run and key != "figures"}
    return Experiment(replace(request, **chosen), listed, file, more)


def save(path: Path, experiment: Experiment) -> None:
    """Write an experiment to a file that `bench run` reads."""
    values: dict[str, Any] = {}
    for name, (known, _) in declared(Request).items():
        value = getattr(experiment.request, name)
        if name in ALWAYS or (known.default is not MISSING and value != known.default):
            values[name] = value
    if experiment.figures:
        values["figures"] = experiment.figures
    text = toml_text({**values, **experiment.more})
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


def draw_figures(experiment: Experiment, line: str) -> None:
    """Draw an experiment's figures and print their files. line: the command."""
    from benchmark.commands.figures import draw_figure

    request = experiment.request
    codecs, _ = with_settings_as_points(request.codecs, {})
    own = () if "all" in codecs else tuple(codecs)
    shared = ("results", "dataset", "data_dir", "anchor", "bundled")
    place = {name: getattr(request, name) for name in shared}
    for verb in experiment.figures:
        asked = FigureRequest(**place).over(experiment.file, verb)
        draw_figure(verb, replace(asked, codecs=asked.codecs or own), line)
