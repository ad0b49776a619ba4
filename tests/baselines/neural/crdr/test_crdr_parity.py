"""The authors' network and streams, by golden values of their code.

Both networks are float32, and every processor sums in another order: they may differ by `ROUNDING`
of the stage's spread.
"""

import hashlib
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.neural.crdr.authors import read_author_weights
from baselines.neural.crdr.model import Controls, CRDRNetwork
from baselines.neural.entropy.coder import Distributions, SymbolEncoder
from baselines.neural.entropy.factorised import factorised_tables
from baselines.neural.entropy.hyperprior import gaussian_bits
from baselines.neural.entropy.integer.grid import OUTPUT_FRACTION, make_tables
from conftest import SHARED
from support.networks.authors_weights import authors_shapes, authors_state, old_spelling
from support.networks.tiny_checkpoint import FULL

PARITY = SHARED / "data" / "parity"
Q = 1.3
ROUNDING = 1e-4  # in standard deviations; the maximum seen was 3.7e-5, with any instruction set

pytestmark = pytest.mark.skipif(not PARITY.exists(), reason="needs ../shared/data/parity")


@cache
def golden(name: str) -> Tensor:
    with np.load(PARITY / "golden.npz") as values:
        return torch.from_numpy(values[name])


def stage(name: str) -> Tensor:
    return golden(f"256x256.q1.3.{name}")


@pytest.fixture(scope="module")
def state():
    return authors_state(FULL)


@pytest.fixture(scope="module")
def network(state, tmp_path_factory):
    """The authors' file as training wrote it, in the older spelling, imported."""
    path = tmp_path_factory.mktemp("authors") / "crdr.pth.tar"
    torch.save({"comp_model": {old_spelling(key): value for key, value in state.items()}}, path)
    imported = read_author_weights(path)
    path.unlink()
    with torch.device("meta"):
        result = CRDRNetwork(FULL)
    result.load_state_dict(imported, assign=True)
    return result.eval().requires_grad_(False)


def rounding(ours: Tensor, theirs: Tensor) -> float:
    """Return the maximum difference in standard deviations of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.std())


def test_the_written_keys_and_weights_are_those_of_the_authors(state):
    lines = (PARITY / "state_dict_keys.txt").read_text().splitlines()
    shapes = dict(line.split("\t")[:2] for line in lines if line[0] != "#")
    assert {key: str(shape) for key, shape in authors_shapes(FULL).items()} == shapes
    lines = (PARITY / "weights_sha256.txt").read_text().splitlines()
    expected = {key: digest for digest, key in map(str.split, lines)}
    digests = {key: hashlib.sha256(state[key].numpy()).hexdigest() for key in expected}
    assert len(digests) == 583
    assert digests == expected


def test_every_stage_up_to_the_hyper_decoder_is_theirs(network):
    y, z = stage("y"), stage("z")
    assert rounding(network.analyse(golden("256x256.x"), Q), y) < ROUNDING
    assert rounding(network.hyper_analyse(y), z) < ROUNDING
    assert torch.equal(network.prior.rounded(z), stage("z_hat"))
    assert torch.equal((z - network.prior.medians()[:, None, None]).round(), stage("z_sym").float())
    hyper_out = torch.cat(network.hyper_synthesis(stage("z_hat")), 1)
    assert rounding(hyper_out, stage("hyper_out")) < ROUNDING


def test_each_slice_fed_with_theirs_predicts_their_means_scales_and_residuals(network):
    mean_support, scale_support = supports = stage("hyper_out").chunk(2, 1)
    decoded = list(stage("y_hat").chunk(10, 1))
    means, scales, residuals = (stage(name).chunk(10, 1) for name in ("mu", "sigma", "lrp_pre"))
    symbols = stage("y_sym").float().chunk(10, 1)
    context = network.context
    for i in range(10):
        mean_inputs = context.support(mean_support, decoded[:i])
        for name, inputs, theirs in (
            ("mean", mean_inputs, means[i]),
            ("scale", context.support(scale_support, decoded[:i]), scales[i]),
            ("residual", torch.cat([mean_inputs, means[i] + symbols[i]], 1), residuals[i]),
        ):
            assert rounding(getattr(context, name)[i](inputs), theirs) < ROUNDING, (name, i)
    together = context(*supports, lambda i, mean, _scale: mean + symbols[i])
    assert rounding(together, stage("y_hat")) < ROUNDING


@pytest.mark.parametrize("beta", [0.0, 3.84])
def test_the_picture_is_theirs(network, beta):
    images = network.synthesise(stage("y_hat"), Controls(Q, beta))
    assert rounding(images, stage(f"b{beta}.dec_raw")) < ROUNDING
    assert rounding(images.clamp(-1, 1), stage(f"b{beta}.recon")) < ROUNDING


def test_estimated_bits_are_theirs_and_a_free_run_flips_hardly_a_symbol(network, record_property):
    """For rounded latents, against golden values of the authors' likelihoods, in bits per pixel."""
    bits = gaussian_bits(stage("y_sym").float(), stage("sigma")), network.prior.bits(stage("z_hat"))
    ours = [float(values.double().sum()) / 256**2 for values in bits]
    assert ours == pytest.approx(stage("bpp_y_z").tolist(), rel=1e-5)
    latents = network.analyse(golden("256x256.x"), Q)
    slices, symbols = latents.chunk(10, 1), []

    def quantise(i: int, mean: Tensor, _scale: Tensor) -> Tensor:
        symbols.append((slices[i] - mean).round())
        return symbols[-1] + mean

    hyper = network.prior.rounded(network.hyper_analyse(latents))
    decoded = network.context(*network.hyper_synthesis(hyper), quantise)
    flipped = int((torch.cat(symbols, 1) != stage("y_sym").float()).sum())
    record_property("flipped_symbols", flipped)
    assert flipped <= 0.001 * decoded.numel()


