"""Codecs at a matched value, against scipy's Akima interpolation of each image's curve."""

import json
import math
import re
from dataclasses import replace
from hashlib import sha256
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import Akima1DInterpolator
from scipy.stats import t

import benchmark
from benchmark.compare.curve import Curve, CurvePoint
from benchmark.compare.interval import bootstrap_interval, image_draws
from benchmark.compare.published_rank import rank_systems
from benchmark.compare.rank import _SetCurves, parse_target, parse_targets, rank_at
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_edition
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.rows.summary import average_seeds
from support.bench.command import output_of
from support.rows.bundled_results import bundled_results
from support.rows.measured import change_rows, failed, row, table

RESULTS = bundled_results()
PSNR, MS_SSIM, LPIPS = (Metric.named(name) for name in ("psnr", "ms_ssim", "lpips"))
IMAGES = {f"{number:02}": (60 + 10 * number, 80) for number in range(9)}  # width, height
SETTINGS = (5, 12, 20, 35, 55, 80)


def rows_of(codec, seed, lowest=0.08, **columns):
    """Rows of one codec: curves that rise and bend, other ones in each image."""
    random = np.random.default_rng(seed)
    result = []
    for image, (width, height) in IMAGES.items():
        bpp = lowest * np.cumprod(random.uniform(1.5, 1.9, len(SETTINGS)))
        psnr = 24 + np.cumsum(random.uniform(0.8, 3, len(SETTINGS)))
        for index, setting in enumerate(SETTINGS):
            size = max(round(bpp[index] * width * height / 8), 1)
            values = {"psnr_db": psnr[index], "ms_ssim": 1 - 10 ** (-psnr[index] / 20),
                      "lpips_alex": 0.5 * 0.93 ** psnr[index]}  # fmt: skip
            result.append(
                row(codec, setting, image, width_px=width, height_px=height, num_bytes=size,
                    bpp=8 * size / (width * height), **values, **columns)
            )  # fmt: skip
    return result


WEBP, AVIF, SHORT_AVIF = rows_of("webp", 1), rows_of("avif", 2), rows_of("avif", 2, lowest=0.18)


def curve(rows, image, column):
    points = sorted((record["bpp"], record[column]) for record in rows if record["image"] == image)
    return np.log10([bpp for bpp, _ in points]), np.array([value for _, value in points])


def at_rate(rows, bpp, column, transform=lambda value: value, inverse=lambda place: place):
    """The value of each image at a rate, or at its own of several, by scipy."""
    curves = (curve(rows, image, column) for image in IMAGES)
    places = zip(curves, np.broadcast_to(np.log10(bpp), len(IMAGES)), strict=True)
    return np.array(
        [inverse(float(Akima1DInterpolator(x, transform(y))(rate))) for (x, y), rate in places]
    )


def rates_at(rows, psnr):
    curves = (curve(rows, image, "psnr_db") for image in IMAGES)
    return np.array([10 ** float(Akima1DInterpolator(y, x)(psnr)) for x, y in curves])


def records_at(rows, target, *metrics, **options):
    result = rank_at(summarise(table(rows)), parse_target(target), metrics, **options)
    places = ({"short": entry.unreached_images, "span": entry.span} for entry in result)
    return {e.record["codec"]: e.record | place for e, place in zip(result, places, strict=True)}


def scale_rate(record):
    return record | {"num_bytes": 10 * record["num_bytes"], "bpp": 10 * record["bpp"]}


def answer(words):
    return json.loads(output_of(*words, "--json"))


def rank_stored(results, target, *words, code=0):
    places = ("--dataset", "set", "--results", results)
    return output_of("rank", "--at", target, "--metrics", "psnr", *places, *words, code=code)


def ends(record, column="psnr_db"):
    return record[f"{column}_low"], record[f"{column}_high"]


def measured_names(record):
    return [name for name in ("psnr_db", "lpips_alex") if record.get(name) is not None]


