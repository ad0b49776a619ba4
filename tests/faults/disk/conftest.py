"""Photographs for the tests of storage that do not bring their own."""

import pytest

from support.files.noise import effect_noise


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(2):
        effect_noise((64, 48 + number), 40).convert("RGB").save(folder / f"{number}.png")
    return folder
