"""The table of systems: what figures call the codecs that can be measured here."""

from benchmark.registry import CODECS
from benchmark.rows.systems import (
    GROUPS,
    SYSTEMS,
    kind,
    measured_names,
)
from benchmark.spec import parse_codec


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_names()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert len(names) == sum(bool(system.measured) for system in SYSTEMS)
    assert {parse_codec(label).name for label in names} <= CODECS.keys()


def test_a_published_network_is_no_standard_codec_though_no_group_of_the_paper_has_it():
    kinds = {system.name: kind(system) for system in SYSTEMS}
    assert kinds["DiffEIC"] == kinds["StableCodec"] == kinds["HiFiC without GAN"] == "learned"
    assert kinds["HM"] == kinds["VTM"] == kinds["JPEG XL"] == "standard"


def test_systems_come_in_groups():
    groups = [system.group for system in SYSTEMS]
    assert list(dict.fromkeys(groups)) == [*GROUPS, ""]
    assert groups == sorted(groups, key=(*GROUPS, "").index)
