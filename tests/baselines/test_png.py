"""PNG files of programs: a file that is too large for its picture is not read."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from baselines.formats.external import read_png, write_png
from benchmark.codec import max_stream_bytes
from benchmark.errors import ImageRefused
from support.files.image_files import png


def add_chunk(png: bytes, size: int) -> bytes:
    """Put an ancillary chunk of `size` bytes after the first one."""
    chunk = b"juNk" + bytes(size)
    framed = struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + framed + png[33:]


def test_a_png_comes_back_and_one_far_larger_than_its_picture_is_refused(tmp_path):
    path, pixels = tmp_path / "a.png", np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    write_png(path, pixels)
    assert np.array_equal(read_png(path), pixels)
    png, max_bytes = path.read_bytes(), max_stream_bytes(4, 5)
    path.write_bytes(add_chunk(png, max_bytes - len(png) - 12))
    assert path.stat().st_size == max_bytes
    assert np.array_equal(read_png(path), pixels)
    path.write_bytes(add_chunk(png, max_bytes - len(png) - 11))
    with pytest.raises(ImageRefused, match=rf"{max_bytes + 1:,} bytes.* 5 x 4 "):
        read_png(path)


def header(width: int, height: int) -> bytes:
    """Return a PNG that announces 8-bit RGB of a size, and has 100 zeros as its picture."""
    return png(width, height, 8, 2, bytes(100))


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF, "4294967295 x 4294967295 pixels.* 178956970"),
        (14000, 14000, "14000 x 14000 pixels.* 178956970"),
        (13000, 13000, "69 bytes.* 13000 x 13000 pixels"),
    ],
)
def test_a_small_png_of_many_pixels_is_refused_before_memory_is_taken(
    width, height, reason, tmp_path
):
    path = tmp_path / "a.png"
    path.write_bytes(header(width, height))
    tracemalloc.start()
    with pytest.raises(ImageRefused, match=reason):
        read_png(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_flat_picture_that_compresses_as_well_as_can_be_is_read(tmp_path):
    flat = np.zeros((3000, 2000, 3), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.png", compress_level=9)
    assert (tmp_path / "a.png").stat().st_size < flat.size / 900
    assert np.array_equal(read_png(tmp_path / "a.png"), flat)


@pytest.mark.parametrize("size", [0, 1, 28])
def test_a_png_that_ends_within_its_header_is_refused(size, tmp_path):
    (tmp_path / "a.png").write_bytes(header(5, 4)[:size])
    with pytest.raises(ImageRefused, match=r"PNG: .*header"):
        read_png(tmp_path / "a.png")
