"""Intra pictures coded by the video codecs in imageio-ffmpeg's program.

The stream is a byte and an elementary stream (Annex B). The byte has the number of columns (high
four bits) and rows (low four bits) that were added at the right and the bottom by repeating the
last one: encoders refuse sides under 16, and 4:2:0 needs even sides. `baselines.formats.ycbcr`
converts colours, ffmpeg must not convert anything, and streams state BT.709, full range.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from baselines.formats import ycbcr
from baselines.formats.external import run_encoder
from benchmark.codec import Between, CodecInfo, Pixels, Setting, require_accepted
from benchmark.errors import CorruptStream, ProgramFailed, Unavailable
from benchmark.system import programs
from benchmark.system.atomic import private_folder
from benchmark.system.digest import cached_value, file_sha256

MIN_SIDE = 16
TIMEOUT_SECONDS = 3600  # far more than the slowest preset takes for a large photograph
SIDE = r"[1-9][0-9]{0,5}"  # pixels, in a YUV4MPEG2 header
UNATTENDED_OPTIONS = ("-hide_banner", "-nostdin", "-nostats")
QUIET_OPTIONS = (*UNATTENDED_OPTIONS, "-loglevel", "error")
COLOURS = (
    *("-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709"),
    *("-color_trc", "iec61966-2-1"),
)


class PictureFormat(NamedTuple):
    """Depth and chroma format of a video codec's samples."""

    depth: int  # bits per sample: 8 or 10
    subsampling: ycbcr.Subsampling

    @property
    def pixel_format(self) -> str:
        """Return ffmpeg's name for the format: "yuv444p", "yuv420p10le"."""
        return f"yuv{self.subsampling}p" + ("" if self.depth == 8 else f"{self.depth}le")

    @property
    def chroma(self) -> str:
        """Return the chroma format in the form used in rows: "4:2:0"."""
        return ":".join(str(self.subsampling))

    def __str__(self) -> str:
        chroma = "444" if self.subsampling == 444 else "420 by Lanczos-3"
        return f"RGB as BT.709 full-range YCbCr {chroma}, {self.depth} bits, rounded"


@cache
def find_ffmpeg(feature: str, **components: str) -> Path:
    """Return imageio-ffmpeg's program; `Unavailable` unless it has these components."""
    # feature: what needs ffmpeg, for messages. components: encoder=NAME, decoder=NAME, muxer=NAME
    program = programs.packaged_ffmpeg(feature)
    for kind, name in components.items():
        try:
            printed_text = _query_ffmpeg(program, *QUIET_OPTIONS, "-h", f"{kind}={name}")
        except ProgramFailed as error:
            raise Unavailable(f"{feature} needs a working ffmpeg: {error}") from error
        if not printed_text.startswith(f"{kind.capitalize()} {name} "):
            remedy = "install a newer imageio-ffmpeg"
            raise Unavailable(f"{program.name} has no {kind} {name}: {remedy}")
    return program


@cache
def ffmpeg_version(program: Path) -> str:
    """Return the program's version: "ffmpeg 7.0.2"."""
    match = re.match(r"ffmpeg version (\S+)", _query_ffmpeg(program, "-version"))
    return f"ffmpeg {match[1] if match else 'of unknown version'}"


@cache
def encoder_version(program: Path, encoder: str, banner: str) -> str:
    """Return the version of an encoder's library, which `banner` matches in the log of a trial."""
    picture = f"color=gray:s={MIN_SIDE}x{MIN_SIDE}"
    source = ["-f", "lavfi", "-i", picture, "-frames:v", "1"]
    trial = [*source, "-c:v", encoder, "-f", "rawvideo", "-"]  # x264 states its version only there
    match = re.search(banner, _query_ffmpeg(program, *UNATTENDED_OPTIONS, *trial))
    return f"{encoder} {match[1] if match else 'of unknown version'}"


