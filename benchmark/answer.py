"""Parts of answers to questions."""

from typing import NamedTuple


class Absent(NamedTuple):
    """A thing that an answer lacks, why, and the command that mends it."""

    what: str
    why: str
    remedy: str = ""  # a command, without quotes; empty where none is known
