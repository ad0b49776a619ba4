"""Codec of a contender file; processes in its authors' environment encode and decode."""

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

from benchmark.codec import MAX_PIXELS, CodecInfo, Pixels, Setting, max_stream_bytes
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
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, BadFile, read_regular
from benchmark.system.programs import run_program
from benchmark.system.settings import VISIBLE_GPUS, chosen_device, settings
from benchmark.system.text import bench_command, read_toml, utf8

PROTOCOL = 2  # version of the messages
MIN_PYTHON = (3, 6)  # for rdrbench_worker.py
SECONDS_TO_DESCRIBE = 300.0  # time to import packages and to hash weights
MAX_FILE_BYTES = 1 << 20
SEED, OPTIONS = "seed", "options"  # keys of messages
RANDOM_WEIGHTS = "BENCH_RANDOM_WEIGHTS"  # environment variable of scripts in contenders/
MAX_REAL = 1e30  # largest number that a row can hold
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MAX_REAL)]
Finite = Annotated[float, msgspec.Meta(ge=-MAX_REAL, le=MAX_REAL)]
Text = Annotated[str, msgspec.Meta(min_length=1, pattern="^[^\0]*$")]


class ContenderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A codec that `rdrbench_worker.py` serves."""

    file: Path
    name: Text
    folder: Path  # working folder of the script
    script: Text  # path in `folder`
    # Interpreter: a name, a path in the folder, or a command; {folder} is the folder's path
    python: Text = "python3"
    environment: Mapping[str, str] = {}
    # {path in the folder: {"sha256": ..., "url": ...}}
    weights: Mapping[str, Mapping[str, str]] = {}
    repository: str = ""
    commit: str = ""
    licence: str = "NOASSERTION"
    reference: str = ""  # paper
    tried: str = ""  # the weights of its test: "random weights"; "nothing" if untested
    setting: str = ""  # name of default settings, with `values`, that replace the class's
    values: tuple[Finite, ...] = ()
    gpu: bool = False  # whether the script needs a GPU
    memory_gb: NotNegative = 0  # of both processes together
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 600  # per call
    seconds_per_megapixel: NotNegative = 0  # typical sum of encoder and decoder
    parameters: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None  # of the networks
    encode_kmac: NotNegative | None = None  # thousand multiply-accumulates to encode a pixel
    decode_kmac: NotNegative | None = None
    python_version: str = ""  # of the environment that `bench worker setup` makes
    packages: tuple[str, ...] = ()  # to install in it: "torch==1.12.1"

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """Default settings of the file, if any."""
        return tuple(Setting(self.setting, value) for value in self.values)

    @property
    def random_weights(self) -> bool:
        """Whether the script uses random weights, which need no file."""
        return bool(self.environment.get(RANDOM_WEIGHTS) or os.environ.get(RANDOM_WEIGHTS))

    def command(self) -> list[str]:
        """Return the command that starts the script; `Unavailable` if its Python is missing."""
        program, *options = shlex.split(self.python)
        options = [*(word.replace("{folder}", str(self.folder)) for word in options), self.script]
        interpreter = self.folder / program
        if os.sep in program and interpreter.exists():
            return [str(interpreter), *options]
        if (path := shutil.which(program)) is not None and os.sep not in program:
            return [path, *options]
        raise self.missing(f"needs the Python {program}, which is missing", "program", program)

    def old_python(self) -> str:
        """Return "Python 2.7" for an interpreter older than `MIN_PYTHON`, else ""."""
        command = [*self.command()[:-1], "-c", "import sys; print('%d %d' % sys.version_info[:2])"]
        with suppress(ProgramFailed, ValueError):
            output = run_program(command, timeout_seconds=SECONDS_TO_DESCRIBE, folder=self.folder)
            release = tuple(map(int, output.split()))
            return "Python {}.{}".format(*release) if release < MIN_PYTHON else ""
        return ""

    def missing(self, problem: str, kind: str, name: str) -> Unavailable:
        """Return an error that `bench worker setup` fixes; kind, name: fields of its `Reason`."""
        remedy = bench_command("worker setup", self.file)
        return Unavailable(f"{self.name} {problem}: run `{remedy}`", Reason(kind, name, remedy))


def read_contender(file: Path) -> ContenderFile:
    """Read a contender file; raises `UsageError` with the name of an invalid key."""
    try:
        values = read_toml(file, dict[str, Any], MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}): name a contender file"
        ) from error
    except BadFile as error:
        raise UsageError(f"{file} is unusable: {error}") from error
    if "file" in values:
        raise UsageError(f"{file} has the unknown key 'file': delete this key")
    if bool(values.get("values")) != bool(values.get("setting")):
        raise UsageError(
            f"{file} has only one of 'setting' and 'values': write both of them, or neither"
        )
    paths = {"file": str(file), "folder": values.get("folder", ".")}
    try:
        contender = msgspec.convert(
            values | paths, ContenderFile, dec_hook=lambda kind, text: kind(text)
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"{file} is unusable: {error}: correct this key") from None
    for weight in map(Path, contender.weights):
        if weight.is_absolute() or ".." in weight.parts:
            raise UsageError(f"{file} has weights outside its folder: move {weight} there")
    return msgspec.structs.replace(contender, folder=(file.parent / contender.folder).resolve())


class WorkerDescription(msgspec.Struct, frozen=True):
    """A worker's description of itself."""

    protocol: int
    sweep: tuple[tuple[Text, Finite], ...]
    python: str
    packages: tuple[str, ...]
    code: dict[str, str]  # sha256 by module
    weights: dict[str, str]  # sha256 by path; "" for a missing file
    commit: str
    device: Literal["cpu", "cuda"]
    options: tuple[str, ...] = ()  # parameters of the class; empty in older versions


