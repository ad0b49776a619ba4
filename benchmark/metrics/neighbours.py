"""Precision and recall of decoded patches among the sources' patches, by nearest neighbours.

Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall Metric for Assessing
Generative Models" (2019), with k = 3. Around each vector of a set lies a ball that reaches to its
third neighbour within the set. Precision is the share of decoded patches inside any ball of the
sources, recall the share of source patches inside any ball of the decoded ones. A patch's own
source counts like any other, so both values are near 1 at high rates.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import distribution_metric as boundary
from benchmark.metrics.distribution_metric import DistributionMetric, Features, Reduced

Floats = NDArray[np.float32]

NEIGHBOURS = 3
BLOCK_PATCHES = 1024  # distances of 1024 patches to all others at a time


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
    label = "Precision/256"
    protocol = "precision/1"
    balls_of = 0


class Recall256(_Coverage):
    """Recall of 256 px patches in Inception's features."""

    column = "recall256"
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
    for start in range(0, len(rows), BLOCK_PATCHES):
        block = rows[start : start + BLOCK_PATCHES]
        products = block @ columns.T
        of_rows = np.einsum("ij,ij->i", block, block)
        yield np.maximum(of_rows[:, None] + of_columns - 2 * products, 0)
