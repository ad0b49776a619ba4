"""BPG: HEVC intra pictures, with libbpg's programs bpgenc and bpgdec."""

from functools import cached_property
from pathlib import Path

from baselines.formats.external import query_version, run_decoder, run_encoder, write_png
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted, require_options
from benchmark.errors import CorruptStream
from benchmark.system.atomic import private_folder
from benchmark.system.digest import files_sha256
from benchmark.system.programs import find_program
from benchmark.system.settings import program_folders

REMEDY = "build libbpg 0.9.8, and set $BPG_DIR to the folder of its programs"
TIMEOUT_SECONDS = 3600  # far more than the slowest level takes for a large photograph
MAGIC = b"BPG\xfb"
NUMBER_BYTES = 5  # limit, since the time to parse a number grows with the square of its length
FLAG_BYTES = 2  # pixel format, depth, colour space; neither alpha nor extensions are written


class BPG:
    """BPG with x265. As for published curves, the programs convert colours (BT.601, full range).

    Options: subsampling 444 (default) or 420, depth 8 (default) or 10, level 1 (fast) to 9.
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
        """Return libbpg's version and a fingerprint of the programs; raises `Unavailable`."""
        release = query_version(
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
            data = run_encoder(command, file, pixels.shape, TIMEOUT_SECONDS)
        # bpgenc writes the length 0, "until the file ends": bpgdec would decode half a file
        length, end = _read_header(data)
        if length:
            return data
        picture_bytes, digits = len(data) - end, b""
        while picture_bytes or not digits:
            digits = bytes([picture_bytes & 0x7F | (0x80 if digits else 0)]) + digits
            picture_bytes >>= 7
        return data[: end - 1] + digits + data[end:]  # in place of the byte 0

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` if the file is incomplete."""
        if not _read_header(data)[0]:
            raise CorruptStream("the BPG file does not state the length of its picture")
        with private_folder() as folder:
            file, picture = folder / "in.bpg", folder / "out.png"
            file.write_bytes(data)
            return run_decoder([self._decoder, "-o", picture, file], picture, TIMEOUT_SECONDS)

    def container_bytes(self, data: bytes) -> int:
        """Return the size of the header before HEVC's data; `CorruptStream` if it is damaged."""
        return _read_header(data)[1]

    @cached_property
    def _encoder(self) -> Path:
        return find_program("bpgenc", REMEDY, program_folders("BPG_DIR"))


def _read_header(data: bytes) -> tuple[int, int]:
    # returns the bytes of the picture (0: until the file ends) and of the header
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("the stream is not a BPG file")
    end = len(MAGIC) + FLAG_BYTES
    for _ in ("width", "height", "length"):
        length, end = _read_number(data, end)
    if length and end + length != len(data):
        raise CorruptStream("the BPG file is truncated or has bytes after its picture")
    return length, end


def _read_number(data: bytes, start: int) -> tuple[int, int]:
    """Read a number of at most 35 bits, 7 per byte, highest first; return it and its end.

    >>> _read_number(bytes.fromhex("8600"), 0)
    (768, 2)
    """
    number = 0
    for end, byte in enumerate(data[start : start + NUMBER_BYTES], start + 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, end
    raise CorruptStream("the header of the BPG file is truncated or damaged")
