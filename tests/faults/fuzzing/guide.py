"""A fuzzer in Python alone: an input is kept if it takes an edge through the code that none took.

An edge is a pair of lines of this project that follow each other in one function, as `sys.settrace`
tells them. Slower than `atheris`, and needs nothing installed; it also measures what a corpus
reaches, whoever found it.
"""

import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from faults.fuzzing.judge import ROOT

Edge = tuple[int, int, int]  # function, line before, line
OURS = (str(ROOT / "baselines") + "/", str(ROOT / "benchmark") + "/")
INTERESTING = (0, 1, 2, 0x0F, 0x10, 0x3F, 0x40, 0x7F, 0x80, 0xFF)
LENGTHS = (1, 1, 1, 2, 2, 3, 4, 4, 8, 16, 64)


class Tracer:
    """Records the edges of calls through the code below some folders."""

    def __init__(self, folders: Sequence[str] = OURS) -> None:
        self._folders = tuple(folders)
        self._numbers: dict[CodeType, int] = {}  # 0: not of these folders
        self.names: dict[int, str] = {}  # of functions by number: "file:first line"

    def __call__(self, call: Callable[[], object]) -> set[Edge]:
        """Call, let pass what it raises, and return its edges."""
        found: set[Edge] = set()

        def enter(frame: FrameType, event: str, _: Any) -> Any:
            number = self._number(frame.f_code)
            if not number:
                return None
            last = 0

            def follow(frame: FrameType, event: str, _: Any) -> Any:
                nonlocal last
                found.add((number, last, frame.f_lineno))
                last = frame.f_lineno
                return follow

            return follow

        before = sys.gettrace()
        sys.settrace(enter)
        try:
            call()
        finally:
            sys.settrace(before)
            self.edges = found
        return found

    def _number(self, code: CodeType) -> int:
        number = self._numbers.get(code)
        if number is None:
            number = len(self.names) + 1 if code.co_filename.startswith(self._folders) else 0
            self._numbers[code] = number
            if number:
                name = Path(code.co_filename).name
                self.names[number] = f"{name}:{code.co_firstlineno}"
        return number


def mutated(data: bytes, others: Sequence[bytes], chance: random.Random, longest: int) -> bytes:
    """Return the data after one to eight changes; some take a part of one of the others."""
    changed = bytearray(data)
    for _ in range(1 << chance.randrange(4)):
        at, length = chance.randrange(len(changed) + 1), chance.choice(LENGTHS)
        match chance.randrange(9):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(changed):
                changed[at] = chance.choice(INTERESTING)
            case 2 if at < len(changed):
                changed[at] = (changed[at] + chance.randint(-9, 9)) % 256
            case 3:
                changed[at : at + length] = chance.randbytes(length)
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at:at] = chance.randbytes(length)
            case 6:
                place = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[place : place + length]
            case 7:
                other = chance.choice(others)
                place = chance.randrange(len(other) + 1)
                changed[at : at + length] = other[place : place + chance.choice(LENGTHS)]
            case _:
                del changed[at if chance.random() < 0.2 else len(changed) :]
    return bytes(changed[:longest])


class Guided:
    """A search for inputs that take new edges; `kept` are those that did."""

    def __init__(self, tracer: Tracer, seed: int, longest: int) -> None:
        self._tracer, self._chance, self._longest = tracer, random.Random(seed), longest
        self.kept: list[bytes] = []
        self.edges: set[Edge] = set()
        self.executions = 0

    def run(
        self,
        execute: Callable[[bytes], object],
        begin: Iterable[bytes],
        seconds: float,
        executions: int | None = None,
    ) -> None:
        """Execute the beginnings, then mutants of what was kept, until time or number is over."""
        end = time.monotonic() + seconds
        for data in begin:
            self._try(execute, data)
        while time.monotonic() < end and (executions is None or self.executions < executions):
            # What was found last leads on most often.
            place = int(len(self.kept) * self._chance.random() ** 0.5)
            self._try(execute, mutated(self.kept[place], self.kept, self._chance, self._longest))

    def _try(self, execute: Callable[[bytes], object], data: bytes) -> None:
        self.executions += 1
        edges = self._tracer(lambda: execute(data))
        if not edges <= self.edges or not self.kept:
            self.edges |= edges
            self.kept.append(data)


def fewest(inputs: Iterable[bytes], edges_of: Callable[[bytes], set[Edge]]) -> list[bytes]:
    """Return few inputs that take all edges that the inputs take together, greedily, small ones."""
    taken = {data: edges_of(data) for data in sorted(set(inputs), key=lambda one: (len(one), one))}
    chosen: list[bytes] = []
    missing: set[Edge] = set().union(*taken.values())
    while missing:
        # The first of the best is the shortest.
        best = max(taken, key=lambda data: len(taken[data] & missing) / (len(data) + 40))
        chosen.append(best)
        missing -= taken.pop(best)
    return chosen
