"""Boxes of the ISO base media file format (ISO/IEC 14496-12), in which AVIF files are laid out."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmark.errors import CorruptStream

HEADER_BYTES = 8  # size and type; boxes of 4 GiB and more, whose header is longer, are refused


class Box(NamedTuple):
    """Type of a box and its content."""

    kind: bytes  # b"mdat"
    content: bytes


def read_boxes(data: bytes) -> Iterator[Box]:
    """Yield the boxes that fill `data` exactly; `CorruptStream` where they do not."""
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4])
        kind = data[start + 4 : start + HEADER_BYTES]
        if size < HEADER_BYTES or start + size > len(data):
            raise CorruptStream("the file is damaged or truncated: its boxes do not fill it")
        yield Box(kind, data[start + HEADER_BYTES : start + size])
        start += size


def coded_picture(file: bytes) -> bytes:
    """Return the content of the file's one `mdat` box; `CorruptStream` without exactly one."""
    pictures = [box.content for box in read_boxes(file) if box.kind == b"mdat"]
    if len(pictures) != 1:
        raise CorruptStream(f"the file has {len(pictures)} mdat boxes where a picture has one")
    return pictures[0]
