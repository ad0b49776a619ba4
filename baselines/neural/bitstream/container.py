"""The container of learned codecs: the bytes of an image's stream, header and payloads.

::

    magic          2 bytes, 43 d2
    version, flags 1 byte: version << 4 | latents << 3 | tiles << 2 | two of the control block
    checkpoint     4 bytes, the first of the sha256 of its tensors' file
    width, height  a varint each, in pixels
    control block  the architecture's own: for CRDR q and beta, a byte each or a map
    tiles          2 bytes, only with the flag: step in 64 pixels, margin in 16 pixels
    lengths        a varint for each tile's payload but the last, in bytes
    payloads       of the tiles, row by row
    latents        2 bytes, only with the flag: CRC-16 of the latents as decoded
    checksum       2 bytes, CRC-16 of all the others

13 bytes for a photograph without tiles, and the control block (docs/bitstream.md).
"""

from binascii import crc_hqx
from typing import Any, ClassVar, NamedTuple

from benchmark.errors import CorruptStream

MAGIC = b"C\xd2"
VERSION = 1
CONTROL_FLAGS = 3  # the bits that belong to the architecture
FLAG_TILES, FLAG_LATENTS = 4, 8
CHECKPOINT_BYTES = 4
CHECKSUM_BYTES = 2
VARINT_BYTES = 5
MAX_SIDE = 1 << 16  # pixels
MAX_PIXELS = 1 << 27  # 134 megapixels are 400 MB of decoded pixels
MAX_TILE_PIXELS = 1 << 22  # decoded at once, without margins: a few hundred bytes per pixel
# Bounds on what a few damaged or hostile bytes may ask for: real flat images take 30 times as many.
FREE_PIXELS, PIXELS_PER_BYTE = MAX_TILE_PIXELS, 1 << 14
STEP_UNIT = 64  # pixels; tiles begin where maps of levels have whole blocks
MARGIN_UNIT = 16  # pixels


def varint(number: int) -> bytes:
    """Return a number in bytes of 7 bits, lowest first, all but the last marked by bit 7."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


class ByteReader:
    """Reader of bytes from the front; reading beyond the end raises `CorruptStream`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        left = len(self._data) - self._position
        if count > left:
            raise CorruptStream(f"the stream has {left} bytes left of {count}")
        self._position += count
        return self._data[self._position - count : self._position]

    def varint(self) -> int:
        """Return the next number, of at most 35 bits, written in as few bytes as it needs."""
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
        """Return all bytes that are left."""
        return self.take(len(self._data) - self._position)


class OtherCheckpoint(CorruptStream):
    """A whole stream of another checkpoint."""


class ControlBlock:
    """An architecture's part of a header: two flag bits, and bytes that delimit themselves.

    Here, the empty block of a network that is not controlled.
    """

    flags: ClassVar[int] = 0  # all that it knows, of 0..3

    def write(self, controls: Any, width: int, height: int) -> tuple[int, bytes]:
        """Return the flags and the bytes for an image of that size."""
        return 0, b""

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> Any:
        """Return the controls that `write` was given; raises `CorruptStream`."""

    def window(self, controls: Any, rows: slice, columns: slice, unit: int) -> Any:
        """Return the network's controls in a window of the image, counted in `unit` pixels."""


class Tiling(NamedTuple):
    """Division of a large image into disjoint squares, clipped at the image's edges."""

    step: int  # pixels, a multiple of 64: the side of a square
    margin: int  # pixels, a multiple of 16, at most `step`: that the transforms see around it


class Tile(NamedTuple):
    """Rectangle of pixels that a payload codes."""

    left: int
    top: int
    width: int
    height: int


class Stream(NamedTuple):
    """The contents of a stream."""

    checkpoint: bytes  # 4 bytes
    width: int  # pixels, 1..65536
    height: int  # pixels, 1..65536
    controls: Any  # of the architecture's own kind, as its control block reads them
    payloads: tuple[bytes, ...]  # of `tiles`, in turn
    tiling: Tiling | None = None
    latents: bytes | None = None  # checksum of the latents as decoded, if the stream has one


