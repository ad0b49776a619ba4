"""Frechet distance between the Gaussians fitted to two sets of feature vectors.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017): |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), with means and unbiased covariances, as
pytorch-fid has it. Nothing takes the root of a matrix: with factors Fi' Fi = Ci, the last trace is
the sum of the singular values of F1 F2' (its nuclear norm), real and never negative.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import NotMeasurable

Floats = NDArray[np.float64]
Vectors = NDArray[np.floating[Any]]  # (samples, dimensions)

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class GaussianSums:
    """Count, mean and scatter of a set of vectors; `+` gives those of two sets together."""

    count: int
    mean: Floats  # (dimensions,)
    scatter: Floats  # (dimensions, dimensions), sum of outer products of deviations from the mean

    @classmethod
    def of(cls, features: Vectors) -> "GaussianSums":
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
        _require_two(self.count)
        return self.scatter / (self.count - 1)


class Centred(NamedTuple):
    """Vectors as deviations from their mean."""

    mean: Floats
    scaled: Floats  # (samples, dimensions); scaled' scaled is the unbiased covariance

    @classmethod
    def of(cls, features: Vectors) -> "Centred":
        """Centre vectors (samples, dimensions); raises `NotMeasurable` under two samples."""
        _require_two(len(features))
        vectors = np.asarray(features, np.float64)
        mean = vectors.mean(axis=0)
        return cls(mean, (vectors - mean) / np.sqrt(len(vectors) - 1))


def distance(first: GaussianSums, second: GaussianSums) -> float:
    """Return the Frechet distance of two sets; never negative, for covariances of any rank.

    Within 1e-8 of the traces, 1e-12 unless the covariances are singular along different axes; of
    identical sets that far from 0. What a covariance has below 2e-16 x dimensions of its largest
    variance counts as rounding and is left out. Raises `NotMeasurable` under two samples.
    """
    factors = factor(first.covariance()), factor(second.covariance())
    norm = nuclear_norm(factors[0] @ factors[1].T)
    return assemble(first.mean - second.mean, *factors, norm)


def distance_of_features(first: Vectors, second: Vectors) -> float:
    """Return the Frechet distance of two sets of vectors (samples, dimensions).

    Sets of fewer samples than dimensions take milliseconds. Raises `NotMeasurable` under two
    samples.
    """
    if max(len(first), len(second)) > first.shape[1]:
        return distance(GaussianSums.of(first), GaussianSums.of(second))
    one, other = Centred.of(first), Centred.of(second)
    norm = float(np.linalg.svd(one.scaled @ other.scaled.T, compute_uv=False).sum())
    return assemble(one.mean - other.mean, one.scaled, other.scaled, norm)


def factor(covariance: Floats) -> Floats:
    """Return F (rank, dimensions) with F' F the covariance, by elimination, largest variance first.

    Elimination ends where the rest is rounding, 2e-16 x dimensions of the largest variance.
    """
    from scipy.linalg.lapack import dpstrf

    size = len(covariance)
    rounding = size * EPSILON * covariance.diagonal().max(initial=0.0)
    lower, pivots, rank, _ = dpstrf(covariance, lower=1, tol=rounding)
    found = np.empty((rank, size))
    found[:, pivots - 1] = np.tril(lower)[:, :rank].T
    return found


def assemble(step: Floats, first: Floats, second: Floats, norm: float) -> float:
    """Return the distance from a difference of means, two factors and their product's nuclear norm.

    The traces are those of the factors, so that what these leave out cannot be missing on one side.
    """
    traces = np.vdot(first, first) + np.vdot(second, second)
    return max(0.0, float(step @ step + (traces - 2 * norm)))


def nuclear_norm(cross: Floats) -> float:
    """Return the sum of the singular values of a product F1 F2' of two results of `factor`.

    Squaring a matrix loses its small singular values, in general. Not here, as a rule: factors from
    elimination with pivots are graded, largest row first, so their product is, and of a graded
    square the small eigenvalues come out with digits of their own. Otherwise (where both
    covariances are singular along different axes) A A' and A' A have other rounding errors, and the
    slow decomposition takes their place.
    """
    norm = _sum_of_roots(cross, few := min(cross.shape))
    if abs(norm - _sum_of_roots(cross.T, few)) > 1e-11 * norm:
        norm = float(np.linalg.svd(cross, compute_uv=False).sum())
    return norm


def _sum_of_roots(matrix: Floats, few: int) -> float:
    """Return the sum of the roots of the `few` largest eigenvalues of the matrix's square."""
    roots = np.sqrt(np.abs(np.linalg.eigvalsh(matrix @ matrix.T)))
    return float(np.sort(roots)[len(roots) - few :].sum())


def _require_two(count: int) -> None:
    if count < 2:
        raise NotMeasurable(f"a covariance needs at least two patches, here are {count}")
