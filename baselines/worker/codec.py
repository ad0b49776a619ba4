"""Codec of a contender file, in its authors' environment, whose processes stay for a run."""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np

from benchmark.codec import MOST_PIXELS, CodecInfo, Pixels, Setting, most_stream_bytes
from benchmark.errors import (
    BadOption,
    OutOfDeviceMemory,
    ProgramFailed,
    Reason,
    Unavailable,
    UsageError,
)
from benchmark.system.atomic import lock
from benchmark.system.conversation import Conversation
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, BadFile, read_regular
from benchmark.system.programs import run_program
from benchmark.system.settings import VISIBLE_GPUS, chosen_device, settings
from benchmark.system.text import bench_command, read_toml, utf8

PROTOCOL, OLDEST = 2, (3, 6)  # of rdrbench_worker.py: of its messages, and the least Python
SECONDS_TO_DESCRIBE = 300.0  # imports, and hashes of weights
MOST_BYTES = 1 << 20
SEED, OPTIONS = "seed", "options"  # of its class, as messages have them
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
        """Return the command that starts the script; raise `Unavailable` without its program."""
        program, *words = shlex.split(self.python)
        words = [*(word.replace("{folder}", str(self.folder)) for word in words), self.script]
        inside = self.folder / program
        if os.sep in program and inside.exists():
            return [str(inside), *words]
        if (path := shutil.which(program)) is not None and os.sep not in program:
            return [path, *words]
        raise self.lacking(f"needs the Python {program}, which is not there", "program", program)

    def old_python(self) -> str:
        """Return "Python 2.7" for an interpreter before `OLDEST`, "" for others."""
        command = [*self.command()[:-1], "-c", "import sys; print('%d %d' % sys.version_info[:2])"]
        with suppress(ProgramFailed, ValueError):
            printed = run_program(command, timeout_seconds=SECONDS_TO_DESCRIBE, folder=self.folder)
            release = tuple(map(int, printed.split()))
            return "Python {}.{}".format(*release) if release < OLDEST else ""
        return ""

    def lacking(self, what: str, kind: str, name: str) -> Unavailable:
        """Return the error for what `bench worker setup` brings; kind and name: of its reason."""
        remedy = bench_command("worker setup", self.file)
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


class About(msgspec.Struct, frozen=True):
    """Description of a worker by itself."""

    protocol: int
    sweep: tuple[tuple[Text, Finite], ...]
    python: str
    packages: tuple[str, ...]
    code: dict[str, str]  # sha256 by module
    weights: dict[str, str]  # sha256 by path, "" where there is no file
    commit: str
    device: Literal["cpu", "cuda"]
    options: tuple[str, ...] = ()  # arguments of the class; none of an older rdrbench_worker.py


class Costs(msgspec.Struct, frozen=True):
    """Numbers that a worker sends beside bytes; rows leave out what is none of a measurement."""

    seconds: float | None = None
    estimated_bits: float | None = None
    height: int = 0  # of what it decoded
    width: int = 0
    opened: dict[str, str] = {}  # sha256 of files by path, for the first time


Answer = TypeVar("Answer", About, Costs)


