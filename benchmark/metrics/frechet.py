"""Frechet distances of features: their values, and the influence of each image on them.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017): |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), with means and unbiased covariances, as
pytorch-fid has it. Nothing takes the root of a matrix: with factors Fi' Fi = Ci, the last trace is
the sum of the singular values of F1 F2' (its nuclear norm), real and never negative.
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
SHORT = 1e-5  # of the largest singular value
BLOCK_PATCHES = 2048  # at 2048 dimensions 34 MB a block of float64


def frechet(reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
    """Return the Frechet distance of all patches of the images, and each image's influence on it.

    The influence is the derivative to a weight of an image's patches in both sets, in sums and in
    counts alike, times the number of images; the factor n / (n - 1) of the covariances is a
    constant, so influences add up to 0. The derivative of a nuclear norm |K| with K = U S V' is
    U V', which leaves to patch a the leverages sum_k S_k (U_ak^2 + V_ak^2).

    Standard errors are right where patches outnumber dimensions; with fewer they are too large, by
    a third for 24 images of 8 patches and 512 dimensions. `NotMeasurable` under two patches.
    """
    image_of = patches_by_image(reference, decoded)
    require_patches(len(image_of), 2, "a covariance")
    few = len(image_of) <= reference[0].shape[1]
    value, gains = (_few if few else _many)(reference, decoded)
    return Reduced(value, image_influence(gains, image_of, len(reference)))


class FrechetDistance(DistributionMetric):
    """Frechet distance of the features of a space that a subclass names."""

    protocol = "frechet/1"

    def reduce(self, reference: Sequence[Features], decoded: Sequence[Features]) -> Reduced:
        """Return the distance; `NotMeasurable` under two patches."""
        return frechet(reference, decoded)


class FID256(FrechetDistance):
    """FID of 256 px patches, of Inception's features as pytorch-fid computes them."""

    column = "fid256"
    words = "fid frechetinceptiondistance"
    label = "FID/256"
    # All of these cut patches of 256 px from two grids; they differ in rounding, in the port of
    # Inception, and HiFiC's perhaps in the shifted grid (docs/protocol.md).
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
    """FID of 256 px patches, of Inception's features as torch-fidelity computes them."""

    column = "fid256_tf"
    words = "fidtf"
    label = "FID/256 (torch-fidelity)"
    presentation = Presentation("decades", published="fid", meets=("fid256/torch-fidelity",))
    space = "inception256_tf"


class FDAlex(FrechetDistance):
    """Frechet distance of AlexNet's features, for where Inception is not available; not an FID."""

    column = "fd_alex"
    words = "fdalexnet"
    label = "FD (AlexNet)"
    presentation = Presentation("decades", realism=3)
    space = "alex256"
    min_images = 2


class FDSqueeze(FrechetDistance):
    """Frechet distance of SqueezeNet's features, which no codec here is trained on; not an FID."""

    column = "fd_squeeze"
    words = "fdsqueezenet"
    label = "FD (SqueezeNet)"
    presentation = Presentation("decades", realism=2)
    space = "squeeze256"
    min_images = 2


@dataclass(frozen=True, slots=True, eq=False)
class GaussianSums:
    """Count, mean and scatter of a set of vectors; `+` gives those of two sets together."""

    count: int
    mean: Floats  # (dimensions,)
    scatter: Floats  # (dimensions, dimensions), sum of outer products of deviations from the mean

    @classmethod
    def of(cls, features: NDArray[np.floating[Any]]) -> "GaussianSums":
        """Return the sums of vectors (samples, dimensions) of any precision, in float64."""
        vectors = np.asarray(features, np.float64)
        mean = vectors.sum(axis=0) / max(1, len(vectors))
        deviations = vectors - mean
        return cls(len(vectors), mean, deviations.T @ deviations)

    def __add__(self, other: "GaussianSums") -> "GaussianSums":
        # Chan, Golub, LeVeque (1979): raw second moments would lose what the mean is larger by.
        count = self.count + other.count
        step = other.mean - self.mean
        share = other.count / max(1, count)
        scatter = np.outer(step, step * (self.count * share))
        scatter += self.scatter
        scatter += other.scatter
        return GaussianSums(count, self.mean + share * step, scatter)

    def covariance(self) -> Floats:
        """Return the unbiased covariance; raises `NotMeasurable` under two samples."""
        require_patches(self.count, 2, "a covariance")
        return self.scatter / (self.count - 1)


