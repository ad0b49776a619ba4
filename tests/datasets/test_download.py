"""Downloads against a real server that ranges, ignores ranges, breaks off, lies or is not there."""

import fcntl
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.datasets import download
from benchmark.datasets.download import fetch
from benchmark.errors import Unavailable
from support.files.file_server import BODY, SHA256, left_in


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "file.bin"


def part_of(target: Path, data: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(data)
    return part


@pytest.mark.parametrize(("server_does", "left_over", "size_known", "starts"), [
    ({}, b"", True, [0]), ({"says_length": False}, b"", False, [0]),
    ({}, BODY[:400_000], True, [400_000]),  # resumed
    ({"ranges": False}, BODY[:400_000], True, [400_000]),
    ({"wrong_start": 7}, BODY[:400_000], True, [400_000, 0]),
    ({}, BODY, True, []), ({"ranges": False}, BODY, True, []), ({}, BODY, False, [1_000_000]),
    ({"ranges": False}, BODY, False, [1_000_000]),
    ({}, b"x" * 400_000, True, [400_000, 0]),  # of another file
    ({}, b"x" * 400_000, False, [400_000, 0]), ({}, b"x" * len(BODY), True, [0]),
    ({}, b"x" * len(BODY), False, [1_000_000, 0]), ({}, b"x" * 1_000_001, True, [1_000_001, 0]),
    ({}, b"x" * 1_000_001, False, [1_000_001, 0]),
    ({"breaks_after": [300_000] * 3}, b"", True, [0, 300_000, 600_000, 900_000]),
    ({"breaks_after": [300_000], "says_length": False}, b"", True, [0, 300_000]),
])  # fmt: skip
def test_a_file_always_arrives_whole(server, target, server_does, left_over, size_known, starts):
    for name, value in server_does.items():
        setattr(server, name, list(value) if isinstance(value, list) else value)
    if left_over:
        part_of(target, left_over)
    fetch(f"{server.url}/file.bin", target, len(BODY) if size_known else None, SHA256)
    assert target.read_bytes() == BODY
    assert left_in(target.parent) == ["file.bin"]
    assert [start for _, start in server.asked] == starts


@pytest.mark.parametrize("content", [BODY, b"mine"])
def test_a_file_that_is_there_is_not_asked_for_and_is_the_users_to_remove(server, target, content):
    part_of(target, content).rename(target)
    if content == BODY:
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    else:
        with pytest.raises(Unavailable, match=rf"{target} .*\b4 bytes"):
            fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert (target.read_bytes(), server.asked) == (content, [])


def test_a_connection_that_always_breaks_is_one_sentence_and_what_came_is_kept(server, target):
    server.breaks_after = [300_000] + [0] * 20
    with pytest.raises(Unavailable, match="300000 bytes"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert left_in(target.parent) == ["file.bin.part"]
    server.breaks_after = []
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked[-1] == ("/file.bin", 300_000)
    assert target.read_bytes() == BODY


def test_a_server_that_never_gets_on_or_says_nothing_is_left_alone(server, target, monkeypatch):
    server.ranges = False
    server.breaks_after = [300_000] * 20
    with pytest.raises(Unavailable, match="lost"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert len(server.asked) == 2
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05)
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(Unavailable, match="timed out"):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin", target)


@pytest.mark.parametrize(("file", "size", "digest", "message"), [
    ("other.bin", len(BODY), SHA256, f"sha256 .* {SHA256[:16]}"),
    ("file.bin", None, "00000000", " 00000000"),
    ("file.bin", len(BODY) - 1, SHA256, "1000000 bytes .* 999999"),
    ("gone", None, "", "/gone .* 404 Not Found: .*file.bin"),
])  # fmt: skip
def test_another_file_never_gets_the_name(server, target, file, size, digest, message):
    server.files["/other.bin"] = BODY[:-1] + b"x"
    with pytest.raises(Unavailable, match=message):
        fetch(f"{server.url}/{file}", target, size, digest)
    assert left_in(target.parent) == []


def test_without_a_network_the_sentence_says_what_to_do(target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.bin"
    with pytest.raises(Unavailable, match=rf"^127\.0\.0\.1 .*{target}"):
        fetch(url, target, len(BODY))
    with pytest.raises(Unavailable, match=r"or ask a friend$"):
        fetch(url, target, remedy="ask a friend")


def test_what_prevents_a_download_is_one_sentence(server, target, tmp_path, monkeypatch):
    with part_of(target, b"").open("ab") as part_file:
        fcntl.flock(part_file, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match=r"file\.bin\.part"):
            fetch(f"{server.url}/file.bin", target)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"file\.bin .*: Not a direc"):
        fetch(f"{server.url}/file.bin", tmp_path / "file" / "below" / "file.bin")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999_999))
    with pytest.raises(Unavailable, match=r"999999 .*1000000"):
        fetch(f"{server.url}/file.bin", target, len(BODY))
    assert server.asked == []


def test_progress_is_told_from_where_it_starts_to_the_end(server, target):
    reported: list[tuple[str, int, int | None]] = []
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, progress=lambda *event: reported.append(event))
    assert reported[0][1] > 400_000
    assert reported == sorted(reported)
    assert reported[-1] == ("file.bin", len(BODY), len(BODY))