def test_our_distributions_of_y_have_their_symbols_and_code_them_in_fewer_bytes():
    tables = make_tables()
    assert torch.equal(tables["cdf_length"], golden("cdf.y.cdf_length"))
    assert torch.equal(tables["cdf_offset"], golden("cdf.y.offset"))
    thresholds = tables["thresholds"].double() / 2**OUTPUT_FRACTION
    scales = golden("cdf.y.scale_table").double()
    middles = (scales[1:] * scales[:-1]).sqrt()
    assert float((thresholds - middles).abs().max()) <= 2.0**-OUTPUT_FRACTION
    encoder = SymbolEncoder()
    on_grid = (stage("sigma") * 2**OUTPUT_FRACTION).round().int()
    indices = torch.bucketize(on_grid, tables["thresholds"]).int().numpy()
    encoder.add(stage("y_sym").int().numpy(), Distributions.read(tables, "cdf"), indices)
    ours, theirs = len(encoder.finish()), stage("bytes_y").numel()
    assert 0.97 * theirs < ours < theirs


def test_our_distributions_of_z_are_theirs_where_both_have_a_symbol(network):
    ours = [*factorised_tables(network.prior).values()]
    theirs = [golden(f"cdf.z.{name}") for name in ("quantized_cdf", "cdf_length", "offset")]
    for channel in range(FULL.hyper_latent):
        counts = []  # of each symbol but the escape
        for cdf, length, first in (ours, theirs):
            frequencies = np.diff(np.asarray(cdf[channel])[: int(length[channel])])[:-1]
            counts.append(dict(enumerate(frequencies.tolist(), int(first[channel]))))
        symbols = counts[0].keys() & counts[1].keys()
        pairs = [[frequencies[symbol] for frequencies in counts] for symbol in symbols]
        ratios = [first / second for first, second in pairs if min(first, second) > 500]
        # Theirs redistributes the mass beyond the quantiles, which is large for synthetic weights.
        assert len(ratios) > 5
        assert max(ratios) / min(ratios) < 1.01
