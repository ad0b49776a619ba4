"""Who is seen first in the overview, and that nobody is taken for another."""

from itertools import combinations

import numpy as np
import pytest

from benchmark.analysis.comparison import compare
from benchmark.analysis.rate_distortion import bd_rate
from benchmark.analysis.summarise import summarise
from benchmark.analysis.systems import FIELD_SYSTEMS, PAPER_SYSTEMS, SYSTEMS
from benchmark.figures.bd_table import bd_overview
from benchmark.figures.contrast import lightness
from benchmark.figures.emphasis import overview
from benchmark.figures.rate_curve import draw_rate_curves
from benchmark.figures.style import CONTEXT_GREY, styles
from benchmark.metrics.measure import Measure
from benchmark.published.curves import measured_panel
from support.figures.colour_vision import VISIONS, distance
from support.figures.text_boxes import words_in
from support.rows.measured import row, table

PSNR = Measure.named("psnr")
GAINS = {  # in dB at equal rate over JPEG
    "jpeg:optimize=1": 0.0, "webp": 1.0, "jpeg2000": 1.2, "avif": 3.0, "jpegxl": 2.0, "x265": 3.5,
    "vvenc": 4.0, "vtm": 4.5, "ours:beta=0": 2.5, "ours:beta=3.84": 2.2, "ours:beta=1.28": 2.4,
    "compressai:model=mbt2018": 3.3, "compressai:model=mbt2018-mean": 3.1,
}  # fmt: skip
LEAST_DISTANCE = 12.0  # five just noticeable differences


def summary_of(gains):
    rows = []
    for label, gain in gains.items():
        codec, _, variant = label.partition(":")
        rows += [
            row(codec, step, image, variant=variant, num_bytes=int(100 * 2**step),
                psnr_db=25 + 3 * step + gain)
            for step in range(6) for image in "abc"
        ]  # fmt: skip
    return summarise(table(rows))


def panel_of(gains):
    return measured_panel(summary_of(gains), PSNR)


def test_own_codec_jpeg_and_the_strongest_of_each_sort_are_in_colour():
    cast = overview([panel_of(GAINS)], "jpeg:optimize=1", 8)
    coloured = {name for name, role in cast.roles.items() if role != "context"}
    assert coloured == {"ours beta=3.84", "ours beta=0", "jpeg optimize=1", "vtm", "mbt2018"}
    assert [name for name, role in cast.roles.items() if role == "own"] == ["ours beta=3.84"]
    assert len(cast.roles) == 8
    said = " ".join(cast.sentences)
    assert "the strongest standard codec is vtm and the strongest learned codec is mbt2018" in said
    assert "by BD-rate in PSNR (dB) against jpeg optimize=1" in said
    assert "Left out here, but drawn in the figures of single metrics:" in said


def test_strength_is_the_bd_rate_and_not_the_place_in_the_table():
    changed = GAINS | {"webp": 6.0}
    panel = panel_of(changed)
    cast = overview([panel], "jpeg:optimize=1", 8)
    curves = {curve.system.label: curve.rates(PSNR) for curve in panel.curves}
    deltas = {
        label: bd_rate(curves["jpeg:optimize=1"], curves[label]).value
        for label in ("webp", "vtm", "vvenc")
    }
    assert min(deltas, key=deltas.__getitem__) == "webp"
    assert cast.roles["webp"] == "usual"
    assert cast.roles.get("vtm") == "context"


def test_a_variant_with_more_options_does_not_displace_the_default_encoder():
    searched = overview([panel_of(GAINS | {"ours:beta=0:effort=2": 3.2})], "jpeg:optimize=1", 8)
    own = [name for name, role in searched.roles.items() if "ours" in name and role != "context"]
    assert own == ["ours beta=3.84", "ours beta=0", "ours beta=0 effort=2"]


def test_a_codec_of_the_users_own_is_never_left_out():
    cast = overview([panel_of(GAINS | {"folder:path=/x/mine": -3.0})], "jpeg:optimize=1", 8)
    assert cast.roles["folder path=mine"] == "own"


def test_few_curves_are_all_in_colour():
    few = dict(list(GAINS.items())[:5])
    assert set(overview([panel_of(few)], "jpeg:optimize=1", 8).roles.values()) == {"usual"}


