"""Methods of the field: published sizes, and what is each one's own, by hand or by others' code."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import laplace

from baselines.compressai.codec import prepare_import
from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.blocks.layers import GDN, ChannelNorm
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.costs import costs, macs_per_pixel
from baselines.neural.entropy.integer.integer_path import fractional_bit_tables
from baselines.neural.field import ivr
from baselines.neural.field.charm import CharmNetwork
from baselines.neural.field.elic import CheckerboardConvolution, ElicNetwork
from baselines.neural.field.multirealism import BETA_GRID, MultiRealismNetwork, fourier
from baselines.neural.picture_codec import PictureCodec
from benchmark.datasets.image import read_image
from benchmark.datasets.kodak import open_sample
from support.networks.drawn import by_slice
from support.networks.integer_network import default_fractional_bits
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise


def size(method, name="tiny"):
    return ARCHITECTURES[method].sizes[name]


def published(method):
    sizes = size(method, "full")
    parameters = {name: cost.parameters for name, cost in costs(method, sizes).items()}
    return parameters, macs_per_pixel(method, sizes)


def test_published_sizes_have_the_published_parameters_and_work():
    parameters, work = published("charm")  # TensorFlow Compression's models/ms2020.py, by layers
    assert sum(parameters.values()) - parameters["prior"] == 113_976_323
    assert (parameters["context"], work) == (96_989_440, 580_722)
    parameters, work = published("hific")  # as NeuralCompression counts them
    assert (parameters["analysis"], parameters["synthesis"]) == (7_423_420, 156_774_683)
    assert round(work) == 762_090
    parameters, work = published("multirealism")  # Nikolai10/MRIC by layers, with one stack less
    assert sum(parameters.values()) == pytest.approx(85.9e6, rel=0.03)
    assert work == pytest.approx(1109e3, rel=0.003)
    # IVR: kernels of 5 x 4, widths 256, 256, 256, 320, GDN of 256, ten masks of each width.
    kernels = 20 * (3 * 256 + 2 * 256 * 256 + 256 * 320) + 3 * 256 + 320
    assert published("ivr")[0]["analysis"] == kernels + 3 * (256 + 256**2) + 10 * (3 * 256 + 320)


def parameters_by_slice(network, supports, values):
    """Return the mean and scale of every slice, of latents whose slices are near `values`."""
    parameters, _ = by_slice(network, supports, lambda i, mean: (values[i] - mean).round() + mean)
    return [torch.cat(pair, 1) for pair in parameters]


def changed_slices(first, second):
    return [i for i, pair in enumerate(zip(first, second, strict=True)) if not torch.equal(*pair)]


@torch.no_grad()
def test_a_slice_depends_on_the_first_slices_only_and_features_are_not_negative():
    network = CharmNetwork(size("charm"))
    sizes = network.sizes
    supports = network.hyper_synthesis(torch.randn(1, sizes.hyper_latent, 2, 2))
    assert all(float(feature.min()) == 0 for feature in supports)
    values = (4 * torch.randn(1, sizes.latent, 8, 8)).split(list(sizes.slices), dim=1)
    parameters_before = parameters_by_slice(network, supports, values)
    for changed in range(len(values)):
        changed_values = [value + 3 * (i == changed) for i, value in enumerate(values)]
        parameters = parameters_by_slice(network, supports, changed_values)
        differing = range(changed + 1, len(values)) if changed < sizes.support_slices else []
        assert changed_slices(parameters_before, parameters) == [*differing]


@pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
def test_the_normalisation_is_that_of_compressai(inverse):
    with prepare_import():
        from compressai import layers
    reference, ours = layers.GDN(6, inverse=inverse), GDN(6, inverse=inverse)
    beta, gamma = torch.rand(6) + 0.5, torch.rand(6, 6) / 2
    ours.set(beta, gamma)
    reference.beta.data = reference.beta_reparam.init(beta)
    reference.gamma.data = reference.gamma_reparam.init(gamma)
    features = 3 * torch.randn(2, 6, 5, 4)
    assert torch.allclose(ours(features), reference(features), rtol=1e-5, atol=1e-6)


OFFICIAL = replace(
    size("elic", "full"), encoder=(16, 16, 16), decoder=(16, 16, 16), latent=144, hyper_latent=16,
    hyper_encoder=(16, 16), hyper_decoder=(16, 24), support=32, groups=(16, 16, 32, 64, 16),
)  # fmt: skip


def official_network(**widths):
    with prepare_import():
        from compressai.models.sensetime import Elic2022Official
    return Elic2022Official(**widths)


def test_the_published_size_of_elic_has_the_parameters_and_the_work_of_compressais_network():
    parameters, work = published("elic")
    theirs = official_network().named_parameters()
    count = sum(value.numel() for name, value in theirs if "entropy_bottleneck" not in name)
    assert sum(parameters.values()) - parameters["prior"] == count
    assert work == pytest.approx(564e3, rel=0.001)


def copied(official) -> ElicNetwork:
    """Return our network with CompressAI's weights, copied module by module in data flow order."""
    ours = ElicNetwork(OFFICIAL)
    groups, hyper = official.latent_codec["y"], official.latent_codec["hyper"]
    parts = [groups[f"y{k}"] for k in range(len(OFFICIAL.groups))]
    pairs = [
        (official.g_a, ours.analysis), (official.g_s, ours.synthesis),
        (hyper.h_a, ours.hyper_analysis),
        *zip((part.context_prediction for part in parts), ours.context.spatial, strict=True),
        *zip((part.entropy_parameters for part in parts), ours.context.aggregation, strict=True),
        *zip(groups.channel_context.values(), [*ours.context.channel][1:], strict=True),
    ]  # fmt: skip
    for theirs, our_layers in pairs:
        for source, target in zip(theirs.parameters(), our_layers.parameters(), strict=True):
            assert source.shape == target.shape
            target.data = source.data
    both = hyper.h_s, ours.hyper_synthesis
    layers = ([layer for layer in part if hasattr(layer, "weight")] for part in both)
    for source, target in zip(*layers, strict=True):
        weight = source.weight.data
        if source.stride == (1, 1):  # a transposed convolution of stride 1 is a convolution
            weight = weight.flip(2, 3).transpose(0, 1)
        target.weight.data, target.bias.data = weight, source.bias.data
    ours.prior.quantiles.data = hyper.entropy_bottleneck.quantiles.data[:, 0]
    return ours.eval()


