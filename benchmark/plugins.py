"""Classes and functions in users' Python files, `path.py:Name`, and in plugins."""

import ast
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, NamedTuple

from benchmark.errors import (
    FOREIGN_ERRORS,
    BenchError,
    Unavailable,
    UnknownName,
    UsageError,
    raise_interruption,
    suggest_path,
)

HARNESS = "benchmark"  # package that calls authors' code
DIGEST_DIGITS = 12  # digits of a metric file's sha256 in the metric's protocol id
# Attributes of a metric's class, with regular expressions; `column` becomes a table's column.
METRIC_FACTS = {
    "column": "[a-z][a-z0-9_]*",
    "label": ".+",
    "better": "higher|lower",
    "protocol": r"[^\s,]+",
}
# Groups of entry points, by kind
GROUPS = {
    "codec": "rdrbench.codecs",
    "metric": "rdrbench.metrics",
    "dataset": "rdrbench.datasets",
}
# Local copies of another machine's files, by the path in the user's request
_copies: dict[str, Path] = {}


class Plugin(NamedTuple):
    """An entry point of a package: `flif = "flif_codec.codec:FLIF"`."""

    kind: str  # a key of GROUPS
    module: str
    attribute: str
    package: str  # name and version


@cache
def installed() -> Mapping[str, Plugin]:
    """Return plugins of installed packages by name, for each name the first plugin."""
    plugins_by_name: dict[str, Plugin] = {}
    from importlib.metadata import entry_points

    points = entry_points()
    for kind, group in GROUPS.items():
        for point in points.select(group=group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
            plugins_by_name.setdefault(point.name, Plugin(kind, point.module, point.attr, package))
    return plugins_by_name


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Redirect standard output of authors' code and its children to standard error."""
    sys.stdout.flush()
    saved_stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved_stdout, 1)
        os.close(saved_stdout)


def use_contents(files: Mapping[str, bytes], folder: Path) -> None:
    """Make this process load copies of these files, written to an empty folder."""
    for number, (path, content) in enumerate(files.items()):
        _copies[path] = folder / str(number) / Path(path).name
        _copies[path].parent.mkdir()
        _copies[path].write_bytes(content)


def file_of(name: str) -> Path:
    """Return the file of `path.py:Name` or of a plugin; raise `UsageError` without one."""
    if plugin := installed().get(name):
        try:
            spec = find_spec(plugin.module)
        except FOREIGN_ERRORS as error:  # raised by the package of the module
            raise_interruption(error)
            raise _import_failure(plugin, one_line(error)) from error
        if spec is None or not spec.has_location or spec.origin is None:
            raise _import_failure(plugin, f"it has no module {plugin.module}")
        return Path(spec.origin)
    text = name.partition(":")[0]
    path = _copies.get(text, Path(text))
    if not path.is_file():
        raise UsageError(f"there is no file {text}{suggest_path(path, Path.is_file)}")
    if not os.access(path, os.R_OK):
        raise UsageError(f"the file {text} cannot be read: change its permissions")
    return path


def load(name: str, kind: str) -> Any:
    """Load the class or function (`kind`) named by `path.py:Name` or a plugin.

    Raises `UsageError` if the file is absent or not valid Python, fails when it is loaded, or lacks
    the name; `Unavailable` if it imports a package that is not installed.
    """
    path, attribute, plugin = file_of(name), _attribute(name), installed().get(name)
    is_kind = inspect.isclass if kind == "class" else inspect.isfunction
    module = _import_plugin(plugin) if plugin else _load_module(path)
    match = getattr(module, attribute, None)
    if is_kind(match):
        return match
    candidates = {
        value.__name__
        for value in vars(module).values()
        if is_kind(value) and value.__module__ == module.__name__
    }
    if not attribute:
        choice = " or ".join(
            f"{name.rstrip(':')}:{choice}" for choice in sorted(candidates) or ["NAME"]
        )
        raise UsageError(f"{name!r} does not name a {kind}: write {choice}")
    raise UnknownName(f"{kind} in {path.name}:", attribute, candidates)


def _attribute(name: str) -> str:
    plugin = installed().get(name)
    return plugin.attribute if plugin else name.partition(":")[2]


def digest_of(name: str) -> str:
    """Return the sha256 of the file of `path.py:Name`, hexadecimal."""
    return sha256(file_of(name).read_bytes()).hexdigest()


def place_of(name: str) -> str:
    """Return where `path.py:Name` is defined: "mine.py, line 12"."""
    path, attribute = file_of(name), _attribute(name)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if getattr(node, "name", None) == attribute and isinstance(node, ast.stmt):
            return f"{path.name}, line {node.lineno}"
    return path.name


def require_methods(name: str, loaded_class: type[Any], kind: str, methods: Sequence[str]) -> None:
    """Raise `UsageError` unless the class loaded as `name` has all these methods."""
    missing_methods = [
        method for method in methods if not callable(getattr(loaded_class, method, None))
    ]
    if missing_methods:
        raise UsageError(
            f"{place_of(name)}: the class {loaded_class.__name__} has no method "
            f"{' and no '.join(map(repr, missing_methods))}, which a {kind} needs"
        )


def metric_class(name: str) -> type[Any]:
    """Load the image metric that `path.py:Class` names.

    Its protocol id ends with the first digits of the file's sha256, so that values of an edited
    file never mix with earlier ones. Raises `UsageError` unless it is a
    `benchmark.metrics.metric.ImageMetric`.
    """
    return _metric_class(name, digest_of(name))


