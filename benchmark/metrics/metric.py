"""Boundary of image metrics: a source is prepared once and compared with many decoded images."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Reason
from benchmark.registry import Better

loops: ModuleType | None = None  # of PSNR and SSIM in C; without them numpy does the same
with suppress(ImportError):  # where there was no C compiler
    loops = import_module(f"{__package__}.loops")

# decades: a logarithmic axis once values span more than a factor of ten. saturating: values crowd
# towards 1 and are plotted as -10 log10(1 - value), in dB.
Scale = Literal["linear", "decades", "saturating"]
# distortion: differences of pixels. perceptual quality: a distortion too, as it is seen (LPIPS,
# DISTS). realism: how far decoded images are from photographs, whatever their sources, as all
# distribution metrics (Blau and Michaeli, "The Perception-Distortion Tradeoff", 2018).
Kind = Literal["distortion", "perceptual quality", "realism"]

OF_PIXELS = Reason("pixels")  # the same pixels, measured again, have no value either
# Beyond it, metrics compute in bands of rows what they otherwise hold as a whole: 4,096 x 4,096.
LARGE_PIXELS = 1 << 24
BAND_PIXELS = 1 << 20


class Presentation(NamedTuple):
    """Facts about a metric that figures need, as the attribute `presentation` of its class."""

    scale: Scale = "linear"
    # rank among metrics for the realism axis of figures, best founded first; those of perceptual
    # quality come last and replace a metric of realism, which captions say
    realism: int | None = None
    published: str = ""  # its name among published numbers; empty: that of its column
    # protocol ids of published numbers that the paper's figures may draw beside measured ones
    meets: tuple[str, ...] = ()
    kind: Kind = "distortion"
    over_few: str = "biased upward"  # what a metric of a whole set is over few images


class ImageMetric(Protocol):
    """Number that compares a decoded image with its source.

    A metric may inherit from it, for the defaults below. `column`, `label`, `better` and `protocol`
    can be read from the class; it may have a `presentation`. A class whose constructor takes long
    may have `require()`, without arguments, which raises what the constructor would for missing
    weights, without loading anything (`availability.lacking`).
    """

    column: ClassVar[str]  # column of the table, unit included: "psnr_db"
    label: ClassVar[str]  # axis label: "PSNR (dB)"
    better: ClassVar[Better] = "higher"
    # changes whenever the same pixels would get another number: "psnr-rgb8/1"
    protocol: ClassVar[str]
    presentation: ClassVar[Presentation] = Presentation()
    min_side_px: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()  # Python packages outside the core that it needs

    def __init__(self, device: str = "cpu") -> None:
        """Take the torch device ("cpu", "cuda"); `Unavailable` where weights are missing."""

    def prepare(self, reference: Pixels) -> Any:
        """Return what depends on the source alone, computed once per image; by default itself.

        Raises `NotMeasurable` where this image can have no value (too small, say).
        """
        require_side(reference, self.min_side_px, self.label)
        return reference

    @abstractmethod
    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the metric of a decoded image; `ValueError` unless it has the source's shape."""


def require_same_shape(reference: tuple[int, ...], decoded: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a decoded image has the shape of its source."""
    if reference != decoded:
        raise ValueError(f"shapes differ: reference {reference}, decoded {decoded}")


def require_side(pixels: Pixels, least_px: int, metric: str) -> None:
    """Raise `NotMeasurable` where a side of the image is shorter than a metric needs."""
    side = min(pixels.shape[:2])
    if side < least_px:
        raise NotMeasurable(
            f"{metric} needs at least {least_px} px on the shorter side, this image has {side}",
            OF_PIXELS,
        )


def is_large(shape: tuple[int, ...]) -> bool:
    """Return whether an image of this shape, (height, width, ...), is to be computed in bands."""
    return shape[0] * shape[1] > LARGE_PIXELS


def bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices of rows, of about `BAND_PIXELS` pixels each, that cover all rows in order.

    >>> [list(bands(height, width)) for height, width in ((3, 1 << 19), (2, 1 << 21))]
    [[slice(0, 2, None), slice(2, 3, None)], [slice(0, 1, None), slice(1, 2, None)]]
    """
    step = max(BAND_PIXELS // width, 1)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
