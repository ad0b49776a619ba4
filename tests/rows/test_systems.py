"""The table of systems: what figures call the codecs that can be measured here."""

from benchmark.registry import CODECS
from benchmark.rows.systems import (
    SYSTEMS,
    distinct_labels,
    kind,
    measured_names,
    short_names,
)
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_names()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert len(names) == sum(bool(system.measured) for system in SYSTEMS)
    assert {parse_codec(label).name for label in names} <= CODECS.keys()


def test_a_published_network_is_no_standard_codec_though_no_group_of_the_paper_has_it():
    kinds = {system.name: kind(system) for system in SYSTEMS}
    assert kinds["DiffEIC"] == kinds["StableCodec"] == kinds["HiFiC without GAN"] == "learned"
    assert kinds["HM"] == kinds["VTM"] == kinds["JPEG XL"] == "standard"


def test_every_codec_takes_a_name_and_each_of_its_variants_has_its_own():
    assert [spec.label for spec in resolve(parse_codec("ours:name=A"))] == [
        "A beta=0",
        "A beta=3.84",
    ]
    (spec,) = resolve(parse_codec("jpeg:optimize=1:name=A"))
    assert (spec.label, short_names([spec.label])) == ("A", {"A": "A"})
    named, plain = (load_codec(of) for of in (spec, parse_codec("jpeg:optimize=1")))
    assert named.describe() == plain.describe()


def test_files_of_checkpoints_are_shown_as_they_are_typed_not_as_a_spec_escapes_them():
    def lists(folder):
        files = ",".join(f"{folder}{number}.pth" for number in (1, 2))
        options = {"checkpoint": files, "model": "mbt2018", "name": "Mine"}
        return "compressai", CodecSpec("compressai", tuple(options.items())).variant

    for pairs in ([lists("a/"), lists("b/")], [lists(""), ("compressai", "name=Mine")]):
        labels = distinct_labels(pairs).values()
        assert all("\\," in label for label in labels if "pth" in label), "--anchor takes them"
        assert not any("\\" in name for name in short_names([*labels]).values())