class Costs(msgspec.Struct, frozen=True):
    """Measured costs that a worker sends with a stream or picture."""

    seconds: float | None = None
    estimated_bits: float | None = None
    height: int = 0  # of the decoded picture
    width: int = 0
    opened: dict[str, str] = {}  # sha256, by path, of files opened since the last answer


Answer = TypeVar("Answer", WorkerDescription, Costs)


class Worker:
    """`worker:FILE`, a contender file (docs/own-codec.md); `bench worker new NAME` writes it.

    Encoder and decoder are separate processes, started with the first picture; a process that fails
    is started again for the next. Files that the script opens are recorded next to the contender
    file with their sha256: the codec's fingerprint changes with them. `seed`: see `draws`.
    """

    def __init__(self, *, file: str, name: str = "", seed: int = 0):
        self._contender = read_contender(Path(file))
        self.name = name or self._contender.name
        self._seed = seed
        self._conversation: Conversation | None = None
        self.inside_seconds: float | None = None  # of the last call, measured in the process
        self._estimated_bits: float | None = None
        self._record = self._contender.file.with_suffix(".opened.sha256")
        has_record = self._record.exists()
        text = read_regular(self._record, MAX_FOREIGN_FILE_BYTES).decode() if has_record else ""
        # lines in the format of `sha256sum`; the first line of a path counts
        lines = (line.partition("  ") for line in reversed(text.splitlines()))
        self._digests_by_path = {path: digest for digest, _, path in lines}

    @staticmethod
    def complete_options(options: Mapping[str, str]) -> dict[str, str]:
        """Return the options with a name for rows and figures, by default that of the file."""
        return {"name": read_contender(Path(options["file"])).name, **options}

    @staticmethod
    def draws(options: Mapping[str, str]) -> bool:
        """Return whether the script's class takes a seed, by asking its process."""
        return Worker(file=options["file"]).takes_seed

    @property
    def takes_seed(self) -> bool:
        """Whether the class takes a seed."""
        return SEED in self._description.options

    @property
    def sweep(self) -> tuple[Setting, ...]:
        """Settings in the contender file, by default those of the class."""
        class_sweep = tuple(Setting(*setting) for setting in self._description.sweep)
        return self._contender.sweep or class_sweep

    def describe(self) -> CodecInfo:
        """Return the version, and a fingerprint of code, packages, weights and environment."""
        answer, contender = self._description, self._contender
        weights = {path: answer.weights.get(path, "") for path in contender.weights}
        changed_digests = {
            path: answer.weights.get(path, "")
            for path, digest in self._digests_by_path.items()
            if path not in weights and answer.weights.get(path, "") != digest
        }
        fingerprint_parts = [
            *(
                answer.python,
                answer.packages,
                answer.code,
                weights,
                changed_digests,
                contender.environment,
            ),
            *("", "", ""),  # of former fields: all fingerprints would change without them
            contender.python if " " in contender.python else "",
            contender.random_weights,
        ]
        version = f"{self.name} {answer.commit or contender.commit}".strip()
        if not os.access(self._record if self._record.exists() else self._record.parent, os.W_OK):
            version += ", opened files not recorded"
        return CodecInfo(
            version=f"{version}, Python {answer.python}",
            command=f"{' '.join(contender.command())} {{{self.sweep[0].name}}}",
            licence=contender.licence,
            fingerprint=sha256(json.dumps(fingerprint_parts, sort_keys=True).encode()).hexdigest(),
            revision=1,
            timed="a call in the worker's process, and pixels or bytes through a pipe",
            device=answer.device,
            caveat="random weights" if contender.random_weights else "",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the stream, with all that its decoder needs; raises `ProgramFailed`."""
        height, width = pixels.shape[:2]
        message = {"setting": [setting.name, setting.value], "height": height, "width": width}
        max_bytes = max_stream_bytes(height, width)
        answer, data = self._call({"do": "encode", **message}, pixels.tobytes(), max_bytes)
        self._estimated_bits = answer.estimated_bits
        return data

    def estimated_bits(self) -> float | None:
        """Return the class's estimate of the last stream's bits, if it has one."""
        return self._estimated_bits

    def decode(self, data: bytes) -> Pixels:
        """Return the decoded picture; raises `ProgramFailed`."""
        answer, body = self._call({"do": "decode"}, data, 3 * MAX_PIXELS)
        shape = height, width, _ = answer.height, answer.width, 3
        if min(shape) < 1 or len(body) != 3 * height * width:
            raise ProgramFailed(f"{self.name} decoded {len(body):,} bytes, not {width} x {height}")
        return np.frombuffer(body, np.uint8).reshape(shape)

    def close(self) -> None:
        """Stop the process, if it was started."""
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    @cached_property
    def _description(self) -> WorkerDescription:
        contender = self._contender
        try:
            description, _ = self._ask(WorkerDescription, {"do": "describe"}, b"", 0)
        except ProgramFailed as failed:
            message, remedy = str(failed), bench_command("worker check", contender.file)
            if (release := contender.old_python()) and "SyntaxError" in message:
                message = (
                    f"its python is {release}, but rdrbench_worker.py needs 3.6 or later: set "
                    f"`python` in {contender.file}"
                )
            reason = Reason("program", self.name, remedy)
            raise Unavailable(f"{self.name} cannot be started: {message}", reason) from failed
        finally:
            self.close()
        if description.protocol != PROTOCOL:
            raise UsageError(
                f"{contender.folder} has another version of rdrbench_worker.py: copy the file again"
            )
        if self._seed and SEED not in description.options:
            raise BadOption(
                f"the class in {contender.script} takes no seed: give its __init__ the parameter "
                "seed=0, and copy rdrbench_worker.py again if your copy is older"
            )
        if not description.sweep:
            raise UsageError(
                f"{contender.script} of {self.name} has an empty sweep: add settings to it"
            )
        if not contender.random_weights:
            _require_weights(contender, description.weights)
        return description

    def _call(self, message: Mapping[str, Any], body: bytes, max_bytes: int) -> tuple[Costs, bytes]:
        answer, data = self._ask(Costs, message, body, max_bytes)
        self.inside_seconds = answer.seconds
        new_digests = {p: d for p, d in answer.opened.items() if p not in self._digests_by_path}
        if new_digests:
            self._digests_by_path |= new_digests
            lines = "".join(f"{digest}  {path}\n" for path, digest in new_digests.items())
            # `describe` reports if the record cannot be written
            with suppress(OSError), self._record.open("ab") as record:
                record.write(utf8(lines))  # in a single write, since other processes may append too
        return answer, data

    def _ask(
        self, kind: type[Answer], message: Mapping[str, Any], body: bytes, max_bytes: int
    ) -> tuple[Answer, bytes]:
        contender: ContenderFile = self._contender
        if self._conversation is None or self._conversation.closed:
            environment = {**os.environ, **contender.environment, **gpu_environment(contender.gpu)}
            if not contender.folder.is_dir():
                problem = f"needs the folder {contender.folder}, which is missing"
                raise contender.missing(problem, "program", self.name)
            self._conversation = Conversation(contender.command(), contender.folder, environment)
        seconds = contender.timeout_seconds
        if message["do"] == "describe":
            seconds = max(seconds, SECONDS_TO_DESCRIBE)
        message = {**message, "weights": [*contender.weights, *self._digests_by_path]}
        if self._seed:
            message[OPTIONS] = {SEED: self._seed}
        answer, data = self._conversation.ask(message, body, seconds, max_bytes)
        if "error" in answer:
            self.close()
            failure = OutOfDeviceMemory if answer.get("device_memory") else ProgramFailed
            raise failure(f"{self.name}: {' '.join(str(answer['error']).split())}")
        try:
            return msgspec.convert(answer, kind), data
        except (msgspec.ValidationError, OverflowError) as error:
            self.close()
            raise ProgramFailed(f"{self.name} sent an invalid answer: {error}") from None


def _require_weights(contender: ContenderFile, digests: Mapping[str, str]) -> None:
    for path, weight in contender.weights.items():
        digest, expected = digests.get(path, ""), weight.get("sha256", "")
        if digest and (not expected or digest.startswith(expected)):
            continue
        mismatch = f"has the sha256 {digest[:12]}..., not {expected[:12]}..."
        problem = f"cannot run: the weight file {path} {mismatch if digest else 'is missing'}"
        raise contender.missing(problem, "weights", path)


def gpu_environment(needs_gpu: bool) -> dict[str, str]:
    """Return the environment variable that assigns a GPU to a program, as {name: value} or {}."""
    # a worker's encoder and decoder share a GPU; with more workers than GPUs, each sees all GPUs
    if not needs_gpu or chosen_device() == "cpu":
        return {}
    visible_gpu = settings().variables().get(VISIBLE_GPUS)
    if visible_gpu or VISIBLE_GPUS in os.environ:
        return {VISIBLE_GPUS: visible_gpu} if visible_gpu else {}
    number = _lock_gpu()
    return {} if number is None else {VISIBLE_GPUS: str(number)}


@cache  # the lock is kept until this process ends
def _lock_gpu() -> int | None:
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
