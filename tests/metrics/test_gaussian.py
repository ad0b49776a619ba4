"""Frechet distances of one set of patches against closed forms and other programs."""

import math

import numpy as np
import pytest

from benchmark.errors import NotMeasurable
from benchmark.metrics.frechet import (
    GaussianSums,
    distance_from_factors,
    factor,
    frechet,
    singular_values,
)
from support.metrics.drawn_features import correlated, rotation


def sums_of(mean, covariance):
    return GaussianSums(1000, mean, covariance * 999)


def distance(first, second):
    """Frechet distance of two GaussianSums."""
    factors = factor(first.covariance()), factor(second.covariance())
    norm = singular_values(factors[0] @ factors[1].T).norm
    return distance_from_factors(first.mean - second.mean, *factors, norm=norm)


def of_features(first, second):
    return frechet([first], [second]).value


@pytest.mark.parametrize("shape", ["full", "one is singular", "both are"])
def test_covariances_that_commute_have_the_distance_of_their_deviations(shape):
    generator = np.random.default_rng(1)
    axes = rotation(generator, 60)
    first, second = generator.uniform(0.001, 4, (2, 60))
    if shape != "full":
        first[:25] = 0
    if shape == "both are":
        second[15:30] = 0
    means = generator.standard_normal((2, 60))
    sums = [
        sums_of(mean, axes.T @ (variances[:, None] * axes))
        for mean, variances in zip(means, (first, second), strict=True)
    ]
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((np.sqrt(first) - np.sqrt(second)) ** 2)
    assert distance(*sums) == pytest.approx(expected, rel=1e-10)


def test_a_factor_has_the_rank_of_its_covariance_however_small():
    covariance = 1e-20 * np.diag([4.0, 1.0, 0.0])
    factors = factor(covariance)
    assert factors.shape == (2, 3)
    np.testing.assert_allclose(factors.T @ factors, covariance, rtol=1e-12)


def test_a_matrix_of_patches_and_one_of_dimensions_give_the_same():
    generator = np.random.default_rng(4)
    first = correlated(generator, 50, 70)
    second = 0.8 * first + 0.1 * correlated(generator, 50, 70)
    by_patches = of_features(first, second)
    sums = GaussianSums.summarise(first), GaussianSums.summarise(second)
    assert distance(*sums) == pytest.approx(by_patches, rel=1e-10)
    doubled = of_features(np.repeat(first, 2, axis=0), np.repeat(second, 2, axis=0))
    step = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    assert doubled == pytest.approx(step + (by_patches - step) * (49 / 50) * (100 / 99), rel=1e-10)


@pytest.mark.parametrize("samples", [300, 40])
@pytest.mark.parametrize("smallest", [0.1, 1e-7])
@pytest.mark.parametrize("dead", [0, 30])
def test_identical_sets_have_distance_0_within_rounding(samples, smallest, dead):
    features = correlated(np.random.default_rng(6), samples, 60, smallest)
    features[:, :dead] = 3.25
    trace = np.trace(np.cov(features, rowvar=False))
    for result in (
        of_features(features, features),
        distance(GaussianSums.summarise(features), GaussianSums.summarise(features[::-1])),
    ):
        assert 0 <= result <= 1e-12 * trace


def test_small_variances_keep_their_digits():
    """Squares of singular values reach down to 1e-28 of the largest."""
    generator = np.random.default_rng(7)
    sets = [correlated(generator, 400, 100, 1e-7) for _ in range(2)]
    step = sets[0].mean(axis=0) - sets[1].mean(axis=0)
    thin = [np.linalg.qr((x - x.mean(axis=0)) / math.sqrt(399))[1] for x in sets]
    squares = np.sum(thin[0] ** 2) + np.sum(thin[1] ** 2) + step @ step
    expected = squares - 2 * np.linalg.norm(thin[0] @ thin[1].T, "nuc")
    assert of_features(*sets) == pytest.approx(expected, rel=1e-11)


def test_features_that_do_not_vary_have_the_distance_of_their_means():
    constant, shifted = np.ones((9, 3)), np.array([[1.0, 1, 4]] * 9)
    result = frechet([constant], [shifted])
    assert result.value == 9
    assert result.influence.tolist() == [0]
    assert of_features(constant[:2], shifted[:2]) == 9


def test_sets_that_vary_along_different_axes_have_the_sum_of_their_traces():
    generator = np.random.default_rng(23)
    first, second = 1e6 * generator.standard_normal((2, 20, 6))
    first[:, 3:] = second[:, :3] = 0
    traces = np.trace(np.cov(first, rowvar=False) + np.cov(second, rowvar=False))
    expected = traces + np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    result = frechet([first[:9], first[9:]], [second[:9], second[9:]])
    assert result.value == pytest.approx(expected, rel=1e-13)
    assert np.isfinite(result.influence).all()


@pytest.mark.parametrize("offset", [0, 1e4])
def test_halves_together_are_the_whole_and_nothing_added_changes_nothing(offset):
    features = correlated(np.random.default_rng(9), 90, 20) + offset
    full_sums = GaussianSums.summarise(features)
    slices = features[:1], features[1:50], features[50:50], features[50:]
    a, b, c, d = parts = [GaussianSums.summarise(part) for part in slices]
    for joined in (a + b + c + d, d + (c + (b + a))):
        assert joined.count == 90
        np.testing.assert_allclose(joined.mean, full_sums.mean, rtol=1e-14)
        np.testing.assert_allclose(joined.scatter, full_sums.scatter, rtol=0, atol=1e-9)
    expected = np.cov(features, rowvar=False)
    np.testing.assert_allclose(joined.covariance(), expected, rtol=0, atol=1e-11)
    doubled = GaussianSums.summarise(2 * features)
    assert distance(joined, doubled) == pytest.approx(distance(full_sums, doubled), rel=1e-9)
    assert (parts[2] + parts[2]).count == 0
    for sums in (parts[0] + parts[2], parts[2] + parts[0]):
        assert sums.count == 1
        np.testing.assert_allclose(sums.mean, features[0], rtol=1e-14)


def test_under_two_samples_there_is_no_covariance():
    sample = np.ones((1, 5))
    with pytest.raises(NotMeasurable, match=r"2 patches, .* 1$"):
        GaussianSums.summarise(sample).covariance()
    for images in ([sample], [], [sample[:0], sample]):
        with pytest.raises(NotMeasurable, match="at least 2 patches"):
            frechet(images, images)
