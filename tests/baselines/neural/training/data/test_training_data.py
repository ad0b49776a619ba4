"""What a step of training sees: pixels of the photographs, and levels as they are documented."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.neural.objectives import draw_levels
from baselines.neural.training.photographs import draw_crops, hold_photographs
from benchmark.errors import UsageError
from support.networks.tiny_checkpoint import noise
from support.training.fixtures import REALISM, SINGLE, load_photographs, pictures, stage_of

SIDE_PX = 24
# Larger than a crop, as large, and smaller in one direction or both; one is a single column.
SHAPES = [(40, 31), (24, 24), (24, 50), (17, 60), (9, 13), (30, 1)]
PICTURES = [noise(*shape, seed) for seed, shape in enumerate(SHAPES)]


def crops(numbers, seed=1, side_px=SIDE_PX, photographs=PICTURES):
    result = draw_crops(hold_photographs(photographs), side_px, numbers, seed)
    return result.permute(0, 2, 3, 1).numpy()


def picture_of(crop):
    for number, picture in enumerate(PICTURES):
        missing = [max(0, SIDE_PX - side) for side in picture.shape[:2]]
        padded = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
        for expected in (crop, crop[:, ::-1]):
            for row, column in np.argwhere((padded == expected[0, 0]).all(2)):
                window = padded[row : row + SIDE_PX, column : column + SIDE_PX]
                if np.array_equal(window, expected):
                    return number
    return None


def test_crops_are_pixels_of_the_photographs_each_used_once_an_epoch():
    epochs = np.reshape([picture_of(crop) for crop in crops(range(300))], (-1, len(PICTURES)))
    assert (np.sort(epochs) == range(len(PICTURES))).all()
    assert len(np.unique(epochs, axis=0)) > len(epochs) // 2, "the orders differ"


def sides_behind(crops, picture):
    """The sides of the squares of a picture that give these crops, by trying every square."""
    height, width = picture.shape[:2]
    side_by_bytes = {}
    for side in range(SIDE_PX, min(2 * SIDE_PX, height) + 1):
        for top, column in np.ndindex(height - side + 1, width - side + 1):
            square = Image.fromarray(picture[top : top + side, column : column + side])
            crop = np.asarray(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
            side_by_bytes |= {crop.tobytes(): side, crop[:, ::-1].tobytes(): side}
    return [side_by_bytes[crop.tobytes()] for crop in crops.permute(0, 2, 3, 1).numpy()]


def test_reduced_crops_are_lanczos_filtered_squares_of_up_to_twice_the_side():
    picture = noise(50, 48, 9)
    held = hold_photographs([picture])
    reduced_crops, plain = (draw_crops(held, SIDE_PX, range(80), 1, share) for share in (0.5, 0))
    sides = np.array(sides_behind(reduced_crops, picture))
    reduced = sides[sides > SIDE_PX]
    assert 25 <= len(reduced) <= 55
    assert reduced.min() < 1.2 * SIDE_PX
    assert reduced.max() > 1.8 * SIDE_PX
    is_plain = torch.from_numpy(sides == SIDE_PX)  # these stay as they were
    assert torch.equal(reduced_crops[is_plain], plain[is_plain])
    picture = noise(SIDE_PX + 2, 60, 9)
    reduced_crops = draw_crops(hold_photographs([picture]), SIDE_PX, range(40), 1, reduced_share=1)
    assert {*sides_behind(reduced_crops, picture)} <= {*range(SIDE_PX, SIDE_PX + 3)}


def test_crops_depend_on_number_and_seed_only_and_are_those_of_runs_begun_before():
    together = crops(range(40))
    assert np.array_equal(together, np.concatenate([crops([number]) for number in range(40)]))
    assert not np.array_equal(together, crops(range(40), seed=2))
    # Runs on disk began with these numbers: a change would break all of them.
    result = crops([0, 1, 100, 10**6], side_px=64, photographs=pictures())
    assert result.sum((1, 2, 3)).tolist() == [1593270, 1613269, 1602625, 1638549]
    levels = draw_levels(stage_of(mixed_levels=True, batch=4), np.random.default_rng([1, 2, 0, 7]))
    assert levels.q.tolist() == pytest.approx([4.0, 0.7119259238243103, 3.0, 0.0], abs=1e-6)


def test_pictures_of_any_kind_are_read_as_rgb_sorted_by_path(tmp_path):
    (tmp_path / "below").mkdir()
    grey, colours = noise(5, 7, 1)[:, :, 0], noise(6, 4, 2)
    Image.fromarray(grey).save(tmp_path / "below" / "a.PNG")
    Image.fromarray(colours).save(tmp_path / "z.png")
    (tmp_path / "notes.txt").write_text("no picture")
    read = load_photographs([tmp_path])
    assert read.sides.tolist() == [[5, 7], [6, 4]]
    expected = [np.repeat(grey[:, :, None], 3, axis=2).reshape(-1, 3), colours.reshape(-1, 3)]
    assert np.array_equal(read.pixels, np.concatenate(expected))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "changed"])
def test_an_invalid_picture_is_named(tmp_path, suffix, damage):
    path = tmp_path / f"broken.{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    content = path.read_bytes()
    changed = content[:40] + bytes(255 - byte for byte in content[40:])
    path.write_bytes({"empty": b"", "text": b"hello", "cut": content[:300]}.get(damage, changed))
    with pytest.raises(UsageError, match=rf"broken\.{suffix} "):
        load_photographs([tmp_path])


def draws(count, **fields):
    stage = stage_of(**fields)
    return [draw_levels(stage, np.random.default_rng([9, index])) for index in range(count)]


def is_near(count, expected, share):
    """Return whether `count` is within five standard deviations of independent draws."""
    return abs(count - expected * share) < 5 * (expected * share * (1 - share)) ** 0.5


def test_published_a_batch_has_one_rate_and_one_beta():
    samples = draws(2000, batch=3)
    assert all(levels.q.dtype == np.float32 for levels in samples)
    counts = Counter(tuple(levels.q.tolist()) for levels in samples)
    assert set(counts) == {(float(q),) * 3 for q in range(5)}
    assert all(is_near(count, 2000, 1 / 5) for count in counts.values())
    samples = draws(4000, **{**REALISM, "batch": 3})
    assert all(len(set(levels.beta.tolist())) == 1 for levels in samples)
    counts = Counter(float(levels.beta[0]) for levels in samples)
    assert sorted(counts) == pytest.approx([5.12 * k / 100 for k in range(101)], abs=1e-6)
    assert all(is_near(count, 4000, 1 / 101) for count in counts.values())


@pytest.mark.parametrize("stage", [SINGLE, {}, {"mixed_levels": True}])
def test_before_the_last_stage_beta_is_zero(stage):
    assert not any(draw.beta.any() for draw in draws(50, **stage))


def test_mixed_half_the_rates_are_whole_and_the_others_uniform():
    q = np.concatenate([draw.q for draw in draws(2000, mixed_levels=True, batch=16)])
    integers, between = q[q == np.rint(q)], q[q != np.rint(q)]
    assert is_near(len(integers), len(q), 1 / 2)
    counts = Counter(integers.tolist())
    assert set(counts) == {0.0, 1.0, 2.0, 3.0, 4.0}
    # A fifth of each batch could be at a level; only whether it is, is by chance.
    assert all(is_near(count, len(q) / 5, 1 / 2) for count in counts.values())
    counts = np.histogram(between, bins=20, range=(0, 4))[0]
    assert counts.sum() == len(between)
    assert all(is_near(count, len(between), 1 / 20) for count in counts)


@pytest.mark.parametrize(("mixed", "share"), [(False, 0.0), (True, 0.0), (True, 0.25)])
def test_beta_is_zero_as_often_as_asked_on_top_of_the_uniform_draw(mixed, share):
    fields = {**REALISM, "mixed_levels": mixed, "zero_beta_share": share, "batch": 8}
    beta = np.stack([draw.beta for draw in draws(1000, **fields)])
    samples = beta.ravel() if mixed else beta[:, 0]
    assert is_near((samples == 0).sum(), samples.size, share + (1 - share) / 101)
    assert max(len(set(row.tolist())) for row in beta) == (8 if mixed else 1)


def test_a_map_has_two_regions_left_and_right_or_one_above_the_other():
    ways = Counter()
    for levels in draws(300, **{**REALISM, "map_share": 1.0, "crop_px": 256}):
        assert levels.q.shape == levels.beta.shape == (2, 4, 4)
        for q, beta in zip(levels.q, levels.beta, strict=True):
            assert len(np.unique(q)) == len(np.unique(beta)) == 2
            first = q == q[0, 0]
            assert np.array_equal(first, beta == beta[0, 0]), "q and beta change at the same place"
            across, down = (first == first[:1]).all(), (first == first[:, :1]).all()
            assert across != down
            line = (first[0] if across else first[:, 0]).tolist()
            assert line == sorted(line, reverse=True), "two regions"
            ways["left" if across else "above", sum(line)] += 1
    assert len(ways) == 6
    assert all(is_near(count, 600, 1 / 6) for count in ways.values())


@pytest.mark.parametrize(("side_px", "share"), [(64, 0.0), (128, 0.3)])
def test_maps_come_as_often_as_asked_where_a_crop_has_regions(side_px, share):
    samples = draws(1000, **{**REALISM, "map_share": 0.3, "crop_px": side_px})
    maps = sum(levels.q.ndim == 3 for levels in samples)
    assert is_near(maps, 1000, share) if share else maps == 0
