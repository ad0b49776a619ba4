"""Defaults for a user's codec: the name and description, which its class may omit."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmark import plugins
from benchmark.codec import CodecInfo, Setting, device_kind
from benchmark.errors import FOREIGN_ERRORS, BenchError, UsageError

METHODS = ("encode", "decode")
ATTRIBUTES = ("version", "licence", "caveat", "chroma", "tuned_for")  # copied if they are strings


def complete_class(name: str, codec_type: type[Any]) -> type[Any]:
    """Return the class named by `path.py:Class` or a plugin, completed with defaults.

    `name` defaults to the class's name, `describe` to `default_description`. Raises `UsageError` if
    the class has no `encode` or `decode`.
    """
    plugins.require_methods(name, codec_type, "codec", METHODS)
    defaults: dict[str, Any] = {}
    if not hasattr(codec_type, "name"):
        defaults["name"] = codec_type.__name__
    if not hasattr(codec_type, "describe"):
        defaults["describe"] = lambda codec: default_description(name, codec)
    return (
        type(codec_type.__name__, (codec_type,), defaults | {"__module__": codec_type.__module__})
        if defaults
        else codec_type
    )


def default_description(name: str, codec: Any) -> CodecInfo:
    """Return the description of a codec whose class has no `describe`.

    Its fingerprint is the sha256 of the class's file and `files`; the codec's attributes override.
    """
    file_digest, digest = plugins.digest_of(name), _code_digest(name, codec)
    setting = codec.sweep[0].name
    attributes = {field: getattr(codec, field, None) for field in ATTRIBUTES}
    facts: dict[str, Any] = {
        "version": _code_version(name, digest),
        "command": f"{type(codec).__name__}.encode(pixels, {setting}={{{setting}}})",
        "licence": "NOASSERTION",
        "fingerprint": digest,
        "device": device_kind(str(getattr(codec, "device", ""))),
        **{field: value for field, value in attributes.items() if isinstance(value, str)},
    }
    setting_digests = (
        (str(Setting(setting, value)), f"{file_digest} {_file_digest(Path(file))}")
        for value, file in getattr(codec, "checkpoints", {}).items()
    )
    return CodecInfo(**facts, parts=tuple(setting_digests))


def _inherits_description(codec: Any) -> bool:
    """Return whether `describe` is another module's, which does not know the file of the codec."""
    author_class = next(base for base in type(codec).__mro__ if "describe" in vars(base))
    return author_class.__module__ != type(codec).__module__


def _add_code(name: str, codec: Any, info: CodecInfo) -> CodecInfo:
    """Return an inherited description with the user's code in its version and fingerprint."""
    digest = _code_digest(name, codec)
    return replace(
        info,
        version=f"{_code_version(name, digest)}, {info.version}",
        fingerprint=hashlib.sha256(f"{digest}{info.fingerprint}".encode()).hexdigest(),
        parts=tuple((setting, f"{digest} {part}") for setting, part in info.parts),
    )


def _code_digest(name: str, codec: Any) -> str:
    """Return the sha256 of the class's file, or of it and of its `files`."""
    digest = plugins.digest_of(name)
    if file_digests := [_file_digest(Path(file)) for file in getattr(codec, "files", ())]:
        digest = hashlib.sha256("".join([digest, *file_digests]).encode()).hexdigest()
    return digest


def _code_version(name: str, digest: str) -> str:
    plugin = plugins.installed().get(name)
    return plugin.package if plugin else f"{plugins.file_of(name).name} {digest[:8]}"


@plugins.printing_to_stderr()
def checked_description(name: str, codec: Any) -> CodecInfo:
    """Return the description of a user's codec; `UsageError` if it breaks the contract.

    To a `describe` of a base class of another module, the user's file is added.
    """
    title: object = getattr(codec, "name", None)
    if not isinstance(title, str) or not title:
        raise _contract_error(name, f"`name` must be a string, not {title!r}")
    sweep: object = getattr(codec, "sweep", None)
    if not isinstance(sweep, tuple | list) or not sweep:
        example = "such as (Setting('bits', 3),)"
        raise _contract_error(
            name, f"`sweep` must be a tuple of one or more Settings, {example}, not {sweep!r}"
        )
    for setting in sweep:
        value: object = getattr(setting, "value", None)
        if not isinstance(setting, Setting) or not isinstance(value, Real):
            reason = f"`sweep` holds {setting!r}, not a Setting such as Setting('bits', 3)"
            raise _contract_error(name, reason)
    files: object = getattr(codec, "files", ())
    if isinstance(files, str) or not isinstance(files, Iterable):
        raise _contract_error(name, f"`files` must be a tuple of paths, not {files!r}")
    for file in files:
        if not Path(file).is_file():
            raise _contract_error(name, f"`files` names {file}, which does not exist")
    try:
        info: object = codec.describe()
    except BenchError:
        raise
    except FOREIGN_ERRORS as error:
        raise plugins.author_failure(name, type(codec), "`describe` of", error) from error
    if not isinstance(info, CodecInfo):
        raise _contract_error(name, f"`describe` must return a CodecInfo, not {info!r}")
    for field, field_type in get_type_hints(CodecInfo).items():
        fact, origin = getattr(info, field), get_origin(field_type)
        values = get_args(field_type) if origin is Literal else ()
        if fact not in values if values else not isinstance(fact, origin or field_type):
            allowed_text = " or ".join(map(repr, values)) or f"of type {field_type.__name__}"
            raise _contract_error(
                name, f"`describe` returns {field}={fact!r}, but it must be {allowed_text}"
            )
    return _add_code(name, codec, info) if _inherits_description(codec) else info


def _contract_error(name: str, problem: str) -> UsageError:
    return UsageError(f"{plugins.place_of(name)}: in {name}, {problem}")


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _digest_of_state(path, status.st_size, status.st_mtime_ns)


@cache
def _digest_of_state(path: Path, size_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
