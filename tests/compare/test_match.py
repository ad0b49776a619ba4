"""Pairs of streams of equal quality, by hand; `bench match` of bundled rows."""

import csv
import json
import math
import re
from statistics import geometric_mean

import numpy as np
import pytest
from scipy import stats

from benchmark.codec import Setting
from benchmark.compare.match import (
    MAX_BIAS,
    Streams,
    Tolerance,
    collect_streams,
    find_pairs,
    match_streams,
    match_variants,
)
from benchmark.compare.match import parse_tolerance as parsed
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.summary import TIMED
from support.bench.command import output_of
from support.rows.bundled_results import bundled_results
from support.rows.measured import change_rows, row, sweep, table

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")


def streams(of_images, bpp=None, lpips=None, label="jpeg"):
    """Streams of images 0, 1, ... with these lists of PSNR."""
    psnr = np.array([value for values in of_images for value in values], float)
    image = np.array([i for i, values in enumerate(of_images) for _ in values], np.int64)
    values = {"psnr_db": psnr, "lpips_alex": np.ones(len(psnr)) if lpips is None else lpips}
    values |= {name: np.full(len(psnr), np.nan) for name in TIMED}
    values["bytes"] = np.ones(len(psnr)) if bpp is None else np.array(bpp, float)
    return Streams(label, image, tuple(Setting("q", place) for place in range(len(psnr))), values)


def interval(record, column="bytes_ratio"):
    return record[f"{column}_low"], record[f"{column}_high"]


def pairs(first, second, tolerance=0.1, relative=False):
    return find_pairs(first, second, "psnr_db", Tolerance(tolerance, relative)).tolist()


def match_rows(rows, first, second, tolerance="0", metric="psnr"):
    return match_variants(summarise(table(rows)), first, second, metric, parsed(tolerance))


def match_record(first, second, tolerance, metrics=()):
    return match_streams(first, second, PSNR, Tolerance(tolerance), metrics).record


def unmatched_streams(record):
    return [record[f"{side}_streams_without_match"] for side in ("codec", "against")]


def test_pairs_of_unequal_quality_are_refused_by_what_the_difference_is_worth():
    """WebP a decibel above JPEG at each setting, and 6 dB a doubling of the rate: 12 % of bytes."""
    rows = [
        row(codec, q, image, psnr_db=28 + 6 * q + gain, num_bytes=100 * 2**q)
        for codec, gain in (("jpeg", 0.0), ("webp", 1.0)) for q in range(4) for image in "abc"
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"12\.2 %"):
        match_rows(rows, "webp", "jpeg", "2")
    (empty_comparison,) = match_rows(rows, "webp", "jpeg", "0.9")
    assert not len(empty_comparison.pairs)
    for record in rows:
        is_webp = record["codec"] == "webp"
        record["psnr_db"] -= 0.75 * is_webp
        record["lpips_alex"] = 0.5 * 2.0 ** -record["setting_value"] * (0.9 if is_webp else 1)
    with pytest.raises(UsageError, match=r"2\.9 % .* 2 %"):
        match_rows(rows, "webp", "jpeg", "2")
    with pytest.raises(UsageError, match=r"\(AlexNet\) .*-10 %"):
        match_rows(rows, "webp", "jpeg", "15%", "lpips")


def test_an_interval_reaches_to_the_ratio_at_equal_quality():
    """Every pair differs by .05 dB, worth .15 of log bytes a dB; the codec saves a log of .2."""
    psnr = np.arange(30.0, 36) + 0.05 * np.arange(4)[:, None]
    first = streams(psnr + 0.05, np.exp(0.15 * (psnr.ravel() + 0.05) - 0.2))
    second = streams(psnr, np.exp(0.15 * psnr.ravel()))
    result = match_streams(first, second, PSNR, Tolerance(0.1), [PSNR, LPIPS])
    assert result.bias == pytest.approx(0.0075)
    assert result.record["bytes_ratio"] == pytest.approx(math.exp(-0.1925))
    assert interval(result.record) == pytest.approx((math.exp(-0.2), math.exp(-0.1925)))
    turned = match_record(second, first, 0.1)
    assert interval(turned) == pytest.approx((math.exp(0.1925), math.exp(0.2)))
    # no bias in itself
    assert interval(result.record, "psnr_db_difference") == pytest.approx((0.05, 0.05))
    assert interval(result.record, "lpips_alex_ratio") == pytest.approx((1, 1))


