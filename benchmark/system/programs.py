"""External programs: find, start, watch and stop them."""

import atexit
import marshal
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from benchmark.errors import ProgramFailed, Reason, Unavailable, UsageError
from benchmark.registry import require_packages
from benchmark.system.atomic import private_folder
from benchmark.system.launcher import Request
from benchmark.system.processes import describe_exit, require_posix

SCRIPT = Path(__file__).with_name("launcher.py")
MAX_WAIT_SECONDS = 1e6  # the system's limit for waiting on a pipe: eleven days

LAUNCHER_KILLED = "was killed together with the process that had started it"
MAX_STDERR_CHARACTERS = 2000  # the end of longer texts is shown
MAX_FILE_BYTES = 1 << 30  # 16-bit RGB of 178 megapixels; only a runaway program writes more
MAX_OUTPUT_BYTES = 1 << 20  # limit for text; callers set another limit for pictures


def find_program(name: str, remedy: str, folders: Sequence[Path] = ()) -> Path:
    """Find a program in `folders` (else `UsageError`), or without them on PATH (`Unavailable`)."""
    path = os.pathsep.join(map(str, folders)) if folders else None
    if result := shutil.which(name, path=path):
        return Path(result)
    if folders:
        problem = f"{folders[0]} does not contain the program {name!r}"
        raise UsageError(f"{problem}: name another folder, or none to search PATH; {remedy}")
    raise Unavailable(f"the program {name!r} is not on the PATH: {remedy}", Reason("program", name))


def packaged_ffmpeg(feature: str) -> Path:
    """Return imageio-ffmpeg's program; `Unavailable`, naming the `feature`, if there is none."""
    require_packages(feature, ["imageio_ffmpeg"])
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return Path(get_ffmpeg_exe())
    except RuntimeError as error:
        remedy = "install a wheel of the Python package imageio-ffmpeg that contains one"
        raise Unavailable(f"{feature} needs an ffmpeg: {remedy}") from error


