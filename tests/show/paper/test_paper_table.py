"""`bench table`: rows and published points to the table of a paper."""

import csv
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

import benchmark
from benchmark.errors import StoreError, UsageError
from benchmark.rows.store import Store
from benchmark.show.figures.style import MAX_CURVES
from benchmark.show.table import Table, latex, markdown
from conftest import ROOT
from support.bench.command import invoked
from support.rows.bundled_results import bundled_results, copy_bundled_results
from support.rows.measured import HEIGHT, WIDTH, scaled_sweep, sweep
from support.rows.measured import row as measured_row
from tools.results_table import CODECS

RESULTS = bundled_results()
DOCUMENT = r"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{}\end{{document}}"


def bench(*words):
    return invoked("table", *words)


def draw(out, *words):
    result = bench(*words, "--out", out)
    assert result.exit_code == 0, result.output
    rows = csv.DictReader((out / "table.csv").read_text().splitlines())
    return list(rows), (out / "table.tex").read_text(), result.output


def share_bytes(codec, divisor, **columns):
    """Rows of 80 times the usual bytes, divided."""
    rows = scaled_sweep(codec, 80 / divisor, **columns)
    return [row | {"bpp": 8 * row["num_bytes"] / (WIDTH * HEIGHT)} for row in rows]


def store_lines(folder, values, num_bytes):
    """Store a row of each of two images by codec and place of a value."""
    Store(folder / "set").append([
        measured_row(codec, n, image, num_bytes=num_bytes(codec, n), psnr_db=float(psnr))
        for codec, codec_values in values.items() for n, psnr in enumerate(codec_values)
        for image in ("a", "bb")
    ])  # fmt: skip
    return "--results", folder, "--dataset", "set", "--metrics", "psnr"


def fill(folder):
    """JPEG, WebP of half its bytes, AVIF of a quarter, and JPEG XL of two points."""
    work = {"parameters": 2_000_000, "encode_kmac": 30.0, "decode_kmac": 12.0}
    rows = [*share_bytes("jpeg", 1, parameters=2_000_010), *share_bytes("avif", 4, **work)]
    rows += share_bytes("webp", 2, parameters=3_000_000)
    few = [row for row in sweep("jpegxl") if row["setting_value"] < 20]
    Store(folder / "set").append([*rows, *few, *sweep("png", ["a"])])
    return "--results", folder, "--dataset", "set"


def test_numbers_of_another_rule_are_marked_named_and_never_the_best(tmp_path):
    words = "--dataset", "kodak", "--codecs", "vtm,avif:speed=2", "--published", "diffeic"
    words = *words, "--metrics", "lpips", "--results", RESULTS, "--mix-protocols"
    rows, tex, output = draw(tmp_path, *words)
    (diffeic,) = (row for row in rows if row["system"].startswith("DiffEIC"))
    assert diffeic["system"] == "DiffEIC (published)§"
    rates = [float(row["kodak lpips_alex bd_rate_percent"] or 0) for row in rows]
    assert float(diffeic["kodak lpips_alex bd_rate_percent"]) == min(rates) < 0
    (line,) = (line for line in tex.splitlines() if line.startswith("DiffEIC"))
    assert r"\S{}" in line
    assert "textbf" not in line
    assert "underline" not in line
    text = (tmp_path / "table.md").read_text()
    assert "**0**" in text  # VTM, the best by the rule of the rows
    assert all("DiffEIC (lpips-alex/diffeic)" in document for document in (tex, text, output))


def test_a_metric_that_no_paper_has_is_said(tmp_path):
    words = "--dataset", "kodak", "--codecs", "vtm,avif:speed=2", "--published", "ms-illm"
    words = *words, "--metrics", "psnr,lpips_squeeze,fd_squeeze", "--results", RESULTS
    result = bench(*words, "--allow-few", "--out", tmp_path)
    for metric in ("LPIPS (SqueezeNet)", "FD (SqueezeNet)"):
        assert f"{metric}: " in result.stderr