def author_frame(error: BaseException, author: Any) -> str:
    """Return the last frame of an exception that is in the author's code; "" if none is.

    author: the called class or function. Its code is the file of its methods, or else of the first
    base class in the traceback; if it comes from a package, all files of the package.

    >>> def mine():
    ...     raise ValueError
    >>> mine.__module__ = "mine"  # a single file
    >>> try:
    ...     mine()
    ... except ValueError as error:
    ...     author_frame(error, mine).partition(", ")[2]
    'line 2, in mine'
    """
    for author_class in getattr(author, "__mro__", (author,)):
        if frame := _last_frame(error, _code_files(author_class)):
            return frame
    return ""


def is_of_package(author: Any) -> bool:
    """Return whether a class or function comes from an installed package, not a single file."""
    package, dot, _ = str(author.__module__).partition(".")
    return bool(dot) and package in sys.modules


def one_line(error: BaseException) -> str:
    """Format an exception as one line: `BenchError` unchanged, others with their type."""
    try:
        text = " ".join(str(error).split())
    except FOREIGN_ERRORS:  # an author's class may override `__str__`
        text = "an exception that cannot be shown"
    kind = type(error).__name__
    return text if isinstance(error, BenchError) else f"{kind}: {text}" if text else kind


def reason_of(error: BaseException, author: type[Any]) -> str:
    """Return frame and message of an error in a class's code; raise interruptions again."""
    raise_interruption(error)
    is_explained = isinstance(error, BenchError) and is_of_package(author)
    frame = "" if is_explained else author_frame(error, author)
    return f"{frame}: {one_line(error)}" if frame else one_line(error)


def author_failure(name: str, author: Any, part: str, error: BaseException) -> UsageError:
    """Return the error for an author's code, `path.py:Name`; part: "the constructor of"."""
    raise_interruption(error)
    location = author_frame(error, author)
    location = location.rpartition(", in ")[0] or place_of(name)
    return UsageError(f"{location}: {part} {name} failed: {one_line(error)}")


@cache
def _metric_class(name: str, digest: str) -> type[Any]:
    metric_type = load(name, "class")
    if hasattr(metric_type, "reduce") or hasattr(metric_type, "features"):
        raise UsageError(
            f"{place_of(name)}: {metric_type.__name__} is a metric of a whole dataset or its "
            'features, which have to be added to the project itself: CONTRIBUTING.md, "A metric"'
        )
    require_methods(name, metric_type, "metric", ("prepare", "compare"))
    for fact, pattern in METRIC_FACTS.items():
        value: object = getattr(metric_type, fact, None)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise UsageError(
                f"{place_of(name)}: `{fact}` of {metric_type.__name__} is {value!r}, not a string "
                f"that matches {pattern}"
            )
    facts: dict[str, Any] = {"__module__": metric_type.__module__}
    facts["protocol"] = f"{metric_type.protocol}-{digest[:DIGEST_DIGITS]}"
    if metric_type.__init__ is object.__init__:  # the metric needs no device
        facts["__init__"] = lambda self, device="cpu": None
    return type(metric_type.__name__, (metric_type,), facts)


@printing_to_stderr()
def _load_module(path: Path) -> ModuleType:
    content = path.read_bytes()
    # A unique name, since dataclasses look modules up by name, and packages may have this name.
    digest = sha256(content).hexdigest()
    spec = spec_from_file_location(f"{path.stem}@{digest[:DIGEST_DIGITS]}", path)
    if spec is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        # Without the loader, whose cache misses changes within a second.
        exec(compile(content, str(path), "exec"), vars(module))
    except SyntaxError as error:
        location = Path(error.filename or path).name
        raise UsageError(f"{location}, line {error.lineno}: {error.msg}: correct it") from error
    except BenchError:
        raise
    except FOREIGN_ERRORS as error:
        raise_interruption(error)
        location = _last_frame(error, (str(path),)).rpartition(", in ")[0] or path.name
        if isinstance(error, ModuleNotFoundError):
            reason = f"the Python package {error.name!r} is not installed"
            raise Unavailable(f"{location}: {reason}") from error
        raise UsageError(f"{location}: the file cannot be loaded: {one_line(error)}") from error
    return module


@printing_to_stderr()
def _import_plugin(plugin: Plugin) -> ModuleType:
    try:
        return import_module(plugin.module)
    except FOREIGN_ERRORS as error:
        raise_interruption(error)
        raise _import_failure(plugin, one_line(error)) from error


def _import_failure(plugin: Plugin, reason: str) -> UsageError:
    return UsageError(f"{plugin.module} of {plugin.package} cannot be imported: {reason}")


def _last_frame(error: BaseException, paths: tuple[str, ...]) -> str:
    frames = [f for f in extract_tb(error.__traceback__) if f.filename.startswith(paths)]
    if not frames:
        return ""
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name}"


def _code_files(author: Any) -> tuple[str, ...]:
    if is_of_package(author):
        package = str(author.__module__).partition(".")[0]
        file = sys.modules[package].__file__ if package != HARNESS else None
        return (f"{Path(file).parent}{os.sep}",) if file else ()
    methods = vars(author).values() if inspect.isclass(author) else [author]
    functions = (inspect.unwrap(getattr(method, "__func__", method)) for method in methods)
    return tuple(
        {method.__code__.co_filename for method in functions if inspect.isfunction(method)}
    )
