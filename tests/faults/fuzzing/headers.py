"""Parsers that need no network: containers, maps, tiles, symbols, and formats of pictures."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from baselines.bpg import BPG
from baselines.compressai import container as zoo
from baselines.formats.ffmpeg import read_y4m
from baselines.jpeg import application_bytes
from baselines.neural.bitstream import container
from baselines.neural.bitstream.container import varint, whole_blocks, window
from baselines.neural.bitstream.control_grid import SingleControl
from baselines.neural.bitstream.level_map import decode_levels, encode_levels
from baselines.neural.crdr.coder import BETA_GRID, CRDRControlBlock, HeaderControls
from baselines.neural.entropy.coder import Decoder, Distributions, Encoder
from baselines.raw import Raw
from baselines.video import coded_picture
from benchmark.codec import Setting
from faults.fuzzing.target import Target, checked
from support.networks.tiny_checkpoint import noise

CHECKPOINT = bytes(range(4))
MOST_SYMBOLS = 64
TABLE = np.array([[0, 60_000, 65_000, 65_536, 0], [0, 10, 30_000, 65_000, 65_536]])
DISTRIBUTIONS = Distributions(TABLE, np.array([4, 5]), np.array([-1, 3]))
FREQUENCIES = np.array([[1, 2, (1 << 24) - 3], [1 << 23, 1 << 22, 1 << 22]])


def signed(data: bytes) -> bytes:
    """Correct the container's checksum."""
    return data[:-2] + container.checksum(data[:-2])


def crdr_header(folder: Path) -> Target:
    """The container with the controls of CRDR, and all that follows from its header."""
    return _container(CRDRControlBlock(), _crdr_controls())


def plain_header(folder: Path) -> Target:
    """The container of a network without controls: Charm, ELIC, HiFiC, PQ-MIM."""
    return _container(container.NoControls(), [None])


def single_header(folder: Path) -> Target:
    """The container of a network with one control: IVR, Multi-Realism."""
    return _container(SingleControl(BETA_GRID), [64])


def _crdr_controls() -> list[HeaderControls]:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    return [
        HeaderControls(32, 96),
        HeaderControls(levels, np.full((3, 4), 7, np.uint8)),
        HeaderControls(12, levels[::-1].copy()),
    ]


def _container(block: Any, controls: list[Any]) -> Target:
    def parse(data: bytes) -> int:
        stream = container.unpack(data, block)
        width, height, tiling = stream.width, stream.height, stream.tiling
        pieces = container.tiles(width, height, tiling)
        if sum(one.width * one.height for one in pieces) != width * height:
            raise AssertionError("tiles do not fill the image")
        for tile, _ in zip(pieces, stream.payloads, strict=True):
            seen = window(tile, tiling.margin if tiling else 0, width, height, 16)
            own = seen.own_rows.stop - seen.own_rows.start
            if own * 16 != whole_blocks(tile.height, 64) or seen.rows.start < 0:
                raise AssertionError("a window does not hold its tile")
        seen = window(pieces[-1], 0, width, height, 16)
        block.window(stream.controls, seen.rows, seen.columns, 16)
        return container.most_pixels(len(data)) // 2**40  # the picture itself is not decoded

    streams = [
        container.Stream(CHECKPOINT, 200, 150, one, payloads, tiling)
        for one in controls
        for payloads, tiling in (
            ((b"payload",), None),
            ((b"of one", b"of another", b"", b"1234567"), container.Tiling(128, 16)),
            (tuple(b"%d" % number for number in range(12)), container.Tiling(64, 48)),
        )
    ]
    return Target(parse, tuple(container.pack(one, block) for one in streams), signed)


def level_map(folder: Path) -> Target:
    """A map of levels: rows, columns, then its bytes."""

    def parse(data: bytes) -> int:
        rows, columns = (1 + number % 24 for number in data[:2].ljust(2, b"\0"))
        levels = decode_levels(data[2:], rows, columns)
        if levels.shape != (rows, columns) or levels.max() > 15:
            raise AssertionError("levels out of range")
        return 0

    chance = np.random.default_rng(1)
    maps = [
        np.full((3, 4), 7, np.uint8),
        np.arange(16, dtype=np.uint8).repeat(12).reshape(16, 12),
        chance.integers(0, 16, (5, 9), dtype=np.uint8),
        (chance.random((20, 20)) > 0.9).astype(np.uint8) * 15,
    ]
    return Target(parse, tuple(bytes([len(m) - 1, len(m[0]) - 1]) + encode_levels(m) for m in maps))


