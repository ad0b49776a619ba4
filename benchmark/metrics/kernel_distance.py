"""Kernel distance (KID) of two sets of feature vectors, and each image's influence on it.

Binkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs" (2018): the squared maximum mean
discrepancy under k(x, y) = (x.y / dimensions + 1)^3, its unbiased estimate from all patches at
once. torch-fidelity and clean-fid give the mean of 100 estimates from random subsets of 1000, which
scatters around this number. It is not multiplied by 1000.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import distribution_metric as boundary
from benchmark.metrics.distribution_metric import DistributionMetric, Features, Reduced
from benchmark.metrics.metric import Presentation

BLOCK_PATCHES = 1024  # kernel values of 1024 x 1024 patches at a time, 4 MB


def kernel_distance(reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
    """Return the squared discrepancy, below 0 where it is within noise, and the influences on it.

    A patch is not compared with itself in its own set; in the other it meets all patches, also its
    own source, which lowers the distance by some 1e-4 for 28,650 patches of Inception's. The
    influence is the derivative to a weight of an image's patches in both sets, times the number of
    images. Products are float32: an error below 1e-8. `NotMeasurable` under two patches.
    """
    image_of = boundary.patches_by_image(reference, decoded)
    count = len(image_of)
    boundary.require_patches(count, 2, "a kernel distance")
    first, second = (np.concatenate(sets, dtype=np.float32) for sets in (reference, decoded))
    # The mean of a patch's kernel values with the others of its set, and with the other set.
    inside = (_sums_inside(first) + _sums_inside(second)) / (count - 1)
    across = np.add(*_sums_across(first, second)) / count
    gains = np.asarray(2 * (inside - across), np.float64)
    influence = boundary.image_influence(gains, image_of, len(reference))
    return Reduced(float(inside.mean() - across.mean()), influence)


class KID256(DistributionMetric):
    """KID of 256 px patches: the discrepancy itself, not a thousand times it."""

    column = "kid256"
    label = "KID/256"
    protocol = "kernel-distance/1"
    presentation = Presentation("decades", published="kid", over_few="widely scattered")

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the discrepancy; `NotMeasurable` under two patches."""
        return kernel_distance(reference, decoded)


class KID256TF(KID256):
    """KID of 256 px patches, of Inception's features as torch-fidelity computes them."""

    column = "kid256_tf"
    label = "KID/256 (torch-fidelity)"
    presentation = Presentation("decades", published="kid", meets=("kid256/torch-fidelity",))
    space = "inception256_tf"


def _sums_inside(features: Features) -> NDArray[np.float64]:
    """Return the sum of each patch's kernel values with all others of its set, (patches,)."""
    sums = np.zeros(len(features))
    blocks = _blocks(features)
    for place, rows in enumerate(blocks):
        values = _kernel(features[rows], features[rows])
        np.fill_diagonal(values, 0)
        sums[rows] += values.sum(axis=1, dtype=np.float64)
        for columns in blocks[place + 1 :]:
            values = _kernel(features[rows], features[columns])
            sums[rows] += values.sum(axis=1, dtype=np.float64)
            sums[columns] += values.sum(axis=0, dtype=np.float64)
    return sums


def _sums_across(
    first: Features, second: Features
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of each patch's kernel values with the other set, for both sets."""
    sums = np.zeros(len(first)), np.zeros(len(second))
    for rows in _blocks(first):
        for columns in _blocks(second):
            values = _kernel(first[rows], second[columns])
            sums[0][rows] += values.sum(axis=1, dtype=np.float64)
            sums[1][columns] += values.sum(axis=0, dtype=np.float64)
    return sums


def _blocks(features: Features) -> list[slice]:
    return [slice(at, at + BLOCK_PATCHES) for at in range(0, len(features), BLOCK_PATCHES)]


def _kernel(first: Features, second: Features) -> NDArray[np.float32]:
    values: NDArray[np.float32] = first @ second.T
    values /= np.float32(first.shape[1])
    values += np.float32(1)
    return values * values * values
