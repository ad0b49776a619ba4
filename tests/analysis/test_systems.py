"""The table of systems: what figures call the codecs that can be measured here."""

from benchmark.analysis.systems import SYSTEMS, measured_names
from benchmark.codec_spec import parse_codec
from benchmark.registry import CODECS


def test_measured_codecs_have_the_names_that_figures_show():
    names = measured_names()
    assert (names["jpeg"], names["webp"], names["vtm"]) == ("JPEG", "WebP", "VTM")
    assert len(names) == sum(bool(system.measured) for system in SYSTEMS)
    assert {parse_codec(label).name for label in names} <= CODECS.keys()