def test_values_at_a_rate_are_the_means_of_each_images_own_interpolation():
    result = records_at([*WEBP, *AVIF], "bpp=.3", PSNR, MS_SSIM, LPIPS)
    decibels = (lambda value: -10 * np.log10(1 - value)), (lambda place: 1 - 10 ** (-place / 10))
    for label, rows in (("webp", WEBP), ("avif", AVIF)):
        point = result[label]
        assert (point["images"], point["images_reached"], point["bpp"]) == (9, 9, 0.3)
        expected = at_rate(rows, 0.3, "psnr_db")
        for column, values in (
            ("psnr_db", expected), ("ms_ssim", at_rate(rows, 0.3, "ms_ssim", *decibels)),
            ("lpips_alex", at_rate(rows, 0.3, "lpips_alex")),
        ):  # fmt: skip
            assert point[column] == pytest.approx(np.mean(values), abs=1e-9)
        by_number = expected[[int(name) for name in images_by_number()]]
        assert ends(point) == pytest.approx(bootstrap_interval(by_number), abs=1e-9)
    order = sorted(result.values(), key=lambda point: -point["psnr_db"])
    assert [point["rank"] for point in order] == [1, 2]


def test_rates_at_a_quality_are_interpolated_in_each_image_and_rank():
    result = records_at([*WEBP, *AVIF], "psnr=30", PSNR, LPIPS)
    for label, rows in (("webp", WEBP), ("avif", AVIF)):
        rates = rates_at(rows, 30.0)
        assert result[label]["bpp"] == pytest.approx(rates.mean(), rel=1e-9)
        assert (result[label]["psnr_db"], *ends(result[label])) == (30.0, None, None)
        lpips = at_rate(rows, rates, "lpips_alex").mean()
        assert result[label]["lpips_alex"] == pytest.approx(lpips, rel=1e-9)
    rates = sorted((point["bpp"], point["rank"]) for point in result.values())
    assert [place for _, place in rates] == [1, 2]


def test_a_budget_of_the_set_counts_all_bytes_together():
    rows = [record | {"encode_seconds": record["setting_value"]} for record in rows_of("webp", 3)]
    (rate_point,) = records_at(rows, "bpp=.25", PSNR, budget="set").values()
    pixels = sum(width * height for width, height in IMAGES.values())
    sizes, psnr = (
        np.reshape([r[name] for r in rows], (9, len(SETTINGS))) for name in ("num_bytes", "psnr_db")
    )
    pooled, means = 8 * sizes.sum(axis=0) / pixels, psnr.mean(axis=0)
    expected = Akima1DInterpolator(np.log10(pooled), means)
    assert rate_point["psnr_db"] == pytest.approx(float(expected(math.log10(0.25))), abs=1e-9)
    assert ends(rate_point)[0] < rate_point["psnr_db"]
    seconds = np.interp(math.log10(0.25), np.log10(pooled), SETTINGS)
    assert rate_point["encode_seconds"] == pytest.approx(seconds, rel=1e-9)
    quality_point = records_at(rows, f"psnr={means[2]:.17g}", PSNR, budget="set")["webp"]
    assert quality_point["bpp"] == pytest.approx(pooled[2], rel=1e-9)
    for end in (pooled[0] * (1 + 1e-9), pooled[-1] * (1 - 1e-9)):  # where not every draw has a rate
        result = records_at(rows, f"bpp={end:.17g}", PSNR, LPIPS, budget="set")["webp"]
        assert (result["rank"], result["images_reached"]) == (1, 9)
        assert measured_names(result) == ["psnr_db", "lpips_alex"]
    assert records_at(rows, "bpp=99", PSNR, budget="set")["webp"]["images_reached"] == 0


def test_the_front_of_a_set_is_that_of_its_means_and_of_no_draw():
    """A setting is worse than the one before it, but not by the weights of the first draw."""
    rows = rows_of("webp", 3)
    weights = dict(zip(images_by_number(), image_draws(len(IMAGES))[0], strict=True))
    previous_psnr = {r["image"]: r["psnr_db"] for r in rows if r["setting_value"] == 20}
    for record in rows:
        if record["setting_value"] == 35:
            shift = 20 * (weights[record["image"]] - 1 / 9) - 1e-3
            record["psnr_db"] = previous_psnr[record["image"]] + shift
    remaining_rows = [record for record in rows if record["setting_value"] != 35]
    results = [records_at(r, "bpp=.4", PSNR, budget="set")["webp"] for r in (rows, remaining_rows)]
    assert results[0]["psnr_db"] == results[1]["psnr_db"]


