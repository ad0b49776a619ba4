"""The paper's figures: plotted is what the csv beside them has, captions name their sources."""

import csv
from io import StringIO

import numpy as np
import pytest

from benchmark.compare.realism_sweep import PlotAtRate, realism_sweeps
from benchmark.metrics.metric import MapScale
from benchmark.rows.means import summarise
from benchmark.show.figures.picture_sheet import RATE, PictureTile, Quantity, add_bar, draw_pictures
from benchmark.show.figures.realism import draw_realism_plots
from benchmark.show.figures.style import WIDTHS, use_look
from benchmark.show.table import Table, csv_text, latex
from support.figures.published import (
    FID,
    KODAK,
    LPIPS,
    MS_SSIM,
    PSNR,
    STYLES,
    clic_plots,
    drawn,
    kodak_rows,
    panel,
)
from support.figures.text_boxes import words_in
from support.rows.measured import row, table


def draw_all(panels, dataset, anchor):
    with use_look(every_curve=True):
        return drawn(panels, STYLES, dataset, anchor, groups=True)


@pytest.fixture(scope="module")
def clic():
    panels = [panel(metric, "clic2020", None, 0.8) for metric in (PSNR, FID)]
    return draw_all(panels, "CLIC2020 test", "msillm")


@pytest.fixture(scope="module")
def kodak():
    rows = kodak_rows("jpeg") + kodak_rows("vtm", recorded=True)
    rows += kodak_rows("ours", variant="beta=0")
    rows += kodak_rows("ours", variant="beta=3.84", caveat="a trial")
    summary = summarise(table(rows))
    panels = [panel(metric, "kodak", summary, 1.3) for metric in (PSNR, MS_SSIM, LPIPS)]
    return draw_all(panels, "Kodak", "vtm")


@pytest.fixture(scope="module")
def realism_plot():
    plots = clic_plots((0.093, 0.323))
    return draw_realism_plots(plots, PSNR, FID, STYLES, "CLIC2020 test", "428 images")


def curves_of(axes):
    return {line.get_label(): line for line in axes.get_lines() if line.get_label()[0] != "_"}


def plain(name):
    name = name.partition(", ")[0] if " to " in name else name  # the ends of a sweep
    return name.rstrip("*").removesuffix(" (published)")


def draw_betas(metrics, **columns):
    rows = [
        row("ours", q, image, variant=f"beta={beta}", setting_name="q", num_bytes=900 * 2**q,
            psnr_db=31 + 4 * q - beta / 4, lpips_alex=0.2 / (1 + q + beta), **columns)
        for beta in (0, 1.28, 3.84) for q in (0, 1) for image in KODAK
    ]  # fmt: skip
    summary = summarise(table(rows))
    curves = [curve for metric in metrics for curve in panel(metric, "kodak", summary, 2.0)]
    plot = PlotAtRate(0.9, tuple(realism_sweeps(curves, metrics, summary, 0.9)))
    return plot, draw_realism_plots([plot], *metrics, STYLES, "Kodak", "24 images")


@pytest.mark.parametrize("figure", ["clic", "kodak", "realism_plot"])
def test_figures_are_drawn_where_their_csv_says_and_details_name_every_source(figure, request):
    drawing = request.getfixturevalue(figure)
    records = list(csv.DictReader(StringIO(csv_text(drawing.records), newline="")))
    of_panel, x, y = ("metric", "bpp", "drawn")
    if figure == "realism_plot":
        of_panel, x, y = ("target_bpp", "distortion", "realism")
    names = list(dict.fromkeys(record[of_panel] for record in records))
    for axes, name in zip(drawing.figure.axes, names, strict=True):
        plotted = {
            (plain(label), line.get_markerfacecolor() != "white"): [
                *zip(*line.get_data(), strict=True)
            ]
            for label, line in curves_of(axes).items()
        }
        stored: dict[tuple[str, bool], list[tuple[float, float]]] = {}
        for record in records:
            if record[of_panel] == name:
                key = record["system"], record["measured"] == "True"
                stored.setdefault(key, []).append((float(record[x]), float(record[y])))
        assert plotted == stored
    assert f"({24 if figure == 'kodak' else 428} images)" in drawing.caption
    assert len(drawing.caption.split()) <= 60
    details = " ".join(cell for cells in drawing.sources.rows for cell in cells)
    for record in records:
        texts = [record[key] for key in record if key.rpartition("_")[2] in ("source", "protocol")]
        assert all(text in details for text in texts if text != "coding/1")
        assert record["system"] in details
    assert drawing.figure.get_size_inches()[0] == WIDTHS["page"]
    assert all(axes.bbox.height / drawing.figure.dpi > 1.5 for axes in drawing.figure.axes)


