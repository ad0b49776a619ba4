"""`tools/average_checkpoints.py`: the weighted mean of a checkpoint and of runs begun with it."""

import sys

import pytest
import torch

from baselines.neural.checkpoint.checkpoint import load_checkpoint
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


def average(monkeypatch, place, *shares):
    given = [f"{place / name / 'ours.safetensors'}={share}" for name, share in shares]
    options = (
        "--data",
        place / "photos",
        "--mantissa-bits",
        10,
        "--out",
        place / "mean" / "m.safetensors",
    )
    monkeypatch.setattr(sys, "argv", ["average", *given, *map(str, options)])
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


def test_shares_add_up_to_one(place):
    with pytest.raises(ValueError, match=r"2 checkpoints with shares whose sum is 1\.5"):
        average_checkpoints.mean_network([checkpoint(place, "first")] * 2, [1.0, 0.5])
