"""Errors whose message is one sentence: what happened, to which file or cell, what to do.

Every message of a `BenchError` is for the user and needs no traceback. `UsageError` and
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
# Messages of errors without a specific type: torch's CPU allocator, C++'s operator new, the loader
# of shared libraries, CUDA's libraries.
NO_MEMORY_ON_HOST = (
    "defaultcpuallocator", "can't allocate memory", "cannot allocate memory", "std::bad_alloc",
    "failed to map segment",
)  # fmt: skip
NO_MEMORY_ON_DEVICE = ("cuda error: out of memory", "_status_alloc_failed")
MAX_REASON_CHARACTERS = 500  # longer reasons of `BadPack` are truncated
FOREIGN_ERRORS = (BaseException,)  # all that authors' code may raise, even SystemExit
SIGNAL_ARGUMENT = "by a signal"


class Reason(NamedTuple):
    """Reason why something is absent, skipped or refused, as data for a sentence."""

    kind: str  # "weights", "program", "package", "pixels", "dataset", ...
    subject: str = ""  # file, program, package or image
    remedy: str = ""  # command that helps: "bench fetch alexnet"; empty if unknown


class BenchError(Exception):
    """A failure explained in one sentence; `reason` is the sentence as data, if any."""

    exit_code = 1  # exit code of a command that the error ends

    def __init__(self, sentence: str = "", reason: Reason | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason


class UsageError(BenchError):
    """A request that cannot be fulfilled."""

    exit_code = 2


class UnknownName(UsageError):  # noqa: N818 - reads as what happened
    """An unknown name; the message lists the known ones.

    >>> str(UnknownName("codec", "jpg", ["webp", "jpeg", "webp"]))
    "No codec 'jpg'. Did you mean 'jpeg'? Known: jpeg, webp."
    >>> str(UnknownName("codec with results", "jpeg:quality=10", ["jpeg"]))
    "No codec with results 'jpeg:quality=10'. Name jpeg, which has every setting. Known: jpeg."
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str], likeliest: str = "") -> None:
        """likeliest: the name to suggest; by default the name nearest in spelling."""
        self.name = name
        names = sorted(set(choices))
        suggestions = [likeliest] if likeliest else get_close_matches(name, names, n=1)
        hint = f" Did you mean {suggestions[0]!r}?" if suggestions else ""
        if shorter_spec := shorten_spec(name, names):
            hint = f" Name {shorter_spec}, which has every setting."
        super().__init__(f"No {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def shorten_spec(name: str, choices: Collection[str]) -> str:
    """Return the known name that remains if a spec's last options are removed; else ""."""
    parts = name.split(":")
    shorter_specs = (":".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((text for text in shorter_specs if text in choices), "")


class BadOption(UsageError):  # noqa: N818
    """An option that the codec does not have, or an invalid value."""


class BadPack(UsageError):  # noqa: N818
    """A folder or file that is not a complete pack of streams."""

    def __init__(self, path: Path, reason: str) -> None:
        reason = " ".join(reason.split())  # it may contain values of the pack, of any length
        if len(reason) > MAX_REASON_CHARACTERS:
            reason = f"{reason[:MAX_REASON_CHARACTERS]}..."
        super().__init__(f"the pack {path} cannot be used: {reason}; get or export the pack again")


class Unavailable(BenchError):  # noqa: N818
    """Something missing on the machine; the message says how to get it."""

    exit_code = 2


class ImageRefused(BenchError):  # noqa: N818
    """An image that cannot be measured; other images can."""


class NotMeasurable(BenchError):  # noqa: N818
    """A metric has no value for this image; the message is the reason stored in the row.

    A reason of the kind "pixels" means that these pixels will never give a value.
    """


class CorruptStream(BenchError):  # noqa: N818
    """Bytes that are not a complete stream of this codec."""


class ProgramFailed(BenchError):  # noqa: N818
    """An external program failed; the message ends with what it printed."""


class OutOfDeviceMemory(BenchError):  # noqa: N818
    """A GPU's memory is too small; tiles may fit (`make_tiled` of `benchmark.codec.Codec`)."""


class StoreError(BenchError):
    """Results cannot be read or written; stored results are unchanged."""


class Notice(UserWarning):
    """Sentence that the command line prints once; not an error."""


class DamagedResults(Notice):
    """Results left out, with reason and remedy; `file` is the affected file, None for several."""

    def __init__(self, sentence: str, file: Path | None = None) -> None:
        super().__init__(sentence)
        self.file = file


def memory_exhausted(error: BaseException) -> MemoryKind | None:
    """Return whose memory was too small ("device": a GPU's); None if there is another cause.

    torch's errors are recognised by name and message, without importing torch.

    >>> memory_exhausted(MemoryError()), memory_exhausted(RuntimeError("CUDA error: out of memory"))
    ('host', 'device')
    """
    if isinstance(error, OutOfDeviceMemory) or any(
        error_class.__name__ == "OutOfMemoryError"
        and error_class.__module__.partition(".")[0] == "torch"
        for error_class in type(error).__mro__
    ):
        return "device"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "host"
    if not isinstance(error, RuntimeError | ImportError):
        return None
    text = str(error).lower()
    if any(phrase in text for phrase in NO_MEMORY_ON_DEVICE):
        return "device"
    return "host" if any(phrase in text for phrase in NO_MEMORY_ON_HOST) else None


def memory_sentence(error: BaseException) -> str:
    """Return a sentence on an error due to too little memory or too few threads; else ""."""
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        cause = "this process cannot start another thread: allow it more memory or processes"
    elif memory_exhausted(error) is not None:
        cause = "this process has used all the memory that it may use: allow it more"
    else:
        return ""
    return f"{cause}; stored results are kept, and the same command continues after them"


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: raise a `KeyboardInterrupt` that `raise_interruption` recognises."""
    raise KeyboardInterrupt(SIGNAL_ARGUMENT)


def raise_interruption(error: BaseException) -> None:
    """Raise the error again if its cause is a signal such as Ctrl-C, not authors' code.

    Where Python itself handles SIGINT, every `KeyboardInterrupt` counts as a signal.
    """
    has_python_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    is_signal = has_python_handler or error.args == (SIGNAL_ARGUMENT,)
    if isinstance(error, KeyboardInterrupt) and is_signal:
        raise error


def suggest_path(path: Path, is_candidate: Callable[[Path], bool]) -> str:
    """Return ` (did you mean ...?)` with a candidate of similar name in the same folder, or ""."""
    with suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir() if is_candidate(entry)]
        for name in get_close_matches(path.name, names, n=1):
            return f" (did you mean {path.parent / name}?)"
    return ""


def describe_refused_path(error: BaseException) -> str:
    """Return a sentence on a path that the system refuses to look up; else "".

    >>> describe_refused_path(OSError(errno.ENAMETOOLONG, "File name too long", "aaaa"))
    'aaaa cannot be used: File name too long; name another path'
    """
    if not isinstance(error, OSError) or error.filename is None:
        return ""
    remedy = {
        errno.ENAMETOOLONG: "name another path",
        errno.EACCES: "change its permissions, or name another path",
    }.get(error.errno or 0)
    return f"{error.filename} cannot be used: {error.strerror}; {remedy}" if remedy else ""
