"""AVIF: libaom in ffmpeg encodes one AV1 picture, ffmpeg writes the file around it, dav1d decodes.

Colours are converted by `baselines.formats.ycbcr`, as for x265 and VVenC, and the file names them:
BT.709 primaries and matrix, sRGB transfer, full range.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from baselines.formats.ffmpeg import (
    PictureFormat,
    VideoCodec,
    convert_picture,
    decode_to_y4m,
    encode_command,
    encode_planes,
    find_ffmpeg_with,
    read_y4m,
    versions,
)
from baselines.formats.ycbcr import Planes, conversion_floor_db, rgb_to_ycbcr, ycbcr_to_rgb
from benchmark.codec import (
    Between,
    CodecInfo,
    Facts,
    Memory,
    Pixels,
    Setting,
    Typical,
    require_accepted,
)
from benchmark.errors import BadOption, CorruptStream
from benchmark.system.digest import file_sha256

VIDEO = VideoCodec("libaom-av1", "avif")
DECODER = "libdav1d"
TUNES = ("psnr", "ssim")
BOX_HEADER_BYTES = 8  # size and type; boxes from 4 GiB, whose header is longer, are refused
FASTEST = 6  # of libaom's `good` usage
# AVIF leaves out the temporal delimiter with which an AV1 stream begins (AV1 specification, 5.6)
TEMPORAL_DELIMITER = b"\x12\x00"


class AVIF:
    """Options: tune psnr (default) or ssim, speed 0 (slow) to 6, subsampling 444 or 420, depth.

    `tune` is what libaom's decisions minimise: the squared error, or one that weighs blocks by
    their structural similarity. Speed is 4 by default, subsampling 444, as the published curves of
    AV1 have it, depth 10 bits, which every AVIF decoder reads; 8 is the alternative. The setting
    is libaom's constant quality level `crf`, from 0 to 63. The usage is `good`: at equal time it
    needs fewer bits at equal PSNR than `allintra` does.
    """

    name = "avif"
    sweep = tuple(Setting("crf", value) for value in (60, 51, 42, 34, 26, 18))
    accepts = Between("crf", 0, 63, whole=True)
    facts = Facts(
        "AVIF", "standard", colour="#56B4E9", marker="^", chroma="4:4:4", tuned_for="SSIM",
        memory=Memory(220, 0, torch=False),
        typical=(Typical("crf", ((18, 12), (34, 9), (60, 4))),),
    )  # fmt: skip
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
        parts = {"encoder": VIDEO.encoder, "muxer": VIDEO.stream, "decoder": DECODER}
        self._program = find_ffmpeg_with(parts, "avif")
        self._tune = tune
        self._layout = PictureFormat(depth, 420 if subsampling == 420 else 444)
        self._options = (
            *("-threads", "1", "-still-picture", "1", "-usage", "good"),
            *("-tune", tune, "-cpu-used", str(speed), "-b:v", "0", "-crf"),
        )
        self.conversion_floor_db = conversion_floor_db(*self._layout)

    def describe(self) -> CodecInfo:
        """Return the versions of libaom and ffmpeg; fingerprint the program that contains both."""
        command = encode_command("ffmpeg", VIDEO, self._layout, [*self._options, "{crf}"])
        return CodecInfo(
            version=versions(self._program, VIDEO, r"libaom-av1 @ \w+\] v(\S+)"),
            command=f"{' '.join(command)} FILE; {self._layout}; decoded by {DECODER}",
            licence="BSD-2-Clause",
            fingerprint=file_sha256(self._program),
            revision=2,
            timed="program start, colour conversion in numpy, samples through a pipe and a file",
            chroma=self._layout.chroma,
            tuned_for=self._tune.upper(),
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return one still picture; `BadOption` unless crf is a whole number from 0 to 63."""
        require_accepted(self, setting)
        height, width, _ = pixels.shape
        odd = ((0, height % 2), (0, width % 2), (0, 0))  # chroma of 4:2:0 is halved from even sides
        even = np.pad(pixels, odd, mode="edge") if self._layout.subsampling == 420 else pixels
        luma, *chroma = rgb_to_ycbcr(even, *self._layout)
        options = [*self._options, f"{setting.value:g}"]
        command = encode_command(str(self._program), VIDEO, self._layout, options)
        return encode_planes(Planes(luma[:height, :width], *chroma), self._layout.depth, command)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless `data` is a whole file."""
        stream = TEMPORAL_DELIMITER + coded_picture(data)
        picture = read_y4m(decode_to_y4m(self._program, "obu", stream, DECODER))
        if not picture.full_range:
            raise CorruptStream("the picture does not say that its samples have the full range")
        luma, *chroma = picture.planes
        height, width = luma.shape
        rows, columns = chroma[0].shape
        scale = 2 if (rows, columns) != (height, width) else 1
        even = ((0, scale * rows - height), (0, scale * columns - width))
        pixels = ycbcr_to_rgb(Planes(np.pad(luma, even, mode="edge"), *chroma), picture.depth)
        return np.ascontiguousarray(pixels[:height, :width])

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of the file that are not the AV1 picture in its `mdat` box."""
        return len(data) - len(coded_picture(data))

    def convert_only(self, pixels: Pixels, truncated: bool = False) -> Pixels:
        """Return the pixels through both colour conversions, with nothing coded between."""
        return convert_picture(pixels, self._layout, "down" if truncated else "nearest")


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
