"""States and runs: what an end leaves, what a beginning takes up."""

import json
import logging
import math
import random
import signal
import sys
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
import torch

from baselines.compressai.matched import compressai, single_rate
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.training import __main__ as command
from baselines.neural.training.loop.checkpointing import load_state, save_state
from baselines.neural.training.loop.journal import Journal
from baselines.neural.training.loop.learner import Learner
from baselines.neural.training.loop.loop import LARGEST_GAP, run_request
from baselines.neural.training.machine.workers import Workers
from baselines.neural.training.run import RunRecord, Subject, read_record, train
from baselines.neural.training.validate import validate
from benchmark.errors import BenchError, UsageError
from conftest import SHARED
from support.training.fixtures import (
    CPU,
    LAMBDAS,
    LEAST,
    REALISM,
    STAGE,
    Poisoned,
    Toy,
    differing,
    in_two_stages,
    json_free,
    learner_of,
    least_network,
    pictures,
    recipe_of,
    request_for,
    started,
    toy,
    wait_for_entries,
    write_photographs,
)

ALEXNET = SHARED / "data" / "weights"


@pytest.fixture(autouse=True)
def handlers():
    """A run takes over both signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_learner_resumes_from_its_state_as_if_nothing_had_happened():
    stage = {**REALISM, "mixed_levels": True, "steps": 6, "decay_at": 0.5, "decay": "linear"}
    torch.manual_seed(2)
    unbroken = learner_of(CRDRNetwork(LEAST), stage)
    for _ in range(2):
        unbroken.update()
    state = json_free(unbroken.state())
    other = learner_of(CRDRNetwork(LEAST), stage)
    other.load_state(state)
    torch.manual_seed(99)
    for _ in range(2):
        assert unbroken.update() == other.update()
    assert not differing(unbroken.state(), other.state())


def test_a_state_that_is_being_written_leaves_the_one_before(tmp_path, monkeypatch):
    save_state(tmp_path, {"step": 1, "weights": torch.arange(3)})

    def dies(_state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, {"step": 2})
    found = load_state(tmp_path, CPU)
    assert found is not None
    assert (found["step"], found["weights"].tolist()) == (1, [0, 1, 2])


def test_a_file_that_is_no_state_is_named(tmp_path):
    assert load_state(tmp_path, CPU) is None
    for content in (b"", b"hello", b"PK\x03\x04"):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(UsageError, match=r"state\.pt is no state of a training run"):
            load_state(tmp_path, CPU)


def test_a_journal_is_cut_behind_the_step_that_it_resumes_from(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.entries() == []
    entries = [{"stage": stage, "step": step} for stage in (0, 1) for step in (5, 10, 15)]
    for entry in entries:
        journal.append(entry)
    with journal.path.open("a") as file:
        file.write('{"stage": 1, "st')
    assert journal.entries() == entries
    journal.cut(1, 10)
    journal.append({"stage": 1, "step": 11})
    assert journal.entries() == [*entries[:5], {"stage": 1, "step": 11}]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "photographs")


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    """The folder of a run that nothing happened to, and its last state."""
    run = tmp_path_factory.mktemp("unbroken")
    train(Subject(), in_two_stages(), [data], run, device="cpu")
    return load_state(run, CPU)


def of_journal(run, name):
    return [entry[name] for entry in Journal(run / "journal.jsonl").entries() if name in entry]


KILLED = """
from pathlib import Path
from baselines.neural.training.loop import loop
from baselines.neural.training.run import Subject, train
from support.training.fixtures import in_two_stages

