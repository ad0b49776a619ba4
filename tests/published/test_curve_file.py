"""Curves in files of others, and BD-rates of two of them, against formulas written out here."""

import json
import re

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.interpolate import Akima1DInterpolator

from benchmark.errors import UsageError
from benchmark.published.curve_file import read_curves
from support.bench.command import bench

RATES, PSNR = (0.1, 0.2, 0.4, 0.8, 1.2), (28.0, 30.1, 32.5, 35.3, 37.0)
MS_SSIM = (0.94, 0.96, 0.976, 0.9875, 0.991)
DB = tuple(-10 * np.log10(1 - value) for value in MS_SSIM)
ROWS = list(zip(RATES, PSNR, MS_SSIM, strict=True))
FORMS = {
    "plain.csv": "bpp,psnr,ms-ssim\n" + "\n".join(f"{r},{p},{m}" for r, p, m in ROWS),
    "db.csv": "image,Bit-rate (bpp),PSNR [dB],MS-SSIM (dB)\n"
    + "\n".join(f"all,{r},{p},{d}" for (r, p, _), d in zip(ROWS, DB, strict=True)),
    "semicolons.csv": "# Kodak\n\nRate;PSNR;MSSIM;MS_SSIM\n"
    + "\n".join(f"{r};{p};x;{m}" for r, p, m in reversed(ROWS)),
    "tabs.txt": "BPP\tPSNR_RGB\tMS-SSIM-RGB\n" + "\n".join(f"{r}\t{p}\t{m}" for r, p, m in ROWS),
    "blanks.dat": "bpp  psnr  ms_ssim\n" + "\n".join(f"{r}  {p}  {m}" for r, p, m in ROWS),
    "README.md": "# Ours\n\n| no | rates |\n|---|---|\n\n"
    "| **bpp** | `PSNR` | MS-SSIM |\n|:--|--:|---|\n"
    + "\n".join(f"| {r} | **{p}** | {m} |" for r, p, m in ROWS)
    + "\n\nSee the paper.\n",
    "zoo.json": json.dumps(
        {"name": "x", "results": {"bpp": RATES, "psnr-rgb": PSNR, "ms-ssim-rgb": MS_SSIM, "t": [1]}}
    ),
    "lists.json": json.dumps({"bpp": RATES, "psnr": PSNR, "ms-ssim": DB}),
    "rows.json": json.dumps([{"bpp": r, "PSNR": p, "MS-SSIM": m} for r, p, m in ROWS]),
}


@pytest.mark.parametrize("name", FORMS)
def test_usual_forms_of_a_curve_are_one_curve(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name])
    (curve,) = read_curves(tmp_path / name)
    assert curve.name == ("x" if name == "zoo.json" else (tmp_path / name).stem)
    assert curve.db_columns == (("ms_ssim",) if name in ("db.csv", "lists.json") else ())
    assert curve.series["psnr_db"] == (RATES, PSNR)
    np.testing.assert_allclose(curve.series["ms_ssim"], (RATES, MS_SSIM), rtol=1e-12)


def test_rows_of_several_codecs_are_a_curve_each(tmp_path):
    (tmp_path / "a.csv").write_text("Method,bpp,psnr\nA,.1,28\nB,.2,30\nA,.3,31\n")
    curves = {curve.name: curve.series["psnr_db"] for curve in read_curves(tmp_path / "a.csv")}
    assert curves == {"A": ((0.1, 0.3), (28, 31)), "B": ((0.2,), (30,))}


