"""Codec of two programs given on the command line, without any Python."""

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from numpy import format_float_positional

from baselines.formats.external import hash_named_files, run_decoder, run_encoder, write_png
from benchmark.codec import Between, CodecInfo, OneOf, Pixels, Setting, require_accepted
from benchmark.errors import BadOption, CorruptStream
from benchmark.system.atomic import private_folder
from benchmark.system.programs import find_program

QUOTED_OR_SPACE = re.compile(r"""("(?:\\.|[^"\\])*"|'[^']*'|\\.)|\s+""")
MAX_VALUES = 256  # the index of a value takes one byte of the stream


class Command:
    """`command:encode=TEMPLATE:decode=TEMPLATE:values=10/30/50`, and further options.

    encode           reads the PNG {in} (8-bit RGB, no metadata) and writes the stream {out}; {q} is
                     the setting's value
    decode           reads the stream {in} and writes the PNG {out}; if it contains {q}, a byte with
                     the value's index precedes the stream, and is counted; {seed} is the seed of
                     a generative decoder, a whole number
    values           values of {q}, lowest rate first
    setting, name    names of {q} and of the codec in tables and figures
    extension        suffix of the stream's file, for programs that depend on it
    timeout_seconds  time limit of each program
    version          a version that you choose, if programs read files that no template names
    seed             value of {seed}; `bench run --draws` measures several seeds

    A template is split into words like a shell command, but no shell runs it: write `sh -c "..."`
    for a pipe. Programs run in the current folder; {in} and {out} are absolute paths. The
    fingerprint covers the templates, and the programs, files, folders and imported modules named in
    them (`formats/external.py`). What a shell runs is unknown, so cells are measured anew each
    time unless `version` is given.
    """

    @staticmethod
    def complete_options(options: Mapping[str, str]) -> dict[str, str]:
        """Return the options with a name, by default the encoder's program or script."""
        options = {
            key: _normalise_spaces(text) if key in ("encode", "decode") else text
            for key, text in options.items()
        }
        words: list[str] = []
        with suppress(ValueError):  # the constructor refuses a template that cannot be split
            words = shlex.split(options["encode"])
        scripts = [word for word in words if Path(word).suffix in (".py", ".sh")]
        return {"name": Path((scripts or words or ["command"])[0]).name, **options}

    @staticmethod
    def neutral_options(options: Mapping[str, str]) -> tuple[str, ...]:
        """Return the options that do not affect streams; `values` only adds rates to a curve."""
        stores_index = "{q}" in options.get("decode", "")
        return ("timeout_seconds",) if stores_index else ("timeout_seconds", "values")

    @staticmethod
    def draws(options: Mapping[str, str]) -> bool:
        """Return whether the decoder's template uses {seed}."""
        return "{seed}" in options.get("decode", "")

    def __init__(
        self,
        *,
        encode: str,
        decode: str,
        values: str = "",
        setting: str = "q",
        name: str = "command",
        extension: str = "bin",
        timeout_seconds: float = 600,
        version: str = "",
        seed: int = 0,
    ):
        if not timeout_seconds > 0:
            raise BadOption(f"command: timeout_seconds must be positive, not {timeout_seconds:g}")
        if "/" in extension:
            raise BadOption(f"command: the extension {extension!r} contains a slash: remove it")
        self.name = name
        self.sweep = _parse_values(setting, values)
        self.accepts: Between | OneOf = Between(setting, -math.inf, math.inf)
        if "{q}" in decode:  # a stream has the index of its value
            self.accepts = OneOf(self.sweep)
        self._encode = _split_template("encode", encode)
        self._decode = _split_template("decode", decode)
        self._setting, self._stores_index = setting, "{q}" in decode
        if self._stores_index and len(self.sweep) > MAX_VALUES:
            raise BadOption(
                f"command: if decode contains {{q}}, at most {MAX_VALUES} values are possible"
            )
        if "{q}" not in encode and len(self.sweep) > 1:
            raise BadOption("command: encode does not contain {q}: add {q}, or give a single value")
        if "{seed}" in encode or (seed and "{seed}" not in decode):
            raise BadOption("command: {seed} has an effect only in decode: move {seed} there")
        self._seed = seed
        self._templates = (encode, decode)
        self._stream = f"stream.{extension}"
        self._timeout_seconds = timeout_seconds
        self._version = version
        for words in (self._encode, self._decode):
            find_program(words[0], "check the template, and whether the file is executable")

    def describe(self) -> CodecInfo:
        """Return the user's templates, and a fingerprint of them and of files named in them."""
        encode, decode = self._templates
        digests, unknown_phrases = zip(
            *map(hash_named_files, (self._encode, self._decode)), strict=True
        )
        fingerprint_parts: list[object] = [encode, decode, self._version, *digests]
        note = "" if self._version else next(filter(None, unknown_phrases), "")
        if note:
            fingerprint_parts.append(datetime.now(UTC).isoformat())
            note = f"; measured again each time, since {note} cannot be seen: state version=..."
        return CodecInfo(
            version=f"{self.name}, {self._version or 'as given on the command line'}{note}",
            command=f"{encode}; {decode}".replace("{q}", f"{{{self._setting}}}"),
            licence="NOASSERTION",
            fingerprint=sha256(json.dumps(fingerprint_parts).encode()).hexdigest(),
            timed="program start, and the picture's PNG written before or read after",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the program's stream; `ProgramFailed` if it failed, hung or wrote none."""
        require_accepted(self, setting)
        with private_folder() as folder:
            source, stream = folder / "source.png", folder / self._stream
            write_png(source, pixels)
            value = format_float_positional(setting.value, trim="-")
            command = _fill_placeholders(
                self._encode, {"{in}": source, "{out}": stream, "{q}": value}
            )
            data = run_encoder(command, stream, pixels.shape, self._timeout_seconds)
        return bytes([self.sweep.index(setting)]) + data if self._stores_index else data

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels of the program's PNG; `ProgramFailed` if it cannot be read."""
        if not data:
            raise CorruptStream(f"the stream of {self.name} is empty")
        value = ""
        if self._stores_index:
            if data[0] >= len(self.sweep):
                raise CorruptStream(
                    f"the stream uses entry {data[0] + 1} of `values`, which has {len(self.sweep)}"
                )
            value, data = format_float_positional(self.sweep[data[0]].value, trim="-"), data[1:]
        with private_folder() as folder:
            stream, decoded = folder / self._stream, folder / "decoded.png"
            stream.write_bytes(data)
            values: dict[str, str | Path] = {"{in}": stream, "{out}": decoded, "{q}": value}
            values["{seed}"] = str(self._seed)
            command = _fill_placeholders(self._decode, values)
            return run_decoder(command, decoded, self._timeout_seconds)


def _fill_placeholders(words: Sequence[str], values: dict[str, str | Path]) -> list[str]:
    for placeholder, value in values.items():
        words = [word.replace(placeholder, str(value)) for word in words]
    return list(words)


def _parse_values(setting: str, values: str) -> tuple[Setting, ...]:
    if not values:  # a codec that is named in a stored row only decodes
        return ()
    try:
        numbers = [float(value) for value in values.split("/")]
    except ValueError:
        raise BadOption(
            f"command: values must be numbers separated by slashes, like 10/30/50, not {values!r}"
        ) from None
    if not all(map(math.isfinite, numbers)) or len(set(numbers)) < len(numbers):
        raise BadOption(f"command: values must be finite and distinct, not {values!r}")
    return tuple(Setting(setting, number) for number in numbers)


def _normalise_spaces(template: str) -> str:
    """Put single spaces between the words of a template; leave quoted strings unchanged."""
    return QUOTED_OR_SPACE.sub(lambda match: match[1] or " ", template).strip()


def _split_template(option: str, template: str) -> list[str]:
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise BadOption(f"command: {option}={template!r} cannot be split: {error}") from None
    for placeholder in ("{in}", "{out}"):
        if placeholder not in template:
            raise BadOption(f"command: {option}={template!r} must contain {placeholder}")
    return words
