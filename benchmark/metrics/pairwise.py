"""Metrics of two sets of feature vectors by their pairs: kernel distance, precision and recall.

KID: Binkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs" (2018): the squared maximum mean
discrepancy under k(x, y) = (x.y / dimensions + 1)^3, its unbiased estimate from all patches at
once. torch-fidelity and clean-fid give the mean of 100 estimates from random subsets of 1000, which
scatters around this number. It is not multiplied by 1000.

Precision and recall: Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall
Metric for Assessing Generative Models" (2019), with k = 3. Around each vector of a set lies a ball
that reaches to its third neighbour within the set. Precision is the share of decoded patches inside
any ball of the sources, recall the share of source patches inside any ball of the decoded ones. A
patch's own source counts like any other, so both values are near 1 at high rates.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import metric as boundary
from benchmark.metrics.metric import DistributionMetric, Features, Presentation, Reduced

Floats = NDArray[np.float32]

BLOCK_PATCHES = 1024  # of a set at a time: kernel values of 1024 x 1024 patches take 4 MB
NEIGHBOURS = 3


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
    words = "kid"
    label = "KID/256"
    protocol = "kernel-distance/1"
    presentation = Presentation("decades", published="kid", over_few="widely scattered")

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the discrepancy; `NotMeasurable` under two patches."""
        return kernel_distance(reference, decoded)


class KID256TF(KID256):
    """KID of 256 px patches, of Inception's features as torch-fidelity computes them."""

    column = "kid256_tf"
    words = "kidtf"
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


def _kernel(first: Features, second: Features) -> Floats:
    values: Floats = first @ second.T
    values /= np.float32(first.shape[1])
    values += np.float32(1)
    return values * values * values


class _Coverage(DistributionMetric):
    """Share of a set's patches inside the other's balls."""

    better = "higher"
    balls_of: ClassVar[int]  # 0: around the sources, 1: around the decoded patches
    has_influence = False

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the share, 0..1; `NotMeasurable` under four patches."""
        boundary.patches_by_image(reference, decoded)
        sets = [np.concatenate(reference), np.concatenate(decoded)]
        return Reduced(coverage(sets[self.balls_of], sets[1 - self.balls_of]))


class Precision256(_Coverage):
    """Precision of 256 px patches in Inception's features."""

    column = "precision256"
    words = "precision"
    label = "Precision/256"
    protocol = "precision/1"
    balls_of = 0


class Recall256(_Coverage):
    """Recall of 256 px patches in Inception's features."""

    column = "recall256"
    words = "recall"
    label = "Recall/256"
    protocol = "recall/1"
    balls_of = 1


def coverage(centres: Features, vectors: Features) -> float:
    """Return the share of vectors (n, d) that lie in any ball around the centres (m, d).

    A ball reaches to the third neighbour of its centre among the centres, itself included.
    Raises `NotMeasurable` under four centres.
    """
    boundary.require_patches(len(centres), NEIGHBOURS + 1, "a neighbourhood")
    origin = centres.mean(axis=0)  # smaller numbers lose fewer digits
    middle, others = centres - origin, vectors - origin
    blocks = [  # a centre is its own nearest neighbour
        np.partition(distances, NEIGHBOURS, axis=1)[:, NEIGHBOURS]
        for distances in _squared_distances(middle, middle)
    ]
    reach = np.concatenate(blocks)
    inside = [(d <= reach).any(axis=1).sum() for d in _squared_distances(others, middle)]
    return int(sum(inside)) / len(vectors)


def _squared_distances(rows: Floats, columns: Floats) -> Iterator[Floats]:
    """Yield squared distances (rows of a block, columns), a block of rows at a time."""
    of_columns = np.einsum("ij,ij->i", columns, columns)
    for block in (rows[part] for part in _blocks(rows)):
        products = block @ columns.T
        of_rows = np.einsum("ij,ij->i", block, block)
        yield np.maximum(of_rows[:, None] + of_columns - 2 * products, 0)