OTHERS = ("rate (kB)", "Rate [bits/subpixel]", "bpp (luma)", "Bitrate (kbit/s)", "rate, bytes")


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.csv", "bpp,quality\n.1,28\n", "bpp, quality"),
    ("a.csv", "", "empty"),
    ("a.csv", "bpp,psnr\n", " rows"),
    ("a.csv", "bpp,psnr\n.1,high\n", "row 2, psnr"),
    ("a.csv", "bpp,psnr\n.1,nan\n", "row 2, psnr"),
    ("a.csv", "bpp,psnr\n.1,28\n0,28\n", "rate"),
    ("a.csv", "bpp,psnr\n.1,28\n1000,28\n", "rate"),
    ("a.csv", "bpp,psnr\n.1,28\n.2,\n", "row 3, psnr "),
    ("a.csv", "bpp,psnr\n.1,28\n.2,1000001\n", " psnr_db"),
    ("a.csv", "bpp,ms-ssim (db)\n.1,9\n.2,200.5\n", " ms_ssim_db"),
    ("a.json", '{"bpp": [0.1]}', "(bpp)"),
    ("a.json", '{"psnr": [28], "ms-ssim": [0.9]}', "(bpp)"),
    ("a.json", '{"bpp": [], "psnr": [28]}', " numbers"),
    ("a.json", "{", "JSON"),
    ("a.json", "[1]", "list"),
    ("a.json", '[{"bpp": 1, "psnr": 2}, 1]', "list"),
    ("a.json", '{"bpp": [0.1, 0.2], "psnr": [28]}', "lengths"),
    ("a.csv", "\udcff", "UTF-8"),
    ("a.csv", "bpp,psnr,psnr\n.1,28,29\n.2,30,31\n", "(psnr)"),
    ("a.csv", "bpp,psnr,PSNR [dB]\n.1,28,29\n.2,30,31\n", "(psnr and PSNR [dB])"),
    ("a.csv", "bpp,rate,psnr\n.1,.1,29\n.2,.2,31\n", "(bpp and rate)"),
    ("a.csv", "bpp,ms-ssim,ms-ssim (db)\n.1,.9,9\n", "(ms-ssim and ms-ssim (db))"),
    ("a.csv", "bpp,psnr\n.1,28\n.2,30,5\n", "row 3 "),
    ("a.csv", "bpp,ms-ssim\n.1,91%\n.2,93%\n", "'91%'"),
    ("a.csv", "bpp,psnr\n10%,28\n20%,30\n", "'10%'"),
    ("a.json", '{"bpp": [0.1], "bpp": [1], "psnr": [28]}', "'bpp'"),
    ("a.json", '{"bpp": [0.1], "psnr": [28], "PSNR": [29]}', "(psnr and PSNR)"),
    ("a.json", '{"bpp": [], "psnr": []}', " numbers"),
    ("a.json", '{"results": {"bpp": [], "ms-ssim": []}}', " numbers"),
    ("a.json", "[]", "list"),
    ("a.csv", "bpp,psnr\n0_1,30\n", "row 2, bpp "),
    *(("a.csv", f'"{rate}",psnr\n.1,28\n.2,30\n', "(bpp) ") for rate in OTHERS),
    *(("a.csv", f"{name},bpp,psnr\nk1,.1,31\nk2,.2,32\n", f" {name}: ")
      for name in ("image", "File name", "filename")),
])  # fmt: skip
def test_a_file_that_is_no_curve_is_named_with_what_is_wrong(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        read_curves(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    with pytest.raises(UsageError, match=r"absent\.csv "):
        read_curves(tmp_path / "absent.csv")


def test_both_forms_of_bd_rate_are_those_of_their_formulas(tmp_path):
    """VCEG-M33 has polynomials of the third degree of log rate over quality."""
    test_curve = (0.08, 0.19, 0.33, 0.7, 1.15), (27.5, 30.2, 32.1, 35.4, 37.2)
    for name, (rates, values) in {"anchor": (RATES, PSNR), "test": test_curve}.items():
        rows = [f"{rate},{value}" for rate, value in zip(rates, values, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["bpp,psnr", *rows]))
    result = bench("bd", tmp_path / "anchor.csv", tmp_path / "test.csv", "--json", code=0)
    rows = {row["form"]: row for row in json.loads(result.stdout)["records"]}
    fits = {
        "cubic": lambda x, y: Polynomial.fit(x, y, 3).integ(),
        "akima": lambda x, y: Akima1DInterpolator(x, y).antiderivative(),
    }
    for form, fit in fits.items():
        integrals = [fit(psnr, np.log10(bpp)) for bpp, psnr in ((RATES, PSNR), test_curve)]
        first, second = (integral(37.0) - integral(28.0) for integral in integrals)
        expected = 100 * (10 ** ((second - first) / 9) - 1)
        assert rows[form]["bd_rate_percent"] == pytest.approx(expected, rel=1e-3)
    assert rows["akima"]["overlap"] == pytest.approx((37 - 28) / (37.2 - 27.5))


def test_a_crossing_a_point_off_the_front_and_little_overlap_are_said(tmp_path):
    curves = {
        "a": "bpp,psnr\n.1,28\n.2,31\n.4,34\n.8,37\n1.2,39\n",
        "crossing": "bpp,psnr\n.1,29\n.2,31.5\n.4,31.2\n.5,33.9\n.8,36.2\n1.2,38\n",
        "above": "bpp,psnr\n1.1,38.7\n1.3,39.3\n1.6,41\n2,44\n",
        "three": "bpp,psnr\n.1,29\n.2,32\n.8,37\n",
        "apart": "bpp,psnr\n.1,18\n.2,19\n.3,20\n.4,21\n",
    }
    for name, text in curves.items():
        (tmp_path / f"{name}.csv").write_text(text)

    for name, options, *sentences in (
        ("crossing", (), "cross at 32.33",
         "crossing has points below its Pareto front", "0.4 bpp by 0.3"),
        ("above", (), " third"), ("above", ("--any-overlap",), "-0.78†"),
        ("three", (), "3 of the 4 points"), ("apart", (), "no BD-rate"),
    ):  # fmt: skip
        for verb in (("bd",), ("published", "compare")):
            result = bench(*verb, tmp_path / "a.csv", tmp_path / f"{name}.csv", *options, code=0)
            assert all(sentence in result.stdout for sentence in sentences), (verb, name)


@pytest.mark.parametrize(("text", "series"), [
    ("psnr,note,note\n.1,28,x,y\n,,z\n.2,30,,,,\n", {"psnr_db": (28, 30)}),
    ("ms-ssim\n.1,.9\n.2,1\n", {"ms_ssim": (0.9, 1)}),
    ("ms-ssim\n.1,0\n.2,10\n", {"ms_ssim": (0, 0.9)}),  # in dB
    ("psnr,ms-ssim (db)\n.1,1e6,200\n.2,1,0\n", {"psnr_db": (1e6, 1), "ms_ssim": (1, 0)}),
])  # fmt: skip
def test_what_a_file_may_have(text, series, tmp_path):
    """Blank lines, empty cells at ends, an unknown column twice, the largest values."""
    path = tmp_path / "a.csv"
    path.write_text(f"bpp,{text}")
    (curve,) = read_curves(path)
    assert curve.series == {column: ((0.1, 0.2), values) for column, values in series.items()}


CHANNELS = "PSNR (U)", "PSNR [Cb]", "PSNR (dB, Y)", "LPIPS (mine)", "FID (512)", "SSIM [dB]"


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_network_or_scale_of_another_name_is_another_metric(tmp_path, name):
    (tmp_path / "a.md").write_text(f"| bpp | {name} |\n|--|--|\n| .1 | .3 |\n")
    (tmp_path / "a.csv").write_text(f'bpp,"{name}",psnr_y\n.1,.3,30\n')
    (tmp_path / "a.txt").write_text(f"bpp {name}\n.1 .3\n")
    for file_name in ("a.md", "a.txt"):
        with pytest.raises(UsageError, match=r"\(bpp\) "):
            read_curves(tmp_path / file_name)
    (curve,) = read_curves(tmp_path / "a.csv")
    assert curve.series == {"psnr_y_db": ((0.1,), (30.0,))}


def test_units_that_say_no_more_than_the_name_are_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text('"Rate (bits per pixel)","PSNR (RGB, dB)"\n.1,30\n')
    (curve,) = read_curves(tmp_path / "a.csv")
    assert curve.series == {"psnr_db": ((0.1,), (30.0,))}


def test_a_name_that_the_first_record_lacks_still_tells_curves_apart(tmp_path):
    records = [{"bpp": 0.1, "psnr": 28}, {"codec": "B", "bpp": 0.2, "psnr": 30},
               {"codec": "C", "bpp": 0.3, "psnr": 31}]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(records))
    curves = {curve.name: curve.series["psnr_db"] for curve in read_curves(tmp_path / "a.json")}
    assert curves == {"a": ((0.1,), (28,)), "B": ((0.2,), (30,)), "C": ((0.3,), (31,))}


def test_names_with_odd_separators_and_hashes_are_names(tmp_path):
    names = ["u\u2028x", "v\x0bx", "n\x85x", "#1", "plain"]
    lines = [f"{name},.{number},3{number}" for number, name in enumerate(names, 1)]
    (tmp_path / "a.csv").write_text("\n".join(["# by me", "codec,bpp,psnr", *lines, "# A,.9,40"]))
    curves = {curve.name: curve.series["psnr_db"] for curve in read_curves(tmp_path / "a.csv")}
    assert curves == {
        "u x": ((0.1,), (31,)), "v x": ((0.2,), (32,)), "n x": ((0.3,), (33,)),
        "#1": ((0.4,), (34,)), "plain": ((0.5,), (35,)),
    }  # fmt: skip
