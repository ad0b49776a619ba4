"""A folder in place of the bundled checkpoints, and a crop that needs no padding."""

from collections import OrderedDict

import numpy as np
import pytest

from baselines.compressai import codec as compressai_codec


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A folder in place of the bundled checkpoints; no network is in memory yet."""
    monkeypatch.setattr(compressai_codec, "_networks", OrderedDict())
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("baselines.neural.network_codec.BUNDLED", folder)
    return folder


@pytest.fixture
def crop(photo):
    """A crop of 128 x 192 pixels, which needs no padding."""
    return np.ascontiguousarray(photo[:128, :192])
