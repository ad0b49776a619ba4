"""Steps left out on the device, precision by processor, float32 that is float32, determinism."""

import math
from itertools import pairwise

import pytest
import torch

from baselines.neural.card import load_card
from baselines.neural.training import optimisers
from baselines.neural.training.optimisers import Optimisers, deterministic_kernels, kernels_of
from benchmark.errors import UsageError
from support.processes import in_a_process
from support.training.fixtures import Toy, learner_of, of_journal, recipe_of, toy, train_toy
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


def stepped(make, skipped_and_gradients):
    guard, parameter = Optimisers(), torch.nn.Parameter(torch.ones(3, 5))
    optimiser, values = make(guard, parameter), [torch.ones(3, 5)]
    for skipped, gradient in skipped_and_gradients:
        guard.skipped, parameter.grad = skipped, torch.full((3, 5), gradient)
        guard.step(optimiser)
        values.append(parameter.detach().clone())
    return values, optimiser


def test_soap_and_the_fused_kernel_leave_out_a_step():
    good, bad = torch.zeros(()), torch.ones(())
    steps = [(skipped, 0.5) for skipped in (good, bad, good, good, bad)]
    values, _ = stepped(lambda guard, parameter: guard.soap([parameter], 0.1), steps)
    moved = [not torch.equal(*pair) for pair in pairwise(values)]
    assert moved == [False, False, True, True, False], "the first step is for the bases alone"

    def fused(_guard, parameter):
        return torch.optim.Adam([parameter], 0.1, fused=True)

    first, optimiser = stepped(fused, [(good, 0.5), (bad, math.nan), (good, -0.25)])
    second, _ = stepped(fused, [(False, 0.5), (False, -0.25)])
    assert torch.equal(first[-1], second[-1])
    assert [state["step"] for state in optimiser.state.values()] == [2]


@pytest.mark.parametrize(("norm", "loss", "counts"), [
    (1.0, 1e4, True), (1.0, 1.1e4, False), (math.nan, 1.0, False), (math.inf, 1.0, False),
    (1.0, math.nan, False),
])  # fmt: skip
def test_a_step_of_a_finite_gradient_and_no_large_loss_counts(norm, loss, counts):
    optimisers = Optimisers()
    optimisers.decide(torch.tensor(norm), torch.tensor(loss))
    assert optimisers.skipped is not counts
    optimisers.decide(torch.tensor(norm).to("meta"), torch.tensor(loss).to("meta"))
    assert optimisers.skipped.device.type == "meta"


def watched_toy(flags, read):
    """Return a kind of toy that notes what `read` returns in its forward passes."""

    class Watched(Toy):
        def forward(self, *arguments, **options):
            flags.append(read())
            return super().forward(*arguments, **options)

    return Watched


def tf32():
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    return matmul.fp32_precision, convolution.fp32_precision


@pytest.mark.parametrize(("float32", "expected"), [(True, ("ieee", "ieee")), (False, None)])
def test_tf32_is_off_in_float32_and_else_as_torch_has_it(float32, expected, monkeypatch):
    flags = []
    monkeypatch.setattr(optimisers, "has_bfloat16", lambda device: True)
    flags_before = tf32()
    assert flags_before[1] == "tf32", "torch's default"
    learner_of(toy(watched_toy(flags, tf32)), {"float32": float32}, autocast=True).update()
    assert set(flags) == {expected or flags_before}
    assert tf32() == flags_before
    with pytest.raises(ZeroDivisionError), kernels_of("float32"):
        raise ZeroDivisionError
    assert tf32() == flags_before


OTHER_SETTINGS = """
import os, sys
import torch
from baselines.neural.entropy.integer.integer_path import require_exact
from baselines.neural.network import inference
from baselines.neural.training.optimisers import kernels_of

backends = torch.backends
def settings():
    cuda = backends.cudnn, backends.cudnn.conv, backends.cuda.matmul
    return [backends.fp32_precision, *(one.fp32_precision for one in cuda)]

def check(setting):
    exec(setting)
    before = settings()
    for context in (inference(), kernels_of("float32")):
        with context:
            assert settings()[2:] == ["ieee", "ieee"], settings()
            require_exact(torch.device("cpu"))
        assert settings() == before, (settings(), before)
    for later in ("ieee", "tf32"):
        backends.cudnn.fp32_precision = later
        assert settings()[3] == (later if before[3] == before[1] else before[3]), settings()

for setting in sys.argv[1:]:
    if not os.fork():  # torch cannot unset a setting
        check(setting)
        break
    assert os.wait()[1] == 0, setting
"""


def test_float32_is_full_whatever_the_user_has_set_and_the_setting_stays():
    in_a_process(
        OTHER_SETTINGS, "backends.fp32_precision = 'tf32'",
        "backends.cuda.matmul.fp32_precision = 'tf32'", "backends.cudnn.allow_tf32 = False",
        "torch.set_float32_matmul_precision('high')",
    )  # fmt: skip


def test_deterministic_kernels_are_asked_for_and_one_that_lacks_is_one_sentence(tmp_path):
    flags = []
    watched = watched_toy(flags, torch.are_deterministic_algorithms_enabled)
    train_toy(tmp_path / "run", recipe_of({"steps": 2}), watched, deterministic=True)
    assert set(flags) == {True}
    assert not torch.are_deterministic_algorithms_enabled()

    def raise_error():
        raise RuntimeError("put_ does not have a deterministic implementation, but you set ...")

    with pytest.raises(UsageError, match=r"--deterministic .*put_"), deterministic_kernels(True):
        raise_error()
    with pytest.raises(RuntimeError, match="shapes"), deterministic_kernels(True):
        raise RuntimeError("shapes differ")


def test_a_run_says_the_precision_to_come_and_the_card_the_steps_of_each(tmp_path, monkeypatch):
    write_photographs(tmp_path)
    recipe = write_recipe(tmp_path / "recipe.toml", 2, 1, autocast="true")
    recipe.write_text(recipe.read_text() + "float32 = true\n")  # in the last stage
    words, first_lines = training(tmp_path, tmp_path / "run"), []
    for with_bfloat16 in (True, False, True):
        monkeypatch.setattr(optimisers, "has_bfloat16", lambda _, answer=with_bfloat16: answer)
        first_lines.append(bench(*words, "--max-minutes", 0).stderr.splitlines()[0])
    assert first_lines[0] == "run: 0 of 3 steps (0 %), on cpu in bfloat16"
    assert "float32" in first_lines[1]
    assert first_lines[2] == "run: 2 of 3 steps (67 %), stage 1 of 2, step 2, on cpu in float32"
    card = load_card(tmp_path / "run" / "ours.safetensors")
    assert card.precision_steps == {"bfloat16": 1, "float32": 2}
    assert of_journal(tmp_path / "run", "precision") == ["bfloat16", "float32", "float32"]
