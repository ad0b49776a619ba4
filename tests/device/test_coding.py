"""Learned methods on a GPU: streams of either device decode on the other, to the same latents.

Which symbols an encoder chooses is floating-point arithmetic, so that a real GPU may write other
bytes than the processor; the stand-in has the processor's arithmetic and writes the same ones.
"""

import numpy as np
import pytest
import torch

import benchmark
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.picture_codec import PictureCodec
from benchmark.codec import Setting
from benchmark.spec import load_codec, parse_codec
from benchmark.system import settings
from support.networks import stand_in_gpu
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise, write_checkpoint
from support.networks.tiny_diffusion import write_drawing
from support.quick import quick

pytestmark = pytest.mark.device

METHODS = ("crdr", "charm", "elic", "ivr", "hific", "multirealism", "pqmim")
OURS = ("ours:beta=0", "ours:beta=3.84", "ours:beta=0:exact=1", "ours:beta=0:effort=1")
HYPERPRIOR = "compressai:model=bmshj2018-hyperprior:weights=random"
CODECS = (*OURS, HYPERPRIOR, "dirac:steps=2", "hfd:steps=2")
PIXELS = noise(70, 101)
# Lines that may wait for the device while an image is coded: what the entropy coder, a search or
# the picture itself needs from it. Any other wait is unintended.
MAY_WAIT = (
    "neural/blocks/control.py", "neural/exact.py",  # which refuse what is out of range
    "neural/entropy/", "neural/field/ivr.py", "neural/pqmim/", "neural/network.py",
    "neural/crdr/encode.py", "neural/diffusion/", "compressai/codec.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder / "ours.safetensors")
    for method in METHODS[1:]:
        write_tiny(folder / f"{method}-1.safetensors", method)
    for method in ("dirac", "hfd"):
        write_drawing(folder / f"{method}-elic.safetensors", method, "elic", weights=folder)
    return folder


def controls_of(codec, method):
    if method == "crdr":
        from baselines.neural.crdr.model import HeaderControls

        return HeaderControls.nearest(2.0, 2.56)
    return {"multirealism": 32, "ivr": 24}.get(method)


def unexpected_waits(waits):
    # "elsewhere" is in the tests themselves.
    expected_places = ("elsewhere", *(f"baselines/{place}" for place in MAY_WAIT))
    return [wait for wait in waits if not wait.startswith(expected_places)]


@pytest.mark.parametrize("method", quick(METHODS, "charm", "ivr"))
def test_a_stream_of_either_device_has_the_same_latents_on_both(gpu, weights, method):
    path = weights / ("ours.safetensors" if method == "crdr" else f"{method}-1.safetensors")
    cpu_codec = PictureCodec(load_checkpoint(path))
    gpu_codec = PictureCodec(load_checkpoint(path), "cuda")
    gpu.waits.clear()
    controls = controls_of(cpu_codec, method)
    data, gpu_stream = cpu_codec.encode(PIXELS, controls), gpu_codec.encode(PIXELS, controls)
    assert gpu.real or gpu_stream == data
    for stream in {data, gpu_stream}:
        assert gpu_codec.latents(stream).device.type == "cuda"
        assert torch.equal(gpu_codec.latents(stream).cpu(), cpu_codec.latents(stream))
        assert np.abs(gpu_codec.decode(stream).astype(int) - cpu_codec.decode(stream)).max() <= 1
    assert not unexpected_waits(gpu.waits)


@pytest.mark.parametrize("spec", quick(CODECS, OURS[2], "dirac:steps=2", HYPERPRIOR))
def test_a_codec_codes_on_a_gpu_what_it_codes_on_the_processor(gpu, weights, monkeypatch, spec):
    monkeypatch.setenv("BENCH_WEIGHTS", str(weights))
    gpu_codec = load_codec(parse_codec(spec))
    assert gpu_codec.describe().device == "cuda"
    data = gpu_codec.encode(PIXELS, gpu_codec.sweep[0])
    decoded = gpu_codec.decode(data)
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    cpu_codec = load_codec(parse_codec(spec))
    cpu_stream = cpu_codec.encode(PIXELS, gpu_codec.sweep[0])
    assert gpu.real or cpu_stream == data
    if spec != HYPERPRIOR or cpu_stream == data:  # else a latent rounded otherwise: another picture
        max_difference = 0 if "exact" in spec else 1
        assert np.abs(decoded.astype(int) - cpu_codec.decode(data)).max() <= max_difference


@pytest.mark.slow
def test_maps_and_tiles_of_ours_are_those_of_the_processor(gpu, weights, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(weights))
    gpu_codec = load_codec(parse_codec("ours:beta=0"))
    maps = dict.fromkeys(("q_map", "beta_map"), noise(16, 16))
    data = gpu_codec.make_tiled().encode(noise(70, 300), Setting("q", 1.5), **maps)
    decoded = gpu_codec.decode(data, beta=1.28).astype(int)
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    cpu_codec = load_codec(parse_codec("ours:beta=0"))
    assert np.abs(decoded - cpu_codec.decode(data, beta=1.28)).max() <= 1


@pytest.mark.parametrize("spec", ["ours:beta=0", "dirac:steps=2", HYPERPRIOR])
def test_a_codec_names_the_chosen_card_and_its_rows_do_not(gpu, weights, monkeypatch, spec):
    """Whatever names "cuda" alone would be on torch's current card, which is another."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(weights))
    monkeypatch.setattr(settings, "GPU_MARKS", ("/",))
    card = "cuda:0" if gpu.real else "cuda:1"
    if not gpu.real:
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    enter_device, devices = stand_in_gpu._inside, set()

    def record_device(device):
        if isinstance(device, str | torch.device):
            devices.add(str(device))
        return enter_device(device)

    monkeypatch.setattr(stand_in_gpu, "_inside", record_device)
    codec = benchmark.open_codec(spec, device=card)
    assert codec.info.device == "cuda"
    assert codec.decode(codec.encode(PIXELS)).shape == PIXELS.shape
    assert gpu.real or (card in devices and "cuda" not in devices)
