"""Curves explained: numbers of public threads, and curves made of rows by a rule."""

import json

import numpy as np
import pytest

from benchmark.published.explain import (
    Reference,
    convert_to_decibels,
    interpolate_rates,
    predictions,
    rank_rules,
)
from benchmark.rows.store import Store
from support.bench.command import bench
from support.figures.published import RESULTS, from_registry

VTM = np.array(from_registry("VTM", "CompressAI", "kodak", "psnr_db")).T
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
    rows = Store(RESULTS / dataset).table().filter(codec=codec)
    rows = rows.sort("setting_value", "image", descending=[True, False])
    names = "psnr_db", "psnr_y_db", "ms_ssim", "num_bytes", "lpips_squeeze", "width_px", "height_px"
    shape = -1, rows["image"].n_unique()
    return {name: rows[name].to_numpy().reshape(shape).astype(float) for name in names}


def written(path, rates, values, column="psnr"):
    lines = [f"{float(rate)!r},{float(value)!r}" for rate, value in zip(rates, values, strict=True)]
    path.write_text("\n".join([f"bpp,{column}", *lines]))
    return path


def answer(path, *words):
    output = bench("explain", path, *words, "--json", code=0).stdout
    *rules, no_rule = json.loads(output, parse_constant=pytest.fail)["records"]  # no NaN
    assert no_rule["rule"] == "none"
    return rules, no_rule


KODAK, PIXELS = rows_of("kodak"), 768 * 512
BPP = 8 * KODAK["num_bytes"] / PIXELS
SOME, REST = np.arange(24) < 8, np.arange(24) != 4
SQUARES = 255**2 / 10 ** (KODAK["psnr_db"] / 10)  # errors of the images


def of_mean(error):
    return 10 * np.log10(255**2 / error)


MADE = {  # rule that explains a curve: rates, values, column
    "mean_error": (BPP.mean(1), of_mean(SQUARES.mean(1)), "psnr"),
    "column:psnr_y_db": (BPP.mean(1), KODAK["psnr_y_db"].mean(1), "psnr"),
    "mean_of_db": (BPP.mean(1), (-10 * np.log10(1 - KODAK["ms_ssim"])).mean(1), "ms_ssim_db"),
    "column:lpips_squeeze": (BPP.mean(1), KODAK["lpips_squeeze"].mean(1), "lpips"),
    "subset:first 8 images": (BPP[:, SOME].mean(1), KODAK["psnr_db"][:, SOME].mean(1), "psnr"),
    "subset:without kodim05.png": (BPP[:, REST].mean(1), KODAK["psnr_db"][:, REST].mean(1), "psnr"),
    "ratio:bytes": (BPP.mean(1) / 8, KODAK["psnr_db"].mean(1), "psnr"),
    "ratio:samples": (BPP.mean(1) / 3, KODAK["psnr_db"].mean(1), "psnr"),
    "offset:header_left_out": (BPP.mean(1) - 0.004, KODAK["psnr_db"].mean(1), "psnr"),
    "ratio:version": (BPP.mean(1) * 1.04, KODAK["psnr_db"].mean(1), "psnr"),
    "excess:truncated": (BPP.mean(1), of_mean(SQUARES + 0.25).mean(1), "psnr"),
}


@pytest.mark.parametrize("rule", MADE)
def test_a_curve_by_another_rule_is_best_predicted_by_that_rule(tmp_path, rule):
    rates, values, column = MADE[rule]
    rules, no_rule = answer(written(tmp_path / "a.csv", rates, values, column), "--against", "vtm")
    first, residual_before = rules[0], no_rule["residual_db"]
    assert rule in (first["rule"], f"{first['rule']}:{first['cause']}")
    assert "pooled" not in {record["rule"] for record in rules}  # of equal sizes
    assert first["residual_db"] < 0.05
    assert residual_before is None or residual_before > 3 * first["residual_db"]
    residuals = [record["residual_db"] for record in rules if record["points"] == len(rates)]
    assert residuals == sorted(residuals)


