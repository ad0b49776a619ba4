"""A server in place of those that publish datasets and weights, and a writer of files."""

from pathlib import Path

import pytest

from support.files.file_server import served


@pytest.fixture
def server(monkeypatch):
    with served(monkeypatch) as server:
        yield server


@pytest.fixture
def write(tmp_path):
    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write