@pytest.mark.parametrize("budget", ["image", "set"])
def test_a_metric_is_given_where_every_image_has_it_there(budget):
    def values(rows, codec="avif", others=WEBP):
        result = records_at([*others, *rows], "bpp=.3", PSNR, LPIPS, budget=budget)
        return measured_names(result[codec])

    assert values(AVIF) == ["psnr_db", "lpips_alex"]
    assert values(change_rows(AVIF, lpips_alex=None)) == ["psnr_db"]
    worse = ["03"] if budget == "image" else IMAGES
    rises = [r | {"lpips_alex": 1 - r["lpips_alex"]} if r["image"] in worse else r for r in AVIF]
    assert values(rises) == ["psnr_db"]  # the front is its first point
    of_eight = change_rows([*WEBP, *AVIF], {"image": "03"}, lpips_alex=None)
    assert values(of_eight, "webp", ()) == ["psnr_db"]


@pytest.mark.parametrize("budget", ["image", "set"])
@pytest.mark.parametrize("target", ["bpp=.3", "psnr=30"])
@pytest.mark.parametrize("lost_db", [0, 4])
def test_a_setting_that_codes_as_another_or_worse_takes_no_part(budget, target, lost_db):
    rows = [record for record in WEBP if record["setting_value"] == 20]
    added = [r | {"setting_value": 90.0, "psnr_db": r["psnr_db"] - lost_db} for r in rows]
    both = WEBP, WEBP + added
    first, second = (records_at(rows, target, PSNR, LPIPS, budget=budget)["webp"] for rows in both)
    assert second["rank"] == 1
    for name in ("bpp", "psnr_db", "lpips_alex"):
        assert (second[name], ends(second, name)) == (first[name], ends(first, name))


def test_codecs_that_do_not_reach_a_value_come_in_the_order_of_how_many_images_do():
    few, many = rows_of("avif", 2, lowest=0.2), rows_of("jpeg", 2, lowest=0.18)
    reaching_rows = (rows_of(codec, 1) for codec in ("webp", "bpg", "x265"))
    summary = summarise(table([*chain(*reaching_rows), *few, *many]))
    result = [entry.record for entry in rank_at(summary, parse_target("bpp=.31"), [PSNR])]
    assert [entry["rank"] for entry in result] == [1, 1, 1, None, None]  # the three are equal
    assert [entry["codec"] for entry in result[3:]] == ["jpeg", "avif"]
    assert result[3]["images_reached"] > result[4]["images_reached"] > 0


def short_and_reach(rows):
    """The images whose curves begin above 0.31 bpp, and the others."""
    lowest = {image: 10 ** curve(rows, image, "psnr_db")[0][0] for image in IMAGES}
    short = [image for image in IMAGES if lowest[image] > 0.31]
    return short, [image for image in IMAGES if image not in short], max(lowest.values())


def images_by_number():
    """The images by the numbers that points know them under: the order of their digests."""
    return sorted(IMAGES, key=lambda name: sha256(name.encode()).hexdigest())


@pytest.mark.parametrize("common", [True, False])
def test_two_codecs_are_compared_on_the_images_that_both_reach(common):
    _, reach, _ = short_and_reach(SHORT_AVIF)
    assert 9 > len(reach) >= 5
    shared = records_at([*WEBP, *SHORT_AVIF], "bpp=.31", PSNR, common=common)
    for label, rows in (("webp", WEBP), ("avif", SHORT_AVIF)):
        assert shared[label]["images"] == len(reach)
        assert shared[label]["rank"] is not None
        mean = at_rate(rows, 0.31, "psnr_db")[[int(image) for image in reach]].mean()
        assert shared[label]["psnr_db"] == pytest.approx(mean, abs=1e-9)


def test_nothing_is_extrapolated_and_what_does_not_reach_it_is_named():
    short, reach, lowest = short_and_reach(SHORT_AVIF)
    result = records_at([*WEBP, *rows_of("bpg", 3), *SHORT_AVIF], "bpp=.31", PSNR)
    entry = result["avif"]
    counts = entry["rank"], entry["images_reached"], entry["images"], measured_names(entry)
    assert counts == (None, len(reach), 9, [])
    assert {images_by_number()[number] for number in entry["short"]} == {*short}
    assert entry["span"][0] == pytest.approx(lowest)
    assert {result["webp"]["rank"], result["bpg"]["rank"]} == {1, 2}


