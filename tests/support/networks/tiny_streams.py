"""Streams of the smallest network: pixels and levels to bytes, bytes to their parts and back."""

from functools import partial

import numpy as np

from baselines.neural.bitstream import container
from baselines.neural.crdr.model import CRDRControlBlock, HeaderControls
from baselines.neural.picture_codec import PictureCodec

pack = partial(container.pack, block=CRDRControlBlock())
unpack = partial(container.unpack, block=CRDRControlBlock())


def encode(codec: PictureCodec, pixels: np.ndarray, q, beta, tiling=None) -> bytes:
    """The stream at the levels of the header nearest to q and beta, numbers or maps."""
    return codec.encode(pixels, HeaderControls.nearest(q, beta), tiling)
