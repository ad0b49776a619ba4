"""Boxes of ISO base media files, read without the code under test."""

import struct


def boxes(data: bytes) -> dict[bytes, bytes]:
    """Box type to content, in one level of an ISO base media file; types have to be distinct."""
    result, start = {}, 0
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        assert kind not in result
        result[kind] = data[start + 8 : start + size]
        start += size
    assert start == len(data)
    return result
