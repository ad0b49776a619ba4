"""Photographs from disk: the same crops in bounded memory, drawn ahead, in any number."""

import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.commands.training import add_photographs
from baselines.neural.training import photographs
from baselines.neural.training.options import TrainingOptions
from baselines.neural.training.photographs import CropSampler, CropStream, draw_crops
from benchmark.errors import UsageError
from support.networks.tiny_checkpoint import noise
from support.training.fixtures import CPU, load_photographs

MANY, SIDE_PX = 60, 40
BUDGET_BYTES = 10 * SIDE_PX * SIDE_PX * 3


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of small images, six times as much as may be in memory at a time."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        Image.fromarray(noise(SIDE_PX, SIDE_PX, number)).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def reads(monkeypatch):
    result, original = [], photographs.read_photograph

    def counted(path):
        result.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(photographs, "read_photograph", counted)
    return result


def test_a_folder_that_does_not_fit_into_memory_gives_the_crops_of_one_that_does(many):
    in_memory, streamed = load_photographs([many]), load_photographs([many], BUDGET_BYTES)
    assert (in_memory.pixels is None, streamed.pixels is None) == (False, True)
    numbers = [*range(2 * MANY), 10**6, 10**9]
    for side_px in (24, 64):
        expected = draw_crops(in_memory, side_px, numbers, seed=3)
        assert torch.equal(expected, draw_crops(streamed, side_px, numbers, seed=3))


