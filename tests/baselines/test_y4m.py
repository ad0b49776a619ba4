"""YUV4MPEG2 as programs write it, and as they should not."""

import numpy as np
import pytest

from baselines.formats.ffmpeg import read_y4m
from benchmark.errors import CorruptStream


def test_the_planes_of_a_picture_come_back():
    planes = np.arange(5 * 3 + 2 * 3 * 2, dtype=np.uint8).tobytes()
    picture = read_y4m(b"YUV4MPEG2 W5 H3 C420jpeg XCOLORRANGE=FULL\nFRAME\n" + planes)
    assert picture.planes.luma.shape == (3, 5)
    assert picture.planes.luma.tobytes() == planes[:15]
    assert (picture.depth, picture.full_range) == (8, True)


@pytest.mark.parametrize(
    "words", ["W5", "H3", "W5 H", "W5 Hthree", "W0 H3", "W5 H-3", "W5 H+3", f"W5 H{'9' * 5000}"]
)
def test_a_header_without_two_sides_is_refused(words):
    with pytest.raises(CorruptStream, match="does not hold a picture"):
        read_y4m(f"YUV4MPEG2 {words} C444\nFRAME\n".encode() + bytes(45))
