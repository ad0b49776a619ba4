"""Photographs to train with."""

import pytest

from support.training.fixtures import write_photographs


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs")
