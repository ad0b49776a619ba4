"""`bench train --start`: a run that begins with the weights of a checkpoint."""

import json
import shutil

import pytest
import torch

from baselines.neural.checkpoint.checkpoint import load_checkpoint
from benchmark.errors import UsageError
from support.training.tiny_runs import bench, training, write_photographs, write_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos/, unseen/, a run in first/, and still.toml, which moves nothing."""
    folder = tmp_path_factory.mktemp("started")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml")
    bench(*words(folder, "recipe", "first"))
    still = write_recipe(folder / "still.toml", rate_steps=0, realism_steps=1).read_text()
    still = still.replace("1e-3", "0.0\nquantile_learning_rate = 0.0")
    (folder / "still.toml").write_text(still)
    return folder


def words(place, recipe, out, *more):
    return training(place, place / out, *more, recipe=f"{recipe}.toml")


def copy(checkpoint, target):
    for suffix in (".safetensors", ".json"):
        shutil.copy(checkpoint.with_suffix(suffix), target.with_suffix(suffix))


@pytest.mark.parametrize("initialise", ["random", "pca"])
def test_a_run_begins_with_the_weights_of_the_checkpoint(place, initialise):
    recipe = (place / "still.toml").read_text()
    (place / f"{initialise}.toml").write_text(f'initialise = "{initialise}"\n{recipe}')
    first = place / "first" / "ours.safetensors"
    bench(*words(place, initialise, f"from-{initialise}", "--start", first))
    before = load_checkpoint(first)
    after = load_checkpoint(place / f"from-{initialise}" / "ours.safetensors")
    expected = before.network.state_dict()
    for name, value in after.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert after.card.crops == before.card.crops + 2
    assert after.card.steps == before.card.steps + 1
    assert f"{after.card.crops} crops in all" in after.card.training
    assert f"begun from checkpoint {before.card.sha256[:8]} of 8 crops" in after.card.training_data
    assert f"--start {first}" in after.card.command


def test_a_run_resumes_only_from_the_checkpoint_that_it_began_with(place):
    first = place / "first" / "ours.safetensors"
    bench(*words(place, "still", "again", "--start", first, "--max-minutes", "0"))
    with pytest.raises(UsageError, match="is a run of another model"):
        bench(*words(place, "still", "again"))
    copy(first, place / "moved.safetensors")
    bench(*words(place, "still", "again", "--start", place / "moved.safetensors"))
    card = json.loads((place / "again" / "ours.json").read_text())
    assert card["crops"] == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--start", "damaged.safetensors"), "damaged.safetensors is damaged"),
        (("--start", "recipe.toml"), "recipe.toml has no card recipe.json"),
        (("--suite", "field", "--start", "first/ours.safetensors"), "leave those out"),
        (
            ("--model", "ivr", "--start", "first/ours.safetensors"),
            "first/ours.safetensors holds another network than the one to train, tiny",
        ),
    ],
)
def test_a_start_that_cannot_be_is_told_in_a_sentence(place, monkeypatch, given, message):
    monkeypatch.chdir(place)
    copy(place / "first" / "ours.safetensors", place / "damaged.safetensors")
    with (place / "damaged.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UsageError, match=message):
        bench(*words(place, "recipe", "refused", *given))
    assert not (place / "refused").exists()
