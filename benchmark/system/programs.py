"""External programs and library files: found, fingerprinted, started, watched, ended."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import BinaryIO
from uuid import uuid4

from benchmark.errors import ProgramFailed, Unavailable, UsageError

STDERR_KEPT_CHARACTERS = 2000
MARK = "RDRBENCH_CALL"  # an environment variable: which call a process belongs to
PR_SET_CHILD_SUBREAPER = 36  # in linux/prctl.h
MOST_GENERATIONS = 1000
EXECUTING_TRIES, EXECUTING_SECONDS = 200, 0.005  # of a process that executes another program
LARGEST_FILE_BYTES = 1 << 30  # 16-bit RGB of 178 megapixels; more is a program that went astray


def find_program(name: str, remedy: str, folders: Sequence[Path] = ()) -> Path:
    """Return the path of a program in one of the folders or, if none is named, on the PATH.

    Raises `Unavailable`, which ends with what to do, where it is not on the PATH, and `UsageError`
    where folders are named and have none: nobody means another program or a pack then.
    """
    named: list[str | None] = [*map(str, folders)]
    for path in named or [None]:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    if folders:
        raise UsageError(
            f"{folders[0]} was named as the folder of the program {name!r} and has none: name "
            f"another, or none to look on the PATH; {remedy}"
        )
    raise Unavailable(f"the program {name!r} is not on the PATH: {remedy}")


def packaged_ffmpeg(who: str) -> Path:
    """Return the program in imageio-ffmpeg; `Unavailable`, on behalf of `who`, without one."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return Path(get_ffmpeg_exe())
    except ImportError as error:
        remedy = "install the Python package imageio-ffmpeg"
        raise Unavailable(f"{who} needs an ffmpeg: {remedy}") from error
    except RuntimeError as error:
        remedy = "install a wheel of imageio-ffmpeg that contains one"
        raise Unavailable(f"{who} needs an ffmpeg: {remedy}") from error


def program_folders(variable: str) -> list[Path]:
    """Return the folder that an environment variable names, and its bin; none if it is not set."""
    named = os.environ.get(variable)
    return [Path(named), Path(named) / "bin"] if named else []


def use_program_folder(variable: str, folder: Path | None) -> None:
    """Have this process and its workers look for programs there, and nowhere else."""
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder of programs")
        os.environ[variable] = str(folder.resolve())


def package_folder(package: str) -> Path:
    """Return the folder of an installed Python package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"the Python package {package!r} is not installed")
    return Path(spec.submodule_search_locations[0])


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a temporary folder for one call of one program; it is removed afterwards."""
    with TemporaryDirectory(prefix="rdrbench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_program(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    stdin: bytes = b"",
    folder: Path | None = None,
    with_stderr: bool = False,
    accepted: Collection[int] = (0,),
) -> bytes:
    """Run a program to its end and return its standard output, then its standard error if asked.

    It gets a process group of its own, and whatever is left of that group, or of others that it
    began (on Linux), is killed when the program ends, fails or runs out of time, so nothing
    outlives the call. `ProgramFailed` carries the end of its standard error. Output goes through
    files, so that a program that never stops writing to standard error cannot block us or fill our
    memory; nor can it fill the disk, since no file that it writes can grow beyond
    `LARGEST_FILE_BYTES` (on Linux). Exit codes that are not `accepted` are failures.
    """
    name = Path(command[0]).name
    mark = uuid4().hex
    _adopt_orphans(os.getpid())
    with (
        private_folder() as own,
        (own / "out").open("w+b") as out,
        (own / "err").open("w+b") as err,
    ):
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**os.environ, MARK: mark},
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramFailed(f"{name} could not be started: {error.strerror}") from error
        with process:  # closes the pipe, which a program that was stopped has not read to its end
            try:
                _limit_files(process.pid)
                process.communicate(stdin, timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                raise ProgramFailed(
                    f"{name} was stopped after {timeout_seconds:g} s{_said(err)}"
                ) from None
            finally:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                _end_orphans(process.pid, mark)
        if process.returncode not in accepted:
            raise ProgramFailed(f"{name} {_ending(process.returncode)}{_said(err)}")
        out.seek(0)
        err.seek(0)
        return out.read() + (err.read() if with_stderr else b"")


def _limit_files(process_id: int) -> None:
    """Limit file sizes from outside: between fork and exec, Python code could meet a held lock."""
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = (
            LARGEST_FILE_BYTES if most == resource.RLIM_INFINITY else min(LARGEST_FILE_BYTES, most)
        )
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(process_id, resource.RLIMIT_FSIZE, (limit, most))


@cache
def _adopt_orphans(_process_id: int) -> None:
    """Make this process the parent of what programs leave behind, once: a fork has to ask anew."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(group: int, mark: str) -> None:
    """Kill and collect what a program left, in its group or outside, and what that had begun.

    Its mark tells it from other children of this process; it is inherited with the environment.
    """
    wanted = f"{MARK}={mark}".encode()
    for _ in range(MOST_GENERATIONS):
        left = [child for child in _children() if child != group and _is_of(child, group, wanted)]
        for child in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
        if not left:
            return


def _children() -> list[int]:
    """Return the children of all threads of this process; none if the system does not tell."""
    found: list[int] = []
    for thread in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def _is_of(child: int, group: int, mark: bytes) -> bool:
    """Return whether a child is in the group, or has the mark in its environment.

    A process that is just executing another program has an empty environment for a moment, and is
    asked again; one that has ended has none, and nothing of it runs.
    """
    try:
        if os.getpgid(child) == group:
            return True
        for _ in range(EXECUTING_TRIES):
            environment = Path(f"/proc/{child}/environ").read_bytes()
            if environment or _has_ended(child):
                return mark in environment
            sleep(EXECUTING_SECONDS)
    except OSError:
        return False
    return False


def _has_ended(child: int) -> bool:
    state = Path(f"/proc/{child}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return state in ("Z", "X")


def _ending(returncode: int) -> str:
    if returncode == -signal.SIGXFSZ:
        return f"was stopped: it wrote more than {LARGEST_FILE_BYTES} bytes to a file"
    if returncode > 0:
        return f"ended with exit code {returncode}"
    number = -returncode
    known = number in {one.value for one in signal.Signals}  # not so the real-time signals
    return f"was killed by {signal.Signals(number).name if known else f'signal {number}'}"


def _said(err: BinaryIO) -> str:
    size = err.seek(0, os.SEEK_END)
    err.seek(max(0, size - STDERR_KEPT_CHARACTERS))
    text = " ".join(err.read().decode(errors="replace").split())
    return f"; it said: {text}" if text else ""
