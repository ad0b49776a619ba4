"""One picture to a stream and back, through a video codec of the ffmpeg that imageio-ffmpeg brings.

The stream is one byte and an elementary stream (Annex B), no container. The byte holds how many
columns (high four bits) and rows (low four bits) were added at the right and the bottom, by
repeating the last one: both encoders refuse sides under 16, and 4:2:0 needs even ones.

Colours are converted by `baselines.ycbcr` in both directions. ffmpeg is forbidden to convert
anything; it is told the pixel format, BT.709 and the full range, the encoders write them into the
stream, and the decoder's output is read in the format that the stream names.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.ycbcr import Planes, Subsampling, rgb_to_ycbcr, ycbcr_to_rgb
from benchmark.codec import Pixels, Setting
from benchmark.errors import BadOption, CorruptStream, ProgramFailed, Unavailable
from benchmark.external import private_folder, run_program

SMALLEST_SIDE = 16
TIMEOUT_SECONDS = 3600  # far above the slowest preset on a large photograph
QUIET = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
COLOURS = ("-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709")
COLOURS_OF_SRGB = (*COLOURS, "-color_trc", "iec61966-2-1")


class PictureFormat(NamedTuple):
    """How a video codec takes its samples."""

    depth: int  # bits per sample: 8 or 10
    subsampling: Subsampling

    @property
    def pixel_format(self) -> str:
        """ffmpeg's name for it: "yuv444p", "yuv420p10le"."""
        return f"yuv{self.subsampling}p" + ("" if self.depth == 8 else f"{self.depth}le")

    def __str__(self) -> str:
        chroma = "444" if self.subsampling == 444 else "420 by Lanczos-3"
        return f"RGB as BT.709 full-range YCbCr {chroma}, {self.depth} bits, rounded"


class VideoCodec(NamedTuple):
    """An encoder and the stream it makes, which names ffmpeg's decoder and raw format too."""

    encoder: str  # "libx265"
    stream: str  # "hevc"


