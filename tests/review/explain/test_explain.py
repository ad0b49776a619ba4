"""Curves explained: numbers of public threads, and curves made of rows and pictures by a rule."""

import json
from contextlib import suppress
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image
from skimage import data

from benchmark.compare.published.curves import published_curves
from benchmark.compare.published.registry import read_points
from benchmark.review.explain.curve_rules import (
    Images,
    Reference,
    candidates,
    colour_errors,
    to_rgb,
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


def test_rates_of_seven_digits_are_too_coarse_to_count_images():
    rates = [8 * size / (3 * PIXELS) for size in (10001, 20000, 40003)]
    assert [counted_images(np.round(rates, digits), PIXELS) for digits in (7, 12)] == [None, 3]


def test_another_range_scales_luma_and_the_distances_to_it():
    colours = np.array([[[180, 100, 60], [40, 90, 200]]], np.uint8)
    luma = colours @ np.array([[0.2126], [0.7152], [0.0722]])
    errors = colour_errors(colours)
    for name, of_luma, scale in (
        ("range_expanded", (luma - 16) * 255 / 219, 255 / 224),
        ("range_reduced", luma * 219 / 255 + 16, 224 / 255),
    ):
        wrong = np.clip(np.rint(of_luma + scale * (colours - luma)), 0, 255)
        assert errors[name] == pytest.approx(((wrong - colours) ** 2).mean(), rel=1e-9)


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


def test_of_random_curves_one_in_fifty_at_most_gets_a_cause(tmp_path):
    reference = Reference("psnr", *VTM)
    rates, random = THREAD[0], np.random.default_rng(7)
    base = next(iter(candidates(reference, rates))).predicted[0]  # the curve itself
    u, named = np.linspace(-1, 1, len(rates)), 0
    for _ in range(200):
        a, b, c = random.uniform(-1, 1, 3) * (2, 1, 0.5) * 10 ** random.uniform(-1, 0)
        other = base + a + b * u + c * u**2 + random.normal(0, 0.01, len(u))
        named += bool(explain(reference, rates, other).named)
    assert named <= 4
    path = written(tmp_path / "a.csv", rates, base + 1.5 * u**2 - 1)
    done = bench("explain", path, "--against", "VTM:CompressAI")
    assert done.returncode == 0
    assert "real difference" in done.stdout


def test_whole_bytes_count_the_images():
    rates = (BPP[:, :21].mean(1)).tolist()
    assert counted_images(rates, PIXELS) == 21
    assert counted_images([rate * 1.0001 for rate in rates], PIXELS) == 0
    assert counted_images([0.155, 0.3, 0.443], PIXELS) is None  # too few digits


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--metrics", "lpips"], "has no LPIPS"),
        (["--against", "nothing"], "published system"),
        (["--against", "VTM:CompressAI", "--dataset", "div2k"], "no published curve on div2k"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(tmp_path, words, named):
    done = bench("explain", written(tmp_path / "a.csv", *THREAD), *words)
    assert done.returncode == 2
    assert named in done.stderr


def coded(picture, quality):
    """Return size and pixels of a picture by Pillow's JPEG, 4:4:4."""
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.tell(), np.asarray(Image.open(stream))


def rounded(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def halved(picture):
    """4:2:0 by Pillow's own resampling."""
    ycc = picture @ np.linalg.inv(to_rgb("709")).T
    for plane in (1, 2):
        half = Image.fromarray(ycc[..., plane].astype(np.float32))
        small = half.resize((half.width // 2, half.height // 2), Image.Resampling.BOX)
        ycc[..., plane] = np.asarray(small.resize(half.size, Image.Resampling.BILINEAR))
    return ycc @ to_rgb("709").T


def truncating(picture):
    """To Y'CbCr of 8 bits and back, truncated both times."""
    ycc = np.floor(picture @ np.linalg.inv(to_rgb("709")).T)
    return np.floor(ycc @ to_rgb("709").T)


def rounding(picture):
    """To Y'CbCr of 8 bits and back, rounded both times."""
    return np.rint(picture @ np.linalg.inv(to_rgb("709")).T) @ to_rgb("709").T


MISTAKES = {
    "matrix_601": lambda x: x @ np.linalg.inv(to_rgb("709")).T @ to_rgb("601").T,
    "matrix_709": lambda x: x @ np.linalg.inv(to_rgb("601")).T @ to_rgb("709").T,
    "range_reduced": lambda x: 16 + x * 219 / 255,
    "range_expanded": lambda x: (x - 16) * 255 / 219,
    "chroma_420": halved,
    "excess": truncating,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_colours_of_real_pictures_is_measured(mistake):
    pictures = [
        np.ascontiguousarray(p[:256, :256]) for p in (data.astronaut(), data.coffee(), data.cat())
    ]
    if "range" in mistake:  # luma and chroma are both scaled: grey and R, G, B alike up to 224/219
        pictures = [np.repeat(p.mean(2, keepdims=True), 3, 2).astype(np.uint8) for p in pictures]
    made = [[coded(p, q) for p in pictures] for q in (70, 80, 88, 93, 96, 98)]
    bpp = np.array([[8 * size / 256**2 for size, _ in row] for row in made])

    def psnr_of(change):
        return np.array([
            [
                of_mean(np.mean((p - rounded(change(d.astype(float))).astype(float)) ** 2))
                for p, (_, d) in zip(pictures, row, strict=True)
            ]
            for row in made
        ])  # fmt: skip

    colours = [colour_errors(p) for p in pictures]
    images = Images(
        bpp, psnr_of(rounding if mistake == "excess" else lambda x: x),
        np.full(3, 256.0**2), ("a", "b", "c"), np.full(3, True), {},
        {rule: np.array([errors[rule] for errors in colours]) for rule in colours[0]},
    )  # fmt: skip
    order = np.argsort(bpp.mean(1))
    reference = Reference("psnr", bpp.mean(1)[order], images.values.mean(1)[order], images)
    result = explain(reference, bpp.mean(1), psnr_of(MISTAKES[mistake]).mean(1))
    nearest = min(v.residual_db for v in result.verdicts if v.cause in (mistake, "conversion"))
    assert {v.cause for v in result.named} <= {mistake, "conversion"}, result.verdicts[:3]
    assert nearest < 0.15 * result.before_db


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
