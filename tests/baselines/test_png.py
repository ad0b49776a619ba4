"""PNG files of programs: what is larger than its picture can be is not read."""

import struct
import zlib

import numpy as np
import pytest

from baselines.formats.png import read_png, write_png
from benchmark.codec import most_stream_bytes
from benchmark.errors import ImageRefused


def with_chunk(png: bytes, size: int) -> bytes:
    """Put an ancillary chunk of `size` bytes behind the first one."""
    chunk = b"juNk" + bytes(size)
    framed = struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + framed + png[33:]


def test_a_png_comes_back_and_one_far_larger_than_its_picture_is_refused(tmp_path):
    path, pixels = tmp_path / "a.png", np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    write_png(path, pixels)
    assert np.array_equal(read_png(path), pixels)
    png, most = path.read_bytes(), most_stream_bytes(4, 5)
    path.write_bytes(with_chunk(png, most - len(png) - 12))
    assert path.stat().st_size == most
    assert np.array_equal(read_png(path), pixels)
    path.write_bytes(with_chunk(png, most - len(png) - 11))
    with pytest.raises(ImageRefused, match=rf"^has {most + 1:,} bytes, too many for 5 x 4 pixels$"):
        read_png(path)
