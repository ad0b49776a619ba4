"""A server in place of those that publish datasets and weights, and a writer of files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.files.file_server import Server, served


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with served(monkeypatch) as server:
        yield server


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write
