"""The paper's figures: drawn is what the csv beside them says, captions name their sources."""

import csv
from io import StringIO
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmark.analysis.builds import realism_grid
from benchmark.analysis.summarise import summarise
from benchmark.analysis.systems import FIELD_SYSTEMS, GROUPED_SYSTEMS, measured_names, short_names
from benchmark.figures.complexity import draw_complexity
from benchmark.figures.labels import Label, place_labels
from benchmark.figures.paper_curve import draw_paper_curves
from benchmark.figures.pictures import PictureTile, draw_pictures
from benchmark.figures.realism import draw_realism_plots, draw_surface
from benchmark.figures.style import DOUBLE_COLUMN_INCHES, figure_style, file_bytes, styles
from benchmark.figures.table import csv_text, latex
from benchmark.metrics.measure import Measure
from benchmark.published.complexity import measured_block, parse_complexity, published_blocks
from benchmark.published.curves import measured_panel
from benchmark.published.paper_panel import field_panel, paper_panel
from benchmark.published.points import parse
from benchmark.published.realism_sweep import PlotAtRate, realism_sweeps
from support.figures.text_boxes import crowding, words_in
from support.rows.measured import row, table

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
POINTS = parse((PUBLISHED / "points.csv").read_text(encoding="utf-8"))
SECONDS = parse_complexity((PUBLISHED / "complexity.csv").read_text(encoding="utf-8"))
PSNR, MS_SSIM, LPIPS = (Measure.named(name) for name in ("psnr", "ms_ssim", "lpips"))
FID = Measure.named("fid256")
STYLES = styles([*(system.label for system in GROUPED_SYSTEMS), "jpeg", "webp"])
KODAK = [f"kodim{number:02}" for number in range(1, 25)]


def panel(measure, dataset, summary, up_to_bpp):
    return paper_panel(measure, dataset, measured_panel(summary, measure), POINTS, up_to_bpp)


def rows(codec, variant="", **columns):
    return [
        row(codec, q, image, variant=variant, num_bytes=120 * 2**q, **columns)
        for q in (0, 1, 2, 3)
        for image in KODAK
    ]


@pytest.fixture(scope="module")
def clic():
    panels = [panel(one, "clic2020", None, 0.8) for one in (PSNR, FID)]
    return draw_paper_curves(panels, STYLES, "CLIC2020 test", 428, "MS-ILLM")


@pytest.fixture(scope="module")
def kodak():
    mine = rows("jpeg") + rows("ours", "beta=0") + rows("ours", "beta=3.84", caveat="a trial")
    mine += rows("vtm", recorded=True)
    summary = summarise(table(mine))
    panels = [panel(one, "kodak", summary, 1.3) for one in (PSNR, MS_SSIM, LPIPS)]
    return draw_paper_curves(panels, STYLES, "Kodak", 24, "VTM")


@pytest.fixture(scope="module")
def long_names():
    mine = rows("ours", "beta=3.84", caveat="reduced network, trained on a CPU")
    mine += rows("ours", "beta=0", caveat="reduced network, trained on a CPU")
    trained = "model=bmshj2018-hyperprior:weights=matched"
    mine += rows("compressai", trained, caveat="reduced, trained by this project")
    summary = summarise(table(mine))
    panels = [panel(one, "kodak", summary, 1.3) for one in (PSNR, MS_SSIM, LPIPS)]
    return draw_paper_curves(panels, STYLES, "Kodak", 24, "VTM")


@pytest.fixture(scope="module")
def realism_plot():
    both = [panel(one, "clic2020", None, 2.0) for one in (PSNR, FID)]
    plots = [
        PlotAtRate(bpp, tuple(realism_sweeps(*both, None, POINTS, "clic2020", bpp)))
        for bpp in (0.093, 0.323)
    ]
    return draw_realism_plots(plots, PSNR, FID, STYLES, "CLIC2020 test", 428)


def as_read(drawing):
    """The csv as a reader of the file finds it."""
    return list(csv.DictReader(StringIO(csv_text(drawing.records), newline="")))


def curves_of(axes):
    return {line.get_label(): line for line in axes.get_lines() if line.get_label()[0] != "_"}


def places_of(line):
    return [*zip(*line.get_data(), strict=True)]


def plain(name):
    return name.rstrip("*").removesuffix(" (published)")


def boxes_apart(boxes):
    return all(not first.overlaps(second) for first, second in combinations(boxes, 2))


