import csv
import io
import re
import zlib

import numpy as np
import pytest
from matplotlib.artist import Artist
from PIL import Image

from benchmark.compare.curve import measured_curves
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, parse_spec
from benchmark.rows.means import summarise
from benchmark.show.figures.style import DOTS_PER_INCH, FONTS, WIDTHS, families, styles, use_look
from benchmark.show.figures.texts import file_bytes
from benchmark.show.means_table import means_table
from benchmark.show.sections import points_left_out
from benchmark.show.table import Table, csv_text, escape_latex, latex, markdown, plain
from support.figures.published import drawn
from support.figures.text_boxes import crowding, words_in
from support.rows.measured import failed, row, sweep, table

PSNR = Metric.named("psnr")
LPIPS = Metric("lpips_alex", "LPIPS", "lower")
MS_SSIM = Metric("ms_ssim", "MS-SSIM", "higher", "saturating")
TWELVE = [
    "jpeg", "jpeg:subsampling=444", "webp", "jpeg2000", "avif", "jpegxl", "x265", "vvenc",
    "compressai:model=mbt2018-mean", "compressai:model=cheng2020-anchor", "zzz", "ours",
]  # fmt: skip


def summary_of(labels, **columns):
    rows = []
    for place, label in enumerate(labels):
        codec, _, variant = label.partition(":")
        for record in sweep(codec, variant=variant, **columns):
            rows.append(record | {"num_bytes": int(record["num_bytes"] * (1 - place / 20))})
    return summarise(table(rows))


def draw(summary, metrics=(PSNR,), **look):
    panels = [measured_curves(summary, metric) for metric in metrics]
    with use_look(**look):
        return drawn(panels, styles(summary.editions))


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_no_two_codecs_look_the_same():
    many = [f"./c{n}.py:C{n}:level={level}" for n in range(20) for level in (1, 2, 3)]
    labels = [*families(), "hyperprior", "jpeg:optimize=1", "jpeg:subsampling=444", *many]
    labels = [label for label in labels if label != "bmshj2018-hyperprior"]
    result = styles(Edition.create(parse_spec(label)) for label in labels)
    assert len(set(result.values())) == len(result)


def test_ms_ssim_is_drawn_in_decibels_and_the_axis_says_so():
    summary = summary_of(["jpeg"])
    drawing = draw(summary, [MS_SSIM])
    (axes,) = drawing.figure.axes
    line = lines_of(axes)["JPEG"]
    values = np.array([point.means["ms_ssim"].value for point in summary.points])
    assert line.get_xdata().tolist() == [point.bpp for point in summary.points]
    assert line.get_ydata() == pytest.approx(-10 * np.log10(1 - values), abs=1e-12)
    assert (line.get_color(), line.get_marker()) == families()["jpeg"][:2]
    assert axes.get_ylabel() == "MS-SSIM (dB)"
    assert "-10 log10(1 - mean)" in drawing.caption


@pytest.mark.parametrize(("metrics", "width"), [([PSNR], 3.25), ([PSNR, MS_SSIM, LPIPS], 6.875)])
def test_twelve_curves_are_each_named_once_in_the_legend(metrics, width):
    summary = summary_of(TWELVE, caveat="random weights")
    figure = draw(summary, metrics, every_curve=True).figure
    (legend,) = figure.legends
    entries = sorted(text.get_text().rstrip("*") for text in legend.get_texts())
    assert entries == sorted(summary.titles(marks=False).values())
    assert figure.get_size_inches()[0] == width
    assert crowding(figure) == []
    for axes in figure.axes:
        assert axes.bbox.height / figure.dpi > 1.2


def test_recorded_streams_are_named_and_their_seconds_are_nowhere():
    rows = [*sweep("jpeg", timing=True), *sweep("vtm", timing=True, recorded=True)]
    summary = summarise(table(rows))
    assert ("VTM", "here", "recorded", "1.0") in {cells[:4] for cells in draw(summary).sources.rows}
    means = means_table(summary, [PSNR])
    assert {line[-2:] for line in means.rows if line[0] == "vtm"} == {("–", "–")}
    assert {line[-2:] for line in means.rows if line[0] == "jpeg"} == {("0.2 s", "0.1 s")}


def test_declared_sizes_are_named_in_the_legend():
    summary = summarise(table(sweep("folder", bytes_origin="declared")))
    assert list(lines_of(draw(summary).figure.axes[0])) == ["folder*"]