def test_a_failed_setting_elsewhere_takes_no_image_from_the_common_ones():
    codec = [row for row in AVIF if row["setting_value"] < 80 or row["image"] == "00"]
    result = records_at([*WEBP, *codec], "bpp=.3", PSNR, common=True)
    assert {point["images"] for point in result.values()} == {9}
    remaining_rows = [row for row in codec if row["image"] != "08"]
    assert records_at([*WEBP, *remaining_rows], "bpp=.3", PSNR, common=True)["avif"]["images"] == 8


def test_a_codec_that_reaches_less_than_half_of_the_images_takes_none_from_the_others():
    avif = rows_of("avif", 2, lowest=0.2)
    _, reach, _ = short_and_reach(avif)
    assert 0 < len(reach) < 4.5
    result = records_at([*WEBP, *avif], "bpp=.31", PSNR)
    assert (result["webp"]["rank"], result["webp"]["images"]) == (1, 9)
    assert (result["avif"]["rank"], result["avif"]["images"]) == (None, 9)


def test_codecs_without_an_image_in_common_are_told_apart():
    def only(rows, images):
        return [row if row["image"] in images else scale_rate(row) for row in rows]

    names = [*IMAGES]
    rows = [*only(WEBP, names[:6]), *only(rows_of("bpg", 3), names[2:6]), *only(AVIF, names[7:8])]
    with pytest.raises(UsageError) as error:
        records_at(rows, "bpp=.31", PSNR, common=True)
    for text in ("bpp=0.31", "avif (1 of 9)", "4 images", "--codecs webp,bpg"):
        assert text in str(error.value)
    with pytest.raises(UsageError, match="bpp=99"):
        records_at(rows, "bpp=99", PSNR, common=True)


def test_differences_from_the_best_codec_are_of_the_same_images():
    for target, higher in (("bpp=.3", True), ("psnr=30", False)):
        result = records_at([*WEBP, *AVIF], target, PSNR)
        values = {codec: at_rate(rows, 0.3, "psnr_db") if higher else rates_at(rows, 30.0)
                  for codec, rows in (("webp", WEBP), ("avif", AVIF))}  # fmt: skip
        best, other = sorted(values, key=lambda codec: values[codec].mean(), reverse=higher)
        first, second = values[best], values[other]
        assert result[best]["to_best"] is None
        paired = result[other]
        expected = np.mean(second - first) if higher else 100 * (second.mean() / first.mean() - 1)
        assert paired["to_best"] == pytest.approx(expected, rel=1e-9)
        assert paired["images_better"] == sum(second > first if higher else second < first)
        low, high = ends(paired, "to_best")
        assert low < paired["to_best"] < high
        if higher:  # at least as wide as Student's t of the pairs, and no wider than unpaired means
            half = t.ppf(0.975, 8) * np.std(second - first, ddof=1) / 3
            assert low <= expected - half + 1e-9
            assert high >= expected + half - 1e-9


def test_a_codec_has_no_difference_from_one_that_is_equal():
    result = records_at([*WEBP, *change_rows(WEBP, codec="avif")], "bpp=.3", PSNR)
    (paired,) = [point for point in result.values() if point["to_best"] is not None]
    assert (paired["to_best"], *ends(paired, "to_best"), paired["images_better"]) == (0, 0, 0, 0)
    assert [point["rank"] for point in result.values()] == [1, 1]
    worse = [record | {"codec": "bpg", "psnr_db": record["psnr_db"] - 1} for record in WEBP]
    copied_rows = [row for name in ("avif", "jpegxl") for row in change_rows(WEBP, codec=name)]
    for target in ("bpp=.3", "psnr=30"):
        result = records_at([*WEBP, *copied_rows, *worse], target, PSNR)
        assert sorted(point["rank"] for point in result.values()) == [1, 1, 1, 4]
        assert result["bpg"]["rank"] == 4


def test_the_mean_of_one_image_has_no_interval():
    for names, has_interval in (({"03"}, False), ({"03", "04"}, True)):
        rows = [row for row in WEBP if row["image"] in names]
        assert (ends(records_at(rows, "bpp=.31", PSNR)["webp"])[0] is not None) is has_interval


def test_a_codec_of_which_every_cell_failed_has_no_rank():
    nothing = failed("avif", 5, "00", "encode", "it does not start")
    ranks = records_at([*WEBP, nothing], "bpp=.31", PSNR)
    assert [ranks["avif"][name] for name in ("rank", "images", "images_reached")] == [None, 0, 0]
    assert ranks["webp"]["rank"] == 1


