"""`ours:exact=1`: pixels with the same sha256 in every configuration of a processor."""

import os
import sys

import numpy as np
import pytest

from baselines.crdr import CRDR
from benchmark.codec import Setting
from benchmark.system.digest import pixels_sha256
from support.networks.tiny_checkpoint import noise
from support.processes import ran

# A crop of 64 x 64 of the sample image coffee.png by ours-micro, q = 1, beta = 2.56.
STREAM = (
    "43d21091d85ac1404010401a9860ac38089fe181aa2617ba569603d578afcf89d3c9dec07538a111d36d413b62"
    "1b6972411a6f04ab4ecd7d9d7d9744845c91b0e33d84537017acdc6dad83d110df35c10daf0008f5"
)
# Bundled checkpoint ("" is the default) -> one of its streams, and the digest of its picture.
# A new checkpoint replaces both; nothing else may change the digest.
PICTURES = {
    "ours-micro.safetensors": (
        STREAM,
        "0ecae1882b568dfafc2c1e0d87d957f77dfa6bd1347dc620073e5526f4059da9",
    ),
    "": (
        "43d21064bd0421404010400217919071c46c930b04854e87afbc0115aab6cc6b360e963e77e64c21db08b7b5"
        "d57980093491a1d0be484f531ebcedaa5cd482fd9204d3e76d4cfeeb6fe5f876d995114e5017882424581e00"
        "c6b8",
        "0c76e868d4103789013447f608dde550d9b9a4e899b381db58f4d76cff23e40e",
    ),
    "ours-3aecb589.safetensors": (
        "43d2103aecb5894040104040d5f4332415e425eb7e96efce8e98d8261d00cda023d7b5e4c66a4baa9b329d03"
        "822bed9ffb52c4ce99a930b347b5451d1331d62ab5c247222d1fd34275fc9bd59ded164202699f2de2bc720f"
        "00a32e",
        "7eae5241fc220e40859fd17bb0954062aeaafa9a1b50ad8b08420a66571ed696",
    ),
}

# Attention, maps of both controls, several beta and q: everything that a synthesis has.
FINGERPRINT = """
import hashlib, sys
import numpy as np, torch
from baselines.crdr import CRDR
from baselines.neural.network import make_pixels
from baselines.neural.crdr.model import exact_synthesis
from baselines.neural.crdr.model import Controls, CRDRNetwork
from support.networks.tiny_checkpoint import TINY

random = np.random.default_rng(0)
network = CRDRNetwork(TINY)
with torch.inference_mode():
    for parameter in network.parameters():
        spread = 1 / np.sqrt(max(1, np.prod(parameter.shape[1:])))
        parameter.copy_(torch.from_numpy(random.normal(0, spread, parameter.shape)))
    latents = torch.from_numpy(random.integers(-2**15, 2**15, (1, TINY.latent, 8, 12)) / 2**12)
    q, beta = (torch.from_numpy(random.integers(0, 17, (1, 1, 2, 3)) / n).float() for n in (4, 25))
    levels = network.synthesis_controls(latents, Controls(q, beta))
    images = exact_synthesis(network.synthesis)(latents, *levels)
pixels = make_pixels(images)
assert pixels.std() > 20
result = pixels.tobytes() + images.numpy().tobytes()
result += CRDR(beta=0, exact=1, size="micro").decode(bytes.fromhex(sys.argv[1])).tobytes()
print(hashlib.sha256(result).hexdigest())
"""
PROCESSORS = (
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"},
    {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "2"},
    {"MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
    {},
)
RESULT_SHA256 = "89be53738ad5c371720b19a9cdb4e3ec2656e703fce370b12c8f2d409f466b81"


@pytest.mark.parametrize(
    "processor",
    [PROCESSORS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in PROCESSORS[1:])],
    ids=lambda one: "-".join(one.values()) or "own",
)
def test_a_fresh_process_gives_the_same_picture_on_every_processor(processor):
    path = os.pathsep.join(sys.path)
    output = ran(sys.executable, "-c", FINGERPRINT, STREAM, PYTHONPATH=path, **processor)
    assert output.stdout.strip() == RESULT_SHA256


@pytest.mark.parametrize("name", PICTURES)
def test_a_bundled_checkpoint_gives_the_picture_that_it_always_gave(name):
    stream, picture_sha256 = PICTURES[name]
    pixels = CRDR(beta=0, checkpoint=name, exact=1).decode(bytes.fromhex(stream))
    assert pixels_sha256(pixels) == picture_sha256


def test_streams_are_the_same_and_pictures_differ_by_rounding_alone(checkpoint, photo):
    plain, exact = (CRDR(beta=2.56, checkpoint=str(checkpoint), exact=on) for on in (0, 1))
    data = exact.encode(photo, Setting("q", 2))
    assert data == plain.encode(photo, Setting("q", 2))
    difference = np.abs(exact.decode(data).astype(int) - plain.decode(data))
    assert difference.max() <= 1
    assert 0 <= difference.mean() < 1e-3
    tiled = exact.make_tiled().encode(noise(300, 200), Setting("q", 1.5))
    for beta in (None, 5.12):
        result, expected = exact.decode(tiled, beta=beta), plain.decode(tiled, beta=beta)
        assert np.abs(result.astype(int) - expected).max() <= 1
    assert (exact.decode(tiled, beta=5.12) != exact.decode(tiled)).any()
