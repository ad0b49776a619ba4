"""Every verb of `bench`, with its own verbs, as the command line knows them."""

from collections.abc import Iterator
from typing import Any

import typer

from benchmark.cli import app


def every_verb() -> list[tuple[str, Any]]:
    """Return ("pack export", its command) of each verb that does something, in the help's order."""
    return [(path, one) for path, one in every_command() if not hasattr(one, "commands")]


def every_command() -> list[tuple[str, Any]]:
    """Return each command with its words: "" for `bench` itself, groups and verbs."""
    root = typer.main.get_command(app)
    context = root.make_context("bench", ["run"], resilient_parsing=True)
    return list(_walk("", root, context))


def _walk(path: str, command: Any, context: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    if hasattr(command, "commands"):
        for name in command.list_commands(context):
            _, inner, _ = command.resolve_command(context, [name])
            yield from _walk(f"{path} {name}".strip(), inner, context)
