"""Metrics from pairs of feature vectors of two sets: kernel distance, precision and recall.

KID: Binkowski et al., "Demystifying MMD GANs" (2018): the squared maximum mean discrepancy under
k(x, y) = (x.y / dimensions + 1)^3, estimated without bias from all patches at once, not multiplied
by 1000. torch-fidelity and clean-fid report the mean of 100 estimates from random subsets of 1000.
Precision and recall: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
Generative Models" (2019), k = 3. Each vector of a set is the centre of a ball that reaches to its
third neighbour in the set. Precision is the share of decoded patches inside any ball of the
sources; recall is the reverse. A patch's own source is included, so both are near 1 at high rates.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import metric as boundary
from benchmark.metrics.metric import DistributionMetric, Features, Presentation, Reduced

Floats = NDArray[np.float32]

BLOCK_PATCHES = 1024  # kernel values of 1024 x 1024 patches take 4 MB
NEIGHBOURS = 3


def kernel_distance(reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
    """Return the squared discrepancy (negative values are noise) and the images' influences.

    A patch is not compared with itself, but with all patches of the other set, including its own
    source; this lowers the distance by about 1e-4 for 28,650 Inception patches. The influence is
    the number of images times the derivative with respect to a weight of the image's patches in
    both sets. float32 products: errors are below 1e-8. `NotMeasurable` for fewer than two patches.
    """
    image_indices = boundary.patches_by_image(reference, decoded)
    count = len(image_indices)
    boundary.require_patches(count, 2, "a kernel distance")
    features = [np.concatenate(images, dtype=np.float32) for images in (reference, decoded)]
    # Mean kernel value of each patch with the other patches of its set, and with the other set
    within_set = np.add(*map(_sums_within_set, features)) / (count - 1)
    between_sets = np.add(*_sums_between_sets(*features)) / count
    contributions = np.asarray(2 * (within_set - between_sets), np.float64)
    influence = boundary.image_influence(contributions, image_indices, len(reference))
    return Reduced(float(within_set.mean() - between_sets.mean()), influence)


class KID256(DistributionMetric):
    """KID of 256 px patches: the discrepancy, not multiplied by 1000."""

    column = "kid256"
    words = "kid"
    label = "KID/256"
    protocol = "kernel-distance/1"
    presentation = Presentation("decades", published="kid", over_few="widely scattered")

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the discrepancy; `NotMeasurable` for fewer than two patches."""
        return kernel_distance(reference, decoded)


class KID256TF(KID256):
    """KID of 256 px patches, with Inception's features as torch-fidelity computes them."""

    column = "kid256_tf"
    words = "kidtf"
    label = "KID/256 (torch-fidelity)"
    presentation = Presentation(
        "decades", published="kid", meets=("kid256/torch-fidelity",), short_title="KID/256"
    )
    space = "inception256_tf"


def _sums_within_set(features: Features) -> NDArray[np.float64]:
    """Sum each patch's kernel values with the other patches of its set, (patches,)."""
    sums = np.zeros(len(features))
    blocks = _row_blocks(features)
    for index, rows in enumerate(blocks):
        values = _kernel_values(features[rows], features[rows])
        np.fill_diagonal(values, 0)
        sums[rows] += values.sum(axis=1, dtype=np.float64)
        for columns in blocks[index + 1 :]:
            values = _kernel_values(features[rows], features[columns])
            sums[rows] += values.sum(axis=1, dtype=np.float64)
            sums[columns] += values.sum(axis=0, dtype=np.float64)
    return sums


def _sums_between_sets(
    reference: Features, decoded: Features
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum each patch's kernel values with the other set; return sums of both sets, (patches,)."""
    sums = np.zeros(len(reference)), np.zeros(len(decoded))
    for rows in _row_blocks(reference):
        for columns in _row_blocks(decoded):
            values = _kernel_values(reference[rows], decoded[columns])
            sums[0][rows] += values.sum(axis=1, dtype=np.float64)
            sums[1][columns] += values.sum(axis=0, dtype=np.float64)
    return sums


def _row_blocks(features: Features) -> list[slice]:
    return [slice(start, start + BLOCK_PATCHES) for start in range(0, len(features), BLOCK_PATCHES)]


def _kernel_values(rows: Features, columns: Features) -> Floats:
    values: Floats = rows @ columns.T
    values /= np.float32(rows.shape[1])
    values += np.float32(1)
    return values * values * values


class Coverage(DistributionMetric):
    """Share of one set's patches that are inside the other set's balls."""

    better = "higher"
    centres_set: ClassVar[int]  # 0: balls around the sources, 1: around the decoded patches
    has_influence = False

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the share, 0..1; `NotMeasurable` for fewer than four patches."""
        boundary.patches_by_image(reference, decoded)
        sets = [np.concatenate(reference), np.concatenate(decoded)]
        return Reduced(coverage(sets[self.centres_set], sets[1 - self.centres_set]))


class Precision256(Coverage):
    """Precision of 256 px patches in Inception's features."""

    column = "precision256"
    words = "precision"
    label = "Precision/256"
    protocol = "precision/1"
    centres_set = 0


class Recall256(Coverage):
    """Recall of 256 px patches in Inception's features."""

    column = "recall256"
    words = "recall"
    label = "Recall/256"
    protocol = "recall/1"
    centres_set = 1


def coverage(centres: Features, vectors: Features) -> float:
    """Return the share of vectors (n, d) inside any ball around the centres (m, d).

    A ball reaches to the third neighbour, inclusive. `NotMeasurable` for fewer than four centres.
    """
    boundary.require_patches(len(centres), NEIGHBOURS + 1, "a neighbourhood")
    origin = centres.mean(axis=0)  # smaller numbers have smaller rounding errors
    shifted_centres, shifted_vectors = centres - origin, vectors - origin
    blocks = [  # a centre is its own nearest neighbour
        np.partition(distances, NEIGHBOURS, axis=1)[:, NEIGHBOURS]
        for distances in _squared_distances(shifted_centres, shifted_centres)
    ]
    radii = np.concatenate(blocks)
    counts = [
        (distances <= radii).any(axis=1).sum()
        for distances in _squared_distances(shifted_vectors, shifted_centres)
    ]
    return int(sum(counts)) / len(vectors)


def _squared_distances(rows: Floats, columns: Floats) -> Iterator[Floats]:
    """Yield squared distances for each block of rows, (rows of the block, columns)."""
    column_norms = np.einsum("ij,ij->i", columns, columns)
    for block in (rows[block_rows] for block_rows in _row_blocks(rows)):
        products = block @ columns.T
        row_norms = np.einsum("ij,ij->i", block, block)
        yield np.maximum(row_norms[:, None] + column_norms - 2 * products, 0)
