"""Sentences on differences between codecs that a metric sees and that are not of quality."""

from dataclasses import replace

from benchmark.compare.caveats import caveat_notes, differences
from benchmark.rows.edition import Edition, RunFacts
from benchmark.spec import parse_codec


def edition(codec="jpeg", chroma="", tuned_for="", *caveats):
    run_facts = RunFacts(chroma=chroma, tuned_for=tuned_for, caveats=caveats)
    return replace(Edition.create(parse_codec(codec)), run_facts=run_facts)


def test_sides_differ_in_chroma_tuning_and_caveats_that_both_state():
    names, jpeg_edition = ("a", "b"), edition("jpeg", "4:2:0", "PSNR", "x")
    assert differences(jpeg_edition, jpeg_edition, names) == ()
    for chroma in (("", "4:4:4"), ("4:2:0", "")):
        assert differences(*(edition("jpeg", text) for text in chroma), names) == ()
    first = edition("jpeg", "4:2:0", "", "x")
    chroma, tuning, caveat = differences(first, edition("webp", "4:4:4", "SSIM", "x", "y"), names)
    assert chroma.index("a ") < chroma.index("4:2:0, b ") < chroma.index("4:4:4")
    assert tuning.index("a ") < tuning.index(", b ") < tuning.index("SSIM")
    assert caveat == "b: y"


def test_a_caveat_names_all_codecs_that_have_it_once():
    editions = [edition(codec, "", "", "random weights") for codec in ("jpeg", "webp")]
    assert caveat_notes([*editions, *editions]) == ["Random weights: jpeg, webp."]