def test_the_best_is_bold_the_second_underlined_and_no_column_or_row_is_empty(tmp_path):
    words = *fill(tmp_path), "--anchor", "jpeg", "--metrics", "psnr,lpips,dists"
    rows, tex, output = draw(tmp_path / "out", *words)
    rates = {row["label"]: row["set psnr_db bd_rate_percent"] for row in rows}
    assert {label: float(rate) for label, rate in rates.items() if rate} == {
        "jpeg": 0, "webp": pytest.approx(-50, abs=0.1), "avif": pytest.approx(-75, abs=0.1),
    }  # fmt: skip
    body = [line.split(" & ") for line in tex.splitlines() if " & " in line]
    assert [cell.strip(" \\") for cell in body[1]] == [
        "System", "PSNR", "LPIPS (AlexNet)", "kMAC/px", "Param. (M)", "Time (s/MP)",
    ]  # fmt: skip
    cells = {name.partition(" speed")[0]: cells for name, *cells in body[2:]}
    assert cells["JPEG"][:4] == ["0", "0", "--", r"\textbf{2}"]  # parameters as printed
    assert cells["WebP"][:2] == [r"\underline{$-$50.0}"] * 2
    assert cells["WebP"][3] == "3"
    assert cells["AVIF"][:4] == [r"\textbf{\boldmath $-$75.0}"] * 2 + ["42", r"\textbf{2}"]
    assert cells["JPEG XL"][:2] == cells["png"][:2] == ["--", "--"]
    assert "JPEG XL in PSNR: it has 2 " in output
    assert " png in PSNR: it has no " in output


