"""MS-ILLM's streams and pictures against the package's own, on drawn weights of the full size."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from baselines.compressai.codec import pack, unpack
from baselines.msillm import MOST_SYMBOL, MSILLM, _require_whole, network
from benchmark.codec import Setting
from benchmark.errors import BadOption, CorruptStream

FIRST = Setting("quality", 1)
LATENT_DEVIATION = 3.0
needs_package = pytest.mark.skipif(
    find_spec("neuralcompression") is None, reason="neuralcompression is not installed"
)


@pytest.fixture(scope="module")
def codec():
    """The codec on drawn weights; latents and their scales are of one size, as after training."""
    if find_spec("neuralcompression") is None:
        pytest.skip("neuralcompression is not installed")
    network.cache_clear()
    made = MSILLM(weights="random")
    net = network(made._sources[1])
    with torch.no_grad():
        last = net.encoder.blocks[-1]
        deviation = net.encoder(torch.rand(1, 3, 64, 64)).std()
        last.weight.mul_(LATENT_DEVIATION / deviation)
        last.bias.mul_(LATENT_DEVIATION / deviation)
        spread = torch.linspace(1, 2, len(net.hyper_synthesis_scale[-1].bias))
        net.hyper_synthesis_scale[-1].bias.add_(LATENT_DEVIATION * spread)
    yield made
    network.cache_clear()


@pytest.fixture(scope="module")
def crop(coffee):
    return np.ascontiguousarray(coffee[100:175, 200:330])  # 75 x 130


@pytest.fixture(scope="module")
def stream(codec, crop):
    return codec.encode(crop, FIRST)


@pytest.fixture
def net(codec):
    return network(codec._sources[1])


def test_transforms_have_as_many_parameters_as_hific_of_this_project(net):
    """`tests/baselines/neural/field` counts as many in the network of the published size."""

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(net.encoder) == 7_423_420
    assert count(net.decoder) == 156_774_683


def test_streams_and_pictures_are_those_of_the_package_to_the_last_bit(net, codec, crop, stream):
    image = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        coded = net.compress(image)
        decoded = net.decompress(coded)[0]
    (latents,), (hyper,) = coded.latent_strings, coded.hyper_latent_strings
    assert unpack(stream, 2).strings == (hyper, latents)
    expected = (decoded * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(codec.decode(stream), expected)
    assert len(latents) > 1000, "latents that are worth coding"
    assert len(np.unique(expected)) > 10  # a picture, not one grey


def test_damage_is_refused_wherever_it_is_behind_the_size(codec, stream):
    """Another size of the same padding is another crop of the same picture, and a whole stream."""
    assert unpack(stream, 2).width > 127, "the size has three bytes"
    places = {0, *range(4, 12), *range(12, len(stream), 211), len(stream) - 1}
    for place in sorted(places):
        damaged = bytearray(stream)
        damaged[place] ^= 0x10
        with pytest.raises(CorruptStream):
            codec.decode(bytes(damaged))
    rng = np.random.default_rng(0)
    parts = unpack(stream, 2)
    for payload in (bytes, lambda size: b"\xff" * size, rng.bytes):
        hyper, latents = parts.strings
        for strings in ((payload(len(hyper)), latents), (hyper, payload(len(latents)))):
            with pytest.raises(CorruptStream, match="do not encode to its bytes again"):
                codec.decode(pack(parts._replace(strings=strings)))
    with pytest.raises(CorruptStream, match="bytes left of"):
        codec.decode(stream[:-1])
    with pytest.raises(CorruptStream, match="of quality 7, which is not here"):
        codec.decode(bytes([7]) + stream[1:])
    with pytest.raises(CorruptStream, match="claims 8000 x 8000 pixels in"):
        codec.decode(pack(unpack(stream, 2)._replace(width=8000, height=8000)))


def test_a_flat_picture_has_the_bytes_that_its_decoder_asks_for(codec):
    flat = np.full((600, 700, 3), 128, np.uint8)
    data = codec.encode(flat, Setting("quality", 2))  # an untrained network: latents near zero
    assert codec.decode(data).shape == flat.shape


def test_a_machine_that_rounds_to_another_table_refuses_and_shows_no_wrong_picture(
    codec, net, stream
):
    bias = net.hyper_synthesis_scale[-1].bias
    kept = bias.detach().clone()
    try:
        bias.copy_(kept + 1e-3)  # more than rounding does; the first table that differs counts
        with pytest.raises(CorruptStream, match="where floating point rounds otherwise"):
            codec.decode(stream)
    finally:
        bias.copy_(kept)
    codec.decode(stream)


def test_symbols_that_the_encoder_would_not_return_from_are_refused_before_it():
    def encode():
        raise AssertionError("it was called")

    with pytest.raises(CorruptStream):
        _require_whole(torch.tensor([0.0, float(MOST_SYMBOL)]), encode, b"")


@needs_package
def test_random_weights_are_told_and_the_same_in_every_instance(crop):
    network.cache_clear()
    first = MSILLM(weights="random")
    last = first.sweep[-1]
    data = first.encode(crop, last)
    network.cache_clear()
    torch.rand(1)
    state = torch.random.get_rng_state()
    second = MSILLM(weights="random")
    assert second.encode(crop, last) == data
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.describe() == second.describe()
    assert first.describe().caveat == "random weights"
    assert first.describe().licence == "MIT"
    assert first.encode(crop, first.sweep[-2])[1:] != data[1:], "each quality has its own network"
    with pytest.raises(BadOption, match="takes quality=1, 2, 3, 4, 5 or 6, not quality=7"):
        first.encode(crop, Setting("quality", 7))