@pytest.mark.filterwarnings("ignore")
def test_with_compressais_weights_latents_are_equal_and_pictures_to_rounding():
    torch.manual_seed(3)
    official = official_network(N=16, M=144, groups=list(OFFICIAL.groups)).eval()
    for parameter in official.parameters():  # random networks code next to nothing otherwise
        if parameter.ndim == 4:
            parameter.data *= 1.6
    ours, images = copied(official), torch.rand(1, 3, 128, 192)
    with torch.no_grad():
        expected, their_picture = official.g_a(images), official(images)["x_hat"]
        their_latents = official.latent_codec(expected)["y_hat"]
        latents = ours.analyse(images)
        decoded = ours.code(latents, noisy=False).latents
        picture = ours.synthesise(decoded)
    assert torch.allclose(latents, expected, atol=1e-5 * float(expected.abs().max()))
    assert float(their_latents.abs().max()) > 1
    assert torch.allclose(decoded, their_latents, atol=1e-5)
    assert torch.allclose(picture, their_picture, atol=1e-5 * float(their_picture.abs().max()))


def test_a_checkerboard_sees_the_other_colour_within_its_kernel():
    layer = CheckerboardConvolution(1, 1, 5)
    mask = torch.arange(25).reshape(5, 5) % 2  # 1 where row and column differ in parity
    assert torch.equal((layer.masked_weight()[0, 0] != 0).int(), mask.int())
    signal = torch.randn(1, 1, 6, 7)
    assert torch.allclose(layer.make_convolution()(signal), layer(signal), atol=1e-6)


def test_a_position_is_normalised_over_its_channels_with_the_unbiased_variance():
    features = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 2)
    mean, variance = torch.tensor([3.0, 0.0]), torch.tensor([(4 + 1 + 9) / 2, 0])
    assert torch.allclose(ChannelNorm(3)(features), (features - mean) / (variance + 1e-3) ** 0.5)


