import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.compressai.codec import (
    MAX_PIXELS,
    ZooStream,
    max_pixels,
    pack,
    pad_blank_stream,
    unpack,
)
from benchmark.errors import CorruptStream

SIDES = st.integers(1, 8192)
STREAM = ZooStream(3, 768, 512, (b"latent" * 40, b"", b"z"))


@given(st.integers(0, 255), SIDES, SIDES, st.lists(st.binary(max_size=300), max_size=3))
def test_what_is_packed_is_unpacked(quality, width, height, strings):
    stream = ZooStream(quality, width, height, tuple(strings))
    assert unpack(pack(stream), len(strings)) == stream


def test_a_photograph_pays_eight_bytes_of_header_and_one_more_for_each_longer_length():
    lengths = 3 + 1  # 20000 needs 15 bits, 127 needs 7
    stream = ZooStream(8, 768, 512, (bytes(20000), bytes(127)))
    assert len(pack(stream)) == 1 + 2 + 2 + lengths + 20000 + 127


def test_truncation_and_additional_bytes_are_detected():
    stream = pack(STREAM)
    for length in range(len(stream)):
        with pytest.raises(CorruptStream):
            unpack(stream[:length], 3)
    with pytest.raises(CorruptStream, match=r"bytes are left|after its last"):
        unpack(pack(STREAM) + b"\0", 3)
    stream = bytearray(pack(ZooStream(1, 1, 1, (b"abc", b"d"))))
    stream[3] += 1  # the first string now reaches into the second
    with pytest.raises(CorruptStream, match=r"bytes are left|after its last"):
        unpack(bytes(stream), 2)


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS + 1, 1), (1 << 34, 1 << 34), (0, 5)])
def test_an_impossible_image_is_refused_before_memory_is_taken(width, height):
    with pytest.raises(CorruptStream, match=f"{width} x {height}"):
        unpack(pack(ZooStream(1, width, height, (b"y",))), 1)


@pytest.mark.parametrize("strings", [(b"",), (b"abc", b""), (b"y" * 1000, b"z")])
@pytest.mark.parametrize("size", [(1, 1), (512, 512), (513, 512), (9000, 1), (8192, 8192)])
def test_a_stream_is_made_long_enough_for_its_picture_and_no_longer(strings, size):
    stream = ZooStream(1, *size, strings)
    longer = pad_blank_stream(stream)
    data = pack(longer)
    pixels = (-(-size[0] // 64) * 64) * (-(-size[1] // 64) * 64)  # as the networks see them
    assert pixels <= max_pixels(len(data))
    padding_bytes = sum(map(len, longer.strings)) - sum(map(len, strings))
    assert padding_bytes == 0 or pixels > max_pixels(sum(map(len, longer.strings)) - 1)
    assert pack(longer._replace(strings=strings)) == pack(stream)
    assert padding_bytes == 0 or longer.strings[-1].rstrip(b"\0") == strings[-1].rstrip(b"\0")
