"""Errors whose message is one sentence: what happened, to which file or cell, what to do.

Every message of a `BenchError` is meant for the user and needs no traceback. `UsageError` and
`Unavailable` end a command with exit code 2, others with 1.
"""

import errno
import signal
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple, NoReturn

MemoryKind = Literal["host", "device"]
# Messages of errors that have no type of their own: torch's allocator for the CPU, C++'s operator
# new, the loader of shared libraries, libraries of CUDA.
NO_MEMORY_ON_HOST = (
    "defaultcpuallocator", "can't allocate memory", "cannot allocate memory", "std::bad_alloc",
    "failed to map segment",
)  # fmt: skip
NO_MEMORY_ON_DEVICE = ("cuda error: out of memory", "_status_alloc_failed")
LONGEST_REASON = 500  # characters
FOREIGN = (BaseException,)  # whatever code of others raises: SystemExit and KeyboardInterrupt too
BY_SIGNAL = "by a signal"


class Reason(NamedTuple):
    """Why something is absent, skipped or refused, as data.

    Sentences are made of it where they are shown: in `commands/`, `figures/` and `page/`.
    """

    kind: str  # "weights", "program", "package", "pixels", "dataset", ...
    subject: str = ""  # file, program, package or image
    remedy: str = ""  # command that helps: "bench fetch alexnet"; empty: none is known


class BenchError(Exception):
    """A failure that is explained in one sentence; `reason` is the sentence as data, if any."""

    exit_code = 1  # of a command that it ends

    def __init__(self, sentence: str = "", reason: Reason | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason


class UsageError(BenchError):
    """A request for something that cannot be done."""

    exit_code = 2


class UnknownName(UsageError):  # noqa: N818 - reads as what happened
    """A name that nothing answers to, and the known ones, each once.

    >>> str(UnknownName("codec", "jpg", ["webp", "jpeg", "webp"]))
    "No codec 'jpg'. Did you mean 'jpeg'? Known: jpeg, webp."
    >>> str(UnknownName("codec with results", "jpeg:quality=10", ["jpeg"]))
    "No codec with results 'jpeg:quality=10'. Name jpeg, which has every setting. Known: jpeg."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], meant: str = "") -> None:
        """meant: the likeliest name; by default the one that is nearest by its letters."""
        self.name = name
        names = sorted(set(known))
        near = [meant] if meant else get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        if whole := without_setting(name, names):
            hint = f" Name {whole}, which has every setting."
        super().__init__(f"No {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def without_setting(name: str, known: Collection[str]) -> str:
    """Return the known name that a codec's spec is with fewer options at its end; else nothing."""
    parts = name.split(":")
    shorter = (":".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((text for text in shorter if text in known), "")


class BadOption(UsageError):  # noqa: N818
    """An option that the codec does not have, or a value it cannot take."""


class BadPack(UsageError):  # noqa: N818
    """A folder or file that was given as a pack of streams and is none, or is not whole.

    >>> str(BadPack(Path("vtm.tar"), "it holds no rows.parquet"))
    'the pack vtm.tar cannot be used: it holds no rows.parquet; get or export it again'
    """

    def __init__(self, path: Path, why: str) -> None:
        why = " ".join(why.split())  # with values of the pack, of any length
        if len(why) > LONGEST_REASON:
            why = f"{why[:LONGEST_REASON]}..."
        super().__init__(f"the pack {path} cannot be used: {why}; get or export it again")


class Unavailable(BenchError):  # noqa: N818
    """Something that has to be on the machine first; the message says how to get it."""

    exit_code = 2


class ImageRefused(BenchError):  # noqa: N818
    """An image that cannot be measured; the others can."""


class NotMeasurable(BenchError):  # noqa: N818
    """A metric has no value for this image; the message is the reason kept in the row.

    `reason` of the kind "pixels" says that the same pixels have no value ever, so that nothing
    computes the metric of them again.
    """


class CorruptStream(BenchError):  # noqa: N818
    """Bytes that are not a whole stream of this codec."""


class ProgramFailed(BenchError):  # noqa: N818
    """An external program failed; the message ends with what it printed."""


class OutOfDeviceMemory(BenchError):  # noqa: N818
    """A GPU's memory is too small; in tiles it may do (`make_tiled` of `benchmark.codec.Codec`)."""


class StoreError(BenchError):
    """Results cannot be read or written; what is there stays as it is."""


class Notice(UserWarning):
    """Sentence that the command line prints once; not an error."""


class DamagedResults(Notice):
    """Results that are left out, with the reason and the remedy.

    `file` is the one that is left out, None where it is not one file alone.
    """

    def __init__(self, sentence: str, file: Path | None = None) -> None:
        super().__init__(sentence)
        self.file = file


def memory_exhausted(error: BaseException) -> MemoryKind | None:
    """Return whose memory was too small ("device": a GPU's); None for another cause.

    torch's errors are recognised by name and message, so that torch is not imported.

    >>> memory_exhausted(MemoryError()), memory_exhausted(RuntimeError("CUDA error: out of memory"))
    ('host', 'device')
    >>> memory_exhausted(RuntimeError("wrong shape"))
    """
    if isinstance(error, OutOfDeviceMemory) or any(
        kind.__name__ == "OutOfMemoryError" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(error).__mro__
    ):
        return "device"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "host"
    if not isinstance(error, RuntimeError | ImportError):
        return None
    text = str(error).lower()
    if any(words in text for words in NO_MEMORY_ON_DEVICE):
        return "device"
    return "host" if any(words in text for words in NO_MEMORY_ON_HOST) else None


def memory_sentence(error: BaseException) -> str:
    """Return a sentence on an error that came of too little memory or too few threads; else empty.

    >>> memory_sentence(RuntimeError("can't start new thread")).partition(":")[0]
    'the system starts no further thread for this process'
    """
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        why = "the system starts no further thread for this process: allow more memory or processes"
    elif memory_exhausted(error) is not None:
        why = "the memory that this process may use does not suffice: allow more"
    else:
        return ""
    return f"{why}; what was stored is kept, and the same command resumes from there"


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: raise a `KeyboardInterrupt` that `raise_interruption` recognises."""
    raise KeyboardInterrupt(BY_SIGNAL)


def raise_interruption(error: BaseException) -> None:
    """Raise the error again if a signal, such as that of Ctrl-C, raised it and not code of others.

    Where Python itself handles SIGINT, every `KeyboardInterrupt` counts as one of a signal.
    """
    by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(error, KeyboardInterrupt) and (by_python or error.args == (BY_SIGNAL,)):
        raise error


def near(path: Path, is_kind: Callable[[Path], bool]) -> str:
    """Return ` (did you mean ...?)` with what is beside an absent path and of the kind, if any."""
    with suppress(OSError):
        names = [there.name for there in path.parent.iterdir() if is_kind(there)]
        for name in get_close_matches(path.name, names, n=1):
            return f" (did you mean {path.parent / name}?)"
    return ""


def refused_path(error: BaseException) -> str:
    """Return a sentence about a path that the system refuses to look up; empty for other errors.

    >>> refused_path(OSError(errno.ENAMETOOLONG, "File name too long", "aaaa"))
    'aaaa cannot be used: File name too long; name another path'
    """
    if not isinstance(error, OSError) or error.filename is None:
        return ""
    remedy = {
        errno.ENAMETOOLONG: "name another path",
        errno.EACCES: "change its permissions, or name another path",
    }.get(error.errno or 0)
    return f"{error.filename} cannot be used: {error.strerror}; {remedy}" if remedy else ""
