"""A server of files in place of those that publish datasets and weights."""

from collections.abc import Iterator

import pytest

from support.files.file_server import Server, served


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served(monkeypatch) as server:
        yield server
