"""Pictures of strangers: cut off, of very many pixels or scans, no picture at all."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from baselines.formats.external import read_png
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import ImageRefused
from faults.fuzzing.files import png_summed
from support.files import image_files
from support.files.hostile_files import png
from support.networks.tiny_checkpoint import noise


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("row_count", [0, 10, 19])
def test_a_png_without_its_last_rows_is_refused(tmp_path, mode, row_count):
    path = tmp_path / "a.png"
    path.write_bytes(png(20, mode=mode))
    assert read_image(path).pixels.shape == (20, 16, 3)
    path.write_bytes(png(row_count, mode=mode))
    with pytest.raises(ImageRefused, match=r"rows|truncated"):
        read_image(path)
    with pytest.raises(ImageRefused, match="PNG"):
        read_png(path)


def jpeg(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("restart", [0, 1, 5])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_jpeg_without_its_last_blocks_is_refused(tmp_path, share, progressive, restart):
    """Cut within its last scan, and ended by the marker that decoders wait for."""
    jpeg_bytes = jpeg(noise(70, 90), progressive=progressive, restart_marker_blocks=restart)
    begin = jpeg_bytes.rindex(b"\xff\xda") + 14
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes)
    assert read_image(path).pixels.shape == (70, 90, 3)
    data = jpeg_bytes[: begin + int(share * (len(jpeg_bytes) - begin))].rstrip(b"\xff")
    path.write_bytes(data + b"\xff\xd9")
    with pytest.raises(ImageRefused, match=r"blocks|truncated"):
        read_image(path)


@pytest.mark.parametrize("picture", ["noise", "flat", "grey", "smallest", "photograph"])
def test_a_whole_jpeg_of_any_kind_is_read_as_pillow_reads_it(tmp_path, picture):
    pixels = {
        "noise": noise(70, 90), "flat": np.full((64, 100, 3), 128, np.uint8),
        "grey": noise(33, 41)[..., 0], "smallest": np.zeros((1, 1, 3), np.uint8),
        "photograph": read_image(dict(open_sample().images)["coffee.png"]).pixels[:200, :300],
    }[picture]  # fmt: skip
    path = tmp_path / "a.jpg"
    kinds = itertools.product((1, 75, 95), (False, True), (0, 2), (0, 1, 5))
    for quality, progressive, subsampling, restart in kinds:
        data = jpeg(
            pixels, quality=quality, progressive=progressive, subsampling=subsampling,
            restart_marker_blocks=restart,
        )  # fmt: skip
        path.write_bytes(data + b"what stands behind the end")
        expected = Image.open(io.BytesIO(data)).convert("RGB")
        assert np.array_equal(read_image(path).pixels, np.asarray(expected))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 9), (3, 8)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_whole_black_picture_is_read(tmp_path, size, mode):
    path = tmp_path / "a.png"
    Image.new(mode, size).save(path)
    assert not read_png(path).any()
    assert read_image(path).pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 9), (3, 8)])
def test_a_black_interlaced_picture_is_read_where_all_of_it_is_there(tmp_path, size):
    """The order of PNG's seven passes, written out (PNG, 8.2)."""
    order = ["16462646", "77777777", "56565656", "77777777"] * 2
    order[4] = "36463646"
    bytes_there = 0
    for number in "1234567":
        rows = [sum(order[y % 8][x % 8] == number for x in range(size[0])) for y in range(size[1])]
        bytes_there += sum(1 + in_row for in_row in rows if in_row)

    def interlaced(length):
        file_bytes = bytearray(image_files.png(*size, 8, 0, bytes(length)))
        file_bytes[28] = 1  # the header says that it is interlaced
        return png_summed(bytes(file_bytes))

    path = tmp_path / "a.png"
    path.write_bytes(interlaced(bytes_there))
    assert not read_png(path).any()
    path.write_bytes(interlaced(bytes_there - 1))
    with pytest.raises(ImageRefused):
        read_png(path)
