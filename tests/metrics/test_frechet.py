"""Frechet distances against closed forms and other programs, influences against derivatives."""

import math

import numpy as np
import pytest

from benchmark.errors import NotMeasurable
from benchmark.metrics import frechet as module
from benchmark.metrics.frechet import FID256, FDAlex, FDSqueeze, GaussianSums, factor, frechet
from benchmark.metrics.metric import Metric
from benchmark.metrics.pairwise import Recall256, kernel_distance
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
from support.metrics.drawn_features import correlated, image_set, rotation


def weighted_distance(reference, decoded, weights):
    """Compute the distance under weights of images in a second way, with n / (n - 1) as it is."""
    patch_weights = np.repeat(weights, [len(x) for x in reference])
    share = patch_weights / patch_weights.sum()
    scaled, means = [], []
    for images in (reference, decoded):
        vectors = np.concatenate(images).astype(np.float64)
        means.append(share @ vectors)
        unbiased = len(share) / (len(share) - 1)
        scaled.append((vectors - means[-1]) * np.sqrt(share * unbiased)[:, None])
    first, second = scaled
    squares = np.sum(first**2) + np.sum(second**2) + np.sum((means[0] - means[1]) ** 2)
    return squares - 2 * np.linalg.norm(first @ second.T, "nuc")


def derivatives(function, images, step=1e-3):
    """Return fourth-order derivatives to the images' weights at 1, times the number of images."""

    def across(way):
        return function(1 + way) - function(1 - way)

    return [images * (8 * across(w) - across(2 * w)) / (12 * step) for w in step * np.eye(images)]


def test_two_patches_are_enough_and_have_the_textbook_distance():
    """In one dimension the covariance of two numbers is half of their squared difference."""
    reference, decoded = np.array([[1.0], [3.0]]), np.array([[2.0], [8.0]])
    expected = (2 - 5) ** 2 + (np.sqrt(2.0) - np.sqrt(18.0)) ** 2
    for sets in (([reference], [decoded]), (list(reference[:, None]), list(decoded[:, None]))):
        assert frechet(*sets).value == pytest.approx(expected, rel=1e-12)
    wide = [np.hstack([vectors, np.zeros((2, 4))]) for vectors in (reference, decoded)]
    assert frechet([wide[0]], [wide[1]]).value == pytest.approx(expected, rel=1e-12)


DIMENSIONS = pytest.mark.parametrize("size", [6, 200], ids=["more patches", "more dimensions"])


def test_features_that_are_not_numbers_are_refused():
    three, wide, odd = np.ones((3, 2)), np.ones((3, 4)), np.ones((3, 2))
    odd[1, 1] = np.inf
    for metric in (frechet, kernel_distance, Recall256().reduce):
        for sets in (([three, three], [three, odd]), ([odd, three], [three, three])):
            with pytest.raises(ValueError, match="finite"):
                metric(*sets)
        with pytest.raises(ValueError, match="shape"):
            metric([three, wide], [three, wide])


@DIMENSIONS
def test_features_of_any_scale_have_the_square_of_it_as_their_distance(size):
    sets = image_set(np.random.default_rng(5), 8, size, 6)
    large, small = (frechet(*([c * x for x in images] for images in sets)) for c in (1, 1e-8))
    assert small.value == pytest.approx(1e-16 * large.value, rel=1e-6)
    largest = np.abs(large.influence).max()
    np.testing.assert_allclose(1e16 * small.influence, large.influence, atol=1e-5 * largest)


@DIMENSIONS
@pytest.mark.parametrize("dead", [0, 2])
def test_the_influence_of_an_image_is_the_derivative_to_its_weight(monkeypatch, size, dead):
    monkeypatch.setattr(module, "BLOCK_PATCHES", 10)
    reference, decoded = image_set(np.random.default_rng(11), 12, size, 8)
    for features in (*reference, *decoded):
        features[:, :dead] = 0
    for features in decoded:
        features[:, dead : 2 * dead] = 1
    result = frechet(reference, decoded)
    value = weighted_distance(reference, decoded, np.ones(12))
    assert result.value == pytest.approx(value, rel=1e-10)
    expected = derivatives(lambda weights: weighted_distance(reference, decoded, weights), 12)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(result.influence, expected, rtol=0, atol=1e-7 * largest)
    assert result.influence.sum() == pytest.approx(0, abs=1e-12 * np.abs(expected).sum())


