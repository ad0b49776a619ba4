"""Every figure of every command: no text leaves the canvas, overlaps another or is too small."""

from functools import cache

import numpy as np
import pytest

from benchmark.compare.experiment import Experiment
from benchmark.rows.means import summarise
from benchmark.show.figures.picture_sheet import RATE, PictureTile, Quantity, draw_pictures
from benchmark.show.figures.realism import draw_realism_plots
from benchmark.show.figures.style import FONTS, WIDTHS, figure_style, use_look
from benchmark.show.paper.crdr_figures import draw_crdr
from benchmark.show.paper.own_figures import FIGURES as VERBS
from support.figures.published import (
    FID,
    KODAK,
    LPIPS,
    MS_SSIM,
    PSNR,
    RESULTS,
    STYLES,
    clic_plots,
    drawn,
    overlaid,
    panel,
)
from support.figures.text_boxes import crowding, shown_texts, words_in
from support.quick import quick
from support.rows.measured import row, table

LONG = "reduced network, trained on a CPU for as many crops as the whole of this project has"
FOURTEEN = [
    "ours:beta=0", "ours:beta=1.28", "ours:beta=2.56", "ours:beta=3.84", "jpeg:optimize=1", "webp",
    "jpeg2000", "avif:speed=6", "jpegxl", "x265", "vvenc", "vtm",
    "compressai:model=bmshj2018-hyperprior:weights=matched",
    "folder:path=/a_closed_system_with_a_name_as_long_as_a_line",
]  # fmt: skip
MIN_POINTS = 7.0


@cache
def fourteen(timing=False):
    """Rows of fourteen codecs whose curves lie as close to each other as in life."""
    rows = []
    for place, label in enumerate(FOURTEEN):
        codec, _, variant = label.partition(":")
        caveat = LONG if place % 4 == 0 else "another caveat" if place == 12 else ""
        for step, rate in enumerate(np.geomspace(60, 1200, 6)):
            quality = 22 + 3 * step + place / 4
            rows += [
                row(
                    codec, step, image, variant=variant, num_bytes=int(rate * (1 + place / 30)),
                    psnr_db=quality, ms_ssim=1 - 10 ** (-quality / 25), caveat=caveat,
                    lpips_alex=0.6 * 0.6**step * (1 - place / 40), timing=timing,
                    timed=f"what the program {codec} does from start to end, files included",
                    recorded=place % 3 == 0 and not timing,
                    encode_seconds=0.01 * (place + 1) ** 2,
                )
                for image in KODAK
            ]  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def summary():
    return summarise(table(fourteen()))


def draw(summary, measures, published="", dataset="kodak", anchor="", **look):
    names = published.split(",") if published else []
    panels, curve_styles = overlaid(summary, names, measures, "kodak", mix=True)
    with use_look(**look):
        return drawn(panels, curve_styles, dataset, anchor)


def draw_paper(summary, dataset, metrics):
    panels = [panel(metric, dataset, summary, 1.3) for metric in metrics]
    with use_look(every_curve=True):
        return drawn(panels, STYLES, dataset, "vtm", groups=True)


def draw_plane(summary):
    plots = clic_plots((0.093, 0.143, 0.323))
    return draw_realism_plots(plots, PSNR, FID, STYLES, "CLIC2020 test", "428 images")


def draw_tiles(summary):
    values = {
        RATE: 0.2541, Quantity("PSNR (dB)", "PSNR", "dB", 2): 31.4567,
        Quantity("PSNR of luma (dB)", "PSNR of luma", "dB", 2): 32.1,
        Quantity("LPIPS (AlexNet)", "LPIPS"): 0.1234,
        Quantity("LPIPS (SqueezeNet)", "LPIPS"): 0.1234, Quantity("MS-SSIM", "MS-SSIM"): 0.98,
    }  # fmt: skip
    pixels = np.zeros((40, 30, 3), np.uint8)
    names = [f"A system with a long name, number {n}" for n in range(7)]
    return draw_pictures([PictureTile(name, pixels, values, {}) for name in names], 4, "")


FIGURES = {
    "one metric": lambda s: draw(s, [PSNR]),
    "one metric, better when lower": lambda s: draw(s, [LPIPS]),
    "one metric, linear rates": lambda s: draw(s, [MS_SSIM], linear_rate=True),
    "all curves": lambda s: draw(s, [PSNR], every_curve=True),
    "all curves of three metrics": lambda s: draw(s, [PSNR, MS_SSIM, LPIPS], every_curve=True),
    "overview": lambda s: draw(s, [PSNR, MS_SSIM, LPIPS], anchor="jpeg:optimize=1"),
    "many published": lambda s: draw(s, [PSNR], "hific,multi-realism,dirac-1,elic,vtm,jpeg,hm"),
    "many published, two metrics": lambda s: draw(s, [PSNR, MS_SSIM], "hific,elic,vtm,jpeg,bpg"),
    "long name of a dataset": lambda s: draw(s, [PSNR], dataset="a_folder_of_photographs_" * 4),
    "paper, Kodak": lambda s: draw_paper(s, "kodak", (PSNR, MS_SSIM, LPIPS)),
    "paper, CLIC2020": lambda s: draw_paper(None, "clic2020", (PSNR, FID)),
    "realism plots": draw_plane,
    "pictures": draw_tiles,
}

USUAL = "overview", "many published", "paper, Kodak", "realism plots", "pictures"


@pytest.mark.parametrize("font", quick(FONTS, "sans"))
@pytest.mark.parametrize("name", quick(FIGURES, *USUAL))
def test_no_text_of_a_figure_leaves_it_or_overlaps_another(name, font, summary):
    with use_look(font=font), figure_style():
        figure = FIGURES[name](summary).figure
        assert crowding(figure) == []
        assert min(text.get_fontsize() for text in shown_texts(figure)) >= MIN_POINTS
        plots = [axes for axes in figure.axes if axes.get_xlabel()]
        assert all(axes.bbox.height / figure.dpi > 0.9 for axes in plots)


@pytest.mark.parametrize("width", quick(WIDTHS, "column"))
@pytest.mark.parametrize("verb", ["rd", "bd", "complexity", "realism"])
def test_no_text_of_a_figure_of_a_verb_leaves_it_or_overlaps_another(verb, width):
    with use_look(width=width):
        figure = VERBS[verb](Experiment(RESULTS)).drawing.figure
        assert figure.get_size_inches()[0] == WIDTHS[width]
        assert crowding(figure) == []
        assert ("Lines are 95 % intervals" in words_in(figure)) == (verb == "bd")


def test_a_name_beside_a_point_lies_on_no_axis():
    experiment = Experiment(RESULTS, codecs="ours,avif,vtm,jpeg,jpegxl")
    figure = VERBS["complexity"](experiment).drawing.figure
    lowest = [min(text.get_window_extent().y0 for text in axes.texts) for axes in figure.axes]
    assert all(y >= axes.bbox.y0 for y, axes in zip(lowest, figure.axes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("every_curve", [False, True])
def test_no_text_of_the_papers_figures_leaves_them_or_overlaps_another(every_curve):
    with use_look(every_curve=every_curve):
        figures = draw_crdr(Experiment(RESULTS), "all")
        drawings = [figure.drawing for _, figure in figures if figure.drawing]
    assert [crowding(drawing.figure) for drawing in drawings] == [[], [], []]
    assert all(len(drawing.caption.split()) <= 60 for drawing in drawings)
