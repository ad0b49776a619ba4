"""Codecs as users type them, whatever option, verb or call takes the text."""

from dataclasses import replace

import pytest

from benchmark.errors import UnknownName, UsageError
from benchmark.rows.edition import CATALOGUE, Edition, RunFacts
from benchmark.rows.names import find_editions, find_variant, is_named, usual_variants
from benchmark.show.figures.style import parse_names
from benchmark.spec import CodecSpec, parse_codec
from support.codecs.files import FAKES

TYPED = {  # a codec's spec as in rows, and other texts that mean only it
    "compressai:model=bmshj2018-hyperprior": (
        "hyperprior", "hyperprior:metric=mse", "compressai:model=bmshj2018-hyperprior",
        "compressai:model=bmshj2018-hyperprior:metric=mse",
    ),
    "vtm": ("vtm", "VTM 23.13", "VTM 23.13 (bundled)"),
    "webp:method=6": ("webp:method=6", "WebP (method 6)"),
    "ours:beta=0": ("ours:beta=0", "ours:beta=0.0", "CRDR β=0", "CRDR β=0 (bundled)"),
    "ours:beta=0:effort=2": ("CRDR β=0 (effort 2)", "ours:effort=2:beta=0"),
    "jpeg:name=Fine:subsampling=444": ("Fine", "jpeg:subsampling=444:name=Fine"),
    "./coarse.py:Coarse:level=3": ("coarse.py:Coarse:level=3", "Coarse (level 3)"),
}  # fmt: skip


def editions_of(*texts):
    """Return editions of specs as in rows; all have VTM's version."""
    specs = [CodecSpec.parse(*text.split(":", 1)) if ".py" not in text and ":" in text
             else parse_codec(text) for text in texts]  # fmt: skip
    run_facts = RunFacts(version="VTM 23.13, 10 bit")
    return [replace(Edition.create(spec), run_facts=run_facts) for spec in specs]


KNOWN = editions_of(*TYPED)


@pytest.mark.parametrize(
    ("text", "spec"), [(text, spec) for spec, texts in TYPED.items() for text in texts]
)
def test_every_spelling_of_a_codec_means_it_at_every_option(text, spec):
    assert [edition.spec.text for edition in find_editions([text], KNOWN)] == [spec]
    assert find_variant(text, KNOWN).text == spec
    assert [edition.spec.text for edition in KNOWN if is_named(edition, text)] == [spec]
    assert [edition.spec.text for edition in parse_names([f"{text}=Ours"], KNOWN)] == [spec]


def test_a_name_with_several_variants_is_refused_where_one_is_needed():
    editions = editions_of("jpeg:optimize=1", "jpeg:subsampling=444", "vtm")
    assert len(find_editions(["jpeg"], editions)) == 2
    with pytest.raises(UsageError, match="jpeg:optimize=1, jpeg:subsampling=444"):
        find_variant("jpeg", editions)
    with pytest.raises(UnknownName) as raised:
        find_variant("jpge", editions)
    assert raised.value.name == "jpge"
    twins = editions_of("a/mine.py:Mine", "b/mine.py:Mine")
    assert find_editions(["Mine"], twins) == twins


def test_every_title_of_the_catalogue_finds_its_edition():
    for edition in CATALOGUE:
        assert edition in find_editions([edition.title], CATALOGUE)


def test_defaults_of_a_users_file_may_be_spelled_out():
    codec = f"{FAKES}:Draws"
    (edition,) = editions = editions_of(codec)
    assert find_editions([f"{codec}:seed=0"], editions) == [edition]
    with pytest.raises(UnknownName):
        find_editions([f"{codec}:seed=1"], editions)


def named_variants(names, pairs, measured=()):
    sides = ([Edition.create(CodecSpec.parse(*p)) for p in side] for side in (pairs, measured))
    return {(edition.spec.name, edition.spec.variant) for edition in find_editions(names, *sides)}


def test_a_name_means_the_variants_that_run_measures():
    pairs = [("ours", f"beta={beta}{size}") for beta in ("0", "3.84", "2.56")
             for size in ("", ":size=micro")]  # fmt: skip
    usual_pairs = {("ours", "beta=0"), ("ours", "beta=3.84")}
    assert usual_variants("ours") == {CodecSpec.parse(*pair) for pair in usual_pairs}
    assert named_variants(["ours"], pairs) == usual_pairs
    micro = {("ours", "beta=0:size=micro"), ("ours", "beta=3.84:size=micro")}
    assert named_variants(["ours:size=micro"], pairs) == micro
    assert named_variants(["ours:beta=2.56"], pairs) == {("ours", "beta=2.56")}
    draws = [("dirac", "seed=1:steps=100"), ("dirac", "seed=2:steps=9")]
    assert named_variants(["dirac"], draws) == {draws[0]}


def test_a_name_without_its_usual_variants_means_all_and_a_file_is_not_loaded():
    pairs = [("jpeg", "optimize=1"), ("jpeg", "subsampling=444"), ("./gone.py:Mine", "level=3")]
    assert named_variants(["jpeg"], pairs) == {*pairs[:2]}
    folder = ("folder", "name=HiFiC:path=x")
    for name, pair in (("gone.py:Mine", pairs[2]), ("./gone.py:Mine", pairs[2]),
                       ("HiFiC", folder), ("folder", folder)):  # fmt: skip
        assert named_variants([name], [*pairs, folder]) == {pair}, name


def test_a_file_that_was_moved_is_known_by_its_name_and_one_of_this_folder_is_meant_alone():
    pairs = [("old/mine.py:Mine", ""), ("mine.py:Other", ""), ("jpeg", "")]
    assert named_variants(["new/mine.py:Mine"], pairs) == {("old/mine.py:Mine", "")}
    with pytest.raises(UnknownName, match=r"new/mine\.py:Nothing"):
        named_variants(["new/mine.py:Nothing"], pairs)
    ambiguous_pairs = [("a/mine.py:Mine", ""), ("b/mine.py:Mine", "")]
    assert named_variants(["b/mine.py:Mine"], ambiguous_pairs) == {("b/mine.py:Mine", "")}
    pairs = [("./mine.py:Mine", ""), ("a/mine.py:Mine", "")]
    assert named_variants(["mine.py:Mine"], pairs) == {("./mine.py:Mine", "")}


def test_variants_measured_here_come_before_bundled_ones():
    bundled, measured_pair = ("jpeg", ""), ("jpeg", "optimize=1")
    assert named_variants(["jpeg"], [bundled, measured_pair], [measured_pair]) == {measured_pair}
