"""Intra pictures through the video codecs of the ffmpeg program in imageio-ffmpeg.

The stream is a byte and an elementary stream (Annex B). The byte holds the number of columns
(high four bits) and rows (low four bits) added at the right and the bottom by repeating the last
one: encoders refuse sides under 16, and 4:2:0 needs even ones. Colours are converted by
`baselines.formats.ycbcr`; ffmpeg is forbidden to convert anything, and streams say BT.709, full
range.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from baselines.formats import ycbcr
from baselines.formats.external import encoded_by
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import CorruptStream, ProgramFailed, Unavailable
from benchmark.system import programs
from benchmark.system.atomic import private_folder
from benchmark.system.digest import cached_value, file_sha256

SMALLEST_SIDE = 16
TIMEOUT_SECONDS = 3600  # far above the slowest preset on a large photograph
SIDE = r"[1-9][0-9]{0,5}"  # of a YUV4MPEG2 file, in pixels
UNATTENDED = ("-hide_banner", "-nostdin", "-nostats")
QUIET = (*UNATTENDED, "-loglevel", "error")
COLOURS = (
    *("-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709"),
    *("-color_trc", "iec61966-2-1"),
)


class PictureFormat(NamedTuple):
    """Depth and chroma format of the samples that a video codec takes."""

    depth: int  # bits per sample: 8 or 10
    subsampling: ycbcr.Subsampling

    @property
    def pixel_format(self) -> str:
        """Return ffmpeg's name of the format: "yuv444p", "yuv420p10le"."""
        return f"yuv{self.subsampling}p" + ("" if self.depth == 8 else f"{self.depth}le")

    @property
    def chroma(self) -> str:
        """Return the chroma format as rows name it: "4:2:0"."""
        return ":".join(str(self.subsampling))

    def __str__(self) -> str:
        chroma = "444" if self.subsampling == 444 else "420 by Lanczos-3"
        return f"RGB as BT.709 full-range YCbCr {chroma}, {self.depth} bits, rounded"


@cache
def find_ffmpeg(who: str, **parts: str) -> Path:
    """Return imageio-ffmpeg's program; `Unavailable` unless it has these parts.

    who: what needs them, for the message. parts: names by kind (encoder, decoder, muxer).
    """
    program = programs.packaged_ffmpeg(who)
    for kind, name in parts.items():
        try:
            printed = _printed(program, *QUIET, "-h", f"{kind}={name}")
        except ProgramFailed as error:
            raise Unavailable(f"{who} needs a working ffmpeg: {error}") from error
        if not printed.startswith(f"{kind.capitalize()} {name} "):
            remedy = "install a newer imageio-ffmpeg"
            raise Unavailable(f"{program.name} has no {kind} {name}: {remedy}")
    return program


@cache
def ffmpeg_version(program: Path) -> str:
    """Return the program's release: "ffmpeg 7.0.2"."""
    match = re.match(r"ffmpeg version (\S+)", _printed(program, "-version"))
    return f"ffmpeg {match[1] if match else 'of unknown version'}"


@cache
def encoder_version(program: Path, encoder: str, banner: str) -> str:
    """Return the version of an encoder's library, which `banner` matches in a trial's log."""
    picture = f"color=gray:s={SMALLEST_SIDE}x{SMALLEST_SIDE}"
    source = ["-f", "lavfi", "-i", picture, "-frames:v", "1"]
    trial = [*source, "-c:v", encoder, "-f", "rawvideo", "-"]  # x264 says it in the stream alone
    match = re.search(banner, _printed(program, *UNATTENDED, *trial))
    return f"{encoder} {match[1] if match else 'of unknown version'}"


def _printed(program: Path, *options: str) -> str:
    """Return what the program prints; it is run again only if its file is not the same."""

    def run() -> str:
        command: list[str | Path] = [program, *options]
        printed = programs.run_program(command, timeout_seconds=60, include_stderr=True)
        return printed.decode(errors="replace")

    here = program.is_file()  # else running it says what is wrong
    return str(cached_value(program, f"printed {' '.join(options)}", run)) if here else run()


