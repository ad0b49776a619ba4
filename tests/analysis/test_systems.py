"""The table of systems: what figures call the codecs that can be measured here."""

from benchmark.analysis.systems import (
    FIELD_SYSTEMS,
    GROUPS,
    OURS,
    PAPER_SYSTEMS,
    SYSTEMS,
    System,
    kind,
    measured_names,
    option_count,
)
from benchmark.codec_spec import parse_codec
from benchmark.registry import CODECS


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_names()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert len(names) == sum(bool(system.measured) for system in SYSTEMS)
    assert {parse_codec(label).name for label in names} <= CODECS.keys()


def test_a_published_network_is_no_standard_codec_though_no_group_of_the_paper_has_it():
    kinds = {system.name: kind(system) for system in SYSTEMS}
    assert kinds["DiffEIC"] == kinds["StableCodec"] == kinds["HiFiC without GAN"] == "learned"
    assert kinds["HM"] == kinds["VTM"] == kinds["JPEG XL"] == "standard"


def test_the_options_of_a_label_are_counted():
    assert list(map(option_count, ("jpeg", "ours:beta=0", "ours:beta=0:effort=1"))) == [0, 1, 2]


def test_systems_come_in_groups_and_each_figure_has_its_own():
    groups = [system.group for system in SYSTEMS]
    assert list(dict.fromkeys(groups)) == [*GROUPS, ""]
    assert groups == sorted(groups, key=(*GROUPS, "").index)
    grouped = [system for system in SYSTEMS if system.group]
    field = [system for system in grouped if system.budget or system.reference]
    own_network = [system for system in grouped if system.budget and system.group == OURS]
    assert list(FIELD_SYSTEMS) == field
    assert [system for system in grouped if system not in PAPER_SYSTEMS] == own_network != []
    assert {system.group for system in SYSTEMS if system.keeps_published} == {OURS}
    plain = System("", "")
    assert not plain.budget
    assert not plain.reference
