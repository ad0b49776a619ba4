"""Our codec as a whole: streams of a tiny network, commands, the same pictures everywhere."""

import os
import sys
from functools import partial
from itertools import product
from shutil import copyfile

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.crdr import CRDR
from baselines.neural.bitstream import container
from baselines.neural.bitstream.container import Tiling, choose_tiling
from baselines.neural.bitstream.control_grid import levels_from_picture, map_shape
from baselines.neural.card import card_path, load_card
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.crdr.model import Controls, CRDRControlBlock, HeaderControls
from baselines.neural.network import make_images, make_pixels, pad_pixels
from baselines.neural.network_codec import BUNDLED
from baselines.neural.picture_codec import PictureCodec
from benchmark.codec import Setting
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import BadOption, CorruptStream, ImageRefused, Unavailable, UsageError
from benchmark.system.digest import pixels_sha256
from support.bench.command import output_of
from support.networks.tiny_checkpoint import noise, write_checkpoint
from support.processes import ran

pack = partial(container.pack, block=CRDRControlBlock())
unpack = partial(container.unpack, block=CRDRControlBlock())


def encode(codec: PictureCodec, pixels: np.ndarray, q, beta, tiling=None) -> bytes:
    """Return the stream at the header's levels nearest to q and beta, numbers or maps."""
    return codec.encode(pixels, HeaderControls.nearest(q, beta), tiling)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    write_checkpoint(path := tmp_path_factory.mktemp("weights") / "ours.safetensors")
    return path


@pytest.fixture(scope="module")
def codec(checkpoint):
    return PictureCodec(load_checkpoint(checkpoint))


@pytest.fixture
def restored_configuration():
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn


def analysed(codec: PictureCodec, pixels: np.ndarray, q: float) -> torch.Tensor:
    """Return the float encoder's y of the whole image."""
    with torch.inference_mode():
        return codec.coder.network.analyse(make_images(pad_pixels(pixels), torch.device("cpu")), q)


