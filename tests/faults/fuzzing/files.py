"""Readers of files that others send: packs, lists of sizes, cards, photographs."""

import io
import zlib
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from baselines.folder import Folder
from baselines.formats.external import read_png
from baselines.neural.card import load_card
from benchmark.codec import Setting
from benchmark.datasets import image
from benchmark.errors import BadPack, BenchError, ImageRefused
from benchmark.rows.packs.pack import ROWS, open_pack
from benchmark.system.foreign_files import BLOCK_BYTES, MAX_DEFLATE_RATIO, BadTar, files_of_tar
from faults.fuzzing.target import Target

SUM_AT, SUM_BYTES = 148, 8  # of a tar's header
SMALL_PIXELS = 1 << 16  # a photograph of few bytes may have; 2^24 would take a second each
MAX_PICTURE_BYTES = 2048


def tar(folder: Path) -> Target:
    def parse(data: bytes) -> int:
        with io.BufferedReader(io.BytesIO(data)) as file:
            for member in files_of_tar(file, lambda *reasons: None):
                if member.offset_data + member.size > len(data) or not member.offset_data:
                    raise AssertionError("a file reaches beyond the tar")
        return 0

    return Target(parse, _correct_checksums, (BadTar,), max_input_bytes=1 << 13)


def _correct_checksums(data: bytes) -> bytes:
    """Correct the checksum of each block, as if each were a header."""
    blocks = []
    for start in range(0, len(data), BLOCK_BYTES):
        block = bytearray(data[start : start + BLOCK_BYTES])
        if len(block) == BLOCK_BYTES and any(block):
            block[SUM_AT : SUM_AT + SUM_BYTES] = b" " * SUM_BYTES
            block[SUM_AT : SUM_AT + SUM_BYTES] = b"%06o\0 " % sum(block)
        blocks.append(bytes(block))
    return b"".join(blocks)


def pack(folder: Path) -> Target:
    place = folder / "pack"
    place.mkdir(exist_ok=True)

    def parse(data: bytes) -> int:
        (place / ROWS).write_bytes(data)
        open_pack(place)
        return 0

    return Target(parse, refusals=(BadPack,), max_input_bytes=1 << 13)


def sizes(folder: Path) -> Target:
    """The list of sizes of the codec `folder`, and its pictures."""
    place = folder / "sizes"
    place.mkdir(exist_ok=True)

    def parse(data: bytes) -> int:
        (place / "sizes.csv").write_bytes(data)
        codec = Folder(path=str(place))
        for setting in codec.sweep:
            with suppress(ImageRefused):
                codec.declared("a.png", Setting("setting", setting.value))
        return 0

    return Target(parse, refusals=(BenchError,))


def card(folder: Path) -> Target:
    place = folder / "network.safetensors"

    def parse(data: bytes) -> int:
        place.with_suffix(".json").write_bytes(data)
        load_card(place)
        return 0

    return Target(parse, refusals=(BenchError,), max_input_bytes=1 << 13)


def photograph(folder: Path) -> Target:
    """A photograph of any of the formats that are read."""

    def parse(data: bytes) -> int:
        with patch.object(image, "SMALL_PIXELS", SMALL_PIXELS):
            height, width, channels = image.decode_image("a.png", data).pixels.shape
        if channels != 3:
            raise AssertionError(f"{channels} channels")
        return height * width

    max_pixels = max(image.MAX_PIXELS_PER_BYTE * MAX_PICTURE_BYTES, SMALL_PIXELS)
    return Target(parse, png_summed, (ImageRefused,), max_pixels, 512 << 20, MAX_PICTURE_BYTES)


tiff = photograph


def decoded_png(folder: Path) -> Target:
    """A PNG that a decoder wrote, read by what runs such programs."""
    place = folder / "decoded.png"

    def parse(data: bytes) -> int:
        place.write_bytes(data)
        height, width, _ = read_png(place).shape
        return height * width

    max_pixels = 8 * MAX_DEFLATE_RATIO * MAX_PICTURE_BYTES  # of one bit each
    return Target(parse, png_summed, (ImageRefused,), max_pixels, 256 << 20, MAX_PICTURE_BYTES)


def png_summed(data: bytes) -> bytes:
    """Correct the checksums of a PNG's chunks as far as they can be followed."""
    file_bytes, start = bytearray(data), 8
    while file_bytes[:4] == b"\x89PNG" and start + 12 <= len(file_bytes):
        end = start + 8 + int.from_bytes(file_bytes[start : start + 4])
        if end + 4 > len(file_bytes):
            break
        file_bytes[end : end + 4] = zlib.crc32(file_bytes[start + 4 : end]).to_bytes(4)
        start = end + 4
    return bytes(file_bytes)
