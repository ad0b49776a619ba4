"""Who is seen first in the overview, and that nobody is taken for another.

Colours as readers with a colour deficiency see them are by the matrices for severity 1.0 of
G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of
Color Vision Deficiency", IEEE TVCG 15(6), 2009; for linear RGB.
"""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.compare.curve import measured_curves
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import CATALOGUE, PAPER_EDITIONS, Edition, label_of
from benchmark.rows.means import summarise
from benchmark.show.figures import style
from benchmark.show.figures.choice import pick_curves
from benchmark.show.figures.style import use_look
from benchmark.spec import parse_codec
from support.figures.published import drawn
from support.rows.measured import row, table

Values = NDArray[np.float64]

LUMINANCE = (0.2126, 0.7152, 0.0722)
VISIONS: dict[str, Values] = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
    "greyscale": np.array([LUMINANCE] * 3),
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip


def seen(colour: str, vision: str) -> Values:
    """Return the CIELAB coordinates of "#rrggbb" as it is seen; white is that of sRGB, D65."""
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISIONS[vision] @ linear, 0, 1) / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(first: str, second: str, vision: str) -> float:
    """Return the CIE 1976 distance of two colours; 2.3 is just noticeable side by side."""
    return float(np.linalg.norm(seen(first, vision) - seen(second, vision)))


PSNR = Metric.named("psnr")
GAINS = {  # in dB at equal rate over JPEG
    "jpeg:optimize=1": 0.0, "webp": 1.0, "jpeg2000": 1.2, "avif": 3.0, "jpegxl": 2.0, "x265": 3.5,
    "vvenc": 4.0, "vtm": 4.5, "ours:beta=0": 2.5, "ours:beta=3.84": 2.2, "ours:beta=1.28": 2.4,
    "compressai:model=mbt2018": 3.3, "compressai:model=mbt2018-mean": 3.1,
}  # fmt: skip
MIN_DISTANCE = 12.0  # five just noticeable differences


def styles(labels):
    known = {label_of(edition.spec): edition for edition in CATALOGUE}
    editions = {label: known.get(label) or Edition.create(parse_codec(label)) for label in labels}
    result = style.styles(editions.values())
    return {label: result[edition.spec] for label, edition in editions.items()}


def summary_of(gains):
    rows = []
    for label, gain in gains.items():
        spec = parse_codec(label)
        rows += [
            row(spec.name, step, image, variant=spec.variant, num_bytes=int(100 * 2**step),
                psnr_db=25 + 3 * step + gain)
            for step in range(6) for image in "abc"
        ]  # fmt: skip
    return summarise(table(rows))


def panel_of(gains):
    return measured_curves(summary_of(gains), PSNR)


def names_of(gains, limit=8, codecs=()):
    anchor = parse_codec("jpeg:optimize=1")
    with use_look(every_curve=limit is None):
        return list(pick_curves([panel_of(gains)], USUAL_RULE, anchor, codecs).curves)


def test_eight_curves_are_own_ones_the_anchor_and_the_best_of_each_family():
    names = names_of(GAINS)
    assert len(names) == 8
    assert {"CRDR β=3.84", "CRDR β=0", "JPEG (optimised)", "VTM"} <= set(names)
    assert {"Joint autoregressive", "VVenC fast 4:2:0"} <= set(names)
    panel = panel_of(GAINS)
    assert names == [curve.name for curve in panel if curve.name in names]
    assert names_of(GAINS, None) == [curve.name for curve in panel]
    assert len(names_of(dict(list(GAINS.items())[:8]))) == 8


def test_the_codecs_that_were_named_are_the_ones_that_are_drawn():
    assert names_of(GAINS, 8, ("jpeg2000", "webp")) == ["JPEG (optimised)", "WebP", "JPEG 2000"]
    # a bare name is its default variants; a label is itself
    anchor = "JPEG (optimised)"
    assert {*names_of(GAINS, 8, ("ours",))} == {"CRDR β=0", "CRDR β=3.84", anchor}
    assert {*names_of(GAINS, 8, ("ours:beta=1.28",))} == {"CRDR β=1.28", anchor}
    names = names_of(GAINS | {"./mine.py:Mine:level=3": 1.0}, 8, ("./mine.py:Mine:level=3", "vtm"))
    assert {*names} == {"VTM", "Mine (level 3)", anchor}


def test_strength_is_the_bd_rate_and_not_the_place_in_the_table():
    assert "WebP" in names_of(GAINS | {"webp": 6.0})
    assert "WebP" not in names_of(GAINS)


def test_what_the_user_brought_comes_before_this_projects_method():
    names = names_of(GAINS | {"folder:path=/x/mine": -3.0})
    assert {"folder (path mine)", "JPEG (optimised)"} <= set(names)
    assert "CRDR β=3.84" not in names, "the weaker variant of a family that is there"


def test_second_variants_of_a_family_come_after_the_first_of_the_others():
    assert "CRDR β=0 (effort 2)" not in names_of(GAINS | {"ours:beta=0:effort=2": 3.2})
    betas = (0, 3.84, 0.64, 1.28, 1.92, 2.56, 3.2)
    few = {"jpeg:optimize=1": 1.0, "vtm": 1.0} | {f"ours:beta={beta}": beta for beta in betas}
    assert {"VTM", "CRDR β=0", "CRDR β=3.84"} <= set(names_of(few))


