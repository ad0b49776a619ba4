"""The boundary between harness and contender: pixels to bytes, the bytes alone to pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BadOption, ImageRefused

Device = Literal["cpu", "cuda"]
Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB, 0..255
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Counts = Int64Array | Float64Array
# Protocol id of coding. Its rules: `encode` is given the source's pixels; every byte of the stream
# counts (`bits_per_pixel`); an instance that never encoded decodes the bytes alone, to 8-bit RGB of
# the source's size. Another rule gets another id, and rows of two ids are not compared.
CODING = "coding/1"
MOST_PIXELS = 178_956_970  # of an image: Pillow's limit against decompression bombs
# Largest stream that is accepted: three uncompressed double-precision samples per pixel, and a MiB
# for what does not depend on the image (headers, tables, a small network).
MOST_BYTES_PER_PIXEL = 24
MOST_BYTES_BESIDE = 1 << 20


def device_kind(device: str) -> Device:
    """Return the device that rows have of one as torch names it: "cuda" of "cuda:1"."""
    return "cuda" if device.startswith("cuda") else "cpu"


class Setting(NamedTuple):
    """Value of a codec's rate control, such as a quality or a quantisation parameter.

    >>> str(Setting("quality", 50)), str(Setting("distance", 1.5))
    ('quality=50', 'distance=1.5')
    """

    name: str
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


@dataclass(frozen=True, slots=True)
class CodecInfo:
    """Information needed to make the same streams again; stored with every row."""

    version: str  # of the encoder and its libraries: "libjpeg-turbo 3.1.2, Pillow 12.0.0"
    command: str  # the exact call or command line, with {quality} where the setting goes
    licence: str  # SPDX identifier of the encoder's licence, and of its weights'
    fingerprint: str  # sha256 of the program, library or weight files that determine the streams
    revision: int = 1  # of the adapter; raised whenever its streams or decoded pixels may change
    timed: str = "one call in this process"  # what the measured seconds include
    device: Device = "cpu"
    caveat: str = ""  # warning shown beside every number of the codec: "random weights"
    chroma: str = ""  # chroma format of the streams: "4:2:0", "4:4:4"; empty: not stated
    tuned_for: str = ""  # metric that the encoder optimises: "PSNR", "SSIM"; empty: not stated
    # Of a codec with weights for each setting, "quality=3" and the sha256 of its own: where a pair
    # is in two builds of one command, revision and device, so are the setting's streams.
    parts: tuple[tuple[str, str], ...] = ()


class Codec(Protocol):
    """A codec to be compared: two attributes and three methods.

    A user's class needs `sweep`, `encode` and `decode` alone: `benchmark.own_codec` has the rest.
    `files` of such a class are paths of further files that decide its streams: checkpoints.

    Options are keyword arguments of the constructor, each with a default. The constructor raises
    `Unavailable` if a program, package or weight file is missing, and `BadOption` for a value that
    makes no sense. If only the encoder is missing, `describe` and `encode` may say so instead:
    recorded streams are then still decoded.

    `encode` and `decode` may raise anything; the harness stores a failed row with the reason. The
    instance that decodes an image has never encoded one.

    A class may declare more:

    accepts            all settings that `encode` takes, a `Between` or `OneOf`, the sweep's among
                       them; any other is refused before a run starts
    seed               option of a decoder that draws random numbers: a whole number, by default 0,
                       on which streams do not depend; `bench run --draws` repeats with several
    draws              static method of the options: whether a decoder with them takes a seed
    facts              `benchmark.facts.Facts`: name and colour in figures, memory and time
    shown, variants    options of its variants in the table of systems, and of those that its bare
                       name stands for
    packages           Python packages outside the core that it needs: ("torch", "safetensors")
    not_here           why a package cannot be installed on this machine, by the package's name
    published_weights  static method that returns for the options the
                       `benchmark.system.settings.PublishedFile`s that `bench fetch` downloads
    unnamed_option     option that may be written without its name: `worker:contenders/hpcm.toml`
    runs_programs      True if its options name programs to run, which stored rows must not start

    And it may do more:

    container_bytes    method of a stream: its bytes that are a file format around the coded image,
                       such as boxes, signatures and sizes; tables of its quantisation and codes and
                       the image's own headers are none of these
    declared           method of an image's name and a setting, of a codec without a program: the
                       `Declared` picture on disk, with the size that a list states
    estimated_bits     method: the sum of -log2 p over the symbols of the last stream, None if
                       unknown; called after `encode`, and not timed
    make_tiled         method: the same codec, coding every image in small tiles, whose streams its
                       decoder reads, too; an image for which a GPU's memory is too small
                       (`OutOfDeviceMemory`, or torch's own error) is coded again by it
    inside_seconds     of the last call, as a codec in another process measures it there, without
                       the transfer; None where it does not
    require_distinct   method of a dataset's images by name: raises `BadOption` if two of them would
                       get the same declared picture, or if none gets one
    stated, understood methods of a codec of published pictures: of an image's name and a setting,
                       what its authors state, texts by names of columns; of images' names, a
                       sentence on what it has of them
    """

    name: str
    sweep: tuple[Setting, ...]  # the default settings, lowest rate first

    def describe(self) -> CodecInfo:
        """Return version, command, licence and fingerprint of the encoder."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the complete stream of one image: all that `decode` needs, and nothing else."""

    def decode(self, data: bytes) -> Pixels:
        """Return the image that a stream holds, from these bytes alone."""


@overload
def bits_per_pixel(num_bytes: int, num_pixels: int) -> float: ...
@overload
def bits_per_pixel(num_bytes: Counts, num_pixels: Counts) -> Float64Array: ...
def bits_per_pixel(num_bytes: Any, num_pixels: Any) -> Any:
    """Return 8 times the bytes of the whole stream over the pixels of the source, without padding.

    >>> bits_per_pixel(100, 20 * 20)
    2.0
    """
    return 8 * num_bytes / num_pixels


def most_stream_bytes(height: int, width: int) -> int:
    """Return the largest stream size accepted for an image: eight times the raw one, and a MiB.

    >>> most_stream_bytes(512, 768)
    10485760
    """
    return MOST_BYTES_PER_PIXEL * height * width + MOST_BYTES_BESIDE


class Declared(NamedTuple):
    """A decoded image whose stream's size is declared, not measured."""

    num_bytes: int
    decoded: Pixels


@dataclass(frozen=True, slots=True)
class Between:
    """The settings of one name from `lowest` to `highest`, both included; whole numbers if `whole`.

    >>> Setting("quality", 30) in Between("quality", 1, 100, whole=True)
    True
    >>> print(Between("quality", 1, 100, whole=True))
    a whole quality from 1 to 100
    """

    name: str
    lowest: float
    highest: float
    whole: bool = False

    def __contains__(self, setting: Setting) -> bool:
        return (
            setting.name == self.name
            and self.lowest <= setting.value <= self.highest
            and (not self.whole or float(setting.value).is_integer())
        )

    def __str__(self) -> str:
        if self.lowest == -math.inf and self.highest == math.inf:
            return f"any {self.name}"
        kind = "a whole" if self.whole else "a"
        return f"{kind} {self.name} from {self.lowest:g} to {self.highest:g}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The listed settings, all of one name.

    >>> print(OneOf((Setting("q", 10), Setting("q", 30), Setting("q", 50))))
    q=10, 30 or 50
    """

    settings: tuple[Setting, ...]

    def __contains__(self, setting: Setting) -> bool:
        return setting in self.settings

    def __str__(self) -> str:
        first, *rest = self.settings
        values = [str(first), *(f"{setting.value:g}" for setting in rest)]
        return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))


def require_accepted(codec: Any, setting: Setting) -> None:
    """Raise `BadOption` for a setting that is not in `codec.accepts`."""
    if setting not in codec.accepts:
        raise BadOption(f"{codec.name} takes {codec.accepts}, not {setting}")


def require_sides(codec: str, pixels: Pixels, most: int) -> None:
    """Raise `ImageRefused` for an image with a side of more pixels than the format has."""
    height, width = pixels.shape[:2]
    if max(height, width) > most:
        raise ImageRefused(f"{codec} has at most {most:,} pixels a side, not {width} x {height}")


def require_options(codec: str, **options: tuple[object, range | Sequence[object]]) -> None:
    """Raise `BadOption` for an option whose value is not allowed.

    options: by name, a pair of the value and the allowed values.
    """
    for name, (value, allowed) in options.items():
        if value not in allowed:
            *others, last = filter(None, map(str, allowed))
            known = f"{allowed[0]} to" if isinstance(allowed, range) else f"{', '.join(others)} or"
            raise BadOption(f"{codec}: {name}={value}: it is {known} {last}")
