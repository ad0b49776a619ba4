"""Pictures of the documentation are what the commands in their captions draw."""

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from tools.docs_figures import draw, pictures


def test_every_figure_of_a_page_has_a_command():
    assert {picture.name for picture in pictures()} >= {
        f"{verb}.png" for verb in ("rd", "bd", "complexity", "realism", "crops", "maps")
    }
    assert all((ROOT / "docs" / "figures" / picture.name).exists() for picture in pictures())


@pytest.mark.slow
@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: picture.name)
def test_a_picture_is_what_its_command_draws(picture, tmp_path):
    stored_pixels, redrawn_pixels = (
        np.asarray(Image.open(path).convert("RGB"), np.int16)
        for path in (ROOT / "docs" / "figures" / picture.name, draw(picture, tmp_path / "there"))
    )
    assert stored_pixels.shape == redrawn_pixels.shape
    differences = np.abs(stored_pixels - redrawn_pixels).max(axis=2)
    assert (differences > 32).mean() < 0.002  # processors round differently
