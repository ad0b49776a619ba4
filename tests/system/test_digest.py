"""Hashes, and the memory that spares computing them again."""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import Unavailable
from benchmark.system import digest
from benchmark.system.digest import FileMemory, cache_folder, cached_value, file_sha256


def test_pixels_are_hashed_row_by_row_whatever_their_layout(photo):
    expected = hashlib.sha256(photo.tobytes()).hexdigest()
    assert digest.pixels_sha256(np.asfortranarray(photo)) == expected
    assert digest.pixels_sha256(photo[::-1]) != expected


@pytest.mark.parametrize("damage", ["[1, ", "[" * 200_000, ""])
def test_a_file_is_looked_at_once_unless_the_memory_cannot_be_read(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert [cached_value(path, "look", lambda n=n: [n, "a"]) for n in (1, 2)] == [[1, "a"]] * 2
    with closing(sqlite3.connect(cache_folder() / "digests.sqlite")) as database, database:
        database.execute("update digest set value = ?", (damage,))
    assert [cached_value(path, "look", lambda n=n: n) for n in (2, 3)] == [2, 2]


def test_names_that_are_no_text_and_a_memory_out_of_reach_do_no_harm(tmp_path, monkeypatch):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.png"))
    path.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert file_sha256(path) == file_sha256(path) == expected
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "rdrbench"
    assert file_sha256(path) == expected


def test_the_fingerprint_of_several_files_depends_on_each_and_on_their_order(tmp_path):
    first_file, second_file = tmp_path / "1", tmp_path / "2"
    first_file.write_bytes(b"1")
    second_file.write_bytes(b"2")
    orders = [first_file, second_file], [second_file, first_file], [first_file]
    assert len({digest.files_sha256(files) for files in orders}) == 3


def test_a_copy_with_the_size_and_the_time_of_the_file_it_replaces_is_looked_at(tmp_path):
    path, second_file = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"abc")
    first, stat_before = file_sha256(path), path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(stat_before.st_atime_ns, stat_before.st_mtime_ns))
    assert file_sha256(path) == hashlib.sha256(b"abd").hexdigest() != first
    second_file.write_bytes(b"abe")
    os.utime(second_file, ns=(stat_before.st_atime_ns, stat_before.st_mtime_ns))
    os.replace(second_file, path)
    assert file_sha256(path) == hashlib.sha256(b"abe").hexdigest()


def test_what_changes_while_it_is_looked_at_is_looked_at_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    def look():
        result = path.read_text()
        path.write_bytes(b"later")
        return result

    assert cached_value(path, "look", look) == "abc"
    path.write_bytes(b"abc")
    assert cached_value(path, "look", path.read_text) == "abc"
    path.write_bytes(b"later")
    assert cached_value(path, "look", path.read_text) == "later"


def test_what_several_files_gave_is_written_together_and_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "WRITE_BATCH", 2)
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        path.write_text(path.name)
    with FileMemory() as memory:
        for path in paths:
            assert memory.value(path, "look", path.read_text) == path.name
        with closing(sqlite3.connect(cache_folder() / "digests.sqlite")) as file:
            assert file.execute("select count(*) from digest").fetchone() == (2,)
    assert [cached_value(path, "look", lambda: "new") for path in paths] == ["0", "1", "2"]


@pytest.mark.parametrize("damage", ["", "abc  net.ckpt\n", "\xff" * 64, "0" * 65])
def test_a_file_has_the_digest_that_was_recorded_and_a_damaged_record_is_named(tmp_path, damage):
    file = tmp_path / "net.ckpt"
    file.write_bytes(b"weights")
    assert digest.recorded_sha256(file) == ""
    expected = hashlib.sha256(b"weights").hexdigest()
    assert digest.record_sha256(file) == expected
    file.write_bytes(b"weighty")
    assert digest.recorded_sha256(file) == expected
    file.with_name("net.ckpt.sha256").write_text(damage)
    with pytest.raises(Unavailable, match=r"net\.ckpt\.sha256 .*: delete"):
        digest.recorded_sha256(file)
