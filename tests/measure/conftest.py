"""Photographs of noise and the files of misbehaving codecs, for tests that measure them."""

import pytest

from support.codecs.files import sources_in
from support.files.noise import noise_images


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Current folder with three images in `photos`; the second is the smallest."""
    monkeypatch.chdir(tmp_path)
    noise_images(tmp_path / "photos", [(50, 30), (40, 30), (60, 30)])
    return tmp_path


@pytest.fixture
def images(tmp_path):
    return noise_images(tmp_path / "my photos", [(40, 30), (41, 30)])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "three"
    return sources_in(noise_images(folder, [(40 + number, 30) for number in range(3)]))
