"""Steps recorded as a CUDA graph equal the trainer's steps without one and leave nothing behind."""

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from baselines.neural.training import trainer
from baselines.neural.training.gan import Adversary
from baselines.neural.training.objective import Setup
from baselines.neural.training.photographs import CropSampler, CropStream, readers
from baselines.neural.training.trainer import Learner
from support.networks.drawn_alexnet import drawn_alexnet, use_alexnet
from support.training import fixtures

pytestmark = pytest.mark.device

MIXED = {
    "steps": 9, "batch": 4, "mixed_levels": True, "balanced": True, "warm_up_steps": 9,
    "reduced_share": 0.5, "prior_rate_factor": 5.0,
}  # fmt: skip


def learner_on(device, recipe, pictures=None, **options):
    torch.manual_seed(5)
    network = fixtures.least_network().to(device)
    return Learner(network, recipe, 0, pictures or fixtures.photographs(), **options)


def without_a_graph(gpu, recipe):
    """Return a learner of the processor; on a real GPU, which draws other noise, of that."""
    return learner_on("cuda" if gpu.real else "cpu", recipe, graph=False)


def numbers_of(learner, steps):
    updates = [learner.update() for _ in range(steps)]  # read later, as a run's reports are
    return [update.numbers for update in updates]


def assert_same(result, expected):
    for numbers, expected_numbers in zip(result, expected, strict=True):
        assert numbers == pytest.approx(expected_numbers, rel=1e-3, abs=1e-6)


GAN = {
    **MIXED, "objective": "realism", "crop_px": 64, "gan_per_beta": 0.1, "map_share": 0.3,
    "discriminator_channels": [4, 4],
}  # fmt: skip
TARGETS = {"lambda_below": 0.02, "targets_bpp": [0.1, 0.2, 0.4, 0.8, 1.6]}


@pytest.mark.parametrize(("stage", "settings"), [
    (MIXED, {"ema": 0.9}), ({"steps": 9, "lpips": 1.0, **TARGETS}, {}),
    ({**GAN, "crop_px": 128}, {"seed": 10}),  # the last step but one is of maps
    ({**GAN, "discriminator": "shared-conditioned"}, {}),
    ({**GAN, "discriminator": "hybrid-backbone-conditioned"}, {}),
])  # fmt: skip
def test_steps_recorded_or_not_are_the_cpu_s(gpu, stage, settings, tmp_path, monkeypatch):
    use_alexnet(drawn_alexnet(), tmp_path, monkeypatch)
    steps = gpu.recorded_steps + ("seed" in settings)
    recipe = fixtures.recipe_of({**stage, "float32": True}, **settings)
    expected = numbers_of(without_a_graph(gpu, recipe), steps)
    for graph in (True, False) if stage is MIXED else (True,):
        learner = learner_on("cuda", recipe, graph=graph)
        assert (learner._recorded_step is not None) is graph
        assert_same(numbers_of(learner, steps), expected)


def test_discriminators_of_all_crops_score_and_move_as_those_of_the_crops_that_need_them(gpu):
    """Levels 1 and 3 have no crop, so that neither weights nor Adam's means of theirs move."""
    stage = fixtures.recipe_of({**GAN, "gan_loss": "sgan"}).stages[0]
    images, originals = torch.rand(2, 3, 3, 64, 64) * 2 - 1
    states = []
    for device in ("cpu", "cuda"):
        setup = Setup(fixtures.recipe_of(GAN), 0, torch.device(device))
        adversary = Adversary(stage, setup, by_level=True)
        for q in ([0.0, 1.0, 3.0], [4.0, 0.2, 2.4], [2.0, 2.0, 2.0]):
            rates = torch.tensor(q, device=device) if device == "cuda" else np.float32(q)
            setup.optimisers.decide(*torch.ones(2).to(device))
            adversary.update(originals.to(device), images.to(device), rates, 1.0)
        weights = {k: v.cpu() for k, v in adversary.state()["network"].items()}
        optimisers = [one["state"].values() for one in adversary.state()["optimisers"]]
        states.append((weights, [[one["step"].item() for one in each] for each in optimisers]))
    # Adam's first steps are of the gradient's sign, which a real GPU may round to the other.
    for name, weight in states[0][0].items():
        close = torch.isclose(weight, states[1][0][name], rtol=1e-4, atol=1e-6)
        assert close.float().mean() >= (0.99 if gpu.real else 1.0), name
    assert states[0][1] == states[1][1]
    assert {step for copy in states[0][1] for step in copy} == {1, 2}


