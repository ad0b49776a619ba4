"""Steps recorded as a CUDA graph, on a stand-in: those of the trainer without one."""

import numpy as np
import pytest
import torch

from baselines.neural.training.gan import Adversary
from baselines.neural.training.objective import Setup
from baselines.neural.training.optimisers import FIRST_STEPS
from baselines.neural.training.trainer import Learner
from support.networks.drawn_alexnet import drawn_alexnet, use_alexnet
from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import least_network, photographs, recipe_of

STEPS = FIRST_STEPS + 4
MIXED = {
    "steps": 9, "batch": 4, "mixed_levels": True, "balanced": True, "warm_up_steps": 4,
    "reduced_share": 0.5, "prior_rate_factor": 5.0,
}  # fmt: skip


def learner_on(device, recipe, **options):
    torch.manual_seed(5)
    network = least_network().to(device)
    return Learner(network, recipe, 0, photographs(), **options)


def numbers_of(learner, steps=STEPS):
    updates = [learner.update() for _ in range(steps)]  # read later, as a run's reports are
    return [update.numbers for update in updates]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


GAN = {
    **MIXED, "objective": "realism", "crop_px": 128, "gan_per_beta": 0.1, "map_share": 0.3,
    "discriminator_channels": [4, 4],
}  # fmt: skip
TARGETS = {"lambda_below": 0.02, "targets_bpp": [0.1, 0.2, 0.4, 0.8, 1.6]}


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        (MIXED, {"ema": 0.9}),
        ({"steps": 9, "lpips": 1.0, **TARGETS}, {}),
        (GAN, {"seed": 18}),  # its fifth step, of maps, is between two replays
        ({**GAN, "discriminator": "shared-conditioned", "crop_px": 64}, {}),
        ({**GAN, "discriminator": "hybrid-backbone-conditioned", "crop_px": 64}, {}),
    ],
)
def test_steps_with_and_without_a_graph_are_the_processor_s(stage, settings, tmp_path, monkeypatch):
    use_alexnet(drawn_alexnet(), tmp_path, monkeypatch)
    recipe = recipe_of({**stage, "float32": True}, **settings)
    expected = numbers_of(learner_on("cpu", recipe))
    for graph in (True, False):
        with stand_in_gpu():
            learner = learner_on("cuda", recipe, graph=graph)
            assert (learner._recorded is not None) is graph
            assert_same(numbers_of(learner), expected)


def test_discriminators_of_all_crops_score_and_move_as_those_of_the_crops_that_need_them():
    """Levels 1 and 3 have no crop, so that neither weights nor Adam's means of theirs move."""
    stage = recipe_of({**GAN, "gan_loss": "sgan"}).stages[0]
    images, originals = torch.rand(2, 3, 3, 64, 64) * 2 - 1
    states = []
    for device in ("cpu", "cuda"):
        with stand_in_gpu():
            setup = Setup(recipe_of(GAN), 0, torch.device(device))
            adversary = Adversary(stage, setup, by_level=True)
            for q in ([0.0, 1.0, 3.0], [4.0, 0.2, 2.4], [2.0, 2.0, 2.0]):
                rates = torch.tensor(q, device=device) if device == "cuda" else np.float32(q)
                setup.optimisers.decide(*torch.ones(2).to(device))
                adversary.update(originals.to(device), images.to(device), rates, 1.0)
            weights = {k: v.cpu() for k, v in adversary.state()["network"].items()}
            steps = [
                [one["step"].item() for one in of["state"].values()]
                for of in adversary.state()["optimisers"]
            ]
            states.append((weights, steps))
    for name, weight in states[0][0].items():
        assert torch.allclose(weight, states[1][0][name], rtol=1e-4, atol=1e-6), name
    assert states[0][1] == states[1][1]
    assert {step for copy in states[0][1] for step in copy} == {1, 2}


def test_a_recorded_stage_resumes_from_a_state_of_either_device():
    recipe = recipe_of({**GAN, "float32": True, "crop_px": 64})
    whole = numbers_of(learner_on("cpu", recipe), 9)
    with stand_in_gpu():
        first = learner_on("cuda", recipe)
        numbers_of(first, 5)
        second = learner_on("cuda", recipe)
        second.load_state(first.state())
        assert_same(numbers_of(second, 4), whole[5:])
        state = second.state()
    here = learner_on("cpu", recipe)
    numbers_of(here, 1)
    here.load_state(to_cpu(state))
    assert here.step == 9


def to_cpu(state):
    if isinstance(state, dict):
        return {name: to_cpu(one) for name, one in state.items()}
    return state.cpu() if isinstance(state, torch.Tensor) else state


def test_soap_is_not_recorded():
    recipe = recipe_of({**MIXED, "optimiser": "soap"})
    with stand_in_gpu():
        assert learner_on("cuda", recipe)._recorded is None