def test_seconds_are_of_rows_measured_here_and_typical_ones_of_the_codec():
    measured_rows = rows_of("webp", 1, decode_seconds=0.5)
    for record in measured_rows:
        value = record["setting_value"]
        record |= {"encode_seconds": value, "recorded": value == 80}
    recorded_rows = rows_of("avif", 2, recorded=True, setting_name="crf")
    result = records_at([*measured_rows, *recorded_rows], "bpp=.3", PSNR)
    rates = [np.mean([r["bpp"] for r in WEBP if r["setting_value"] == q]) for q in SETTINGS]
    expected = np.interp(math.log10(0.3), np.log10(rates)[:-1], SETTINGS[:-1])
    assert result["webp"]["encode_seconds"] == pytest.approx(expected)
    assert result["webp"]["decode_seconds"] == 0.5
    assert (result["avif"]["encode_seconds"], result["avif"]["decode_seconds"]) == (None, None)
    typical = "typical_seconds_per_megapixel"
    assert result["avif"][typical] > 0
    assert records_at(rows_of("webp", 1, device="tpu"), "bpp=.3", PSNR)["webp"][typical] is None


@pytest.mark.parametrize(("draws", "valid_draws", "has_interval"), [
    (20, 19, True), (20, 18, False), (21, 20, True), (21, 19, False), (2, 2, True), (2, 1, False),
])  # fmt: skip
def test_an_interval_needs_a_number_in_nineteen_of_twenty_draws(draws, valid_draws, has_interval):
    of_draws = np.where(np.arange(draws) < valid_draws, np.arange(draws), np.nan)
    result = _SetCurves.mean(np.array([3.0, *of_draws]))
    assert (result[0], result[1] is not None) == (3.0, has_interval)


@pytest.mark.parametrize("text", ["bpp", "bpp=0", "bpp=-1", "bpp=x", "psnr=nan", "=3", ".05"])
def test_a_target_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        parse_targets([text])


def test_targets_are_rates_and_metrics_of_which_those_of_one_text_share_their_name():
    targets = parse_targets(["bpp=.05,.1", "psnr=32, bpp=.3"])
    assert targets == [("bpp", 0.05), ("bpp", 0.1), ("psnr", 32), ("bpp", 0.3)]
    assert str(parse_target("lpips_squeeze=.15")) == "lpips_squeeze=0.15"
    with pytest.raises(UnknownName, match="psnr"):
        parse_target("psn=3")


def test_metrics_of_sets_need_a_budget_of_the_set():
    for budget, by_image, message in (
        ("image", True, "--budget set"), ("image", False, "choose another"),
        ("set", False, "choose another"),
    ):  # fmt: skip
        metric = replace(LPIPS, is_distribution=True, has_image_values=by_image)
        with pytest.raises(UsageError, match=rf"LPIPS \(AlexNet\) .*{message}"):
            records_at(WEBP, "bpp=.3", metric, budget=budget)
    options = {"metrics": "fd_squeeze", "allow_few": True, "budget": "set"}
    result = benchmark.rank(RESULTS / "kodak", "bpp=.3", **options)
    assert result["fd_squeeze"].dropna().is_monotonic_increasing
    assert len(result["fd_squeeze"].dropna()) > 4


def test_the_command_and_the_interface_say_the_same(tmp_path):
    store = Store(tmp_path / "set")
    store.append([*WEBP, *rows_of("bpg", 3), *SHORT_AVIF])
    targets = ["bpp=.31", "psnr=30"]
    records = json.loads(rank_stored(tmp_path, ",".join(targets), "--json"))["records"]
    frame = benchmark.rank(store.folder, targets, metrics="psnr")
    for name in ("codec", "rank", "psnr_db"):
        values = [None if pd.isna(value) else value for value in frame[name]]
        assert [record[name] for record in records] == values
    output = rank_stored(tmp_path, ",".join(targets))
    (message,) = [line for line in output.splitlines() if line.startswith("avif: bpp=0.31")]
    short, _, lowest = short_and_reach(SHORT_AVIF)
    assert ", ".join(short[:3]) in message
    assert f" bpp={lowest:.3g} to" in message
    assert "--budget set" in output
    assert f" --codecs avif --target bpp=0.31 --results {tmp_path}`" in output
    runner_up = next(record for record in records if record["rank"] == 2)
    (sentence,) = [line for line in output.splitlines() if "At bpp" in line]
    assert f" {runner_up['to_best']:+.2f} dB [" in sentence
    assert f" {runner_up['images_better']}/9 " in output
    rank_stored(tmp_path, "bpp=9", code=1)


