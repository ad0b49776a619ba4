"""The boundary between harness and contender: pixels to bytes, the bytes alone to pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import (
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeGuard,
    TypeVar,
    overload,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import BadOption, ImageRefused

Device = Literal["cpu", "cuda"]
Pixels = NDArray[np.uint8]  # (height, width, 3), sRGB, 0..255
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Counts = Int64Array | Float64Array
# Protocol id of coding: source pixels to `encode`, the whole stream counted, decoded from the bytes
# alone by an instance that never encoded, 8-bit RGB of the source's size back; bpp as in
# `bits_per_pixel`. A change of a rule is a change of its id: numbers are comparable if these equal.
CODING = "coding/1"
MOST_PIXELS = 178_956_970  # of a picture: Pillow's limit of a decompression bomb
MOST_BYTES_PER_PIXEL = 24  # of a stream: three samples in double precision, uncompressed
MOST_BYTES_BESIDE = 1 << 20  # and what does not depend on the picture: headers, tables, a network


class Setting(NamedTuple):
    """A point of a codec's rate control.

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

    version: str  # of what does the coding: "libjpeg-turbo 3.1.2, Pillow 12.0.0"
    command: str  # the exact call or command line, the setting's place marked {quality}
    licence: str  # SPDX identifier of what does the coding
    fingerprint: str  # sha256 of the program, library file or weights that decide the streams
    revision: int  # of the adapter: raised whenever its streams or pixels may change
    timed: str  # what the seconds contain: "one call in this process", "program start, ..."
    device: Device = "cpu"
    caveat: str = ""  # what every row and figure has to say of it: "random weights", ...
    chroma: str = ""  # format in which colour is coded: "4:2:0", "4:4:4"; empty: not stated
    tuned_for: str = ""  # metric that the encoder optimises: "PSNR", "SSIM"; empty: not stated


class Codec(Protocol):
    """A contender. Options are keyword arguments of the constructor, each with a default.

    A constructor raises `Unavailable` where a program, wheel or weight file is missing, and
    `BadOption` where a value makes no sense. Where only the encoder is missing, the constructor may
    leave it to `describe` and `encode` to say so: streams of a pack are decoded all the same.
    A codec whose decoder draws has an option `seed`, a whole number that is 0 unless given; streams
    do not depend on it, and `bench run --draws` repeats the codec with several.
    A codec that has an attribute `accepts` (`DeclaresSettings`) is never asked for other settings.
    A codec with an attribute `facts` (`Facts`) has a name, colour and marker of its own in figures,
    and estimates of time and memory; an attribute `shown` has the variants in the table of systems.
    Packages outside the core that a class needs are in its `packages`: ("torch", "safetensors").
    A class whose weights can be downloaded has a static method `published_weights(options)`, which
    `bench fetch` calls and which returns `benchmark.system.weights.PublishedFile`s.

    `encode` and `decode` may raise anything: the harness makes a failed row of it. The instance
    that decodes has never encoded.
    """

    name: str
    sweep: tuple[Setting, ...]  # the default settings, lowest rate first

    def describe(self) -> CodecInfo:
        """Return version, call, licence and fingerprint of what codes."""

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Return the whole stream of one image: everything `decode` needs, and nothing else."""

    def decode(self, data: bytes) -> Pixels:
        """Return the image, from the bytes alone."""


@overload
def bits_per_pixel(num_bytes: int, num_pixels: int) -> float: ...
@overload
def bits_per_pixel(num_bytes: Counts, num_pixels: Counts) -> Float64Array: ...
def bits_per_pixel(num_bytes: Any, num_pixels: Any) -> Any:
    """Return the bits of the whole stream over the pixels of the source; padding never divides.

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
    """A reconstruction whose size is declared, not measured."""

    num_bytes: int
    decoded: Pixels


Offered = TypeVar("Offered")


def offers(codec: object, kind: type[Offered]) -> TypeGuard[Offered]:
    """Return whether a codec has all that a protocol of this file names.

    `isinstance` says the same, in twenty times as long.
    """
    return all(hasattr(codec, name) for name in _members(kind))  # type: ignore[arg-type]


