"""Intra pictures from ffmpeg's encoders: libaom (AVIF), x264 (AVC), x265 (HEVC), VVenC (VVC).

Streams state BT.709 primaries and matrix, sRGB transfer, full range. One thread, no metadata.
"""

from binascii import crc_hqx
from typing import ClassVar

import numpy as np

from baselines.formats.ffmpeg import IntraCodec, PictureFormat
from baselines.formats.ycbcr import Planes, rgb_to_ycbcr
from benchmark.codec import Between, Pixels, Setting, require_options
from benchmark.errors import CorruptStream

BOX_HEADER_BYTES = 8  # size and type; boxes of 4 GiB or more, with longer headers, are refused
# AVIF omits the temporal delimiter at the start of an AV1 stream (AV1 specification, 5.6)
TEMPORAL_DELIMITER = b"\x12\x00"

# without "placebo", with which x265 refuses pictures with sides under 32
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
# ipratio: by default x264 codes an intra picture at 3 below the requested QP. Its list of settings,
# a unit of type 6 in each stream, is removed.
X264_PARAMETERS = "keyint=1:ipratio=1:threads=1"
# ipratio: by default x265 codes an intra picture at 3 below the requested QP
X265_PARAMETERS = (
    "log-level=error:info=0:vui-timing-info=0:keyint=1:ipratio=1:pools=none:frame-threads=1:wpp=0"
)

VVENC_PRESETS = ("faster", "fast", "medium", "slow", "slower")
VVENC_LAYOUT = PictureFormat(10, 420)  # the only format of libvvenc
# intraqpoffset: by default an intra picture is coded at 3 below the requested QP.
# bim: off, so that all blocks have the same QP. alfspeed: the default for intra pictures.
VVENC_PARAMETERS = (
    "verbosity=0:intraqpoffset=0:bim=0:intraperiod=1:gopsize=1:alfspeed=0:"
    "accessunitdelimiter=0:hrdparameterspresent=0:videofullrange=1"
)


class AVIF(IntraCodec):
    """AVIF: libaom in ffmpeg encodes an AV1 picture, ffmpeg writes the file, dav1d decodes.

    Options: tune psnr (default) or ssim, speed 0 (slow) to 6, default 4, subsampling 444 (default,
    as in published curves) or 420, depth 10 (default) or 8 bits. The setting is libaom's constant
    quality level `crf`, 0 to 63. `-usage good` is better than `allintra` in the same time.
    """

    name = "avif"
    sweep = tuple(Setting("crf", value) for value in (60, 51, 42, 34, 26, 18))
    accepts = Between("crf", 0, 63, whole=True)
    encoder, stream, decoder, output = "libaom-av1", "avif", "libdav1d", "FILE"
    banner, licence, revision = r"libaom-av1 @ \w+\] v(\S+)", "BSD-2-Clause", 2

    def __init__(
        self, *, tune: str = "psnr", speed: int = 4, subsampling: int = 444, depth: int = 10
    ) -> None:
        require_options(
            self.name,
            tune=(tune, ("psnr", "ssim")),
            speed=(speed, range(7)),  # of libaom's `good` usage
            subsampling=(subsampling, (444, 420)),
            depth=(depth, (8, 10)),
        )
        options = (
            *("-threads", "1", "-still-picture", "1", "-usage", "good"),
            *("-tune", tune, "-cpu-used", str(speed), "-b:v", "0", "-crf", "{crf}"),
        )
        layout = PictureFormat(depth, 420 if subsampling == 420 else 444)
        super().__init__(layout, options, tune.upper())

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return a still picture; `BadOption` unless crf is a whole number from 0 to 63."""
        height, width, _ = pixels.shape
        # 4:2:0 halves chroma, which needs even sides
        padding = ((0, height % 2), (0, width % 2), (0, 0))
        padded = np.pad(pixels, padding, mode="edge") if self._layout.subsampling == 420 else pixels
        luma, *chroma = rgb_to_ycbcr(padded, *self._layout)
        return self._encode_planes(Planes(luma[:height, :width], *chroma), setting)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless the file is complete."""
        return np.ascontiguousarray(
            self._decode_stream("obu", TEMPORAL_DELIMITER + coded_picture(data))
        )

    def container_bytes(self, data: bytes) -> int:
        """Return the size of the file without the AV1 picture in its `mdat` box."""
        return len(data) - len(coded_picture(data))


def coded_picture(file: bytes) -> bytes:
    """Return the content of the file's only `mdat` box (ISO/IEC 14496-12)."""
    # raises `CorruptStream` unless the boxes fill the file and exactly one is `mdat`
    pictures, start = [], 0
    while start < len(file):
        size = int.from_bytes(file[start : start + 4])
        if size < BOX_HEADER_BYTES or start + size > len(file):
            raise CorruptStream("the file is damaged or truncated: its boxes do not fill it")
        if file[start + 4 : start + BOX_HEADER_BYTES] == b"mdat":
            pictures.append(file[start + BOX_HEADER_BYTES : start + size])
        start += size
    if len(pictures) != 1:
        raise CorruptStream(f"the file has {len(pictures)} mdat boxes instead of one")
    return pictures[0]


