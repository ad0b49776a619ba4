"""Contender files: what is known of a codec in an environment of its own, and how it is started."""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from benchmark.codec import Setting
from benchmark.errors import Reason, Unavailable, UsageError
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import read_toml

MOST_BYTES = 1 << 20
RANDOM = "BENCH_RANDOM_WEIGHTS"  # variable that scripts of contenders/ know
LARGEST_REAL = 1e30  # of a number that a row can have
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=LARGEST_REAL)]
Finite = Annotated[float, msgspec.Meta(ge=-LARGEST_REAL, le=LARGEST_REAL)]
Text = Annotated[str, msgspec.Meta(min_length=1, pattern="^[^\0]*$")]


class Contender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A codec that `rdrbench_worker.py` serves."""

    file: Path
    name: Text
    folder: Path  # where its script runs
    script: Text  # in that folder
    # Interpreter: a name, a path from the folder, or a command; {folder} is the folder's path.
    python: Text = "python3"
    environment: Mapping[str, str] = {}
    # sha256 and url, by path from the folder
    weights: Mapping[str, Mapping[str, str]] = {}
    repository: str = ""
    commit: str = ""
    licence: str = "NOASSERTION"
    reference: str = ""  # paper
    tried: str = ""  # with what the file was tried: "random weights", "nothing"
    setting: str = ""  # with `values`, the default settings instead of the class's
    values: tuple[Finite, ...] = ()
    gpu: bool = False  # it needs a GPU
    memory_gb: NotNegative = 0  # of the two processes together
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 600  # of a call
    seconds_per_megapixel: NotNegative = 0  # typical, of encoder and decoder together
    parameters: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = (
        None  # of its networks, as the authors or a count say
    )
    encode_kmac: NotNegative | None = None  # thousand multiply-accumulates to encode a pixel
    decode_kmac: NotNegative | None = None
    python_version: str = ""  # of the environment that `bench worker setup` makes
    packages: tuple[str, ...] = ()  # that it installs, as pip names them: "torch==1.12.1"

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """The default settings that the file names, if any."""
        return tuple(Setting(self.setting, value) for value in self.values)

    @property
    def random_weights(self) -> bool:
        """True if its script is asked for random weights, which need no file."""
        return bool(self.environment.get(RANDOM) or os.environ.get(RANDOM))

    def command(self) -> list[str]:
        """Return the command that starts the script."""
        first, *words = shlex.split(self.python)
        words = [word.replace("{folder}", str(self.folder)) for word in words]
        return [self.interpreter(first), *words, self.script]

    def interpreter(self, program: str) -> str:
        """Return the path of a program on this machine; raise `Unavailable` without it."""
        inside = self.folder / program
        if os.sep in program and inside.exists():
            return str(inside)
        if (path := shutil.which(program)) is not None and os.sep not in program:
            return path
        raise self.lacking(f"needs the Python {program}, which is not there", "program", program)

    def lacking(self, what: str, kind: str, name: str) -> Unavailable:
        """Return the error for what `bench worker setup` brings; kind and name: of its reason."""
        remedy = f"bench worker setup {self.file}"
        return Unavailable(f"{self.name} {what}: get it by `{remedy}`", Reason(kind, name, remedy))


def read_contender(file: Path) -> Contender:
    """Read a contender file; raise `UsageError` with the key for an unusable file."""
    try:
        values = read_toml(file, dict[str, Any], MOST_BYTES)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}): name a contender file"
        ) from error
    except BadFile as error:
        raise UsageError(f"{file} is unusable: {error}") from error
    if "file" in values:
        raise UsageError(f"{file} has the key 'file', which is none of a contender file: remove it")
    if bool(values.get("values")) != bool(values.get("setting")):
        raise UsageError(
            f"{file}: 'setting' and 'values' go together: add the other, or leave both out"
        )
    paths = {"file": str(file), "folder": values.get("folder", ".")}
    try:
        made = msgspec.convert(values | paths, Contender, dec_hook=lambda kind, text: kind(text))
    except msgspec.ValidationError as error:
        raise UsageError(f"{file}: {error}: correct it") from None
    for weight in map(Path, made.weights):
        if weight.is_absolute() or ".." in weight.parts:
            raise UsageError(f"{file} has the weight file {weight} outside its folder: move it")
    return msgspec.structs.replace(made, folder=(file.parent / made.folder).resolve())
