"""The stream of one image: what its header says and its entropy-coded payloads <-> bytes.

::

    magic          2 bytes, 43 d2
    version, flags 1 byte: version << 4 | tiles << 2 | map of beta << 1 | map of q
    checkpoint     4 bytes, the first of the sha256 of its tensors' file
    width, height  a varint each, in pixels
    q              1 byte, in 1/16; or a map: a varint, so many bytes of levels
    beta           1 byte, in 4/100; or a map
    tiles          2 bytes, only with the flag: step in 64 pixels, margin in 16 pixels
    lengths        a varint for each tile's payload but the last, in bytes
    payloads       one a tile, row by row
    checksum       2 bytes, CRC-16 of all the others

15 bytes for a photograph without maps and tiles. `docs/bitstream.md` has every detail.
"""

from binascii import crc_hqx
from typing import NamedTuple

from baselines.formats.varint import varint
from baselines.neural.bitstream.level_map import (
    BLOCK,
    Levels,
    decode_levels,
    encode_levels,
    map_shape,
)
from benchmark.errors import CorruptStream

MAGIC = b"C\xd2"
VERSION = 1
FLAGS_Q_MAP, FLAGS_BETA_MAP, FLAGS_TILES, FLAGS_KNOWN = 1, 2, 4, 7
CHECKPOINT_BYTES = 4
CHECKSUM_BYTES = 2
VARINT_BYTES = 5
MAX_SIDE = 1 << 16  # pixels
MAX_PIXELS = 1 << 27  # a picture of 134 megapixels takes 400 MB as it leaves the decoder
MAX_TILE_PIXELS = 1 << 22  # what is decoded at once, margins aside: a few hundred bytes a pixel
STEP_UNIT = BLOCK  # pixels; tiles begin where z and the maps have whole blocks
MARGIN_UNIT = 16  # pixels, those of y


class ControlGrid(NamedTuple):
    """The values that a stream can hold of q or of beta."""

    name: str
    steps_per_unit: int
    highest: int  # step; a multiple of 16

    def step(self, value: float) -> int:
        """The nearest step; raises `ValueError` outside the range.

        >>> Q_GRID.step(1.3), BETA_GRID.step(3.84)
        (21, 96)
        """
        if not 0 <= value <= self.value(self.highest):
            raise ValueError(f"{self.name} is {value:g}, not 0..{self.value(self.highest):g}")
        return round(value * self.steps_per_unit)

    def value(self, step: int) -> float:
        """What a step stands for.

        >>> Q_GRID.value(21), BETA_GRID.value(96)
        (1.3125, 3.84)
        """
        return step / self.steps_per_unit


Q_GRID = ControlGrid("q", 16, 64)
BETA_GRID = ControlGrid("beta", 25, 128)


class Tiling(NamedTuple):
    """How a large image is cut: payloads hold disjoint squares, cut off at the image's edges."""

    step: int  # pixels, a multiple of 64: the side of a square
    margin: int  # pixels, a multiple of 16, at most `step`: what the transforms see around it


class Tile(NamedTuple):
    """The pixels that one payload codes."""

    left: int
    top: int
    width: int
    height: int


class Stream(NamedTuple):
    """What is in a stream."""

    checkpoint: bytes  # 4 bytes
    width: int  # pixels, 1..65536
    height: int  # pixels, 1..65536
    q: int | Levels  # step of `Q_GRID`, or a level for each block of 64 x 64 pixels
    beta: int | Levels  # step of `BETA_GRID`, or a level for each block
    payloads: tuple[bytes, ...]  # one for each of `tiles`
    tiling: Tiling | None = None


def tiles(width: int, height: int, tiling: Tiling | None) -> list[Tile]:
    """All tiles, row by row; one where there is no tiling.

    >>> tiles(200, 64, Tiling(128, 16))
    [Tile(left=0, top=0, width=128, height=64), Tile(left=128, top=0, width=72, height=64)]
    """
    step = tiling.step if tiling else max(width, height)
    return [
        Tile(left, top, min(step, width - left), min(step, height - top))
        for top in range(0, height, step)
        for left in range(0, width, step)
    ]


