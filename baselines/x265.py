"""Pixels to an HEVC intra picture and back: x265 codes, ffmpeg's own decoder decodes.

That decoder makes a picture of a damaged or truncated stream without a word, therefore two bytes of
checksum (CRC-16/XMODEM, big-endian) precede what `baselines.formats.ffmpeg` makes.
"""

from binascii import crc_hqx
from collections.abc import Mapping
from typing import ClassVar

from baselines.formats.ffmpeg import (
    PictureFormat,
    VideoCodec,
    check_qp,
    convert_picture,
    decode_picture,
    encode_command,
    encode_picture,
    find_ffmpeg,
    versions,
)
from baselines.formats.ycbcr import conversion_floor_db
from benchmark.codec import CodecInfo, Pixels, Setting
from benchmark.errors import BadOption, CorruptStream
from benchmark.system.digest import file_sha256

CODEC = VideoCodec("libx265", "hevc")
# all but placebo, which takes no picture whose sides are under 32
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
LARGEST_QP = 51
# ipratio: x265 would code an intra picture at 3 below the QP asked for
PARAMETERS = (
    "log-level=error:info=0:vui-timing-info=0:keyint=1:ipratio=1:pools=none:frame-threads=1:wpp=0"
)


class X265:
    """Options: preset (veryslow by default), subsampling 444 (default) or 420, depth 8 or 10.

    8-bit 4:4:4 is how learned codecs are usually compared with HEVC; it caps PSNR at about 53 dB.
    The encoder is tuned for PSNR (x265's default optimises for the eye), in one thread.
    """

    name = "x265"
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    conversions: ClassVar[tuple[Mapping[str, str], ...]] = (
        {},
        {"depth": "10"},
        {"subsampling": "420"},
    )

    def __init__(self, *, preset: str = "veryslow", subsampling: int = 444, depth: int = 8):
        if preset not in PRESETS:
            raise BadOption(f"x265: preset is one of {', '.join(PRESETS)}, not {preset}")
        if subsampling not in (444, 420):
            raise BadOption(f"x265: subsampling is 444 or 420, not {subsampling}")
        if depth not in (8, 10):
            raise BadOption(f"x265: depth is 8 or 10 bits, not {depth}")
        self._layout = PictureFormat(depth, 420 if subsampling == 420 else 444)
        self._preset = preset
        self._program = find_ffmpeg(CODEC)
        self.conversion_floor_db = conversion_floor_db(*self._layout)

    def describe(self) -> CodecInfo:
        """x265 and ffmpeg; the fingerprint is of the one program that contains both."""
        return CodecInfo(
            version=versions(self._program, CODEC, r"HEVC encoder version (\S+)"),
            command=f"{' '.join(self._command('ffmpeg', '{qp}'))} STREAM; {self._layout}",
            licence="GPL-2.0-or-later",
            fingerprint=file_sha256(self._program),
            revision=1,
            timed="program start, colour conversion in numpy, samples through a pipe and a file",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Checksum, padding and one intra picture; `BadOption` unless qp is whole, 0 to 51."""
        check_qp(self.name, setting, LARGEST_QP)
        command = self._command(str(self._program), f"{setting.value:g}")
        data = encode_picture(pixels, self._layout, command)
        return crc_hqx(data, 0).to_bytes(2, "big") + data

    def decode(self, data: bytes) -> Pixels:
        """The pixels; `ProgramFailed` or `CorruptStream` for anything but a whole stream."""
        if len(data) < 3 or crc_hqx(data[2:], 0) != int.from_bytes(data[:2], "big"):
            raise CorruptStream("the stream is damaged or truncated: its checksum does not match")
        return decode_picture(self._program, CODEC, data[2:])

    def convert_only(self, pixels: Pixels, truncated: bool = False) -> Pixels:
        """The pixels through both colour conversions, with nothing coded between."""
        return convert_picture(pixels, self._layout, "down" if truncated else "nearest")

    def _command(self, program: str, qp: str) -> list[str]:
        options = ["-preset", self._preset, "-tune", "psnr", "-qp", qp, "-x265-params", PARAMETERS]
        return encode_command(program, CODEC, self._layout, options)
