"""Curves explained: numbers of public threads, and curves made of rows and pictures by a rule."""

import json
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from PIL import Image

from benchmark.compare.published.curves import published_curves
from benchmark.compare.published.registry import read_points
from benchmark.review.explain.curve_rules import (
    Reference,
    candidates,
)
from benchmark.review.explain.explain import counted_images, explain
from support.bench.command import bench
from support.figures.published import PSNR, RESULTS, from_registry

VTM = np.array(from_registry("VTM", "CompressAI", "kodak", "psnr_db")).T
HM = np.array(from_registry("HM", "CompressAI", "kodak", "psnr_db")).T
# HiFi-VRIC issue 3: VTM 12.1 on Kodak by CompressAI's script
THREAD = np.array([
    (0.15513695610894096, 29.44167385471475), (0.21201070149739584, 30.518182550138793),
    (0.28607177734375006, 31.66461774953432), (0.3769209120008681, 32.81709898226944),
    (0.49040137396918393, 33.99820465191855), (0.6259062025282118, 35.17724886235666),
    (0.784409417046441, 36.315253798837844), (0.9710701836480037, 37.4208194248964),
    (1.1849322848849826, 38.44499331100548), (1.4310870700412328, 39.376790247559306),
]).T  # fmt: skip
ONE_POINT = {  # CompressAI issues 324 (VTM 17.0) and 210 (VTM 9.1), and their excess error
    "324": ((0.8748474121093751, 36.89079529766054), 1.53),
    "210": ((3.6326090494791665, 43.09287911591), 1.76),
}


def rows_of(dataset, codec="vtm"):
    """Return a codec's bundled values, columns by name of shape (settings, images)."""
    for path in sorted((RESULTS / dataset / "per_image").glob("*.parquet")):
        table = pl.read_parquet(path)
        table = table.filter(codec=codec)
        if table.height:
            table = table.sort("setting_value", "image", descending=[True, False])
            count = table["image"].n_unique()
            names = "psnr_db", "psnr_y_db", "ms_ssim", "lpips_alex", "num_bytes"
            names += "lpips_squeeze", "width_px", "height_px"
            return {n: table[n].to_numpy().reshape(-1, count).astype(float) for n in names}
    raise LookupError(codec)


def written(path, rates, values, column="psnr"):
    lines = [f"{float(rate)!r},{float(value)!r}" for rate, value in zip(rates, values, strict=True)]
    path.write_text("\n".join([f"bpp,{column}", *lines]))
    return path


def answer(path, *words):
    done = bench("explain", path, *words, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout, parse_constant=pytest.fail)  # no NaN, no Infinity
    return result, result["verdicts"][0]


KODAK, PIXELS = rows_of("kodak"), 768 * 512
BPP = 8 * KODAK["num_bytes"] / PIXELS
SOME = np.arange(24) < 8
WIDE = KODAK["width_px"][0] > KODAK["height_px"][0]


def of_mean(error):
    return 10 * np.log10(255**2 / error)


MADE = {  # rule that explains a curve: rates, values, column
    "mean_error": (BPP.mean(1), of_mean((255**2 / 10 ** (KODAK["psnr_db"] / 10)).mean(1)), "psnr"),
    "column:psnr_y_db": (BPP.mean(1), KODAK["psnr_y_db"].mean(1), "psnr"),
    "mean_of_db": (BPP.mean(1), (-10 * np.log10(1 - KODAK["ms_ssim"])).mean(1), "ms_ssim_db"),
    "column:lpips_squeeze": (BPP.mean(1), KODAK["lpips_squeeze"].mean(1), "lpips"),
    "subset:first 8 images": (BPP[:, SOME].mean(1), KODAK["psnr_db"][:, SOME].mean(1), "psnr"),
    "subset:landscape images": (BPP[:, WIDE].mean(1), KODAK["psnr_db"][:, WIDE].mean(1), "psnr"),
    "ratio:bytes": (BPP.mean(1) / 8, KODAK["psnr_db"].mean(1), "psnr"),
    "ratio:samples": (BPP.mean(1) / 3, KODAK["psnr_db"].mean(1), "psnr"),
    "offset:header_left_out": (BPP.mean(1) - 0.004, KODAK["psnr_db"].mean(1), "psnr"),
    "ratio:version": (BPP.mean(1) * 1.04, KODAK["psnr_db"].mean(1), "psnr"),
    "excess:truncated": (
        BPP.mean(1),
        of_mean(255**2 / 10 ** (KODAK["psnr_db"] / 10) + 0.25).mean(1),
        "psnr",
    ),
}