def factor(covariance: Floats) -> Floats:
    """Return F (rank, dimensions) with F' F the covariance but for rounding, graded by variance."""
    from scipy.linalg.lapack import dpstrf

    size = len(covariance)
    rounding = size * EPSILON * covariance.diagonal().max(initial=0.0)
    lower, pivots, rank, _ = dpstrf(covariance, lower=True, tol=rounding)
    result = np.empty((rank, size))
    result[:, pivots - 1] = np.tril(lower)[:, :rank].T
    return result


def assemble(step: Floats, first: Floats, second: Floats, norm: float) -> float:
    """Return the distance from a difference of means, two factors and their product's norm."""
    traces = np.vdot(first, first) + np.vdot(second, second)
    return max(0.0, float(step @ step + (traces - 2 * norm)))


class SingularValues(NamedTuple):
    """Nuclear norm of a matrix, and its singular values and vectors but those near rounding."""

    norm: float  # the sum of all
    left: Floats  # (rows, count)
    values: Floats  # (count,)
    right: Floats  # (columns, count)


def singular_values(matrix: Floats) -> SingularValues:
    """Return the singular values of a product F1 F2' of two results of `factor`.

    Eigenvectors of the square have them as lengths of what they leave of the matrix, with errors of
    second order; together the short ones are a matrix of its own, of which they are computed again.
    """
    _, left = np.linalg.eigh(matrix @ matrix.T)
    right = matrix.T @ left
    values = np.sqrt(np.einsum("ij,ij->j", right, right))
    largest = values.max(initial=0.0)
    short = values < SHORT * largest
    again = np.linalg.svd(right[:, short], compute_uv=False)
    # Vectors of smaller values are not known well enough, and those values weigh nothing.
    sure = values > np.sqrt(len(matrix) * EPSILON) * largest
    norm = float(values[~short].sum() + again.sum())
    return SingularValues(norm, left[:, sure], values[sure], right[:, sure] / values[sure])


def _few(reference: Sequence[Features], decoded: Sequence[Features]) -> tuple[float, Floats]:
    """Return the distance and the patches' gains from patches² products: for few patches."""
    vectors = [np.concatenate(images, dtype=np.float64) for images in (reference, decoded)]
    means = [x.mean(axis=0) for x in vectors]
    count = len(vectors[0])
    # first' first is the unbiased covariance
    first, second = (
        (x - mean) / np.sqrt(count - 1) for x, mean in zip(vectors, means, strict=True)
    )
    left, roots, right = np.linalg.svd(first @ second.T)
    step = means[0] - means[1]
    gains = _squares(first) + _squares(second) - (left**2 + right.T**2) @ roots
    gains *= count
    gains += 2 * np.sqrt(count - 1) * ((first - second) @ step)
    return assemble(step, first, second, float(roots.sum())), gains


def _many(reference: Sequence[Features], decoded: Sequence[Features]) -> tuple[float, Floats]:
    """Return the distance and the patches' gains from matrices of dimensions²: for many patches.

    With Q1 the patches' coordinates in F1 (X1 = Q1 F1), Q1 U are
    the left singular vectors of the patches' matrix, and Q1 U S^(1/2) = X1 F2' V S^(-1/2) needs no
    inverse of F1.
    """
    first, second = (
        reduce(add, map(GaussianSums.of, _blocks(images))) for images in (reference, decoded)
    )
    factors = factor(first.covariance()), factor(second.covariance())
    cross = factors[0] @ factors[1].T
    step = first.mean - second.mean
    norm, left, values, right = singular_values(cross)
    roots = np.sqrt(values)
    return assemble(step, *factors, norm), (
        _gains(reference, first, factors[1].T @ (right / roots), step)
        + _gains(decoded, second, factors[0].T @ (left / roots), -step)
    )


def _gains(
    images: Sequence[Features], sums: GaussianSums, to_roots: Floats, step: Floats
) -> Floats:
    """Return what each patch of a set adds to the distance, up to a constant, (patches,)."""
    unbiased = sums.count / (sums.count - 1)
    gains = []
    for block in _blocks(images):
        deviations = block - sums.mean
        spread = _squares(deviations) - _squares(deviations @ to_roots)
        gains.append(unbiased * spread + 2 * (deviations @ step))
    return np.concatenate(gains)


def _blocks(images: Iterable[Features]) -> Iterator[Features]:
    waiting: list[Features] = []
    for features in images:
        waiting.append(features)
        if sum(map(len, waiting)) >= BLOCK_PATCHES:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _squares(rows: Floats) -> Floats:
    squares: Floats = np.einsum("ij,ij->i", rows, rows)
    return squares
