import hashlib

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from baselines.neural.entropy.fixed import tables as module
from baselines.neural.entropy.fixed.tables import CDF_BITS, half_tanh, make_tables, scale_index

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
# Of everything that `make_tables` gives: whoever changes a number changes every stream.
SHA256 = "4e378a307715012742422eed2673bee6e414224c6d492ebb3fcfc977babf27f6"


@pytest.fixture(scope="module")
def tables():
    return make_tables()


def rows(tables):
    """Offset and frequencies of each scale; the last one is the escape's."""
    for row, length, offset in zip(
        *(tables[name].numpy() for name in ("cdf", "cdf_length", "cdf_offset")), strict=True
    ):
        yield int(offset), np.diff(row[:length])


def test_the_tables_are_the_ones_that_streams_are_made_with_whatever_a_caller_did(tables):
    first = make_tables()["thresholds"]
    kept = first.clone()
    first.zero_()
    assert torch.equal(make_tables()["thresholds"], kept)
    together = hashlib.sha256()
    for name in sorted(tables):
        together.update(f"{name} {tables[name].dtype} {tuple(tables[name].shape)}".encode())
        together.update(tables[name].numpy().tobytes())
    assert together.hexdigest() == SHA256


def test_the_frequencies_are_those_of_the_normal_distribution(tables):
    for scale, (offset, frequencies) in zip(SCALES, rows(tables), strict=True):
        values = np.arange(offset, -offset + 1)
        below = ndtr((-0.5 - abs(values)) / scale)
        mass = np.append(ndtr((0.5 - abs(values)) / scale) - below, 2 * below[0])
        mass[: len(values)] = np.where(values == 0, 1 - 2 * below[-offset], mass[:-1])
        assert np.abs(frequencies[:-1] - frequencies[:-1][::-1]).max() <= 1
        # Rounding to 16 bits and the least frequency of one cost this much, and no more.
        seen = mass > 0
        entropy = -(mass[seen] * np.log2(mass[seen])).sum()
        length = -(mass * np.log2(frequencies / 2**CDF_BITS)).sum()
        extra_symbols = (mass * 2**CDF_BITS < 1).sum()
        assert 0 <= length - entropy <= 1.5 * (extra_symbols + 1) / 2**CDF_BITS


def test_half_tanh_is_rounded_to_the_nearest_integer(tables):
    arguments = np.arange(-4095, 4096)
    exact = 0.5 * np.tanh(arguments / 512) * 4096
    found = half_tanh(torch.from_numpy(arguments.astype(np.int16)), tables["half_tanh"]).numpy()
    assert np.abs(found - exact).max() <= 0.5 + 1e-9
    assert (found == -found[::-1]).all()


def test_a_scale_has_the_index_of_the_nearest_scale_in_ratio(tables):
    scales = torch.arange(-5000, 300 * 4096, 7, dtype=torch.int32)
    scales[-3:] = torch.tensor([2**23 - 1, 1 - 2**23, 0])
    found = scale_index(scales, tables["thresholds"]).numpy()
    logarithm = np.log(np.maximum(scales.numpy() / 4096, 1e-3))
    distance = np.abs(logarithm[:, None] - np.log(SCALES)[None])
    assert (np.abs(distance[np.arange(len(found)), found] - distance.min(axis=1)) < 1e-12).all()
    assert (found[scales.numpy() <= 0] == 0).all()
    assert found.max() == 63


@pytest.mark.parametrize(
    ("count", "larger"),
    [(3, 1), (7, 2), (13, 3)],  # 65536 is 3 x 21845 + 1, 7 x 9362 + 2, 13 x 5041 + 3
)
def test_frequencies_that_rounding_leaves_missing_go_to_different_symbols(count, larger):
    found = module.frequencies(np.full(count, 1 / count))
    least = 2**CDF_BITS // count
    assert sorted(found) == [least] * (count - larger) + [least + 1] * larger