def test_equal_codecs_and_images_that_nobody_ranked_lacks_are_said(tmp_path):
    def beyond(codec, *images):
        return [scale_rate(row) if row["image"] in images else row for row in rows_of(codec, 1)]

    def ranking(name, *rows):
        Store(tmp_path / name / "set").append(rows)
        return rank_stored(tmp_path / name, "bpp=.31")

    copied = [{**row, "codec": "avif", "cell": f"avif {row['cell']}"} for row in WEBP]
    equal = ranking("equal", *WEBP, *copied)
    assert re.search(r"bpp=0.31 webp .*avif; avif .*\+0.00 dB", equal)
    assert "of 9 images" not in equal
    shifts = dict(zip(IMAGES, np.linspace(-1, 1, 9) - 0.1, strict=True))  # 0 is in the interval
    near = [record | {"psnr_db": record["psnr_db"] + shifts[record["image"]]} for record in copied]
    assert re.search(r"webp .*mean; avif .* -0.10 dB", ranking("near", *WEBP, *near))
    far = [record | {"psnr_db": record["psnr_db"] - 1} for record in copied]
    assert re.search(r"webp .*best; avif .* -1.00 dB", ranking("far", *WEBP, *far))
    lone = ranking("lacking", *WEBP, *beyond("avif", "00", "01"), *beyond("bpg", "00", "02"))
    assert "bpp=0.31 on 8 of 9 images only webp " in lone
    part = ranking("part", *change_rows([*WEBP, *far], {"image": "03"}, psnr_db=None))
    assert "bpp=0.31 on 8 of 9 images webp" in part
    assert all(word in part for word in ("03: ", " bpp=0.31: ", "no PSNR"))
    assert "not reached" not in part


def lines_of_two_points(codec, low=0.2, high=0.8):
    """Rows of two settings: 30 and 36 dB at these rates in every image."""
    return [
        row(codec, number, image, width_px=width, height_px=height, bpp=bpp, psnr_db=psnr,
            num_bytes=round(bpp * width * height / 8))
        for image, (width, height) in IMAGES.items()
        for number, (bpp, psnr) in enumerate(((low, 30.0), (high, 36.0)))
    ]  # fmt: skip


@pytest.mark.parametrize("budget", ["image", "set"])
def test_two_points_are_joined_by_a_line_over_the_logarithm_of_the_rate(budget):
    near, far = lines_of_two_points("avif", 0.2, 0.28), lines_of_two_points("jpeg", 0.2, 0.8)
    result = records_at([*WEBP, *near, *far], "bpp=.25", PSNR, budget=budget)
    for codec, high in (("avif", 0.28), ("jpeg", 0.8)):
        share = math.log(0.25 / 0.2) / math.log(high / 0.2)
        expected = pytest.approx(30 + 6 * share, abs=2e-3)  # bytes are whole
        assert (result[codec]["psnr_db"], result[codec]["points"]) == (expected, 2)
    assert result["webp"]["points"] == len(SETTINGS)


@pytest.mark.parametrize("budget", ["image", "set"])
def test_neighbours_that_are_far_apart_in_rate_are_in_the_record(budget):
    rows = [*lines_of_two_points("avif", 0.2, 0.298), *lines_of_two_points("jpeg", 0.2, 0.8)]

    for target, codec, expected in (
        ("psnr=33", "avif", (None, None)), ("psnr=33", "jpeg", pytest.approx((0.2, 0.8), rel=1e-3)),
        ("psnr=30", "jpeg", (None, None)),  # at a point
    ):  # fmt: skip
        record = records_at(rows, target, PSNR, budget=budget)[codec]
        assert (record["interpolated_from"], record["interpolated_to"]) == expected


def test_bytes_of_an_image_and_rates_against_the_anchor_stand_beside_a_quality():
    rows = [*lines_of_two_points("avif", 0.1, 0.4), *lines_of_two_points("jpeg", 0.2, 0.8)]
    summary = summarise(table(rows))
    anchor = next(edition for edition in summary.editions if edition.spec.name == "jpeg")
    target = parse_target("psnr=36")
    first, second = (entry.record for entry in rank_at(summary, target, [PSNR], anchor=anchor))
    pixels = np.mean([width * height for width, height in IMAGES.values()])
    assert first["image_bytes"] == pytest.approx(0.4 * pixels / 8, rel=1e-3)
    assert (first["to_anchor"], second["to_anchor"]) == (pytest.approx(-50, abs=0.1), 0)
    assert first["to_anchor_low"] <= first["to_anchor"] <= first["to_anchor_high"]