def decode_to_y4m(program: Path, stream: str, data: bytes, decoder: str = "") -> bytes:
    """Return an elementary stream as YUV4MPEG2; `ProgramFailed` where ffmpeg reports an error.

    stream: name of the raw format. decoder: ffmpeg's own choice if empty.
    """
    chosen = ["-c:v", decoder] if decoder else []
    # probing would decode the picture a first time, only to throw it away
    source = [*chosen, "-threads", "1", "-nofind_stream_info", "-f", stream, "-i", "pipe:0"]
    once = ["-map", "0:0", "-fps_mode", "passthrough"]  # a picture of AVC has a duration
    raw = [*once, "-strict", "-1", "-f", "yuv4mpegpipe", "pipe:1"]
    return programs.run_program(
        [program, *QUIET, "-noauto_conversion_filters", "-xerror", *source, *raw],
        timeout_seconds=TIMEOUT_SECONDS,
        stdin=data,
        most_output_bytes=programs.LARGEST_FILE_BYTES,  # the picture's size is not known here
    )


class Y4MPicture(NamedTuple):
    """Decoded samples with the depth and range that the file names."""

    planes: ycbcr.Planes  # 4:4:4 or 4:2:0
    depth: int  # bits per sample: 8 or 10
    full_range: bool  # whether the file says so; it may be true where the file is silent