def test_a_recorded_stage_resumes_from_a_state_of_either_device(gpu):
    recipe = fixtures.recipe_of({**GAN, "float32": True})
    count = gpu.recorded_steps - 1  # the last is recorded
    numbers = numbers_of(without_a_graph(gpu, recipe), 2 * count)
    first, second = learner_on("cuda", recipe), learner_on("cuda", recipe)
    numbers_of(first, count)
    second.load_state(first.state())
    assert_same(numbers_of(second, count), numbers[count:])
    cpu_learner = learner_on("cpu", recipe)
    cpu_learner.update()
    cpu_learner.load_state(to_cpu(first.state()))
    learners = cpu_learner, first
    for own, source in zip(*(learner.network.parameters() for learner in learners), strict=True):
        assert own.device.type == "cpu"
        assert torch.equal(own, source.cpu())
    assert (bool(cpu_learner.update().skipped), cpu_learner.step) == (False, count + 1)


def to_cpu(state):
    if isinstance(state, dict):
        return {name: to_cpu(value) for name, value in state.items()}
    return state.cpu() if isinstance(state, torch.Tensor) else state


def test_soap_is_not_recorded(gpu):
    recipe = fixtures.recipe_of({**MIXED, "optimiser": "soap"})
    assert learner_on("cuda", recipe)._recorded_step is None


def test_readers_of_files_may_pin_memory_while_a_step_is_recorded(gpu, tmp_path):
    from_files = fixtures.load_photographs([fixtures.write_photographs(tmp_path / "photos")], 0)
    recipe = fixtures.recipe_of({**MIXED, "float32": True})
    learner, drawing = learner_on("cuda", recipe, from_files), CropSampler(from_files, 64, 1)

    def draw_ahead(*_):
        readers().submit(drawing.crops, range(2), True).result()

    learner.network.register_forward_pre_hook(draw_ahead)
    assert isinstance(learner._crops, CropStream)
    assert learner._crops._pinned
    assert learner._recorded_step is not None
    expected = numbers_of(without_a_graph(gpu, recipe), gpu.recorded_steps)
    assert_same(numbers_of(learner, gpu.recorded_steps), expected)


@contextmanager
def no_collection():
    """Have objects go when nothing refers to them any more, and those of a cycle never."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
def test_a_learner_leaves_the_gpu_when_it_is_dropped(gpu, memory_bytes, tmp_path):
    folder = fixtures.write_photographs(tmp_path / "photos")
    pictures = fixtures.load_photographs([folder], memory_bytes)
    with no_collection():
        learner = learner_on("cuda", fixtures.recipe_of({**GAN, "float32": True}), pictures)
        numbers_of(learner, gpu.recorded_steps)
        parts = (learner, learner._crops, learner._recorded_step, *learner._optimisers)
        references = [weakref.ref(part) for part in (*parts, learner.objective)]
        del learner, parts
        assert [reference() for reference in references if reference() is not None] == []


def test_learners_of_a_recipe_s_stages_are_never_there_together(gpu, tmp_path, monkeypatch):
    """Neither in a run nor in `--check`, which also makes one whose steps are not recorded."""
    alive, alive_counts = weakref.WeakSet(), []

    class Counted(Learner):
        def __init__(self, *arguments, **options):
            alive_counts.append(len(alive))
            super().__init__(*arguments, **options)
            alive.add(self)

    monkeypatch.setattr(trainer, "Learner", Counted)
    if not gpu.real:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device=None: "stand-in")
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    monkeypatch.setattr(trainer, "MAX_TIMED_STEPS", 1)
    recipe = fixtures.recipe_of({"steps": 2}, {"steps": 2})
    with no_collection():
        fixtures.train_toy(tmp_path / "run", recipe, device="cuda")
        assert alive_counts == [0] * 2
        run = fixtures.ToyRun(tmp_path, tmp_path, recipe)
        assert len(list(trainer.stage_costs(run, "cuda", fixtures.photographs()))) == 2
    assert alive_counts == [0] * 6
