"""`bench figures rd`, `bd`, `complexity`, `realism`, `new`: rows, file and options to figures."""

import csv

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

import benchmark
from benchmark.commands.experiment import read_options_file
from benchmark.compare.experiment import Experiment
from benchmark.errors import BenchError, StoreError, UsageError
from benchmark.rows.store import Store
from benchmark.show.figures.style import use_look
from benchmark.show.figures.texts import DrawnFigure, write_figure
from benchmark.show.paper.own_figures import FIGURES
from benchmark.show.table import latex, markdown
from support.bench.command import invoked
from support.rows.bundled_results import bundled_results, copy_bundled_results
from support.rows.measured import sweep

RESULTS = bundled_results()


def bench_figures(verb, out, *words):
    words = verb, *words, "--results", RESULTS, "--out", out, "--format", "svg"
    result = invoked("figures", *words)
    assert result.exit_code == 0, result.output
    records = csv.DictReader((out / f"{verb}.csv").read_text().splitlines())
    return list(records), (out / f"{verb}.txt").read_text()


def draw(verb, *arguments, **choices):
    return FIGURES[verb](Experiment(**{"results": RESULTS, **choices}), *arguments)


def words_of(figure):
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "figures.toml"
    path.write_text(
        """
codecs = ["ours:beta=3.84", "avif"]
metrics = ["psnr"]
width = "column"
linear_rate = true
[labels]
"ours:beta=3.84" = "Ours"
[colours]
avif = "#123456"
[bd]
metrics = ["psnr", "ms_ssim"]
anchor = "vtm"
[realism]
bpp = [0.2]
"""
    )
    return path


def test_a_figure_is_what_its_file_says(file, tmp_path):
    records, caption = bench_figures("rd", tmp_path, file)
    assert {row["system"] for row in records} == {"Ours", "AVIF speed 4", "VTM 23.13"}
    assert {row["metric"] for row in records} == {"psnr_db"}
    assert "Kodak (24 images)" in caption
    svg = (tmp_path / "rd.svg").read_text()
    assert ('width="234pt"' in svg, "#123456" in svg) == (True, True)


def test_an_option_comes_before_the_file_and_a_figures_table_before_other_keys(file, tmp_path):
    words = file, "--codecs", "ours:beta=3.84,avif,jpeg", "--label", "jpeg=V"
    records, _ = bench_figures("rd", tmp_path, *words)
    assert {row["system"] for row in records} == {"Ours", "V", "AVIF speed 4", "VTM 23.13"}
    records, _ = bench_figures("bd", tmp_path, *words)
    assert {row["codec"] for row in records} == {"ours:beta=3.84", "avif", "jpeg:optimize=1"}
    assert {row["metric"] for row in records} == {"psnr_db", "ms_ssim"}
    records, _ = bench_figures("realism", tmp_path, *words)
    assert {row["target_bpp"] for row in records} == {"0.2"}


@pytest.mark.parametrize(("text", "message"), [
    ("codcs = ['vtm']", "codcs"),
    ("codecs = 3", "array.*codecs"),
    ("[rd]\nwidth = 3", r"str.*rd\.width"),
    ("[rd]\ncolumns = 3", "No option 'columns'"),
    ("[labels]\nvtm = 1", "str.*labels"),
    ("crops = [{ image = 'a', box = [1, 2, 3] }]", r"4.*crops\[0\]\.box"),
    ("codecs = [", "end of document"),
])  # fmt: skip
def test_a_wrong_file_is_one_sentence_with_its_key(tmp_path, text, message):
    path = tmp_path / "figures.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"^{path}(, rd| cannot be read)?: .*{message}"):
        read_options_file(path)
    with pytest.raises(UsageError, match="No such file"):
        read_options_file(tmp_path / "none.toml")


