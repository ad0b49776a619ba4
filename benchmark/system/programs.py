"""External programs and library files: found, fingerprinted, started, watched, ended."""

import os
import shutil
import signal
import stat
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import ProgramFailed, Unavailable, UsageError
from benchmark.system.processes.private_folder import private_folder

STDERR_KEPT_CHARACTERS = 2000
LARGEST_FILE_BYTES = 1 << 30  # 16-bit RGB of 178 megapixels; more is a program that went astray
MOST_OUTPUT_BYTES = 1 << 20  # of text; a picture on standard output has a limit of its own


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

    It runs below a process that outlives this one by the time to kill it (`processes/launcher.py`).
    What it started is killed when it ends, fails or runs out of time, so nothing outlives the call
    (on Linux; elsewhere its process group alone). `ProgramFailed` carries the end of its standard
    error. Output goes through files, so that a program that never stops writing to standard error
    cannot block us or fill our memory; nor can it fill the disk, since no file that it writes can
    grow beyond `LARGEST_FILE_BYTES` (on Linux). More than `most_output_bytes` of either output are
    not read and are a failure, as are exit codes that are not `accepted`.
    """
    # Most commands run no program, and begin sooner without sockets and ctypes.
    from benchmark.system.processes.launched import LauncherLost, TimeIsUp, run_launched
    from benchmark.system.processes.launcher import Request

    name = Path(command[0]).name
    request = Request(
        [os.fsencode(part) for part in command],
        _present_folder() if folder is None else os.fsencode(folder),
        {os.fsencode(key): os.fsencode(value) for key, value in os.environ.items()},
        LARGEST_FILE_BYTES,
    )
    with (
        private_folder() as own,
        (own / "out").open("w+b") as out,
        (own / "err").open("w+b") as err,
    ):
        try:
            code = run_launched(request, stdin, out.fileno(), err.fileno(), timeout_seconds)
        except OSError as error:
            raise ProgramFailed(f"{name} could not be started: {error.strerror}") from error
        except TimeIsUp:
            raise ProgramFailed(
                f"{name} was stopped after {timeout_seconds:g} s{_said(err)}"
            ) from None
        except LauncherLost:
            raise ProgramFailed(f"{name} was ended with the process that had started it") from None
        if code not in accepted:
            raise ProgramFailed(f"{name} {_ending(code)}{_said(err)}")
        printed = _read(out, most_output_bytes, f"{name} wrote", "to its standard output")
        if with_stderr:
            printed += _read(err, most_output_bytes, f"{name} wrote", "to its standard error")
        return printed


def read_written(file: Path, program: str | Path, most_bytes: int) -> bytes:
    """Return what a program wrote to a file, nothing where it wrote none.

    program: for messages, its name or path. Raises `ProgramFailed` above `most_bytes`, which are
    not read then, and for what is no regular file.
    """
    try:
        status = file.lstat()
    except FileNotFoundError:
        return b""
    name = Path(program).name
    if not stat.S_ISREG(status.st_mode):
        raise ProgramFailed(f"{name} made {file.name}, and it is no regular file")
    with file.open("rb") as written:
        return _read(written, most_bytes, f"{name} wrote", f"as {file.name}")


def _read(file: BinaryIO, most: int, who: str, where: str) -> bytes:
    file.seek(0)
    content = file.read(most + 1)  # one more: the file may have grown since it was looked at
    if len(content) > most:
        size = file.seek(0, os.SEEK_END)
        raise ProgramFailed(f"{who} {size:,} bytes {where}, and at most {most:,} are read")
    return content


def _present_folder() -> bytes | None:
    try:
        return os.getcwdb()
    except FileNotFoundError:  # removed: the program finds that out
        return None


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