def make_sweep(aimed_at, image_effects, images, random):
    busy, slope, gain = image_effects
    aimed = np.tile(aimed_at, (images, 1)) - 1.5 * busy[:, None]
    psnr = aimed + random.normal(0, 0.4, aimed.shape)
    log_rate = (busy + gain)[:, None] - 1 + slope[:, None] * (psnr - 34)
    order = np.argsort(log_rate, axis=1)
    psnr, log_rate = (np.take_along_axis(x, order, axis=1) for x in (psnr, log_rate))
    return streams(psnr, np.exp(log_rate + random.normal(0, 0.01, psnr.shape)).ravel())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spacing", "offset"), [(1.5, 0.0), (3.0, 0.3), (3.0, 1.0)], ids=["dense", "near", "apart"]
)
@pytest.mark.parametrize("tolerance", [0.1, 0.5, 3])
def test_intervals_have_the_true_ratio_or_are_refused_at_any_tolerance(spacing, offset, tolerance):
    """A fifth of the bytes saved at equal quality, on average in the logarithm."""
    images, inside_count, given_count, refused_count = 24, 0, 0, 0
    for seed in range(200):
        random = np.random.default_rng([seed, images])
        busy, slope = random.normal(0, 0.6, images), 0.13 * np.exp(random.normal(0, 0.12, images))
        gain = random.normal(-0.2, 0.1, images)
        first = make_sweep(np.arange(28, 45, 3.0), (busy, slope, gain), images, random)
        aims = np.arange(28, 45, spacing) - offset
        second = make_sweep(aims, (busy, slope, 0 * gain), images, random)
        result = match_streams(first, second, PSNR, Tolerance(tolerance), [])
        low, high = interval(result.record)
        if low is None:
            continue
        if math.expm1(abs(result.bias)) > MAX_BIAS:
            refused_count += 1
            continue
        given_count += 1
        inside_count += low <= math.exp(-0.2) <= high
    assert given_count + refused_count > 100
    assert inside_count >= 0.92 * given_count
    assert refused_count < 20 or offset  # by the curves, not by the tolerance


def test_the_nearest_stream_of_the_same_image_within_the_tolerance_is_taken():
    first = streams([[30.0, 35.0], [30.0]])
    second = streams([[29.9375, 30.03125, 34.75], [30.125, 31.0]])
    assert pairs(first, second) == [[0, 1]]
    assert pairs(first, second, 0.125) == [[0, 1], [2, 3]]  # the bound is inside
    assert pairs(first, second, 0.25) == [[0, 1], [1, 2], [2, 3]]
    record = match_record(second, first, 0.1)
    assert (record["images"], record["images_without_match"], record["pairs"]) == (2, 1, 1)
    assert unmatched_streams(record) == [4, 2]
    assert match_record(first, second, 0.25)["images_without_match"] == 0


def test_a_stream_is_in_one_pair_at_most_and_the_closer_set_of_pairs_is_kept():
    first, second = streams([[30.0, 30.0625]]), streams([[30.078125]])
    # in turn, 30.0 would take the only stream, which is closer to 30.0625
    assert pairs(first, second) == [[1, 0]]
    assert pairs(second, first) == [[0, 1]]


def test_a_relative_tolerance_is_of_the_larger_value():
    for value, other, tolerance, are_paired in (
        (80, 100, 0.2, True), (80, 100, 0.19, False), (-80, 100, 0.99, False),
        (-80, -100, 0.2, True), (80, 0, 1, False), (0, 0, 0, True),
        (0.08, 0.1, 0.21, True),  # as LPIPS has: their product is far below 1
    ):  # fmt: skip
        result = pairs(streams([[value]]), streams([[other]]), tolerance, relative=True)
        assert (value, other, result) == (value, other, [[0, 0]] if are_paired else [])
    assert [str(Tolerance(0.01, relative=True)), str(Tolerance(0.1))] == ["1 %", "0.1"]