loop.SAVE_EVERY_SECONDS = 0.0
train(Subject(), in_two_stages(), [Path({data!r})], Path("run"), device="cpu")
"""


def test_a_run_killed_at_a_random_step_and_resumed_has_the_weights_of_an_unbroken_one(
    tmp_path, data, unbroken
):
    entries = random.SystemRandom().randint(2, 5)
    with started(tmp_path, KILLED.format(data=str(data))) as process:
        wait_for_entries(process, tmp_path / "run" / "journal.jsonl", entries)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    saved = load_state(tmp_path / "run", CPU)
    assert saved is not None
    assert (saved["index"], saved["step"]) < (1, 4), "it was killed in time"
    assert 4 * saved["index"] + saved["step"] >= entries - 1, "it went on from what was reported"
    train(Subject(), in_two_stages(), [data], tmp_path / "run", device="cpu")
    assert not differing(load_state(tmp_path / "run", CPU), unbroken)
    assert of_journal(tmp_path / "run", "step") == [*range(1, 5)] * 2


def test_a_run_stopped_by_its_minutes_after_every_step_has_the_weights_of_an_unbroken_one(tmp_path):
    recipe, (whole, parts) = in_two_stages(), (tmp_path / one for one in ("whole", "parts"))
    run_request(Workers(), request_for(whole, recipe, least_network))
    places = []
    while not places or places[-1] != (1, 4):
        run_request(Workers(), request_for(parts, recipe, least_network, deadline=0.0))
        state = load_state(parts, CPU)
        assert state is not None
        places.append((state["index"], state["step"]))
    assert places == [(stage, step) for stage in (0, 1) for step in range(1, 5)]
    assert not differing(state, load_state(whole, CPU))
    run_request(Workers(), request_for(parts, recipe, least_network))
    assert not differing(state, load_state(parts, CPU)), "nothing was left to do"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_ends_after_a_whole_step_and_resumes_from_there(
    tmp_path, monkeypatch, number
):
    recipe = recipe_of({"steps": 9}, {"steps": 9})
    run_request(Workers(), request_for(tmp_path / "unbroken", recipe))
    update = Learner.update

    def told(self):
        if self.step == 4 and self._index == 1:
            signal.raise_signal(number)
        return update(self)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "update", told)
        run_request(Workers(), request_for(tmp_path / "run", recipe))
    state = load_state(tmp_path / "run", CPU)
    assert state is not None
    assert (state["index"], state["step"]) == (1, 5)
    run_request(Workers(), request_for(tmp_path / "run", recipe))
    whole, resumed = (load_state(tmp_path / one, CPU) for one in ("unbroken", "run"))
    assert not differing(whole, resumed)


@pytest.mark.parametrize("initialise", ["random", "pca"])
def test_conditioning_on_beta_begins_with_the_first_stage_that_trains_it(tmp_path, initialise):
    """From random weights as the authors have it; a fitted start leaves it at zero."""
    stages = ({"steps": 2}, {**REALISM, "learning_rate": 1e-9, "steps": 2})
    recipe = recipe_of(*stages, initialise=initialise)

    def projections(run):
        state = load_state(run, CPU)
        assert state is not None
        return torch.cat(
            [one.flatten() for name, one in state["network"].items() if ".project." in name]
        )

    for _ in range(2):  # each call does one step, the second the last of its stage
        run_request(Workers(), request_for(tmp_path / "run", recipe, least_network, deadline=0.0))
        assert not bool(projections(tmp_path / "run").any())
    for _ in range(2):
        run_request(Workers(), request_for(tmp_path / "run", recipe, least_network, deadline=0.0))
    assert (float(projections(tmp_path / "run").std()) > 0.01) == (initialise == "random")
    run_request(Workers(), request_for(tmp_path / "unbroken", recipe, least_network))
    whole, resumed = (load_state(tmp_path / one, CPU) for one in ("unbroken", "run"))
    assert not differing(whole, resumed)


def test_skipped_batches_are_counted_in_the_journal_and_across_a_resumption(tmp_path):
    recipe = recipe_of({"steps": 4}, report_every_steps=1)
    make = poisoned
    run_request(Workers(), request_for(tmp_path, recipe, make, deadline=0.0))
    run_request(Workers(), request_for(tmp_path, recipe, make))
    assert of_journal(tmp_path, "skipped") == [0, 0, 1, 1]


def poisoned():
    """Goes wrong in the second pass after each beginning."""
    return Poisoned("infinite loss", 2)


def test_a_network_that_has_diverged_ends_the_run_with_the_learning_rate_in_a_sentence(tmp_path):
    recipe = recipe_of({"steps": 3}, {"steps": 4 + LARGEST_GAP, "learning_rate": 0.25})
    with pytest.raises(BenchError) as ended:
        run_request(Workers(), request_for(tmp_path, recipe, partial(Diverged, range(7, 999))))
    said = str(ended.value)
    assert f"the last {LARGEST_GAP} steps, up to step {4 + LARGEST_GAP} of stage 2, were" in said
    assert said.endswith("train again in a new folder at a learning rate below 0.25")


def test_a_gap_that_ends_before_it_is_too_large_ends_nothing(tmp_path):
    recipe = recipe_of({"steps": 2 * LARGEST_GAP}, report_every_steps=2 * LARGEST_GAP)
    make = partial(Diverged, [*range(1, LARGEST_GAP), *range(LARGEST_GAP + 1, 2 * LARGEST_GAP)])
    run_request(Workers(), request_for(tmp_path, recipe, make))
    assert of_journal(tmp_path, "skipped") == [2 * LARGEST_GAP - 2]


class Diverged(Poisoned):
    """Goes wrong in the given passes, counted from 0."""

    def __init__(self, passes):
        super().__init__("infinite loss", 0)
        self.passes, self.done = passes, 0

    def forward(self, *given, **named):
        self.left = 1 if self.done in self.passes else 0
        self.done += 1
        return super().forward(*given, **named)


def test_the_best_network_is_that_of_the_lowest_validation_loss_of_its_stage(tmp_path):
    stages = ({"steps": 12, "learning_rate": rate} for rate in (0.2, 1.5))  # too fast to be smooth
    recipe = recipe_of(*stages, report_every_steps=1, validate_every_steps=2)
    for run, deadline in (("whole", None), ("parts", 0)):
        request = request_for(tmp_path / run, recipe, validation=pictures(2), deadline=deadline)
        for _ in range(1 if deadline is None else 24):
            run_request(Workers(), request)
    states = [load_state(tmp_path / run, CPU, "best.pt") for run in ("whole", "parts")]
    assert not differing(*states)
    losses = of_journal(tmp_path / "whole", "validation_loss")
    assert len(losses) == 12
    assert losses == of_journal(tmp_path / "parts", "validation_loss")
    second = losses[6:]
    best = second.index(min(second))
    assert 0 < best < 5, "neither the first nor the last, or this shows nothing"
    assert min(losses[:6]) < min(second), "the first stage's does not count any more"
    assert states[0]["step"] == 2 * (best + 1)
    network = Toy()
    network.load_state_dict(states[0]["network"])
    found = validate(network, recipe.stages[1].lambdas, pictures(2))
    assert found.loss == pytest.approx(min(second), rel=1e-6)


class Realistic(Toy):
    """Beta shows in its pictures, and noise in its bits."""

    def forward(self, images, controls, *, noisy=True):
        found = super().forward(images, controls, noisy=noisy)
        shown = found.images + controls.realism.levels[:, None, None, None] / 10
        return found._replace(images=shown, y_bits=found.y_bits * (1 + noisy))


def test_validation_is_the_mean_over_photographs_of_what_whole_ones_cost():
    network = toy(Realistic)
    shown = [one[:80, :96] for one in pictures(2)]
    stage = recipe_of(REALISM).stages[0]
    found = validate(network, stage.lambdas, shown, (0.0, 3.84))
    points = {(point.q, point.beta): point for point in found.points}
    assert sorted(points) == [(float(q), beta) for q in range(5) for beta in (0.0, 3.84)]
    psnrs, realistic, bpps, logs = [], [], [], []
    for pixels in shown:
        cut = pixels[:64, :64].astype(np.float64) / 127.5 - 1
        weight = network.mix.weight.detach().double().numpy()[:, :, 0, 0]
        mixed = cut @ weight.T + network.mix.bias.detach().double().numpy()
        mse, other = (
            (((mixed + beta / 10).clip(-1, 1) - cut) ** 2).mean() / 4 for beta in (0, 3.84)
        )
        psnrs.append(-10 * math.log10(mse))
        realistic.append(-10 * math.log10(other))
        bpps.append((mixed**2).sum() / 64**2)
        for q, weight in enumerate(LAMBDAS):
            logs.append(math.log(weight**-0.5 * (150 * mse + weight * bpps[-1] * (1 + q))))
    assert points[0.0, 0.0].psnr_db == pytest.approx(np.mean(psnrs), rel=1e-5)
    assert points[0.0, 3.84].psnr_db == pytest.approx(np.mean(realistic), rel=1e-5)
    assert [points[float(q), 0.0].bpp for q in range(5)] == pytest.approx(
        [np.mean(bpps) * (1 + q) for q in range(5)], rel=1e-5
    )
    assert found.loss == pytest.approx(np.mean(logs), rel=1e-5)


def test_a_run_of_something_else_in_the_same_folder_is_refused(tmp_path, data):
    recipe = recipe_of({"steps": 1})
    train(Subject(), recipe, [data], tmp_path, device="cpu")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    few = write_photographs(tmp_path.with_name("few"), 4)
    others = [
        (Subject(), recipe_of({"steps": 2}), [data]),
        (Subject(), recipe_of({"steps": 1}, seed=2), [data]),
        (Subject("compressai", {"model": "mbt2018-mean"}), recipe, [data]),
        (Subject(), recipe, [few]),
    ]
    for subject, other, folders in others:
        with pytest.raises(UsageError, match="is a run of another model, recipe or set"):
            train(subject, other, folders, tmp_path, device="cpu")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_stages_may_be_added_behind_those_that_a_run_has(tmp_path, data):
    train(Subject(), recipe_of({}), [data], tmp_path / "grown", device="cpu")
    grown = recipe_of({}, {"steps": 2})
    train(Subject(), grown, [data], tmp_path / "grown", device="cpu")
    train(Subject(), grown, [data], tmp_path / "whole", device="cpu")
    states = [load_state(tmp_path / run, CPU) for run in ("grown", "whole")]
    assert not differing(*states)
    with pytest.raises(UsageError, match="another model, recipe"):
        train(Subject(), recipe_of({}), [data], tmp_path / "grown", device="cpu")


def test_a_run_begun_before_a_field_existed_resumes(tmp_path, data):
    recipe = recipe_of({"steps": 2})
    train(Subject(), recipe, [data], tmp_path, device="cpu", deadline=0.0)
    path = tmp_path / "recipe.json"
    record = json.loads(path.read_text())
    del record["recipe"]["stages"][0]["map_share"], record["recipe"]["autocast"]
    record["subject"] = {"model": "ours", "lmbda": 0.0}
    path.write_text(json.dumps(record))
    train(Subject(), recipe, [data], tmp_path, device="cpu")
    assert load_state(tmp_path, CPU)["step"] == 2
    assert json.loads(path.read_text())["recipe"]["autocast"] is False


def test_a_record_and_a_state_of_an_earlier_version_are_those_of_the_same_run(tmp_path):
    recipe = single_rate(recipe_of(REALISM), 0.01)
    subject = compressai("mbt2018-mean", 0.01, (8, 12))
    record = {"recipe": asdict(recipe), "photographs": 3}
    earlier = {"model": "compressai:mbt2018-mean", "lmbda": 0.01, "widths": [8, 12]}
    (tmp_path / "recipe.json").write_text(json.dumps({**record, "subject": earlier}))
    assert read_record(tmp_path) == RunRecord(subject, recipe, 3)
    learner = learner_of(toy(), REALISM)
    learner.update()
    state = json_free(learner.state())
    other = learner_of(toy(), REALISM)
    other.load_state({"adversary": state.pop("objective"), **state})
    assert not differing(learner.state(), other.state())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": 3, "subject": {}}'])
def test_a_folder_whose_record_is_damaged_is_refused(tmp_path, data, content):
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UsageError, match=r"recipe\.json is no record of a training run"):
        train(Subject(), recipe_of({}), [data], tmp_path, device="cpu")


def test_what_cannot_be_trained_into_or_validated_with_is_refused(tmp_path, data):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file cannot be a run's folder"):
        train(Subject(), recipe_of({}), [data], tmp_path / "file", device="cpu")
    small = [pictures(1)[0][:63]]
    with pytest.raises(UsageError, match="smaller than 64 pixels"):
        train(Subject(), recipe_of({}), [data], tmp_path / "run", validation=small, device="cpu")


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, data, monkeypatch, caplog):
    def ended(*options):
        monkeypatch.setattr(sys, "argv", ["training", "--out", str(tmp_path / "run"), *options])
        return command.main()

    with caplog.at_level(logging.ERROR):
        assert ended("--recipe", "nigth", "--data", str(data)) == 1
        assert ended("--recipe", "smoke", "--data", str(tmp_path)) == 1
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("No recipe 'nigth'")
    assert "holds no photographs" in second


def test_the_command_trains(tmp_path, data, monkeypatch):
    recipe = tmp_path / "short.toml"
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in STAGE.items())
    recipe.write_text(f'sizes = "tiny"\nvalidate_every_steps = 3\n[[stage]]\n{lines}\n')
    options = ["--recipe", str(recipe), "--data", str(data), "--out", str(tmp_path / "run")]
    validation = ["--validation", str(data / "0.png"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["training", *options, *validation])
    assert command.main() == 0
    assert load_state(tmp_path / "run", CPU)["step"] == 3
    assert len(of_journal(tmp_path / "run", "validation_loss")) == 1


class Told(Workers):
    """A signal comes while the processes agree."""

    def average(self, parameters, numbers):
        if numbers.numel() == 2:
            signal.raise_signal(signal.SIGTERM)
        return super().average(parameters, numbers)


def test_a_signal_that_comes_while_processes_agree_is_not_lost(tmp_path):
    run_request(Told(), request_for(tmp_path, recipe_of({"steps": 20})))
    assert load_state(tmp_path, CPU)["step"] <= 2


def test_a_skipped_batch_is_not_in_the_means_of_the_journal(tmp_path):
    run_request(Workers(), request_for(tmp_path, recipe_of({"steps": 4}), poisoned))
    assert of_journal(tmp_path, "skipped") == [1]
    assert math.isfinite(of_journal(tmp_path, "loss")[0])


def test_a_run_that_had_saved_nothing_begins_its_journal_anew(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"stage": 0, "step": 7}\n{"stage": 0, "st')
    run_request(Workers(), request_for(tmp_path, recipe_of({"steps": 2}, report_every_steps=1)))
    assert of_journal(tmp_path, "step") == [1, 2]


def test_a_run_gives_the_signals_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run_request(Workers(), request_for(tmp_path, recipe_of({"steps": 1})))
    assert signal.getsignal(signal.SIGTERM) == before