def test_bars_are_the_bd_rates_with_their_intervals():
    choices = {"codecs": "ours:beta=3.84,avif", "metrics": "psnr", "published": "hific"}
    drawing = draw("bd", anchor="vtm", **choices).drawing
    expected = benchmark.bd_rate(RESULTS / "kodak", "vtm", "psnr").set_index("codec")
    bars = {record["codec"]: record for record in drawing.records}
    assert bars.pop("HiFiC (published)")["reason"].startswith("it has 3 of the 4 points")
    assert bars.keys() == {"ours:beta=3.84", "avif"}
    for label, bar in bars.items():
        for name in ("bd_rate_percent", "bd_rate_low_percent", "bd_rate_high_percent"):
            assert bar[name] == pytest.approx(expected.loc[label, name], abs=1e-9)
        assert f"{abs(bar['bd_rate_percent']):.1f}" in latex(drawing.table)
    assert "HiFiC & published" in latex(drawing.table)


def test_bars_and_their_table_are_by_the_rule_that_was_asked_for(tmp_path):
    """Also the bar of a curve from a file, as scipy has it of both curves cut at .5 bpp."""
    theirs = np.array([[0.1, 0.2, 0.4, 0.8, 1.2], [28, 30.5, 33, 37, 42]])
    lines = (f"{bpp},{psnr}" for bpp, psnr in theirs.T)
    (tmp_path / "mine.csv").write_text("\n".join(["bpp,psnr", *lines]))
    choices = {"codecs": "vtm,avif", "anchor": "vtm", "metrics": "psnr", "up_to_bpp": 0.5}
    drawing = draw("bd", published=str(tmp_path / "mine.csv"), bd="pchip", **choices).drawing
    means = benchmark.summary(benchmark.load(RESULTS / "kodak", codecs="vtm"), metrics="psnr")
    curves, cut = [], np.log10(0.5)
    for bpp, psnr in (means[["bpp", "psnr_db"]].to_numpy().T, theirs):
        x = np.log10(bpp)
        end = PchipInterpolator(x, psnr)(cut)
        curves.append((np.append(x[x < cut], cut), np.append(psnr[x < cut], end)))
    low, high = max(y[0] for _, y in curves), min(y[-1] for _, y in curves)
    first, last = (PchipInterpolator(y, x).integrate(low, high) for x, y in curves)
    expected = 100 * (10 ** ((last - first) / (high - low)) - 1)
    widths = [patch.get_width() for patch in drawing.figure.axes[0].patches]
    assert any(width == pytest.approx(expected, rel=1e-9) for width in widths), widths
    assert f"{expected:+.1f}".replace("-", "−") in markdown(drawing.table).replace("-", "−")
    assert " 0.5 bpp, by PCHIP" in drawing.caption
    assert " PCHIP" in markdown(drawing.table)
    assert {(record["up_to_bpp"], record["bd"]) for record in drawing.records} == {(0.5, "pchip")}
    (rate,) = (r["bd_rate_percent"] for r in drawing.records if "from file" in r["codec"])
    assert rate == pytest.approx(expected, rel=1e-9)


def test_costs_are_what_classes_and_rows_say():
    drawing = draw("complexity", codecs="ours:beta=0,avif,elic").drawing
    costs = {(r["label"], r["cost"]): (r["value"], r["measured"]) for r in drawing.records}
    assert costs["ours:beta=0", "kmac"] == (41.3, True)
    assert costs["elic", "kmac"] == (14.7, True)
    at_rate = benchmark.rank(RESULTS / "kodak", "bpp=0.3", metrics="psnr").set_index("codec")
    seconds = at_rate.loc["avif", "typical_seconds_per_megapixel"]
    assert costs["avif", "seconds"] == (pytest.approx(seconds), False)
    assert ("avif", "kmac") not in costs
    rates = {row["label"]: row["bd_rate"] for row in drawing.records}
    expected = benchmark.bd_rate(RESULTS / "kodak", "vtm", "psnr").set_index("codec")
    assert rates["avif"] == pytest.approx(expected.loc["avif", "bd_rate_percent"], abs=1e-9)
    assert rates["vtm"] == 0
    assert "typical" in drawing.caption
    assert r"Work (kMAC/pixel) & 41.3 & bundled &" in latex(drawing.table)
    assert " 0.5 bpp" in draw("complexity", codecs="avif", up_to_bpp=0.5).drawing.caption


