"""The boundary between scoring and a distribution metric: features per image, and a reduction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels

FEW_IMAGES = (
    50  # below it a distribution metric is marked; FID and KID are given only when asked for
)

Features = NDArray[np.float32]  # (patches of one image, dimensions)


class FeatureSpace(Protocol):
    """A network that turns the patches of one image into feature vectors.

    The constructor takes the torch device ("cpu", "cuda") and raises `Unavailable` where weights
    are missing. `column` and `protocol` can be read from the class.
    """

    column: str  # column of the table that counts an image's patches: "inception256_patches"
    protocol: str  # changes whenever the same pixels would get other features

    def features(self, pixels: Pixels) -> Features:
        """Feature vectors of the image's patches, in their order.

        Raises `NotMeasurable` where the image has no patch (a side is too short).
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """A metric of two sets, and what each image does to it."""

    value: float
    # (images,) of sum 0, the derivative of the value to each image's weight, scaled as a mean has
    # it: for the mean of x it is x - mean(x). So the value without image i is about
    # value - influence[i] / (images - 1), and the standard error of the value is
    # sqrt(sum(influence**2) / (images * (images - 1))): the infinitesimal jackknife.
    influence: NDArray[np.float64]


class DistributionMetric(Protocol):
    """A number for a set of decoded images against the set of their sources.

    All attributes can be read from the class, without the feature space's weights.
    """

    column: str  # "fid256"
    label: str  # axis label: "FID/256"
    better: Literal["higher", "lower"]
    protocol: str  # of the reduction: "frechet/1"; that of the features is their space's
    space: str  # name of the feature space in the registry
    min_images: int  # below it the value is refused unless it was asked for all the same

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """The metric of the decoded images' features; image i is `reference[i]`, `decoded[i]`.

        The order of images does not matter. Raises `NotMeasurable` where there are too few for
        any value at all.
        """
        ...
