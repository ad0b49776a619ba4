"""Boundaries of distribution metrics: features of every image, and a reduction over all images."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import Presentation
from benchmark.registry import Better

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
    are not judged by `bench check` and `bench tradeoff`, and not attributed to images.
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