def test_a_figure_has_eight_curves_and_its_caption_counts_the_others():
    summary = summary_of(GAINS)
    panel = measured_curves(summary, PSNR)
    curve_styles = style.styles(summary.editions)
    drawing = drawn([panel], curve_styles, anchor="jpeg:optimize=1")
    (axes,) = drawing.figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == 8
    widths = {name: line.get_linewidth() for name, line in lines.items()}
    heavy = {name for name, width in widths.items() if width == max(widths.values())}
    assert heavy == {name for name in lines if name.startswith("CRDR")}
    assert f"8 of {len(GAINS)} curves." in drawing.caption
    with use_look(every_curve=True):
        full_drawing = drawn([panel], curve_styles, anchor="jpeg:optimize=1")
    assert len(full_drawing.figure.axes[0].get_lines()) == len(GAINS)
    assert "curves." not in full_drawing.caption


def test_the_sources_name_metrics_that_are_in_a_training_loss():
    summary = summary_of({"ours:beta=3.84": 0, "vtm": 1})
    sources = drawn([measured_curves(summary, PSNR)], style.styles(summary.editions)).sources
    place = sources.headers.index("trained on")
    losses = {cells[0]: cells[place] for cells in sources.rows}
    assert losses == {"CRDR β=3.84": "psnr_db, lpips_alex", "VTM": ""}


def test_variants_have_the_colour_of_their_codec_and_dash_and_marker_of_their_own():
    labels = [f"ours:beta={beta}" for beta in ("3.84", "0", "1.28", "2.56")]
    first, *others = styles(labels).values()
    assert len({first.marker, *(look.marker for look in others)}) == 4
    assert {look.colour for look in others} == {first.colour}
    assert first.dashes == (), "the codec's own line is whole"
    assert len({first.dashes, *(look.dashes for look in others[:2])}) == 3


def test_a_codec_looks_the_same_whatever_else_is_shown():
    levels = ("", ":level=3", ":level=6")
    user_labels = [f"{name}.py:Mine{level}" for name in "ab" for level in levels]
    labels = [*user_labels, *GAINS, "pqmim:perceptual=1", "worker:x"]
    labels += ["compressai:metric=ms-ssim:model=bmshj2018-hyperprior", "vvenc:preset=slow"]
    labels += ["avif:speed=2", "dirac:steps=1", "dirac:steps=100", "hyperprior:weights=matched"]
    labels += ["multirealism:beta=0", "multirealism:beta=2.56", "pqmim"]
    ours = [f"ours:beta={beta}:size=micro" for beta in ("0", "1.28", "2.56", "3.84")]
    ours += [f"ours:beta={variant}" for variant in ("0.64", "2.56", "0:effort=1", "0:effort=2")]
    labels += ours
    together = styles(labels)
    assert len({*together.values()}) == len(labels)
    assert len({together[label].marker for label in ours}) == len(ours)
    # Beside a.py's, the first of the user's; which variants are shown changes the dash alone.
    others = [label for label in labels if not label.startswith(("b.py", "worker:"))]
    alone = {label: styles([label])[label] for label in others}
    assert alone == {label: together[label]._replace(dashes=()) for label in others}
    black = {label for label in labels if together[label].colour == "#000000"}
    assert black == {label for label in user_labels if label.startswith("a.py")}
    assert styles(["b.py:Mine"])["b.py:Mine"].colour == "#000000"
    assert [label for label in labels if together[label].marker == "*"] == ["ours:beta=3.84"]
    pair = ["jpeg:subsampling=444", "vvenc:preset=slow"]
    assert {label: styles([label])[label] for label in pair} == styles(pair)


@pytest.mark.parametrize("vision", VISIONS)
def test_the_colour_of_the_users_codec_is_taken_for_no_other(vision):
    colours = {*style.SPARE_COLOURS, *(edition.facts.colour for edition in CATALOGUE)} - {""}
    assert [c for c in colours if distance(c, style.USER_COLOUR, vision) < MIN_DISTANCE] == []


@pytest.mark.parametrize("vision", VISIONS)
def test_no_two_systems_of_a_figure_look_alike_to_any_reader(vision):
    gain_labels = [*GAINS, "jpeg", "ours:beta=2.56", "hyperprior:weights=matched"]
    editions = [PAPER_EDITIONS] if vision == "greyscale" else [PAPER_EDITIONS, CATALOGUE]
    for labels in (gain_labels, *([label_of(e.spec) for e in group] for group in editions)):
        for (name, first), (other_name, second) in combinations(styles(labels).items(), 2):
            if first[1:] == second[1:]:  # marker and line
                difference = distance(first.colour, second.colour, vision)
                assert difference >= MIN_DISTANCE, (name, other_name)


def test_a_users_codec_is_black_beside_published_systems():
    for published in ("dc-vic", "egic", "hm", "stablecodec"):
        assert styles(["mine.py:Mine", published])["mine.py:Mine"].colour == "#000000"
