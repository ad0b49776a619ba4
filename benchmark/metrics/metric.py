"""Boundaries of metrics: of single images, whose source is prepared once; of whole sets of images.

A metric of a set is a reduction of features of every image.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

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
    on_cpu: ClassVar[bool] = False  # computed there for long, on every device

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


# Below it a distribution metric is marked; FID and KID are given only when asked for.
FEW_IMAGES = 50

Features = NDArray[np.float32]  # (patches of an image, dimensions)


class FeatureSpace(Protocol):
    """Network that turns the patches of an image into feature vectors.

    The constructor takes the torch device ("cpu", "cuda") and raises `Unavailable` where weights
    are missing. `column` and `protocol` can be read, and `patch_count` called, on the class.
    """

    column: str  # column of the table that counts an image's patches: "inception256_patches"
    protocol: str  # changes whenever the same pixels would get other features

    @staticmethod
    def patch_count(height: int, width: int) -> int:
        """Return the number of patches of an image of this size (px), 0 where it is too small."""

    def features(self, pixels: Pixels) -> Features:
        """Return the feature vectors of the image's patches, in the order of the patches.

        Raises `NotMeasurable` where the image has no patch (a side is too short).
        """


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Value of a distribution metric, and the influence of each image on it where it is known."""

    value: float
    # (images,) of sum 0, the derivative of the value to each image's weight times the images: for
    # the mean of x it is x - mean(x). The standard error is the infinitesimal jackknife's,
    # sqrt(sum(influence**2) / (images * (images - 1))). None: see `has_influence`.
    influence: NDArray[np.float64] | None = None


class DistributionMetric(Protocol):
    """Number that compares a set of decoded images with the set of their sources.

    A metric may inherit from it, for the defaults below. All attributes can be read from the class,
    without the feature space's weights.
    """

    column: ClassVar[str]  # "fid256"
    label: ClassVar[str]  # axis label: "FID/256"
    better: ClassVar[Better] = "lower"
    protocol: ClassVar[str]  # of the reduction: "frechet/1"; that of the features is their space's
    presentation: ClassVar[Presentation] = Presentation()
    space: ClassVar[str] = "inception256"  # name of the feature space in the registry
    # below it the value is refused unless it was asked for all the same
    min_images: ClassVar[int] = FEW_IMAGES

    @abstractmethod
    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Compare the decoded images' features with the sources'.

        Image i is `reference[i]` and `decoded[i]`; the order of images does not matter. Raises
        `NotMeasurable` where there are too few images for any value at all.
        """


def has_influence(metric: type[DistributionMetric]) -> bool:
    """Return whether a metric's `reduce` gives each image's influence, as metrics do by default.

    One that cannot has the class attribute `has_influence = False`. Its values have no interval,
    are not judged by `bench check` and `bench tradeoff`.
    """
    return bool(getattr(metric, "has_influence", True))


def patches_by_image(
    reference: Sequence[Features], decoded: Sequence[Features]
) -> NDArray[np.intp]:
    """Return the index of the image that every patch belongs to, (patches,).

    Raises `ValueError` where the two sets differ in images, patches or dimensions, or hold numbers
    that are not finite.
    """
    shapes = [[features.shape for features in images] for images in (reference, decoded)]
    if shapes[0] != shapes[1] or len({dimensions for _, dimensions in shapes[0]}) > 1:
        raise ValueError("the features of the two sets differ in shape")
    if not all(np.isfinite(features).all() for features in (*reference, *decoded)):
        raise ValueError("features are not finite numbers")
    return np.repeat(np.arange(len(reference)), [patches for patches, _ in shapes[0]])


def require_patches(count: int, least: int, what: str) -> None:
    """Raise `NotMeasurable` where there are fewer patches than a metric needs."""
    if count < least:
        raise NotMeasurable(f"{what} needs at least {least} patches, here are {count}")


def image_influence(
    gains: NDArray[np.float64], image_of: NDArray[np.intp], images: int
) -> NDArray[np.float64]:
    """Return each image's influence, (images,), from what each patch adds to the value, (patches,).

    `gains` are known up to a common constant; `image_of` is what `patches_by_image` returns.
    """
    parts = np.bincount(image_of, weights=gains - gains.mean(), minlength=images)
    return parts * (images / len(gains))
