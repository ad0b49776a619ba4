"""BPG: HEVC intra pictures by the programs of libbpg, bpgenc and bpgdec."""

from functools import cached_property
from pathlib import Path

from baselines.formats.external import decoded_by, encoded_by, printed_version, write_png
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted, require_options
from benchmark.errors import CorruptStream
from benchmark.system.atomic import private_folder
from benchmark.system.digest import files_sha256
from benchmark.system.programs import find_program
from benchmark.system.settings import program_folders

REMEDY = "build libbpg 0.9.8, and name the folder of its programs by $BPG_DIR"
TIMEOUT_SECONDS = 3600  # far above the slowest level on a large photograph
MAGIC = b"BPG\xfb"
NUMBER_BYTES = 5  # the time of longer ones would grow with the square of the file
FLAG_BYTES = 2  # pixel format, depth, colour space; an alpha plane and extensions are not written


class BPG:
    """Options: subsampling 444 (default) or 420, depth 8 (default) or 10, level 1 (fast) to 9.

    x265 encodes, and the programs convert the colours (BT.601, full range), as published curves of
    BPG were made. The length of the picture is filled in: bpgenc writes 0, all that follows, and
    bpgdec makes a picture of half a file. The encoder is sought when it is needed.
    """

    name = "bpg"
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    accepts = Between("qp", 0, 51, whole=True)

    def __init__(self, *, subsampling: int = 444, depth: int = 8, level: int = 8) -> None:
        require_options(
            self.name,
            subsampling=(subsampling, (444, 420)),
            depth=(depth, (8, 10)),
            level=(level, range(1, 10)),
        )
        self._subsampling = subsampling
        self._options = (
            *("-f", str(subsampling), "-c", "ycbcr", "-b", str(depth)),
            *("-e", "x265", "-m", str(level)),
        )
        self._decoder = find_program("bpgdec", REMEDY, program_folders("BPG_DIR"))

    def describe(self) -> CodecInfo:
        """Return libbpg's version; fingerprint both programs. `Unavailable` without an encoder."""
        release = printed_version(
            self._encoder, "-h", rb"^BPG Image Encoder version (\S+)", "libbpg", REMEDY
        )
        return CodecInfo(
            version=f"libbpg {release}",
            command=f"bpgenc {' '.join(self._options)} -q {{qp}} -o OUT.bpg IN.png; "
            "bpgdec -o PICTURE.png OUT.bpg",
            licence="GPL-2.0-or-later",
            fingerprint=files_sha256([self._encoder, self._decoder]),
            timed="program start, and the picture's PNG written before or read after",
            chroma=":".join(str(self._subsampling)),
            tuned_for="PSNR",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a BPG file; `BadOption` unless qp is whole, 0 to 51."""
        require_accepted(self, setting)
        with private_folder() as folder:
            source, file = folder / "in.png", folder / "out.bpg"
            write_png(source, pixels)
            options = [*self._options, "-q", f"{setting.value:g}", "-o", str(file)]
            command: list[str | Path] = [self._encoder, *options, source]
            data = encoded_by(command, file, pixels.shape, TIMEOUT_SECONDS)
        length, end = _header(data)
        if length:
            return data
        rest, digits = len(data) - end, b""
        while rest or not digits:
            digits = bytes([rest & 0x7F | (0x80 if digits else 0)]) + digits
            rest >>= 7
        return data[: end - 1] + digits + data[end:]  # instead of the byte 0

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless `data` is a whole file."""
        if not _header(data)[0]:
            raise CorruptStream("the BPG file does not say how long its picture is")
        with private_folder() as folder:
            file, picture = folder / "in.bpg", folder / "out.png"
            file.write_bytes(data)
            return decoded_by([self._decoder, "-o", picture, file], picture, TIMEOUT_SECONDS)

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of the header before HEVC's data; `CorruptStream` if it is damaged."""
        return _header(data)[1]

    @cached_property
    def _encoder(self) -> Path:
        return find_program("bpgenc", REMEDY, program_folders("BPG_DIR"))


def _header(data: bytes) -> tuple[int, int]:
    """Return the picture's bytes, 0 for all that follow, and the header's.

    Raises `CorruptStream` unless the header is whole and the picture's bytes are those that follow.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("the stream is no BPG file")
    end = len(MAGIC) + FLAG_BYTES
    for _ in ("width", "height", "length"):
        number, end = _sized_number(data, end)
    if number and end + number != len(data):
        raise CorruptStream("the BPG file is truncated or has bytes after its picture")
    return number, end


def _sized_number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 35 bits in bytes of 7, highest first, and where it ends.

    >>> _sized_number(bytes.fromhex("8600"), 0)
    (768, 2)
    """
    number = 0
    for end, byte in enumerate(data[at : at + NUMBER_BYTES], at + 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, end
    raise CorruptStream("the BPG file ends, or makes no sense, within its header")
