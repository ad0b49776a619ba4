"""Write `benchmark/__init__.pyi`: the interface with the options of each function.

    python tools/signatures.py

Type checkers and editors read it, since `flatten` writes signatures only when it is called.
"""

import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import benchmark
from benchmark.api.rows import Rows
from benchmark.option import declaration, kind_of

STUB = Path(benchmark.__file__).with_suffix(".pyi")
HEAD = """\
# Written by tools/signatures.py
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.axes import Axes
from pandas import DataFrame

from benchmark.api.rows import Rows
from benchmark.measure.record import Outcome, ProgressFactory
"""
ALIASES = """
Text: TypeAlias = str | float | Path | Sequence[str | float | Path]
Texts: TypeAlias = str | Collection[str | float | Path]
"""
# Types that an option accepts, by the type that the function gets
ACCEPTED = {
    str: "Text",
    tuple[str, ...]: "Texts",
    tuple[Path, ...]: "Texts",
    Path: "str | Path",
    Path | None: "str | Path | None",
}


def parameter_text(parameter: inspect.Parameter) -> str:
    """Return a parameter as Python code, with the types that callers may pass."""
    kind = kind_of(parameter)
    if kind == Rows:
        type_text = "Rows"
    elif declaration(parameter) and kind in ACCEPTED:
        type_text = ACCEPTED[kind]
    else:
        type_text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    if parameter.default is parameter.empty:
        return f"{parameter.name}: {type_text}"
    is_literal = isinstance(parameter.default, str | int | float | None)
    default_text = repr(parameter.default) if is_literal else "..."
    return f"{parameter.name}: {type_text} = {default_text}"


def function_text(name: str, function: FunctionType) -> str:
    """Return a function's signature as Python code, a parameter on each line."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    lines = [f"    {parameter_text(parameter)},\n" for parameter in parameters]
    keywords = [parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters]
    if True in keywords:
        lines.insert(keywords.index(True), "    *,\n")
    result = signature.return_annotation
    result_text = result if isinstance(result, str) else result.__name__
    return f"def {name}(\n{''.join(lines)}) -> {result_text}: ...\n"


def stub() -> str:
    """Return the stub: functions with options are written out, all else is imported."""
    imports, functions = [], []
    for module, names in benchmark.INTERFACE.items():
        for name in names:
            function = getattr(benchmark, name)
            if hasattr(function, "__signature__"):
                functions.append(function_text(name, function))
            else:
                imports.append(f"from {module} import {name}\n")
    text = "".join([HEAD, *imports, f"__all__ = {benchmark.__all__}\n", ALIASES, *functions])
    for words in ("check --fix-only", "format"):
        command = [sys.executable, "-m", "ruff", *words.split(), "--stdin-filename", STUB, "-"]
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
