"""Our codec as a whole: streams of a tiny network, in every configuration, valid and damaged."""

from itertools import product

import numpy as np
import pytest
import torch

from baselines.neural.bitstream.container import LARGE_TILING, Stream, Tiling, choose_tiling
from baselines.neural.bitstream.control_grid import levels_from_picture, map_shape
from baselines.neural.crdr.model import Controls, HeaderControls
from baselines.neural.network import make_images, make_pixels, pad_pixels
from baselines.neural.picture_codec import PictureCodec
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from benchmark.errors import CorruptStream, ImageRefused
from support.networks.tiny_checkpoint import noise
from support.networks.tiny_streams import encode, pack, unpack


@pytest.fixture
def restored_configuration():
    """Restore the number of threads and the use of oneDNN afterwards."""
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn


def analysed(codec: PictureCodec, pixels: np.ndarray, q: float) -> torch.Tensor:
    """Return the float encoder's y of the whole image."""
    with torch.inference_mode():
        return codec.coder.network.analyse(make_images(pad_pixels(pixels), torch.device("cpu")), q)


def test_padding_mirrors_or_repeats_if_the_side_is_too_short():
    ramp = np.arange(40, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    high = pad_pixels(ramp)
    assert high.shape == (64, 64, 3)
    assert high[:, 0, 0].tolist() == [*range(40), *range(38, 14, -1)]
    assert (high == high[:, :1]).all()
    assert pad_pixels(ramp[:3])[:, 0, 0].tolist() == [0, 1, *[2] * 62]


@pytest.mark.parametrize("image", open_sample().images, ids=lambda image: image.name)
def test_the_decoder_has_the_encoders_latents_over_the_sample_images(codec, image):
    """No further from y than rounding (one half) and the residual prediction (one half) may go."""
    pixels = read_image(image.path).pixels
    for q in (0.0, 4.0):
        decoded = codec.latents(encode(codec, pixels, q, 0.0))
        error = (decoded - analysed(codec, pixels, q)).abs()
        assert error.max() < 1.001
        assert error.mean() < 0.35
        assert len(decoded.round().unique()) > 10


def test_a_stream_has_the_same_latents_in_every_configuration(codec, restored_configuration):
    pixels = noise(181, 203)
    streams, latents, pictures = set(), [], []
    for threads, onednn in product((1, 2), (True, False)):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn
        streams.add(encode(codec, pixels, 2.0, 2.56))
    for data, threads, onednn in product(streams, (1, 2), (True, False)):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn
        latents.append((data, codec.latents(data)))
        pictures.append((data, codec.decode(data).astype(int)))
    first, first_pictures = dict(reversed(latents)), dict(reversed(pictures))
    assert all(torch.equal(result, first[data]) for data, result in latents)
    assert max(np.abs(result - first_pictures[data]).max() for data, result in pictures) <= 1


def test_the_encoder_sees_q_on_the_headers_grid_and_no_beta_and_a_decoder_may_choose_another(codec):
    pixels = noise(97, 131)
    plain, real = encode(codec, pixels, 2.0, 0.0), encode(codec, pixels, 2.0, 3.84)
    assert unpack(plain)._replace(controls=HeaderControls(32, 96)) == unpack(real)
    changed_picture = codec.decode(plain, lambda controls: controls._replace(beta=96))
    assert np.array_equal(changed_picture, codec.decode(real))
    assert not np.array_equal(changed_picture, codec.decode(plain))
    rounded, on_grid, below = (encode(codec, pixels, q, 0.0) for q in (1.3, 1.3125, 1.25))
    assert rounded == on_grid != below


def test_a_constant_map_is_the_same_picture_for_less_than_four_bytes(codec):
    pixels = noise(150, 210)
    levels = np.full(map_shape(210, 150), 12, np.uint8)  # q = 3, beta = 3.84
    scalar, mapped = encode(codec, pixels, 3.0, 3.84), encode(codec, pixels, levels, levels)
    assert len(mapped) - len(scalar) < 4
    assert unpack(mapped).payloads == unpack(scalar).payloads
    assert np.array_equal(codec.decode(mapped), codec.decode(scalar))


def test_a_map_acts_where_it_says(codec):
    """Far from where two maps differ, both give the same latents and the same pixels."""
    pixels = noise(64, 640)
    left_levels, right = np.zeros((2, 1, 10), np.uint8)
    right[:, 9] = 15
    streams = encode(codec, pixels, left_levels, left_levels), encode(codec, pixels, right, right)
    first_picture, second_picture = (codec.decode(data).astype(int) for data in streams)
    assert np.abs(first_picture[:, -64:] - second_picture[:, -64:]).mean() > 0.1
    assert np.abs(first_picture[:, :128] - second_picture[:, :128]).max() <= 1


def test_tiles_see_all_that_their_pixels_depend_on_also_with_maps(codec):
    pixels, network = noise(200, 460), codec.coder.network
    tiling = Tiling(192, 144)
    plain = encode(codec, pixels, 2.0, 2.56, tiling)
    assert len(unpack(plain).payloads) == 6
    assert (codec.latents(plain) - analysed(codec, pixels, 2.0)).abs().max() < 1.001
    levels = np.arange(32, dtype=np.uint8).reshape(4, 8) % 16
    mapped = encode(codec, pixels, levels, levels, tiling)
    levels = torch.from_numpy(levels.astype(np.float32) + (levels == 15))[None, None]
    controls = Controls(2.0, 2.56), Controls(levels / 4, levels * 0.32)
    for data, values in zip((plain, mapped), controls, strict=True):
        with torch.inference_mode():
            untiled = make_pixels(network.synthesise(codec.latents(data), values))[:200, :460]
        assert np.abs(codec.decode(data).astype(int) - untiled).max() <= 1


def test_only_what_is_too_large_for_one_piece_comes_in_tiles():
    assert choose_tiling(1448, 1448) is None
    assert choose_tiling(2048, 2048) == LARGE_TILING
    assert choose_tiling(2**21, 1) is None  # refused for its side, not for lack of tiles


def test_a_stream_of_another_checkpoint_or_for_a_larger_image_is_refused(codec):
    small = unpack(encode(codec, noise(8, 8), 2.0, 0.0))
    with pytest.raises(CorruptStream, match=f"01020304.* {codec.identity.hex()}$"):
        codec.decode(pack(small._replace(checkpoint=b"\x01\x02\x03\x04")))
    large = Stream(codec.identity, 1024, 1024, HeaderControls(32, 0), small.payloads)
    with pytest.raises(CorruptStream):
        codec.decode(pack(large))
    with pytest.raises(ImageRefused, match="70000 x 1 pixels"):
        encode(codec, np.zeros((1, 70000, 3), np.uint8), 2.0, 0.0)


def test_a_picture_of_levels_is_averaged_over_blocks():
    random = np.random.default_rng(5)
    grey = random.integers(0, 256, (100, 150, 1), np.uint8).repeat(3, axis=2)
    blocks = [[grey[y : y + 64, x : x + 64].mean() / 255 for x in (0, 64, 128)] for y in (0, 64)]
    expected = np.minimum(np.floor(np.array(blocks) * 16 + 0.5), 15)
    assert np.abs(levels_from_picture(grey, 150, 100) - expected).max() <= 0
    halves = np.zeros((2, 2, 3), np.uint8)
    halves[:, 1] = 255
    assert levels_from_picture(halves, 128, 640).tolist() == [[0, 15]] * 10
    assert levels_from_picture(halves, 192, 64).tolist() == [[0, 8, 15]]


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
    with pytest.raises(CorruptStream, match="latents differ"):
        codec.decode(checked)