def test_images_are_padded_large_ones_tiled_and_pictures_of_levels_averaged():
    ramp = np.arange(40, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    high = pad_pixels(ramp)
    assert high.shape == (64, 64, 3)
    assert high[:, 0, 0].tolist() == [*range(40), *range(38, 14, -1)]
    assert (high == high[:, :1]).all()
    assert pad_pixels(ramp[:3])[:, 0, 0].tolist() == [0, 1, *[2] * 62]
    assert choose_tiling(1448, 1448) is None
    assert choose_tiling(2048, 2048) == container.LARGE_TILING
    assert choose_tiling(2**21, 1) is None  # refused for its side, not for lack of tiles
    grey = np.random.default_rng(5).integers(0, 256, (100, 150, 1), np.uint8).repeat(3, axis=2)
    blocks = [[grey[y : y + 64, x : x + 64].mean() / 255 for x in (0, 64, 128)] for y in (0, 64)]
    expected = np.minimum(np.floor(np.array(blocks) * 16 + 0.5), 15)
    assert np.array_equal(levels_from_picture(grey, 150, 100), expected)
    halves = np.uint8([[[0] * 3, [255] * 3]] * 2)
    assert levels_from_picture(halves, 128, 640).tolist() == [[0, 15]] * 10
    assert levels_from_picture(halves, 192, 64).tolist() == [[0, 8, 15]]


@pytest.mark.parametrize("q", [0.0, 4.0])
def test_the_decoder_has_the_encoders_latents_over_a_sample_image(codec, q):
    """No further from y than rounding (one half) and the residual prediction (one half) may go."""
    pixels = read_image(open_sample().images[0].path).pixels
    decoded = codec.latents(encode(codec, pixels, q, 0.0))
    error = (decoded - analysed(codec, pixels, q)).abs()
    assert error.max() < 1.001
    assert error.mean() < 0.35
    assert len(decoded.round().unique()) > 10


def test_a_stream_has_the_same_latents_in_every_configuration(codec, restored_configuration):
    def configure(threads, onednn):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn

    configurations, streams = [*product((1, 2), (True, False))], {}
    for configuration in configurations:
        configure(*configuration)
        data = encode(codec, noise(181, 203), 2.0, 2.56)
        streams[data] = codec.latents(data), codec.decode(data).astype(int)
    for data, configuration in product(streams, configurations):
        configure(*configuration)
        latents, picture = streams[data]
        assert torch.equal(codec.latents(data), latents)
        assert np.abs(codec.decode(data) - picture).max() <= 1


def test_the_encoder_sees_q_on_the_headers_grid_and_no_beta_and_a_decoder_may_choose_another(codec):
    pixels = noise(97, 131)
    plain, real = (encode(codec, pixels, 2.0, beta) for beta in (0.0, 3.84))
    assert unpack(plain)._replace(controls=HeaderControls(32, 96)) == unpack(real)
    changed_picture = codec.decode(plain, lambda controls: controls._replace(beta=96))
    assert np.array_equal(changed_picture, codec.decode(real))
    assert not np.array_equal(changed_picture, codec.decode(plain))
    rounded, on_grid, below = (encode(codec, pixels, q, 0.0) for q in (1.3, 1.3125, 1.25))
    assert rounded == on_grid != below


def test_a_constant_map_is_the_same_picture_and_a_map_acts_where_it_says(codec):
    pixels = noise(150, 210)
    levels = np.full(map_shape(210, 150), 12, np.uint8)  # q = 3, beta = 3.84
    scalar, mapped = encode(codec, pixels, 3.0, 3.84), encode(codec, pixels, levels, levels)
    assert len(mapped) - len(scalar) < 4
    assert unpack(mapped).payloads == unpack(scalar).payloads
    assert np.array_equal(codec.decode(mapped), codec.decode(scalar))
    both = np.uint8([[0] * 10]), np.uint8([[0] * 9 + [15]])
    streams = [encode(codec, noise(64, 640), levels, levels) for levels in both]
    difference = np.abs(np.subtract(*map(codec.decode, streams), dtype=int))
    assert difference[:, -64:].mean() > 0.1
    assert difference[:, :128].max() <= 1


def test_tiles_see_all_that_their_pixels_depend_on_also_with_maps(codec):
    pixels, tiling = noise(200, 460), Tiling(192, 144)
    plain = encode(codec, pixels, 2.0, 2.56, tiling)
    assert len(unpack(plain).payloads) == 6
    assert (codec.latents(plain) - analysed(codec, pixels, 2.0)).abs().max() < 1.001
    levels = np.arange(32, dtype=np.uint8).reshape(4, 8) % 16
    mapped = encode(codec, pixels, levels, levels, tiling)
    levels = torch.from_numpy(levels.astype(np.float32) + (levels == 15))[None, None]
    controls = Controls(2.0, 2.56), Controls(levels / 4, levels * 0.32)
    for data, values in zip((plain, mapped), controls, strict=True):
        with torch.inference_mode():
            images = codec.coder.network.synthesise(codec.latents(data), values)
        assert np.abs(codec.decode(data) - make_pixels(images)[:200, :460].astype(int)).max() <= 1


def test_a_stream_of_another_checkpoint_or_for_a_larger_image_is_refused(codec):
    small = unpack(encode(codec, noise(8, 8), 2.0, 0.0))
    with pytest.raises(CorruptStream, match=f"01020304.* {codec.identity.hex()}$"):
        codec.decode(pack(small._replace(checkpoint=b"\x01\x02\x03\x04")))
    with pytest.raises(CorruptStream):
        codec.decode(pack(small._replace(width=1024, height=1024)))
    with pytest.raises(ImageRefused, match="70000 x 1"):
        encode(codec, np.zeros((1, 70000, 3), np.uint8), 2.0, 0.0)


@pytest.mark.parametrize("tiling", [None, Tiling(64, 64)], ids=["whole", "tiles"])
def test_a_wrong_mean_is_refused_by_the_checksum_of_latents(codec, tiling, monkeypatch):
    """It moves no distribution: all symbols are decoded, and the string ends where it should."""
    data = encode(codec, noise(97, 131), 2.0, 0.0, tiling)
    checked = codec.add_checksum(data)
    assert len(checked) == len(data) + 2
    assert np.array_equal(codec.decode(checked), codec.decode(data))
    assert unpack(checked)._replace(latents_checksum=None) == unpack(data)
    branch = f"mean.{codec.coder._path.num_pieces - 1}"
    right = codec.coder._path.branches[branch]
    monkeypatch.setitem(codec.coder._path.branches, branch, lambda inputs: right(inputs) + 1)
    assert codec.decode(data).shape == (97, 131, 3)
    with pytest.raises(CorruptStream, match="latents"):
        codec.decode(checked)


def test_the_commands_code_a_file_and_decode_it(checkpoint, codec, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(checkpoint.parent))
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    pixels, ramp = noise(100, 150), np.tile(np.linspace(0, 255, 150).astype(np.uint8), (100, 1))
    image, levels = tmp_path / "in.png", tmp_path / "map.png"
    Image.fromarray(pixels).save(image)
    Image.fromarray(ramp).save(levels)
    stream, out = tmp_path / "out.crdr", tmp_path / "out.png"
    spec, point = "ours:beta=3.84:check_latents=1", ("--point", "q=2.5")
    message = output_of("encode", image, stream, "--codec", spec, *point)
    data = stream.read_bytes()
    assert f"{len(data)} bytes" in message
    assert data == codec.add_checksum(encode(codec, pixels, 2.5, 3.84))
    output_of("decode", stream, out)
    assert np.array_equal(np.asarray(Image.open(out)), codec.decode(data))
    output_of("decode", stream, out, "--beta", 0)
    beta_zero = codec.decode(data, lambda controls: controls._replace(beta=0))
    assert np.array_equal(np.asarray(Image.open(out)), beta_zero)
    maps = ("--q-map", levels, "--beta-map", levels)
    output_of("encode", image, stream, *maps, "--codec", f"ours:beta=0:checkpoint={checkpoint}")
    assert unpack(stream.read_bytes()).controls.q.tolist() == [[3, 10, 14]] * 2


def test_a_stream_is_decoded_by_the_bundled_network_that_it_names(tmp_path, checkpoint):
    pixels = noise(64, 64)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    stream, out = tmp_path / "out.crdr", tmp_path / "out.png"
    for codec in (CRDR(beta=3.84), CRDR(beta=3.84, size="micro")):
        stream.write_bytes(codec.encode(pixels, Setting("q", 1)))
        output_of("decode", stream, out)
        assert np.array_equal(np.asarray(Image.open(out)), codec.decode(stream.read_bytes()))
    for spec in f"ours:beta=0:checkpoint={checkpoint}", "ours:beta=0":
        with pytest.raises(UsageError, match=r"--codec .*:checkpoint=ours-micro.safetensors"):
            output_of("decode", stream, out, "--codec", spec)


def test_each_size_has_a_file_and_excludes_a_checkpoint(monkeypatch, checkpoint, tmp_path):
    with pytest.raises(BadOption, match=r"size .* checkpoint"):
        CRDR(beta=0, size="micro", checkpoint=str(checkpoint))
    bundled = load_card(BUNDLED / "ours-micro.safetensors.xz")
    assert CRDR(beta=0, size="micro").describe().fingerprint == bundled.sha256
    monkeypatch.setattr("baselines.neural.network_codec.BUNDLED", tmp_path)
    for size, name in (("", "ours"), ("micro", "ours-micro")):
        with pytest.raises(Unavailable, match=rf"{name}\.safetensors"):
            CRDR(beta=0, size=size)
    with pytest.raises(Unavailable, match="nowhere"):
        CRDR(beta=0, checkpoint="nowhere")
    for path, name in product(
        (checkpoint, card_path(checkpoint)), ("ours", "ours-tiny", "ours-micro", "hyperprior-1")
    ):
        copyfile(path, tmp_path / f"{name}{path.suffix}")
    for size in ("", "tiny"):
        assert CRDR(beta=0, size=size).describe().fingerprint == load_card(checkpoint).sha256
    with pytest.raises(Unavailable, match="size=micro"):
        CRDR(beta=0, size="micro")
    with pytest.raises(BadOption, match=r"beta .* -1"):
        CRDR(beta=0).decode(b"", beta=-1)


# A crop of 64 x 64 of the sample image coffee.png by ours-micro, q = 1, beta = 2.56.
STREAM = (
    "43d21091d85ac1404010401a9860ac38089fe181aa2617ba569603d578afcf89d3c9dec07538a111d36d413b62"
    "1b6972411a6f04ab4ecd7d9d7d9744845c91b0e33d84537017acdc6dad83d110df35c10daf0008f5"
)
# Bundled checkpoint ("" is the default) -> one of its streams, and the digest of its picture.
# A new checkpoint replaces both; nothing else may change the digest.
PICTURES = {
    "ours-micro": (STREAM, "0ecae1882b568dfafc2c1e0d87d957f77dfa6bd1347dc620073e5526f4059da9"),
    "": (
        "43d21064bd0421404010400217919071c46c930b04854e87afbc0115aab6cc6b360e963e77e64c21db08b7b5"
        "d57980093491a1d0be484f531ebcedaa5cd482fd9204d3e76d4cfeeb6fe5f876d995114e5017882424581e00"
        "c6b8",
        "0c76e868d4103789013447f608dde550d9b9a4e899b381db58f4d76cff23e40e",
    ),
    "ours-3aecb589": (
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


@pytest.mark.parametrize("processor", [
    PROCESSORS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in PROCESSORS[1:]),
], ids=lambda one: "-".join(one.values()) or "own")  # fmt: skip
def test_a_fresh_process_gives_the_same_picture_on_every_processor(processor):
    path = os.pathsep.join(sys.path)
    output = ran(sys.executable, "-c", FINGERPRINT, STREAM, PYTHONPATH=path, **processor)
    assert output.stdout.strip() == RESULT_SHA256


@pytest.mark.parametrize("name", PICTURES)
def test_a_bundled_checkpoint_gives_the_picture_that_it_always_gave(name):
    stream, picture_sha256 = PICTURES[name]
    codec = CRDR(beta=0, checkpoint=name and f"{name}.safetensors", exact=1)
    assert pixels_sha256(codec.decode(bytes.fromhex(stream))) == picture_sha256


def test_streams_are_the_same_and_pictures_differ_by_rounding_alone(checkpoint, photo):
    plain, exact = (CRDR(beta=2.56, checkpoint=str(checkpoint), exact=on) for on in (0, 1))
    data = exact.encode(photo, Setting("q", 2))
    assert data == plain.encode(photo, Setting("q", 2))
    difference = np.abs(exact.decode(data).astype(int) - plain.decode(data))
    assert difference.max() <= 1
    assert difference.mean() < 1e-3
    tiled = exact.make_tiled().encode(noise(300, 200), Setting("q", 1.5))
    for beta in (None, 5.12):
        result, expected = exact.decode(tiled, beta=beta), plain.decode(tiled, beta=beta)
        assert np.abs(result.astype(int) - expected).max() <= 1
    assert (exact.decode(tiled, beta=5.12) != exact.decode(tiled)).any()
