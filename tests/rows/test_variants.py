"""What an experiment shows: what was measured here or named, and bundled rows by request."""

import polars as pl
import pytest

from benchmark.errors import UnknownName
from benchmark.rows.variants import (
    divided,
    every_variant,
    named_specs,
    others_of,
    usual_variants,
    with_bundled,
)
from benchmark.spec import CodecSpec
from support.rows.measured import row, table

IMAGES = ("a", "b", "c")


def named_variants(names, pairs, measured=()):
    """Codec and variant of what names mean, as rows have them."""
    specs = named_specs(names, *([CodecSpec.of(*of) for of in both] for both in (pairs, measured)))
    return {(spec.name, spec.variant) for spec in specs}


def rows_of(codec, variant="", images=IMAGES, qualities=(10, 20), bundled=False):
    return [
        row(codec, quality, image, variant=variant, bundled=bundled)
        for quality in qualities
        for image in images
    ]


def points_of(rows):
    """Codec, variant, setting and image of rows."""
    names = ("codec", "variant", "setting_value", "image")
    return {(*row[:2], int(row[2]), row[3]) for row in rows.select(names).rows()}


def codecs(rows):
    return {":".join(filter(None, pair)) for pair in rows.select("codec", "variant").rows()}


MEASURED = table(
    [
        *rows_of("jpeg", images=("a", "b")),
        *rows_of("jpeg", qualities=(20, 90), bundled=True),
        *rows_of("vtm", bundled=True),
        *rows_of("jpeg", "optimize=1", bundled=True),
        *rows_of("elic", bundled=True),
    ]
)


def test_codecs_measured_here_are_shown_and_the_others_are_kept_for_anchors():
    shown, others = divided(MEASURED)
    assert codecs(shown) == {"jpeg"}
    assert set(shown["bundled"].fill_null(value=False)) == {True, False}
    assert codecs(others) == {"vtm", "jpeg:optimize=1", "elic"}


def test_named_and_bundled_codecs_are_added():
    for asked in ({"codecs": "jpeg,elic"}, {"bundled": "elic"}):
        assert codecs(divided(MEASURED, **asked)[0]) == {"jpeg", "elic"}
    every = divided(MEASURED, bundled="all")[0]
    assert codecs(every) == {"jpeg", "vtm", "jpeg:optimize=1", "elic"}
    assert every.height == MEASURED.height
    assert codecs(divided(MEASURED, "elic")[0]) == {"elic"}
    with pytest.raises(UnknownName, match="No codec with results 'avif'"):
        divided(MEASURED, "jpeg", "avif")


def test_a_codec_named_as_bundled_is_the_bundled_one():
    rows, others = divided(MEASURED, bundled="jpeg")
    assert set(rows["bundled"]) == {True}
    assert codecs(others) == {"jpeg", "vtm", "jpeg:optimize=1", "elic"}
    own = table(rows_of("jpeg"))
    assert divided(own, bundled="jpeg")[0].height == own.height, "there is no other"


def test_where_nothing_was_measured_all_bundled_rows_are_shown():
    bundled = MEASURED.filter("bundled")
    shown, others = divided(bundled)
    assert points_of(shown) == points_of(bundled)
    assert others.height == 0


def test_all_variants_of_the_codecs_that_are_shown():
    every = every_variant(*divided(MEASURED, "jpeg,vtm"))
    assert codecs(every) == {"jpeg", "jpeg:optimize=1", "vtm"}


def test_bundled_codecs_are_added_to_the_rows_of_a_run():
    run = MEASURED.filter(~pl.col("bundled"))
    others = others_of(run, MEASURED)
    rows, rest = with_bundled(run, others, "elic")
    assert (codecs(rows), codecs(rest)) == ({"jpeg", "elic"}, {"vtm", "jpeg:optimize=1"})
    rows, rest = with_bundled(run, others, "all")
    assert codecs(rows) == codecs(MEASURED)
    assert rest.height == 0
    scored = run.with_columns(edge_error=1.0, edge_error_protocol=pl.lit("edges"))
    rows, rest = with_bundled(scored.with_columns(edge_error_reason=pl.lit("")), others, "")
    assert rows.columns == rest.columns
    assert codecs(rows) == {"jpeg"}
    assert codecs(rest) == codecs(others)


def test_a_name_means_the_variants_that_run_measures():
    pairs = [("ours", f"beta={beta}{size}") for beta in ("0", "3.84", "2.56")
             for size in ("", ":size=micro")]  # fmt: skip
    usual = {("ours", "beta=0"), ("ours", "beta=3.84")}
    assert usual_variants("ours") == {CodecSpec.of(*pair) for pair in usual}
    assert named_variants(["ours"], pairs) == usual
    micro = {("ours", "beta=0:size=micro"), ("ours", "beta=3.84:size=micro")}
    assert named_variants(["ours:size=micro"], pairs) == micro
    assert named_variants(["ours:beta=2.56"], pairs) == {("ours", "beta=2.56")}
    drawn = [("dirac", "seed=1:steps=100"), ("dirac", "seed=2:steps=9")]
    assert named_variants(["dirac"], drawn) == {drawn[0]}


def test_a_name_without_its_usual_variants_means_all_and_a_file_is_not_loaded():
    pairs = [("jpeg", "optimize=1"), ("jpeg", "subsampling=444"), ("./gone.py:Mine", "level=3")]
    assert named_variants(["jpeg"], pairs) == {*pairs[:2]}
    assert named_variants(["gone.py:Mine"], pairs) == named_variants(["./gone.py:Mine"], pairs)
    assert named_variants(["gone.py:Mine"], pairs) == {pairs[2]}
    folder = ("folder", "name=HiFiC:path=x")
    assert named_variants(["HiFiC"], [folder]) == named_variants(["folder"], [folder]) == {folder}


def test_a_file_that_was_moved_is_known_by_its_name_without_folders():
    pairs = [("old/mine.py:Mine", ""), ("mine.py:Other", ""), ("jpeg", "")]
    assert named_variants(["new/mine.py:Mine"], pairs) == {("old/mine.py:Mine", "")}
    with pytest.raises(UnknownName, match=r"new/mine\.py:Nothing"):
        named_variants(["new/mine.py:Nothing"], pairs)
    both = [("a/mine.py:Mine", ""), ("b/mine.py:Mine", "")]
    assert named_variants(["b/mine.py:Mine"], both) == {("b/mine.py:Mine", "")}


def test_a_file_of_this_folder_is_meant_alone_where_another_folder_has_one_of_its_name():
    both = [("./mine.py:Mine", ""), ("a/mine.py:Mine", "")]
    assert named_variants(["mine.py:Mine"], both) == {("./mine.py:Mine", "")}


def test_variants_measured_here_come_before_bundled_ones():
    bundled, own = ("jpeg", ""), ("jpeg", "optimize=1")
    assert named_variants(["jpeg"], [bundled, own], [own]) == {own}