def test_points_over_fewer_images_are_not_drawn_and_are_named():
    rows = [*sweep("jpeg"), *sweep("webp")]
    rows = [record for record in rows if (record["codec"], record["image"]) != ("webp", "a")]
    summary = summarise(table(rows))
    assert list(lines_of(draw(summary).figure.axes[0])) == ["JPEG"]
    assert points_left_out(summary, [PSNR]) == ["Points left out (2 of 3 images): webp."]
    reason = "weights (bench fetch x): no file x.pth in any of three folders"
    lost = summarise(table([*sweep("jpeg"), *sweep("webp", psnr_db=None, psnr_db_reason=reason)]))
    (sentence,) = points_left_out(lost, [PSNR])
    assert sentence.startswith("Points left out (psnr_db of 0 of 3 images: weights absent, `bench")
    assert "x.pth" not in sentence


def test_nothing_comparable_gives_no_figure():
    assert draw(summarise(table([row("jpeg", 5, "a"), row("webp", 5, "b")]))) is None


@pytest.mark.parametrize("bundled", [True, False])
def test_the_frame_cuts_bundled_curves_alone_and_the_note_says_who_goes_on(bundled):
    names = ("a", "bb", "ccc")
    rows = [*sweep("jpeg", bundled=bundled)]
    rows += [row("raw", 8, name, num_bytes=24_000, bundled=True) for name in names]
    for quality, num_bytes in ((85, 3900), (90, 4100)):
        rows += [row("jpeg", quality, n, num_bytes=num_bytes, bundled=bundled) for n in names]
    drawing = draw(summarise(table(rows)), [LPIPS])
    (axes,) = drawing.figure.axes
    assert list(lines_of(axes)) == ["JPEG"]
    right, words = axes.get_xlim()[1], words_in(drawing.figure)
    assert 3.9 < right < 4.1 if bundled else right > 4.1
    assert words.count("Beyond the frame: JPEG to 4.1 bpp.") == bundled
    assert ("Beyond the frame" in words) is bundled


def test_a_curve_of_the_user_is_never_cut():
    rows = [*sweep("./mine.py:Mine", num_bytes=8000), *sweep("vtm", bundled=True)]
    (axes,) = draw(summarise(table(rows))).figure.axes
    assert axes.get_xlim()[1] > lines_of(axes)["Mine"].get_xdata().max()


def test_panels_have_one_range_of_rates_and_say_which_curve_they_lack():
    rows = [*sweep("jpeg"), *sweep("webp", lpips_alex=None)]
    drawing = draw(summarise(table(rows)), [PSNR, LPIPS])
    first, second = drawing.figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert list(lines_of(second)) == ["JPEG"]
    assert "not measured" not in words_in(drawing.figure)
    assert "LPIPS not measured: WebP" in drawing.caption


def test_a_figure_for_a_column_is_no_higher_than_a_page():
    with use_look(width="column"):
        drawing = draw(summarise(table([*sweep("jpeg"), *sweep("webp")])), [PSNR, LPIPS] * 4)
    width, height = drawing.figure.get_size_inches()
    assert (width, height) == (WIDTHS["column"], 9.0)
    assert len(drawing.figure.axes) == 8


def test_a_linear_rate_axis_starts_at_zero():
    summary = summary_of(["jpeg"])
    assert draw(summary, linear_rate=True).figure.axes[0].get_xlim()[0] == 0
    assert draw(summary).figure.axes[0].get_xscale() == "log"


def test_an_axis_begins_at_zero_if_a_point_of_each_curve_at_most_is_below_or_where_it_is_told():
    values = {5: -47.0, 10: 21.0, 20: 40.0, 40: 60.0, 60: 75.0, 80: 85.0}
    rows = [record | {"psnr_db": values[record["setting_value"]]} for record in sweep("jpeg")]
    drawing = draw(summarise(table(rows)))
    low, high = drawing.figure.axes[0].get_ylim()
    assert (low, high) == (pytest.approx(21 - 0.04 * 64), pytest.approx(85 + 0.04 * 64))
    assert ": JPEG to -47" in drawing.caption
    assert -47.0 in [record["value"] for record in drawing.records]
    # one point is above 0
    negative = [record | {"psnr_db": record["psnr_db"] - 80} for record in rows]
    assert draw(summarise(table(negative))).figure.axes[0].get_ylim()[0] < -127
    ranged_drawing = draw(summarise(table(rows)), [Metric.named("psnr")], values=("psnr=60:95",))
    assert ranged_drawing.figure.axes[0].get_ylim() == (60, 95)