def test_the_overview_draws_eight_curves_and_its_caption_names_the_others():
    summary = summary_of(GAINS)
    panel = measured_panel(summary, PSNR)
    drawing = draw_rate_curves(summary, [panel], styles(summary.labels), "set",
                               overview_against="jpeg:optimize=1")  # fmt: skip
    (axes,) = drawing.figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == 8
    heavy = max(lines.values(), key=lambda line: line.get_linewidth() + line.get_zorder())
    assert heavy.get_label() == "ours beta=3.84"
    absent = {curve.name for curve in panel.curves} - lines.keys()
    assert absent
    assert all(name in drawing.caption for name in absent)
    grey = [one for one in lines.values() if one.get_color() == CONTEXT_GREY]
    assert len(grey) == 3
    assert all(one.get_linewidth() < heavy.get_linewidth() / 2 for one in grey)


def test_a_metric_in_the_training_loss_is_marked_at_the_codec_and_another_is_not():
    summary = summary_of({"ours:beta=3.84": 0, "vtm": 1})

    def words(measure):
        panel = measured_panel(summary, measure)
        drawing = draw_rate_curves(summary, [panel], styles(summary.labels), "set")
        return words_in(drawing.figure), drawing.caption

    drawn, caption = words(PSNR)
    assert "ours beta=3.84§" in drawn
    assert "vtm§" not in drawn
    assert "§ PSNR (dB) is in the training loss." in drawn
    assert "§ In the training loss: PSNR (dB) of ours." in caption
    assert "§" not in "".join(words(Measure.named("ms_ssim")))
    assert "ours beta=3.84§" in words(Measure.named("lpips"))[0]


def test_the_table_of_bd_rates_marks_a_metric_in_the_training_loss():
    found = summary_of({"jpeg": 0, "ours:beta=3.84": 1, "vtm": 2})
    table_of = bd_overview(compare(found, PSNR, "jpeg"), [PSNR], "jpeg")
    cells = {label: cell for label, of, cell in table_of.rows if of == "mean curves"}
    assert cells["ours:beta=3.84"].partition(" ")[0].endswith("§")
    assert cells.keys() == {"ours:beta=3.84", "vtm"}
    assert "§" not in cells["vtm"]
    assert table_of.notes[-1] == "§ The metric is in the codec's training loss."


def test_variants_have_the_strongest_shade_that_a_marker_leaves_free_each_another():
    own = ["ours:beta=3.84", "ours:beta=0", "ours:beta=1.28", "ours:beta=2.56"]
    matched = ["hyperprior:weights=matched", "hyperprior:weights=matched-whole"]
    others = "jpeg:optimize=1", "jpegli", "mozjpeg", "webp", "jpeg2000", "jpeg2000:control=psnr"
    found = styles([*own, *matched, *others, "avif", "jpegxl", "bpg", "x265", "vvenc", "vtm"])
    shades = [lightness(found[label].colour) for label in own]
    assert shades == sorted(set(shades))
    assert shades[1] - shades[0] < 16  # the first of three steps towards white
    assert found[matched[0]].colour != found[matched[1]].colour


@pytest.mark.parametrize("vision", VISIONS)
def test_no_two_systems_of_a_figure_look_alike_to_any_reader(vision):
    every = [[one.label for one in SYSTEMS]] if vision != "greyscale" else []  # 45 are too many
    here = [*GAINS, "jpeg", "ours:beta=2.56", "hyperprior:weights=matched"]
    drawn = [[one.label for one in systems] for systems in (PAPER_SYSTEMS, FIELD_SYSTEMS)]
    for labels in (*drawn, here, *every):
        found = styles(labels)
        alike = [
            (one, other)
            for one, other in combinations(found, 2)
            if distance(found[one].colour, found[other].colour, vision) < LEAST_DISTANCE
            and found[one].marker == found[other].marker
        ]
        assert alike == []


@pytest.mark.parametrize("vision", [one for one in VISIONS if one != "greyscale"])
def test_own_curves_are_told_by_colour_alone_from_others_in_the_overview(vision):
    found = styles(GAINS)
    own = found["ours:beta=3.84"].colour
    others = [found[one].colour for one in ("jpeg:optimize=1", "vtm", "compressai:model=mbt2018")]
    assert all(distance(own, one, vision) >= LEAST_DISTANCE for one in [*others, CONTEXT_GREY])


def test_distances_of_colours_are_those_of_the_standard():
    # CIE: white and black are 100 apart; sRGB's red is at L 53.24, a 80.09, b 67.20
    assert distance("#ffffff", "#000000", "usual") == pytest.approx(100, rel=1e-6)
    assert np.linalg.norm([53.24, 80.09, 67.20]) == pytest.approx(
        distance("#ff0000", "#000000", "usual"), rel=1e-3
    )