def _query_ffmpeg(program: Path, *options: str) -> str:
    # runs the program again only if its file changed

    def run() -> str:
        command: list[str | Path] = [program, *options]
        printed_text = programs.run_program(command, timeout_seconds=60, include_stderr=True)
        return printed_text.decode(errors="replace")

    exists = program.is_file()  # otherwise `run` reports the problem
    return str(cached_value(program, f"printed {' '.join(options)}", run)) if exists else run()


def decode_to_y4m(program: Path, stream: str, data: bytes, decoder: str = "") -> bytes:
    """Decode an elementary stream to YUV4MPEG2; `ProgramFailed` if ffmpeg reports an error."""
    decoder_option = ["-c:v", decoder] if decoder else []
    # probing would decode the picture a second time
    source = [*decoder_option, "-threads", "1", "-nofind_stream_info", "-f", stream, "-i", "pipe:0"]
    single_picture = ["-map", "0:0", "-fps_mode", "passthrough"]  # since AVC states a duration
    output = [*single_picture, "-strict", "-1", "-f", "yuv4mpegpipe", "pipe:1"]
    return programs.run_program(
        [program, *QUIET_OPTIONS, "-noauto_conversion_filters", "-xerror", *source, *output],
        timeout_seconds=TIMEOUT_SECONDS,
        stdin=data,
        max_output_bytes=programs.MAX_FILE_BYTES,  # the picture's size is unknown here
    )


class Y4MPicture(NamedTuple):
    """Decoded samples with the depth and range stated in the file."""

    planes: ycbcr.Planes  # 4:4:4 or 4:2:0
    depth: int  # bits per sample: 8 or 10
    full_range: bool  # False if the file states limited range, or nothing


