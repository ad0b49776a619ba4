"""The work that a stream may ask for, in floating-point operations, which no load changes."""

import random

import pytest
from torch.utils.flop_counter import FlopCounterMode

from baselines.compressai import codec as compressai_container
from baselines.neural.bitstream import container as crdr_container
from baselines.neural.bitstream.container import varint
from benchmark.errors import CorruptStream
from benchmark.spec import load_codec, parse_codec
from faults.fuzzing.headers import sign
from support.networks.tiny_checkpoint import noise, write_checkpoint
from support.networks.zoo import write_hyperprior


def ours(folder):
    write_checkpoint(folder / "ours.safetensors")
    return parse_codec(f"ours:beta=2.56:checkpoint={folder / 'ours.safetensors'}")


def claiming(make, data, chance):
    """Return the payload behind a valid header of another image size."""
    width, height = (chance.choice((1, 64, 700, 3000, 8192, 60_000)) for _ in range(2))
    if make is write_hyperprior:
        header = compressai_container.unpack(data, 2)._replace(width=width, height=height)
        return compressai_container.pack(header)
    # Sides below 128 px are a byte each, behind the first seven.
    return sign(data[:7] + varint(width) + varint(height) + data[9:])


def operations(codec, stream):
    """Return the operations of decoding a stream, and whether that ends in an error.

    They are those of convolutions and matrix products, as torch counts them.
    """
    with FlopCounterMode(display=False) as counter:
        try:
            codec.decode(stream)
        except CorruptStream:
            return counter.get_total_flops(), True
    return counter.get_total_flops(), False


@pytest.mark.parametrize(("make", "max_pixels", "margin"), [
    (ours, crdr_container.max_pixels, 2), (write_hyperprior, compressai_container.max_pixels, 1),
])  # fmt: skip
def test_the_work_of_a_stream_is_bounded_by_its_length(make, max_pixels, margin, tmp_path):
    codec = load_codec(make(tmp_path))
    side = 256
    per_pixel = operations(codec, codec.encode(noise(side, side), codec.sweep[-1]))[0] / side**2
    assert per_pixel > 100
    short = codec.encode(noise(40, 56), codec.sweep[0])
    chance = random.Random(1)
    refusals = 0
    for _ in range(40):
        stream = claiming(make, short, chance)
        work, error = operations(codec, stream)
        refusals += error and not work
        # A side of `ours` is padded to 64 pixels: at most twice the pixels beyond the first 2^22.
        assert work <= 1.1 * per_pixel * margin * max_pixels(len(stream))
    assert refusals >= 5  # before any work
