"""The contract of feature spaces, over every space in the registry."""

import re

import numpy as np
import pytest

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.registry import DISTRIBUTION_METRICS, FEATURE_SPACES, metric_class
from conftest import ROOT, SHARED
from support.networks.inception_files import inception_case, inception_folder, pytorch_fid
from support.quick import quick

__all__ = ["inception_folder", "pytorch_fid"]  # fixtures


@pytest.fixture(params=quick(FEATURE_SPACES, *FEATURE_SPACES.keys() - {"inception256_tf"}))
def space(request, monkeypatch):
    if request.param.startswith("inception256"):  # its weights are not part of the checkout
        inception_case(request, monkeypatch)
        return metric_class(request.param)()
    monkeypatch.setenv("BENCH_WEIGHTS", str(SHARED / "data" / "weights"))
    try:
        return metric_class(request.param)()
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", FEATURE_SPACES)
def test_the_class_says_column_protocol_and_patches_and_the_documentation_has_a_line(name):
    kind = metric_class(name)
    assert kind.column.endswith("_patches")
    assert re.fullmatch(r"[a-z0-9-]+/[A-Za-z0-9.-]+", kind.protocol)
    assert kind.patch_count(1, 1) == 0
    assert kind.patch_count(2000, 2000) > kind.patch_count(1000, 1000) > 0
    lines = (ROOT / "docs" / "protocol.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{kind.column}` |")]
    assert f"`{kind.protocol}`" in line


def test_every_space_has_a_metric_and_no_two_share_a_column():
    kinds = [metric_class(name) for name in FEATURE_SPACES]
    assert len({kind.column for kind in kinds}) == len({kind.protocol for kind in kinds})
    assert len({kind.column for kind in kinds}) == len(kinds)
    assert {metric_class(name).space for name in DISTRIBUTION_METRICS} == set(FEATURE_SPACES)


def test_an_image_has_a_finite_vector_of_float32_for_each_patch_it_counts(space, coffee):
    result = space.features(coffee)
    assert result.dtype == np.float32
    assert len(result) == type(space).patch_count(*coffee.shape[:2]) == 3
    assert np.isfinite(result).all()
    assert np.ptp(result, axis=0).max() > 0
    second_result = space.features(coffee.copy())
    np.testing.assert_allclose(second_result, result, atol=1e-5 * np.abs(result).max())


def test_an_image_without_a_patch_is_a_reason_with_its_size(space):
    with pytest.raises(NotMeasurable, match="this image has 20 x 10"):
        space.features(np.zeros((10, 20, 3), np.uint8))
