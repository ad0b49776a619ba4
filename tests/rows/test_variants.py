"""What an experiment shows: what was measured here or named, and bundled rows by request."""

import polars as pl
import pytest

from benchmark.errors import UnknownName
from benchmark.rows.variants import add_bundled, add_variants, divide_rows, rows_of_other_variants
from support.rows.measured import row, table


def rows_of(codec, variant="", images="abc", qualities=(10, 20), bundled=False):
    columns = {"variant": variant, "bundled": bundled}
    return [row(codec, quality, image, **columns) for quality in qualities for image in images]


def codecs(rows):
    return {":".join(filter(None, pair)) for pair in rows.select("codec", "variant").rows()}


BUNDLED = [*rows_of("vtm", bundled=True), *rows_of("jpeg", "optimize=1", bundled=True)]
BUNDLED += rows_of("jpeg", qualities=(20, 90), bundled=True) + rows_of("elic", bundled=True)
MEASURED = table([*rows_of("jpeg", images="ab"), *BUNDLED])


def test_codecs_measured_here_are_shown_and_the_others_are_kept_for_anchors():
    shown_rows, other_rows = divide_rows(MEASURED)
    assert (codecs(shown_rows), {*shown_rows["bundled"]}) == ({"jpeg"}, {True, False})
    assert codecs(other_rows) == {"vtm", "jpeg:optimize=1", "elic"}


def test_named_and_bundled_codecs_are_added():
    for options in ({"codecs": "jpeg,elic"}, {"bundled": "elic"}):
        assert codecs(divide_rows(MEASURED, **options)[0]) == {"jpeg", "elic"}
    all_rows = divide_rows(MEASURED, bundled="all")[0]
    assert codecs(all_rows) == {"jpeg", "vtm", "jpeg:optimize=1", "elic"}
    assert all_rows.height == MEASURED.height
    assert codecs(divide_rows(MEASURED, "elic")[0]) == {"elic"}
    with pytest.raises(UnknownName, match=r"codec .*'avif'"):
        divide_rows(MEASURED, "jpeg", "avif")


def test_a_codec_named_as_bundled_is_the_bundled_one():
    rows, other_rows = divide_rows(MEASURED, bundled="jpeg")
    assert set(rows["bundled"]) == {True}
    assert codecs(other_rows) == {"jpeg", "vtm", "jpeg:optimize=1", "elic"}
    local_rows = table(rows_of("jpeg"))
    shown_rows = divide_rows(local_rows, bundled="jpeg")[0]
    assert shown_rows.height == local_rows.height, "there is no other"


def test_where_nothing_was_measured_all_bundled_rows_are_shown():
    bundled = MEASURED.filter("bundled")
    shown_rows, other_rows = divide_rows(bundled)
    assert shown_rows.equals(bundled)
    assert other_rows.height == 0


def test_all_variants_of_the_codecs_that_are_shown():
    all_rows = add_variants(*divide_rows(MEASURED, "jpeg,vtm"))
    assert codecs(all_rows) == {"jpeg", "jpeg:optimize=1", "vtm"}


def test_bundled_codecs_are_added_to_the_rows_of_a_run():
    run = MEASURED.filter(~pl.col("bundled"))
    other_rows = rows_of_other_variants(run, MEASURED)
    columns = {"edge_error": 1.0, "edge_error_protocol": "edges", "edge_error_reason": ""}
    scored = run.with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    rest = codecs(other_rows)
    for rows, name, added in ((run, "elic", {"elic"}), (run, "all", rest), (scored, "", set())):
        extended_rows, remaining_rows = add_bundled(rows, other_rows, name)
        assert (codecs(extended_rows), codecs(remaining_rows)) == ({"jpeg"} | added, rest - added)
        assert extended_rows.columns == remaining_rows.columns
