"""Downloads against a real server that ranges, ignores ranges, breaks off, lies or is not there."""

import errno
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
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def part_of(target: Path, data: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(data)
    return part


def test_a_file_arrives_whole_under_its_name_and_nothing_else_is_left(server, target):
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY
    assert left_in(target.parent) == ["file.bin"]


def test_a_file_of_which_nothing_is_known_arrives_too(server, target):
    server.says_length = False
    fetch(f"{server.url}/file.bin", target)
    assert target.read_bytes() == BODY


def test_a_file_that_is_there_and_right_is_not_asked_for(server, target):
    part_of(target, b"").rename(target)
    target.write_bytes(BODY)
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == []


def test_a_file_that_is_there_and_wrong_is_the_users_to_remove(server, target):
    part_of(target, b"mine").rename(target)
    with pytest.raises(Unavailable, match=rf"{target} has 4 bytes instead of 1000000: remove it"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == b"mine"


def test_a_download_resumes_where_it_stopped(server, target):
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", 400_000)]
    assert target.read_bytes() == BODY


def test_a_server_without_ranges_starts_over(server, target):
    server.ranges = False
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY


def test_a_server_that_sends_another_range_is_asked_for_everything(server, target):
    server.wrong_start = 7
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", 400_000), ("/file.bin", 0)]
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_part_that_is_the_whole_file_is_recognised(ranges, known, server, target):
    server.ranges = ranges
    part_of(target, BODY)
    fetch(f"{server.url}/file.bin", target, len(BODY) if known else None, SHA256)
    assert target.read_bytes() == BODY
    assert len(server.asked) == (0 if known else 1)


@pytest.mark.parametrize("left_over", [b"x" * 400_000, b"x" * len(BODY), b"x" * 1_000_001])
@pytest.mark.parametrize("known", [True, False])
def test_what_was_left_of_another_file_is_thrown_away(left_over, known, server, target):
    part_of(target, left_over)
    fetch(f"{server.url}/file.bin", target, len(BODY) if known else None, SHA256)
    assert target.read_bytes() == BODY


def test_a_broken_connection_is_taken_up_again(server, target):
    server.breaks_after = [300_000, 300_000, 300_000]
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked == [("/file.bin", start) for start in (0, 300_000, 600_000, 900_000)]
    assert target.read_bytes() == BODY


def test_a_connection_that_breaks_where_no_length_is_told_is_noticed(server, target):
    server.says_length = False
    server.breaks_after = [300_000]
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert target.read_bytes() == BODY


def test_a_connection_that_always_breaks_is_one_sentence_and_what_came_is_kept(server, target):
    server.breaks_after = [300_000] + [0] * 20
    with pytest.raises(Unavailable, match=r"after 300000 bytes, which are kept .*: fetch again"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert left_in(target.parent) == ["file.bin.part"]
    server.breaks_after = []
    fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert server.asked[-1] == ("/file.bin", 300_000)
    assert target.read_bytes() == BODY


def test_a_server_that_never_gets_on_is_left_alone(server, target):
    server.ranges = False
    server.breaks_after = [300_000] * 20
    with pytest.raises(Unavailable, match="broke off"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert len(server.asked) == 2


def test_other_bytes_of_the_right_size_never_get_the_name(server, target):
    server.files["/file.bin"] = BODY[:-1] + b"x"
    with pytest.raises(Unavailable, match=rf"has sha256 .* instead of {SHA256[:16]}"):
        fetch(f"{server.url}/file.bin", target, len(BODY), SHA256)
    assert left_in(target.parent) == []


def test_the_beginning_of_a_hash_is_enough_to_refuse(server, target):
    fetch(f"{server.url}/file.bin", target, digest=SHA256[:8])
    target.unlink()
    with pytest.raises(Unavailable, match="instead of 00000000"):
        fetch(f"{server.url}/file.bin", target, digest="00000000")


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server, target):
    with pytest.raises(Unavailable, match="now has 1000000 bytes instead of 999999"):
        fetch(f"{server.url}/file.bin", target, len(BODY) - 1, SHA256)
    assert left_in(target.parent) == []


def test_an_address_that_is_gone_is_one_sentence(server, target):
    with pytest.raises(Unavailable, match=rf"/gone answers 404 Not Found: put .* {target}"):
        fetch(f"{server.url}/gone", target)
    assert left_in(target.parent) == []


def test_without_a_network_the_sentence_says_what_to_do(target):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.bin"
    with pytest.raises(Unavailable, match=rf"^127\.0\.0\.1 cannot .*refused.* put .* {target}"):
        fetch(url, target, len(BODY))
    with pytest.raises(Unavailable, match=r"or ask a friend$"):
        fetch(url, target, remedy="ask a friend")


def test_a_server_that_says_nothing_runs_into_the_timeout(target, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable) as refusal:
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin", target)
    assert "timed out" in str(refusal.value)


def test_two_downloads_of_one_file_do_not_mix(server, target):
    with part_of(target, b"").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process"):
            fetch(f"{server.url}/file.bin", target)


def test_a_folder_that_cannot_be_written_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"file/below/file\.bin cannot be written: Not a direc"):
        fetch(f"{server.url}/file.bin", tmp_path / "file" / "below" / "file.bin")


def test_too_little_space_is_noticed_before_anything_is_asked_for(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999_999))
    with pytest.raises(Unavailable, match="room for 999999 bytes, and 1000000 are needed"):
        fetch(f"{server.url}/file.bin", target, len(BODY))
    assert server.asked == []


def test_a_disk_that_fills_up_is_one_sentence(server, target, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", fail)
    with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
        fetch(f"{server.url}/file.bin", target)


def test_progress_is_told_from_where_it_starts_to_the_end(server, target):
    told: list[tuple[str, int, int | None]] = []
    part_of(target, BODY[:400_000])
    fetch(f"{server.url}/file.bin", target, progress=lambda *now: told.append(now))
    assert told[0][1] > 400_000
    assert told == sorted(told)
    assert told[-1] == ("file.bin", len(BODY), len(BODY))
