"""Cells of a part, which are measured one after another, and its section of the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Values of the cells that were measured, by key. A cell that failed has {"failed": reason}, one
# whose weights or program are missing {"absent": reason}; any other may have "held", which says
# whether the claim of its part holds for it.
Found = Mapping[str, Mapping[str, Any]]


class Cell(NamedTuple):
    """One measurement of a part; `key` begins with what the page groups by, then a slash."""

    key: str
    measure: Callable[[], Mapping[str, Any]]


def measured(found: Found) -> dict[str, Mapping[str, Any]]:
    """Return the cells that have numbers."""
    return {key: row for key, row in found.items() if not {"failed", "absent"} & row.keys()}


def cells_of(found: Found) -> dict[str, list[Mapping[str, Any]]]:
    """Return the cells that have numbers by the first part of their keys."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for key, row in measured(found).items():
        groups.setdefault(key.partition("/")[0], []).append(row)
    return groups


def broken(found: Found) -> list[str]:
    """Return the keys of cells that failed, or for which the claim of the part does not hold.

    >>> broken({"a": {"held": True}, "b": {"held": False}, "c": {"failed": "x"}, "d": {}})
    ['b', 'c']
    """
    return [key for key, row in found.items() if "failed" in row or row.get("held") is False]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a markdown table, or nothing without rows.

    >>> table(("a", "b"), [("x", 1)])
    ['| a | b |', '|---|--:|', '| x | 1 |', '']
    """
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    if not lines:
        return []
    line = f"|---|{'--:|' * (len(header) - 1)}"
    return [f"| {' | '.join(header)} |", line, *lines, ""]


def failures(found: Found) -> list[str]:
    """Return a list of cells that failed, with their reasons, and of what is absent."""
    lines = [f"- {key}: {row['failed']}" for key, row in found.items() if "failed" in row]
    absent: dict[str, dict[str, None]] = {}
    for key, row in found.items():
        if "absent" in row:
            absent.setdefault(key.partition("/")[0], {})[row["absent"]] = None
    lines += [f"- {name} was not measured: {'; '.join(why)}" for name, why in absent.items()]
    return [*lines, ""] if lines else []
