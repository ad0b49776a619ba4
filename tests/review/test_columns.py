"""Packs that lack a column, or have nonsense in one: a sentence, or a review."""

import math
import shutil
from contextlib import suppress

import numpy as np
import pytest

from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import BenchError
from benchmark.measure.score import HashedImage
from benchmark.review.decode import DecodedStream, compare_picture
from benchmark.review.review import html_review, markdown_review
from benchmark.review.sent import label_of_row, sent_rows
from benchmark.review.site import Entry, index_html, make_board
from benchmark.rows.packs.pack import open_pack
from support.packs.honest_pack import rows_in, write_rows
from support.rows.measured import row

IMAGE = HashedImage("0" * 64, np.zeros((64, 64, 3), np.uint8))


def unknown(row, decoded):
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("value", [None, "", -1, math.nan, "<b>"])
def test_nonsense_in_any_column_is_a_sentence_or_a_review(author, reviewed, tmp_path, value):
    shutil.unpack_archive(author / "code.tar", tmp_path / "whole", filter="data")
    lines = rows_in(tmp_path / "whole/code")
    for place, column in enumerate(lines[0]):
        pack = shutil.copytree(tmp_path / "whole/code", tmp_path / f"p{place}")
        spoilt = [{**line, column: value} for line in lines]
        for line in spoilt if value is None else ():
            del line[column]
        write_rows(pack, spoilt)
        with suppress(BenchError):
            review = reviewed(pack)  # its codec is a file, so that nothing is decoded
            assert "<b>" not in html_review(review) + markdown_review(review)
            rows = _sent(pack).rows
            for record in rows:
                compare_picture(DecodedStream(record, "failed"), IMAGE, unknown)
            entry = Entry("set", "<b>", label_of_row(rows[0]), "<b>", rows)
            board = make_board("set", [entry], "", tmp_path / "none", ("psnr",), USUAL_RULE)
            assert "<b>" not in index_html([board], [])
        shutil.rmtree(tmp_path / "into")


def _sent(pack):
    return sent_rows(open_pack(pack))


def test_no_author_decides_by_a_column_that_nothing_compares_what_is_shown(author, tmp_path):
    shutil.unpack_archive(author / "mine.tar", tmp_path, filter="data")
    honest = _sent(tmp_path / "mine")
    numbers = dict.fromkeys(("jobs", "parameters", "container_bytes"), 2)
    numbers |= dict.fromkeys(("encode_kmac", "decode_kmac", "estimated_bits"), 0.5)
    marks = dict.fromkeys(("timing", "source_lossy"), True)
    changed = [{**line, **numbers, **marks} for line in rows_in(tmp_path / "mine")]
    write_rows(tmp_path / "mine", changed)
    assert _sent(tmp_path / "mine").rows == honest.rows
    assert {honest.rows[0][name] for name in (*numbers, *marks)} == {None}


@pytest.mark.parametrize(("size", "state", "reason"), [
    (64, "blind", "pixels"),
    (65, "other", "64 x 64 px, not 65 x 64 px"),
])  # fmt: skip
def test_other_pixels_without_a_photograph_are_not_known_by_how_much(size, state, reason):
    stream = DecodedStream(row("webp", 30, "a", width_px=size, height_px=64), "failed")
    comparison = compare_picture(stream, IMAGE, unknown)
    assert (comparison.state, comparison.reason.startswith("webp quality=30 a ")) == (state, True)
    assert comparison.reason.endswith(reason)
    assert comparison.wrong_size == (comparison.reason if size == 65 else "")
