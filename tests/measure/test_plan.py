"""Cells: their order in a plan and in a run, and what makes two of them the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.datasets.dataset import ImageFile, Source
from benchmark.measure.cells import Cell, Contender, longest_first, plan
from benchmark.measure.estimate import CostModel, TimeEstimate, estimate
from benchmark.spec import CodecSpec
from support.rows.measured import row, table

INFO = CodecInfo("1", "call", "MIT", "ab" * 32, 1, "one call")
SOURCES = [Source(ImageFile(n, Path(n)), n * 64, 4, 3, False) for n in ("a", "b")]
CELL = Cell(CodecSpec("jpeg", ()), INFO, Setting("quality", 10), "kodak", SOURCES[0])


def test_images_are_outermost_so_that_an_early_stop_is_a_fair_sample():
    sweep = (Setting("quality", 10), Setting("quality", 20))
    contenders = [Contender(CodecSpec(name, ()), INFO, sweep) for name in ("jpeg", "webp")]
    cells = plan(contenders, "kodak", SOURCES)
    order = [(c.source.file.name, c.codec.name, c.setting.value) for c in cells]
    assert order == [
        ("a", "jpeg", 10), ("a", "jpeg", 20), ("a", "webp", 10), ("a", "webp", 20),
        ("b", "jpeg", 10), ("b", "jpeg", 20), ("b", "webp", 10), ("b", "webp", 20),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        CELL._replace(codec=CodecSpec("webp", ())),
        CELL._replace(codec=CodecSpec("jpeg", (("optimize", "1"),))),
        CELL._replace(info=replace(INFO, fingerprint="cd" * 32)),
        CELL._replace(info=replace(INFO, revision=2)),
        CELL._replace(setting=Setting("quality", 11)),
        CELL._replace(setting=Setting("level", 10)),
        CELL._replace(source=SOURCES[1]),
    ],
)
def test_whatever_may_change_the_stream_makes_another_cell(other):
    assert other.key != CELL.key


def test_words_and_places_do_not_make_another_cell():
    moved = CELL.source._replace(file=ImageFile("renamed", Path("elsewhere")))
    assert CELL._replace(source=moved).key == CELL.key
    assert CELL._replace(info=replace(INFO, version="1.0", timed="x")).key == CELL.key
    assert CELL._replace(setting=Setting("quality", 10.0)).key == CELL.key
    assert CELL._replace(pack=Path("recorded.tar")).key == CELL.key


def cells(*codecs, qualities=(10, 20)):
    sweep = tuple(Setting("quality", quality) for quality in qualities)
    contenders = [Contender(CodecSpec(name, ()), INFO, sweep) for name in codecs]
    return plan(contenders, "kodak", SOURCES)


def ordered(cells, rows):
    return longest_first(cells, CostModel(table(rows)).seconds)


def test_a_run_takes_the_longest_cells_of_an_image_first_and_the_images_in_order():
    """jpeg: .3 s for 8000 pixels at either setting; webp: 3 s at 10 and 30 s at 20."""
    rows = [row("jpeg", q, "x") for q in (10, 20)]
    rows += [row("webp", 10, "x", encode_seconds=2.9), row("webp", 20, "x", encode_seconds=29.9)]
    order = ordered(cells("jpeg", "webp"), rows)
    sequence = [(c.source.file.name, c.codec.name, c.setting.value) for c in order]
    of_one = [("webp", 20), ("webp", 10), ("jpeg", 20), ("jpeg", 10)]
    assert sequence == [(image, *rest) for image in "ab" for rest in of_one]


def test_cells_of_unknown_length_come_first_from_the_highest_rate_down():
    order = ordered(cells("jpeg", "vtm"), [row("jpeg", 10, "x")])
    sequence = [(c.codec.name, c.setting.value) for c in order[:4]]
    assert sequence == [("vtm", 20), ("vtm", 10), ("jpeg", 20), ("jpeg", 10)]


def test_recorded_times_are_no_estimate_and_recorded_cells_take_none():
    slow = row("vtm", 10, "x", encode_seconds=1000.0, recorded=True)
    assert estimate(cells("vtm"), CostModel(table([slow]))) == TimeEstimate(0, 4)
    assert estimate([CELL._replace(pack=Path("p"))], CostModel(table([]))) == TimeEstimate(0, 0)
    twelve_pixels = 0.3 / 8000 * 12
    known = estimate([CELL], CostModel(table([slow, row("jpeg", 10, "x")])))
    assert known == (pytest.approx(twelve_pixels, abs=1e-12), 0, 0)
