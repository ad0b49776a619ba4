"""The sha256 recorded beside a fetched file."""

import hashlib

import pytest

from benchmark.errors import Unavailable
from benchmark.system.digest import record_sha256, recorded_sha256

SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.ckpt"
    path.write_bytes(b"weights")
    return path


def test_a_file_has_the_digest_that_was_recorded(file):
    assert recorded_sha256(file) == ""
    assert record_sha256(file) == SHA256
    file.write_bytes(b"weighty")
    assert recorded_sha256(file) == SHA256


@pytest.mark.parametrize("text", ["", "abc  net.ckpt\n", "\xff" * 64, SHA256 + "0"])
def test_a_record_without_a_digest_is_named(text, file):
    file.with_name("net.ckpt.sha256").write_text(text)
    with pytest.raises(Unavailable, match=r"net\.ckpt\.sha256 holds no sha256: delete it"):
        recorded_sha256(file)
