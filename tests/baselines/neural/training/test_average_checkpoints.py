"""`tools/average_checkpoints.py`: the weighted mean of a checkpoint and of runs begun with it."""

import sys
from dataclasses import replace

import pytest
import torch

from baselines.neural.checkpoint.checkpoint import load_checkpoint
from benchmark.errors import UsageError
from support.training.tiny_runs import bench, write_photographs, write_recipe
from tools import average_checkpoints


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos/, a run in first/, and one begun with its checkpoint in second/."""
    folder = tmp_path_factory.mktemp("averaged")
    write_photographs(folder)
    write_recipe(folder / "recipe.toml")
    common = ("train", "--recipe", folder / "recipe.toml", "--data", folder / "photos",
              "--validation", folder / "unseen")  # fmt: skip
    bench(*common, "--out", folder / "first")
    bench(*common, "--out", folder / "second", "--start", folder / "first" / "ours.safetensors")
    return folder


def checkpoint(place, name):
    return load_checkpoint(place / name / "ours.safetensors")


def arguments(place, *checkpoints):
    return [
        "average",
        *(f"{place / name / 'ours.safetensors'}={share}" for name, share in checkpoints),
        *("--data", str(place / "photos")),
        *("--out", str(place / "mean" / "m.safetensors")),
    ]


def average(monkeypatch, place, *checkpoints):
    monkeypatch.setattr(sys, "argv", arguments(place, *checkpoints))
    average_checkpoints.main()
    return load_checkpoint(place / "mean" / "m.safetensors")


def test_gains_and_biases_are_the_weighted_means_and_the_card_says_of_what(monkeypatch, place):
    first, second = checkpoint(place, "first"), checkpoint(place, "second")
    mean = average(monkeypatch, place, ("first", 0.75), ("second", 0.25))
    parts = [dict(one.network.named_parameters()) for one in (first, second)]
    moved = 0
    for name, value in mean.network.named_parameters():
        if value.ndim == 1:  # no kernel, which would have been rounded to integers
            expected = 0.75 * parts[0][name] + 0.25 * parts[1][name]
            torch.testing.assert_close(value, expected, rtol=2**-10, atol=1e-6)
            moved += not torch.equal(parts[0][name], parts[1][name])
    assert moved
    names = [one.card.sha256[:8] for one in (first, second)]
    assert mean.card.training_data == (
        f"mean of checkpoints {names[0]} (0.75), {names[1]} (0.25), each but the first trained on "
        f"{second.card.training_data}"
    )
    assert mean.card.crops == second.card.crops
    assert mean.card.steps == second.card.steps
    assert mean.card.measured.keys() == second.card.measured.keys()


def test_the_mean_of_a_checkpoint_with_itself_is_that_checkpoint(place):
    first = checkpoint(place, "first")
    found = average_checkpoints.mean_network([checkpoint(place, "first"), first], [0.5, 0.5])
    for name, value in first.network.named_parameters():
        assert torch.equal(dict(found.named_parameters())[name], value)


@pytest.mark.parametrize(
    ("checkpoints", "sentence"),
    [
        ([("first", 1), ("second", 0.5)], "the shares of 2 checkpoints add up to 1.5"),
        ([("first", "half")], "ours.safetensors=half is not of the form FILE=0.25"),
        ([("third", 1)], "third"),
    ],
)
def test_mistakes_are_told_in_a_sentence(monkeypatch, capsys, place, checkpoints, sentence):
    monkeypatch.setattr(sys, "argv", arguments(place, *checkpoints))
    with pytest.raises(SystemExit, match="2"):
        average_checkpoints.main()
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_networks_of_other_configurations_have_no_mean(place):
    first = checkpoint(place, "first")
    other = first._replace(card=replace(first.card, config=replace(first.card.config, blocks=7)))
    with pytest.raises(UsageError, match="has another configuration than"):
        average_checkpoints.mean_network([first, other], [0.5, 0.5])