def test_the_field_has_networks_trained_here_and_names_those_without_numbers():
    mine = rows("elic") + rows("ours", "beta=0:size=micro") + rows("jpeg")
    here = field_panel(PSNR, "kodak", measured_panel(summarise(table(mine)), PSNR), 2.0)
    drawing = draw_paper_curves([here], STYLES, "Kodak", 24, "JPEG", FIELD_SYSTEMS)
    assert {one["system"] for one in drawing.records} == {"ELIC", "CRDR micro β=0", "JPEG"}
    (absent,) = [one for one in drawing.caption.splitlines() if one.startswith("Without numbers")]
    assert "IVR" in absent
    assert "MS-ILLM" not in absent  # never trained here


@pytest.mark.parametrize("figure", ["clic", "kodak"])
def test_curves_are_drawn_where_their_csv_says(figure, request):
    drawing = request.getfixturevalue(figure)
    records = as_read(drawing)
    metrics = list(dict.fromkeys(one["metric"] for one in records))
    assert len(metrics) == len(drawing.figure.axes)
    for axes, metric in zip(drawing.figure.axes, metrics, strict=True):
        drawn = {
            (plain(name), line.get_markerfacecolor() != "white"): places_of(line)
            for name, line in curves_of(axes).items()
        }
        told: dict[tuple[str, bool], list[tuple[float, float]]] = {}
        for one in records:
            if one["metric"] == metric:
                key = one["system"], one["measured"] == "True"
                told.setdefault(key, []).append((float(one["bpp"]), float(one["drawn"])))
        assert drawn == told


def test_saturating_metrics_are_in_decibels_in_figure_and_csv(kodak):
    one = next(r for r in as_read(kodak) if r["metric"] == "ms_ssim" and r["system"] == "HiFiC")
    assert float(one["drawn"]) == pytest.approx(-10 * np.log10(1 - float(one["value"])), abs=1e-12)


@pytest.mark.parametrize("figure", ["clic", "kodak", "realism_plot"])
def test_captions_name_count_and_protocol_and_source_of_every_curve(figure, request):
    drawing = request.getfixturevalue(figure)
    caption = drawing.caption
    assert f"means over {24 if figure == 'kodak' else 428} images" in caption
    for one in as_read(drawing):
        for name in ("source", "protocol"):
            found = [one[key] for key in one if key.rpartition("_")[2] == name]
            for text in found:
                if name == "protocol" or text:
                    assert text in caption or text == "coding/1", text
        assert one["system"] in caption


def test_digitised_numbers_have_their_reading_error_in_figure_and_words(clic):
    psnr, fid = clic.figure.axes
    assert "reading error of digitised numbers" in note_of(clic)
    ends = {tuple(np.round(segment, 9).ravel()) for bars in psnr.collections
            if hasattr(bars, "get_segments") for segment in bars.get_segments()}  # fmt: skip
    known = [p for p in POINTS if p.system == "DIRAC-1" and p.metric == "psnr_db"]
    (dirac,) = [p for p in known if p.dataset == "clic2020"]
    low, high = dirac.value - dirac.value_error, dirac.value + dirac.value_error
    assert tuple(np.round((dirac.bpp, low, dirac.bpp, high), 9)) in ends
    (band,) = [one for one in fid.collections if not hasattr(one, "get_segments")]  # VTM's line
    assert band.get_facecolor()[0][:3] == pytest.approx(colour(STYLES["vtm"].colour))


def colour(text):
    return tuple(int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))


def note_of(drawing):
    return " ".join(" ".join(text.get_text() for text in drawing.figure.texts).split())


def test_a_figure_of_mixed_protocols_says_so_itself(clic, kodak, realism_plot):
    assert all("Protocols mixed" in note_of(one) for one in (clic, kodak, realism_plot))


def test_measured_curves_are_filled_and_published_ones_are_open_and_labelled(kodak):
    psnr = curves_of(kodak.figure.axes[0])
    measured, published = psnr["CRDR β=3.84*"], psnr["CRDR β=3.84 (published)"]
    assert measured.get_markerfacecolor() == measured.get_color() == published.get_color()
    assert published.get_markerfacecolor() == "white"
    assert published.is_dashed()
    assert not measured.is_dashed()
    assert measured.get_marker() == published.get_marker()
    assert "JPEG" in psnr
    assert "* a trial" in note_of(kodak)
    assert "Measured and recorded (a pack, or bundled rows): VTM (1.0)." in kodak.caption


