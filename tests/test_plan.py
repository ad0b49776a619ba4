"""Cells: their order, and what makes two of them the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.dataset import ImageFile
from benchmark.plan import Cell, Contender, plan
from benchmark.registry import CodecSpec
from benchmark.source import Source

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
