"""Container of learned codecs: an image's stream of header and payloads (docs/bitstream.md).

magic          2 bytes, 43 d2
version, flags 1 byte: version << 4 | latents << 3 | tiles << 2 | 2 bits of the control block
checkpoint     first 4 bytes of the sha256 of the checkpoint's safetensors file
width, height  a varint each, in pixels
control block  defined by the architecture: for CRDR q and beta, a byte each or a map
tiles          2 bytes, if flagged: step in units of 64 pixels, margin in units of 16
lengths        a varint for each tile's payload except the last, in bytes
payloads       of the tiles, row by row
latents        2 bytes, if flagged: CRC-16 of the decoded latents
checksum       2 bytes, CRC-16 of everything before it
"""

from binascii import crc_hqx
from typing import Any, ClassVar, NamedTuple

from benchmark.errors import CorruptStream

MAGIC = b"C\xd2"
VERSION = 1
CONTROL_FLAGS = 3  # bits defined by the architecture
FLAG_TILES, FLAG_LATENTS = 4, 8
CHECKPOINT_BYTES = 4
CHECKSUM_BYTES = 2
VARINT_BYTES = 5
MAX_SIDE = 1 << 16  # pixels
MAX_PIXELS = 1 << 27  # 134 megapixels are 400 MB of decoded pixels
MAX_TILE_PIXELS = 1 << 22  # without margins; decoding takes a few hundred bytes per pixel
# Limits on the pixels of hostile streams; even flat images have 30 times the bytes they require.
FREE_PIXELS, PIXELS_PER_BYTE = MAX_TILE_PIXELS, 1 << 14
STEP_UNIT = 64  # pixels; tiles start at block boundaries of level maps
MARGIN_UNIT = 16  # pixels


def varint(number: int) -> bytes:
    """Encode a number with 7 bits per byte, lowest first; bit 7 is set in all but the last byte."""
    low_bytes = bytearray()
    while number > 0x7F:
        low_bytes.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*low_bytes, number])


class ByteReader:
    """Reader of consecutive bytes; reading beyond the end raises `CorruptStream`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        remaining = len(self._data) - self._position
        if count > remaining:
            raise CorruptStream(f"the stream ends early: {remaining} of {count} bytes are left")
        self._position += count
        return self._data[self._position - count : self._position]

    def varint(self) -> int:
        """Return the next varint, of at most 35 bits in the minimum number of bytes."""
        number = 0
        for position in range(VARINT_BYTES):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << (7 * position)
            if byte <= 0x7F:
                if byte == 0 and position:
                    raise CorruptStream("a number in the stream has a superfluous zero byte")
                return number
        raise CorruptStream(f"a number in the stream has more than {VARINT_BYTES} bytes")

    def rest(self) -> bytes:
        """Return all remaining bytes."""
        return self.take(len(self._data) - self._position)


class CheckpointMismatch(CorruptStream):
    """A valid stream that was made with another checkpoint."""


class ControlBlock:
    """The block of a header that an architecture defines: two flags, then bytes; here, none."""

    flags: ClassVar[int] = 0  # supported flags, 0..3

    def write(self, controls: Any, width: int, height: int) -> tuple[int, bytes]:
        """Return the flags and bytes for an image of this size."""
        return 0, b""

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> Any:
        """Invert `write`: return the controls, given the flags; raises `CorruptStream`."""

    def window(self, controls: Any, rows: slice, columns: slice, unit: int) -> Any:
        """Return the network's controls in a window of the image, in units of `unit` pixels."""


class Tiling(NamedTuple):
    """Division of a large image into disjoint squares, clipped at the image's edges."""

    step: int  # side of a square in pixels, a multiple of 64
    margin: int  # pixels that transforms see around a square: a multiple of 16, at most `step`


class Tile(NamedTuple):
    """Rectangle of pixels coded by a payload."""

    left: int
    top: int
    width: int
    height: int


class Stream(NamedTuple):
    """Contents of a stream."""

    checkpoint: bytes  # 4 bytes
    width: int  # pixels, 1..65536
    height: int  # pixels, 1..65536
    controls: Any  # of the type read by the architecture's control block
    payloads: tuple[bytes, ...]  # in the order of `tiles`
    tiling: Tiling | None = None
    latents_checksum: bytes | None = None  # of the decoded latents, if the stream has one