@pytest.mark.parametrize("figure", ["clic", "kodak", "long_names", "realism_plot"])
def test_legends_notes_and_axes_keep_apart_inside_the_figure(figure, request):
    figure = request.getfixturevalue(figure).figure
    assert figure.get_size_inches()[0] == DOUBLE_COLUMN_INCHES
    assert crowding(figure) == []
    with figure_style():
        figure.draw_without_rendering()
        renderer = figure._get_renderer()
        boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
        boxes += [text.get_window_extent(renderer) for text in figure.texts]
        boxes += [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert boxes_apart(boxes)
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert min(box.y0 for box in boxes) >= 0
    assert all(axes.bbox.height / figure.dpi > 1.5 for axes in figure.axes)


def test_a_system_has_one_style_in_every_figure(clic, kodak, realism_plot):
    seen: dict[str, set[tuple[str, str]]] = {}
    for drawing in (clic, kodak, realism_plot):
        for axes in drawing.figure.axes:
            for name, line in curves_of(axes).items():
                if line.get_marker() not in ("", "None"):
                    known = seen.setdefault(plain(name), set())
                    known.add((line.get_color(), line.get_marker()))
    assert {name for name, found in seen.items() if len(found) > 1} == set()


def test_the_realism_plot_is_drawn_where_its_csv_says(realism_plot):
    records = as_read(realism_plot)
    for axes, rate in zip(realism_plot.figure.axes, ("0.093", "0.323"), strict=True):
        drawn = {plain(name): places_of(line) for name, line in curves_of(axes).items()}
        told: dict[str, list[tuple[float, float]]] = {}
        for one in records:
            if one["target_bpp"] == rate:
                place = float(one["distortion"]), float(one["realism"])
                told.setdefault(one["system"], []).append(place)
        assert drawn == told
        assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_words_in_the_realism_plot_do_not_cover_each_other(realism_plot):
    with figure_style():
        realism_plot.figure.draw_without_rendering()
    for axes in realism_plot.figure.axes:
        assert axes.texts
        assert boxes_apart([text.get_window_extent() for text in axes.texts])


def test_a_label_goes_where_nothing_is():
    from matplotlib.figure import Figure

    axes = Figure(figsize=(3, 3)).subplots()
    axes.plot([0, 1], [0.5, 0.5])  # to both sides, where a label would go first
    axes.plot([0.5, 0.5], [0.5, 1])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axes, [Label("here", (0.5, 0.5), "black")] * 2)
    first, second = (text.get_window_extent() for text in axes.texts)
    across, up = axes.transData.transform((0.5, 0.5))
    for box in (first, second):
        assert not box.y0 < up < box.y1
        assert box.y1 < up or not box.x0 < across < box.x1
    assert not first.overlaps(second)


def test_the_lines_of_a_surface_are_the_grid():
    values = {0: ((31.0, 35.0), (0.16, 0.04)), 1.28: ((30.5, 34.5), (0.08, 0.02)),
              3.84: ((30.0, 34.0), (0.02, 0.005))}  # fmt: skip
    mine = [
        row("ours", q, image, variant=f"beta={beta:g}", setting_name="q", num_bytes=900 * 2**q,
            psnr_db=psnr[q], lpips_alex=lpips[q])
        for beta, (psnr, lpips) in values.items() for q in (0, 1) for image in KODAK
    ]  # fmt: skip
    drawing = draw_surface(realism_grid(summarise(table(mine)), PSNR, [LPIPS]), "Kodak")
    records = as_read(drawing)
    flat, _ = drawing.figure.axes
    for setting, line in curves_of(flat).items():
        told = [(float(r["psnr_db"]), float(r["lpips_alex"])) for r in records
                if r["setting"] == setting]  # fmt: skip
        assert places_of(line) == told
    assert len(curves_of(flat)) == 2
    (dots,) = (one.get_offsets() for one in flat.collections)
    told = [[float(r[name]) for name in ("psnr_db", "lpips_alex")] for r in records]
    assert np.array_equal(dots, np.array(told))
    assert "stands in for a distance between distributions" in drawing.caption
    assert "means over 24 images" in drawing.caption
    assert "psnr-rgb8/1, lpips-alex/0.1.4-2b566cc3" in drawing.caption


def block_of(timed, dataset):
    summary = summarise(table(timed))
    names = {**short_names(summary.labels), **measured_names()}
    return measured_block(summary, dataset, names)


