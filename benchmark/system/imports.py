"""Imports without what they do not need: pyarrow without pandas, bjontegaard without pyplot."""

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any


class _PandasLeftOut(MetaPathFinder):
    """Finder in front of all others, by which pandas is not installed."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out for a moment", name=fullname)


def leave_pandas_out() -> None:
    """Have pyarrow take pandas for absent until a function is called that needs it.

    pyarrow asks once whether the objects it is given may be of pandas, and imports pandas for that:
    .4 s of processor time in every process. `to_pandas` and `from_pandas` import it after all.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _PandasLeftOut()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])  # a list of anything
    finally:
        sys.meta_path.remove(finder)


class _Later(ModuleType):
    """Module that is imported when an attribute of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


class _LaterClass(type):
    """Class that is imported when it is called or an attribute of it is asked for."""

    def __call__(cls, *values: Any, **options: Any) -> Any:
        return getattr(import_module(cls.__module__), cls.__name__)(*values, **options)

    def __getattr__(cls, name: str) -> Any:
        return getattr(getattr(import_module(cls.__module__), cls.__name__), name)


def put_off(package: str, *modules: str) -> None:
    """Have modules of a package imported only where an attribute of them is asked for."""
    parent = import_module(package)
    for name in modules:
        if f"{package}.{name}" not in sys.modules:
            later = sys.modules[f"{package}.{name}"] = _Later(f"{package}.{name}")
            setattr(parent, name, later)


def bjontegaard() -> ModuleType:
    """Return the package; matplotlib, which it would import, is not until `plot_rcd` is called.

    That is more than half of its import: .3 s of processor time in most runs.
    """
    plotting = {name: _Later(name) for name in ("matplotlib", "matplotlib.pyplot")}
    if sys.modules.keys() & {"bjontegaard", *plotting}:
        return import_module("bjontegaard")
    vars(plotting["matplotlib"])["pyplot"] = plotting["matplotlib.pyplot"]
    sys.modules.update(plotting)
    try:
        return import_module("bjontegaard")
    finally:
        for name in plotting:
            del sys.modules[name]


def help_formatter() -> ModuleType:
    """Return typer's; what of rich it has for Markdown and tracebacks is imported where it is used.

    That is a third of the time that `bench --help` takes.
    """
    name, unused = "typer.rich_utils", {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
    if sys.modules.keys() & {name, *unused}:
        return import_module(name)
    for module, kind in unused.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], kind, _LaterClass(kind, (), {"__module__": module}))
    try:
        return import_module(name)
    finally:
        for module in unused:
            del sys.modules[module]