def read_y4m(file: bytes) -> Y4MPicture:
    """Parse a YUV4MPEG2 file; `CorruptStream` unless it holds exactly one complete picture."""
    header, _, frame = file.partition(b"\n")
    marker, _, samples = frame.partition(b"\n")
    header_fields = {word[:1]: word[1:] for word in header.decode("ascii", "replace").split()[1:]}
    colours = re.fullmatch(r"(444|420)(?:p10|jpeg|mpeg2|paldv)?", header_fields.get("C", ""))
    sides = [re.fullmatch(SIDE, header_fields.get(name, "")) for name in ("H", "W")]
    has_markers = header.startswith(b"YUV4MPEG2 ") and marker.startswith(b"FRAME")
    if not has_markers or not colours or None in sides:
        raise CorruptStream("the stream does not contain a picture in 4:4:4 or 4:2:0")
    height, width = (int(header_fields[name]) for name in ("H", "W"))
    depth = 10 if "p10" in colours[0] else 8
    chroma_step = 2 if colours[1] == "420" else 1
    shapes = [(height, width)] + 2 * [(-(-height // chroma_step), -(-width // chroma_step))]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    if len(samples) != ends[-1] * np.dtype(sample_type(depth)).itemsize:
        raise CorruptStream("the stream does not contain exactly one complete picture")
    flat_planes = np.split(np.frombuffer(samples, sample_type(depth)), ends[:-1])
    planes = ycbcr.Planes(*(p.reshape(s) for p, s in zip(flat_planes, shapes, strict=True)))
    return Y4MPicture(planes, depth, b" XCOLORRANGE=FULL" in header)


def raw_samples(planes: ycbcr.Planes, depth: int) -> bytes:
    """Convert a picture's samples to the bytes of a raw file, plane by plane."""
    return b"".join(plane.astype(sample_type(depth)).tobytes() for plane in planes)


def sample_type(depth: int) -> str:
    """Return numpy's dtype of a sample in raw files: one byte, or two in little endian."""
    return "u1" if depth == 8 else "<u2"


class IntraCodec:
    """Base class of codecs that encode and decode a picture with ffmpeg."""

    # A subclass names the encoder; its constructor passes the samples' format and the encoder's
    # options, in which the setting's name in braces is replaced by its value.

    name: ClassVar[str]
    sweep = tuple(Setting("qp", value) for value in (47, 42, 37, 32, 27, 22))
    encoder: ClassVar[str]  # ffmpeg's name: "libx265"
    stream: ClassVar[str]  # ffmpeg's name of the decoder and of the raw format: "hevc"
    accepts: ClassVar[Between]
    banner: ClassVar[str]  # regular expression for the library's version in the encoder's log
    licence: ClassVar[str]
    revision: ClassVar[int] = 1
    decoder: ClassVar[str] = ""  # ffmpeg's name, if it differs from `stream`
    output: ClassVar[str] = "STREAM"  # placeholder in the description's command

    def __init__(
        self, layout: PictureFormat, options: Sequence[str], tuned_for: str = "PSNR"
    ) -> None:
        """Raise `Unavailable` unless ffmpeg has the encoder and the decoder."""
        self._layout, self._options, self._tuned_for = layout, tuple(options), tuned_for
        decoder = self.decoder or self.stream
        self._program = find_ffmpeg(
            self.encoder, encoder=self.encoder, decoder=decoder, muxer=self.stream
        )

    def describe(self) -> CodecInfo:
        """Return versions of library and ffmpeg, and the sha256 of the program that has both."""
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
        """Return a byte of padding and an intra picture; `BadOption` unless qp is an integer."""
        step = 2 if self._layout.subsampling == 420 else 1
        rows, columns = (-(-max(side, MIN_SIDE) // step) * step - side for side in pixels.shape[:2])
        padded_pixels = np.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge")
        planes = ycbcr.rgb_to_ycbcr(padded_pixels, *self._layout)
        return bytes([columns << 4 | rows]) + self._encode_planes(planes, setting)

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels; `ProgramFailed` or `CorruptStream` unless the stream is complete."""
        if not data:
            raise CorruptStream(f"the {self.stream} stream is empty")
        pixels = self._decode_stream(self.stream, data[1:])
        columns, rows = data[0] >> 4, data[0] & 15
        height, width, _ = pixels.shape
        if columns >= width or rows >= height:
            raise CorruptStream(f"{width}x{height} pixels cannot have {columns}x{rows} of padding")
        return np.ascontiguousarray(pixels[: height - rows, : width - columns])

    def container_bytes(self, data: bytes) -> int:
        """Return 1: the byte with the padding before the elementary stream."""
        return len(data[:1])

    def _encode_planes(self, planes: ycbcr.Planes, setting: Setting) -> bytes:
        require_accepted(self, setting)
        height, width = planes.luma.shape
        placeholder, value = f"{{{setting.name}}}", setting.value
        values = {placeholder: f"{value:g}", f"12+{placeholder}": f"{value + 12:g}"}
        arguments = [values.get(word, word) for word in self._arguments(f"{width}x{height}")]
        samples = raw_samples(planes, self._layout.depth)
        with private_folder() as folder:
            stream = folder / "stream"  # not a pipe, since libvvenc prints warnings to it
            command: list[str | Path] = [self._program, *arguments, stream]
            return run_encoder(command, stream, (height, width), TIMEOUT_SECONDS, samples)

    def _arguments(self, size: str) -> list[str]:
        # all arguments before the output file
        return [
            *(*QUIET_OPTIONS, "-noauto_conversion_filters"),
            *("-f", "rawvideo", "-pixel_format", self._layout.pixel_format),
            *("-video_size", size, "-framerate", "1", *COLOURS, "-i", "pipe:0"),
            *("-frames:v", "1", "-c:v", self.encoder, *self._options, "-f", self.stream),
        ]

    def _decode_stream(self, stream: str, data: bytes) -> Pixels:
        # does not crop padding; stream: ffmpeg's name for the raw format
        picture = read_y4m(decode_to_y4m(self._program, stream, data, self.decoder))
        if not picture.full_range:
            raise CorruptStream("the stream does not state full-range samples")
        luma, *chroma = picture.planes
        (height, width), (rows, columns) = luma.shape, chroma[0].shape
        scale = 2 if (rows, columns) != (height, width) else 1
        padding = ((0, scale * rows - height), (0, scale * columns - width))
        planes = ycbcr.Planes(np.pad(luma, padding, mode="edge"), *chroma)
        return ycbcr.ycbcr_to_rgb(planes, picture.depth)[:height, :width]
