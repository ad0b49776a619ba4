"""A checkpoint of the smallest network, and its codec."""

import pytest

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.picture_codec import PictureCodec
from support.networks.tiny_checkpoint import write_checkpoint


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "ours.safetensors"
    write_checkpoint(path)
    return path


@pytest.fixture(scope="package")
def codec(checkpoint):
    return PictureCodec(load_checkpoint(checkpoint))
