"""Options of looks: what each changes in a figure, and that nothing else of the machine does."""

import re
import sys
from contextlib import nullcontext

import pytest
import seaborn as sns
from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont

from benchmark.compare.curve import measured_curves
from benchmark.errors import Notice, UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.option import flatten
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.show.figures import style
from benchmark.show.figures.style import FORMATS, Look, figure_style, styles, use_look
from benchmark.show.figures.texts import file_bytes
from support.bench.command import output_of
from support.figures.published import drawn
from support.processes import ran
from support.rows.measured import sweep, table

HOSTILE = """\
text.usetex: True
font.family: cursive
font.size: 31
axes.facecolor: red
axes.prop_cycle: cycler('color', ['r'])
lines.linewidth: 9
savefig.dpi: 10
savefig.bbox: tight
savefig.transparent: True
svg.fonttype: none
pdf.compression: 0
figure.constrained_layout.use: True
axes.unicode_minus: False
"""


@pytest.fixture(scope="module")
def summary():
    return summarise(table([*sweep("ours", variant="beta=3.84"), *sweep("vtm"), *sweep("avif")]))


@flatten
def look_of(look: Look):
    return look


def draw(summary, **look):
    with use_look(look_of(**look)):
        curve_styles = styles(summary.editions)
        return drawn([measured_curves(summary, Metric.named("psnr"))], curve_styles).figure


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_a_label_and_a_colour_are_of_one_curve_alone(summary):
    usual = lines_of(draw(summary))
    label, colour = "ours:beta=3.84=Ours (a=b)", ("vtm=tab:red", "avif=#010203")
    changed = lines_of(draw(summary, label=label, colour=colour))
    assert list(changed) == ["Ours (a=b)", "AVIF speed 4", "VTM"]
    assert changed["VTM"].get_color() == "#d62728"
    assert changed["AVIF speed 4"].get_color() == "#010203"
    assert changed["Ours (a=b)"].get_color() == usual["CRDR β=3.84"].get_color()


def test_a_label_with_two_dollars_is_mathematics_and_one_with_a_price_is_not(summary):
    (legend,) = draw(summary, label=("vtm=$x^2$", "avif=for $5", "ours:beta=3.84=$ $^$")).legends
    marks = {text.get_text(): text.get_parse_math() for text in legend.get_texts()}
    assert marks == {"$x^2$": True, "for $5": False, "$ $^$": False}


def test_the_order_is_that_of_the_legend(summary):
    def legend(**look):
        (result,) = draw(summary, **look).legends
        return [text.get_text() for text in result.get_texts()]

    assert legend() == ["CRDR β=3.84", "AVIF speed 4", "VTM"]
    assert legend(order="vtm,ours") == ["VTM", "CRDR β=3.84", "AVIF speed 4"]


def test_a_style_file_changes_what_it_names_and_nothing_else(summary, tmp_path):
    file = tmp_path / "mine.mplstyle"
    file.write_text("# mine\naxes.facecolor: eeeeff  # light\ntext.usetex: True\n")
    with use_look(style=file):
        figure = draw(summary, style=file)
        assert figure.axes[0].get_facecolor()[:3] == pytest.approx((14 / 15, 14 / 15, 1))
        assert b"#eeeeff" in file_bytes(figure, "svg")
    assert draw(summary).axes[0].get_facecolor()[:3] == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"), [("axes.facecolour: red", "line 1"), ("\nfont.size: big", "line 2")]
)
def test_a_wrong_style_file_is_told_with_its_line(summary, tmp_path, text, message):
    (tmp_path / "s").write_text(text)
    with pytest.raises(UsageError, match=f"{tmp_path / 's'}, {message}"):
        draw(summary, style=tmp_path / "s")
    with pytest.raises(UsageError, match="none cannot be read"):
        draw(summary, style=tmp_path / "none")


@pytest.mark.parametrize(("look", "message"), [
    ({"font": "serrif"}, "Did you mean 'serif'"),
    ({"width": "colum"}, "Did you mean 'column'"),
    ({"format": "pdf,jpg"}, "'jpg'"),
    ({"colour": "vtm=bleu"}, "bleu"),
])  # fmt: skip
def test_values_that_there_are_not_are_told(look, message):
    with pytest.raises(UsageError, match=message), use_look(look_of(**look)):
        pass


def test_curves_that_there_are_not_are_told(summary):
    for name, text in (("label", "vtn=V"), ("colour", "vtn=red"), ("order", "vtn")):
        with pytest.raises(UnknownName, match="Did you mean 'vtm'"):
            look_of(**{name: text}).check(summary.editions)


@pytest.mark.slow
def test_files_have_the_same_bytes_whatever_the_users_matplotlibrc(summary, tmp_path, monkeypatch):
    Store(tmp_path / "set").append([*sweep("ours", variant="beta=3.84"), *sweep("vtm")])
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    words = ["rd", "--metrics", "psnr", "--format", ",".join(FORMATS), "--dataset", "set"]
    words = ["figures", *words, "--results", str(tmp_path), "--out"]
    output_of(*words, tmp_path / "here")
    result = ran(
        *(sys.executable, "-W", "error::UserWarning", "-c"),
        *("from benchmark.cli import main; main()", *words, tmp_path / "there"),
        MATPLOTLIBRC=str(tmp_path / "matplotlibrc"),
    )
    assert result.returncode == 0, result.stderr
    for kind in FORMATS:
        first_file, second_file = (tmp_path / place / f"rd.{kind}" for place in ("here", "there"))
        assert first_file.read_bytes() == second_file.read_bytes()


def test_the_style_is_seaborns_ticks_but_for_sizes_fonts_and_the_grid():
    theirs = sns.axes_style("ticks") | sns.plotting_context("paper")
    pattern = re.compile("size|width|font|grid|axisbelow|cmap")
    with figure_style():
        ours = {key: rcParams[key] for key in theirs}
    assert [key for key in theirs if ours[key] != theirs[key] and not pattern.search(key)] == []


@pytest.mark.parametrize("fonts", [(), ("STIXGeneral",)])
def test_a_letter_is_of_a_further_typeface_that_has_it_else_it_is_told(fonts, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(style, "FALLBACK_FONTS", fonts)  # DejaVu Sans has no U+214A
    style.fallback_fonts.cache_clear()
    expectation = nullcontext() if fonts else pytest.warns(Notice, match="\u214a")
    try:
        with figure_style():
            figure = plt.figure()
            figure.text(0, 0, "\u214a\n\u03b4\u0434")
            with expectation:
                file_bytes(figure, "svg")
    finally:
        style.fallback_fonts.cache_clear()


def test_a_further_font_without_bold_letters_is_no_warning(caplog):
    def find(size):
        font = FontProperties(family="DejaVu Sans Display", weight="bold", size=size)
        return findfont(font), [record for record in caplog.records if "weight" in record.msg]

    with figure_style():
        assert find(7.25)[1] == []
    assert len(find(7.5)[1]) == 1  # another size: not from matplotlib's cache
