"""Features, FID and KID against pytorch-fid and torch-fidelity themselves."""

import hashlib

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from benchmark.metrics import feature_spaces
from benchmark.metrics.feature_spaces import Inception256, InceptionTF256, cut_patches
from benchmark.metrics.frechet import FID256TF
from benchmark.metrics.pairwise import KID256TF
from support.networks.inception_files import INCEPTION_FILE

SPREAD = 1e-5  # of the largest feature, as the docstring of the spaces says


@pytest.fixture(scope="module")
def peer(inception_folder):
    """torch-fidelity's network in float64, with weights that nobody trained."""
    return FeatureExtractorInceptionV3(
        "inception",
        ["2048"],
        feature_extractor_weights_path=str(inception_folder / INCEPTION_FILE),
        feature_extractor_internal_dtype="float64",
    )


@pytest.fixture
def weights(inception_folder, monkeypatch):
    digest = hashlib.sha256((inception_folder / INCEPTION_FILE).read_bytes()).hexdigest()
    monkeypatch.setattr(feature_spaces, "INCEPTION_SHA256", digest)
    monkeypatch.setenv("BENCH_WEIGHTS", str(inception_folder))


def theirs(peer, pixels):
    patches = np.stack(cut_patches(pixels)).transpose(0, 3, 1, 2)
    (result,) = peer(torch.from_numpy(np.ascontiguousarray(patches)))
    return result.numpy()


def test_features_are_torch_fidelitys_and_not_pytorch_fids(weights, peer, coffee):
    result, expected = InceptionTF256().features(coffee), theirs(peer, coffee)
    assert result.shape == expected.shape == (3, 2048)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(result, expected, atol=SPREAD * largest)
    inception_features = Inception256().features(coffee)
    assert np.abs(inception_features - expected).max() > 100 * SPREAD * largest


def test_fid_and_kid_of_sets_are_torch_fidelitys():
    generator = np.random.default_rng(8)
    reference = [generator.normal(1, 1, (6, 12)).astype(np.float32) for _ in range(30)]
    decoded = [
        array + generator.normal(0.2, 0.5, array.shape).astype(np.float32) for array in reference
    ]
    sets = [torch.from_numpy(np.concatenate(arrays)).double() for arrays in (reference, decoded)]
    fid = fid_statistics_to_metric(*map(fid_features_to_statistics, sets), verbose=False)
    result = FID256TF().reduce(reference, decoded).value
    assert result == pytest.approx(fid["frechet_inception_distance"], rel=1e-6)
    # one subset of everything; their mean scatters around this number
    kid = kid_features_to_metric(*sets, kid_subsets=1, kid_subset_size=len(sets[0]), verbose=False)
    result = KID256TF().reduce(reference, decoded).value
    assert result == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-5)
