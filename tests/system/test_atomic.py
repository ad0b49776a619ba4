"""Files and folders that are replaced whole: no reader sees a part, no failure leaves a draft."""

import os
import stat
from unittest.mock import Mock

import pytest

from benchmark.system.atomic import replacing, write_file, write_together
from support.processes import in_a_process


def interrupted(path, folder=None):
    with replacing(folder or path) as draft:
        if folder:
            draft.mkdir()
        (draft / path.name if folder else draft).write_text("a")
        raise KeyboardInterrupt


def test_a_file_is_written_with_the_folders_above_it_and_replaced_at_the_end_of_a_block(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_file(path, "wörds", durable=True)
    assert path.read_bytes() == "wörds".encode()
    write_file(path, memoryview(b"later"))
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    with replacing(path) as draft:
        draft.write_text("second")
        assert path.read_bytes() == b"later"
    assert path.read_text() == "second"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path / "part", path)
    assert list(tmp_path.iterdir()) == []
    with replacing(path) as draft:
        draft.mkdir()
        (draft / "part").write_text("a")
        assert not path.exists()
    assert (path / "part").read_text() == "a"


def test_files_written_together_are_all_there_or_left_as_they_were(tmp_path, monkeypatch):
    files = {tmp_path / "a" / "b" / "1": b"first", tmp_path / "a" / "2": b"second"}
    write_together(files)
    assert {path: path.read_bytes() for path in files} == files
    later = dict.fromkeys(files, b"later")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        write_together(later)
    assert {path: path.read_bytes() for path in files} == files
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["1", "2"]


def test_a_folder_that_cannot_be_synchronised_is_passed_over(tmp_path, monkeypatch):
    synchronises = os.fsync

    def files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        synchronises(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_file(tmp_path / "new" / "file", b"content", durable=True)
    assert (tmp_path / "new" / "file").read_bytes() == b"content"


# A thread's stack no longer fits into the address space.
NO_THREADS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from benchmark.errors import memory_sentence
from benchmark.system.atomic import write_together

status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = 1024 * int(status["VmSize"].split()[0]) + (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
write_together({Path(sys.argv[1], name): name.encode() for name in "abc"})
try:
    ThreadPoolExecutor(1).submit(print)
except RuntimeError as error:
    print(memory_sentence(error).partition(":")[0])
"""


def test_files_are_synchronised_where_no_thread_can_be_started(tmp_path):
    assert "thread" in in_a_process(NO_THREADS, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {c: c for c in "abc"}