def test_looking_at_a_large_folder_decodes_nothing_and_the_last_used_are_kept(many, reads):
    streamed = load_photographs([many], BUDGET_BYTES)
    assert (len(streamed), reads) == (MANY, [])
    assert streamed.sides.tolist() == [[SIDE_PX, SIDE_PX]] * MANY
    draw_crops(streamed, 24, range(MANY), seed=1)
    assert sorted(reads) == sorted(path.name for path in many.iterdir()), "once in an epoch"
    reads.clear()
    streamed = load_photographs([many], BUDGET_BYTES // 2)
    for number in (0, 1, 2, 3, 4, 0, 5, 0, 1):
        assert np.array_equal(streamed.decode(number), noise(SIDE_PX, SIDE_PX, number))
    assert reads == [f"00{number}.png" for number in (0, 1, 2, 3, 4, 5, 1)]


@pytest.mark.filterwarnings("ignore::benchmark.errors.DamagedResults")
def test_a_photograph_that_is_damaged_is_named_where_there_is_no_other(many, tmp_path):
    content = (many / "000.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    streamed = load_photographs([tmp_path], 0)
    stream = CropStream(CropSampler(streamed, 24, 1), lambda step: [step], 3, CPU)
    with pytest.raises(UsageError, match=r"cut\.png"):
        stream.take(0)


@pytest.fixture
def damaged(many, tmp_path):
    """The first six of `many`: one truncated, one empty, one not a picture."""
    for number in range(6):
        content = (many / f"00{number}.png").read_bytes()
        content = {1: content[: len(content) // 2], 2: b"", 5: b"hello"}.get(number, content)
        (tmp_path / f"00{number}.png").write_bytes(content)
    return tmp_path


@pytest.mark.filterwarnings("ignore::benchmark.errors.DamagedResults")
def test_in_place_of_what_cannot_be_read_is_the_next_photograph_in_memory_or_not(damaged):
    in_memory, streamed = load_photographs([damaged]), load_photographs([damaged], 0)
    for source in (in_memory, streamed):
        pictures = [source.decode(number) for number in range(6)]
        expected = [noise(SIDE_PX, SIDE_PX, number) for number in (0, 3, 3, 3, 4, 0)]
        assert all(map(np.array_equal, pictures, expected))
    assert torch.equal(*(draw_crops(source, 24, range(12), 3) for source in (in_memory, streamed)))
    sampler = CropSampler(in_memory, 24, 3)
    assert {sampler.draw(number)[0] for number in range(60)} == {0, 3, 4}
    assert len(photographs.validation_pictures(photographs.photograph_paths([damaged]))) == 3


def test_photographs_that_cannot_be_read_are_counted_and_named(damaged, recwarn):
    load_photographs([damaged])
    message = str(recwarn.pop().message)
    assert message.startswith("3 of 6 photographs ")
    assert message.count("00") == 3
    streamed = load_photographs([damaged], 0)
    assert str(recwarn.pop().message).startswith("2 of 6 photographs"), "by their headers"
    streamed.decode(1)
    assert "001.png" in str(recwarn.pop().message)


def test_a_bad_archive_or_picture_in_it_and_a_place_without_photographs_are_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("deep/bad.png")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    (path,) = photographs.photograph_paths([tmp_path / "a.tar"])
    with pytest.raises(UsageError, match=r"deep/bad\.png"):
        photographs.read_photograph(path)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with pytest.raises(UsageError, match=name):
            load_photographs([tmp_path / name])
    for place in ("none.tar", "good.txt"):
        with pytest.raises(UsageError, match=place):
            add_photographs(TrainingOptions(), "", [str(tmp_path / place)], None, "cpu")
    (tmp_path / "bad.tar").write_bytes(os.urandom(2000))
    with pytest.raises(UsageError, match=r"bad\.tar .*tar"):
        photographs.photograph_paths([tmp_path])


def test_crops_are_drawn_ahead_once_per_step_and_none_after_the_last():
    numbers_drawn = []

    class Numbered(CropSampler):
        def crop(self, number):
            numbers_drawn.append(number)
            return np.full((1, 1, 3), number, np.uint8)

    stream = CropStream(Numbered(None, 1, 0), lambda step: range(3 * step, 3 * step + 3), 8, CPU)
    values = [stream.take(step)[:, 0, 0, 0].tolist() for step in range(2, 8)]  # as after a resume
    assert values == [[3 * step, 3 * step + 1, 3 * step + 2] for step in range(2, 8)]
    assert sorted(numbers_drawn) == list(range(6, 24))
    stream = CropStream(Numbered(None, 1, 0), lambda step: range(3), 100, CPU)
    stream.take(2)
    assert [*stream._pending_crops] == [*range(3, 2 + 16 + 1)], "a step for each reader"


def test_one_in_twenty_is_held_out_by_its_name_but_at_least_one_and_at_most_twelve():
    for count, held_out in {2: 1, 19: 1, 40: 2, 239: 11, 5000: 12}.items():
        here = [f"/here/{number}.png" for number in range(count)]
        there = [f"/there/deep/{number}.png" for number in reversed(range(count))]
        chosen, moved = map(photographs.choose_validation, (here, there))
        assert len(chosen) == held_out
        assert {Path(path).name for path in moved} == {Path(path).name for path in chosen}


def test_what_is_held_out_or_named_is_validated_with_and_all_else_trained_on(tmp_path):
    places = [str(tmp_path / name) for name in ("part-0", "part-1")]
    for number in range(40):  # each with a different grey level
        Path(places[number % 2]).mkdir(exist_ok=True)
        picture = Image.new("RGB", (70 + number, 66), (number,) * 3)
        picture.save(f"{places[number % 2]}/{number}.png")
    session = add_photographs(TrainingOptions(), "", places, None, "cpu")
    trained = load_photographs(session.data, without=session.held_out)
    greys = {int(trained.decode(index)[0, 0, 0]) for index in range(len(trained))}
    validation_greys = {int(pixels[0, 0, 0]) for pixels in session.validation}
    assert (len(greys), len(validation_greys)) == (38, 2)
    assert greys | validation_greys == set(range(40))
    assert len(photographs.photograph_paths(session.data)) == 40
    session = add_photographs(TrainingOptions(), "", places[:1], places[1], "cpu")
    assert (session.held_out, len(session.validation)) == (frozenset(), 20)


def test_large_photographs_are_cut_about_their_centres(tmp_path):
    pixels = np.arange(1000 * 800 * 3, dtype=np.uint32).astype(np.uint8).reshape(1000, 800, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (cut,) = photographs.validation_pictures([str(tmp_path / "a.png")])
    assert np.array_equal(cut, pixels[116:884, 16:784])
    Image.fromarray(pixels[:700, :768]).save(tmp_path / "a.png")
    Image.fromarray(pixels[:30, :40]).save(tmp_path / "b.png")
    paths = [str(tmp_path / name) for name in ("b.png", "a.png")]
    large, small = photographs.validation_pictures(paths)  # sorted
    assert np.array_equal(large, pixels[:700, :768])
    assert np.array_equal(small, pixels[:30, :40])


def test_the_sides_of_very_many_photographs_take_little_memory(monkeypatch):
    count = 20_000
    paths = [f"/photographs/train_{number % 10}/{number:016x}.jpg" for number in range(count)]
    monkeypatch.setattr(photographs, "_read_sides", lambda path: (500, len(path)))
    monkeypatch.setattr(photographs, "HEADER_BATCH", 100)
    tracemalloc.start()
    sides = photographs.read_sides(paths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 350 * count
    assert sides.tolist() == [[500, len(path)] for path in paths]


def test_photographs_of_archives_are_those_of_their_files(many, tmp_path):
    files = sorted(many.iterdir())
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for path in files[shard::2]:
                archive.add(path, f"deep/{path.name}")
                note = tarfile.TarInfo(f"deep/{path.stem}.txt")
                note.size = 5
                archive.addfile(note, io.BytesIO(b"words"))
    places = [tmp_path], [*files[0::2], *files[1::2]]
    sources = [load_photographs(some, BUDGET_BYTES) for some in places]
    assert torch.equal(*(draw_crops(source, 24, range(2 * MANY), 3) for source in sources))
    first, second = (photographs.choose_validation(source.paths) for source in sources)
    assert {Path(path).name for path in first} == {Path(path).name for path in second}
    session = add_photographs(TrainingOptions(), "", [str(tmp_path / "0.tar")], None, "cpu")
    assert len(photographs.photograph_paths(session.data)) == MANY // 2
