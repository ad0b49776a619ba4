"""Record of the fault tests: runs and injected faults; a test that fails has lost something."""

import random
from collections.abc import Callable

Recorder = Callable[[str, object], None]  # pytest's fixture `record_property`


def tell(record_property: Recorder, fault: str, runs: int, injected: int) -> None:
    """Add a test to a line of the table that `tools/faults.py` writes.

    runs: of commands, decoders or readers.
    """
    for name, value in (("fault", fault), ("runs", runs), ("injected", injected)):
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
