"""Errors whose message is one sentence: what happened, to which file or cell, what to do.

BenchError                 every message is meant for the user and needs no traceback
├── UsageError             the command line asks for something that cannot be (exit code 2)
│   ├── UnknownName        no codec, dataset, metric or setting of that name
│   ├── BadOption          a codec has no such option, or the value makes no sense
│   └── BadPack            what was given as a pack is none, or is not whole
├── Unavailable            a program, wheel, weight file or dataset is not on this machine
├── ImageRefused           one image cannot be measured; the others can
├── NotMeasurable          one metric has no value here: null with this reason
├── CorruptStream          bytes that are not a whole stream of this codec
├── ProgramFailed          an external program failed, timed out or wrote nothing
├── OutOfDeviceMemory      a GPU's memory does not hold what the codec needs for the image
└── StoreError             results cannot be read or written
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class BenchError(Exception):
    """A failure that is explained in one sentence."""


class UsageError(BenchError):
    """A request for something that cannot be done."""


class UnknownName(UsageError):  # noqa: N818 - reads as what happened
    """A name that nothing answers to.

    >>> str(UnknownName("codec", "jpg", ["jpeg", "webp"]))
    "No codec 'jpg'. Did you mean 'jpeg'? Known: jpeg, webp."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"No {kind} {name!r}.{hint} Known: {', '.join(names)}.")


class BadOption(UsageError):  # noqa: N818
    """An option that the codec does not have, or a value it cannot take."""


class BadPack(UsageError):  # noqa: N818
    """A folder or file that was given as a pack of streams and is none, or is not whole.

    >>> str(BadPack(Path("vtm.tar"), "it holds no rows.csv"))
    'the pack vtm.tar cannot be used: it holds no rows.csv; get or export it again'
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the pack {path} cannot be used: {why}; get or export it again")


class Unavailable(BenchError):  # noqa: N818
    """Something that has to be on the machine first; the message says how to get it."""


class ImageRefused(BenchError):  # noqa: N818
    """An image that cannot be measured; the others can."""


class NotMeasurable(BenchError):  # noqa: N818
    """A metric has no value for this image; the message is the reason kept in the row."""


class CorruptStream(BenchError):  # noqa: N818
    """Bytes that are not a whole stream of this codec."""


class ProgramFailed(BenchError):  # noqa: N818
    """An external program failed; the message ends with what it said."""


class OutOfDeviceMemory(BenchError):  # noqa: N818
    """A GPU's memory is too small; in tiles it may do (`benchmark.codec.CodesInTiles`)."""


class StoreError(BenchError):
    """Results cannot be read or written; what is there stays as it is."""


class DamagedResults(UserWarning):
    """Results that are left out, with the reason and the remedy in one sentence; not an error."""