@cache
def find_ffmpeg(codec: VideoCodec) -> Path:
    """The program, known to have encoder and decoder; `Unavailable` where it is not so."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        remedy = "install the Python package imageio-ffmpeg"
        raise Unavailable(f"{codec.encoder} needs an ffmpeg: {remedy}") from error
    try:
        program = Path(get_ffmpeg_exe())
    except RuntimeError as error:
        remedy = "install a wheel of imageio-ffmpeg that contains one"
        raise Unavailable(f"{codec.encoder} needs an ffmpeg: {remedy}") from error
    for kind, name in (("encoder", codec.encoder), ("decoder", codec.stream)):
        try:
            told = run_program([program, *QUIET, "-h", f"{kind}={name}"], timeout_seconds=60)
        except ProgramFailed as error:
            raise Unavailable(f"{codec.encoder} needs a working ffmpeg: {error}") from error
        if not told.startswith(f"{kind.capitalize()} {name} ".encode()):
            remedy = "install a newer imageio-ffmpeg"
            raise Unavailable(f"{program.name} has no {kind} {name}: {remedy}")
    return program


@cache
def versions(program: Path, codec: VideoCodec, banner: str) -> str:
    """Of the encoder's library, which `banner` (a regular expression) finds in its log, and ffmpeg.

    Codes a grey picture, since an encoder tells its version only when it starts.
    """
    picture = f"color=gray:s={SMALLEST_SIDE}x{SMALLEST_SIDE}"
    trial = ["-f", "lavfi", "-i", picture, "-frames:v", "1", "-c:v", codec.encoder]
    log = run_program(
        [program, "-hide_banner", "-nostdin", "-nostats", *trial, "-f", "null", "-"],
        timeout_seconds=60,
        with_stderr=True,
    ).decode(errors="replace")
    library = re.search(banner, log)
    told = run_program([program, "-version"], timeout_seconds=60).decode(errors="replace")
    ffmpeg = re.match(r"ffmpeg version (\S+)", told)
    return (
        f"{codec.encoder} {library[1] if library else 'of unknown version'}, "
        f"ffmpeg {ffmpeg[1] if ffmpeg else 'of unknown version'}"
    )


def check_qp(codec: str, setting: Setting, largest: int) -> None:
    """`BadOption` unless the setting is a whole QP from 0 to `largest`."""
    if setting.name != "qp" or setting.value not in range(largest + 1):
        raise BadOption(f"{codec} takes a whole qp from 0 to {largest}, not {setting}")


def encode_command(
    program: str, codec: VideoCodec, layout: PictureFormat, options: Sequence[str]
) -> list[str]:
    """The command line up to the name of the file it writes; {width} and {height} stay open."""
    return [
        *(program, *QUIET, "-noauto_conversion_filters"),
        *("-f", "rawvideo", "-pixel_format", layout.pixel_format),
        *("-video_size", "{width}x{height}", "-framerate", "1", *COLOURS_OF_SRGB, "-i", "pipe:0"),
        *("-frames:v", "1", "-c:v", codec.encoder, *options, "-f", codec.stream),
    ]


def encode_picture(pixels: Pixels, layout: PictureFormat, command: Sequence[str]) -> bytes:
    """One byte of padding and the elementary stream; `command` is from `encode_command`."""
    height, width, _ = pixels.shape
    columns, rows = (_padding(side, layout.subsampling) for side in (width, height))
    padded = np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")
    planes = rgb_to_ycbcr(padded, layout.depth, layout.subsampling)
    size = {"{width}x{height}": f"{width + columns}x{height + rows}"}
    with private_folder() as folder:
        stream = folder / "stream"  # not a pipe: libvvenc prints warnings to standard output
        run_program(
            [*(size.get(word, word) for word in command), stream],
            timeout_seconds=TIMEOUT_SECONDS,
            stdin=b"".join(plane.astype(_sample_type(layout.depth)).tobytes() for plane in planes),
        )
        data = stream.read_bytes() if stream.exists() else b""
    if not data:
        raise ProgramFailed(f"{Path(command[0]).name} ended without an error and wrote nothing")
    return bytes([columns << 4 | rows]) + data


def decode_picture(program: Path, codec: VideoCodec, data: bytes) -> Pixels:
    """The picture; `ProgramFailed` or `CorruptStream` for anything but one whole picture."""
    if not data:
        raise CorruptStream(f"an empty stream is no {codec.stream}")
    # probing would decode the picture a first time, only to throw it away
    source = ["-threads", "1", "-nofind_stream_info", "-f", codec.stream, "-i", "pipe:0"]
    raw = ["-map", "0:0", "-strict", "-1", "-f", "yuv4mpegpipe", "pipe:1"]
    picture = run_program(
        [program, *QUIET, "-noauto_conversion_filters", "-xerror", *source, *raw],
        timeout_seconds=TIMEOUT_SECONDS,
        stdin=data[1:],
    )
    planes, depth = _read_y4m(picture)
    columns, rows = data[0] >> 4, data[0] & 15
    height, width = planes.luma.shape
    if columns >= width or rows >= height:
        raise CorruptStream(f"padding of {columns}x{rows} cannot be in {width}x{height} pixels")
    pixels = ycbcr_to_rgb(planes, depth)
    return np.ascontiguousarray(pixels[: height - rows, : width - columns])


def _padding(side: int, subsampling: Subsampling) -> int:
    padded = max(side, SMALLEST_SIDE)
    return padded + (padded % 2 if subsampling == 420 else 0) - side


def _sample_type(depth: int) -> str:
    return "u1" if depth == 8 else "<u2"


def _read_y4m(picture: bytes) -> tuple[Planes, int]:
    """The planes and depth of a YUV4MPEG2 file of one full-range picture."""
    header, _, frame = picture.partition(b"\n")
    marker, _, samples = frame.partition(b"\n")
    told = {word[:1]: word[1:] for word in header.decode("ascii", "replace").split()[1:]}
    colours = re.fullmatch(r"(444|420)(?:p10|jpeg|mpeg2|paldv)?", told.get("C", ""))
    if not header.startswith(b"YUV4MPEG2 ") or not marker.startswith(b"FRAME") or not colours:
        raise CorruptStream("the stream does not hold a picture in 4:4:4 or 4:2:0")
    if b" XCOLORRANGE=FULL" not in header:
        raise CorruptStream("the stream does not say that its samples have the full range")
    height, width, depth = int(told["H"]), int(told["W"]), 10 if "p10" in colours[0] else 8
    half = 2 if colours[1] == "420" else 1
    shapes = [(height, width)] + 2 * [(-(-height // half), -(-width // half))]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    if len(samples) != ends[-1] * np.dtype(_sample_type(depth)).itemsize:
        raise CorruptStream("the stream does not hold exactly one whole picture")
    flat = np.split(np.frombuffer(samples, _sample_type(depth)), ends[:-1])
    return Planes(*(p.reshape(s) for p, s in zip(flat, shapes, strict=True))), depth