def test_what_a_figure_of_ones_own_codec_lacks_is_said_with_what_makes_it(tmp_path):
    Store(tmp_path / "photos").append([*sweep("./mine.py:Mine"), *sweep("webp")])
    (sentence,) = draw("complexity", results=tmp_path).sentences
    assert sentence.partition(" Mine, ")[2].endswith("--timing`")
    with pytest.raises(BenchError, match=r"rescore --dataset photos --codecs all,\./mine\.py:Mine"):
        draw("realism", results=tmp_path, metrics="psnr,ssim")


def test_a_sweep_that_ends_at_the_defaults_says_so(tmp_path):
    variant_rows = sweep("./mine.py:Mine", variant="beta=2.5")
    for row in variant_rows:
        row |= {"psnr_db": row["psnr_db"] - 3, "lpips_alex": row["lpips_alex"] / 2}
    Store(tmp_path / "photos").append([*sweep("./mine.py:Mine"), *variant_rows, *sweep("webp")])
    figure = draw("realism", ("0.7",), results=tmp_path, metrics="psnr,lpips").drawing.figure
    assert "Mine, default to beta 2.5" in words_of(figure)


@pytest.mark.parametrize(
    "metrics", ['["psnr", "ms_ssim", "lpips_squeeze", "vif"]', '"psnr,vif,fsim"']
)
def test_the_metrics_of_an_experiments_file_do_not_break_the_figure_of_two(tmp_path, metrics):
    file = tmp_path / "kodak.toml"
    file.write_text(f'codecs = ["ours", "vtm"]\ndataset = "kodak"\nmetrics = {metrics}\n')
    records, caption = bench_figures("realism", tmp_path, file, "--bpp", "0.2")
    assert {row["realism_protocol"].partition("/")[0] for row in records} == {"lpips-squeeze"}
    assert caption.startswith("LPIPS (SqueezeNet) against PSNR")


def test_realism_draws_no_lone_point_and_says_who_has_none_at_a_rate():
    choices = {"codecs": "ours,jpeg:optimize=1", "anchor": "jpeg:optimize=1"}
    figure = draw("realism", ("0.2", "1.2"), **choices)
    assert {record["target_bpp"] for record in figure.drawing.records} == {0.2}
    sentences = "\n".join(figure.sentences)
    assert " 1.2 bpp: CRDR β=0 (0.09 to 0.95 bpp), CRDR β=3.84 (" in sentences
    assert "realism: nothing drawn at 1.2 bpp: " in sentences


@pytest.mark.parametrize("verb", ["rd", "bd", "complexity", "realism"])
def test_captions_are_short_and_details_have_the_rest(verb, tmp_path):
    words = ["--published", "hific,multi-realism", "--mix-protocols"]
    _, caption = bench_figures(verb, tmp_path, *([] if verb == "complexity" else words))
    assert len(caption.split()) <= 60
    details = (tmp_path / f"{verb}.details.md").read_text()
    assert all(text in details for text in (caption.strip(), "Made by `bench figures"))


def test_only_the_named_images_count():
    drawing = draw("rd", images=("kodim0[12]", "kodim23"), metrics="psnr", codecs="vtm").drawing
    rows = benchmark.load(RESULTS / "kodak", codecs="vtm")
    images = rows["image"].str.contains("kodim01|kodim02|kodim23") & (rows["setting_value"] == 27)
    at_27 = next(record for record in drawing.records if record["setting"] == "qp=27")
    assert at_27["value"] == pytest.approx(rows[images]["psnr_db"].mean(), abs=1e-12)
    assert "(3 images)" in drawing.caption