@cache
def _members(kind: type[Any]) -> list[str]:
    return [name for name in {*vars(kind), *kind.__annotations__} if not name.startswith("_")]


@runtime_checkable
class DeclaresSizes(Protocol):
    """A codec whose program is out of reach: reconstructions on disk and a list of their sizes."""

    def declared(self, image: str, setting: Setting) -> Declared:
        """Return the reconstruction of the dataset's image of that name, and its declared size."""


@runtime_checkable
class TakesDataset(Protocol):
    """A codec that declares sizes and knows whether it may mistake an image for another."""

    def require_distinct(self, images: Sequence[str]) -> None:
        """Raise `BadOption` where two images of a dataset would get one reconstruction."""


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
        whole = "whole " * self.whole
        return f"a {whole}{self.name} from {self.lowest:g} to {self.highest:g}"


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


class DeclaresSettings(Protocol):
    """A codec that declares which settings it takes; any other is refused before a run starts."""

    @property
    def name(self) -> str:
        """The codec's name."""

    @property
    def accepts(self) -> Between | OneOf:
        """All settings that `encode` takes; those of the sweep are among them."""


def require_accepted(codec: DeclaresSettings, setting: Setting) -> None:
    """Raise `BadOption` for a setting that the codec's declaration leaves out."""
    if setting not in codec.accepts:
        raise BadOption(f"{codec.name} takes {codec.accepts}, not {setting}")


def require_sides(codec: str, pixels: Pixels, most: int) -> None:
    """Raise `ImageRefused` for an image with a side of more pixels than the format has."""
    height, width = pixels.shape[:2]
    if max(height, width) > most:
        raise ImageRefused(f"{codec} has at most {most:,} pixels a side, not {width} x {height}")


def require_options(codec: str, **options: tuple[object, range | Sequence[object]]) -> None:
    """Raise `BadOption` for an option, a pair of its value and the allowed ones, that is wrong."""
    for name, (value, allowed) in options.items():
        if value not in allowed:
            *others, last = filter(None, map(str, allowed))
            known = f"{allowed[0]} to" if isinstance(allowed, range) else f"{', '.join(others)} or"
            raise BadOption(f"{codec}: {name}={value}: it is {known} {last}")


@runtime_checkable
class HasContainer(Protocol):
    """A codec that knows how many bytes of its streams are a file format around the picture."""

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of a stream that are not the coded picture: boxes, signatures, sizes.

        Quantisation and code tables, and the picture's own headers, belong to the coded picture.
        """


@runtime_checkable
class TimesItself(Protocol):
    """A codec in a process of its own, which measures there what its calls take."""

    inside_seconds: float | None  # of the last call, without the way to the process and back


@runtime_checkable
class MeasuresMemory(Protocol):
    """A codec in a process of its own, which measures there the memory that its calls take."""

    inside_peak_bytes: int | None  # of the last call


@runtime_checkable
class EstimatesBits(Protocol):
    """A codec that knows the probabilities of what it codes."""

    def estimated_bits(self) -> float | None:
        """Return the bits of the last stream by them: the sum of -log2 p; None if unknown.

        Called after `encode`, outside its time.
        """


@runtime_checkable
class CodesInTiles(Protocol):
    """A codec that can do with less memory, at another stream that its decoder reads as well.

    Where a GPU runs out of memory over an image (`OutOfDeviceMemory`, or torch's own error), it is
    coded once more so, and its row says it.
    """

    def in_tiles(self) -> Codec:
        """Return the same codec, coding every image in small tiles."""


@runtime_checkable
class ConvertsColour(Protocol):
    """A codec whose adapter converts RGB for the program and back, and can be wrong in it.

    The class lists, as `conversions`, the options that lead to different conversions.
    """

    conversion_floor_db: float  # PSNR that conversion alone keeps on a photograph; may be infinite

    def convert_only(self, pixels: Pixels, truncated: bool = False) -> Pixels:
        """Convert the pixels and back, with nothing coded between.

        `truncated`: truncate in both directions, where a right conversion rounds.
        """