NO_RULE = {  # rates and values that no rule makes; with other sizes of the same faults in the docs
    "half a decibel": (BPP.mean(1), KODAK["psnr_db"].mean(1) + 0.5),
    "harmonic means": (1 / (1 / BPP).mean(1), KODAK["psnr_db"].mean(1)),
    "upper quartiles": (BPP.mean(1), np.quantile(KODAK["psnr_db"], 0.75, axis=1)),
    "4 to 6 % fewer bits": (BPP.mean(1) * np.linspace(0.94, 0.96, 6), KODAK["psnr_db"].mean(1)),
    "12 % fewer bits": (BPP.mean(1) * np.linspace(0.875, 0.885, 6), KODAK["psnr_db"].mean(1)),
    "a little lower": (BPP.mean(1), KODAK["psnr_db"].mean(1) - 0.04),
}


@pytest.mark.parametrize("digits", [3, 9])
@pytest.mark.parametrize("fault", NO_RULE)
def test_no_rule_is_named_for_what_none_of_them_makes(tmp_path, fault, digits):
    rates, values = NO_RULE[fault]
    path = written(tmp_path / "a.csv", rates.round(digits), values.round(digits))
    output = bench("explain", path, "--against", "vtm", code=0).stdout
    assert "None of " in output


def test_where_all_rates_are_the_references_own_no_rule_moves_them(tmp_path):
    path = written(tmp_path / "a.csv", BPP.mean(1), KODAK["psnr_db"].mean(1) + 0.2)
    rules, _ = answer(path, "--against", "vtm")
    assert {rule["rule"].partition(":")[0] for rule in rules} == {"excess", "mean_error", "column"}
    rates = written(tmp_path / "b.csv", BPP.mean(1) * 1.1, KODAK["psnr_db"].mean(1))
    (first, *_), _ = answer(rates, "--against", "vtm")
    assert (first["rule"], first["cause"]) == ("ratio", ""), "all pictures have one size"


def test_images_of_several_sizes_pooled_are_that(tmp_path):
    sample = rows_of("sample")
    pixels = sample["width_px"] * sample["height_px"]
    pooled = 8 * sample["num_bytes"].sum(1) / pixels.sum(1)
    path = written(tmp_path / "a.csv", pooled, sample["psnr_db"].mean(1))
    (first, *_), _ = answer(path, "--dataset", "sample")
    assert (first["rule"], first["parameter"]) == ("pooled", None)


def test_the_threads_curve_is_a_truncating_conversion(tmp_path):
    path = written(tmp_path / "a.csv", *THREAD)
    for against in ("vtm", "VTM:CompressAI"):
        (first, *_), _ = answer(path, "--against", against)
        assert (first["rule"], first["cause"]) == ("excess", "conversion")
        assert first["parameter"] == pytest.approx(1.62, abs=0.06)
    output = bench("explain", path, "--against", "VTM:CompressAI").stdout
    assert "round" in output.splitlines()[-1]
    assert "none" in output.splitlines()[-2]


@pytest.mark.parametrize("thread", ONE_POINT)
def test_one_point_is_on_every_rule_with_a_parameter(thread, tmp_path):
    (rate, value), excess = ONE_POINT[thread]
    path = written(tmp_path / "a.csv", [rate], [value])
    rules, _ = answer(path, "--against", "VTM:CompressAI")
    (rule,) = (rule for rule in rules if rule["rule"] == "excess")
    assert (rule["parameter"], rule["residual_db"]) == pytest.approx((excess, 0), abs=0.02)
    output = bench("explain", path, "--against", "VTM:CompressAI").stdout
    assert "1 point, 1 at" in output
    assert "single" in output


