import copy
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from baselines.neural.fixed import entropy_path as entropy_path_module
from baselines.neural.fixed.bounds import BoundExceeded
from baselines.neural.fixed.calibration import calibrate
from baselines.neural.fixed.entropy_path import EntropyPath, symbols_of, to_float
from baselines.neural.fixed.fractions import (
    LARGEST_FRACTION,
    activation_names,
    default_fractions,
    fraction_tables,
)
from baselines.neural.fixed.grid import ACTIVATION_LIMIT
from baselines.neural.fixed.limbs import LimbSums
from baselines.neural.fixed.reference import Float64Sums
from baselines.neural.fixed.selftest import Choice
from baselines.neural.fixed.tables import make_tables
from baselines.neural.model import CRDR
from baselines.neural.sizes import TINY, without_context

SIZES = {
    "tiny": TINY,
    "no context": without_context(TINY),
    "no support": replace(TINY, support_slices=0),
    "one slice": replace(TINY, slices=(12,), support_slices=1),
}
each_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
LIMBS, REFERENCE = Choice("limbs", LimbSums, ""), Choice("reference", Float64Sums, "")


@pytest.fixture(scope="module")
def tables():
    return make_tables()


def network(sizes=TINY) -> CRDR:
    """With weights that make all means, scales and residuals differ, and scales of all sizes."""
    torch.manual_seed(0)
    model = CRDR(sizes).eval()
    with torch.no_grad():
        model.prior.quantiles[:, 1].uniform_(-3, 3)
        for parameter in (*model.hyper_synthesis.parameters(), *model.context.parameters()):
            parameter.mul_(3)
    return model


def path_of(model, tables, fractions=None, **options) -> EntropyPath:
    """As from a checkpoint that holds these tables and fractions."""
    kept = {**tables, **fraction_tables(fractions or default_fractions(model))}
    return EntropyPath(model, kept, **options)


def latents(count: int, sizes=TINY, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, sizes.latent, 8, 12, generator=generator)
    return values * torch.logspace(-1, 1.3, sizes.latent).view(-1, 1, 1)


def z_symbols(count: int, sizes=TINY, seed: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, (count, sizes.hyper_latent, 2, 3), generator=generator)


def encode(path: EntropyPath, hyper: torch.Tensor, values: torch.Tensor):
    """All symbols, scale indices and means, and what is decoded; int64."""
    walk = path.begin(hyper)
    found: list[list[torch.Tensor]] = [[], [], []]
    for part in values.split(path.widths, dim=1):
        indices, means = walk.parameters()
        symbols = symbols_of(part, means)
        walk.accept(symbols)
        for kept, one in zip(found, (symbols, indices, means), strict=True):
            kept.append(one.long())
    return [*(torch.cat(parts, dim=1) for parts in found), walk.decoded().long()]


def decode(path: EntropyPath, hyper: torch.Tensor, symbols: torch.Tensor):
    """Scale indices, means and the decoded latents, from the symbols alone; int64."""
    walk = path.begin(hyper)
    found: list[list[torch.Tensor]] = [[], []]
    for part in symbols.split(path.widths, dim=1):
        for kept, one in zip(found, walk.parameters(), strict=True):
            kept.append(one.long())
        walk.accept(part)
    return [*(torch.cat(parts, dim=1) for parts in found), walk.decoded().long()]


def same(first, second) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@each_size
def test_both_kernels_agree_in_every_bit(sizes, tables):
    model = network(sizes)
    paths = [path_of(model, tables, choice=choice) for choice in (LIMBS, REFERENCE)]
    encoded = [encode(path, z_symbols(2, sizes), latents(2, sizes)) for path in paths]
    assert same(*encoded)
    assert len(encoded[0][1].unique()) > 20
    assert same(decode(paths[1], z_symbols(2, sizes), encoded[0][0]), encoded[0][1:])


def test_two_hundred_images_at_once_are_decoded_one_by_one(tables):
    model = network()
    path = path_of(model, tables, choice=LIMBS)
    hyper, values = z_symbols(200), latents(200)
    symbols, *rest = encode(path, hyper, values)
    for i in range(200):
        one = decode(path, hyper[i : i + 1], symbols[i : i + 1])
        assert same(one, [part[i : i + 1] for part in rest])


def test_threads_and_onednn_and_memory_layout_do_not_matter(tables, monkeypatch):
    model = network()
    hyper, values = z_symbols(3), latents(3)
    path = path_of(model, tables, choice=LIMBS)
    symbols, *rest = encode(path, hyper, values)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            for choice in (LIMBS, REFERENCE):
                again = path_of(model, tables, choice=choice)
                assert same(decode(again, hyper, symbols), rest)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False, raising=False)
    assert same(decode(path, hyper, symbols), rest)
    monkeypatch.undo()
    last = torch.channels_last
    assert same(
        decode(
            path_of(model.to(memory_format=last), tables),
            hyper.contiguous(memory_format=last),
            symbols.contiguous(memory_format=last),
        ),
        rest,
    )


FINGERPRINT = """
import hashlib, sys, torch
import test_fixed_entropy_path as here
model = here.network()
path = here.path_of(model, here.make_tables())
found = here.encode(path, here.z_symbols(2), here.latents(2))
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in found)).hexdigest())
"""