def tiles(width: int, height: int, tiling: Tiling | None) -> list[Tile]:
    """Return all tiles, row by row; without tiling, the whole image as one tile."""
    step = tiling.step if tiling else max(width, height)
    return [
        Tile(left, top, min(step, width - left), min(step, height - top))
        for top in range(0, height, step)
        for left in range(0, width, step)
    ]


def pack(stream: Stream, block: ControlBlock) -> bytes:
    """Return a stream's bytes; `ValueError` if too few for the number of its pixels.

    >>> pack(Stream(b"\\0\\1\\2\\3", 768, 512, None, (b"payload",)), ControlBlock()).hex(" ")
    '43 d2 10 00 01 02 03 80 06 80 04 70 61 79 6c 6f 61 64 f5 28'
    """
    width, height, tiling = stream.width, stream.height, stream.tiling
    flags, controls = block.write(stream.controls, width, height)
    flags |= FLAG_TILES * (tiling is not None)
    flags |= FLAG_LATENTS * (stream.latents_checksum is not None)
    flags_byte = bytes([VERSION << 4 | flags])
    header_parts = [MAGIC, flags_byte, stream.checkpoint, varint(width), varint(height), controls]
    if tiling:
        header_parts.append(bytes([tiling.step // STEP_UNIT, tiling.margin // MARGIN_UNIT]))
    header_parts += [varint(len(payload)) for payload in stream.payloads[:-1]]
    data = b"".join([*header_parts, *stream.payloads, stream.latents_checksum or b""])
    if fault := _length_fault(width, height, len(data) + CHECKSUM_BYTES):
        raise ValueError(fault)
    return data + checksum(data)


def max_pixels(num_bytes: int) -> int:
    """Return the maximum number of pixels for a stream of `num_bytes`."""
    return FREE_PIXELS + PIXELS_PER_BYTE * num_bytes


def _length_fault(width: int, height: int, num_bytes: int) -> str:
    if width * height > max_pixels(num_bytes):
        return f"{num_bytes} bytes are too few for an image of {width} x {height} pixels"
    return ""


def checksum(data: bytes) -> bytes:
    """Return the CRC-16/GENIBUS of `data`, high byte first."""
    # The CRC is inverted, since otherwise appended zeros would keep the checksum valid.
    return (crc_hqx(data, 0xFFFF) ^ 0xFFFF).to_bytes(CHECKSUM_BYTES)


def read_checkpoint_id(data: bytes) -> bytes:
    """Return the 4 bytes that identify a stream's checkpoint; raises `CorruptStream`."""
    return _open_stream(data)[1].take(CHECKPOINT_BYTES)


def unpack(data: bytes, block: ControlBlock, checkpoint: bytes | None = None) -> Stream:
    """Invert `pack`; raises `CorruptStream`, also if the stream has another `checkpoint`."""
    flags, reader = _open_stream(data)
    stream_checkpoint = reader.take(CHECKPOINT_BYTES)
    if checkpoint not in (None, stream_checkpoint):
        raise CheckpointMismatch(
            f"the stream was made with the checkpoint {stream_checkpoint.hex()}, "
            f"not with this one, {checkpoint.hex()}"
        )
    width, height = reader.varint(), reader.varint()
    # Check before allocating memory for the image; the tiling is not known yet.
    if fault := _side_fault(width, height) or _length_fault(width, height, len(data)):
        raise CorruptStream(fault)
    if flags & CONTROL_FLAGS & ~block.flags:
        raise CorruptStream("the stream has a flag that its architecture does not define")
    controls = block.read(reader, flags & CONTROL_FLAGS, width, height)
    tiling = None
    if flags & FLAG_TILES:
        step, margin = reader.take(2)
        tiling = Tiling(step * STEP_UNIT, margin * MARGIN_UNIT)
    if fault := size_fault(width, height, tiling):
        raise CorruptStream(fault)
    # A varint has at least one byte, so reading too many tiles fails when the bytes end.
    num_tiles = 1 if tiling is None else -(-width // tiling.step) * -(-height // tiling.step)
    lengths = [reader.varint() for _ in range(num_tiles - 1)]
    payloads = [reader.take(length) for length in lengths]
    last_payload, latents_checksum = reader.rest(), None
    if flags & FLAG_LATENTS:
        if len(last_payload) < CHECKSUM_BYTES:
            raise CorruptStream("the stream ends within the checksum of the latents")
        latents_checksum = last_payload[-CHECKSUM_BYTES:]
        last_payload = last_payload[:-CHECKSUM_BYTES]
    image_facts = stream_checkpoint, width, height, controls
    return Stream(*image_facts, (*payloads, last_payload), tiling, latents_checksum)


def _open_stream(data: bytes) -> tuple[int, ByteReader]:
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("the bytes are not a stream of this codec: its signature is missing")
    if len(data) <= len(MAGIC):
        raise CorruptStream("the stream ends after its signature")
    version, flags = divmod(data[len(MAGIC)], 16)
    if version != VERSION:
        raise CorruptStream(
            f"the stream has version {version}, but this decoder reads version {VERSION}"
        )
    if checksum(data[:-CHECKSUM_BYTES]) != data[-CHECKSUM_BYTES:]:
        raise CorruptStream("the stream is damaged or truncated: its checksum does not match")
    return flags, ByteReader(data[len(MAGIC) + 1 : -CHECKSUM_BYTES])


def _side_fault(width: int, height: int) -> str:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        limits = f"a side may have 1 to {MAX_SIDE} pixels, an image at most {MAX_PIXELS}"
        return f"an image of {width} x {height} pixels is not possible: {limits}"
    return ""


def size_fault(width: int, height: int, tiling: Tiling | None) -> str:
    """Return what is wrong with an image's size (pixels) and tiling; "" if nothing is."""
    if fault := _side_fault(width, height):
        return fault
    step, margin = tiling or (MAX_SIDE, 0)
    if tiling:
        if step % STEP_UNIT or not STEP_UNIT <= step <= 255 * STEP_UNIT:
            sides = f"a multiple of {STEP_UNIT} up to {255 * STEP_UNIT}"
            return f"tiles of {step} x {step} pixels are not possible: the side must be {sides}"
        if margin % MARGIN_UNIT or not 0 <= margin <= min(step, 255 * MARGIN_UNIT):
            return f"a margin of {margin} pixels is not possible for tiles of {step} pixels"
        if step >= max(width, height):
            return f"tiles of {step} pixels are not smaller than the image, {width} x {height}"
    tile_width, tile_height = min(width, step), min(height, step)
    if tile_width * tile_height > MAX_TILE_PIXELS:
        return f"a tile of {tile_width} x {tile_height} has more than {MAX_TILE_PIXELS} pixels"
    return ""


MAX_UNTILED_PIXELS = 1 << 21  # larger images are cut into tiles
LARGE_STEP = 1024
# The published decoder's pixels, and its encoder's latents, depend on pixels up to 132 away: with
# this margin both are the same as without tiles, but take 1.3 to 1.6 times the work.
LARGE_TILING = Tiling(LARGE_STEP, 144)
SMALL_TILING = Tiling(256, 144)  # takes a fifth of the memory, but 4 to 6 times the work


class Window(NamedTuple):
    """The rectangle of an image that a transform sees for a tile, in units of several pixels."""

    rows: slice
    columns: slice
    tile_rows: slice  # rows of the tile relative to the window
    tile_columns: slice  # columns of the tile relative to the window


def choose_tiling(width: int, height: int, margin: int = LARGE_TILING.margin) -> Tiling | None:
    """Return the tiling of an image, None if the image is coded whole; sizes in pixels."""
    return Tiling(LARGE_STEP, margin) if width * height > MAX_UNTILED_PIXELS else None


def window(tile: Tile, margin: int, width: int, height: int, unit: int, stride: int = 64) -> Window:
    """Return a tile's window: complete blocks of `stride` pixels, limited to the image's blocks.

    Arguments are in pixels, the window in units of `unit` pixels, which divides stride and margin.
    """

    def window_along_side(start: int, length: int, side: int) -> tuple[slice, slice]:
        stop = start + whole_blocks(length, stride)
        window_start = max(0, start - margin)
        window_stop = min(whole_blocks(side, stride), stop + margin)
        tile_slice = slice((start - window_start) // unit, (stop - window_start) // unit)
        return slice(window_start // unit, window_stop // unit), tile_slice

    rows, tile_rows = window_along_side(tile.top, tile.height, height)
    columns, tile_columns = window_along_side(tile.left, tile.width, width)
    return Window(rows, columns, tile_rows, tile_columns)


def whole_blocks(side: int, stride: int) -> int:
    """Round a side up to a multiple of `stride`, both in pixels."""
    return -(-side // stride) * stride