def test_bundled_variants_beside_ones_own_codec_are_one_sweep_of_realism(tmp_path):
    results = copy_bundled_results(tmp_path / "results")
    avif = Store(RESULTS / "kodak").table().filter(pl.col("codec") == "avif").rows(named=True)
    changed = {"codec": "./mine.py:Mine", "variant": "", "recorded": False, "run": "20260101T00-a"}
    Store(results / "kodak").append([{**row, **changed, "cell": f"m{row['cell']}"} for row in avif])
    choices = {"dataset": "kodak", "bundled": "ours", "metrics": "psnr,fd_squeeze"}
    drawing = draw("realism", ("0.2",), results=results, **choices).drawing
    ours = [record for record in drawing.records if record["system"].startswith("CRDR")]
    assert {record["system"] for record in ours} == {"CRDR (bundled)"}
    assert [record["setting"] for record in ours] == ["β=0", "β=3.84"]
    assert " 50 images, FD (SqueezeNet) " in drawing.caption


def test_points_above_a_rate_are_not_drawn():
    choices = {"codecs": "vtm,avif", "metrics": "psnr", "published": "hific"}
    drawing = draw("rd", up_to_bpp=0.5, **choices).drawing
    assert max(record["bpp"] for record in drawing.records) == 0.5
    ends = {record["system"]: record for record in drawing.records if record["bpp"] == 0.5}
    assert {record["how"] for record in ends.values()} == {"interpolated"}
    means = benchmark.summary(benchmark.load(RESULTS / "kodak", codecs="vtm"), metrics="psnr")
    expected = Akima1DInterpolator(np.log10(means["bpp"]), means["psnr_db"])(np.log10(0.5))
    assert ends["VTM 23.13"]["value"] == pytest.approx(float(expected), abs=1e-9)
    cut = benchmark.bd_rate(RESULTS / "kodak", "vtm", "psnr", up_to_bpp=0.5).set_index("codec")
    cells = f"AVIF speed 4 & bundled & 3 & 0.048 to 0.500 & {cut.bd_rate_percent['avif']:+.1f}"
    assert cells in latex(drawing.table)
    with pytest.raises(UsageError):
        draw("bd", up_to_bpp=0.01)


def test_a_cut_curve_has_no_marker_at_the_cut_and_one_beyond_it_is_named():
    figure = draw("rd", codecs="vtm,jpeg", metrics="psnr", up_to_bpp=0.14)
    assert any(" 0.14 bpp: JPEG (optimised)" in text for text in figure.sentences)
    (line,) = figure.drawing.figure.axes[0].lines
    assert (line.get_xdata()[-1], len(line.get_xdata()[line.get_markevery()])) == (0.14, 2)


def test_bars_below_each_other_have_the_codecs_of_their_metric_alone():
    choices = {"codecs": "ours,jpeg", "published": "elic", "metrics": "psnr,lpips_squeeze"}
    with use_look(width="column"):
        drawing = draw("bd", **choices).drawing
    labels = [axes.get_yticklabels() for axes in drawing.figure.axes]
    first, second = ({label.get_text() for label in axis_labels} for axis_labels in labels)
    assert first - second == {"ELIC (mse, published)"}
    assert second < first
    assert not any("not reported" in text for text in words_of(drawing.figure))
    assert "LPIPS (SqueezeNet) not reported: ELIC (mse)" in drawing.caption


@pytest.mark.parametrize("verb", ["bd", "complexity"])
def test_deltas_of_little_overlap_are_marked_in_figures_as_in_tables(verb):
    drawing = draw(verb, codecs="ours:beta=3.84,avif", metrics="lpips_squeeze").drawing
    marks = [text for text in words_of(drawing.figure) if "†" in text]
    assert any("half" in text for text in marks)
    assert any(text.endswith("†") for text in marks)


def test_a_named_metric_without_a_panel_is_said():
    sentences = "\n".join(draw("rd", codecs="jpeg", metrics="psnr,dists").sentences)
    assert "No DISTS: " in sentences
    assert "bench rescore --dataset kodak --results " in sentences
    figure = draw("rd", dataset="clic2020", published="hific", metrics="psnr,vmaf")
    assert any("VMAF" in text and "CLIC2020" in text for text in figure.sentences)