def symbols(folder: Path) -> Target:
    """The range decoder: numbers of symbols of each piece, then the coded bytes."""

    def parse(data: bytes) -> int:
        counts = [number % MOST_SYMBOLS for number in data[:2].ljust(2, b"\0")]
        decoder = Decoder(data[2:])
        taken = decoder.take(DISTRIBUTIONS, _rows(counts[0]))
        each = decoder.take_each(_frequencies(counts[1]))
        decoder.finish()
        if taken.shape != (counts[0],) or len(each) != counts[1]:
            raise AssertionError("another number of symbols than asked for")
        return 0

    chance, seeds = np.random.default_rng(2), []
    for first, second, spread in ((0, 1, 1), (5, 0, 3), (20, 9, 40), (40, 40, 30_000)):
        encoder = Encoder()
        values = chance.integers(-spread, spread, first)
        encoder.add(values, DISTRIBUTIONS, _rows(first))
        encoder.add_each(chance.integers(0, 3, second), _frequencies(second))
        seeds.append(bytes([first, second]) + encoder.finish())
    return Target(parse, tuple(seeds))


def _rows(count: int) -> Any:
    return np.arange(count) % len(TABLE)


def _frequencies(count: int) -> Any:
    return FREQUENCIES[np.arange(count) % len(FREQUENCIES)]


def zoo_header(folder: Path) -> Target:
    """The container of CompressAI's and MS-ILLM's networks, with one string and with two."""

    def parse(data: bytes) -> int:
        stream = zoo.unpack(data[1:], 1 + data[0] % 2 if data else 1)
        zoo.require_possible_size(stream, len(data))
        if zoo.padded_pixels(stream) > zoo.most_pixels(len(data)):
            raise AssertionError("more pixels than its bytes allow")
        return 0

    one = zoo.pack(zoo.ZooStream(3, 768, 512, (b"latent" * 40,)))
    two = zoo.pack(zoo.ZooStream(1, 70, 90, (b"latent", b"z")))
    return Target(parse, (b"\0" + one, b"\1" + two))


def raw(folder: Path) -> Target:
    """The streams of `raw`."""
    codec = Raw()

    def parse(data: bytes) -> int:
        pixels = codec.decode(data)
        return pixels.shape[0] * pixels.shape[1]

    seeds = tuple(codec.encode(noise(*size), Setting("bits", 8)) for size in ((3, 5), (1, 1)))
    return Target(parse, seeds, _raw_sized, most_pixels=1 << 10)


def _raw_sized(data: bytes) -> bytes:
    """Give the pixels a header of one row, which fits them if they are whole."""
    return struct.pack("<HH", (len(data) - 4) // 3 % 65536, 1) + data[4:]


def avif_boxes(folder: Path) -> Target:
    """The boxes of an AVIF file."""
    boxes = [(b"ftyp", b"avif"), (b"meta", b"\0" * 20), (b"mdat", b"picture")]
    file = b"".join(
        struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in boxes
    )
    return Target(checked(coded_picture), (file,))


def bpg_header(folder: Path) -> Target:
    """The header of a BPG file; its codec is made without the programs of libbpg."""
    parse = checked(BPG.__new__(BPG).container_bytes)
    numbers = varint(60)[::-1] + b"\x86\x00" + b"\x05"
    return Target(parse, (b"BPG\xfb\0\0" + numbers + b"12345",), longest=1 << 16)


def y4m(folder: Path) -> Target:
    """A picture of YUV4MPEG2, as programs write it."""

    def parse(data: bytes) -> int:
        picture = read_y4m(data)
        return picture.planes.luma.shape[0] * picture.planes.luma.shape[1]

    heads = (
        (b"YUV4MPEG2 W6 H4 F25:1 Ip C444 XCOLORRANGE=FULL\nFRAME\n", 72),
        (b"YUV4MPEG2 W5 H3 C420jpeg\nFRAME\n", 27),
        (b"YUV4MPEG2 W4 H2 C420p10\nFRAME\n", 24),
    )
    return Target(parse, tuple(head + bytes(size) for head, size in heads), most_pixels=1 << 12)


def jpeg_segments(folder: Path) -> Target:
    """The marker segments of a JPEG file, whose application bytes are counted."""

    def parse(data: bytes) -> int:
        found = application_bytes(data)
        if not 0 <= found <= len(data) + (1 << 16):
            raise AssertionError(f"{found} bytes of {len(data)} are an application's")
        return 0

    segments = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(9) + b"\xff\xdb\0\4ab\xff\xda\0\4cd"
    return Target(parse, (segments,))
