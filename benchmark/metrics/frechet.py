"""Frechet distances between features, and the influence of each image on the distance.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule" (2017), as pytorch-fid computes it:
|m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), with unbiased covariances. With factors
Fi' Fi = Ci, the last trace is the nuclear norm of F1 F2' (sum of singular values), never negative.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.metric import (
    DistributionMetric,
    Features,
    Presentation,
    Reduced,
    image_influence,
    patches_by_image,
    require_patches,
)

Floats = NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
SHORT_SHARE = 1e-5  # singular values below this share of the maximum are recomputed
BLOCK_PATCHES = 2048  # 34 MB per float64 block at 2048 dimensions


def frechet(reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
    """Return the Frechet distance between two sets of images' patches, and images' influences.

    An influence is the number of images times the derivative with respect to an image's weight,
    which multiplies its patches' terms in all sums and counts of both sets. The factor n / (n - 1)
    of covariances is held constant, so influences add up to 0. The derivative of a nuclear norm |K|
    with K = U S V' is U V', which gives patch a the leverage sum_k S_k (U_ak^2 + V_ak^2). Standard
    errors are too large if dimensions outnumber patches: by a third for 24 images of 8 patches and
    512 dimensions. Raises `NotMeasurable` if there are fewer than two patches.
    """
    image_indices = patches_by_image(reference, decoded)
    require_patches(len(image_indices), 2, "a covariance")
    has_few_patches = len(image_indices) <= reference[0].shape[1]
    distance = _distance_by_patches if has_few_patches else _distance_by_dimensions
    value, contributions = distance(reference, decoded)
    return Reduced(value, image_influence(contributions, image_indices, len(reference)))


class FrechetDistance(DistributionMetric):
    """Frechet distance in the feature space named by a subclass."""

    protocol = "frechet/1"

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the distance; raise `NotMeasurable` if there are fewer than two patches."""
        return frechet(reference, decoded)


class FID256(FrechetDistance):
    """FID of 256 px patches, with Inception's features as pytorch-fid computes them."""

    column = "fid256"
    words = "fid frechetinceptiondistance"
    label = "FID/256"
    # All these protocols cut 256 px patches from two grids. They differ in rounding and in the port
    # of Inception; HiFiC's shifted grid may differ, too (docs/protocol.md).
    presentation = Presentation(
        "decades",
        realism=1,
        published="fid",
        meets=(
            "fid256-truncated/pytorch-fid-0.3.0", "fid256/torch-fidelity", "fid256/hific",
            "fid256/reported",
        ),
    )  # fmt: skip


class FID256TF(FrechetDistance):
    """FID of 256 px patches, with Inception's features as torch-fidelity computes them."""

    column = "fid256_tf"
    words = "fidtf"
    label = "FID/256 (torch-fidelity)"
    presentation = Presentation(
        "decades", published="fid", meets=("fid256/torch-fidelity",), short_title="FID/256"
    )
    space = "inception256_tf"


class FDAlex(FrechetDistance):
    """Frechet distance of AlexNet's features, if Inception is not available; not an FID."""

    column = "fd_alex"
    words = "fdalexnet"
    label = "FD (AlexNet)"
    presentation = Presentation("decades", realism=3, short_title="FD", decimals=2)
    space = "alex256"
    min_images = 2


class FDSqueeze(FrechetDistance):
    """Frechet distance of SqueezeNet's features, on which no codec is trained here; not an FID."""

    column = "fd_squeeze"
    words = "fdsqueezenet"
    label = "FD (SqueezeNet)"
    presentation = Presentation("decades", realism=2, short_title="FD", decimals=2)
    space = "squeeze256"
    min_images = 2


@dataclass(frozen=True, slots=True, eq=False)
class GaussianSums:
    """Count, mean and scatter of a set of vectors; `+` combines two sets."""

    count: int
    mean: Floats  # (dimensions,)
    scatter: Floats  # (dimensions, dimensions), sum of outer products of deviations from the mean

    @classmethod
    def summarise(cls, features: NDArray[np.floating[Any]]) -> "GaussianSums":
        """Return the float64 sums of vectors (samples, dimensions) of any precision."""
        vectors = np.asarray(features, np.float64)
        mean = vectors.sum(axis=0) / max(1, len(vectors))
        deviations = vectors - mean
        return cls(len(vectors), mean, deviations.T @ deviations)

    def __add__(self, other: "GaussianSums") -> "GaussianSums":
        # Chan, Golub, LeVeque (1979): raw second moments lose digits if the mean is large.
        count = self.count + other.count
        mean_difference = other.mean - self.mean
        share = other.count / max(1, count)
        scatter = np.outer(mean_difference, mean_difference * (self.count * share))
        scatter += self.scatter
        scatter += other.scatter
        return GaussianSums(count, self.mean + share * mean_difference, scatter)

    def covariance(self) -> Floats:
        """Return the unbiased covariance; raise `NotMeasurable` for fewer than two samples."""
        require_patches(self.count, 2, "a covariance")
        return self.scatter / (self.count - 1)