def pack(stream: Stream) -> bytes:
    """The bytes of a stream; raises `ValueError` for what no stream can hold.

    >>> pack(Stream(b"\\0\\1\\2\\3", 768, 512, 40, 96, (b"payload",))).hex(" ")
    '43 d2 10 00 01 02 03 80 06 80 04 28 60 70 61 79 6c 6f 61 64 b8 bb'
    """
    fault = _size_fault(stream.width, stream.height, stream.tiling)
    if fault:
        raise ValueError(fault)
    if len(stream.checkpoint) != CHECKPOINT_BYTES:
        raise ValueError(f"a checkpoint's id has {CHECKPOINT_BYTES} bytes: {stream.checkpoint!r}")
    count = _count(stream.width, stream.height, stream.tiling)
    if len(stream.payloads) != count:
        raise ValueError(f"{len(stream.payloads)} payloads for {count} tiles")
    flags = (
        FLAGS_Q_MAP * (not isinstance(stream.q, int))
        | FLAGS_BETA_MAP * (not isinstance(stream.beta, int))
        | FLAGS_TILES * (stream.tiling is not None)
    )
    parts = [
        MAGIC,
        bytes([VERSION << 4 | flags]),
        stream.checkpoint,
        varint(stream.width),
        varint(stream.height),
        _control(stream.q, Q_GRID, stream),
        _control(stream.beta, BETA_GRID, stream),
    ]
    if stream.tiling:
        parts.append(bytes([stream.tiling.step // STEP_UNIT, stream.tiling.margin // MARGIN_UNIT]))
    parts += [varint(len(payload)) for payload in stream.payloads[:-1]]
    data = b"".join([*parts, *stream.payloads])
    return data + checksum(data)


def checksum(data: bytes) -> bytes:
    """CRC-16/GENIBUS, high byte first.

    >>> checksum(b"123456789").hex()
    'd64e'
    """
    # Inverted, since behind a checksum as it is, any number of zeros would fit.
    return (crc_hqx(data, 0xFFFF) ^ 0xFFFF).to_bytes(CHECKSUM_BYTES)


def unpack(data: bytes) -> Stream:
    """What `pack` was given; `CorruptStream` for everything else.

    Nothing is made that is larger than the bytes themselves, but for the maps: a byte for each
    block of 64 x 64 pixels, of which a picture has about 33,000 at most.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("the bytes are no stream of this codec: they begin otherwise")
    if len(data) <= len(MAGIC):
        raise CorruptStream("the stream ends after its first bytes")
    version, flags = divmod(data[len(MAGIC)], 16)
    if version != VERSION:
        raise CorruptStream(f"the stream is of version {version}, this decoder reads {VERSION}")
    if checksum(data[:-CHECKSUM_BYTES]) != data[-CHECKSUM_BYTES:]:
        raise CorruptStream("the stream is damaged or cut off: its checksum does not fit")
    if flags & ~FLAGS_KNOWN:
        raise CorruptStream("the stream has a flag that version 1 does not know")
    source = _Source(data[len(MAGIC) + 1 : -CHECKSUM_BYTES])
    checkpoint = source.take(CHECKPOINT_BYTES)
    width, height = source.varint(), source.varint()
    # Before anything of the image's size is made; the tiling is not known yet.
    fault = _side_fault(width, height)
    if fault:
        raise CorruptStream(fault)
    q = _read_control(source, Q_GRID, (width, height) if flags & FLAGS_Q_MAP else None)
    beta = _read_control(source, BETA_GRID, (width, height) if flags & FLAGS_BETA_MAP else None)
    tiling = None
    if flags & FLAGS_TILES:
        step, margin = source.take(2)
        tiling = Tiling(step * STEP_UNIT, margin * MARGIN_UNIT)
    fault = _size_fault(width, height, tiling)
    if fault:
        raise CorruptStream(fault)
    # A varint has at least one byte, so that a claim of many tiles ends with the bytes.
    lengths = [source.varint() for _ in range(_count(width, height, tiling) - 1)]
    payloads = [source.take(length) for length in lengths]
    return Stream(checkpoint, width, height, q, beta, (*payloads, source.rest()), tiling)


def _side_fault(width: int, height: int) -> str:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        return (
            f"an image of {width} x {height} pixels: a side has 1 to {MAX_SIDE}, "
            f"all of it at most {MAX_PIXELS}"
        )
    return ""


def _size_fault(width: int, height: int, tiling: Tiling | None) -> str:
    """What is wrong with an image's size and tiling; empty where nothing is."""
    fault = _side_fault(width, height)
    if fault:
        return fault
    if tiling:
        step, margin = tiling
        if step % STEP_UNIT or not STEP_UNIT <= step <= 255 * STEP_UNIT:
            return f"tiles of {step} pixels: multiples of {STEP_UNIT} up to {255 * STEP_UNIT}"
        if margin % MARGIN_UNIT or not 0 <= margin <= min(step, 255 * MARGIN_UNIT):
            return f"tiles of {step} pixels with a margin of {margin}"
        if step >= max(width, height):
            return f"tiles of {step} pixels for an image of {width} x {height}"
    step = tiling.step if tiling else MAX_SIDE
    if min(width, step) * min(height, step) > MAX_TILE_PIXELS:
        return (
            f"{min(width, step)} x {min(height, step)} pixels in one piece: "
            f"at most {MAX_TILE_PIXELS}, larger images come in tiles"
        )
    return ""


def _count(width: int, height: int, tiling: Tiling | None) -> int:
    return 1 if tiling is None else -(-width // tiling.step) * -(-height // tiling.step)


def _control(control: int | Levels, grid: ControlGrid, stream: Stream) -> bytes:
    if isinstance(control, int):
        if not 0 <= control <= grid.highest:
            raise ValueError(f"{grid.name} is step {control}, not 0..{grid.highest}")
        return bytes([control])
    if control.shape != map_shape(stream.width, stream.height):
        raise ValueError(f"a map of {grid.name} of shape {control.shape}")
    levels = encode_levels(control)
    return varint(len(levels)) + levels


def _read_control(
    source: "_Source", grid: ControlGrid, mapped: tuple[int, int] | None
) -> int | Levels:
    if mapped:
        return decode_levels(source.take(source.varint()), *map_shape(*mapped))
    (step,) = source.take(1)
    if step > grid.highest:
        raise CorruptStream(f"{grid.name} is step {step}, the highest is {grid.highest}")
    return step


class _Source:
    """Bytes taken from the front, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._position:
            raise CorruptStream(
                f"the stream has {len(self._data) - self._position} bytes left of {count}"
            )
        self._position += count
        return self._data[self._position - count : self._position]

    def varint(self) -> int:
        number = 0
        for place in range(VARINT_BYTES):
            (digit,) = self.take(1)
            number |= (digit & 0x7F) << (7 * place)
            if digit <= 0x7F:
                if digit == 0 and place:
                    raise CorruptStream("a number of the stream has a superfluous digit")
                return number
        raise CorruptStream(f"a number of the stream has more than {VARINT_BYTES} digits")

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)