def run_program(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    stdin: bytes = b"",
    folder: Path | None = None,
    include_stderr: bool = False,
    accepted_codes: Collection[int] = (0,),
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> bytes:
    """Run a program to completion; return its output, with `include_stderr` also its errors.

    No process that it started outlives the call (outside Linux, none of its process group). Input
    and output are files, so that endless output can neither block the caller nor fill its memory or
    the disk (on Linux, `MAX_FILE_BYTES` each). Raises `ProgramFailed` for output longer than
    `max_output_bytes`, and with the end of its standard error for codes not in `accepted_codes`.
    """
    name = Path(command[0]).name
    if folder is None:
        with suppress(FileNotFoundError):  # if it was removed, the program reports that
            folder = Path.cwd()
    with private_folder() as temporary_folder:
        files = temporary_folder / "in", temporary_folder / "out", temporary_folder / "err"
        for file, content in zip(files, (stdin, b"", b""), strict=True):
            file.write_bytes(content)
        _, stdout_file, stderr_file = files
        request = make_request(command, folder, os.environ, files, MAX_FILE_BYTES)
        try:
            code, start_error = idle_launcher().run(request, timeout_seconds)
        except TimeoutError:
            message = f"{name} was stopped after {timeout_seconds:g} s"
            raise ProgramFailed(f"{message}{_describe_stderr(stderr_file)}") from None
        except EOFError:
            raise ProgramFailed(f"{name} {LAUNCHER_KILLED}") from None
        if start_error:
            raise ProgramFailed(f"{name} could not be started: {os.strerror(start_error)}")
        if code not in accepted_codes:
            outcome = describe_exit(code)
            if sys.platform != "win32" and code == -signal.SIGXFSZ:
                outcome = f"was stopped: it wrote more than {MAX_FILE_BYTES} bytes to a file"
            raise ProgramFailed(f"{name} {outcome}{_describe_stderr(stderr_file)}")
        output = read_output_file(stdout_file, name, max_output_bytes, "to its standard output")
        if include_stderr:
            output += read_output_file(stderr_file, name, max_output_bytes, "to its standard error")
        return output


def make_request(
    command: Sequence[str | Path],
    folder: Path | None,
    environment: Mapping[str, str],
    files: Sequence[Path],
    max_file_bytes: int,
) -> Request:
    """Make the request to run a program; files: its standard input, output and error."""
    return Request(
        [os.fsencode(word) for word in command],
        os.fsencode(folder) if folder else None,
        {os.fsencode(key): os.fsencode(value) for key, value in environment.items()},
        [os.fsencode(file) for file in files],
        max_file_bytes,
    )


class Launcher:
    """Process of `launcher.py`: runs one program at a time, and is reused."""

    def __init__(self) -> None:
        require_posix()
        _LAUNCHERS.add(self)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._requests, self._answers = self.process.stdin, self.process.stdout

    @property
    def answer_descriptor(self) -> int:
        """Return the file descriptor that becomes readable when the program has ended."""
        return self._answers.fileno()

    def start(self, request: Request) -> None:
        """Start a program; `close` stops it."""
        with suppress(BrokenPipeError):
            marshal.dump(tuple(request), self._requests)
            self._requests.flush()

    def outcome(self) -> tuple[int, int]:
        """Return (exit code, 0), or (0, error number); `EOFError` if the launcher was killed."""
        code, start_error = marshal.load(self._answers)
        return int(code), int(start_error)

    def run(self, request: Request, timeout_seconds: float) -> tuple[int, int]:
        """Run a program to completion and return its `outcome`."""
        try:
            self.start(request)
            if not wait([self.answer_descriptor], min(timeout_seconds, MAX_WAIT_SECONDS)):
                raise TimeoutError
            outcome = self.outcome()
        except BaseException:
            self.close()
            raise
        _IDLE_LAUNCHERS.append(self)
        return outcome

    def close(self) -> None:
        """Stop the process and everything that it runs."""
        _LAUNCHERS.discard(self)
        self.disconnect()
        self.process.wait()

    def disconnect(self) -> None:
        """Close this end of the pipes."""
        with suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()


_IDLE_LAUNCHERS: list[Launcher] = []
_LAUNCHERS: set[Launcher] = set()


def idle_launcher() -> Launcher:
    """Return an unused launcher; replace killed ones."""
    with suppress(IndexError):
        while True:
            launcher = _IDLE_LAUNCHERS.pop()  # atomic: no other thread gets the same one
            if launcher.process.poll() is None:
                return launcher
            launcher.close()
    return Launcher()


@atexit.register
def _end_idle_launchers() -> None:
    while _IDLE_LAUNCHERS:
        _IDLE_LAUNCHERS.pop().close()


def _disconnect_all() -> None:
    """After a fork, leave the parent's launchers to the parent."""
    for launcher in _LAUNCHERS:
        launcher.disconnect()
        launcher.process.returncode = 0  # the launcher is not a child of this process
    _LAUNCHERS.clear()
    _IDLE_LAUNCHERS.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_disconnect_all)


def read_output_file(
    file: Path, program: str | Path, max_bytes: int, destination: str = ""
) -> bytes:
    """Return the content of a program's output file, empty if it wrote none.

    Raises `ProgramFailed` for more than `max_bytes`, and for anything but a regular file.
    """
    name = Path(program).name
    if not os.path.lexists(file):
        return b""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ProgramFailed(f"{name} wrote {file.name}, which is not a regular file")
    with file.open("rb") as output_file:
        content = output_file.read(max_bytes + 1)  # the file may still grow
        size = output_file.seek(0, os.SEEK_END)
    if len(content) > max_bytes:
        excess = f"{name} wrote {size:,} bytes {destination or f'as {file.name}'}"
        raise ProgramFailed(f"{excess}, but at most {max_bytes:,} are read")
    return content


def _describe_stderr(stderr_file: Path) -> str:
    with stderr_file.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_STDERR_CHARACTERS))
        text = " ".join(file.read().decode(errors="replace").split())
    return f"; it said: {text}" if text else ""
