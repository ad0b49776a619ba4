"""Kernel distances against a loop over pairs and varied weights; shares of near neighbours."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full

from benchmark.errors import NotMeasurable
from benchmark.metrics import pairwise as module
from benchmark.metrics.frechet import FID256TF
from benchmark.metrics.pairwise import KID256TF, Precision256, Recall256, coverage, kernel_distance
from support.metrics.drawn_features import image_set


def kernel(x, y):
    return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def by_pairs(reference, decoded, weights):
    """Over every pair of patches in turn, its weight the product of those of its images."""
    x, y = (np.concatenate(images).tolist() for images in (reference, decoded))
    w = np.repeat(weights, [len(features) for features in reference]).tolist()
    patches = range(len(w))
    inside, pairs, across, all_pairs = 0.0, 0.0, 0.0, 0.0
    for a in patches:
        for b in patches:
            if a != b:
                inside += w[a] * w[b] * (kernel(x[a], x[b]) + kernel(y[a], y[b]))
                pairs += w[a] * w[b]
            across += w[a] * w[b] * kernel(x[a], y[b])
            all_pairs += w[a] * w[b]
    return inside / pairs - 2 * across / all_pairs


def test_it_is_a_loop_over_pairs():
    sets = image_set(np.random.default_rng(1), 9, 5, 6)
    assert kernel_distance(*sets).value == pytest.approx(by_pairs(*sets, np.ones(9)), abs=1e-6)
    pairs = [[images[0][:1], images[1][:1]] for images in sets]
    assert kernel_distance(*pairs).value == pytest.approx(by_pairs(*pairs, np.ones(2)), abs=1e-6)
    with pytest.raises(NotMeasurable, match=r"2 patches, .* 1$"):
        kernel_distance(pairs[0][:1], pairs[1][:1])


def test_the_influence_of_an_image_is_the_derivative_to_its_weight():
    reference, decoded = image_set(np.random.default_rng(3), 8, 4, 5)
    result = kernel_distance(reference, decoded)
    differences = [by_pairs(reference, decoded, 1 + way) - by_pairs(reference, decoded, 1 - way)
                   for way in 1e-5 * np.eye(8)]  # fmt: skip
    expected = 8 * np.array(differences) / (2 * 1e-5)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(result.influence, expected, rtol=0, atol=1e-5 * largest)
    assert result.influence.sum() == pytest.approx(0, abs=1e-12)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Independent normal sets of two means have a distance known by their first three moments."""
    generator = np.random.default_rng(7)
    means = np.array([0.5, 0.0, 0.2]), np.array([1.0, 0.3, 0.2])

    def moment(first, second):
        # x.y / 3 + 1 of independent normal vectors: third moment, over x with y's known
        shift, share = first @ second / 3 + 1, 1 / 9
        variance = share * (first @ first + second @ second + 3)
        third = 6 * share / 3 * (first @ second)
        return shift**3 + 3 * shift * variance + third

    truth = moment(means[0], means[0]) + moment(means[1], means[1]) - 2 * moment(*means)
    inside, draws, images = 0, 200, 150
    for _ in range(draws):
        sets = [generator.standard_normal((images, 1, 3)) + mean for mean in means]
        result = kernel_distance(*map(list, sets))
        error = np.sqrt(np.sum(result.influence**2) / (images * (images - 1)))
        inside += abs(result.value - truth) < 1.96 * error
    assert 0.90 <= inside / draws <= 0.995


@pytest.mark.parametrize("block", [1, 3, 7, 1000])
def test_blocks_do_not_show(monkeypatch, block):
    reference, decoded = image_set(np.random.default_rng(8), 6, 5, 6)
    expected = kernel_distance(reference, decoded)
    monkeypatch.setattr(module, "BLOCK_PATCHES", block)
    result = kernel_distance(reference, decoded)
    assert result.value == pytest.approx(expected.value, abs=1e-6)
    np.testing.assert_allclose(result.influence, expected.influence, rtol=0, atol=1e-5)


def test_an_image_without_patches_weighs_nothing():
    reference, decoded = image_set(np.random.default_rng(12), 6, 5, 1)
    result = kernel_distance(reference, decoded)
    empty = reference[0][:0]
    padded = kernel_distance([*reference, empty], [*decoded, empty])
    assert padded.value == pytest.approx(result.value, abs=1e-12)
    np.testing.assert_allclose(padded.influence, [*(result.influence * 7 / 6), 0], atol=1e-12)


def drawn(seed, images=40, dimensions=8):
    """Features of sources and of decodings that are less varied and moved."""
    generator = np.random.default_rng(seed)
    reference = [generator.normal(size=(4, dimensions)).astype(np.float32) for _ in range(images)]
    decoded = [(0.8 * array + generator.normal(0.4, 0.4, array.shape)).astype(np.float32)
               for array in reference]  # fmt: skip
    return reference, decoded


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("offset", [0, 1000])
def test_torch_fidelity_gives_the_same_shares(monkeypatch, block, offset):
    monkeypatch.setattr(module, "BLOCK_PATCHES", block)
    reference, decoded = drawn(4)
    expected = calculate_precision_recall_full(
        *(torch.from_numpy(np.concatenate(vectors)).double() for vectors in (decoded, reference))
    )
    moved = [[image + np.float32(offset) for image in images] for images in (reference, decoded)]
    result = [kind().reduce(*moved).value for kind in (Precision256, Recall256)]
    # float32 holds features near 1000 to 6e-5, which may move a patch across a border
    assert result == pytest.approx(expected, abs=1e-6 if offset == 0 else 2 / 160)
    assert 0.2 < expected[0] != expected[1] < 1


def test_fid_and_kid_of_sets_are_torch_fidelitys():
    sets = drawn(8)
    tensors = [torch.from_numpy(np.concatenate(arrays)).double() for arrays in sets]
    fid = fid_statistics_to_metric(*map(fid_features_to_statistics, tensors), verbose=False)
    result = FID256TF().reduce(*sets).value
    assert result == pytest.approx(fid["frechet_inception_distance"], rel=1e-6)
    # one subset of everything; their mean scatters around this number
    whole = {"kid_subsets": 1, "kid_subset_size": len(tensors[0]), "verbose": False}
    kid = kid_features_to_metric(*tensors, **whole)["kernel_inception_distance_mean"]
    assert KID256TF().reduce(*sets).value == pytest.approx(kid, rel=1e-5)


def test_a_ball_reaches_to_the_third_neighbour_and_its_border_counts():
    centres = np.float32([[0], [1], [3], [7]])  # reach 7, 6, 4, 7
    assert coverage(centres, np.float32([[-7], [14], [-7.5], [14.5]])) == 0.5
    with pytest.raises(NotMeasurable, match=r"4 patches, .* 3$"):
        Recall256().reduce([np.eye(3, dtype=np.float32)], [np.eye(3, dtype=np.float32)])
