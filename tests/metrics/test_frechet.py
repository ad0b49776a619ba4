"""Frechet distances of sets of images, their influences against weights varied one by one."""

import math

import numpy as np
import pytest

from benchmark.metrics import frechet as module
from benchmark.metrics.frechet import FID256, FDAlex, FDSqueeze, frechet
from benchmark.metrics.metric import Metric
from benchmark.metrics.pairwise import Recall256, kernel_distance
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
from support.metrics.drawn_features import image_set


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

    ways = step * np.eye(images)
    return [images * (8 * across(w) - across(2 * w)) / (12 * step) for w in ways]


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
        with pytest.raises(ValueError, match="differ in shape"):
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
    generator = np.random.default_rng(16)
    reference, decoded = image_set(generator, 15, size, 1)
    result = frechet(reference, decoded)
    together = frechet([np.concatenate(reference)], [np.concatenate(decoded)])
    assert result.value == pytest.approx(together.value, rel=1e-12)
    empty = reference[0][:0]
    padded = frechet([empty, *reference], [empty, *decoded])
    assert padded.value == pytest.approx(result.value, rel=1e-12)
    np.testing.assert_allclose(padded.influence, [0, *(result.influence * 16 / 15)], atol=1e-12)


def gaussian_images(generator, images, patches, size):
    """Images whose patches share half of their variance, decoded with a bias, a loss and noise."""
    shared = generator.standard_normal((images, 1, size))
    deviations = generator.standard_normal((images, patches, size))
    reference = (shared + deviations) * math.sqrt(0.5)
    noise = generator.standard_normal(reference.shape)
    return reference, 0.6 * reference + 0.5 + 0.2 * noise


def true_distance(size):
    return size * (0.5**2 + (1 - math.sqrt(0.6**2 + 0.2**2)) ** 2)


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator, images, draws, few = np.random.default_rng(17), 80, 200, 40
    inside = {"images": 0, "patches": 0}
    units = {"images": (images, 6, 3), "patches": (images * 6, 1, 3)}
    for draw in range(draws):
        sets = gaussian_images(generator, images, 6, 3)
        for unit, shape in [*units.items()][: 2 if draw < few else 1]:
            result = frechet(*(list(x.reshape(shape)) for x in sets))
            count = len(result.influence)
            error = math.sqrt(np.sum(result.influence**2) / (count * (count - 1)))
            inside[unit] += abs(result.value - true_distance(3)) < 1.96 * error
    # .95 with a standard error of .015; patches taken for independent have intervals too short.
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