@pytest.mark.parametrize("text", ["psnr", "psnr=60", "psnr=95:60", "=1:2", "none=1:2"])
def test_a_range_of_values_that_is_none_is_refused(text):
    with pytest.raises(UsageError), use_look(values=(text,)):
        pass


def test_files_have_the_papers_width_embedded_truetype_and_no_date():
    drawing = draw(summary_of(["jpeg", "webp"]))
    png, pdf = file_bytes(drawing.figure, "png"), file_bytes(drawing.figure, "pdf")
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == round(WIDTHS["column"] * DOTS_PER_INCH)
    objects = pdf + b"".join(_inflated(pdf))
    assert b"/FontFile2" in objects
    assert b"/Type3" not in objects
    assert b"CreationDate" not in objects
    again = draw(summary_of(["jpeg", "webp"])).figure
    assert (file_bytes(again, "png"), file_bytes(again, "pdf")) == (png, pdf)


@pytest.mark.parametrize("kind", ["pdf", "png", "svg"])
def test_a_file_is_drawn_once(kind, tmp_path):
    class Counter(Artist):
        draws = 0

        def draw(self, renderer):
            self.draws += 1

    style = tmp_path / "s.mplstyle"
    style.write_text("figure.constrained_layout.use: True\n")
    with use_look(style=style):
        figure = draw(summary_of(["jpeg", "webp"])).figure
        counter = figure.add_artist(Counter())
        file_bytes(figure, kind)
    assert counter.draws == 1


def _inflated(pdf):
    for result in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(result.group(1))
        except zlib.error:
            continue


def test_the_table_of_means_shows_counts_where_they_differ():
    rows = [row("jpeg", 5, name, psnr_db=30.0, caveat="random weights") for name in "abc"]
    rows += [row("raw", 8, name, psnr_db=float("inf")) for name in "ab"]
    rows += [failed("raw", 8, "c", "encode", "boom")]
    rows[0] |= {"lpips_alex": None}
    rows[1] |= {"psnr_db": float("inf")}
    result = means_table(summarise(table(rows)), [PSNR, LPIPS])
    raw, jpeg = result.rows
    assert result.headers[2:6] == ("images", "bpp", "PSNR (dB)", "LPIPS")
    assert jpeg[2] == "3"
    assert jpeg[4] == "30.00 (2, ∞ 1)"
    assert jpeg[5].endswith("(2)")
    assert (raw[2], raw[4], raw[-1]) == ("2 of 3", "∞ 2", "1")
    assert any(note.startswith("∞ n: ") for note in result.notes)
    assert any(": jpeg" in note for note in result.notes)


def test_latex_escapes_what_it_would_take_for_commands_and_groups_what_repeats():
    result = latex(Table(("a_b", "c & d"), (("x%", "-1.5"), ("{y}", "∞ 2")), 1))
    assert r"a\_b & c \& d \\" in result
    assert r"x\% & $-$1.5 \\" in result
    assert r"\{y\} & $\infty$ 2 \\" in result
    assert result.count(r"\toprule") == result.count(r"\bottomrule") == 1
    assert escape_latex("\\{") == r"\textbackslash{}\{"
    repeated = Table(("a", "b"), (("x", "1"), ("x", "2"), ("y", "3")), 2)
    assert latex(repeated).count(r"\addlinespace") == 1
    assert r"\addlinespace" not in result


def test_tables_keep_every_digit_and_count_and_have_a_line_a_row():
    summary = summary_of(["jpeg", "webp"])
    records = list(csv.DictReader(io.StringIO(csv_text(summary.flat_records()))))
    values = [point.means["psnr_db"].value for point in summary.points]
    assert [float(record["psnr_db"]) for record in records] == values
    assert {record["psnr_db_images"] for record in records} == {"3"}
    assert csv_text([]) == "\n"
    result = means_table(summary, [LPIPS])
    assert len(plain(result).splitlines()) == 1 + 12
    lines = markdown(result).splitlines()
    assert len(lines) == 2 + 12
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(("font", "typeface"), [("sans", b"DejaVuSans"), ("serif", b"STIXGeneral")])
def test_every_typeface_is_in_the_file(font, typeface):
    assert font in FONTS
    with use_look(font=font):
        result = file_bytes(draw(summary_of(["jpeg", "webp"])).figure, "pdf")
    assert typeface in result
    assert font == "sans" or b"DejaVu" not in result