def test_a_setting_that_lacks_the_value_of_one_image_has_a_part_in_the_others():
    rows = WEBP
    for image, value in {"00": 5, "01": 12, "02": 35, "03": 80}.items():
        rows = change_rows(rows, {"image": image, "setting_value": value}, psnr_db=None)
    all_rows = [*AVIF, *rows]
    result = records_at(all_rows, "bpp=.3", PSNR)["webp"]
    assert (result["rank"] is None, result["images_reached"]) == (False, 9)
    values = at_rate([row for row in rows if row["psnr_db"] is not None], 0.3, "psnr_db")
    assert result["psnr_db"] == pytest.approx(np.mean(values), abs=1e-9)
    # Of a set, the two complete settings, 20 and 55, do not reach it.
    assert records_at(all_rows, "bpp=2", PSNR, budget="set")["webp"]["rank"] is None


@pytest.mark.parametrize("budget", ["image", "set"])
def test_after_a_search_a_setting_that_meets_the_target_counts_as_it_is(budget):
    rows = rows_of("webp", 3)
    setting_rows = [record for record in rows if record["setting_value"] == 20]
    (point,) = summarise(table(setting_rows)).points
    psnr, lpips = (point.means[name].value for name in ("psnr_db", "lpips_alex"))
    target = f"psnr={psnr * 1.0015:.17g}"

    def record(target_text, tolerance, codec_rows=rows):
        options = {"budget": budget, "tolerance": tolerance}
        return records_at(codec_rows, target_text, PSNR, LPIPS, **options)["webp"]

    met = record(target, 1)
    assert (met["setting"], met["rank"]) == ("quality=20", 1)
    assert met["reached"] == met["psnr_db"] == pytest.approx(psnr, rel=1e-12)
    assert met["lpips_alex"] == pytest.approx(lpips, rel=1e-12)
    pixels = point.image_pixels if budget == "set" else None
    assert met["bpp"] == pytest.approx(np.average(point.image_bpp, weights=pixels), rel=1e-12)
    assert met["image_bytes"] == pytest.approx(np.mean(point.image_bpp * point.image_pixels) / 8)
    assert record(target, 0)["setting"] is record("psnr=33.3", 1)["setting"] is None
    assert record(target, 0, setting_rows)["setting"]
    assert record("psnr=60", 0, setting_rows)["rank"] is None


def published_curve(system, metric, points, protocol, variant=""):
    edition = published_edition(system, variant)
    source = "", "table", 24, protocol, "bpp/reported", "a paper"
    points = (CurvePoint(bpp, value, *source) for bpp, value in points)
    return Curve(metric, edition, edition.facts.title, tuple(points))


def test_published_systems_are_interpolated_on_their_own_points_and_not_beyond():
    curves = [
        published_curve("One", PSNR, [(0.1, 30.0), (0.2, 33.0)], "psnr-rgb8/1"),
        published_curve("One", LPIPS, [(0.1, 0.2), (0.4, 0.1)], "lpips-other/1"),
        published_curve("Two", PSNR, [(0.1, 31.0), (0.4, 37.0)], "psnr-rgb8/1"),
        published_curve("Three", PSNR, [(0.3, 34.0), (0.4, 37.0)], "psnr-rgb8/1"),
        published_curve("Four", PSNR, [(0.1, 39.0), (0.4, 40.0)], "psnr-of-luma/1"),
    ]
    sharing = {"psnr_db": {"psnr-rgb8/1"}, "lpips_alex": {"lpips/1"}}
    at_rate = rank_systems(curves, parse_target("bpp=.2"), [PSNR, LPIPS], sharing)
    records = {entry.edition.spec.name: entry.record for entry in at_rate}
    assert [*records] == ["two", "one", "four", "three"], "other rules behind, then none"
    values = [records[name]["psnr_db"] for name in records]
    assert values == [pytest.approx(34), 33, pytest.approx(39.5), None]
    assert records["one"]["lpips_alex"] == pytest.approx(0.15)
    marks = [[r[f"{name}_other_rule"] for r in records.values()] for name in sharing]
    assert marks == [[None, None, "psnr-of-luma/1", None], [None, "lpips-other/1", None, None]]
    assert {record["rank"] for record in records.values()} == {None}
    assert (records["two"]["interpolated_from"], records["two"]["interpolated_to"]) == (0.1, 0.4)
    assert records["one"]["interpolated_from"] is None  # one of its points
    at_quality = rank_systems(curves, parse_target("psnr=34"), [PSNR, LPIPS], sharing, "24 images")
    records = {entry.edition.spec.name: entry.record for entry in at_quality}
    values = [records[name]["bpp"] for name in ("two", "three", "one")]
    assert values == [pytest.approx(0.2), pytest.approx(0.3), None]
    assert records["two"]["bpp_other_rule"] == "24 images"


