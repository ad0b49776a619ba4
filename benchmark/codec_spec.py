"""Codecs and their options as text: parsed, resolved to variants, loaded."""

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from benchmark.errors import BadOption, Unavailable, UnknownName, UsageError
from benchmark.registry import ALIASES, CODECS


class CodecSpec(NamedTuple):
    """A codec and its options as text, so it travels: `jpeg:subsampling=444:optimize=1`."""

    name: str  # in CODECS, or path.py:Class
    options: tuple[tuple[str, str], ...]  # sorted, defaults left out once resolved

    @classmethod
    def of(cls, name: str, variant: str) -> "CodecSpec":
        """Return the spec of a row's columns `codec` and `variant`."""
        return cls(name, _options(variant, split_unescaped(variant, ":") if variant else []))

    @property
    def variant(self) -> str:
        """The options as text, empty for none."""
        return ":".join(f"{key}={_escape(value)}" for key, value in self.options)

    @property
    def text(self) -> str:
        """The spec as `--codecs` takes it."""
        return f"{self.name}:{self.variant}" if self.options else self.name

    @property
    def label(self) -> str:
        """Name in tables and figures: the option `name` if given, else the spec without folders."""
        given = dict(self.options).get("name")
        return given or self._replace(name=self.name.rpartition("/")[2]).text


def names_code(spec: CodecSpec) -> bool:
    """Return whether a spec itself says which program or Python file to run.

    Such a spec is for whoever wrote it; rows and packs of strangers may have one too.

    >>> names_code(CodecSpec("jpeg", ())), names_code(CodecSpec("./mine.py:Mine", ()))
    (False, True)
    """
    return spec.name == "command" or spec.name not in CODECS


def split_unescaped(text: str, separator: str) -> list[str]:
    r"""Split a text at separators that no backslash precedes; escapes are kept.

    >>> split_unescaped(r"a:b\:c", ":")
    ['a', 'b\\:c']
    """
    parts, start = [], 0
    for position, character in enumerate(text):
        if character == separator and (position == 0 or text[position - 1] != "\\"):
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def parse_codec(text: str) -> CodecSpec:
    r"""Parse a spec from the command line; `\:` and `\,` stand for `:` and `,` inside a value.

    >>> parse_codec("jpeg:optimize=1")
    CodecSpec(name='jpeg', options=(('optimize', '1'),))
    >>> parse_codec("./mine.py:Mine:level=3").name
    './mine.py:Mine'
    >>> parse_codec("hyperprior:metric=ms-ssim").text
    'compressai:metric=ms-ssim:model=bmshj2018-hyperprior'
    """
    name, *rest = split_unescaped(text, ":")
    name, *preset = split_unescaped(ALIASES.get(name, name), ":")
    if name.endswith(".py"):
        if not rest or "=" in rest[0]:
            raise UsageError(f"{text!r} names no class: write {name}:ClassName")
        name, rest = f"{name}:{rest[0]}", rest[1:]
    elif name not in CODECS:
        raise UnknownName("codec", name, [*CODECS, *ALIASES])
    options = {**dict(_options(text, preset)), **dict(_options(text, rest))}
    return CodecSpec(name, tuple(sorted(options.items())))


def codec_class(spec: CodecSpec) -> type[Any]:
    """Import the class of a spec; raise `Unavailable` if its module lacks a library."""
    path, _, attribute = (CODECS.get(spec.name) or spec.name).partition(":")
    if spec.name not in CODECS and not path.endswith(".py"):  # any class of any package, otherwise
        raise UnknownName("codec", spec.name, CODECS)
    try:
        module = _module_of_file(Path(path)) if path.endswith(".py") else import_module(path)
    except ImportError as error:
        raise Unavailable(f"{spec.name} needs the Python package {error.name}: {error}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UnknownName(f"class in {path}:", attribute, classes)
    return found


def resolve(spec: CodecSpec) -> list[CodecSpec]:
    """Return the variants of a spec, without default options; a bare name may be several."""
    made = codec_class(spec)
    variants: tuple[Mapping[str, str], ...] = getattr(made, "variants", ())
    if variants and not spec.options:
        return [CodecSpec(spec.name, tuple(sorted(options.items()))) for options in variants]
    defaults = {key: str(value.default) for key, value in _parameters(made).items()}
    kept = [(key, value) for key, value in spec.options if defaults.get(key) != value]
    return [CodecSpec(spec.name, tuple(kept))]


def load_codec(spec: CodecSpec) -> Any:
    """Construct a codec, with options converted to the types that the constructor declares."""
    made = codec_class(spec)
    parameters = _parameters(made)
    values: dict[str, Any] = {}
    for key, text in spec.options:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise BadOption(f"{spec.name} has no option {key!r}; it has: {known}")
        kind = parameters[key].annotation
        try:
            values[key] = kind(text) if kind in (int, float) else text
        except ValueError:
            raise BadOption(f"{spec.name}: {key}={text!r} is not of type {kind.__name__}") from None
    missing = [k for k, v in parameters.items() if v.default is v.empty and k not in values]
    if missing:
        raise BadOption(f"{spec.name} needs {', '.join(f'{key}=...' for key in missing)}")
    return made(**values)


def _options(text: str, parts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    options = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise BadOption(f"{part!r} in {text!r} is no option: write key=value")
        if key in options:
            raise BadOption(f"{text!r} gives the option {key!r} twice")
        options[key] = _unescape(value)
    return tuple(sorted(options.items()))


def _parameters(made: type[Any]) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(made, eval_str=True)
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: value for key, value in signature.parameters.items() if value.kind in keyword}


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no file {path}")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _escape(value: str) -> str:
    return value.replace(":", r"\:").replace(",", r"\,")


def _unescape(value: str) -> str:
    return value.replace(r"\:", ":").replace(r"\,", ",")
