"""Photographs for the tests of storage that do not bring their own."""

import pytest

from support.files.noise import noise_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return noise_images(tmp_path_factory.mktemp("images") / "photos", [(64, 48), (64, 49)])
