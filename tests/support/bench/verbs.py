"""Every verb of `bench`, with its own verbs, as the command line knows them."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmark.cli import NAMES, program

app = program(NAMES)
BENCH: Any = typer.main.get_command(app)


def every_verb() -> list[tuple[str, Any]]:
    """Return ("pack export", its command) of each verb that does something, in the help's order."""
    return [entry for entry in every_command() if not hasattr(entry[1], "commands")]


def every_command() -> list[tuple[str, Any]]:
    """Return each command with its words: "" for `bench` itself, groups and verbs."""
    return list(_walk("", BENCH))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}".strip(), inner)
