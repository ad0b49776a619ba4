"""Parsers with planted defects, by which the fuzzer itself is tested."""

import os
from pathlib import Path

from benchmark.errors import CorruptStream
from faults.fuzzing.target import Target

SECRET = b"\xa5\x5a\x21\x7f"  # one byte after the other leads to the defect


class PlantedError(Exception):
    """The planted error."""


def nested(data: bytes) -> int:
    """Raise `PlantedError` behind four comparisons of a byte each, else `CorruptStream`."""
    if data[:1] == SECRET[:1]:
        if data[1:2] == SECRET[1:2]:
            if data[2:3] == SECRET[2:3]:
                if data[3:4] == SECRET[3:4]:
                    raise PlantedError("found")
                raise CorruptStream("it ends after three bytes")
            raise CorruptStream("it ends after two bytes")
        raise CorruptStream("it ends after one byte")
    raise CorruptStream("it begins with another byte")


def raises(folder: Path) -> Target:
    """A parser with an error that is no refusal, in a quarter of the inputs."""

    def parse(data: bytes) -> int:
        if data[:1] > b"\xc0":
            raise PlantedError("planted")
        raise CorruptStream("it begins with another byte")

    return Target(parse, (b"ab",))


def dies(folder: Path) -> Target:
    """A parser that ends the process, as native code does that reads beyond its memory."""

    def parse(data: bytes) -> int:
        if data[:1] > b"\xc0":
            os.abort()
        raise CorruptStream("it begins with another byte")

    return Target(parse, (b"ab",))
