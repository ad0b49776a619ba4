"""A training step on a GPU: one device, nothing read back, the numbers of the processor."""

import math

import pytest
import torch

from baselines.neural.architecture import ARCHITECTURES, load_architecture
from baselines.neural.training.objective import Objective
from baselines.neural.training.recipe import OBJECTIVES, objective_class
from baselines.neural.training.trainer import Learner
from support.networks.tiny_diffusion import drawing_network
from support.quick import quick
from support.training.every_stage import GAN, STAGES, recipe_for
from support.training.fixtures import photographs

pytestmark = pytest.mark.device

STEPS = 2
ON_JPEG = ("dirac", "hfd")
# JPEG runs on the processor, which waits for its crops; the table of levels is read once.
JPEG_WAITS = {
    f"baselines/neural/diffusion/{name}"
    for name in ("base_codec.py: code_crops", "model.py: facts", "model.py: is_measured")
}


# Objectives whose steps may be recorded, with fields of a stage for which they are
RECORDABLE = {
    "single_rate": {"crop_px": 64, **STAGES["single_rate"][1]},
    "multi_rate": {"crop_px": 64, "mixed_levels": True},
    "realism": {"crop_px": 64, "mixed_levels": True, "gan_per_beta": 0.01, **GAN},
}


def learner_on(device, method, kind, fields=None):
    torch.manual_seed(5)
    if method in ON_JPEG:
        network = drawing_network(method, "jpeg")
    elif method == "compressai":
        from support.networks.matched_hyperprior import wrapped

        network, method = wrapped(), "charm"  # which has a single rate, too
    else:
        architecture = load_architecture(method)
        network = architecture.build(architecture.sizes["tiny"])
    recipe = recipe_for(method, kind, fields or STAGES[kind][1])
    return Learner(network.to(device), recipe, 0, photographs())


def assert_same_updates(gpu, updates, cpu_learner):
    for update in updates:
        expected = cpu_learner.update().numbers
        assert not bool(update.skipped)
        assert update.numbers.keys() == expected.keys()
        assert all(map(math.isfinite, update.numbers.values()))
        if not gpu.real:  # which draws other noise
            # Adam's fused kernel rounds otherwise than its loop.
            assert update.numbers == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_every_kind_of_stage_and_every_objective_that_may_be_recorded_is_tried():
    assert STAGES.keys() == OBJECTIVES.keys()
    never = Objective.is_recordable
    recorded = {kind for kind in OBJECTIVES if objective_class(kind).is_recordable is not never}
    assert recorded == RECORDABLE.keys()


CHARM = ("single_rate", "charm")
TRIED = [*((kind, method) for kind, (method, _) in STAGES.items()), CHARM]
QUICKLY_TRIED = CHARM, ("hific", "hific"), ("dirac", "dirac"), ("pqmim_autoencoder", "pqmim")


@pytest.mark.parametrize(("kind", "method"), quick(TRIED, *QUICKLY_TRIED))
def test_steps_on_a_gpu_are_those_of_the_processor_and_wait_for_nothing(gpu, kind, method):
    gpu_learner, cpu_learner = learner_on("cuda", method, kind), learner_on("cpu", method, kind)
    gpu.waits.clear()
    updates = [gpu_learner.update() for _ in range(STEPS)]
    assert gpu.waits.keys() <= (JPEG_WAITS if kind in ON_JPEG else set())
    tensors = [*gpu_learner.network.parameters(), *gpu_learner.network.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    assert_same_updates(gpu, updates, cpu_learner)


RECORDED = [(method, kind) for method in ARCHITECTURES for kind in RECORDABLE]
QUICK_RECORDED = ("compressai", "single_rate"), ("pqmim", "single_rate"), ("elic", "multi_rate")


@pytest.mark.parametrize(("method", "kind"), quick(RECORDED, *QUICK_RECORDED))
def test_steps_after_a_recording_are_those_of_the_processor(gpu, method, kind):
    gpu_learner = learner_on("cuda", method, kind, RECORDABLE[kind])
    cpu_learner = learner_on("cpu", method, kind, RECORDABLE[kind])
    assert_same_updates(gpu, [gpu_learner.update() for _ in range(gpu.recorded_steps)], cpu_learner)