def read_y4m(file: bytes) -> Y4MPicture:
    """Return the picture; `CorruptStream` for anything but exactly one whole picture."""
    header, _, frame = file.partition(b"\n")
    marker, _, samples = frame.partition(b"\n")
    words = {word[:1]: word[1:] for word in header.decode("ascii", "replace").split()[1:]}
    colours = re.fullmatch(r"(444|420)(?:p10|jpeg|mpeg2|paldv)?", words.get("C", ""))
    sides = [re.fullmatch(SIDE, words.get(name, "")) for name in ("H", "W")]
    starts = header.startswith(b"YUV4MPEG2 ") and marker.startswith(b"FRAME")
    if not starts or not colours or None in sides:
        raise CorruptStream("the stream does not hold a picture in 4:4:4 or 4:2:0")
    height, width = (int(words[name]) for name in ("H", "W"))
    depth = 10 if "p10" in colours[0] else 8
    half = 2 if colours[1] == "420" else 1
    shapes = [(height, width)] + 2 * [(-(-height // half), -(-width // half))]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    if len(samples) != ends[-1] * np.dtype(sample_type(depth)).itemsize:
        raise CorruptStream("the stream does not hold exactly one whole picture")
    flat = np.split(np.frombuffer(samples, sample_type(depth)), ends[:-1])
    planes = ycbcr.Planes(*(p.reshape(s) for p, s in zip(flat, shapes, strict=True)))
    return Y4MPicture(planes, depth, b" XCOLORRANGE=FULL" in header)


def raw_samples(planes: ycbcr.Planes, depth: int) -> bytes:
    """Return the samples of a picture as raw files have them, plane by plane."""
    return b"".join(plane.astype(sample_type(depth)).tobytes() for plane in planes)


def sample_type(depth: int) -> str:
    """Return numpy's dtype of a sample in raw files: a byte, or two with the lower byte first."""
    return "u1" if depth == 8 else "<u2"


class IntraCodec:
    """Base of the codecs that encode a picture by an encoder of ffmpeg, which decodes it as well.

    A subclass names the encoder; its constructor passes the samples' format and the encoder's
    options, in which the setting's name in braces is replaced by its value.
    """

    name: ClassVar[str]
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    encoder: ClassVar[str]  # of ffmpeg: "libx265"
    stream: ClassVar[str]  # "hevc": name of its stream, of the decoder and of the raw format
    accepts: ClassVar[Between]
    banner: ClassVar[str]  # regular expression: the library's version in the encoder's log
    licence: ClassVar[str]
    revision: ClassVar[int] = 1
    decoder: ClassVar[str] = ""  # of ffmpeg, where it is not that of the stream's name
    output: ClassVar[str] = "STREAM"  # in the command of a description

    def __init__(
        self, layout: PictureFormat, options: Sequence[str], tuned_for: str = "PSNR"
    ) -> None:
        """Raise `Unavailable` where there is no ffmpeg with the encoder and the decoder."""
        self._layout, self._options, self._tuned_for = layout, tuple(options), tuned_for
        decoder = self.decoder or self.stream
        self._program = find_ffmpeg(
            self.encoder, encoder=self.encoder, decoder=decoder, muxer=self.stream
        )

    def describe(self) -> CodecInfo:
        """Return the versions of library and ffmpeg; fingerprint the program that contains both."""
        library = encoder_version(self._program, self.encoder, self.banner)
        decoder = f"; decoded by {self.decoder}" if self.decoder else ""
        command = " ".join(["ffmpeg", *self._arguments("{width}x{height}")])
        return CodecInfo(
            version=f"{library}, {ffmpeg_version(self._program)}",
            command=f"{command} {self.output}; {self._layout}{decoder}",
            licence=self.licence,
            fingerprint=file_sha256(self._program),
            revision=self.revision,
            timed="program start, colour conversion in numpy, samples through a pipe and a file",
            chroma=self._layout.chroma,
            tuned_for=self._tuned_for,
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the padding's byte and an intra picture; `BadOption` unless qp is whole."""
        step = 2 if self._layout.subsampling == 420 else 1
        rows, columns = (
            -(-max(side, SMALLEST_SIDE) // step) * step - side for side in pixels.shape[:2]
        )
        padded = np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")
        planes = ycbcr.rgb_to_ycbcr(padded, *self._layout)
        return bytes([columns << 4 | rows]) + self._coded(planes, setting)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless `data` is a whole stream."""
        if not data:
            raise CorruptStream(f"an empty stream is no {self.stream}")
        pixels = self._picture(self.stream, data[1:])
        columns, rows = data[0] >> 4, data[0] & 15
        height, width, _ = pixels.shape
        if columns >= width or rows >= height:
            raise CorruptStream(f"padding of {columns}x{rows} cannot be in {width}x{height} pixels")
        return np.ascontiguousarray(pixels[: height - rows, : width - columns])

    def container_bytes(self, data: bytes) -> int:
        """Return 1: the byte of padding before the elementary stream."""
        return len(data[:1])

    def _coded(self, planes: ycbcr.Planes, setting: Setting) -> bytes:
        require_accepted(self, setting)
        height, width = planes.luma.shape
        mark, value = f"{{{setting.name}}}", setting.value
        values = {mark: f"{value:g}", f"12+{mark}": f"{value + 12:g}"}
        words = [values.get(word, word) for word in self._arguments(f"{width}x{height}")]
        samples = raw_samples(planes, self._layout.depth)
        with private_folder() as folder:
            stream = folder / "stream"  # not a pipe: libvvenc prints warnings to standard output
            command: list[str | Path] = [self._program, *words, stream]
            return encoded_by(command, stream, (height, width), TIMEOUT_SECONDS, samples)

    def _arguments(self, size: str) -> list[str]:
        """Return the encoder's arguments for pictures of WIDTHxHEIGHT, up to its output file."""
        return [
            *(*QUIET, "-noauto_conversion_filters"),
            *("-f", "rawvideo", "-pixel_format", self._layout.pixel_format),
            *("-video_size", size, "-framerate", "1", *COLOURS, "-i", "pipe:0"),
            *("-frames:v", "1", "-c:v", self.encoder, *self._options, "-f", self.stream),
        ]

    def _picture(self, stream: str, data: bytes) -> Pixels:
        """Return the pixels of a stream in ffmpeg's raw format of that name, padding included."""
        picture = read_y4m(decode_to_y4m(self._program, stream, data, self.decoder))
        if not picture.full_range:
            raise CorruptStream("the stream does not say that its samples have the full range")
        luma, *chroma = picture.planes
        (height, width), (rows, columns) = luma.shape, chroma[0].shape
        scale = 2 if (rows, columns) != (height, width) else 1
        even = ((0, scale * rows - height), (0, scale * columns - width))
        planes = ycbcr.Planes(np.pad(luma, even, mode="edge"), *chroma)
        return ycbcr.ycbcr_to_rgb(planes, picture.depth)[:height, :width]
