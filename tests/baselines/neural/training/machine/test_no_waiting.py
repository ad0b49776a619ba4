"""A training step on a GPU reads nothing back: tried with meta tensors, which hold no values.

A meta tensor has a shape, a dtype and a device of its own. Whatever asks for a value of one
(`item`, `float`, `bool`, `tolist`, `cpu`, a shape that depends on values) is an error, as is an
operation of it with a tensor of the CPU.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.optim import adam, optimizer
from torch.utils import _foreach_utils

from baselines.neural.architecture import load_architecture
from baselines.neural.diffusion.base_codec import CodedCrops
from baselines.neural.training.learner import Learner
from baselines.neural.training.recipe import OBJECTIVES
from baselines.neural.training.workers import Workers
from support.networks.tiny_diffusion import drawing_network
from support.training.every_stage import STAGES, recipe_for
from support.training.fixtures import photographs


def valueless_learner(method, kind, fields):
    """A learner whose network, optimisers and crops are meta tensors."""
    recipe = recipe_for(method, kind, fields)
    architecture = load_architecture(method)
    measured = drawing_network(method, "jpeg") if kind in ("dirac", "hfd") else None
    network = architecture.build(measured.config if measured else architecture.presets["tiny"])
    network = network.to("meta")
    learner = Learner(network, recipe, 0, photographs(), Workers())
    if measured:  # what is read of the network once, before the first step
        learner.objective._known = network
        levels = range(measured.config.rate_levels)
        learner.objective._facts = {at: measured.facts(at) for at in levels}
        # JPEG codes on the CPU, which waits for the crops; a learned base would not.
        learner.objective._base = SimpleNamespace(
            code_crops=lambda crops, setting: CodedCrops(crops.clone(), crops.new_zeros(len(crops)))
        )
    crops = torch.zeros(2, 3, 128, 128, dtype=torch.uint8, device="meta")
    learner._crops.take = lambda step: crops
    return learner


@pytest.fixture
def fused_without_values(monkeypatch):
    """Let Adam's fused kernel, which knows meta tensors, be asked for them, and autocast too."""
    plain = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *dtype, enabled=True: (
            nullcontext() if kind == "meta" else plain(kind, *dtype, enabled=enabled)
        ),
    )  # fmt: skip
    devices = [*_foreach_utils._get_fused_kernels_supported_devices(), "meta"]
    for module in (_foreach_utils, optimizer, adam):
        if hasattr(module, "_get_fused_kernels_supported_devices"):
            monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: devices)


def test_every_kind_of_stage_is_tried():
    assert STAGES.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize(
    ("kind", "method"),
    [*((kind, method) for kind, (method, _) in STAGES.items()), ("single_rate", "charm")],
)
def test_a_step_on_a_gpu_waits_for_nothing_and_mixes_no_devices(kind, method, fused_without_values):
    learner = valueless_learner(method, kind, STAGES[kind][1])
    updates = [learner.update() for _ in range(2)]
    assert learner.step == 2
    assert learner._optimiser.param_groups[0]["fused"]
    assert learner._guard.left_out.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        assert updates[0].skipped  # asking is what waits
