"""Editions: their titles, labels and facts, and the catalogue of editions known to figures."""

from dataclasses import replace

from benchmark.registry import CODECS
from benchmark.rows.edition import (
    CATALOGUE,
    Edition,
    RunFacts,
    label_of,
    labels,
    measured_titles,
    titles,
)
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_titles()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert {parse_codec(label).name for label in names} <= CODECS.keys()


def test_a_published_network_is_no_standard_codec_though_no_group_of_the_paper_has_it():
    kinds = {edition.facts.title: edition.facts.kind for edition in CATALOGUE}
    assert kinds["DiffEIC"] == kinds["StableCodec"] == kinds["HiFiC without GAN"] == "learned"
    assert kinds["HM"] == kinds["VTM"] == kinds["JPEG XL"] == "standard"


def test_every_codec_takes_a_name_of_its_own_and_keeps_its_facts():
    labels_of_ours = [spec.label for spec in resolve(parse_codec("ours:name=A"))]
    assert labels_of_ours == ["A beta=0", "A beta=3.84"]
    (spec,) = resolve(parse_codec("jpeg:optimize=1:name=A"))
    edition = Edition.create(spec)
    assert (label_of(spec), edition.title, edition.facts.kind) == ("A", "A", "standard")
    named_codec, plain_codec = (
        load_codec(variant) for variant in (spec, parse_codec("jpeg:optimize=1"))
    )
    assert named_codec.describe() == plain_codec.describe()
    texts = "jpeg:name=Mine", "ours:beta=0:name=A"
    editions = [Edition.create(parse_codec(text)) for text in texts]
    assert [edition.family for edition in editions] == ["jpeg", "ours"]
    assert editions[1].facts.trained_on == ("psnr_db", "lpips_alex")


def test_files_of_checkpoints_are_shown_as_they_are_typed_not_as_a_spec_escapes_them():
    def lists(folder):
        files = ",".join(f"{folder}{number}.pth" for number in (1, 2))
        options = {"checkpoint": files, "model": "mbt2018", "name": "Mine"}
        return CodecSpec("compressai", tuple(options.items()))

    for specs in ([lists("a/"), lists("b/")], [lists(""), parse_codec("compressai:name=Mine")]):
        texts = labels(specs)
        assert all("\\," in label for label in texts.values() if "pth" in label), "--anchor takes"
        names = titles(map(Edition.create, specs)).values()
        assert not any("\\" in name for name in names)


def test_editions_of_one_build_are_one_key_whatever_their_rows_name():
    first = Edition.create(parse_codec("jpeg"))
    assert {first: 1} == {replace(first, run_facts=RunFacts(version="2", caveats=("x",))): 1}
    assert first != replace(first, origin="bundled") != replace(first, build=("other", 0))
