"""HEVC intra pictures: x265 encodes, ffmpeg's own decoder decodes.

That decoder makes a picture of a damaged or truncated stream without a word, therefore two bytes of
checksum (CRC-16/XMODEM, big-endian) precede what `baselines.formats.ffmpeg` makes.
"""

from binascii import crc_hqx
from collections.abc import Mapping
from typing import ClassVar

from baselines.formats.ffmpeg import IntraCodec, PictureFormat, VideoCodec
from benchmark.codec import Between, Pixels, Setting
from benchmark.errors import BadOption, CorruptStream
from benchmark.facts import Facts, Memory, Typical

# all but placebo, which takes no picture whose sides are under 32
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
# ipratio: x265 would code an intra picture at 3 below the QP asked for
PARAMETERS = (
    "log-level=error:info=0:vui-timing-info=0:keyint=1:ipratio=1:pools=none:frame-threads=1:wpp=0"
)


class X265(IntraCodec):
    """Options: preset (veryslow by default), subsampling 444 (default) or 420, depth 8 or 10.

    8-bit 4:4:4 is how learned codecs are usually compared with HEVC; it caps PSNR at about 53 dB.
    The encoder is tuned for PSNR, in one thread. QPs are whole, 0 to 51.
    """

    name = "x265"
    video = VideoCodec("libx265", "hevc")
    accepts = Between("qp", 0, 51, whole=True)
    facts = Facts(
        "x265", "standard", colour="#E69F00", marker="<", chroma="4:4:4", tuned_for="PSNR",
        memory=Memory(220, 0, torch=False),
        typical=(Typical("qp", ((22, 4.4), (32, 3.3), (47, 1.9))),),
    )  # fmt: skip
    banner = r"HEVC encoder version (\S+)"
    licence = "GPL-2.0-or-later"
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
        options = ["-preset", preset, "-tune", "psnr", "-qp", "{qp}", "-x265-params", PARAMETERS]
        super().__init__(PictureFormat(depth, 420 if subsampling == 420 else 444), options)

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return checksum, padding and one intra picture; `BadOption` unless qp is whole, 0..51."""
        data = super().encode(pixels, setting)
        return crc_hqx(data, 0).to_bytes(2, "big") + data

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless `data` is a whole stream."""
        if len(data) < 3 or crc_hqx(data[2:], 0) != int.from_bytes(data[:2], "big"):
            raise CorruptStream("the stream is damaged or truncated: its checksum does not match")
        return super().decode(data[2:])

    def container_bytes(self, data: bytes) -> int:
        """Return 3: the checksum and the byte of padding before the elementary stream."""
        return 2 + super().container_bytes(data[2:])