def in_turn(takers, candidates, tolerance):
    """Independently: [(image, value, other value)], each taker in order takes the nearest left."""
    remaining = {image: sorted(values) for image, values in candidates.items()}
    result = []
    for image, values in takers.items():
        for value in sorted(values):
            closest = sorted(remaining[image], key=lambda other, value=value: abs(other - value))
            if closest and abs(closest[0] - value) <= tolerance:
                remaining[image].remove(closest[0])
                result.append((image, value, closest[0]))
    return result


@pytest.mark.parametrize("seed", range(20))
def test_averages_are_those_of_a_computation_by_hand(seed):
    rng = np.random.default_rng(seed)
    psnr = [[np.sort(rng.uniform(25, 29, 6)) for _ in range(4)] for _ in range(2)]
    sides = [streams(side, rng.uniform(0.1, 2, 24), rng.uniform(0.1, 1, 24)) for side in psnr]
    result = match_streams(*sides, PSNR, Tolerance(0.4), [PSNR, LPIPS])
    a, b = map(dict, map(enumerate, psnr))
    matches = in_turn(a, b, 0.4), [(i, x, y) for i, y, x in in_turn(b, a, 0.4)]
    expected = sorted(min(matches, key=lambda side: np.mean([abs(x - y) for _, x, y in side])))
    place = [{v: i for i, v in enumerate(side.values["psnr_db"].tolist())} for side in sides]
    positions = [(place[0][x], place[1][y]) for _, x, y in expected]
    assert result.pairs.tolist() == sorted(map(list, positions))
    record = result.record
    for name in ("bytes", "lpips_alex"):
        first, second = (side.values[name] for side in sides)
        ratio = geometric_mean(first[i] / second[j] for i, j in positions)
        assert record[f"{name}_ratio"] == pytest.approx(ratio, rel=1e-12)
    difference = np.mean([x - y for _, x, y in expected])
    assert record["psnr_db_difference"] == pytest.approx(difference, rel=1e-9)
    assert record["images_without_match"] == 4 - len({i for i, _, _ in expected})
    assert unmatched_streams(record) == [24 - len(positions)] * 2
    turned = match_record(*reversed(sides), 0.4)
    assert turned["bytes_ratio"] == pytest.approx(1 / record["bytes_ratio"], rel=1e-12)


def test_with_a_pair_of_each_image_the_interval_is_students_of_the_log_ratios_or_wider():
    ratios = np.random.default_rng(1).lognormal(-0.2, 0.3, 24)
    low, high = interval(match_record(streams([[30]] * 24, ratios), streams([[30]] * 24), 0))
    students = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    assert low <= math.exp(students.low) * (1 + 1e-12)
    assert high >= math.exp(students.high) * (1 - 1e-12)
    assert high / low == pytest.approx(math.exp(students.high - students.low), rel=0.05)


def test_pairs_of_one_image_are_drawn_together():
    rates = [0.5, 0.6, 0.8, 0.9]
    single_pairs = match_record(streams([[30]] * 4, rates), streams([[30]] * 4), 0)
    tens = [list(range(30, 40))] * 4
    repeated_pairs = match_record(streams(tens, np.repeat(rates, 10)), streams(tens), 0)
    assert repeated_pairs["pairs"] == 40
    assert interval(repeated_pairs) == pytest.approx(interval(single_pairs))


def test_no_pair_is_no_number_and_one_image_has_no_interval():
    nothing = match_record(streams([[30]]), streams([[40]]), 1, [PSNR])
    assert [nothing[name] for name in ("images", "images_without_match", "pairs")] == [1, 1, 0]
    assert (nothing["bytes_ratio"], nothing["bytes_ratio_pairs"]) == (None, 0)
    single_record = match_record(streams([[30]], [0.5]), streams([[30]]), 1)
    assert (single_record["bytes_ratio"], *interval(single_record)) == (0.5, None, None)
    double_record = match_record(streams([[30]] * 2, [0.5, 0.6]), streams([[30]] * 2), 1)
    assert None not in interval(double_record)


