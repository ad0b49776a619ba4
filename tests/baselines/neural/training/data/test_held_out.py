"""Photographs held out of training: the same ones wherever they lie, and never learnt from."""

import numpy as np
import pytest
from PIL import Image

from baselines.commands.train import open_session
from baselines.neural.training.photographs import (
    held_out,
    load_photographs,
    photograph_paths,
    validation_pictures,
)
from benchmark.errors import UsageError


@pytest.fixture
def photos(tmp_path):
    """Forty flat pictures in two folders, each of a grey level of its own."""
    for number in range(40):
        folder = tmp_path / "photos" / f"part-{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70 + number, 66), (number,) * 3).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(("count", "held"), [(2, 1), (19, 1), (40, 2), (239, 11), (5000, 12)])
def test_one_in_twenty_is_held_out_but_at_least_one_and_at_most_twelve(count, held):
    assert len(held_out([f"{number}.png" for number in range(count)])) == held


def test_the_choice_stays_when_folders_move_or_come_in_another_order():
    here = held_out([f"/here/{number}.png" for number in range(100)])
    there = held_out([f"/there/deep/{number}.png" for number in reversed(range(100))])
    assert {path.rpartition("/")[2] for path in here} == {p.rpartition("/")[2] for p in there}


def test_what_is_held_out_is_validated_with_and_not_trained_on(photos):
    session = open_session([], [str(photos / "part-0"), str(photos / "part-1")], None, "cpu", 1)
    trained = load_photographs(session.data, without=session.held_out)
    greys = {int(trained.decoded(index)[0, 0, 0]) for index in range(len(trained))}
    unseen = {int(pixels[0, 0, 0]) for pixels in session.validation}
    assert (len(greys), len(unseen)) == (38, 2)
    assert greys | unseen == set(range(40))
    assert len(photograph_paths(session.data)) == 40


def test_photographs_that_are_named_leave_all_data_to_training(photos):
    session = open_session([], [str(photos / "part-0")], str(photos / "part-1"), "cpu", 1)
    assert (session.held_out, len(session.validation)) == (frozenset(), 20)


def test_large_photographs_are_cut_about_their_centres(tmp_path):
    pixels = np.arange(1000 * 800 * 3, dtype=np.uint32).astype(np.uint8).reshape(1000, 800, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (cut,) = validation_pictures([str(tmp_path / "a.png")])
    assert np.array_equal(cut, pixels[116:884, 16:784])


def test_a_single_photograph_cannot_be_split(tmp_path):
    Image.new("RGB", (70, 66)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="too few to hold another out of training"):
        open_session([], [str(tmp_path)], None, "cpu", 1)
