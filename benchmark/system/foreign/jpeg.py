"""Check that a JPEG that was decoded holds data for all of its blocks."""

import re
from io import BytesIO

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

ANY_BLOCKS = 128 * b"\xaa"  # decoded as some blocks, wherever they begin
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # frames, whose decoder may read beyond the data
RESTART_INTERVAL, START_OF_SCAN, END_OF_IMAGE = 0xDD, 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def lacks_blocks(data: bytes, image: JpegImageFile) -> bool:
    """Return whether the compressed data of a JPEG end before its last block.

    data: the file. image: as Pillow has loaded it, which leaves blocks that are not there grey and
    says nothing. The file is decoded again with more data before its end: a decoder that lacks
    blocks takes these for them, and one that has all passes over them. Of JPEGs with arithmetic
    coding nothing can be said in this way: False.
    """
    end = _end_of_scans(data)
    if end is None:
        return False
    place, filler = end
    filled = JpegImageFile(BytesIO(data[:place] + filler + data[place:]))
    return not np.array_equal(np.asarray(filled), np.asarray(image))


def _end_of_scans(data: bytes) -> tuple[int, bytes] | None:
    """Return the position of the end marker, and what would be more data of the last scan.

    None without an end marker, or with arithmetic coding.
    """
    at, restarts, last = 2, False, -1
    while data[at : at + 1] == b"\xff" and at + 1 < len(data):
        marker = data[at + 1]
        if marker == END_OF_IMAGE:
            return at, _more(last) if restarts else ANY_BLOCKS
        if marker in ARITHMETIC:
            return None
        if marker == 0xFF:  # a byte that fills up
            at += 1
            continue
        begin = at + 4
        at += 2 if marker in ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == RESTART_INTERVAL:
            restarts = any(data[begin:at])
        if marker == START_OF_SCAN:
            found = BEHIND_SCAN.search(data, at)
            end = found.start() if found else len(data)
            markers = [one[0][1] - 0xD0 for one in RESTART.finditer(data, at, end)]
            at, last = end, markers[-1] if markers else -1
    return None


def _more(restart: int) -> bytes:
    """Return data with a restart marker after each part, the first one behind that of a number."""
    markers = (bytes([0xFF, 0xD0 + (restart + step) % 8]) for step in range(1, 9))
    return ANY_BLOCKS + b"".join(marker + ANY_BLOCKS for marker in markers)