def test_better_realism_is_upwards_and_the_legend_has_the_ends_of_sweeps(realism_plot):
    for axes in realism_plot.figure.axes:
        assert axes.get_ylim()[0] > axes.get_ylim()[1]
        assert "CRDR (published), β=0 to β=3.84" in curves_of(axes)


def test_pictures_are_shown_as_they_are_with_their_numbers_under_them():
    chance = np.random.default_rng(3)
    pictures = [chance.integers(0, 255, (8, 12, 3), dtype=np.uint8) for _ in range(3)]
    lpips = Quantity("LPIPS (AlexNet)", "LPIPS")
    values = {RATE: 0.2541, Quantity("PSNR (dB)", "PSNR", "dB", 2): 31.456, lpips: None}
    tiles = [
        PictureTile("Source", pictures[0], {}, {}, (1, 2, 4, 3)),
        PictureTile("One", pictures[1], values, {"system": "One", "bpp": 0.2541}),
        PictureTile("Two", pictures[2], {**values, lpips: 0.1234}, {"system": "Two"}),
    ]
    drawing = draw_pictures(tiles, 2, "a caption")
    images = [axes.get_images()[0] for axes in drawing.figure.axes]
    assert all(np.array_equal(a.get_array(), b) for a, b in zip(images, pictures, strict=True))
    assert {image.get_interpolation() for image in images} == {"nearest"}
    words = [text.get_text() for text in drawing.figure.texts]
    assert words == ["Source", "One", "0.254 bpp, PSNR 31.46 dB", "Two",
                     "0.254 bpp, PSNR 31.46 dB, LPIPS 0.123"]  # fmt: skip
    assert [record["system"] for record in drawing.records] == ["One", "Two"]
    assert {frame.get_bbox().bounds for frame in drawing.figure.axes[0].patches} == {(1, 2, 4, 3)}
    assert r"One & 0.2541 & 31.46 & -- \\" in latex(drawing.table)


def test_a_colour_bar_is_added_below_pictures_that_keep_their_size():
    tile = PictureTile("One", np.zeros((8, 12, 3), np.uint8), {RATE: 0.2541}, {})
    figure = draw_pictures([tile, tile], 2, "").figure
    pixels_before = np.array([axes.get_window_extent().size for axes in figure.axes])
    add_bar(figure, MapScale(1.0, "Error"), 0.5)
    *pictures, bar = figure.axes
    pixels = np.array([axes.get_window_extent().size for axes in pictures])
    assert pixels == pytest.approx(pixels_before)
    assert bar.get_position().y1 < min(axes.get_position().y0 for axes in pictures)


def test_a_network_with_a_caveat_carries_it_in_every_figure_and_its_caption():
    caveat = "reduced network, trained for an hour on a CPU"
    plot, drawing = draw_betas((PSNR, LPIPS), caveat=caveat, timing=True)
    keys = [sweep.key for sweep in plot.sweeps]
    assert [key for key in keys if key[0] == "CRDR"] == [("CRDR", True), ("CRDR", False)]
    assert caveat in words_in(drawing.figure)
    assert caveat in drawing.caption


def test_realism_is_better_upwards_where_higher_values_are_better():
    _, drawing = draw_betas((LPIPS, MS_SSIM))
    (axes,) = drawing.figure.axes
    assert (np.diff(axes.get_ylim())[0] > 0, axes.get_yscale()) == (True, "linear")
    assert " left" in drawing.caption


def test_greek_letters_are_commands_in_latex(clic):
    text = latex(clic.table)
    assert r"CRDR $\beta$=3.84 & published & 17" in text
    assert not {"β", "α"} & set(text)
    first_line = latex(Table(("system",), (("\u5909分 \u0434 é",),), 1)).splitlines()[0]
    needed = "LuaLaTeX or XeLaTeX with a font that has \u0434 分 \u5909"
    assert first_line.endswith(f"booktabs}}, and {needed}")
    assert text.splitlines()[0].endswith("booktabs}")