def test_seconds_are_of_rows_timed_alone_and_never_of_precomputed_ones():
    timed = {"timing": True, "jobs": 1}
    slow = sweep("jpeg", encode_seconds=0.6, decode_seconds=0.3, **timed)
    webp_rows = sweep("webp", **timed)
    (result,) = match_rows([*slow, *webp_rows], "jpeg", "webp")
    ratios = [result.record[f"{call}_seconds_ratio"] for call in ("encode", "decode")]
    assert ratios == pytest.approx([3, 3], rel=1e-12)
    assert result.record["encode_seconds_ratio_pairs"] == 18
    for untimed in ({"recorded": True}, {"timing": False}, {"machine": "other"}):
        (result,) = match_rows([*slow, *change_rows(webp_rows, **untimed)], "jpeg", "webp")
        assert result.record["encode_seconds_ratio"] is None
        assert result.record["bytes_ratio"] == pytest.approx(1, rel=1e-12)


def test_identical_images_have_no_pair_and_failed_cells_neither():
    rows = [row(codec, 5, "a", psnr_db=math.inf) for codec in ("jpeg", "webp")]
    rows += [row("jpeg", 5, "b"), row("webp", 5, "b", status="failed", psnr_db=None)]
    rows += [row("jpeg", 5, "ccc"), row("webp", 5, "ccc")]
    (result,) = match_rows(rows, "jpeg", "webp", "1000")
    assert len(result.pairs) == result.record["images"] == 1
    assert unmatched_streams(result.record) == [1, 0]


