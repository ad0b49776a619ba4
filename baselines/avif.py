"""AVIF: libaom in ffmpeg encodes one AV1 picture, ffmpeg writes the file around it, dav1d decodes.

Colours are converted by `baselines.formats.ycbcr`, as for x265 and VVenC, and the file names them:
BT.709 primaries and matrix, sRGB transfer, full range.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from baselines.formats.ffmpeg import IntraCodec, PictureFormat, VideoCodec, encode_planes
from baselines.formats.ycbcr import Planes, rgb_to_ycbcr
from benchmark.codec import Between, Pixels, Setting
from benchmark.errors import BadOption, CorruptStream
from benchmark.facts import Facts, Memory, Typical

TUNES = ("psnr", "ssim")
BOX_HEADER_BYTES = 8  # size and type; boxes from 4 GiB, whose header is longer, are refused
FASTEST = 6  # of libaom's `good` usage
# AVIF leaves out the temporal delimiter with which an AV1 stream begins (AV1 specification, 5.6)
TEMPORAL_DELIMITER = b"\x12\x00"


class AVIF(IntraCodec):
    """Options: tune psnr (default) or ssim, speed 0 (slow) to 6, subsampling 444 or 420, depth.

    Speed is 4 by default, subsampling 444, as in the published curves of AV1, depth 10 bits or 8.
    The setting is libaom's constant quality level `crf`, 0 to 63. The usage is `good`: at equal
    time it needs fewer bits at equal PSNR than `allintra`.
    """

    name = "avif"
    sweep = tuple(Setting("crf", value) for value in (60, 51, 42, 34, 26, 18))
    accepts = Between("crf", 0, 63, whole=True)
    facts = Facts(
        "AVIF", "standard", colour="#117733", marker="^", chroma="4:4:4", tuned_for="SSIM",
        memory=Memory(220, 0, torch=False),
        typical=(Typical("crf", ((18, 12), (34, 9), (60, 4))),),
    )  # fmt: skip
    video, decoder, output = VideoCodec("libaom-av1", "avif"), "libdav1d", "FILE"
    banner, licence, revision = r"libaom-av1 @ \w+\] v(\S+)", "BSD-2-Clause", 2
    conversions: ClassVar[tuple[Mapping[str, str], ...]] = (
        {},
        {"depth": "8"},
        {"subsampling": "420"},
    )

    def __init__(
        self, *, tune: str = "psnr", speed: int = 4, subsampling: int = 444, depth: int = 10
    ) -> None:
        if tune not in TUNES:
            raise BadOption(f"avif: tune is psnr or ssim, not {tune}")
        if speed not in range(FASTEST + 1):
            raise BadOption(f"avif: speed is 0 to {FASTEST}, not {speed}")
        if subsampling not in (420, 444):
            raise BadOption(f"avif: subsampling is 444 or 420, not {subsampling}")
        if depth not in (8, 10):
            raise BadOption(f"avif: depth is 8 or 10 bits, not {depth}")
        options = (
            *("-threads", "1", "-still-picture", "1", "-usage", "good"),
            *("-tune", tune, "-cpu-used", str(speed), "-b:v", "0", "-crf", "{crf}"),
        )
        layout = PictureFormat(depth, 420 if subsampling == 420 else 444)
        super().__init__(layout, options, tune.upper())

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return one still picture; `BadOption` unless crf is a whole number from 0 to 63."""
        height, width, _ = pixels.shape
        odd = ((0, height % 2), (0, width % 2), (0, 0))  # chroma of 4:2:0 is halved from even sides
        even = np.pad(pixels, odd, mode="edge") if self._layout.subsampling == 420 else pixels
        luma, *chroma = rgb_to_ycbcr(even, *self._layout)
        planes = Planes(luma[:height, :width], *chroma)
        return encode_planes(planes, self._layout.depth, self._command(setting))

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless `data` is a whole file."""
        return np.ascontiguousarray(self._picture("obu", TEMPORAL_DELIMITER + coded_picture(data)))

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of the file that are not the AV1 picture in its `mdat` box."""
        return len(data) - len(coded_picture(data))


def coded_picture(file: bytes) -> bytes:
    """Return the content of the file's one `mdat` box (ISO/IEC 14496-12).

    Raises `CorruptStream` unless the boxes fill the file and one of them is `mdat`.
    """
    pictures, start = [], 0
    while start < len(file):
        size = int.from_bytes(file[start : start + 4])
        if size < BOX_HEADER_BYTES or start + size > len(file):
            raise CorruptStream("the file is damaged or truncated: its boxes do not fill it")
        if file[start + 4 : start + BOX_HEADER_BYTES] == b"mdat":
            pictures.append(file[start + BOX_HEADER_BYTES : start + size])
        start += size
    if len(pictures) != 1:
        raise CorruptStream(f"the file has {len(pictures)} mdat boxes where a picture has one")
    return pictures[0]