def tiles(width: int, height: int, tiling: Tiling | None) -> list[Tile]:
    """Return all tiles row by row; the whole image without tiling."""
    step = tiling.step if tiling else max(width, height)
    return [
        Tile(left, top, min(step, width - left), min(step, height - top))
        for top in range(0, height, step)
        for left in range(0, width, step)
    ]


def pack(stream: Stream, block: ControlBlock) -> bytes:
    """Return the bytes of a stream without `size_fault`; `ValueError` where they are too few.

    >>> pack(Stream(b"\\0\\1\\2\\3", 768, 512, None, (b"payload",)), ControlBlock()).hex(" ")
    '43 d2 10 00 01 02 03 80 06 80 04 70 61 79 6c 6f 61 64 f5 28'
    """
    width, height, tiling = stream.width, stream.height, stream.tiling
    flags, controls = block.write(stream.controls, width, height)
    flags |= FLAG_TILES * (tiling is not None) | FLAG_LATENTS * (stream.latents is not None)
    head = bytes([VERSION << 4 | flags])
    parts = [MAGIC, head, stream.checkpoint, varint(width), varint(height), controls]
    if tiling:
        parts.append(bytes([tiling.step // STEP_UNIT, tiling.margin // MARGIN_UNIT]))
    parts += [varint(len(payload)) for payload in stream.payloads[:-1]]
    data = b"".join([*parts, *stream.payloads, stream.latents or b""])
    if fault := _length_fault(width, height, len(data) + CHECKSUM_BYTES):
        raise ValueError(fault)
    return data + checksum(data)


def most_pixels(num_bytes: int) -> int:
    """Return the most pixels that a stream of `num_bytes` can describe."""
    return FREE_PIXELS + PIXELS_PER_BYTE * num_bytes


def _length_fault(width: int, height: int, num_bytes: int) -> str:
    if width * height > most_pixels(num_bytes):
        return f"an image of {width} x {height} pixels in {num_bytes} bytes: no image takes so few"
    return ""


def checksum(data: bytes) -> bytes:
    """Return the CRC-16/GENIBUS of `data`, high byte first."""
    # Inverted: any number of zeros would fit behind a checksum that is not.
    return (crc_hqx(data, 0xFFFF) ^ 0xFFFF).to_bytes(CHECKSUM_BYTES)


def checkpoint_of(data: bytes) -> bytes:
    """Return the 4 bytes by which a stream names its checkpoint; raises `CorruptStream`."""
    return _opened(data)[1].take(CHECKPOINT_BYTES)


def unpack(data: bytes, block: ControlBlock, checkpoint: bytes | None = None) -> Stream:
    """Return the stream that `pack` was given, of `checkpoint` if given; raises `CorruptStream`."""
    flags, reader = _opened(data)
    named = reader.take(CHECKPOINT_BYTES)
    if checkpoint not in (None, named):
        raise OtherCheckpoint(
            f"the stream was made with the checkpoint {named.hex()}, "
            f"not with this one, {checkpoint.hex()}"
        )
    width, height = reader.varint(), reader.varint()
    # Before anything of the image's size is allocated; the tiling is not known yet.
    if fault := _side_fault(width, height) or _length_fault(width, height, len(data)):
        raise CorruptStream(fault)
    if flags & CONTROL_FLAGS & ~block.flags:
        raise CorruptStream("the stream has a flag that its architecture does not know")
    controls = block.read(reader, flags & CONTROL_FLAGS, width, height)
    tiling = None
    if flags & FLAG_TILES:
        step, margin = reader.take(2)
        tiling = Tiling(step * STEP_UNIT, margin * MARGIN_UNIT)
    if fault := size_fault(width, height, tiling):
        raise CorruptStream(fault)
    # A varint has at least a byte, so that a claim of many tiles ends with the bytes.
    count = 1 if tiling is None else -(-width // tiling.step) * -(-height // tiling.step)
    lengths = [reader.varint() for _ in range(count - 1)]
    payloads = [reader.take(length) for length in lengths]
    last, latents = reader.rest(), None
    if flags & FLAG_LATENTS:
        if len(last) < CHECKSUM_BYTES:
            raise CorruptStream("the stream ends within the checksum of its latents")
        last, latents = last[:-CHECKSUM_BYTES], last[-CHECKSUM_BYTES:]
    return Stream(named, width, height, controls, (*payloads, last), tiling, latents)


def _opened(data: bytes) -> tuple[int, ByteReader]:
    """Return the flags of a whole stream, and a reader of all that follows them."""
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("the bytes are no stream of this codec: they begin otherwise")
    if len(data) <= len(MAGIC):
        raise CorruptStream("the stream ends after its first bytes")
    version, flags = divmod(data[len(MAGIC)], 16)
    if version != VERSION:
        raise CorruptStream(f"the stream is of version {version}, this decoder reads {VERSION}")
    if checksum(data[:-CHECKSUM_BYTES]) != data[-CHECKSUM_BYTES:]:
        raise CorruptStream("the stream is damaged or cut off: its checksum does not fit")
    return flags, ByteReader(data[len(MAGIC) + 1 : -CHECKSUM_BYTES])


def _side_fault(width: int, height: int) -> str:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        sides = f"a side has 1 to {MAX_SIDE}, all of it at most {MAX_PIXELS}"
        return f"an image of {width} x {height} pixels: {sides}"
    return ""


def size_fault(width: int, height: int, tiling: Tiling | None) -> str:
    """Return the fault of an image's size in pixels and its tiling; empty for none."""
    if fault := _side_fault(width, height):
        return fault
    step, margin = tiling or (MAX_SIDE, 0)
    if tiling:
        if step % STEP_UNIT or not STEP_UNIT <= step <= 255 * STEP_UNIT:
            return f"tiles of {step} pixels: multiples of {STEP_UNIT} up to {255 * STEP_UNIT}"
        if margin % MARGIN_UNIT or not 0 <= margin <= min(step, 255 * MARGIN_UNIT):
            return f"tiles of {step} pixels with a margin of {margin}"
        if step >= max(width, height):
            return f"tiles of {step} pixels for an image of {width} x {height}"
    wide, high = min(width, step), min(height, step)
    if wide * high > MAX_TILE_PIXELS:
        most = f"at most {MAX_TILE_PIXELS}, larger images come in tiles"
        return f"{wide} x {high} pixels in one piece: {most}"
    return ""


WHOLE_PIXELS = 1 << 21  # larger images are cut into tiles
LARGE_STEP = 1024
# The published decoder's pixels depend on what lies up to 132 pixels away, its encoder's latents on
# as much: with this margin both give what they would of the whole image. 1.3 to 1.6 times the work.
LARGE = Tiling(LARGE_STEP, 144)
SMALL = Tiling(256, 144)  # where memory is short: a fifth of it, 4 to 6 times the work


class Window(NamedTuple):
    """The part of an image that a transform sees for a tile, in positions of some pixels."""

    rows: slice
    columns: slice
    own_rows: slice  # the tile's, counted from where the window begins
    own_columns: slice


def tiling_of(width: int, height: int, margin: int = LARGE.margin) -> Tiling | None:
    """Return how an image is cut, or None for an image that is coded whole; all in pixels."""
    return Tiling(LARGE_STEP, margin) if width * height > WHOLE_PIXELS else None


def window(tile: Tile, margin: int, width: int, height: int, unit: int, stride: int = 64) -> Window:
    """Return the window of a tile, whole blocks of `stride` pixels, limited to the image's blocks.

    `width` and `height` are the image's, in pixels. A position is `unit` pixels, which divide
    `stride` and `margin`.
    """

    def along(start: int, length: int, side: int) -> tuple[slice, slice]:
        stop = start + whole_blocks(length, stride)
        first, last = max(0, start - margin), min(whole_blocks(side, stride), stop + margin)
        own = slice((start - first) // unit, (stop - first) // unit)
        return slice(first // unit, last // unit), own

    rows, own_rows = along(tile.top, tile.height, height)
    columns, own_columns = along(tile.left, tile.width, width)
    return Window(rows, columns, own_rows, own_columns)


def whole_blocks(pixels: int, stride: int) -> int:
    """Return the least multiple of `stride` that is at least `pixels`."""
    return -(-pixels // stride) * stride
