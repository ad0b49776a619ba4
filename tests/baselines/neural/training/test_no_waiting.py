"""A training step on a GPU reads nothing back: tried with fake tensors, which hold no values.

A fake tensor has a device, a shape and a dtype; whatever asks for a value of one (`item`, `float`,
`bool`, `tolist`, a shape that depends on values) is an error. So is a mix of devices.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from baselines.neural.architecture import load_architecture
from baselines.neural.training.learner import Learner
from baselines.neural.training.objective import OBJECTIVES
from baselines.neural.training.recipe import recipe_from
from baselines.neural.training.workers import Workers
from support.tiny_diffusion import drawing_network
from support.training_fixtures import LAMBDAS, copied, photographs

GAN = {"discriminator_channels": [4, 4]}
ONE = {"lambdas": [0.05]}
# Kind of a stage -> the method, and fields of the stage.
STAGES = {
    "single_rate": ("crdr", ONE),
    "multi_rate": ("crdr", {"lambdas": LAMBDAS, "mixed_levels": True}),
    "realism": (
        "crdr",
        {"lambdas": LAMBDAS, "gan_per_beta": 0.01, "discriminator_channels": [4, 4, 4, 4]},
    ),
    "elic": ("elic", {**ONE, "noisy_contexts": True}),
    "ivr": ("ivr", {}),
    "hific": ("hific", {**ONE, **GAN, "target_bpp": 0.1, "lpips": 0, "gan": 0.15}),
    "multirealism": ("multirealism", {**ONE, **GAN, "gan_per_beta": 0.2, "balanced": True}),
    "pqmim_autoencoder": ("pqmim", {**ONE, **GAN, "gan": 0.15}),
    "pqmim_transformer": ("pqmim", {**ONE, "clip_norm": 1.0}),
    "dirac": ("dirac", {"snr_limit": 5.0}),
    "hfd": ("hfd", {}),
}


def recipe_for(method, kind, fields):
    levels = load_architecture(method).rate_levels(load_architecture(method).presets["tiny"])
    stage = {
        "kind": kind, "steps": 9, "batch": 2, "crop_px": 128, "learning_rate": 1e-3, "decay_at": 1.0,
        "lambdas": [0.05] * levels, **fields,
    }  # fmt: skip
    return recipe_from("test", {"architecture": method, "sizes": "tiny", "stage": [stage]})


def fake_learner(method, kind, fields):
    """A learner whose network, optimisers and crops are fake tensors of a GPU."""
    recipe = recipe_for(method, kind, fields)
    architecture = load_architecture(method)
    measured = drawing_network(method, "jpeg") if kind in ("dirac", "hfd") else None
    config = measured.config if measured else architecture.presets["tiny"]
    with torch.device("cuda"):
        network = architecture.build(config)
    learner = Learner(network, recipe, 0, photographs(), Workers())
    if measured:  # what is read of the network once, before the first step
        learner.objective._known = network
        learner.objective._facts = {at: measured.facts(at) for at in range(config.levels)}
    crops = torch.zeros(2, 3, 128, 128, dtype=torch.uint8, device="cuda")
    learner._crops.take = lambda step: crops
    return learner


def test_every_kind_of_stage_is_tried():
    assert STAGES.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize(
    ("kind", "method"),
    [*((kind, method) for kind, (method, _) in STAGES.items()), ("single_rate", "charm")],
)
def test_a_step_on_a_gpu_waits_for_nothing_and_mixes_no_devices(kind, method):
    _, fields = STAGES[kind]
    with FakeTensorMode(allow_non_fake_inputs=True):
        learner = fake_learner(method, kind, fields)
        for _ in range(2):
            update = learner.update()
        assert learner.step == 2
        with pytest.raises(Exception, match="data-dependent"):
            assert update.skipped  # asking is what would wait
        tensors = [*learner.network.parameters(), learner._guard.left_out]
        assert {one.device.type for one in tensors} == {"cuda"}
