"""Steps recorded as a CUDA graph, on a stand-in: those of the trainer without one."""

import pytest
import torch

from baselines.commands import training as commands
from baselines.neural.training.learner import FIRST_STEPS, Learner
from baselines.neural.training.workers import Workers
from support.networks.stand_in_gpu import stand_in_gpu
from support.training.fixtures import least_network, photographs, recipe_of
from support.training.tiny_runs import bench, training, write_photographs, write_recipe

STEPS = FIRST_STEPS + 3
MIXED = {
    "steps": 9, "batch": 4, "mixed_levels": True, "balanced": True, "warm_up_steps": 4,
    "reduced_share": 0.5, "prior_rate_factor": 5.0,
}  # fmt: skip


def learner_on(device, recipe, **options):
    torch.manual_seed(5)
    network = least_network().to(device)
    return Learner(network, recipe, 0, photographs(), Workers(), **options)


def numbers_of(learner, steps=STEPS):
    updates = [learner.update() for _ in range(steps)]  # read later, as a run's reports are
    return [update.numbers for update in updates]


@pytest.fixture(scope="module")
def expected():
    """Numbers of the processor's steps."""
    return numbers_of(learner_on("cpu", recipe_of({**MIXED, "float32": True})))


@pytest.mark.parametrize("graph", [True, False])
def test_steps_with_and_without_a_graph_are_the_processor_s(graph, expected):
    recipe = recipe_of({**MIXED, "float32": True})
    with stand_in_gpu():
        learner = learner_on("cuda", recipe, graph=graph)
        assert (learner._recorded is not None) is graph
        found = numbers_of(learner)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("options", [(), ("--no-graph",)])
def test_a_user_can_do_without_a_graph(options, tmp_path, monkeypatch):
    sessions = []
    monkeypatch.setattr(
        commands, "train_all", lambda _runs, session, _quiet: sessions.append(session)
    )
    write_recipe(tmp_path / "recipe.toml", 2, 0)
    write_photographs(tmp_path)
    bench(*training(tmp_path, tmp_path / "run"), *options)
    assert [session.graph for session in sessions] == [not options]
