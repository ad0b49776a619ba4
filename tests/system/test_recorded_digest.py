"""The sha256 recorded beside a fetched file: written, compared."""

import hashlib

import pytest

from benchmark.errors import Unavailable
from benchmark.system.digest import record_sha256, recorded_sha256, require_recorded

SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.ckpt"
    path.write_bytes(b"weights")
    return path


def test_a_file_without_a_record_is_taken_and_one_on_record_compared(file):
    assert recorded_sha256(file) == ""
    require_recorded(file, "")
    record_sha256(file)
    require_recorded(file, "")
    file.write_bytes(b"weighty")
    reported = (
        rf"net\.ckpt is not the file that was fetched: .* net\.ckpt\.sha256 has {SHA256[:8]}; do"
    )
    with pytest.raises(Unavailable, match=reported):
        require_recorded(file, "do this")


@pytest.mark.parametrize("text", ["", "abc  net.ckpt\n", "\xff" * 64, SHA256 + "0"])
def test_a_record_without_a_digest_is_named(text, file):
    file.with_name("net.ckpt.sha256").write_text(text)
    with pytest.raises(Unavailable, match=r"net\.ckpt\.sha256 holds no sha256: delete it"):
        recorded_sha256(file)