class Worker:
    """`worker:FILE`, a contender file (docs/own-codec.md); `bench worker new NAME` writes it.

    Encoder and decoder are processes of their own that start with the first picture and stay. One
    that fails is started again for the next picture. Files that the script opens are recorded
    beside the contender file with their sha256, when they are first opened: with another content
    it is another codec. `seed` is handed to the class where this takes one.
    """

    def __init__(self, *, file: str, name: str = "", seed: int = 0):
        self._contender = read_contender(Path(file))
        self.name = name or self._contender.name
        self._seed = seed
        self._conversation: Conversation | None = None
        self.inside_seconds: float | None = None  # of the last call, measured in the process
        self._estimated_bits: float | None = None
        self._record = self._contender.file.with_suffix(".opened.sha256")
        known = self._record.exists()
        text = read_regular(self._record, LARGEST_FILE_BYTES).decode() if known else ""
        # Lines of `sha256sum`; of two of a path the first holds.
        lines = (line.partition("  ") for line in reversed(text.splitlines()))
        self._opened = {path: digest for digest, _, path in lines}

    @staticmethod
    def completed(options: Mapping[str, str]) -> dict[str, str]:
        """Return the options with a name, which rows and figures show: else the contender's."""
        return {"name": read_contender(Path(options["file"])).name, **options}

    @staticmethod
    def draws(options: Mapping[str, str]) -> bool:
        """Return whether the worker's class takes a seed, which its process says."""
        return Worker(file=options["file"]).takes_seed

    @property
    def takes_seed(self) -> bool:
        """True if the class takes a seed."""
        return SEED in self._about.options

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """The contender file's settings, or else those of the class."""
        own = tuple(Setting(*setting) for setting in self._about.sweep)
        return self._contender.sweep or own

    def describe(self) -> CodecInfo:
        """Return interpreter, commit and packages; fingerprint code, packages and weights."""
        about, contender = self._about, self._contender
        weights = {path: about.weights.get(path, "") for path in contender.weights}
        changed = {
            path: about.weights.get(path, "")
            for path, digest in self._opened.items()
            if path not in weights and about.weights.get(path, "") != digest
        }
        decides = [
            *(about.python, about.packages, about.code, weights, changed, contender.environment),
            *("", "", "", contender.python if " " in contender.python else ""),
            contender.random_weights,
        ]
        version = f"{self.name} {about.commit or contender.commit}".strip()
        if not os.access(self._record if self._record.exists() else self._record.parent, os.W_OK):
            version += ", opened files not recorded"
        return CodecInfo(
            version=f"{version}, Python {about.python}",
            command=f"{' '.join(contender.command())} {{{self.sweep[0].name}}}",
            licence=contender.licence,
            fingerprint=sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest(),
            revision=1,
            timed="a call in the worker's process, and pixels or bytes through a pipe",
            device=about.device,
            caveat="random weights" if contender.random_weights else "",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream, with what its decoder needs beside; `ProgramFailed` where it fails."""
        height, width = pixels.shape[:2]
        message = {"setting": [setting.name, setting.value], "height": height, "width": width}
        most = most_stream_bytes(height, width)
        answer, data = self._call({"do": "encode", **message}, pixels.tobytes(), most)
        self._estimated_bits = answer.estimated_bits
        return data

    def estimated_bits(self) -> float | None:
        """Return the bits of the last stream as the worker's class estimates them, if it does."""
        return self._estimated_bits

    def decode(self, data: bytes) -> Pixels:
        """Return the decoded picture; `ProgramFailed` where it fails."""
        answer, body = self._call({"do": "decode"}, data, 3 * MOST_PIXELS)
        shape = height, width, _ = answer.height, answer.width, 3
        if min(shape) < 1 or len(body) != 3 * height * width:
            raise ProgramFailed(f"{self.name} decoded {len(body):,} bytes, not {width} x {height}")
        return np.frombuffer(body, np.uint8).reshape(shape)

    def close(self) -> None:
        """End the process, if it was started."""
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    @cached_property
    def _about(self) -> About:
        contender = self._contender
        try:
            about, _ = self._ask(About, {"do": "describe"}, b"", 0)
        except ProgramFailed as failed:
            why, remedy = str(failed), bench_command("worker check", contender.file)
            if (release := contender.old_python()) and "SyntaxError" in why:
                why = f"its python is {release}, and rdrbench_worker.py needs 3.6 or later: name "
                why += f"another as `python` in {contender.file}"
            reason = Reason("program", self.name, remedy)
            raise Unavailable(f"{self.name} cannot be started: {why}", reason) from failed
        finally:
            self.close()
        if about.protocol != PROTOCOL:
            raise UsageError(
                f"{contender.folder} has rdrbench_worker.py of another version: copy it again"
            )
        if self._seed and SEED not in about.options:
            raise BadOption(
                f"the class of {contender.script} takes no seed: give its __init__ the argument "
                "seed=0, and copy rdrbench_worker.py again if it is an older one"
            )
        if not about.sweep:
            raise UsageError(f"{contender.script} of {self.name} has an empty sweep: fill it")
        if not contender.random_weights:
            require_weights(contender, about.weights)
        return about

    def _call(self, message: Mapping[str, Any], body: bytes, most: int) -> tuple[Costs, bytes]:
        answer, data = self._ask(Costs, message, body, most)
        self.inside_seconds = answer.seconds
        if new := {p: d for p, d in answer.opened.items() if p not in self._opened}:
            self._opened |= new
            lines = "".join(f"{digest}  {path}\n" for path, digest in new.items())
            with suppress(OSError), self._record.open("ab") as record:  # `describe` says so
                record.write(utf8(lines))  # at once, so that lines of several processes are whole
        return answer, data

    def _ask(
        self, kind: type[Answer], message: Mapping[str, Any], body: bytes, most: int
    ) -> tuple[Answer, bytes]:
        contender: Contender = self._contender
        if self._conversation is None or self._conversation.closed:
            environment = {**os.environ, **contender.environment, **own_gpu(contender.gpu)}
            here = contender.folder
            if not here.is_dir():
                what = f"needs the folder {here}, which is not there"
                raise contender.lacking(what, "program", self.name)
            self._conversation = Conversation(contender.command(), here, environment)
        seconds = contender.timeout_seconds
        if message["do"] == "describe":
            seconds = max(seconds, SECONDS_TO_DESCRIBE)
        message = {**message, "weights": [*contender.weights, *self._opened]}
        if self._seed:
            message[OPTIONS] = {SEED: self._seed}
        answer, data = self._conversation.ask(message, body, seconds, most)
        if "error" in answer:
            self.close()
            failure = OutOfDeviceMemory if answer.get("device_memory") else ProgramFailed
            raise failure(f"{self.name}: {' '.join(str(answer['error']).split())}")
        try:
            return msgspec.convert(answer, kind), data
        except (msgspec.ValidationError, OverflowError) as error:
            self.close()
            raise ProgramFailed(f"{self.name} gave an answer that is none: {error}") from None


def require_weights(contender: Contender, digests: Mapping[str, str]) -> None:
    """Raise `Unavailable` for weights that are absent, or others than the contender file says."""
    for path, weight in contender.weights.items():
        digest, wanted = digests.get(path, ""), weight.get("sha256", "")
        if digest and (not wanted or digest.startswith(wanted)):
            continue
        wrong = f"has the sha256 {digest[:12]}..., not {wanted[:12]}..."
        what = f"cannot run: the weight file {path} {wrong if digest else 'is not there'}"
        raise contender.lacking(what, "weights", path)


def own_gpu(needed: bool) -> dict[str, str]:
    """Return the environment variable that gives a program its GPU; none where there is no choice.

    Encoder and decoder of a process share it. With more processes than GPUs, all see all of them.
    """
    if not needed or chosen_device() == "cpu":
        return {}
    card = settings().variables().get(VISIBLE_GPUS)
    if card or VISIBLE_GPUS in os.environ:
        return {VISIBLE_GPUS: card} if card else {}
    chosen = _locked_gpu()
    return {} if chosen is None else {VISIBLE_GPUS: str(chosen)}


@cache  # the lock is kept until this process ends
def _locked_gpu() -> int | None:
    if sys.platform == "win32":
        return None
    for number in range(len([*Path("/dev").glob("nvidia[0-9]*")])):
        path = Path(tempfile.gettempdir()) / f"rdrbench-gpu-{os.getuid()}-{number}"
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            if lock(file):
                return number
        os.close(file)
    return None