def test_every_variant_meets_every_other_and_never_itself():
    variants = "optimize=1", "subsampling=444"
    rows = [record for variant in variants for record in sweep("jpeg", variant=variant)]
    rows += sweep("webp")
    comparisons = match_rows(rows, "jpeg", "webp")
    labels = [(comparison.first.label, comparison.second.label) for comparison in comparisons]
    assert labels == [(f"jpeg:{variant}", "webp") for variant in variants]
    (comparison,) = match_rows(rows, "jpeg:optimize=1", "webp")
    assert comparison.first.label == "jpeg:optimize=1"
    half = change_rows(rows, {"variant": variants[1]}, psnr_db=None)
    # a variant without values may stay
    assert [len(result.pairs) > 0 for result in match_rows(half, "jpeg", "webp")] == [True, False]
    for first, second, metric, message in (
        ("webp", "webp", "psnr", "webp .*webp"), ("webp", "jpeg", "dists", "webp .*DISTS.*resc"),
        ("jpeg", "webp", "fd_alex", r"FD \(AlexNet\)"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            match_rows(rows, first, second, metric=metric)
    with pytest.raises(UnknownName, match="'vtm'"):
        match_rows(rows, "jpeg", "vtm")


@pytest.mark.parametrize("text", ["-1", "much", "", "nan", "inf", "1%%"])
def test_a_tolerance_is_a_number_or_a_percentage(text):
    assert parsed("0.1dB") == parsed(" .1 dB ") == Tolerance(0.1)
    assert parsed("0.5 %") == Tolerance(0.005, relative=True)
    assert parsed("0") == Tolerance(0)
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        parsed(text)


def test_streams_are_ordered_by_image_and_rate_whatever_their_settings():
    rows = [row("jpeg", quality, image, num_bytes=size)
            for image, sizes in (("a", (300, 100, 200)), ("bb", (500, 600, 900)))
            for quality, size in zip((5, 9, 20), sizes, strict=True)]  # fmt: skip
    result = collect_streams(summarise(table(rows)).points, PSNR, [PSNR])
    assert result.image_ids.tolist() == sorted(result.image_ids.tolist())
    settings = [setting.value for setting in result.settings]
    found = [*zip(result.values["bytes"].tolist(), settings, strict=True)]
    expected = [[(0.1, 9), (0.2, 20), (0.3, 5)], [(0.5, 5), (0.6, 9), (0.9, 20)]]
    assert sorted((found[:3], found[3:])) == expected


def test_a_record_of_a_pair_has_both_streams_and_no_number_that_json_lacks():
    rows = [row(codec, 20, "a", num_bytes=size, psnr_db=30.0)
            for codec, size in (("jpeg", 300), ("webp", 150))]  # fmt: skip
    (result,) = match_rows(rows, "jpeg", "webp")
    (record,) = result.pair_records(dict.fromkeys(result.first.image_ids.tolist(), "a"))
    expected = {"image": "a", "codec": "jpeg", "against": "webp", "codec_setting": "quality=20",
                "against_setting": "quality=20", "codec_bpp": 0.3, "against_bpp": 0.15,
                "codec_psnr_db": 30.0, "against_psnr_db": 30.0}  # fmt: skip
    assert expected.items() <= record.items()
    times = {value for name, value in record.items() if name.endswith("_seconds_per_megapixel")}
    assert times == {None}


def match(*words):
    return output_of("match", *words, "--results", bundled_results())


def test_the_table_names_counts_ratios_caveats_and_what_was_not_timed(tmp_path):
    match("vvenc", "x265", "--each-pair", "--csv", tmp_path / "pairs.csv")
    pairs = list(csv.DictReader((tmp_path / "pairs.csv").read_text().splitlines()))
    headers, line, *notes = match("vvenc", "x265").splitlines()
    assert headers.split()[:5] == ["codec", "against", "images", "pairs", "unmatched"]
    images = len({pair["image"] for pair in pairs})
    assert line.split()[:4] == ["vvenc", "x265", f"{images}/24", str(len(pairs))]
    for pair in pairs:
        assert abs(float(pair["codec_psnr_db"]) - float(pair["against_psnr_db"])) <= 0.1
    assert f"{144 - len(pairs)} + {144 - len(pairs)}" in line
    assert re.findall("4:.:.", notes[0]) == ["4:2:0", "4:4:4"]
    assert any(note.startswith("times: ") for note in notes)


def test_several_codecs_are_the_lines_of_one_table_as_if_each_were_asked_for_alone():
    together = json.loads(match("webp,avif", "webp,jpegli", "--json"))
    pairs = [("webp", "jpegli"), ("avif", "webp"), ("avif", "jpegli")]
    single_records = [json.loads(match(*pair, "--json"))["records"] for pair in pairs]
    assert together["records"] == [record for records in single_records for record in records]
    # A pair that cannot be matched is absent from the table and named below it.
    partly = json.loads(match("jpegxl,webp", "jpegli", "--tolerance", "0.5", "--json"))
    assert [record["codec"] for record in partly["records"]] == ["webp"]
    assert partly["absent"][0]["what"] == "jpegxl and jpegli"


def test_the_table_fits_a_terminal_unless_more_metrics_are_named():
    pair = "jpeg:optimize=1", "webp"
    usual, luma, full_table = (
        match(*pair, *words).splitlines()
        for words in ((), ("--metric", "psnr,psnr_y,niqe"), ("--metric", "all"))
    )
    between = ["PSNR (dB)", "MS-SSIM (dB)", "LPIPS (SqueezeNet)"]
    counts = ["codec", "against", "images", "pairs", "unmatched", "bytes"]
    assert re.split(" {2,}", usual[0]) == [*counts, *between]
    assert len(usual[0]) < 120
    assert re.split(" {2,}", luma[0]) == [*counts, "PSNR (dB)", "PSNR of luma (dB)"]
    assert any(line.startswith("NIQE: no values (`bench rescore --") for line in luma)
    assert {*between, "VMAF", "CVVDP (JOD)"} <= {*re.split(" {2,}", full_table[0])}
    reported = json.loads(match(*pair, "--json"))["records"]
    assert {"psnr_db_difference", "vmaf_difference"} <= reported[0].keys(), "in files all are"
