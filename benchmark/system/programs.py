"""External programs and library files: located, started, watched, ended."""

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
from benchmark.system.launcher import Order
from benchmark.system.processes import ending, require_posix

SCRIPT = Path(__file__).with_name("launcher.py")
LONGEST_SECONDS = 1e6  # that the system waits for a pipe: eleven days

WITH_LAUNCHER = "was ended with the process that had started it"  # predicate of a sentence
STDERR_KEPT_CHARACTERS = 2000
LARGEST_FILE_BYTES = 1 << 30  # 16-bit RGB of 178 megapixels; more is a program that went astray
MOST_OUTPUT_BYTES = 1 << 20  # of text; a picture on standard output has a limit of its own


def find_program(name: str, remedy: str, folders: Sequence[Path] = ()) -> Path:
    """Return a program in the folders, else `UsageError`; or on the PATH, else `Unavailable`."""
    path = os.pathsep.join(map(str, folders)) if folders else None
    if result := shutil.which(name, path=path):
        return Path(result)
    if folders:
        named = f"{folders[0]} was named as the folder of the program {name!r} and has none"
        raise UsageError(f"{named}: name another, or none to look on the PATH; {remedy}")
    raise Unavailable(f"the program {name!r} is not on the PATH: {remedy}", Reason("program", name))


def packaged_ffmpeg(who: str) -> Path:
    """Return the program in imageio-ffmpeg; `Unavailable`, on behalf of `who`, if there is none."""
    require_packages(who, ["imageio_ffmpeg"])
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return Path(get_ffmpeg_exe())
    except RuntimeError as error:
        remedy = "install a wheel of the Python package imageio-ffmpeg that contains one"
        raise Unavailable(f"{who} needs an ffmpeg: {remedy}") from error


def run_program(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    stdin: bytes = b"",
    folder: Path | None = None,
    with_stderr: bool = False,
    accepted: Collection[int] = (0,),
    most_output_bytes: int = MOST_OUTPUT_BYTES,
) -> bytes:
    """Run a program to its end and return its standard output, then its standard error if asked.

    Nothing that it started outlives the call (`launcher.py`; on other systems than Linux, nothing
    of its process group). Input and output are files, so that endless output cannot block us or
    fill our memory, nor the disk, since no file grows beyond `LARGEST_FILE_BYTES` (on Linux).
    Raises `ProgramFailed` with the end of its standard error, also above `most_output_bytes` of
    either output and for exit codes that are not `accepted`.
    """
    name = Path(command[0]).name
    if folder is None:
        with suppress(FileNotFoundError):  # removed: the program finds that out
            folder = Path.cwd()
    with private_folder() as own:
        files = own / "in", own / "out", own / "err"
        for file, content in zip(files, (stdin, b"", b""), strict=True):
            file.write_bytes(content)
        _, out, err = files
        order = order_of(command, folder, os.environ, files, LARGEST_FILE_BYTES)
        try:
            code, why = idle_launcher().run(order, timeout_seconds)
        except TimeoutError:
            stopped = f"{name} was stopped after {timeout_seconds:g} s{_said(err)}"
            raise ProgramFailed(stopped) from None
        except EOFError:
            raise ProgramFailed(f"{name} {WITH_LAUNCHER}") from None
        if why:
            raise ProgramFailed(f"{name} could not be started: {os.strerror(why)}")
        if code not in accepted:
            how = ending(code)
            if sys.platform != "win32" and code == -signal.SIGXFSZ:
                how = f"was stopped: it wrote more than {LARGEST_FILE_BYTES} bytes to a file"
            raise ProgramFailed(f"{name} {how}{_said(err)}")
        printed = read_written(out, name, most_output_bytes, "to its standard output")
        if with_stderr:
            printed += read_written(err, name, most_output_bytes, "to its standard error")
        return printed


def order_of(
    command: Sequence[str | Path],
    folder: Path | None,
    environment: Mapping[str, str],
    files: Sequence[Path],
    largest_file_bytes: int,
) -> Order:
    """Return the order to run a program; files: its standard input, output and error."""
    return Order(
        [os.fsencode(part) for part in command],
        os.fsencode(folder) if folder else None,
        {os.fsencode(key): os.fsencode(value) for key, value in environment.items()},
        [os.fsencode(file) for file in files],
        largest_file_bytes,
    )


class Launcher:
    """A process of `launcher.py`, which runs a program at a time and is kept for the next."""

    def __init__(self) -> None:
        require_posix()
        _ALL.add(self)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._orders, self._answers = self.process.stdin, self.process.stdout

    @property
    def answers(self) -> int:
        """Return the descriptor that can be read once the program has ended."""
        return self._answers.fileno()

    def start(self, order: Order) -> None:
        """Start a program; `close` ends it."""
        with suppress(BrokenPipeError):
            marshal.dump(tuple(order), self._orders)
            self._orders.flush()

    def outcome(self) -> tuple[int, int]:
        """Return exit code and 0, or 0 and an error number; `EOFError` if it was killed."""
        code, why = marshal.load(self._answers)
        return int(code), int(why)

    def run(self, order: Order, timeout_seconds: float) -> tuple[int, int]:
        """Run a program to its end and return its `outcome`."""
        try:
            self.start(order)
            if not wait([self.answers], min(timeout_seconds, LONGEST_SECONDS)):
                raise TimeoutError
            outcome = self.outcome()
        except BaseException:
            self.close()
            raise
        _IDLE.append(self)
        return outcome

    def close(self) -> None:
        """End the process with all that it runs."""
        _ALL.discard(self)
        self.forget()
        self.process.wait()

    def forget(self) -> None:
        """Close this end of the pipes."""
        with suppress(BrokenPipeError):
            self._orders.close()
        self._answers.close()


_IDLE: list[Launcher] = []
_ALL: set[Launcher] = set()


def idle_launcher() -> Launcher:
    """Return a launcher that nobody uses; killed ones are replaced."""
    with suppress(IndexError):
        while True:
            launcher = _IDLE.pop()  # atomic: no other thread gets the same
            if launcher.process.poll() is None:
                return launcher
            launcher.close()
    return Launcher()


@atexit.register
def _end_idle() -> None:
    while _IDLE:
        _IDLE.pop().close()


def _forget_all() -> None:
    """Leave the launchers of the process that this one was forked from to it."""
    for launcher in _ALL:
        launcher.forget()
        launcher.process.returncode = 0  # not a child of this process
    _ALL.clear()
    _IDLE.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_all)


def read_written(file: Path, program: str | Path, most_bytes: int, where: str = "") -> bytes:
    """Return what a program wrote to a file, nothing where it wrote none.

    program: for messages, its name or path; where: in them, instead of the file's name. Raises
    `ProgramFailed` above `most_bytes`, which are not read then, and for what is no regular file.
    """
    name = Path(program).name
    if not os.path.lexists(file):
        return b""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ProgramFailed(f"{name} made {file.name}, and it is no regular file")
    with file.open("rb") as written:
        content = written.read(most_bytes + 1)  # it may have grown since
        size = written.seek(0, os.SEEK_END)
    if len(content) > most_bytes:
        wrote = f"{name} wrote {size:,} bytes {where or f'as {file.name}'}"
        raise ProgramFailed(f"{wrote}, and at most {most_bytes:,} are read")
    return content


def _said(err: Path) -> str:
    with err.open("rb") as written:
        size = written.seek(0, os.SEEK_END)
        written.seek(max(0, size - STDERR_KEPT_CHARACTERS))
        text = " ".join(written.read().decode(errors="replace").split())
    return f"; it said: {text}" if text else ""