def test_a_new_file_draws_the_eight_curves(tmp_path):
    path = tmp_path / "figures.toml"
    invoked("figures", "new", path, "--results", RESULTS)
    records, _ = bench_figures("rd", tmp_path, path)
    assert len({row["system"] for row in records}) == 8


def test_published_curves_are_drawn_and_compared_where_nothing_is_measured():
    names = "crdr:beta=0,hific,vtm"
    drawing = draw("rd", dataset="clic2020", published=names, metrics="psnr,fid").drawing
    assert {record["from"] for record in drawing.records} == {"published"}
    assert {record["metric"] for record in drawing.records} == {"psnr_db", "fid256"}
    assert "CLIC2020 test (428 images)" in drawing.caption
    text = latex(drawing.table)
    assert all(cells in text for cells in ("HiFiC & published & 3", "% Against VTM (version 20.0)"))
    choices = {"dataset": "clic2020", "published": "crdr:beta=0,hific without gan"}
    caption = draw("bd", metrics="psnr", anchor="crdr:beta=0", **choices).drawing.caption
    assert " CRDR β=0 (published) on CLIC2020 test" in caption
    assert draw("realism", ("0.2",), metrics="psnr,fid", **choices).drawing
    with pytest.raises(BenchError):
        draw("rd", metrics="ms_ssim_db", **choices)


def test_a_users_own_file_is_no_publication_and_a_reported_psnr_needs_no_flag(tmp_path):
    curve = tmp_path / "mine.csv"
    curve.write_text("bpp,psnr\n.1,28\n.2,30\n.4,33\n.8,36.5\n")
    choices = {"codecs": "vtm", "published": f"mlic++,{curve}", "metrics": "psnr"}
    drawing = draw("rd", anchor="vtm", **choices).drawing
    assert {record["system"]: record["from"] for record in drawing.records} == {
        "VTM 23.13": "bundled", "MLIC++ (mse)": "published", "mine": "file",
    }  # fmt: skip
    assert "Unmarked results are bundled" in drawing.caption
    assert "mixed" not in drawing.caption.lower()
    for cells in (("MLIC++ (mse, published)", "published", "psnr-rgb/reported"),
                  ("mine (from file)", "file", "mine.csv", "unstated")):  # fmt: skip
        assert any({*cells} <= {*row} for row in drawing.sources.rows)
    assert " -- " not in latex(draw("rd", codecs="ours", metrics="psnr").drawing.table)


def test_one_figure_of_several_datasets_has_the_points_of_each():
    choices = {"codecs": "ours,vtm", "metrics": "psnr,lpips_squeeze"}
    drawing = draw("rd", dataset="kodak,sample", **choices).drawing
    for name, title in {"kodak": "Kodak", "sample": "sample photographs"}.items():
        of_dataset = [record for record in drawing.records if record["dataset"] == title]
        alone = draw("rd", dataset=name, **choices).drawing
        assert of_dataset == [{"dataset": title, **record} for record in alone.records]
    assert "Kodak (24 images) and sample photographs (4 images)" in drawing.caption


def test_the_order_of_datasets_changes_no_curve_where_one_has_published_points_alone():
    drawings = [draw("rd", dataset=names, published="hific", metrics="psnr").drawing
                for names in ("kodak,clic2020", "clic2020,kodak")]  # fmt: skip
    first, second = ({(r["dataset"], r["system"]) for r in d.records} for d in drawings)
    assert first == second
    assert ("Kodak", "VTM 23.13") in second


def test_a_file_that_no_figure_wrote_is_not_replaced(tmp_path):
    drawing = DrawnFigure(Figure(), "caption")
    (tmp_path / "mine.csv").write_text("my own")
    with pytest.raises(StoreError, match=r"mine\.csv.*--out"):
        write_figure("mine", drawing, tmp_path, "")
    (tmp_path / "mine.details.md").touch()
    write_figure("mine", drawing, tmp_path, "")
    assert (tmp_path / "mine.csv").read_text() != "my own"
