"""Pixels to a VVC intra picture and back: VVenC codes, ffmpeg's own decoder decodes."""

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
from benchmark.errors import BadOption
from benchmark.system.digest import file_sha256

CODEC = VideoCodec("libvvenc", "vvc")
PRESETS = ("faster", "fast", "medium", "slow", "slower")
LARGEST_QP = 63
LAYOUT = PictureFormat(10, 420)  # the only one that libvvenc takes
# intraqpoffset: an intra picture would be coded at 3 below the QP asked for.
# bim: no QP of its own for any block. alfspeed: what an intra picture gets anyway, said silently.
PARAMETERS = (
    "verbosity=0:intraqpoffset=0:bim=0:intraperiod=1:gopsize=1:alfspeed=0:"
    "accessunitdelimiter=0:hrdparameterspresent=0:videofullrange=1"
)


class VVenC:
    """Options: preset faster, fast (default), medium, slow or slower. 10-bit 4:2:0, one thread.

    The perceptual QP adaptation is off (`-qpa 0`), so that the QP is the same in every block.
    4:2:0 loses chroma detail for good: PSNR ends at about 46 dB however low the QP.
    """

    name = "vvenc"
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    conversions: ClassVar[tuple[Mapping[str, str], ...]] = ({},)
    conversion_floor_db = conversion_floor_db(*LAYOUT)

    def __init__(self, *, preset: str = "fast"):
        if preset not in PRESETS:
            raise BadOption(f"vvenc: preset is one of {', '.join(PRESETS)}, not {preset}")
        self._preset = preset
        self._program = find_ffmpeg(CODEC)

    def describe(self) -> CodecInfo:
        """VVenC and ffmpeg; the fingerprint is of the one program that contains both."""
        return CodecInfo(
            version=versions(self._program, CODEC, r"libvvenc version: (\S+)"),
            command=f"{' '.join(self._command('ffmpeg', '{qp}'))} STREAM; {LAYOUT}",
            licence="BSD-3-Clause-Clear",
            fingerprint=file_sha256(self._program),
            revision=1,
            timed="program start, colour conversion in numpy, samples through a pipe and a file",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """One byte of padding and one intra picture; `BadOption` unless qp is whole, 0 to 63."""
        check_qp(self.name, setting, LARGEST_QP)
        command = self._command(str(self._program), f"{setting.value:g}")
        return encode_picture(pixels, LAYOUT, command)

    def decode(self, data: bytes) -> Pixels:
        """The pixels; `ProgramFailed` or `CorruptStream` for anything but a whole stream."""
        return decode_picture(self._program, CODEC, data)

    def convert_only(self, pixels: Pixels, truncated: bool = False) -> Pixels:
        """The pixels through both colour conversions, with nothing coded between."""
        return convert_picture(pixels, LAYOUT, "down" if truncated else "nearest")

    def _command(self, program: str, qp: str) -> list[str]:
        options = ["-threads", "1", "-preset", self._preset, "-qpa", "0", "-qp", qp]
        return encode_command(program, CODEC, LAYOUT, [*options, "-vvenc-params", PARAMETERS])