def test_published_rows_stand_in_the_answer_marked_and_with_what_they_do_not_reach(tmp_path):
    points = {"mine": [(0.1, 27.0), (0.2, 29.0), (0.4, 31.0)], "high": [(2.0, 40.0), (3.0, 41.0)]}
    for name, system_points in points.items():
        lines = ["bpp,psnr", *(f"{bpp},{psnr}" for bpp, psnr in system_points)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    files = ",".join(str(tmp_path / f"{name}.csv") for name in points)
    words = ["rank", "--at", "bpp=.2", "--codecs", "vtm", "--published", f"{files},ms-illm"]
    words += ["--dataset", "kodak", "--results", str(RESULTS), "--metrics", "psnr,lpips"]
    entries = answer(words)
    records = {record["codec"]: record for record in entries["records"]}
    mine = records["mine (from file)"]
    assert (mine["psnr_db"], mine["points"]) == (29, 3)
    assert records["MS-ILLM (published)"]["origin"] == "published"
    absent = {absence["what"]: absence["why"] for absence in entries["absent"]}
    assert "published at bpp=2 to 3" in absent["high (from file)"]
    frame = benchmark.rank(RESULTS / "kodak", "bpp=.2", codecs="vtm", published=f"{files},ms-illm")
    assert frame["codec"].tolist()[:2] == ["vtm", "mine (from file)"]
    records = answer([*words[:2], "bpp=.02", *words[3:]])["records"]
    marks = [record["psnr_db_other_rule"] for record in records if record["psnr_db_other_rule"]]
    assert all(f"of {records[0]['images']}" in mark for mark in marks)


def test_a_set_that_does_not_reach_a_target_names_the_settings_that_lack_an_image(tmp_path):
    rows = WEBP
    for value in (55, 80):
        rows = change_rows(rows, {"setting_value": value, "image": "00"}, psnr_db=None)
    Store(tmp_path / "set").append([*rows, *rows_of("bpg", 3)])
    absent = json.loads(rank_stored(tmp_path, "bpp=.9", "--budget", "set", "--json"))["absent"]
    (reason,) = [absence["why"] for absence in absent if absence["what"] == "webp"]
    assert "without quality=55, quality=80 (PSNR (dB) of 8 of 9 images: `bench rescore" in reason
    by_image = json.loads(rank_stored(tmp_path, "bpp=.9", "--json"))["records"]
    assert {record["codec"]: record["images_reached"] for record in by_image}["webp"] > 4


def test_a_decoder_that_draws_has_one_place_and_a_deviation_over_its_seeds():
    drawings = [
        [{**r, "psnr_db": r["psnr_db"] + shift} for r in rows_of("draws", 3, variant=variant)]
        for variant, shift in (("", 0.0), ("seed=1", 1.0), ("seed=2", 5.0))
    ]
    summary = average_seeds(summarise(table([*chain(*drawings)])))
    (codec,) = rank_at(summary, parse_target("bpp=0.4"), [PSNR])
    means = [float(np.mean(at_rate(rows, 0.4, "psnr_db"))) for rows in drawings]
    assert codec.record["seeds"] == 3
    assert codec.record["psnr_db"] == pytest.approx(np.mean(means))
    assert codec.record["psnr_db_seeds_standard_deviation"] == pytest.approx(np.std(means, ddof=1))
    (alone,) = rank_at(summarise(table(drawings[0])), parse_target("bpp=0.4"), [PSNR])
    assert "seeds" not in alone.record
