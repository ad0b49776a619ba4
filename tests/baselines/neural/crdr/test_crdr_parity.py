"""The authors' network and streams, by golden values of their code.

Both networks are float32, and every processor sums in another order. The network itself in float64
is the referee: each of the two may be away from it by `ROUNDING` of the stage's spread.
"""

import hashlib
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.neural.blocks.control import PlacedLevels
from baselines.neural.crdr.authors import import_authors
from baselines.neural.crdr.model import Controls, CRDRNetwork
from baselines.neural.entropy.hyperprior import gaussian_bits
from conftest import SHARED
from support.networks.authors_weights import (
    authors_shapes,
    authors_state,
    listed_shapes,
    old_spelling,
)
from support.networks.tiny_checkpoint import FULL

PARITY = SHARED / "data" / "parity"
Q = 1.3
BETAS = (0.0, 3.84)
ROUNDING = 1e-4  # of the standard deviation; 2.7e-5 was seen, with any instruction set

pytestmark = pytest.mark.skipif(not PARITY.exists(), reason="needs ../shared/data/parity")


@cache
def golden(name: str) -> Tensor:
    """A golden value of the crop, or by its full name."""
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
    imported = import_authors(path)
    path.unlink()
    with torch.device("meta"):
        made = CRDRNetwork(FULL)
    made.load_state_dict(imported, assign=True)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def referee(network):
    """The same network in float64."""
    return deepcopy(network).double()


def level(value: float) -> PlacedLevels:
    """A level for the referee, rounded to float32 as for the others."""
    return PlacedLevels(torch.tensor([value]).double(), None)


def rounding(ours: Tensor, theirs: Tensor, exact: Tensor) -> float:
    """Return the largest deviation of either from the referee, in standard deviations of it."""
    assert ours.shape == theirs.shape == exact.shape
    assert exact.dtype == torch.float64
    return max(float((one - exact).abs().max() / exact.std()) for one in (ours, theirs))


def test_the_written_keys_and_weights_are_those_of_the_authors(state):
    assert authors_shapes(FULL) == listed_shapes(PARITY / "state_dict_keys.txt")
    listed = dict(
        reversed(line.split()) for line in (PARITY / "weights_sha256.txt").read_text().splitlines()
    )
    filled = {
        key: hashlib.sha256(value.numpy().tobytes()).hexdigest()
        for key, value in state.items()
        if key in listed
    }
    assert filled.items() <= listed.items()
    assert len(filled) == 583


def test_every_stage_up_to_the_hyper_decoder_is_theirs(network, referee):
    latents = network.analyse(golden("256x256.x"), Q)
    exact = referee.analyse(golden("256x256.x").double(), level(Q))
    assert rounding(latents, stage("y"), exact) < ROUNDING
    exact = referee.hyper_analyse(stage("y").double())
    assert rounding(network.hyper_analyse(stage("y")), stage("z"), exact) < ROUNDING
    assert torch.equal(network.round_hyper(stage("z")), stage("z_hat"))
    symbols = (stage("z") - network.prior.medians()[:, None, None]).round()
    assert torch.equal(symbols, stage("z_sym").float())
    ours = torch.cat(network.hyper_synthesis(stage("z_hat")), 1)
    exact = torch.cat(referee.hyper_synthesis(stage("z_hat").double()), 1)
    assert rounding(ours, stage("hyper_out"), exact) < ROUNDING


def test_each_slice_fed_with_theirs_predicts_their_means_scales_and_residuals(network, referee):
    mean_support, scale_support = stage("hyper_out").chunk(2, 1)
    decoded = list(stage("y_hat").chunk(10, 1))
    means, scales, residuals = (stage(name).chunk(10, 1) for name in ("mu", "sigma", "lrp_pre"))
    symbols = stage("y_sym").float().chunk(10, 1)
    context = network.context
    for i in range(10):
        for_mean = context.support(mean_support, decoded[:i])
        for_scale = context.support(scale_support, decoded[:i])
        values = means[i] + symbols[i]
        for_residual = torch.cat([for_mean, values], 1)
        for name, inputs, theirs in (
            ("mean", for_mean, means[i]),
            ("scale", for_scale, scales[i]),
            ("residual", for_residual, residuals[i]),
        ):
            ours = getattr(context, name)[i](inputs)
            exact = getattr(referee.context, name)[i](inputs.double())
            assert rounding(ours, theirs, exact) < ROUNDING, (name, i)


def test_their_symbols_pass_through_the_context_to_their_latent(network, referee):
    symbols = stage("y_sym").float().chunk(10, 1)

    def decoded(by: CRDRNetwork, support: Tensor) -> Tensor:
        return by.context(*support.chunk(2, 1), lambda i, mean, _scale: mean + symbols[i])

    ours, exact = (
        decoded(network, stage("hyper_out")),
        decoded(referee, stage("hyper_out").double()),
    )
    assert rounding(ours, stage("y_hat"), exact) < ROUNDING


@pytest.mark.parametrize("beta", BETAS)
def test_the_picture_is_theirs(network, referee, beta):
    images = network.synthesise(stage("y_hat"), Controls(Q, beta))
    exact = referee.synthesise(stage("y_hat").double(), Controls(level(Q), level(beta)))
    assert rounding(images, stage(f"b{beta}.dec_raw"), exact) < ROUNDING
    clamped = [one.clamp(-1, 1) for one in (images, exact)]
    assert rounding(clamped[0], stage(f"b{beta}.recon"), clamped[1]) < ROUNDING


def test_the_estimated_bits_are_theirs(network):
    """For rounded latents, against golden values of the authors' likelihoods, in bits per pixel."""
    bits = gaussian_bits(stage("y_sym").float(), stage("sigma")), network.prior.bits(stage("z_hat"))
    ours = [float(of.double().sum()) / 256**2 for of in bits]
    assert ours == pytest.approx(stage("bpp_y_z").tolist(), rel=1e-5)