@DIMENSIONS
def test_float32_features_count_as_the_numbers_that_they_are(size):
    reference, decoded = (
        [x.astype(np.float32) for x in images]
        for images in image_set(np.random.default_rng(15), 9, size, 6)
    )
    wide = [[x.astype(np.float64) for x in images] for images in (reference, decoded)]
    assert frechet(reference, decoded).value == frechet(*wide).value
    for images in (reference, decoded):
        assert all(x.dtype == np.float32 for x in images)


@DIMENSIONS
def test_images_of_one_patch_or_none_have_their_place(size):
    reference, decoded = image_set(np.random.default_rng(16), 15, size, 1)
    result = frechet(reference, decoded)
    together = frechet([np.concatenate(reference)], [np.concatenate(decoded)])
    assert result.value == pytest.approx(together.value, rel=1e-12)
    empty = reference[0][:0]
    padded = frechet([empty, *reference], [empty, *decoded])
    assert padded.value == pytest.approx(result.value, rel=1e-12)
    np.testing.assert_allclose(padded.influence, [0, *(result.influence * 16 / 15)], atol=1e-12)


# Sets of one image


def sums_of(mean, covariance):
    return GaussianSums(1000, mean, covariance * 999)


def distance(first, second):
    factors = factor(first.covariance()), factor(second.covariance())
    norm = module.singular_values(factors[0] @ factors[1].T).norm
    return module.distance_from_factors(first.mean - second.mean, *factors, norm=norm)


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
    sums = [sums_of(mean, axes.T @ (variances[:, None] * axes))
            for mean, variances in zip(means, (first, second), strict=True)]  # fmt: skip
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
    first, second = 1e6 * np.random.default_rng(23).standard_normal((2, 20, 6))
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
        with pytest.raises(NotMeasurable, match=" 2 patches"):
            frechet(images, images)


# Intervals and names


def gaussian_images(generator, images, patches, size):
    """Images whose patches share half of their variance, decoded with a bias, a loss and noise."""
    shared = generator.standard_normal((images, 1, size))
    deviations = generator.standard_normal((images, patches, size))
    reference = (shared + deviations) * math.sqrt(0.5)
    return reference, 0.6 * reference + 0.5 + 0.2 * generator.standard_normal(reference.shape)


def true_distance(size):
    return size * (0.5**2 + (1 - math.sqrt(0.6**2 + 0.2**2)) ** 2)


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator, images, draws, few = np.random.default_rng(17), 80, 100, 40
    inside = {"images": 0, "patches": 0}
    units = {"images": (images, 6, 3), "patches": (images * 6, 1, 3)}
    for draw in range(draws):
        sets = gaussian_images(generator, images, 6, 3)
        for unit, shape in [*units.items()][: 2 if draw < few else 1]:
            result = frechet(*(list(x.reshape(shape)) for x in sets))
            count = len(result.influence)
            error = math.sqrt(np.sum(result.influence**2) / (count * (count - 1)))
            inside[unit] += abs(result.value - true_distance(3)) < 1.96 * error
    # .95 with a standard error of .022; patches taken for independent have intervals too short.
    assert 0.90 <= inside["images"] / draws <= 0.995
    assert inside["patches"] / few < 0.85


def test_realism_is_judged_by_fid_first_and_other_features_are_not_called_fid():
    metrics = [Metric.named(name) for name in (*METRICS, *DISTRIBUTION_METRICS)]
    judges = [metric for metric in metrics if metric.realism is not None]
    judges.sort(key=lambda metric: metric.realism)
    assert [judge.column for judge in judges[:3]] == ["fid256", "fd_squeeze", "fd_alex"]
    assert len({judge.realism for judge in judges}) == len(judges)
    kinds = (FID256, FDAlex, FDSqueeze)
    assert [kind.column for kind in kinds] == ["fid256", "fd_alex", "fd_squeeze"]
    assert len({kind.label for kind in kinds}) == 3
    for kind in kinds:
        assert ("FID" in kind.label) == (kind.space == "inception256")
        assert kind.min_images == (50 if kind.space == "inception256" else 2)