def factor(covariance: Floats) -> Floats:
    """Return F (rank, dimensions), rows in order of variance, with F' F = covariance."""
    from scipy.linalg.lapack import dpstrf

    size = len(covariance)
    rounding = size * EPSILON * covariance.diagonal().max(initial=0.0)
    lower, pivots, rank, _ = dpstrf(covariance, lower=True, tol=rounding)
    root = np.empty((rank, size))
    root[:, pivots - 1] = np.tril(lower)[:, :rank].T
    return root


def distance_from_factors(mean_difference: Floats, *factors: Floats, norm: float) -> float:
    """Return the distance from the difference of means, both factors and the nuclear norm."""
    traces = sum(np.vdot(matrix, matrix) for matrix in factors)
    return max(0.0, float(mean_difference @ mean_difference + (traces - 2 * norm)))


class SingularValues(NamedTuple):
    """Nuclear norm of a matrix, and the singular values and vectors that exceed rounding."""

    norm: float  # the sum of all singular values
    left: Floats  # (rows, count)
    values: Floats  # (count,)
    right: Floats  # (columns, count)


def singular_values(matrix: Floats) -> SingularValues:
    """Return the singular values of a product F1 F2' of two results of `factor`.

    They are the lengths of projections on the eigenvectors of the product's square, with errors of
    second order. Short projections form a matrix whose singular values are computed separately.
    """
    _, left_vectors = np.linalg.eigh(matrix @ matrix.T)
    projections = matrix.T @ left_vectors
    values = np.sqrt(np.einsum("ij,ij->j", projections, projections))
    largest = values.max(initial=0.0)
    is_short = values < SHORT_SHARE * largest
    short_values = np.linalg.svd(projections[:, is_short], compute_uv=False)
    # Smaller singular values are negligible, and their vectors are inaccurate.
    is_reliable = values > np.sqrt(len(matrix) * EPSILON) * largest
    norm = float(values[~is_short].sum() + short_values.sum())
    return SingularValues(
        norm,
        left_vectors[:, is_reliable],
        values[is_reliable],
        projections[:, is_reliable] / values[is_reliable],
    )


def _distance_by_patches(
    reference: Sequence[Features], decoded: Sequence[Features]
) -> tuple[float, Floats]:
    """Return the distance and patches' contributions, with a (patches, patches) matrix."""
    vectors = [np.concatenate(images, dtype=np.float64) for images in (reference, decoded)]
    means = [x.mean(axis=0) for x in vectors]
    count = len(vectors[0])
    # F' F is the unbiased covariance
    factors = [(x - mean) / np.sqrt(count - 1) for x, mean in zip(vectors, means, strict=True)]
    left_vectors, values, right_vectors = np.linalg.svd(factors[0] @ factors[1].T)
    mean_difference = means[0] - means[1]
    contributions = (
        _squared_lengths(factors[0])
        + _squared_lengths(factors[1])
        - (left_vectors**2 + right_vectors.T**2) @ values
    )
    contributions *= count
    contributions += 2 * np.sqrt(count - 1) * ((factors[0] - factors[1]) @ mean_difference)
    norm = float(values.sum())
    return distance_from_factors(mean_difference, *factors, norm=norm), contributions


def _distance_by_dimensions(
    reference: Sequence[Features], decoded: Sequence[Features]
) -> tuple[float, Floats]:
    """Return the distance and patches' contributions, with (dimensions, dimensions) matrices.

    Q1 are the patches' coordinates in F1 (X1 = Q1 F1). The left singular vectors of the patches'
    matrix are Q1 U, and Q1 U S^(1/2) = X1 F2' V S^(-1/2) needs no inverse of F1.
    """
    reference_sums, decoded_sums = (
        reduce(add, map(GaussianSums.summarise, _patch_blocks(images)))
        for images in (reference, decoded)
    )
    factors = factor(reference_sums.covariance()), factor(decoded_sums.covariance())
    mean_difference = reference_sums.mean - decoded_sums.mean
    norm, left_vectors, values, right_vectors = singular_values(factors[0] @ factors[1].T)
    roots = np.sqrt(values)
    projections = factors[1].T @ (right_vectors / roots), factors[0].T @ (left_vectors / roots)
    return distance_from_factors(mean_difference, *factors, norm=norm), (
        _contributions(reference, reference_sums, projections[0], mean_difference)
        + _contributions(decoded, decoded_sums, projections[1], -mean_difference)
    )


def _contributions(
    images: Sequence[Features], sums: GaussianSums, projection: Floats, mean_difference: Floats
) -> Floats:
    """Return each patch's contribution to the distance, up to a constant, (patches,)."""
    unbiased_factor = sums.count / (sums.count - 1)
    contributions = []
    for block in _patch_blocks(images):
        deviations = block - sums.mean
        spread = _squared_lengths(deviations) - _squared_lengths(deviations @ projection)
        contributions.append(unbiased_factor * spread + 2 * (deviations @ mean_difference))
    return np.concatenate(contributions)


def _patch_blocks(images: Iterable[Features]) -> Iterator[Features]:
    pending: list[Features] = []
    for features in images:
        pending.append(features)
        if sum(map(len, pending)) >= BLOCK_PATCHES:
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)


def _squared_lengths(rows: Floats) -> Floats:
    squares: Floats = np.einsum("ij,ij->i", rows, rows)
    return squares
