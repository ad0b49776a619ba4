"""Defaults of a user's codec: the name and description that its class may leave out."""

import hashlib
from collections.abc import Iterable
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmark import plugins
from benchmark.codec import CodecInfo, Setting, device_kind
from benchmark.errors import FOREIGN, BenchError, UsageError

METHODS = ("encode", "decode")
ATTRIBUTES = ("version", "licence", "caveat", "chroma", "tuned_for")  # taken where they are texts


def completed(name: str, made: type[Any]) -> type[Any]:
    """Return the class that `name`, `path.py:Class` or a plugin, names, with what it leaves out.

    A class without `name` is called as itself. One without `describe` gets the sha256 of its file
    and of its `files` as fingerprint. Raises `UsageError` without `encode` or `decode`.
    """
    plugins.require_methods(name, made, "codec", METHODS)
    more: dict[str, Any] = {}
    if not hasattr(made, "name"):
        more["name"] = made.__name__
    if not hasattr(made, "describe"):
        more["describe"] = lambda codec: default_description(name, codec)
    return type(made.__name__, (made,), more | {"__module__": made.__module__}) if more else made


def default_description(name: str, codec: Any) -> CodecInfo:
    """Return the description of a codec whose class has no `describe`.

    Its attributes of the same names come first; a `device` such as "cuda:0" counts as cuda.
    """
    own = digest = plugins.digest_of(name)
    if files := [_digest(Path(file)) for file in getattr(codec, "files", ())]:
        digest = hashlib.sha256("".join([own, *files]).encode()).hexdigest()
    plugin = plugins.installed().get(name)
    setting = codec.sweep[0].name
    declared = {field: getattr(codec, field, None) for field in ATTRIBUTES}
    facts: dict[str, Any] = {
        "version": plugin.package if plugin else f"{plugins.file_of(name).name} {digest[:8]}",
        "command": f"{type(codec).__name__}.encode(pixels, {setting}={{{setting}}})",
        "licence": "NOASSERTION",
        "fingerprint": digest,
        "device": device_kind(str(getattr(codec, "device", ""))),
        **{field: value for field, value in declared.items() if isinstance(value, str)},
    }
    parts = (
        (str(Setting(setting, value)), f"{own} {_digest(Path(file))}")
        for value, file in getattr(codec, "checkpoints", {}).items()
    )
    return CodecInfo(**facts, parts=tuple(parts))


@plugins.printing_to_stderr()
def checked_description(name: str, codec: Any) -> CodecInfo:
    """Return the description of a user's codec; `UsageError` where it breaks the contract."""
    title: object = getattr(codec, "name", None)
    if not isinstance(title, str) or not title:
        raise _wrong(name, f"`name` must be a text, not {title!r}")
    sweep: object = getattr(codec, "sweep", None)
    if not isinstance(sweep, tuple | list) or not sweep:
        such = "such as (Setting('bits', 3),)"
        raise _wrong(name, f"`sweep` must be a tuple of one Setting or more, {such}, not {sweep!r}")
    for setting in sweep:
        value: object = getattr(setting, "value", None)
        if not isinstance(setting, Setting) or not isinstance(value, Real):
            why = f"`sweep` holds {setting!r}, not a Setting such as Setting('bits', 3)"
            raise _wrong(name, why)
    files: object = getattr(codec, "files", ())
    if isinstance(files, str) or not isinstance(files, Iterable):
        raise _wrong(name, f"`files` must be a tuple of paths, not {files!r}")
    for file in files:
        if not Path(file).is_file():
            raise _wrong(name, f"`files` names {file}, and there is no such file")
    try:
        info: object = codec.describe()
    except BenchError:
        raise
    except FOREIGN as error:
        raise plugins.failed_in(name, type(codec), "`describe` of", error) from error
    if not isinstance(info, CodecInfo):
        raise _wrong(name, f"`describe` is to return a CodecInfo, not {info!r}")
    for field, kind in get_type_hints(CodecInfo).items():
        fact, origin = getattr(info, field), get_origin(kind)
        values = get_args(kind) if origin is Literal else ()
        if fact not in values if values else not isinstance(fact, origin or kind):
            wanted = " or ".join(map(repr, values)) or f"of type {kind.__name__}"
            raise _wrong(name, f"`describe` gives {field} as {fact!r}, which must be {wanted}")
    return info


def _wrong(name: str, what: str) -> UsageError:
    return UsageError(f"{plugins.place_of(name)}: in {name}, {what}")


def _digest(path: Path) -> str:
    known = path.stat()
    return _digest_of_state(path, known.st_size, known.st_mtime_ns)


@cache
def _digest_of_state(path: Path, size_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