def test_seconds_are_drawn_where_their_csv_says_in_units_of_their_own():
    timed = [
        row(codec, q, image, timing=True, encode_seconds=0.008 * q * slow, decode_seconds=0.004 * q)
        for codec, slow in (("jpeg", 1), ("webp", 20)) for q in (5, 40) for image in "abc"
    ]  # fmt: skip
    drawing = draw_complexity([block_of(timed, "set"), *published_blocks(SECONDS)])
    records = as_read(drawing)
    mine = {one["system"]: one for one in records if one["measured"] == "True"}
    # 100 x 80 pixels: .04 and .32 s are 5 and 40 s per megapixel
    assert float(mine["JPEG"]["encode_fastest"]) == pytest.approx(5)
    assert float(mine["JPEG"]["encode_slowest"]) == pytest.approx(40)
    assert float(mine["WebP"]["encode_slowest"]) == pytest.approx(800)
    left, right = drawing.figure.axes
    assert left.get_xlabel() == "Time (s/MP)"
    assert " ".join(right.get_xlabel().split()) == "Time (s per image of CLIC2020 test)"
    for axes, of in ((left, list(mine.values())), (right, records[len(mine) :])):
        names = [text.get_text() for text in axes.get_yticklabels()]
        assert names == [one["system"] for one in of]
        for marker, column in ((">", "encode_fastest"), ("<", "decode_fastest")):
            (marks,) = (line for line in axes.get_lines() if line.get_marker() == marker)
            assert marks.get_xdata() == pytest.approx([float(one[column]) for one in of])
    assert "SSCL (AAAI 2026), Table 2 of the paper" in drawing.caption
    assert "compare within one alone" in drawing.caption
    assert "set, 3 images, Some CPU, 2 cores" in drawing.caption
    decoders = [float(one["decode_fastest"]) for one in records[len(mine) :]]
    assert all(first <= second for first, second in pairwise(decoders))
    assert block_of(rows("jpeg"), "set") is None


def test_pictures_are_shown_as_they_are_with_their_numbers_under_them():
    chance = np.random.default_rng(3)
    pictures = [chance.integers(0, 255, (8, 12, 3), dtype=np.uint8) for _ in range(3)]
    values = {"Rate (bpp)": 0.2541, "PSNR (dB)": 31.456, "LPIPS (AlexNet)": None}
    tiles = [
        PictureTile("Source", pictures[0], {}, {}, (1, 2, 4)),
        PictureTile("One", pictures[1], values, {"system": "One", "bpp": 0.2541}),
        PictureTile("Two", pictures[2], {**values, "LPIPS (AlexNet)": 0.1234}, {"system": "Two"}),
    ]
    drawing = draw_pictures(tiles, 2, "a caption")
    shown = [axes.get_images()[0].get_array() for axes in drawing.figure.axes]
    assert all(np.array_equal(a, b) for a, b in zip(shown, pictures, strict=True))
    assert all(
        axes.get_images()[0].get_interpolation() == "nearest" for axes in drawing.figure.axes
    )
    words = [text.get_text() for text in drawing.figure.texts]
    assert words == ["Source", "One", "0.254 bpp, 31.46 dB", "Two", "0.254 bpp, 31.46 dB",
                     "LPIPS 0.1234"]  # fmt: skip
    assert [one["system"] for one in drawing.records] == ["One", "Two"]
    frames = drawing.figure.axes[0].patches
    assert {(one.get_x(), one.get_y(), one.get_width()) for one in frames} == {(1, 2, 4)}
    assert r"One & 0.2541 & 31.46 & -- \\" in latex(drawing.table, {})


def test_a_network_with_a_caveat_carries_it_in_every_figure_and_caption():
    caveat = "reduced network, trained for an hour on a CPU"
    mine = [
        row("ours", q, image, variant=f"beta={beta}", setting_name="q", num_bytes=900 * 2**q,
            psnr_db=31 + 4 * q - beta / 4, lpips_alex=0.2 / (1 + q + beta), caveat=caveat,
            timing=True)
        for beta in (0, 1.28, 3.84) for q in (0, 1) for image in KODAK
    ]  # fmt: skip
    summary = summarise(table(mine))
    both = [panel(one, "kodak", summary, 2.0) for one in (PSNR, LPIPS)]
    sweeps = realism_sweeps(*both, summary, POINTS, "kodak", 0.9)
    for drawing in (
        draw_surface(realism_grid(summary, PSNR, [LPIPS]), "Kodak"),
        draw_realism_plots([PlotAtRate(0.9, tuple(sweeps))], PSNR, LPIPS, STYLES, "Kodak", 24),
        draw_complexity([block_of(mine, "kodak")]),
    ):
        assert caveat in words_in(drawing.figure)
        assert caveat in drawing.caption
    tile = PictureTile(
        "CRDR", np.zeros((8, 8, 3), np.uint8), {"Rate (bpp)": 0.1}, {}, None, (caveat,)
    )
    assert caveat in words_in(draw_pictures([tile], 4, "").figure)


def test_greek_letters_are_commands_in_latex(clic):
    text = latex(clic.table, {})
    assert r"CRDR $\beta$=3.84 & published & 17" in text
    assert text.isascii() or not {"β", "α"} & set(text)


def test_files_have_no_dates_and_fonts_that_are_embedded(realism_plot):
    pdf = file_bytes(realism_plot.figure, "pdf")
    assert b"/Type3" not in pdf
    assert pdf == file_bytes(realism_plot.figure, "pdf")
