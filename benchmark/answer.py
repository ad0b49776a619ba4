"""What answers to questions are made of."""

from typing import NamedTuple


class Absent(NamedTuple):
    """What is missing from an answer, why, and the command that mends it."""

    what: str
    why: str
    remedy: str = ""  # a command, without quotes; empty where none is known