def test_a_pass_with_noise_counts_the_bits_of_rounded_latents_too():
    torch.manual_seed(1)
    network = load_architecture("hific").build(size("hific"))
    network.analysis[-1].weight.data *= 10  # latents that are not all zero
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        noisy, noiseless = (network(images, None, noisy=noisy) for noisy in (True, False))
    assert torch.equal(noisy.rounded_bits, noiseless.y_bits + noiseless.z_bits)
    assert torch.equal(noiseless.rounded_bits, noisy.rounded_bits)
    assert not torch.equal(noisy.y_bits + noisy.z_bits, noisy.rounded_bits)


@pytest.fixture(scope="module")
def crops():
    """Crops (16, 3, 128, 128) of the sample's photographs, in [-1, 1]."""
    pixels = [read_image(image.path).pixels for image in open_sample([]).images]
    places = [(y, x) for y in (32, 160) for x in (32, 160)]
    result = np.stack([image[y : y + 128, x : x + 128] for image in pixels for y, x in places])
    return torch.from_numpy(result).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture(scope="module")
def network(crops):
    torch.manual_seed(1)
    result = load_architecture("hific").build(size("hific", "micro")).eval()
    result.initialise(crops, [1.0])
    return result


@torch.no_grad()
def test_photographs_and_brightness_come_back_although_each_layer_normalises(network, crops):
    decoded = network.synthesise(network.analyse(crops))
    variance = (crops - crops.mean((0, 2, 3), keepdim=True)).square().mean()
    assert (decoded - crops).square().mean() < 0.12 * variance
    greys = torch.tensor([-0.5, 0.0, 0.5])
    flat = greys[:, None, None, None].expand(3, 3, 128, 128)
    decoded = network.synthesise(network.analyse(flat))[..., 32:-32, 32:-32].mean((1, 2, 3))
    assert (decoded.diff() > 0.6 * greys.diff()).all()


@torch.no_grad()
def test_the_constant_of_the_latent_takes_no_bits(network, crops):
    y = network.analyse(crops)
    (constant,) = y[:, -1].unique().tolist()
    assert constant == round(constant) > y[:, :-1].std().item()
    decoded = network.code(y, noisy=False).latents[:, -1]
    assert decoded == pytest.approx(torch.full_like(decoded, constant), abs=0.01), "symbols are 0"
    scale = network.hyper_synthesis.scale[-1].bias[-1].item()
    assert -math.log2(math.erf(0.5 / scale / math.sqrt(2))) < 1e-2, "bits of a zero"


def test_a_mask_is_the_softplus_of_interpolated_weights():
    levels = IndexedLevels(torch.tensor([0.0, 0.25, 1.0, 2.0]), None)
    mask, images = ivr.Mask(2, 3), torch.ones(4, 2, 1, 1)
    assert torch.allclose(mask(images, levels), torch.tensor(math.log1p(math.e)))
    mask.weight.data = torch.tensor([[0.0, 1.0], [2.0, -1.0], [4.0, 3.0]])
    weights = torch.tensor([[0.0, 1.0], [0.5, 0.5], [2.0, -1.0], [4.0, 3.0]])
    assert torch.allclose(mask(images, levels)[:, :, 0, 0], weights.exp().log1p())


def test_bits_are_those_of_a_laplace_distributions_unit_intervals():
    distances = torch.tensor([0.0, 0.2, 0.5, 0.51, 1.0, -3.0, 7.3])
    for log_scale in (-1.5, 0.0, 2.0):
        spread = laplace(scale=math.exp(log_scale))
        masses = spread.cdf(distances + 0.5) - spread.cdf(distances - 0.5)
        result = ivr.laplace_bits(distances, torch.full_like(distances, log_scale)).numpy()
        assert np.allclose(result, np.minimum(-np.log2(masses), 50), rtol=1e-4)