def test_the_mean_of_decibels_beside_a_published_curve_of_ms_ssim_is_a_shift():
    first = rank_rules(Reference("saturating", VTM[0], VTM[1] / 2), VTM[0], VTM[1] / 2 + 0.3)[0]
    assert (first["rule"], first["cause"]) == ("average", "other_average")
    assert first["parameter"] == pytest.approx(0.3, abs=0.006)
    distance = rank_rules(Reference("distance", VTM[0], -VTM[1]), VTM[0], -VTM[1] - 2)[0]
    assert (distance["rule"], distance["cause"]) == ("shift", "net_or_patches")


def test_another_codec_is_none_of_the_rules(tmp_path):
    bent = written(tmp_path / "b.csv", VTM[0], VTM[1] + 1.5 * np.linspace(-1, 1, VTM[0].size) ** 2)
    for curve in ("HM:CompressAI", bent):
        result = bench("explain", curve, "--against", "VTM:CompressAI")
        assert "None of " in result.stdout


@pytest.mark.parametrize("digits", [(17, 17), (3, 2)], ids=["exact", "printed"])
def test_the_same_curve_needs_no_explanation_in_any_folder(tmp_path, monkeypatch, digits):
    bpp, psnr = BPP.mean(1).round(digits[0]), KODAK["psnr_db"].mean(1).round(digits[1])
    assert digits[0] > 3 or min(bpp) < 0.9988 * min(BPP.mean(1)), "rounded to beyond the end"
    path = written(tmp_path / "a.csv", bpp, psnr)
    monkeypatch.chdir(tmp_path)  # without results: the rows of the project
    assert "nothing" in bench("explain", path).stdout


@pytest.mark.parametrize(("scale", "values", "decibels"), [
    ("psnr", [30.0, 40.0], [30, 40]), ("saturating", [0.9, 0.99], [10, 20]),
    ("distance", [0.1, 100.0], [-10, 20]),
])  # fmt: skip
def test_qualities_and_distances_are_compared_in_decibels(scale, values, decibels):
    assert convert_to_decibels(values, scale) == pytest.approx(decibels, rel=1e-12)


def test_a_rule_leaves_the_root_mean_square_of_its_points():
    bpp = np.array([0.1, 0.2, 0.4, 0.8])
    reference = Reference("psnr", bpp, np.array([30.0, 33.0, 36.0, 39.0]))
    predicted = {rule: prediction for rule, _, prediction in predictions(reference, bpp)}
    measured = reference.decibels + np.array([0.3, -0.1, 0.2, 0.0])
    (excess,) = (r for r in rank_rules(reference, bpp, measured) if r["rule"] == "excess")
    errors = 255**2 / 10 ** (reference.decibels / 10) + excess["parameter"]
    residual = np.sqrt(((of_mean(errors) - measured) ** 2).mean())
    assert excess["residual_db"] == pytest.approx(residual, rel=1e-9)
    residuals = np.sqrt(((predicted["excess"] - measured) ** 2).mean(axis=1))
    assert excess["residual_db"] == pytest.approx(np.nanmin(residuals), rel=1e-9)


def test_a_rate_that_was_printed_is_not_beyond_the_end_of_a_curve():
    rates = np.array([0.1 / 1.004, 0.8 * 1.004, 0.2, 0.1 / 1.006, 0.0, 0.81])
    backwards = np.array([0.8, 0.4, 0.2, 0.1]), np.array([39.0, 36.0, 33.0, 30.0])
    expected = [30, 39, 33, *[np.nan] * 3]
    np.testing.assert_allclose(interpolate_rates(*backwards, rates), expected, rtol=1e-12)


@pytest.mark.parametrize(("words", "message"), [
    (["--metrics", "lpips"], "LPIPS"),
    (["--against", "nothing"], "published"),
    (["--against", "JPEG:4:2:0", "--metrics", "ms_ssim"], "MS-SSIM"),
    (["--against", "VTM:CompressAI", "--dataset", "div2k"], "div2k"),
])  # fmt: skip
def test_what_cannot_be_compared_is_a_sentence(tmp_path, words, message):
    result = bench("explain", written(tmp_path / "a.csv", *THREAD), *words)
    assert result.returncode == 2
    assert message in result.stderr
