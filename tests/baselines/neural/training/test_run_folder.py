"""The folder of a training run: which runs it takes up, which it refuses, and the command."""

import json
import os
import shutil
import sys

import pytest
import torch

from baselines.neural.training import __main__ as command
from baselines.neural.training.loop import Conditions
from baselines.neural.training.run import Subject, train
from baselines.neural.training.run_folder import (
    PREVIOUS,
    STATE,
    StateWriter,
    load_state,
    save_state,
)
from benchmark.errors import BenchError, DamagedResults, UsageError
from support.training.fixtures import (
    CPU,
    STAGE,
    differing,
    of_journal,
    pictures,
    recipe_of,
    write_photographs,
)


def test_a_run_of_something_else_in_the_same_folder_is_refused(tmp_path, data):
    recipe = recipe_of({"steps": 1})
    train(Subject(), recipe, [data], tmp_path, Conditions(device="cpu"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    others = [
        (Subject(), recipe_of({"steps": 2}), [data]),
        (Subject(), recipe_of({"steps": 1}, seed=2), [data]),
        (Subject("compressai", {"model": "mbt2018-mean"}), recipe, [data]),
    ]
    for subject, other, folders in others:
        with pytest.raises(UsageError, match="is a run of another model or recipe"):
            train(subject, other, folders, tmp_path, Conditions(device="cpu"))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_other_photographs_are_noticed_and_taken_only_if_that_is_said(tmp_path, data):
    run, recipe = tmp_path / "run", recipe_of({"steps": 2})

    def call(folder, **more):
        conditions = Conditions(device="cpu", deadline=0.0, data_name=folder.name)
        train(Subject(), recipe, [folder], run, conditions, **more)

    call(data)
    moved = tmp_path / "moved" / "photos"
    shutil.copytree(data, moved)
    call(moved)
    few = write_photographs(tmp_path / "few", 4)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "0.png").rename(other / "0a.png")
    cut = tmp_path / "cut"
    shutil.copytree(data, cut)
    os.truncate(cut / "3.png", 200)
    for folder, count in ((few, 4), (other, 5), (cut, 5)):
        why = f"was begun with 5 photographs, and --data has {count} of other names or sizes"
        with pytest.raises(UsageError, match=why):
            call(folder)
    with pytest.warns(DamagedResults, match=r"1 of 5 photographs .*3\.png"):
        call(cut, photographs_changed=True)
    with pytest.warns(DamagedResults):
        call(cut)
    seen = f"5 photographs of {data.name}, then 5 photographs of cut"
    assert json.loads((run / "recipe.json").read_text())["seen"] == seen
    with pytest.raises(UsageError, match="--photographs-changed"):
        call(data)


def test_stages_may_be_added_behind_those_that_a_run_has(tmp_path, data):
    train(Subject(), recipe_of({}), [data], tmp_path / "grown", Conditions(device="cpu"))
    grown = recipe_of({}, {"steps": 2})
    train(Subject(), grown, [data], tmp_path / "grown", Conditions(device="cpu"))
    train(Subject(), grown, [data], tmp_path / "whole", Conditions(device="cpu"))
    states = [load_state(tmp_path / run, CPU) for run in ("grown", "whole")]
    assert not differing(*states)
    with pytest.raises(UsageError, match="another model or recipe"):
        train(Subject(), recipe_of({}), [data], tmp_path / "grown", Conditions(device="cpu"))


def test_a_run_begun_before_a_field_existed_or_with_one_that_is_gone_resumes(tmp_path, data):
    recipe = recipe_of({"steps": 2})
    train(Subject(), recipe, [data], tmp_path, Conditions(device="cpu", deadline=0.0))
    path = tmp_path / "recipe.json"
    record = json.loads(path.read_text())
    del record["recipe"]["stages"][0]["map_share"], record["recipe"]["autocast"]
    del record["names_and_sizes"]
    for largest in (3.0, 2.0):  # crops as they were once, and as they are
        record["recipe"]["stages"][0] |= {"scaled_decoding": False, "largest_reduction": largest}
        path.write_text(json.dumps(record))
        if largest > 2:
            with pytest.raises(UsageError, match="no record of a training run"):
                train(Subject(), recipe, [data], tmp_path, Conditions(device="cpu"))
    train(Subject(), recipe, [data], tmp_path, Conditions(device="cpu"))
    assert load_state(tmp_path, CPU)["step"] == 2
    assert json.loads(path.read_text())["recipe"]["autocast"] is False


@pytest.mark.parametrize("content", ["", "{}"])
def test_a_folder_whose_record_is_damaged_is_refused(tmp_path, data, content):
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UsageError, match=r"recipe\.json is no record of a training run"):
        train(Subject(), recipe_of({}), [data], tmp_path, Conditions(device="cpu"))


def test_what_cannot_be_trained_into_or_validated_with_is_refused(tmp_path, data):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file cannot be a run's folder"):
        train(Subject(), recipe_of({}), [data], tmp_path / "file", Conditions(device="cpu"))
    small = Conditions(validation=[pictures(1)[0][:63]], device="cpu")
    with pytest.raises(UsageError, match="smaller than 64 pixels"):
        train(Subject(), recipe_of({}), [data], tmp_path / "run", small)


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


def test_a_copy_of_a_state_is_written_and_the_last_two_and_milestones_are_kept(tmp_path):
    (tmp_path / ".0123.part").write_bytes(b"half")  # of a writer that was killed
    writer = StateWriter(tmp_path)
    weights = torch.zeros(1000)
    for step in range(1, 5):
        weights.fill_(step)
        writer.begin({"step": step, "parts": [weights, (weights,)]}, step if step == 2 else None)
        weights.fill_(-1)
    writer.finish()
    result = {name: load_state(tmp_path, CPU, name) for name in (STATE, PREVIOUS, "state-2.pt")}
    assert [one["step"] for one in result.values()] == [4, 3, 2]
    for one in result.values():
        assert torch.equal(one["parts"][0], torch.full((1000,), float(one["step"])))
    assert len(list(tmp_path.iterdir())) == 3


def test_without_the_last_state_the_one_before_serves(tmp_path):
    for step in (1, 2):
        save_state(tmp_path, {"step": step})
    (tmp_path / STATE).write_bytes(b"cut")
    with pytest.raises(UsageError, match=f"remove it to resume from {PREVIOUS}"):
        load_state(tmp_path, CPU)
    (tmp_path / STATE).unlink()
    assert load_state(tmp_path, CPU)["step"] == 1


def test_a_state_that_cannot_be_written_is_one_sentence(tmp_path):
    writer = StateWriter(tmp_path / "gone")
    (tmp_path / "gone").write_text("a file in the folder's place")
    writer.begin({"step": 1})
    with pytest.raises(BenchError, match=r"cannot be written.*; the one before is kept"):
        writer.finish()