def test_the_tables_cost_what_the_distributions_do():
    random = np.random.default_rng(5)
    tables = ivr.laplace_tables(ivr.LaplacePrior(2))
    network = ivr.IvrNetwork(size("ivr"))
    fractional_bits = fractional_bit_tables(default_fractional_bits(network))
    path = ivr.IvrPath(network, {**tables, **fractional_bits})
    means, log_scales = (
        torch.tensor(random.uniform(*limits, (1, 200, 1, 1))).expand(1, 200, 20, 50)
        for limits in ((-30, 30), (math.log(0.15), math.log(40)))
    )
    values = torch.tensor(random.laplace(means, log_scales.exp())).round()
    ideal = float(ivr.laplace_bits(values - means, log_scales).sum())
    on_grid = ((tensor * 4096).round().int() for tensor in (means, log_scales))
    result = path.choose_parameters(*on_grid)
    rows, cdf = result.indices.long(), tables["cdf"]
    symbols = (values - result.means / 4096).round().long()
    entries, escape = symbols - tables["cdf_offset"][rows], tables["cdf_length"][rows] - 2
    outside = (entries < 0) | (entries >= escape)
    entries = torch.where(outside, escape, entries)
    counts = cdf[rows, entries + 1] - cdf[rows, entries]
    bits = float(-(counts.double() / 2**16).log2().sum()) + 12 * int(outside.sum())
    assert bits == pytest.approx(ideal, rel=0.005)


def test_every_step_of_the_rate_has_a_stream_of_its_own(tmp_path):
    write_tiny(tmp_path / "ivr.safetensors", "ivr")
    codec = PictureCodec(load_checkpoint(tmp_path / "ivr.safetensors"))
    streams = [codec.encode(noise(64, 64), step) for step in range(0, 33, 4)]
    assert len({stream[9:] for stream in streams}) == len(streams)
    assert len(streams[0]) <= len(streams[-1])


def test_the_hyper_encoder_sees_rounded_latents():
    network = ivr.IvrNetwork(size("ivr"))
    latents = 3 * torch.randn(1, size("ivr").latent, 8, 8)
    assert torch.equal(network.hyper_analyse(latents), network.hyper_analyse(latents.round()))


def test_each_picture_has_its_own_beta_by_its_sines_and_cosines():
    angles = 0.5 * 2.0 ** torch.arange(10)
    expected = torch.cat([torch.tensor([0.5]), angles.sin(), angles.cos()])
    assert torch.allclose(fourier(torch.tensor([0.5]))[0], expected)
    network = MultiRealismNetwork(size("multirealism")).eval()
    latents = torch.randn(1, size("multirealism").latent, 4, 4)
    with torch.no_grad():
        together = network.synthesise(latents.expand(2, -1, -1, -1), torch.tensor([0.0, 2.0]))
        alone = torch.cat([network.synthesise(latents, beta) for beta in (0.0, 2.0)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(*together, atol=1e-3)


def test_streams_of_two_betas_differ_in_the_header_alone(tmp_path):
    write_tiny(path := tmp_path / "multirealism-1.safetensors", "multirealism")
    checkpoint = load_checkpoint(path)
    for name, parameter in checkpoint.network.named_parameters():
        if "project" in name:  # beta changes nothing at the start
            parameter.data.normal_(std=0.05)
    codec = PictureCodec(checkpoint)
    first, second = (codec.encode(noise(64, 64), BETA_GRID.step(beta)) for beta in (0.0, 2.56))
    differing = [i for i, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
    assert differing == [9, len(first) - 2, len(first) - 1], "the byte of beta, the checksum"
    assert torch.equal(codec.latents(first), codec.latents(second))
    assert not np.array_equal(codec.decode(first), codec.decode(second))


def test_a_slice_sees_its_own_part_of_the_hyper_decoder():
    sizes = size("multirealism")
    network, supports = MultiRealismNetwork(sizes), torch.randn(2, 1, sizes.support, 4, 4)
    values = torch.randn(1, sizes.latent, 4, 4).split(list(sizes.slices), dim=1)
    changed_supports = supports.clone()
    changed_supports[:, :, sizes.support * 3 // 4 :] += 1  # that of the last of four slices
    parameters = [parameters_by_slice(network, s, values) for s in (supports, changed_supports)]
    assert changed_slices(*parameters) == [3]
