"""The folder of a training run: which runs it continues, which it refuses, and the command."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from baselines.neural.training.run import load_state, save_state
from benchmark.errors import BenchError, UsageError
from support.training import fixtures
from support.training.fixtures import recipe_of, train_in


def test_a_run_of_something_else_in_the_same_folder_is_refused_with_the_field(tmp_path, data):
    recipe = recipe_of({"steps": 1})
    train_in(tmp_path, recipe, data)
    files_before = {path.name: path.read_bytes() for path in tmp_path.glob("[!lv]*")}
    network = {"model": "mbt2018-mean", "widths": [4, 4], "lmbda": 0.1}
    for field, changed_recipe in (
        ("steps in stage 1", recipe_of({"steps": 2})),
        ("seed", recipe_of({"steps": 1}, seed=2)),
        ("architecture", replace(recipe, architecture="compressai", dimensions=network)),
    ):
        with pytest.raises(UsageError, match=f"{tmp_path} .* {field}$"):
            train_in(tmp_path, changed_recipe, data)
    assert files_before == {path.name: path.read_bytes() for path in tmp_path.glob("[!lv]*")}


def test_other_photographs_are_noticed_and_those_of_a_moved_folder_are_not(tmp_path, data):
    run, recipe = tmp_path / "run", recipe_of({"steps": 2})

    def call(folder, **options):
        train_in(run, recipe, folder, max_minutes=0, data_name=folder.name, **options)

    call(data)
    call(shutil.copytree(data, tmp_path / "moved" / "photos"))
    few, renamed, cut = (shutil.copytree(data, tmp_path / name) for name in "abc")
    (few / "4.png").unlink()
    (renamed / "0.png").rename(renamed / "0a.png")
    os.truncate(cut / "3.png", 200)
    for folder, count, name in ((few, 4, "4"), (renamed, 5, "0"), (cut, 5, "3")):
        with pytest.raises(UsageError, match=rf"\b5 .* {count}\b.* {name}\.png"):
            call(folder)
    assert json.loads((run / "recipe.json").read_text())["seen"] == f"5 photographs of {data.name}"


def test_stages_may_be_added_after_those_of_a_run(tmp_path, data):
    train_in(tmp_path / "grown", recipe_of({}), data)
    grown = recipe_of({}, {"steps": 2})
    train_in(tmp_path / "grown", grown, data)
    train_in(tmp_path / "whole", grown, data)
    states = (load_state(tmp_path / run, fixtures.CPU) for run in ("grown", "whole"))
    assert not fixtures.differing(*states)
    with pytest.raises(UsageError, match="number of stages"):
        train_in(tmp_path / "grown", recipe_of({}), data)


def test_a_run_from_before_a_field_resumes_and_one_of_a_gone_field_does_not(tmp_path, data):
    recipe = recipe_of({"steps": 2})
    train_in(tmp_path, recipe, data, max_minutes=0)
    path = tmp_path / "recipe.json"
    record = json.loads(path.read_text())
    del record["recipe"]["stages"][0]["map_share"], record["recipe"]["autocast"]
    record["recipe"]["stages"][0]["scaled_decoding"] = False
    path.write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"recipe\.json"):
        train_in(tmp_path, recipe, data)
    del record["recipe"]["stages"][0]["scaled_decoding"]
    path.write_text(json.dumps(record))
    train_in(tmp_path, recipe, data)
    assert load_state(tmp_path, fixtures.CPU)["step"] == 2
    assert json.loads(path.read_text())["recipe"]["autocast"] is False


def test_what_cannot_be_trained_into_is_refused_before_the_first_step(tmp_path, data, monkeypatch):
    for content in ("", "{}"):
        (tmp_path / "recipe.json").write_text(content)
        with pytest.raises(UsageError, match=r"recipe\.json"):
            train_in(tmp_path, recipe_of({}), data)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file .*File exists"):
        train_in(tmp_path / "file", recipe_of({}), data)
    with pytest.raises(UsageError, match=" 64 "):
        train_in(tmp_path / "run", recipe_of({}), data, validation=[fixtures.pictures(1)[0][:63]])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(UsageError, match=r"run .*0\.01 MB"):
        train_in(tmp_path / "run", recipe_of({}), data)
    assert not (tmp_path / "run" / "state.pt").exists()


def test_the_draft_of_a_process_that_was_killed_while_it_wrote_goes(tmp_path):
    (tmp_path / ".0123.part").write_bytes(b"half")
    fixtures.train_toy(tmp_path, recipe_of({"steps": 1}))
    assert not list(tmp_path.glob(".*.part"))


def test_an_unwritten_state_is_one_sentence_and_the_previous_one_kept(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(BenchError, match="No space left on device: "):
            save_state(tmp_path, {"step": 1})
    save_state(tmp_path, {"step": 1})
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(BenchError, match=r"device; .*state"):
        save_state(tmp_path, {"step": 2})