def test_a_codec_without_a_bd_rate_is_a_row_whose_reason_names_the_points_off_the_front(tmp_path):
    """Of three points the second is 1.5 dB below the first, for more bits."""
    points = zip((1, 2, 3), (100, 200, 400), (30.0, 28.5, 34.0), strict=True)
    rows = [measured_row("mine.py:Mine", n, "a", num_bytes=b, psnr_db=db) for n, b, db in points]
    other_rows = [row for codec in ("jpeg", "webp") for row in sweep(codec, ["a"])]
    Store(tmp_path / "set").append([*rows, *other_rows])
    words = "--results", tmp_path, "--dataset", "set", "--anchor", "jpeg", "--metrics", "psnr"
    words = *words, "--codecs", "mine.py:Mine,webp"
    rows, _, output = draw(tmp_path / "out", *words)
    (user_row,) = (row for row in rows if row["label"] == "mine.py:Mine")
    assert user_row["set psnr_db bd_rate_percent"] == ""
    reason = f"it has 2 of the 4 .* {8 * 200 / (WIDTH * HEIGHT):.4g} bpp by 1.5"
    assert re.search(f"in PSNR: {reason}", " ".join(output.split()))
    result = invoked("figures", "bd", *words, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert re.search(f" mine.py:Mine in psnr_db: {reason}", result.stderr)


def test_curves_cut_at_a_rate_have_the_bd_rate_of_reports_and_of_lines_by_hand(tmp_path):
    """Lines over the logarithm of the rate, of which 0.8 bpp is beyond the cut at 0.6."""
    lines = {"jpeg": (20, 10), "webp": (22, 8)}  # dB at 0.1 bpp, and more for twice the rate
    values = {codec: [low + rise * n for n in range(4)] for codec, (low, rise) in lines.items()}
    words = store_lines(tmp_path, values, lambda _, n: 100 * 2**n)
    rows, *_ = draw(tmp_path / "out", *words, "--anchor", "jpeg", "--up-to-bpp", 0.6)
    middle = (22 + min(low + rise * math.log2(6) for low, rise in lines.values())) / 2
    expected = 100 * (2 ** ((middle - 22) / 8 - (middle - 20) / 10) - 1)
    (webp_row,) = (row for row in rows if row["label"] == "webp")
    assert float(webp_row["set psnr_db bd_rate_percent"]) == pytest.approx(expected)
    assert float(webp_row["set psnr_db bd_rate_low_percent"]) == pytest.approx(expected)
    assert " 0.6 bpp" in (tmp_path / "out" / "table.md").read_text()
    frame = benchmark.bd_rate(tmp_path / "set", "jpeg", up_to_bpp=0.6)
    assert frame["bd_rate_percent"].tolist() == pytest.approx([expected])


def test_every_verb_takes_the_bd_rates_of_the_form_that_is_asked_for(tmp_path):
    bpp, curves = [0.1, 0.2, 0.4, 0.8], {"jpeg": [28, 31, 34, 37], "webp": [28, 36, 36.2, 37]}
    options = *store_lines(tmp_path, curves, lambda _, n: 100 * 2**n), "--anchor", "jpeg"
    first, second = (PchipInterpolator(psnr, np.log10(bpp)) for psnr in curves.values())
    area = second.integrate(28, 37) - first.integrate(28, 37)
    expected = pytest.approx(100 * (10 ** (area / 9) - 1))
    rates = [benchmark.bd_rate(tmp_path / "set", "jpeg", bd="pchip")["bd_rate_percent"].item()]
    for verb, file, text in (
        (["table"], "table.csv", "table.md"),
        (["report"], "bd_rate.csv", "report.md"),
        (["figures", "bd"], "bd.csv", "bd.tex"),
    ):
        result = invoked(*verb, *options, "--bd", "pchip", "--out", tmp_path / verb[-1])
        assert result.exit_code == 0, result.output
        lines = (tmp_path / verb[-1] / file).read_text().splitlines()
        (webp_row,) = (row for row in csv.DictReader(lines) if "webp" in row.values())
        cells = (webp_row.get("bd_rate_percent"), webp_row.get("set psnr_db bd_rate_percent"))
        rates += [float(cell) for cell in cells if cell]
        assert "by PCHIP" in (tmp_path / verb[-1] / text).read_text(), verb
    assert rates == [expected] * 4


def test_a_table_without_any_bd_rate_is_refused_and_no_file_of_others_replaced(tmp_path):
    words = fill(tmp_path)
    result = bench(*words, "--codecs", "jpegxl", "--anchor", "jpeg", "--metrics", "psnr")
    assert isinstance(result.exception, UsageError)
    assert "JPEG XL against JPEG" in str(result.exception)
    out = tmp_path / "paper"
    out.mkdir()
    (out / "table.tex").write_text("mine")
    result = bench(*words, "--anchor", "jpeg", "--metrics", "psnr", "--out", out)
    assert isinstance(result.exception, StoreError)
    assert (out / "table.tex").read_text() == "mine"


def test_every_dataset_has_its_columns_against_one_anchor_measured_or_published(tmp_path):
    words = "--results", RESULTS, "--codecs", "ours:beta=0", "--metrics", "psnr"
    rows, tex, _ = draw(tmp_path, *words, "--dataset", "kodak,sample", "--published", "mlic++")
    assert [row["from"] for row in rows] == ["bundled", "published", "bundled"]
    rates = [float(row["sample psnr_db bd_rate_percent"] or "nan") for row in rows]
    assert [rate > 0 for rate in rates] == [False, False, True]
    titles = re.findall(r"\\multicolumn\{1\}\{c\}\{(BD-rate[^}]*)\}", tex)
    assert titles == [r"BD-rate (\%) on Kodak", r"BD-rate (\%) on sample photographs"]
    assert " PSNR against VTM 23.13" in tex
    assert "MLIC++ (mse, published)" in tex
    assert tex.count(r"\midrule") == 3  # programs, learned codecs, our own


def test_a_codec_is_one_row_which_says_on_which_datasets_it_is_bundled(tmp_path):
    results = copy_bundled_results(tmp_path / "results")
    Store(results / "photos").append([*sweep("avif"), *sweep("jpeg"), *sweep("elic")])
    words = "--results", results, "--dataset", "sample,photos", "--metrics", "psnr"
    codec_options = "--codecs", "avif,elic", "--bundled", "vtm"  # which photos lacks
    rows, *_ = draw(tmp_path, *words, *codec_options)
    names = {row["label"]: row["system"] for row in rows}
    assert [row["label"] for row in rows].count("avif") == 1
    assert names["avif"].endswith("(bundled on sample photographs)")
    assert names["vtm"] == "VTM 23.13 (bundled)"
    wrong = bench(*words, "--codecs", "avif", "--bundled", "vmt")
    assert "'vmt'" in str(wrong.exception)


@pytest.mark.parametrize(
    "options", [(), ("--anchor", "vtm"), ("--codecs", "mine.py:Mine,jpeg,avif")]
)
def test_each_dataset_has_its_anchor_and_lacking_cells_are_dashes(tmp_path, options):
    share = {"jpeg": 2, "vtm": 8, "avif": 4, "mine.py:Mine": 1}
    for dataset, codecs in (("one", ["jpeg", "vtm"]), ("two", ["jpeg", "avif", "mine.py:Mine"])):
        rows = [row for codec in codecs for row in share_bytes(codec, share[codec])]
        Store(tmp_path / dataset).append(rows)
    words = "--results", tmp_path, "--dataset", "one,two", "--metrics", "psnr", *options
    rows, tex, _ = draw(tmp_path / "out", *words)
    columns = [f"{dataset} psnr_db bd_rate_percent" for dataset in ("one", "two")]
    rates = {row["label"]: [float(row[column] or "nan") for column in columns] for row in rows}
    values = [300, 100], [0, math.nan], [math.nan, 0], [math.nan, 300]
    approximate = [pytest.approx(pair, abs=0.1, nan_ok=True) for pair in values]
    assert rates == dict(zip(("jpeg", "vtm", "avif", "mine.py:Mine"), approximate, strict=True))
    assert re.search(r"BD-rate in PSNR against VTM\S* on one and AVIF\S*[^;]* on two;", tex)


def test_the_numbers_are_those_of_the_readme(tmp_path):
    words = "--results", RESULTS, "--dataset", "kodak,sample", "--codecs", "vtm,ours"
    rows, tex, _ = draw(tmp_path, *words)
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    table_text = (tmp_path / "table.md").read_text(encoding="utf-8")
    for row in rows:
        start = f"| {CODECS[row['label']]} | "
        (line,) = (line.removeprefix(start) for line in readme if line.startswith(start))
        psnr, lpips, _, kmac, seconds = line.strip(" |").split(" | ")
        assert (psnr in table_text, lpips in table_text) == (True, True)
        assert f"{float(row['seconds_per_megapixel']):.2g}" == seconds
        assert f"{float(row['kmac_per_pixel'] or 'nan'):.0f}" == kmac.replace("–", "nan")
    assert table_text.count("[") > 4
    assert "[" not in tex


def test_seconds_are_those_of_one_machine(tmp_path):
    for dataset, machine, codecs in (("one", "A", "jpeg"), ("two", "B", "webp,avif")):
        timed = {"timing": True, "machine": machine, "encode_seconds": 0.004, "image": dataset}
        rows = [row | timed for codec in codecs.split(",") for row in sweep(codec)]
        untimed = [row | {"image": dataset} for row in sweep("jpeg") if dataset == "two"]
        Store(tmp_path / dataset).append([*rows, *untimed])
    words = "--results", tmp_path, "--dataset", "one,two", "--anchor", "jpeg", "--metrics", "psnr"
    rows, tex, _ = draw(tmp_path / "out", *words)
    seconds = {row["label"]: float(row["seconds_per_megapixel"] or "nan") for row in rows}
    assert seconds.keys() == {"jpeg", "webp", "avif"}
    assert (seconds["webp"], math.isnan(seconds["jpeg"])) == (seconds["avif"], True)
    assert "alone on B." in tex


def test_all_takes_every_system_into_the_table(tmp_path):
    words = "--results", RESULTS, "--dataset", "kodak", "--metrics", "psnr"
    few, everything = (
        {row["label"] for row in draw(tmp_path, *words, *options)[0]}
        for options in ((), ("--all",))
    )
    assert few < everything
    assert len(few) <= MAX_CURVES


def test_marks_are_of_cells():
    table = Table(("a", "b"), (("x_1", "-2"), ("y", "3")), 1)
    text = latex(table, {(0, 1): "best", (1, 1): "second"}, [("", 1), ("50 %", 1)], "ab", (1,))
    assert text.splitlines()[3:9] == [
        r"\multicolumn{1}{c}{} & \multicolumn{1}{c}{50 \%} \\", r"\cmidrule(lr){2-2}", r"a & b \\",
        r"\midrule", r"x\_1 & \textbf{\boldmath $-$2} \\", r"\midrule",
    ]  # fmt: skip
    assert "| x_1 | **-2** |\n| y | *3* |" in markdown(table, {(0, 1): "best", (1, 1): "second"})


def test_the_table_compiles(tmp_path):
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no LaTeX: pdflatex is not installed")
    words = "--codecs", "ours,vtm,elic,hyperprior", "--published", "hific,mlic++"
    _, tex, _ = draw(tmp_path, "--results", RESULTS, "--dataset", "kodak,sample", *words)
    (tmp_path / "paper.tex").write_text(DOCUMENT.format("\\input{table}"))
    command = [program, "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
    assert r"\underline" in tex


def cells_of(tex):
    body = [line.removesuffix(r" \\").split(" & ") for line in tex.splitlines() if " & " in line]
    return {line[0]: line[1:] for line in body}


def test_columns_at_a_rate_are_those_of_rank_and_another_rule_is_marked_and_never_best(tmp_path):
    options = {"codecs": "vtm,ours", "metrics": "lpips", "published": "ms-illm"}
    frame = benchmark.rank(RESULTS / "kodak", "bpp=.2", **options).set_index("codec")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    words = "--results", RESULTS, "--dataset", "kodak", "--at", "bpp=.2", *words
    rows, tex, output = draw(tmp_path / "out", *words)
    for row in rows:
        label = row["label"] if row["label"] in frame.index else row["system"].removesuffix("§")
        for end in ("", "_low", "_high"):
            value = row[f"kodak bpp=0.2 lpips_alex{end}"] or "nan"
            assert float(value) == pytest.approx(frame.loc[label, f"lpips_alex{end}"], nan_ok=True)
    cells = cells_of(tex)
    best_row = min((row for row in rows if row["from"] == "bundled"),
                key=lambda row: float(row["kodak bpp=0.2 lpips_alex"]))  # fmt: skip
    assert cells["CRDR $\\beta$=3.84"][0].startswith(r"\textbf{")
    assert best_row["system"] == "CRDR β=3.84"
    foreign = next(row for row in rows if row["from"] == "published")
    assert float(foreign["kodak bpp=0.2 lpips_alex"]) < float(best_row["kodak bpp=0.2 lpips_alex"])
    (cell, *_) = next(cells[name] for name in cells if name.startswith("MS-ILLM"))
    assert cell.endswith(r"\S{}")
    assert not cell.startswith("\\")
    assert foreign["kodak bpp=0.2 lpips_alex_other_rule"] in output
    assert "BD-rate" not in tex


def test_columns_at_a_quality_stand_beside_bd_rates_and_few_points_are_enough(tmp_path):
    words = *fill(tmp_path), "--anchor", "jpeg", "--metrics", "psnr,lpips", "--at", "psnr=22,60"
    rows, tex, output = draw(tmp_path / "out", *words, "--bd-rates")
    by_label = {row["label"]: row for row in rows}
    jpeg, webp, jpegxl = (by_label[label] for label in ("jpeg", "webp", "jpegxl"))
    assert float(webp["set psnr_db bd_rate_percent"]) == pytest.approx(-50, abs=0.1)
    assert float(webp["set psnr=22 to_anchor"]) == pytest.approx(-50, abs=0.5)
    image_bytes = float(jpeg["set psnr=22 bpp"]) * WIDTH * HEIGHT / 8
    assert float(jpeg["set psnr=22 image_bytes"]) == pytest.approx(image_bytes)
    assert jpegxl["set psnr=22 points"] == "2"
    assert jpegxl["set psnr=22 bpp"]
    assert " 2 points: JPEG XL" in output
    groups = next(line for line in tex.splitlines() if "multicolumn" in line)
    titles = [title in groups for title in ("BD-rate", "At PSNR 22", "At PSNR 60")]
    assert titles == [True, True, False]
    alone, *_ = draw(tmp_path / "alone", *words)
    assert not any("bd_rate" in name for name in alone[0])
    with pytest.raises(UsageError, match="psnr=60 not reached"):
        invoked("table", *words[:-1], "psnr=60", catch_exceptions=False)


def test_a_codec_that_does_not_reach_a_rate_has_a_row_and_the_command_that_searches(tmp_path):
    values, smallest = dict.fromkeys(("jpeg", "webp"), (30, 31, 32)), {"jpeg": 100, "webp": 400}
    words = store_lines(tmp_path, values, lambda codec, n: smallest[codec] * 2**n)
    bpp = 8 * 200 / (WIDTH * HEIGHT)
    rows, tex, output = draw(tmp_path / "out", *words, "--at", f"bpp={bpp}")
    assert [row[f"set bpp={bpp:g} psnr_db"] for row in rows] == ["31.0", ""]
    webp_cells = next(cells for name, cells in cells_of(tex).items() if name.startswith("WebP"))
    assert webp_cells[0] == "--"
    command = f"bench run --dataset set --codecs webp --target bpp={bpp:g} --results {tmp_path}"
    assert f"`{command}`" in output
    assert "4 points" not in output
