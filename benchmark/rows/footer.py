"""The footer of a parquet file: what its rows will take in memory, before any of them is read.

The footer is a struct of Thrift's compact protocol, of which four fields are wanted here. polars
reads it too, but does not say what it finds.
"""

from typing import Any, NamedTuple

MAGIC, TAIL = b"PAR1", 8  # bytes after the footer: its length, and MAGIC
FIXED = {3: 1, 7: 8}  # bytes of a byte and of a float, by their kinds in the protocol
BOOLEANS, WHOLES, BINARY, LISTS, STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 12
MOST_SHIFTED = 63  # bits of a number


class Footer(NamedTuple):
    """Sizes of a parquet file as it states them; a stranger's may state anything."""

    rows: int
    names: list[str]  # of its columns
    values: int  # of all columns together; elements of lists are more than rows
    unpacked_bytes: int


def read_footer(content: bytes) -> Footer:
    """Return the footer of a file; raise `ValueError` or `RecursionError` where there is none."""
    length = int.from_bytes(content[-TAIL:-4], "little")
    start = len(content) - TAIL - length
    if content[-4:] != MAGIC or content[:4] != MAGIC or start < len(MAGIC):
        raise ValueError("its footer is lacking")
    try:
        fields, _ = _struct(content, start)
        groups = fields[4]
        chunks = [chunk[3] for group in groups for chunk in group[1]]
        values = sum(max(chunk[5], 0) for chunk in chunks)
        unpacked_bytes = sum(max(group[2], 0) for group in groups)
        return Footer(max(fields[3], 0), _columns(fields[2]), values, unpacked_bytes)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("its footer is of another form") from error


def _columns(schema: list[dict[int, Any]]) -> list[str]:
    """Return the names of the columns, from the tree of their parts: a root, then depth first."""
    names, nested = [], 0  # parts that are still to come of the column before
    for part in schema[1:]:
        if not nested:
            names.append(part[4].decode())
        nested = max(nested - 1, 0) + part.get(5, 0)
    return names


# Values of the protocol, each with the place of the byte after it; beyond the last one is an
# `IndexError`. Structs are dictionaries by the fields' numbers.


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    fields, number = dict[int, Any](), 0
    while head := data[at]:
        at += 1
        if step := head >> 4:
            number += step
        else:
            number, at = _signed(data, at)
        fields[number], at = _value(data, at, head & 15)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in WHOLES:
        return _signed(data, at)
    if kind == BINARY:
        size, at = _number(data, at)
        return data[at : at + size], at + size
    if kind == STRUCT:
        return _struct(data, at)
    if kind in BOOLEANS:
        return kind == BOOLEANS[0], at
    if kind in FIXED:
        return None, at + FIXED[kind]
    if kind in LISTS:
        head, values = data[at], []
        count, kind = head >> 4, head & 15
        count, at = _number(data, at + 1) if count == 15 else (count, at + 1)
        if count > len(data) - at:  # each takes a byte or more
            raise ValueError("its footer has a list that is longer than the file")
        for _ in range(count):
            value, at = _value(data, at, 3 if kind in BOOLEANS else kind)
            values.append(value)
        return values, at
    raise ValueError("its footer has a value of another kind")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    number, at = _number(data, at)
    return number >> 1 ^ -(number & 1), at


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > MOST_SHIFTED:
            raise ValueError("its footer has a number without end")
    return number | byte << shift, at + 1
