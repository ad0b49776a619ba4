"""Cells: their identity, their order in a plan and in a run, and parts of a plan."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.codec import Setting
from benchmark.datasets.dataset import ImageFile, Source
from benchmark.errors import UsageError
from benchmark.measure.cells import (
    Cell,
    Contender,
    Measured,
    Part,
    describe_missing,
    longest_first,
    plan,
)
from benchmark.measure.estimate import CostModel
from benchmark.rows.packs.merge import merge_folders
from benchmark.spec import CodecSpec
from support.bench.command import bench
from support.codecs.files import FAKES, INFO
from support.rows.measured import row, table
from support.rows.stable_rows import only_store, stable

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


def test_what_may_change_the_stream_makes_another_cell_and_descriptions_and_paths_do_not():
    for changes in (
        {"codec": CodecSpec("webp", ())}, {"codec": CodecSpec("jpeg", (("optimize", "1"),))},
        {"info": replace(INFO, fingerprint="cd" * 32)}, {"info": replace(INFO, revision=2)},
        {"setting": Setting("quality", 11)}, {"setting": Setting("level", 10)},
        {"source": SOURCES[1]},
    ):  # fmt: skip
        assert CELL._replace(**changes).key != CELL.key, changes
    moved = CELL.source._replace(file=ImageFile("renamed", Path("elsewhere")))
    assert CELL._replace(source=moved).key == CELL.key
    assert CELL._replace(info=replace(INFO, version="1.0", timed="x")).key == CELL.key
    assert CELL._replace(setting=Setting("quality", 10.0)).key == CELL.key
    assert CELL._replace(pack=Path("recorded.tar")).key == CELL.key


def cells(*codecs, qualities=(10, 20)):
    sweep = tuple(Setting("quality", quality) for quality in qualities)
    return plan([Contender(CodecSpec(name, ()), INFO, sweep) for name in codecs], "kodak", SOURCES)


def order_cells(cells, rows):
    return longest_first(cells, CostModel(table(rows)).seconds)


def test_the_longest_cells_of_an_image_come_first_and_those_of_unknown_length_before_them():
    """jpeg: .3 s for 8000 pixels at either setting; webp: 3 s at 10 and 30 s at 20."""
    rows = [row("jpeg", q, "x") for q in (10, 20)]
    rows += [row("webp", 10, "x", encode_seconds=2.9), row("webp", 20, "x", encode_seconds=29.9)]
    order = order_cells(cells("jpeg", "webp"), rows)
    sequence = [(c.source.file.name, c.codec.name, c.setting.value) for c in order]
    image_sequence = [("webp", 20), ("webp", 10), ("jpeg", 20), ("jpeg", 10)]
    assert sequence == [(image, *pair) for image in "ab" for pair in image_sequence]
    # Cells of unknown length come first from the highest rate down.
    order = order_cells(cells("jpeg", "vtm"), [row("jpeg", 10, "x")])
    sequence = [(c.codec.name, c.setting.value) for c in order[:4]]
    assert sequence == [("vtm", 20), ("vtm", 10), ("jpeg", 20), ("jpeg", 10)]


def test_the_seconds_of_coding_are_those_of_the_calls_that_were_made_here():
    decode, both = {"decode_seconds": 2}, {"decode_seconds": 2, "encode_seconds": 3}
    for columns, seconds in (
        ({}, None), (decode, 2.0), (both, 5.0), (both | {"recorded": True}, 2.0)
    ):  # fmt: skip
        assert Measured(columns, None).coding_seconds == seconds


def with_pack(*lost):
    """Return JPEG with a pack without the streams of some pairs of an image and a quality."""

    def find(spec, sha256, width_px, setting):
        return None if (sha256[0], setting.value) in lost else "a stream"

    return JPEG._replace(pack=SimpleNamespace(path=Path("p.tar"), find=find))


def test_streams_that_a_pack_lacks_are_a_sentence_and_no_cells():
    contender = with_pack(("b", 1))
    reason = describe_missing(contender, SOURCES)
    assert (reason[:6], reason[-17:]) == ("p.tar ", " 1 of 2 images: b")
    problem = contender._replace(encoder_problem="no cjpeg")
    assert describe_missing(problem, SOURCES) == f"no cjpeg; and {reason}"
    assert describe_missing(contender, SOURCES[:1]) == describe_missing(JPEG, SOURCES) == ""
    many = [SOURCES[1]._replace(file=ImageFile(f"s{n}", Path("s"))) for n in range(7)]
    reason = describe_missing(contender, [SOURCES[0], *many])
    assert reason.endswith(" 7 of 8 images: s0, s1, s2 and 4 more")
    planned_cells = plan([contender], "kodak", SOURCES[1:])
    assert [cell.setting.value for cell in planned_cells] == [0, 2, 3, 4, 5, 6, 7]
    assert {cell.pack for cell in planned_cells} == {Path("p.tar")}


def test_parts_merged_are_the_whole_run_and_a_part_again_measures_nothing(images, tmp_path):
    parts = [tmp_path / number for number in "123"]
    codecs = ("--codecs", f"{FAKES}:Honest,jpeg", "--points", "jpeg.quality=10,30")

    def run(results, *options):
        words = ("--dataset", images, "--metrics", "psnr", "--results", results, *options)
        return bench("run", *codecs, *words, code=0).stdout

    for part in parts:
        run(part, "--part", f"{part.name}/3")
    finished = "\n0 cells measured, 0 failed, {} finished earlier"
    assert finished.format(4) in run(parts[0], "--part", "1/3")
    (merged,) = merge_folders(parts, tmp_path / "merged")
    assert (merged.rows, merged.conflicts, merged.damaged) == (10, (), ())
    run(tmp_path / "whole")
    whole, merged_whole = only_store(tmp_path / "whole"), only_store(tmp_path / "merged")
    assert stable(merged_whole) == stable(whole)
    digests = [path.name for path in whole.streams()]
    assert [*map(merged_whole.stream, digests)] == [*map(whole.stream, digests)]
    assert finished.format(10) in run(tmp_path / "merged")


SWEEP = tuple(Setting("quality", quality) for quality in range(8))
JPEG, WEBP = (Contender(CodecSpec(name, ()), INFO, SWEEP) for name in ("jpeg", "webp"))


@pytest.mark.parametrize("parts", [1, 3, 8, 24, 25, 200])
def test_every_cell_is_in_one_part_whatever_other_codecs_and_parts_are_even(parts, sources):
    contenders = [JPEG, WEBP]
    shares = [plan(contenders, "d", sources, part=Part(n + 1, parts)) for n in range(parts)]
    planned_cells = plan(contenders, "d", sources)
    assert sorted(c.key for share in shares for c in share) == sorted(c.key for c in planned_cells)
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 2, "each codec's cells differ by one at most"
    for number, share in enumerate(shares):
        single_codec_plan = plan([WEBP], "d", sources, part=Part(number + 1, parts))
        assert single_codec_plan == [cell for cell in share if cell.codec == WEBP.spec]


def test_cells_are_distributed_image_by_image_then_setting_by_setting():
    planned_cells = plan([WEBP], "d", SOURCES, part=Part(1, 3))  # the first of 16, the fourth, ...
    places = [(cell.source.file.name, cell.setting.value) for cell in planned_cells]
    assert places == [("a", 0), ("a", 3), ("a", 6), ("b", 1), ("b", 4), ("b", 7)]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "/", "a/b", "-1/3", "1/3/5", "1.0/2"])
def test_an_invalid_part_is_refused(text):
    with pytest.raises(UsageError, match="--part"):
        Part.parse(text)
