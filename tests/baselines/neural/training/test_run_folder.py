"""The folder of a training run: which runs it takes up, which it refuses, and the command."""

import pytest

from baselines.neural.training.run import Subject, train
from baselines.neural.training.run_folder import load_state
from benchmark.errors import UsageError
from support.training.fixtures import (
    CPU,
    differing,
    pictures,
    recipe_of,
    write_photographs,
)

pytestmark = pytest.mark.usefixtures("handlers")


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