@pytest.mark.parametrize("rule", MADE)
def test_a_curve_by_another_rule_is_explained_by_that_rule(tmp_path, rule):
    rates, values, column = MADE[rule]
    result, first = answer(written(tmp_path / "a.csv", rates, values, column), "--against", "vtm")
    assert first["cause"] in (rule, rule.partition(":")[2])
    assert first["cause"] in result["named"]
    assert "pooled" not in {verdict["cause"] for verdict in result["verdicts"]}  # of equal sizes
    assert first["residual_db"] < 0.05 < result["before_db"]


@pytest.mark.parametrize("count", [20, 12])
@pytest.mark.parametrize("first", [True, False])
def test_rates_over_fewer_images_are_said_and_are_no_equal_curve_nor_a_codec(
    tmp_path, first, count
):
    some = np.arange(24) < count if first else np.arange(24) >= 24 - count
    curve = BPP[:, some].mean(1), KODAK["psnr_db"][:, some].mean(1)
    path = written(tmp_path / "a.csv", *curve)
    result, likeliest = answer(path, "--against", "vtm")
    sure = count == 20  # 24 streams may have whole bytes over 12 images
    assert (result["counted"], result["other_images"]) == (count, sure or None)
    if likeliest["cause"] != f"subset:first {count} images":
        assert result["named"] == []
        said = bench("explain", path, "--against", "vtm").stdout.splitlines()[-1]
        assert said.startswith("Its rates are not" if sure else "Undecided: its rates may be of 12")


def test_images_of_several_sizes_pooled_are_that(tmp_path):
    sample = rows_of("sample")
    pixels = sample["width_px"] * sample["height_px"]
    pooled = 8 * sample["num_bytes"].sum(1) / pixels.sum(1)
    path = written(tmp_path / "a.csv", pooled, sample["psnr_db"].mean(1))
    result, _ = answer(path, "--dataset", "sample")
    assert result["named"] == ["pooled"]


def test_the_threads_curve_is_a_truncating_conversion(tmp_path):
    path = written(tmp_path / "a.csv", *THREAD)
    stored, first = answer(path)
    assert first["cause"] == "conversion"
    assert first["cause"] in stored["named"]
    assert first["parameter"] == pytest.approx(1.64, abs=0.03)
    assert stored["counted"] == 24
    published, first = answer(path, "--against", "VTM:CompressAI")
    assert (first["cause"], first["cause"] in published["named"]) == ("conversion", True)
    assert (published["same_rates"], published["counted"]) == (2, 24)


@pytest.mark.parametrize("thread", ONE_POINT)
def test_of_one_point_no_cause_is_named_and_a_truncating_conversion_is_among_them(thread):
    (rate, value), excess = ONE_POINT[thread]
    result = explain(Reference("psnr", *VTM), np.array([rate]), np.array([value]))
    (cause,) = (v for v in result.verdicts if v.cause == "conversion")
    assert (result.named, result.same_rates) == ((), 1)
    assert (cause.parameter, cause.residual_db) == pytest.approx((excess, 0), abs=0.02)


def test_the_mean_of_decibels_is_named_beside_a_published_curve_of_ms_ssim():
    curve = Reference("saturating", VTM[0], VTM[1] / 2)
    assert [v.cause for v in explain(curve, VTM[0], VTM[1] / 2 + 0.3).named] == ["mean_of_db"]


def test_hm_with_the_excess_of_a_thread_is_explained_and_with_a_fifth_more_bits_it_is_not():
    worse = of_mean(255**2 / 10 ** (HM[1] / 10) + 1.74)
    first = explain(Reference("psnr", *HM), HM[0], worse).named[0]
    assert first.cause == "conversion"
    assert first.parameter == pytest.approx(1.74, abs=0.02)
    other = explain(Reference("psnr", *VTM), HM[0], HM[1])  # HM is no VTM of any rule
    assert (other.named, other.unknown > 0.9) == ((), True)
    cropped, dearer = (explain(Reference("psnr", *VTM), k * VTM[0], VTM[1]) for k in (1.3, 1.4))
    assert ([v.cause for v in cropped.named], dearer.named) == (["pixels"], ())


