"""Parsers that need no network: containers, maps, tiles, symbols, and formats of pictures."""

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from baselines.bpg import BPG
from baselines.compressai import codec as zoo
from baselines.formats.ffmpeg import read_y4m
from baselines.jpeg import JPEG
from baselines.neural.bitstream import container
from baselines.neural.bitstream.container import whole_blocks, window
from baselines.neural.bitstream.control_grid import SingleControl, decode_levels
from baselines.neural.crdr.model import BETA_GRID, CRDRControlBlock
from baselines.neural.entropy.coder import Distributions, SymbolDecoder
from baselines.raster import Raw
from baselines.video import coded_picture
from faults.fuzzing.target import Target, without_pixels

MAX_SYMBOLS = 64
TABLE = np.array([[0, 60_000, 65_000, 65_536, 0], [0, 10, 30_000, 65_000, 65_536]])
DISTRIBUTIONS = Distributions(TABLE, np.array([4, 5]), np.array([-1, 3]))
FREQUENCIES = np.array([[1, 2, (1 << 24) - 3], [1 << 23, 1 << 22, 1 << 22]])


def sign(data: bytes) -> bytes:
    return data[:-2] + container.checksum(data[:-2])


def _header(folder: Path, make_block: Callable[[], Any]) -> Target:
    """The container of a network with such controls, and all that follows from its header."""
    block = make_block()

    def parse(data: bytes) -> int:
        stream = container.unpack(data, block)
        width, height, tiling = stream.width, stream.height, stream.tiling
        pieces = container.tiles(width, height, tiling)
        if sum(piece.width * piece.height for piece in pieces) != width * height:
            raise AssertionError("tiles do not fill the image")
        for tile, _ in zip(pieces, stream.payloads, strict=True):
            view = window(tile, tiling.margin if tiling else 0, width, height, 16)
            row_count = view.tile_rows.stop - view.tile_rows.start
            if row_count * 16 != whole_blocks(tile.height, 64) or view.rows.start < 0:
                raise AssertionError("a window does not hold its tile")
        view = window(pieces[-1], 0, width, height, 16)
        block.window(stream.controls, view.rows, view.columns, 16)
        return container.max_pixels(len(data)) // 2**40  # the picture itself is not decoded

    return Target(parse, sign)


crdr_header = partial(_header, make_block=CRDRControlBlock)
plain_header = partial(_header, make_block=container.ControlBlock)  # Charm, ELIC, HiFiC, PQ-MIM
single_header = partial(_header, make_block=partial(SingleControl, BETA_GRID))  # IVR, Multi-Realism


def level_map(folder: Path) -> Target:
    """A map of levels: rows, columns, then its bytes."""

    def parse(data: bytes) -> int:
        rows, columns = (1 + number % 24 for number in data[:2].ljust(2, b"\0"))
        levels = decode_levels(data[2:], rows, columns)
        if levels.shape != (rows, columns) or levels.max() > 15:
            raise AssertionError("levels out of range")
        return 0

    return Target(parse)


def symbols(folder: Path) -> Target:
    """The range decoder: numbers of symbols of each piece, then the coded bytes."""

    def parse(data: bytes) -> int:
        counts = [number % MAX_SYMBOLS for number in data[:2].ljust(2, b"\0")]
        decoder = SymbolDecoder(data[2:])
        symbol_array = decoder.take(DISTRIBUTIONS, np.arange(counts[0]) % len(TABLE))
        places = np.arange(counts[1]) % len(FREQUENCIES)
        symbol_list = decoder.take_each(FREQUENCIES[places])
        decoder.finish()
        if symbol_array.shape != (counts[0],) or len(symbol_list) != counts[1]:
            raise AssertionError("another number of symbols than asked for")
        return 0

    return Target(parse)


def zoo_header(folder: Path) -> Target:
    """The container of CompressAI's networks, with one string and with two."""
    return Target(without_pixels(lambda data: zoo.unpack(data[1:], 1 + sum(data[:1]) % 2)))


def raw(folder: Path) -> Target:
    codec = Raw()
    return Target(lambda data: codec.decode(data)[..., 0].size, _set_raw_size, max_pixels=1 << 10)


def _set_raw_size(data: bytes) -> bytes:
    """Give the pixels a header of one row, which fits them if they are whole."""
    return struct.pack("<HH", (len(data) - 4) // 3 % 65536, 1) + data[4:]


def avif_boxes(folder: Path) -> Target:
    return Target(without_pixels(coded_picture))


def bpg_header(folder: Path) -> Target:
    """The header of a BPG file; its codec is made without the programs of libbpg."""
    return Target(without_pixels(BPG.__new__(BPG).container_bytes), max_input_bytes=1 << 16)


def y4m(folder: Path) -> Target:
    return Target(lambda data: read_y4m(data).planes.luma.size, max_pixels=1 << 12)


def jpeg_segments(folder: Path) -> Target:
    """The marker segments of a JPEG file, whose application bytes are counted."""

    def parse(data: bytes) -> int:
        result = JPEG().container_bytes(data)
        if not 0 <= result <= len(data) + (1 << 16):
            raise AssertionError(f"{result} bytes of {len(data)} are an application's")
        return 0

    return Target(parse)
