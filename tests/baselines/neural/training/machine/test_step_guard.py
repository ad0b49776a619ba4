"""Steps left out on the device, precision by processor, float32 that is float32, determinism."""

import pytest
import torch

from baselines.neural.card import load_card
from baselines.neural.training import optimisers
from baselines.neural.training.optimisers import Optimisers, deterministic_kernels, kernels_of
from benchmark.errors import UsageError
from support.processes import in_a_process
from support.training.fixtures import Toy, learner_of, of_journal, recipe_of, toy, train_toy
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


def fused():
    parameter = torch.nn.Parameter(torch.ones(3, 5))
    return parameter, torch.optim.Adam([parameter], 0.1, fused=True)


def test_soap_and_the_fused_kernel_leave_out_a_step():
    parameter = torch.nn.Parameter(torch.ones(3, 5))
    guard = Optimisers()
    optimiser = guard.soap([parameter], 0.1)
    moved = []
    for skipped in (0.0, 1.0, 0.0, 0.0, 1.0):
        value_before = parameter.detach().clone()
        parameter.grad = torch.full((3, 5), 0.5)
        guard.skipped = torch.tensor(skipped)
        guard.step(optimiser)
        moved.append(not torch.equal(parameter, value_before))
    assert moved == [False, False, True, True, False], "the first step is for the bases alone"
    guard = Optimisers()
    (first_parameter, first), (second_parameter, second) = fused(), fused()
    good, bad = torch.zeros(()), torch.ones(())
    for skipped, gradient in ((good, 0.5), (bad, float("nan")), (good, -0.25)):
        guard.skipped, first_parameter.grad = skipped, torch.full((3, 5), gradient)
        guard.step(first)
    guard.skipped = False
    for gradient in (0.5, -0.25):
        second_parameter.grad = torch.full((3, 5), gradient)
        guard.step(second)
    assert torch.equal(first_parameter, second_parameter)
    assert first.state[first_parameter]["step"] == 2


@pytest.mark.parametrize(
    ("norm", "loss", "counts"),
    [
        (1.0, 1e4, True),
        (1.0, 1.1e4, False),
        (float("nan"), 1.0, False),
        (float("inf"), 1.0, False),
        (1.0, float("nan"), False),
    ],
)
def test_a_step_of_a_finite_gradient_and_no_large_loss_counts(norm, loss, counts):
    optimisers = Optimisers()
    optimisers.decide(torch.tensor(norm), torch.tensor(loss))
    assert optimisers.skipped is not counts
    optimisers.decide(torch.tensor(norm).to("meta"), torch.tensor(loss).to("meta"))
    assert optimisers.skipped.device.type == "meta"


def tf32():
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    return matmul.fp32_precision, convolution.fp32_precision


@pytest.mark.parametrize(("float32", "expected"), [(True, ("ieee", "ieee")), (False, None)])
def test_tf32_is_off_in_float32_and_else_as_torch_has_it(float32, expected, monkeypatch):
    flags = []

    class Watched(Toy):
        def forward(self, *arguments, **options):
            flags.append(tf32())
            return super().forward(*arguments, **options)

    monkeypatch.setattr("baselines.neural.training.optimisers.has_bfloat16", lambda device: True)
    flags_before = tf32()
    assert flags_before[1] == "tf32", "torch's default"
    learner_of(toy(Watched), {"float32": float32}, autocast=True).update()
    assert set(flags) == {expected or flags_before}
    assert tf32() == flags_before
    with pytest.raises(ZeroDivisionError), kernels_of("float32"):
        raise ZeroDivisionError
    assert tf32() == flags_before


OTHER_SETTINGS = """
import sys
import torch
from baselines.neural.entropy.integer.integer_path import require_exact
from baselines.neural.network import inference
from baselines.neural.training.optimisers import kernels_of

backends = torch.backends
def settings():
    cuda = backends.cudnn, backends.cudnn.conv, backends.cuda.matmul
    return [backends.fp32_precision, *(one.fp32_precision for one in cuda)]

exec(sys.argv[1])
before = settings()
for context in (inference(), kernels_of("float32")):
    with context:
        assert settings()[2:] == ["ieee", "ieee"], settings()
        require_exact(torch.device("cpu"))
    assert settings() == before, (settings(), before)
for later in ("ieee", "tf32"):
    backends.cudnn.fp32_precision = later
    assert settings()[3] == (later if before[3] == before[1] else before[3]), settings()
"""


@pytest.mark.parametrize(
    "setting",
    [
        "backends.fp32_precision = 'tf32'",
        "backends.cuda.matmul.fp32_precision = 'tf32'",
        "backends.cudnn.allow_tf32 = False",
        "torch.set_float32_matmul_precision('high')",
    ],
)
def test_float32_is_full_whatever_the_user_has_set_and_the_setting_stays(setting):
    """In a new process, since torch cannot unset a setting."""
    in_a_process(OTHER_SETTINGS, setting)


def test_deterministic_kernels_are_asked_for_and_one_that_lacks_is_one_sentence(tmp_path):
    flags = []

    class Watched(Toy):
        def forward(self, *arguments, **options):
            flags.append(torch.are_deterministic_algorithms_enabled())
            return super().forward(*arguments, **options)

    train_toy(tmp_path / "run", recipe_of({"steps": 2}), Watched, deterministic=True)
    assert set(flags) == {True}
    assert not torch.are_deterministic_algorithms_enabled()

    def raise_error():
        raise RuntimeError("put_ does not have a deterministic implementation, but you set ...")

    with pytest.raises(UsageError, match=r"--deterministic .*put_"), deterministic_kernels(True):
        raise_error()
    with pytest.raises(RuntimeError, match="shapes"), deterministic_kernels(True):
        raise RuntimeError("shapes differ")


def test_the_first_line_says_the_precision_and_the_card_the_steps_of_each(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    write_recipe(tmp_path / "recipe.toml", 2, 0, autocast="true")
    words, first_lines = training(tmp_path, tmp_path / "run"), []
    for with_bfloat16 in (True, False):
        monkeypatch.setattr(optimisers, "has_bfloat16", lambda _, answer=with_bfloat16: answer)
        first_lines.append(bench(*words, "--max-minutes", 0).stderr.splitlines()[0])
    assert first_lines[0] == "run: 0 of 2 steps (0 %), on cpu in bfloat16"
    assert first_lines[1].endswith("on cpu in float32, since the CPU has no bfloat16 instructions")
    card = load_card(tmp_path / "run" / "ours.safetensors")
    assert card.precision_steps == {"bfloat16": 1, "float32": 1}
    assert of_journal(tmp_path / "run", "precision") == ["bfloat16", "float32"]
