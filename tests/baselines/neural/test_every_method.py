"""What every method of the field does with its network: code, decode, refuse, count."""

from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, ZooSizes, load_architecture
from baselines.neural.bitstream.container import Tiling
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.costs import costs, macs_per_pixel
from baselines.neural.network import make_images, pad_pixels
from baselines.neural.picture_codec import PictureCodec
from benchmark.errors import UnknownName
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import NAMED as CRDR_SIZES
from support.networks.tiny_checkpoint import noise

METHODS = ("charm", "elic", "ivr", "hific", "multirealism", "pqmim")
CONTROLS = {"multirealism": 32, "ivr": 24}  # in a stream; other methods have none


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture
def controls(method):
    return CONTROLS.get(method)


@pytest.fixture(scope="module")
def codec(method, tmp_path_factory):
    path = tmp_path_factory.mktemp(method) / f"{method}-1.safetensors"
    write_tiny(path, method)
    return PictureCodec(load_checkpoint(path))


def images_and_controls(codec, pixels, controls):
    images = make_images(pad_pixels(pixels, codec.coder.network.stride), torch.device("cpu"))
    return images, codec._block.window(controls, slice(None), slice(None), 1)


@pytest.mark.parametrize("size", [(1, 1), (61, 70), (128, 64)], ids=str)
def test_what_is_decoded_is_the_synthesis_of_the_latents_that_were_coded(codec, size, controls):
    pixels, coder = noise(*size), codec.coder
    data = codec.encode(pixels, controls)
    complete, of_network = images_and_controls(codec, pixels, controls)
    with torch.no_grad():
        analysed = coder.analyse(complete, of_network)
        images = coder.synthesise(codec.latents(data), of_network)
    recoded = coder.decode(coder.encode(analysed), *analysed.shape[2:])
    assert torch.equal(codec.latents(data), recoded)
    levels = ((images[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.array_equal(codec.decode(data), levels[: size[0], : size[1]])


def test_the_integer_path_costs_the_estimate_and_tiles_give_nearly_the_picture(codec, controls):
    pixels = noise(128, 192)
    with torch.no_grad():
        estimate = codec.coder.network(*images_and_controls(codec, pixels, controls), noisy=False)
    bits = float(estimate.y_bits + estimate.z_bits)
    assert 8 * len(codec.encode(pixels, controls)) == pytest.approx(bits, rel=0.02, abs=200)
    pixels = noise(130, 200)
    tiled = codec.encode(pixels, controls, Tiling(128, 128))
    difference = codec.decode(codec.encode(pixels, controls)).astype(int) - codec.decode(tiled)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize(("name", "preset"), [
    *product(METHODS, ["micro", "small"]), ("dirac", "micro"), ("hfd", "micro"),
])  # fmt: skip
def test_a_reduced_size_takes_the_work_of_crdrs_of_that_name(name, preset):
    """Without a transformer, which is added to the transforms; one step of a diffusion decoder."""
    parts = costs(name, load_architecture(name).sizes[preset])
    work = sum(cost.macs_per_pixel for part, cost in parts.items() if part != "transformer")
    assert work == pytest.approx(macs_per_pixel("crdr", CRDR_SIZES[preset]), rel=0.05)


CONFIGS = {
    **{name: load_architecture(name).sizes.get("tiny") for name in ARCHITECTURES},
    "compressai": ZooSizes("bmshj2018-hyperprior", (6, 8), 0.01),
}
# z's distributions are given by mean and scale, or there is no z.
WITHOUT_QUANTILES = ("ivr", "dirac", "hfd", "pqmim")


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"'crd'.*'crdr'"):
        load_architecture("crd")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_configuration_survives_its_json_and_the_groups_hold_every_parameter_once(name):
    architecture = load_architecture(name)
    network = architecture.build(CONFIGS[name])
    assert architecture.read(asdict(CONFIGS[name])) == CONFIGS[name] == network.sizes
    groups = network.parameter_groups()
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    assert bool(groups.get("quantiles")) == (name not in WITHOUT_QUANTILES)
    if name not in WITHOUT_QUANTILES:  # the auxiliary loss reaches these alone
        network.auxiliary_loss().backward()
        for group, parameters in groups.items():
            is_reached = any(p.grad is not None and bool(p.grad.any()) for p in parameters)
            assert is_reached == (group == "quantiles")
