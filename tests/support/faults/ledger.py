"""Record of the fault tests: runs, injected faults and losses.

`tools/faults.py` makes the table of docs/reliability.md from it. A test reports before it asserts,
so that losses are in the table as well.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

Recorder = Callable[[str, object], None]  # pytest's fixture `record_property`


class Told(NamedTuple):
    """Line of the table."""

    fault: str
    runs: int  # of commands, decoders or readers
    injected: int
    losses: int  # cells lost or twice, unreadable files, crashes, hangs: whatever must not be


def tell(record_property: Recorder, fault: str, runs: int, injected: int, losses: int) -> None:
    """Add a line of the table to the test's record; a loss may be a truth value."""
    for name, value in Told(fault, runs, injected, int(losses))._asdict().items():
        record_property(name, value)


def mutated(data: bytes, chance: random.Random, head: int = 40) -> bytes:
    """Return the data after one to four changes of bits or bytes, half of them in its head."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        end = len(changed) if chance.random() < 0.5 else min(len(changed), head)
        at = chance.randrange(max(end, 1))
        match chance.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << chance.randrange(8)
            case 2:
                del changed[at : at + chance.randint(1, 9)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randint(1, 9))
            case 4:
                changed[at:at] = changed[: chance.randint(1, 99)]
            case 5:
                changed[at : at + 8] = b"\xff" * 8
            case _:
                del changed[at:]
    return bytes(changed)