def test_few_published_curves_of_other_codecs_are_taken_for_vtm():
    curves = published_curves(read_points(RESULTS, doubtful=True), "kodak", PSNR)
    series = {c.name: np.array([(p.bpp, p.value) for p in c.points]).T for c in curves}
    others = {name: s for name, s in series.items() if "VTM" not in name and s.shape[1] > 3}
    explained = set()
    for name, (rates, values) in others.items():
        with suppress(ValueError):
            explained |= {name} if explain(Reference("psnr", *VTM), rates, values).named else set()
    assert len(others) > 150
    assert len(explained) / len(others) < 0.05


def test_the_same_curve_needs_no_explanation_in_any_folder(tmp_path, monkeypatch):
    path = written(tmp_path / "a.csv", BPP.mean(1), KODAK["psnr_db"].mean(1))
    monkeypatch.chdir(tmp_path)  # without results: the rows of the project
    done = bench("explain", path)
    assert "there is nothing to explain" in done.stdout


def test_the_same_curve_as_a_table_prints_it_ends_where_it_ended(tmp_path):
    bpp, values = BPP.mean(1).round(3), KODAK["psnr_db"].mean(1).round(2)
    assert min(bpp) < 0.9988 * min(BPP.mean(1)), "rounded to beyond the end"
    done = bench("explain", written(tmp_path / "a.csv", bpp, values))
    assert "there is nothing to explain" in done.stdout


def test_a_smooth_difference_of_no_known_cause_is_none_of_them(tmp_path):
    rates, u = THREAD[0], np.linspace(-1, 1, len(THREAD[0]))
    base = next(iter(candidates(Reference("psnr", *VTM), rates))).predicted[0]  # the curve itself
    path = written(tmp_path / "a.csv", rates, base + 1.5 * u**2 - 1)
    done = bench("explain", path, "--against", "VTM:CompressAI")
    assert "None of the known differences of protocol explains the gap." in done.stdout
    rates, u = VTM[0], np.linspace(-1, 1, len(VTM[0]))
    path = written(tmp_path / "b.csv", rates, VTM[1] + 1.5 * u**2 - 1)
    equal = bench("explain", path, "--against", "VTM:CompressAI")
    assert "At equal rates it is another decoder or average, not" in equal.stdout


def test_whole_bytes_count_the_images():
    rates = (BPP[:, :21].mean(1)).tolist()
    assert counted_images(rates, PIXELS) == 21
    assert counted_images([rate * 1.0001 for rate in rates], PIXELS) == 0
    assert counted_images([0.155, 0.3, 0.443], PIXELS) is None  # too few digits
    rates = [8 * size / (3 * PIXELS) for size in (10001, 20000, 40003)]
    assert [counted_images(np.round(rates, digits), PIXELS) for digits in (7, 12)] == [None, 3]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--metrics", "lpips"], "has no LPIPS"),
        (["--against", "nothing"], "published system"),
        (["--against", "JPEG:4:2:0", "--metrics", "ms_ssim"], "has no MS-SSIM"),
        (["--against", "VTM:CompressAI", "--dataset", "div2k"], "no published curve on div2k"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(tmp_path, words, named):
    done = bench("explain", written(tmp_path / "a.csv", *THREAD), *words)
    assert done.returncode == 2
    assert named in done.stderr


def test_an_error_of_two_causes_is_named_by_both():
    values = 255**2 / 10 ** (VTM[1] / 10) + 0.58
    result = explain(Reference("psnr", *VTM, None), VTM[0], 10 * np.log10(255**2 / values))
    assert {v.cause for v in result.named} == {"truncated", "conversion"}


def test_the_figure_has_the_rule_on_top_of_the_curve(tmp_path):
    path = written(tmp_path / "a.csv", *THREAD)
    shown = explain(Reference("psnr", *VTM, None), *THREAD).named[0]
    np.testing.assert_allclose(shown.predicted, THREAD[1], atol=0.05)
    done = bench("explain", path, "--figure", tmp_path / "why.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.width > 500
    done = bench("explain", path, "--figure", tmp_path / "why.gif")
    assert (done.returncode, "why.gif" in done.stderr) == (2, True)