def test_another_process_without_vector_instructions_gives_the_same(tables):
    """The weights are converted there, the tables made there, and its kernels are other ones."""
    model = network()
    path = path_of(model, tables)
    found = encode(path, z_symbols(2), latents(2))
    expected = hashlib.sha256(b"".join(part.numpy().tobytes() for part in found)).hexdigest()
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OMP_NUM_THREADS": "1",
    }
    folders = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    made = subprocess.run(
        [sys.executable, "-c", FINGERPRINT],
        env={**os.environ, **plain, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == expected


@each_size
def test_the_means_approach_those_of_the_float_model_digit_by_digit(sizes, tables, monkeypatch):
    """Two more binary digits of every activation leave about a quarter of the error."""
    monkeypatch.setattr(
        entropy_path_module, "PRECISION", dict.fromkeys(entropy_path_module.PRECISION, 2)
    )
    model = network(sizes)
    symbols = latents(2, sizes).div(4).round().long()
    means, decoded = float_model(model, z_symbols(2, sizes), symbols)
    errors = []
    for fraction in (2, 4, 6):
        path = path_of(model, tables, dict.fromkeys(activation_names(model), fraction))
        _, *found = decode(path, z_symbols(2, sizes), symbols)
        both = zip(found, (means, decoded), strict=True)
        errors.append([(to_float(one) - exact).square().mean().sqrt() for one, exact in both])
    for coarse, fine in pairwise(errors):
        assert 2.5 < coarse[0] / fine[0] < 6
        assert 2.5 < coarse[1] / fine[1] < 6
    assert errors[-1][0] < 0.02 * means.std()


def float_model(model: CRDR, hyper: torch.Tensor, symbols: torch.Tensor):
    """Means and decoded latents for given symbols, in float64."""
    double = copy.deepcopy(model).double()
    means = []

    def code(index, mean, _scale):
        means.append(mean)
        return mean + parts[index]

    with torch.no_grad():
        parts = symbols.double().split(double.sizes.slices or double.sizes.latent, dim=1)
        rounded = hyper.double() + double.prior.medians()[:, None, None]
        decoded = double.context(*double.hyper_synthesise(rounded), code)
    return torch.cat(means, dim=1), decoded


@each_size
def test_calibrated_fractions_leave_room_and_do_not_waste_it(sizes):
    """Everything seen is within the range, and at most two binary digits stay unused."""
    model = network(sizes)
    values = [latents(2, sizes), latents(1, sizes, seed=3) * 1.5]
    largest: dict[str, float] = {}

    def see(name, tensor):
        largest[name] = max(largest.get(name, 0.0), float(tensor.abs().max()))

    with torch.no_grad():
        for one in values:
            rounded = model.round_hyper(model.hyper_analyse(one))
            see("z", rounded)
            see("hyper.scale.0", model.hyper_synthesis.scale[:2](rounded))
            see("hyper.mean.1", model.hyper_synthesis.mean[:4](rounded))
            mean, scale = model.hyper_synthesise(rounded)
            if sizes.slices:
                see("mean.0.0", model.context.mean[0][:2](mean))
                see("support.scale", scale)
                if sizes.support_slices:
                    informing = sum(sizes.slices[: sizes.support_slices])
                    see("support.scale", one[:, :informing])
                see("support.mean", mean)
                see("support.mean", one)  # as decoded, nearly
    found = calibrate(model, values)
    assert set(found) == set(activation_names(model))
    for name, most in largest.items():
        reach = ACTIVATION_LIMIT / 2 ** found[name]
        assert most < reach
        assert found[name] == LARGEST_FRACTION or reach < 4 * most * 1.1


def test_calibration_leaves_the_model_as_it_was():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calibrate(model, [latents(1)])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("symbol", [2**31 - 1, -(2**31), 5000])
def test_symbols_of_any_size_stay_within_the_bounds_and_agree(symbol, tables):
    model = network()
    paths = [path_of(model, tables, choice=choice) for choice in (LIMBS, REFERENCE)]
    hyper = torch.full((1, TINY.hyper_latent, 2, 3), symbol)
    symbols = torch.full((1, TINY.latent, 8, 12), symbol)
    found = [decode(path, hyper, symbols) for path in paths]
    assert same(*found)
    assert found[0][2].abs().max() == 2**23 - 1


def test_what_is_decoded_goes_to_float32_and_back_without_loss(tables):
    ends = torch.tensor([2**23 - 1, 1 - 2**23, 12345])
    assert torch.equal((to_float(ends).double() * 4096).long(), ends)


def test_an_encoder_sends_the_rounded_difference_within_what_can_be_decoded():
    values = torch.tensor([1.4, -7.6, 1e9, -1e9])
    means = torch.tensor([4096, 2048, 0, 0], dtype=torch.int32)
    assert symbols_of(values, means).tolist() == [0, -8, 2046, -2046]


def test_slices_are_taken_in_turn(tables):
    model = network()
    path = path_of(model, tables, choice=LIMBS)
    walk = path.begin(z_symbols(1))
    with pytest.raises(ValueError, match="after its parameters"):
        walk.accept(torch.zeros(1, 2, 8, 12))
    walk.parameters()
    walk.accept(torch.zeros(1, 2, 8, 12))
    with pytest.raises(ValueError, match="1 of 4 slices are decoded"):
        walk.decoded()


def test_fractions_of_another_model_or_out_of_range_are_refused(tables):
    model = network()
    fractions = default_fractions(model)
    for wrong, message in (
        ({**fractions, "mean.9.0": 7}, "do not fit the model: mean.9.0"),
        ({name: 7 for name in fractions if name != "z"}, "do not fit the model: z"),
        ({**fractions, "z": 13}, "the fraction z is 13, not 0..12"),
        ({**fractions, "z": -1}, "the fraction z is -1, not 0..12"),
    ):
        with pytest.raises(ValueError, match=message):
            path_of(model, tables, wrong)


def test_weights_too_large_for_exact_sums_are_refused(tables):
    model = network()
    with torch.no_grad():
        model.context.mean[1][2].bias[0] = 1e20
    with pytest.raises(BoundExceeded, match=r"mean\.1\.1: a sum may reach"):
        path_of(model, tables)
