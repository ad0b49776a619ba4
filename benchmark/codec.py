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
# Protocol id of coding, whose rules are: `encode` gets the pixels of the source; every byte of the
# stream counts (`bits_per_pixel`); an instance that has never encoded decodes only the bytes, to
# 8-bit RGB of the source's size. Another rule gets another id; different ids are not compared.
CODING = "coding/1"
MAX_PIXELS = 178_956_970  # of an image: Pillow's limit against decompression bombs
# Maximum stream size: three uncompressed double-precision samples per pixel, and a MiB that does
# not depend on the image (headers, tables, a small network).
MAX_BYTES_PER_PIXEL = 24
MAX_HEADER_BYTES = 1 << 20


def device_kind(device: str) -> Device:
    """Return the kind of a torch device, as rows store it: "cuda" for "cuda:1"."""
    return "cuda" if device.startswith("cuda") else "cpu"


class Setting(NamedTuple):
    """Value of a codec's rate control, such as a quality or a quantisation parameter."""

    name: str
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


@dataclass(frozen=True, slots=True)
class CodecInfo:
    """Information needed to reproduce the streams; stored with every row."""

    version: str  # encoder and its libraries: "libjpeg-turbo 3.1.2, Pillow 12.0.0"
    command: str  # the exact call or command line, with {quality} where the setting goes
    licence: str  # SPDX identifiers of the licences of encoder and weights
    fingerprint: str  # sha256 of the program, library or weight files that determine the streams
    revision: int = 1  # version of the adapter, raised if streams or decoded pixels may change
    timed: str = "one call in this process"  # what the measured seconds include
    device: Device = "cpu"
    caveat: str = ""  # warning shown with all numbers of the codec: "random weights"
    chroma: str = ""  # chroma format of the streams: "4:2:0", "4:4:4"; empty: not stated
    tuned_for: str = ""  # metric that the encoder optimises: "PSNR", "SSIM"; empty: not stated
    # For a codec with weights for each setting, pairs such as ("quality=3", sha256 of its weights):
    # builds with equal command, revision and device reuse each other's streams for equal pairs.
    parts: tuple[tuple[str, str], ...] = ()


class Codec(Protocol):
    """A codec to compare: two attributes and three methods.

    A user's class needs only `sweep`, `encode` and `decode`: `benchmark.own_codec` adds the rest.
    Its `files` are paths of other files that determine its streams, such as checkpoints.

    Options are keyword arguments of the constructor, each with a default. The constructor raises
    `Unavailable` if a program, package or weight file is missing, and `BadOption` for an invalid
    value. If only the encoder is missing, `describe` and `encode` may raise instead: recorded
    streams are still decoded.

    `encode` and `decode` may raise anything; the harness stores a failed row with the reason. The
    instance that decodes an image has never encoded one.

    Optional attributes:

    accepts            all settings that `encode` takes, a `Between` or `OneOf` that includes the
                       sweep; before it starts, a run refuses other settings
    seed               option of a decoder that draws random numbers: an integer, by default 0,
                       without effect on streams; `bench run --draws` measures several seeds
    draws              static method that takes the options: whether the decoder takes a seed
    facts              `benchmark.facts.Facts`: name and colour in figures, memory and time
    shown, variants    options of variants: those listed in the table of systems, and those that the
                       bare name stands for
    packages           required Python packages outside the core: ("torch", "safetensors")
    package_obstacles  reasons why packages cannot be installed on this machine, by package
    published_weights  static method that takes the options: a list of the
                       `benchmark.system.settings.PublishedFile`s that `bench fetch` downloads
    unnamed_option     option that may be written without its name: `worker:contenders/hpcm.toml`
    runs_programs      whether its options name programs, which stored rows must not start

    Optional methods:

    container_bytes    takes a stream; the number of bytes of the file format around the coded
                       image, such as boxes, signatures and sizes, but not of quantisation and
                       code tables or of the image's headers
    declared           for a codec without a program: takes an image's name and a setting; returns
                       the `Declared` picture on disk, with the stream's size stated in a csv
    estimated_bits     the sum of -log2 p over the symbols of the last stream, None if unknown;
                       called after `encode`, untimed
    make_tiled         a copy of the codec that codes every image in small tiles, into streams that
                       the codec can decode; used if an image exceeds a GPU's memory
                       (`OutOfDeviceMemory`, or torch's error)
    inside_seconds     seconds of the last call, measured in a process that the codec runs, without
                       the transfer; None if they are not measured
    require_distinct   takes the names of a dataset's images; raises `BadOption` if two of them
                       would get the same declared picture, or if none gets a picture
    stated             values that authors state for an image's name and a setting, by column
    understood         takes images' names; a sentence on the published pictures of these images
    """

    name: str
    sweep: tuple[Setting, ...]  # the default settings, lowest rate first

    def describe(self) -> CodecInfo:
        """Return version, command, licence and fingerprint of the encoder."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the complete stream of one image: all that `decode` needs, and nothing else."""

    def decode(self, data: bytes) -> Pixels:
        """Return the image of a stream, from these bytes alone."""


@overload
def bits_per_pixel(num_bytes: int, num_pixels: int) -> float: ...
@overload
def bits_per_pixel(num_bytes: Counts, num_pixels: Counts) -> Float64Array: ...
def bits_per_pixel(num_bytes: Any, num_pixels: Any) -> Any:
    """Return 8 times the bytes of the stream, divided by the source's pixels (no padding)."""
    return 8 * num_bytes / num_pixels


def max_stream_bytes(height: int, width: int) -> int:
    """Return the maximum size of an image's stream: eight times the raw size, plus a MiB."""
    return MAX_BYTES_PER_PIXEL * height * width + MAX_HEADER_BYTES


class Declared(NamedTuple):
    """A decoded image, and the size of its stream, which is declared, not measured."""

    num_bytes: int
    decoded: Pixels


@dataclass(frozen=True, slots=True)
class Between:
    """All settings of one name, from `lowest` to `highest` inclusive; integers if `whole`.

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
    """The listed settings, all with one name.

    >>> print(OneOf((Setting("q", 10), Setting("q", 30), Setting("q", 50))))
    q=10, 30 or 50
    """

    settings: tuple[Setting, ...]

    def __contains__(self, setting: Setting) -> bool:
        return setting in self.settings

    def __str__(self) -> str:
        first_setting, *other_settings = self.settings
        values = [str(first_setting), *(f"{setting.value:g}" for setting in other_settings)]
        return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))


def require_accepted(codec: Any, setting: Setting) -> None:
    """Raise `BadOption` for a setting that is not in `codec.accepts`."""
    if setting not in codec.accepts:
        raise BadOption(f"{codec.name} takes {codec.accepts}, not {setting}")


def require_sides(codec: str, pixels: Pixels, max_side: int) -> None:
    """Raise `ImageRefused` for an image with a longer side than the format allows."""
    height, width = pixels.shape[:2]
    if max(height, width) > max_side:
        raise ImageRefused(
            f"{codec} allows at most {max_side:,} pixels per side, not {width} x {height}"
        )


def require_options(codec: str, **options: tuple[object, range | Sequence[object]]) -> None:
    """Raise `BadOption` for a value outside its choices; options: (value, choices) by name."""
    for name, (value, choices) in options.items():
        if value not in choices:
            *first_choices, last_choice = filter(None, map(str, choices))
            allowed_text = (
                f"{choices[0]} to"
                if isinstance(choices, range)
                else f"{', '.join(first_choices)} or"
            )
            raise BadOption(f"{codec}: {name}={value}: it must be {allowed_text} {last_choice}")