class _ChecksummedCodec(IntraCodec):
    """Base class of x264 and x265: options preset, subsampling and depth; tuned for PSNR."""

    # ffmpeg decodes a damaged or truncated stream without an error, so a checksum of two bytes
    # (CRC-16/XMODEM, big-endian) precedes the stream.

    accepts = Between("qp", 0, 51, whole=True)
    licence = "GPL-2.0-or-later"
    parameters: ClassVar[tuple[str, ...]]  # further options of ffmpeg
    ten_bit_qp: ClassVar[str] = "{qp}"  # x264's number for a QP at 10 bits

    def __init__(self, preset: str, subsampling: int, depth: int) -> None:
        require_options(
            self.name,
            preset=(preset, PRESETS),
            subsampling=(subsampling, (444, 420)),
            depth=(depth, (8, 10)),
        )
        qp = self.ten_bit_qp if depth == 10 else "{qp}"
        options = ["-preset", preset, "-tune", "psnr", "-qp", qp]
        layout = PictureFormat(depth, 420 if subsampling == 420 else 444)
        super().__init__(layout, [*options, *self.parameters])

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return checksum, padding and intra picture; `BadOption` unless qp is one of 0..51."""
        data = super().encode(pixels, setting)
        return crc_hqx(data, 0).to_bytes(2, "big") + data

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless the stream is complete."""
        if len(data) < 3 or crc_hqx(data[2:], 0) != int.from_bytes(data[:2], "big"):
            raise CorruptStream("the stream is damaged or truncated: its checksum does not match")
        return super().decode(data[2:])

    def container_bytes(self, data: bytes) -> int:
        """Return 3: the checksum and the byte of padding before the elementary stream."""
        return 2 + super().container_bytes(data[2:])


class X265(_ChecksummedCodec):
    """HEVC intra pictures: x265 encodes, ffmpeg's own decoder decodes.

    Options: preset (veryslow by default), subsampling 444 (default) or 420, depth 8 or 10. Learned
    codecs are usually compared with HEVC in 8-bit 4:4:4, which limits PSNR to about 53 dB. The
    encoder is tuned for PSNR. QPs are integers, 0 to 51. A checksum of two bytes precedes streams.
    """

    name = "x265"
    encoder, stream = "libx265", "hevc"
    banner = r"HEVC encoder version (\S+)"
    parameters = ("-x265-params", X265_PARAMETERS)

    def __init__(self, *, preset: str = "veryslow", subsampling: int = 444, depth: int = 8) -> None:
        super().__init__(preset, subsampling, depth)


class X264(_ChecksummedCodec):
    """AVC intra pictures: x264 encodes, ffmpeg's own decoder decodes.

    Options: preset (veryslow by default), subsampling 444 (default) or 420, depth 10 (default) or
    8. The encoder is tuned for PSNR. QPs are the standard's integers, 0 to 51; at 10 bits x264
    counts from -12, so that it gets 12 more. A checksum of two bytes precedes streams.
    """

    name = "x264"
    encoder, stream = "libx264", "h264"
    banner = r"x264 - core (\d+)"
    ten_bit_qp = "12+{qp}"
    parameters = ("-x264-params", X264_PARAMETERS, "-bsf:v", "filter_units=remove_types=6")

    def __init__(self, *, preset: str = "veryslow", subsampling: int = 444, depth: int = 10):
        super().__init__(preset, subsampling, depth)


class VVenC(IntraCodec):
    """VVC intra pictures: VVenC encodes, ffmpeg's own decoder decodes.

    Options: preset faster, fast (default), medium, slow or slower. 10-bit 4:2:0. Perceptual QP
    adaptation is off (`-qpa 0`), so that every block has the same QP, 0 to 63. 4:2:0 loses chroma
    detail: PSNR does not exceed about 46 dB at any QP.
    """

    name = "vvenc"
    encoder, stream = "libvvenc", "vvc"
    accepts = Between("qp", 0, 63, whole=True)
    banner, licence = r"libvvenc version: (\S+)", "BSD-3-Clause-Clear"

    def __init__(self, *, preset: str = "fast"):
        require_options(self.name, preset=(preset, VVENC_PRESETS))
        options = ["-threads", "1", "-preset", preset, "-qpa", "0", "-qp", "{qp}"]
        super().__init__(VVENC_LAYOUT, [*options, "-vvenc-params", VVENC_PARAMETERS])
