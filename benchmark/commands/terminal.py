"""Streams of the terminal, which nothing that is printed can steer."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from benchmark.system.text import visible


class PlainStream:
    """A stream of text that writes control characters as escapes, but line feeds and tabs.

    Names of files, caveats of rows and the errors of programs may hold sequences that move the
    cursor, change the title or colour what follows.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        self.stream.write(visible(text, keep_lines=True))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def plain_terminal() -> Iterator[None]:
    """Have this process print through `PlainStream` on both of its streams."""
    streams = PlainStream(sys.stdout), PlainStream(sys.stderr)
    with redirect_stdout(cast(TextIO, streams[0])), redirect_stderr(cast(TextIO, streams[1])):
        yield
