"""Codecs at a matched value, against scipy's Akima interpolation of each image's curve."""

import json
import math
from dataclasses import replace
from hashlib import sha256
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import Akima1DInterpolator
from scipy.stats import bootstrap, t
from typer.testing import CliRunner

import benchmark
from benchmark.compare.curve import Curve, CurvePoint
from benchmark.compare.interval import bootstrap_interval, image_draws
from benchmark.compare.published_rank import rank_systems
from benchmark.compare.rank import (
    Target,
    _SetCurves,
    parse_target,
    parse_targets,
    rank_at,
)
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_edition
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.rows.summary import average_seeds
from support.bench.verbs import app
from support.rows.bundled_results import bundled_results
from support.rows.measured import failed, row, table

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


def curve(rows, image, column):
    points = sorted((record["bpp"], record[column]) for record in rows if record["image"] == image)
    return np.log10([bpp for bpp, _ in points]), np.array([value for _, value in points])


def at_rate(rows, bpp, column, transform=lambda value: value, inverse=lambda place: place):
    """The value of each image at a rate, by scipy."""
    return [
        inverse(float(Akima1DInterpolator(x, transform(y))(math.log10(bpp))))
        for x, y in (curve(rows, image, column) for image in IMAGES)
    ]


def records_at(rows, target, *metrics, **options):
    result = rank_at(summarise(table(rows)), parse_target(target), metrics, **options)
    return {
        entry.record["codec"]: {**entry.record, "short": entry.unreached_images, "span": entry.span}
        for entry in result
    }


def ends(record, column="psnr_db"):
    return record[f"{column}_low"], record[f"{column}_high"]


def measured_names(record):
    """The metrics that a record has a value of."""
    return [name for name in ("psnr_db", "lpips_alex") if record.get(name) is not None]


def test_values_at_a_rate_are_the_means_of_each_images_own_interpolation():
    webp, avif = rows_of("webp", 1), rows_of("avif", 2)
    result = records_at([*webp, *avif], "bpp=.3", PSNR, MS_SSIM, LPIPS)
    decibels = {
        "transform": lambda value: -10 * np.log10(1 - value),
        "inverse": lambda place: 1 - 10 ** (-place / 10),
    }
    for label, rows in (("webp", webp), ("avif", avif)):
        point = result[label]
        assert (point["images"], point["images_reached"], point["bpp"]) == (9, 9, 0.3)
        expected = at_rate(rows, 0.3, "psnr_db")
        assert point["psnr_db"] == pytest.approx(np.mean(expected), abs=1e-9)
        saturating = at_rate(rows, 0.3, "ms_ssim", **decibels)
        assert point["ms_ssim"] == pytest.approx(np.mean(saturating), abs=1e-9)
        lower = at_rate(rows, 0.3, "lpips_alex")
        assert point["lpips_alex"] == pytest.approx(np.mean(lower), abs=1e-9)
        theirs = bootstrap(
            (np.array(expected),), np.mean, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert ends(point) == pytest.approx(tuple(theirs), abs=0.08 * width)
        by_hash = np.argsort([sha256(image.encode()).hexdigest() for image in IMAGES])
        ours = bootstrap_interval(np.array(expected)[by_hash])  # as every interval of these images
        assert ends(point) == pytest.approx(ours, abs=1e-9)
    order = sorted(result.values(), key=lambda point: -point["psnr_db"])
    assert [point["rank"] for point in order] == [1, 2]


def test_rates_at_a_quality_are_interpolated_in_each_image_and_rank():
    webp, avif = rows_of("webp", 1), rows_of("avif", 2)
    result = records_at([*webp, *avif], "psnr=30", PSNR, LPIPS)
    for label, rows in (("webp", webp), ("avif", avif)):
        curves = [curve(rows, image, "psnr_db") for image in IMAGES]
        rates = [10 ** float(Akima1DInterpolator(y, x)(30.0)) for x, y in curves]
        assert result[label]["bpp"] == pytest.approx(np.mean(rates), rel=1e-9)
        assert (result[label]["psnr_db"], *ends(result[label])) == (30.0, None, None)
        image_rates = zip(IMAGES, rates, strict=True)
        lpips = [
            float(Akima1DInterpolator(*curve(rows, image, "lpips_alex"))(math.log10(rate)))
            for image, rate in image_rates
        ]
        assert result[label]["lpips_alex"] == pytest.approx(np.mean(lpips), rel=1e-9)
    rates = sorted((point["bpp"], point["rank"]) for point in result.values())
    assert [place for _, place in rates] == [1, 2]


def test_a_budget_of_the_set_counts_all_bytes_together():
    rows = [record | {"encode_seconds": record["setting_value"]} for record in rows_of("webp", 3)]
    (rate_point,) = records_at(rows, "bpp=.25", PSNR, budget="set").values()
    pixels = sum(width * height for width, height in IMAGES.values())
    of_setting = [[r for r in rows if r["setting_value"] == value] for value in SETTINGS]
    pooled = [8 * sum(r["num_bytes"] for r in setting_rows) / pixels for setting_rows in of_setting]
    means = [np.mean([r["psnr_db"] for r in setting_rows]) for setting_rows in of_setting]
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
    ids = summarise(table(rows)).points[0].image_ids
    weights = dict(zip(sorted(IMAGES, key=lambda name: sha256(name.encode()).hexdigest()),
                       image_draws(len(ids))[0], strict=True))  # fmt: skip
    previous_psnr = {
        record["image"]: record["psnr_db"] for record in rows if record["setting_value"] == 20
    }
    for record in rows:
        if record["setting_value"] == 35:
            record["psnr_db"] = (
                previous_psnr[record["image"]] + 20 * (weights[record["image"]] - 1 / 9) - 1e-3
            )
    remaining_rows = [record for record in rows if record["setting_value"] != 35]
    result, expected = (
        records_at(codec_rows, "bpp=.4", PSNR, budget="set")["webp"]
        for codec_rows in (rows, remaining_rows)
    )
    assert result["psnr_db"] == expected["psnr_db"]


@pytest.mark.parametrize("budget", ["image", "set"])
def test_a_metric_is_given_where_every_image_has_it_there(budget):
    def values(rows):
        all_rows = [*rows_of("webp", 1), *rows]
        return measured_names(records_at(all_rows, "bpp=.3", PSNR, LPIPS, budget=budget)["avif"])

    rows = rows_of("avif", 2)
    assert values(rows) == ["psnr_db", "lpips_alex"]
    lost = [record | {"lpips_alex": None} for record in rows]
    assert values(lost) == ["psnr_db"]
    worse = ["03"] if budget == "image" else IMAGES
    rises = [
        record | {"lpips_alex": 1 - record["lpips_alex"]} if record["image"] in worse else record
        for record in rows
    ]
    assert values(rises) == ["psnr_db"]  # the front is its first point
    all_rows = [*rows_of("webp", 1), *rows]
    of_eight = [
        record | {"lpips_alex": None} if record["image"] == "03" else record for record in all_rows
    ]
    result = records_at(of_eight, "bpp=.3", PSNR, LPIPS, budget=budget)
    assert measured_names(result["webp"]) == ["psnr_db"]


@pytest.mark.parametrize("budget", ["image", "set"])
@pytest.mark.parametrize("target", ["bpp=.3", "psnr=30"])
def test_two_settings_that_code_alike_are_one(budget, target):
    rows = rows_of("webp", 1)
    copied_rows = [
        record | {"setting_value": 90.0} for record in rows if record["setting_value"] == 20
    ]
    single_result, double_result = (
        records_at(setting_rows, target, PSNR, LPIPS, budget=budget)
        for setting_rows in (rows, [*rows, *copied_rows])
    )
    (first,), (second,) = single_result.values(), double_result.values()
    assert second["rank"] == 1
    for name in ("bpp", "psnr_db", "lpips_alex"):
        assert (second[name], ends(second, name)) == (first[name], ends(first, name))


def test_codecs_that_do_not_reach_a_value_come_in_the_order_of_how_many_images_do():
    few, many = rows_of("avif", 2, lowest=0.2), rows_of("jpeg", 2, lowest=0.18)
    reaching_rows = (rows_of(codec, 1) for codec in ("webp", "bpg", "x265"))
    summary = summarise(table([*chain(*reaching_rows), *few, *many]))
    result = rank_at(summary, parse_target("bpp=.31"), [PSNR])
    result = [entry.record for entry in result]
    assert [entry["rank"] for entry in result] == [1, 1, 1, None, None]  # the three are equal
    assert [entry["codec"] for entry in result[3:]] == ["jpeg", "avif"]
    assert result[3]["images_reached"] > result[4]["images_reached"] > 0


def test_points_off_the_pareto_front_take_no_part():
    rows = rows_of("webp", 1)
    worse = [row | {"setting_value": 99.0, "psnr_db": row["psnr_db"] - 4, "cell": row["cell"] + "x"}
             for row in rows if row["setting_value"] == 35]  # fmt: skip
    worse = [record | {"num_bytes": record["num_bytes"] + 1} for record in worse]
    plain_point, mixed_point = (
        records_at(group, "bpp=.3", PSNR)["webp"] for group in (rows, rows + worse)
    )
    assert plain_point["psnr_db"] == mixed_point["psnr_db"]


def short_and_reach(rows):
    """The images whose curves begin above 0.31 bpp, and the others."""
    lowest = {image: 10 ** curve(rows, image, "psnr_db")[0][0] for image in IMAGES}
    short = [image for image in IMAGES if lowest[image] > 0.31]
    return short, [image for image in IMAGES if image not in short], max(lowest.values())


def images_by_number():
    """The images by the numbers that points know them under: the order of their digests."""
    return sorted(IMAGES, key=lambda name: sha256(name.encode()).hexdigest())


def test_nothing_is_extrapolated_and_what_does_not_reach_it_is_named():
    avif = rows_of("avif", 2, lowest=0.18)
    short, reach, lowest = short_and_reach(avif)
    assert short
    assert reach
    reaching_rows = [*rows_of("webp", 1), *rows_of("bpg", 3)]
    result = records_at([*reaching_rows, *avif], "bpp=.31", PSNR)
    entry = result["avif"]
    counts = entry["rank"], entry["images_reached"], entry["images"]
    assert (*counts, measured_names(entry)) == (None, len(reach), 9, [])
    assert {images_by_number()[number] for number in entry["short"]} == {*short}
    assert entry["span"][0] == pytest.approx(lowest)
    assert {result["webp"]["rank"], result["bpg"]["rank"]} == {1, 2}


@pytest.mark.parametrize("common", [True, False])
def test_two_codecs_are_compared_on_the_images_that_both_reach(common):
    webp, avif = rows_of("webp", 1), rows_of("avif", 2, lowest=0.18)
    _, reach, _ = short_and_reach(avif)
    assert 9 > len(reach) >= 5
    shared = records_at([*webp, *avif], "bpp=.31", PSNR, common=common)
    assert {(point["images"], point["rank"] is None) for point in shared.values()} == {
        (len(reach), False)
    }
    for label, rows in (("webp", webp), ("avif", avif)):
        expected = dict(zip(IMAGES, at_rate(rows, 0.31, "psnr_db"), strict=True))
        mean = np.mean([expected[image] for image in reach])
        assert shared[label]["psnr_db"] == pytest.approx(mean, abs=1e-9)


def test_a_failed_setting_elsewhere_takes_no_image_from_the_common_ones():
    webp, avif = rows_of("webp", 1), rows_of("avif", 2)
    codec = [row for row in avif if row["setting_value"] < 80 or row["image"] == "00"]
    result = records_at([*webp, *codec], "bpp=.3", PSNR, common=True)
    assert {point["images"] for point in result.values()} == {9}
    remaining_rows = [row for row in codec if row["image"] != "08"]
    assert records_at([*webp, *remaining_rows], "bpp=.3", PSNR, common=True)["avif"]["images"] == 8


def test_a_codec_that_reaches_less_than_half_of_the_images_takes_none_from_the_others():
    avif = rows_of("avif", 2, lowest=0.2)
    _, reach, _ = short_and_reach(avif)
    assert 0 < len(reach) < 4.5
    result = records_at([*rows_of("webp", 1), *avif], "bpp=.31", PSNR)
    assert [(result[name]["rank"], result[name]["images"]) for name in ("webp", "avif")] == [
        (1, 9), (None, 9),
    ]  # fmt: skip


def test_codecs_without_an_image_in_common_are_told_apart():
    def only(rows, images):
        """Rows whose other images need ten times the bits."""
        return [
            record if record["image"] in images
            else record | {"num_bytes": 10 * record["num_bytes"], "bpp": 10 * record["bpp"]}
            for record in rows
        ]  # fmt: skip

    names = [*IMAGES]
    rows = [*only(rows_of("webp", 1), names[:6]), *only(rows_of("bpg", 3), names[2:6])]
    rows += only(rows_of("avif", 2), names[7:8])
    with pytest.raises(UsageError) as error:
        records_at(rows, "bpp=.31", PSNR, common=True)
    for text in ("bpp=0.31", "avif (1 of 9)", "4 images", "--codecs webp,bpg"):
        assert text in str(error.value)
    with pytest.raises(UsageError, match=r"no codec .*bpp=99"):
        records_at(rows, "bpp=99", PSNR, common=True)


def test_differences_from_the_best_codec_are_of_the_same_images():
    webp, avif = rows_of("webp", 1), rows_of("avif", 2)
    for target, higher in (("bpp=.3", True), ("psnr=30", False)):
        result = records_at([*webp, *avif], target, PSNR)
        if higher:
            first, second = (np.array(at_rate(rows, 0.3, "psnr_db")) for rows in (webp, avif))
        else:
            inverted = [
                [curve(rows, image, "psnr_db")[::-1] for image in IMAGES] for rows in (webp, avif)
            ]
            first, second = (
                np.array([10 ** float(Akima1DInterpolator(*xy)(30.0)) for xy in image_curves])
                for image_curves in inverted
            )
        best_codec, other_codec, worse = ("webp", "avif", second - first)
        if (worse.mean() > 0) == higher:
            best_codec, other_codec, first, second = "avif", "webp", second, first
        assert result[best_codec]["to_best"] is None
        paired = result[other_codec]
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
    rows = rows_of("webp", 1)
    result = records_at([*rows, *(record | {"codec": "avif"} for record in rows)], "bpp=.3", PSNR)
    (paired,) = [point for point in result.values() if point["to_best"] is not None]
    assert (paired["to_best"], *ends(paired, "to_best"), paired["images_better"]) == (0, 0, 0, 0)
    assert [point["rank"] for point in result.values()] == [1, 1]
    worse = [record | {"codec": "bpg", "psnr_db": record["psnr_db"] - 1} for record in rows]
    copied_rows = [record | {"codec": name} for name in ("avif", "jpegxl") for record in rows]
    for target, ranks in (("bpp=.3", [1, 1, 1, 4]), ("psnr=30", [1, 1, 1, 4])):
        result = records_at([*rows, *copied_rows, *worse], target, PSNR)
        assert sorted(point["rank"] for point in result.values()) == ranks
        assert result["bpg"]["rank"] == 4


def test_the_mean_of_one_image_has_no_interval():
    rows = rows_of("webp", 1)
    single_rows, pair_rows = (
        [row for row in rows if row["image"] in names] for names in (["03"], ["03", "04"])
    )
    result = [
        records_at(image_rows, "bpp=.31", PSNR)["webp"] for image_rows in (single_rows, pair_rows)
    ]
    assert [ends(record)[0] is None for record in result] == [True, False]


def test_a_codec_of_which_every_cell_failed_has_no_rank():
    rows = [*rows_of("webp", 1), failed("avif", 5, "00", "encode", "it does not start")]
    ranks = records_at(rows, "bpp=.31", PSNR)
    counts = [ranks["avif"][name] for name in ("rank", "images", "images_reached")]
    assert (ranks["webp"]["rank"], counts) == (1, [None, 0, 0])


def test_seconds_are_of_rows_measured_here_and_typical_ones_of_the_codec():
    measured_rows = rows_of("webp", 1, decode_seconds=0.5)
    for record in measured_rows:
        record |= {
            "encode_seconds": record["setting_value"],
            "recorded": record["setting_value"] == 80,
        }
    result = records_at(
        [*measured_rows, *rows_of("avif", 2, recorded=True, setting_name="crf")], "bpp=.3", PSNR
    )
    rates = [
        np.mean([r["bpp"] for r in measured_rows if r["setting_value"] == value])
        for value in SETTINGS
    ]
    expected = np.interp(math.log10(0.3), np.log10(rates)[:-1], SETTINGS[:-1])
    assert result["webp"]["encode_seconds"] == pytest.approx(expected)
    assert result["webp"]["decode_seconds"] == 0.5
    assert (result["avif"]["encode_seconds"], result["avif"]["decode_seconds"]) == (None, None)
    typical = "typical_seconds_per_megapixel"
    assert result["avif"][typical] > 0
    assert records_at(rows_of("webp", 1, device="tpu"), "bpp=.3", PSNR)["webp"][typical] is None


@pytest.mark.parametrize(
    ("draws", "valid_draws", "has_interval"),
    [(20, 19, True), (20, 18, False), (21, 20, True), (21, 19, False), (2, 2, True), (2, 1, False)],
)
def test_an_interval_needs_a_number_in_nineteen_of_twenty_draws(draws, valid_draws, has_interval):
    of_draws = np.where(np.arange(draws) < valid_draws, np.arange(draws), np.nan)
    result = _SetCurves.mean(np.array([3.0, *of_draws]))
    assert (result[0], result[1] is not None) == (3.0, has_interval)


@pytest.mark.parametrize("text", ["bpp", "bpp=0", "bpp=-1", "bpp=x", "psnr=nan", "=3"])
def test_a_target_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        parse_target(text)


def test_targets_are_rates_and_metrics():
    assert parse_target(" bpp=.3") == Target("bpp", 0.3)
    assert str(parse_target("lpips_squeeze=.15")) == "lpips_squeeze=0.15"
    with pytest.raises(UnknownName, match="psnr"):
        parse_target("psn=3")


def test_metrics_of_sets_need_a_budget_of_the_set():
    target = "bpp=.3"
    hint = "name another"
    for budget, by_image, message in (
        ("image", True, "--budget set"), ("image", False, hint), ("set", False, hint),
    ):  # fmt: skip
        metric = replace(LPIPS, is_distribution=True, has_image_values=by_image)
        with pytest.raises(UsageError, match=rf"LPIPS \(AlexNet\) .*{message}"):
            records_at(rows_of("webp", 1), target, metric, budget=budget)
    with pytest.raises(UsageError, match="--budget set"):
        benchmark.rank(RESULTS / "kodak", target, metrics="fd_squeeze", allow_few=True)
    result = benchmark.rank(
        RESULTS / "kodak", target, metrics="fd_squeeze", budget="set", allow_few=True
    )
    assert result["fd_squeeze"].dropna().is_monotonic_increasing
    assert len(result["fd_squeeze"].dropna()) > 4


def test_the_command_and_the_interface_say_the_same(tmp_path):
    store = Store(tmp_path / "set")
    avif = rows_of("avif", 2, lowest=0.18)
    store.append([*rows_of("webp", 1), *rows_of("bpg", 3), *avif])
    words = ["rank", "--at", "bpp=.31", "--at", "psnr=30", "--metrics", "psnr"]
    words += ["--dataset", "set", "--results", str(tmp_path)]
    reported = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    frame = benchmark.rank(store.folder, ["bpp=.31", "psnr=30"], metrics="psnr")
    assert frame["codec"].tolist() == [entry["codec"] for entry in reported["records"]]
    for entry, record in zip(reported["records"], frame.to_dict("records"), strict=True):
        assert entry["rank"] == (None if pd.isna(record["rank"]) else record["rank"])
        assert entry["psnr_db"] == pytest.approx(record["psnr_db"], nan_ok=True) or (
            entry["psnr_db"] is None and math.isnan(record["psnr_db"])
        )
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    (message,) = [line for line in result.output.splitlines() if line.startswith("avif: bpp=0.31")]
    short, _, lowest = short_and_reach(avif)
    assert f"avif: bpp=0.31 not reached in {', '.join(short[:3])}" in message
    assert f" bpp={lowest:.3g} to" in message
    runner_up = next(entry for entry in reported["records"] if entry["rank"] == 2)
    (sentence,) = [line for line in result.output.splitlines() if "At bpp" in line]
    assert f"{runner_up['codec']} differs by {runner_up['to_best']:+.2f} dB [" in sentence
    assert f" {runner_up['images_better']}/9 " in result.output
    nothing = CliRunner().invoke(app, [*words[:1], "--at", "bpp=9", *words[7:]])
    assert nothing.exit_code == 1


def test_equal_codecs_and_images_that_nobody_ranked_lacks_are_said(tmp_path):
    """Of three codecs one reaches every image, and either other one lacks two that differ."""

    def beyond(codec, out):
        """Rows of a codec whose images of these numbers begin at ten times the rate."""
        return [
            record | {"num_bytes": 10 * record["num_bytes"], "bpp": 10 * record["bpp"]}
            if record["image"] in out else record for record in rows_of(codec, 1)
        ]  # fmt: skip

    def output_of(name, *rows):
        store = Store(tmp_path / name / "set")
        store.append(rows)
        words = ["rank", "--at", "bpp=.31", "--metrics", "psnr", "--dataset", "set", "--results"]
        return CliRunner().invoke(app, [*words, str(store.folder.parent)]).output

    webp_rows = rows_of("webp", 1)
    copied = [{**record, "codec": "avif", "cell": f"avif {record['cell']}"} for record in webp_rows]
    equal = output_of("equal", *webp_rows, *copied)
    assert "At bpp=0.31 webp is as good as avif; avif differs by +0.00 dB" in equal
    shifts = dict(zip(IMAGES, np.linspace(-1, 1, 9) - 0.1, strict=True))  # 0 is in the interval
    near = [record | {"psnr_db": record["psnr_db"] + shifts[record["image"]]} for record in copied]
    far = [record | {"psnr_db": record["psnr_db"] - 1} for record in copied]
    assert "webp has the best mean; avif differs by -0.10 dB" in output_of(
        "near", *webp_rows, *near
    )
    assert "webp is the best; avif differs by -1.00 dB" in output_of("far", *webp_rows, *far)
    lone_ranking = output_of(
        "lacking", *webp_rows, *beyond("avif", ("00", "01")), *beyond("bpg", ("00", "02"))
    )
    assert "At bpp=0.31 on 8 of 9 images only webp is ranked." in lone_ranking
    assert "of 9 images" not in equal
    blank = [
        record | {"psnr_db": None} if record["image"] == "03" else record
        for record in (*webp_rows, *far)
    ]
    part = output_of("part", *blank)
    assert "At bpp=0.31 on 8 of 9 images webp" in part
    assert "03: not compared at bpp=0.31: no PSNR (dB)" in part
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
    result = records_at([*rows_of("webp", 1), *near, *far], "bpp=.25", PSNR, budget=budget)
    for codec, high in (("avif", 0.28), ("jpeg", 0.8)):
        share = math.log(0.25 / 0.2) / math.log(high / 0.2)
        expected = pytest.approx(30 + 6 * share, abs=2e-3)  # bytes are whole
        assert (result[codec]["psnr_db"], result[codec]["points"]) == (expected, 2)
    assert result["webp"]["points"] == len(SETTINGS)


@pytest.mark.parametrize("budget", ["image", "set"])
def test_neighbours_that_are_far_apart_in_rate_are_in_the_record(budget):
    rows = [*lines_of_two_points("avif", 0.2, 0.298), *lines_of_two_points("jpeg", 0.2, 0.8)]
    result = records_at(rows, "psnr=33", PSNR, budget=budget)
    ends = {
        codec: (point["interpolated_from"], point["interpolated_to"])
        for codec, point in result.items()
    }
    assert ends == {"avif": (None, None), "jpeg": pytest.approx((0.2, 0.8), rel=1e-3)}
    at_a_point = records_at(rows, "psnr=30", PSNR, budget=budget)["jpeg"]
    assert (at_a_point["interpolated_from"], at_a_point["interpolated_to"]) == (None, None)


def test_bytes_of_an_image_and_rates_against_the_anchor_stand_beside_a_quality():
    rows = [*lines_of_two_points("avif", 0.1, 0.4), *lines_of_two_points("jpeg", 0.2, 0.8)]
    summary = summarise(table(rows))
    anchor = next(edition for edition in summary.editions if edition.spec.name == "jpeg")
    first, second = (
        entry.record for entry in rank_at(summary, parse_target("psnr=36"), [PSNR], anchor=anchor)
    )
    pixels = np.mean([width * height for width, height in IMAGES.values()])
    assert first["image_bytes"] == pytest.approx(0.4 * pixels / 8, rel=1e-3)
    assert (first["to_anchor"], second["to_anchor"]) == (pytest.approx(-50, abs=0.1), 0)
    assert first["to_anchor_low"] <= first["to_anchor"] <= first["to_anchor_high"]


def test_a_setting_that_lacks_the_value_of_one_image_has_a_part_in_the_others():
    webp = rows_of("webp", 1)
    rows = [
        record | {"psnr_db": None}
        if record["setting_value"] == value and record["image"] == image
        else record
        for record in webp
        for value, image in [
            ({"00": 5, "01": 12, "02": 35, "03": 80}.get(record["image"]), record["image"])
        ]
    ]
    all_rows = [*rows_of("avif", 2), *rows]
    result = records_at(all_rows, "bpp=.3", PSNR)["webp"]
    assert (result["rank"] is None, result["images_reached"]) == (False, 9)
    values = []
    for image in IMAGES:
        image_rows = [
            record for record in rows if record["image"] == image and record["psnr_db"] is not None
        ]
        values.append(
            float(Akima1DInterpolator(*curve(image_rows, image, "psnr_db"))(math.log10(0.3)))
        )
    assert result["psnr_db"] == pytest.approx(np.mean(values), abs=1e-9)
    (short,) = {record["setting_value"] for record in rows} - {5, 12, 35, 80} - {20}
    assert short == 55  # of a set, the two complete settings do not reach it
    assert records_at(all_rows, "bpp=2", PSNR, budget="set")["webp"]["rank"] is None


@pytest.mark.parametrize("budget", ["image", "set"])
def test_after_a_search_a_setting_that_meets_the_target_counts_as_it_is(budget):
    webp = rows_of("webp", 3)
    (point,) = [p for p in summarise(table(webp)).points if p.setting.value == 20]
    target = f"psnr={point.means['psnr_db'].value * 1.0015:.17g}"
    met = records_at(webp, target, PSNR, LPIPS, budget=budget, tolerance=1)["webp"]
    assert (met["setting"], met["rank"]) == ("quality=20", 1)
    assert (
        met["reached"] == met["psnr_db"] == pytest.approx(point.means["psnr_db"].value, rel=1e-12)
    )
    assert met["lpips_alex"] == pytest.approx(point.means["lpips_alex"].value, rel=1e-12)
    pixels = point.image_pixels if budget == "set" else None
    assert met["bpp"] == pytest.approx(np.average(point.image_bpp, weights=pixels), rel=1e-12)
    assert met["image_bytes"] == pytest.approx(np.mean(point.image_bpp * point.image_pixels) / 8)
    for tolerance, name in ((0, target), (1, "psnr=33.3")):
        assert (
            records_at(webp, name, PSNR, budget=budget, tolerance=tolerance)["webp"]["setting"]
            is None
        )
    setting_rows = [record for record in webp if record["setting_value"] == 20]
    assert records_at(setting_rows, target, PSNR, budget=budget, tolerance=0)["webp"]["setting"]
    assert (
        records_at(setting_rows, "psnr=60", PSNR, budget=budget, tolerance=0)["webp"]["rank"]
        is None
    )


def published_curve(system, metric, points, protocol, variant=""):
    edition = published_edition(system, variant)
    points = (
        CurvePoint(bpp, value, "", "table", 24, protocol, "bpp/reported", "a paper")
        for bpp, value in points
    )
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
    assert [*records] == ["two", "one", "four", "three"], (
        "best first, other rules behind, then none"
    )
    values = [records[name]["psnr_db"] for name in records]
    assert values == [pytest.approx(34), 33, pytest.approx(39.5), None]
    assert records["one"]["lpips_alex"] == pytest.approx(0.15)
    rules = [
        (record["psnr_db_other_rule"], record["lpips_alex_other_rule"])
        for record in records.values()
    ]
    assert rules == [(None, None), (None, "lpips-other/1"), ("psnr-of-luma/1", None), (None, None)]
    assert {record["rank"] for record in records.values()} == {None}
    assert (records["two"]["interpolated_from"], records["two"]["interpolated_to"]) == (0.1, 0.4)
    assert records["one"]["interpolated_from"] is None  # one of its points
    at_quality = rank_systems(curves, parse_target("psnr=34"), [PSNR, LPIPS], sharing, "24 images")
    records = {entry.edition.spec.name: entry.record for entry in at_quality}
    assert [records[name]["bpp"] for name in ("two", "three", "one")] == [
        pytest.approx(0.2),
        pytest.approx(0.3),
        None,
    ]
    assert records["two"]["bpp_other_rule"] == "24 images"


def test_targets_of_one_text_share_their_name():
    assert parse_targets(["bpp=.05,.1", "psnr=32, bpp=.3"]) == [
        ("bpp", 0.05), ("bpp", 0.1), ("psnr", 32), ("bpp", 0.3),
    ]  # fmt: skip
    with pytest.raises(UsageError):
        parse_targets([".05"])


def test_published_rows_stand_in_the_answer_marked_and_with_what_they_do_not_reach(tmp_path):
    points = {"mine": [(0.1, 27.0), (0.2, 29.0), (0.4, 31.0)], "high": [(2.0, 40.0), (3.0, 41.0)]}
    for name, system_points in points.items():
        lines = ["bpp,psnr", *(f"{bpp},{psnr}" for bpp, psnr in system_points)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    files = ",".join(str(tmp_path / f"{name}.csv") for name in points)
    words = ["rank", "--at", "bpp=.2", "--codecs", "vtm", "--published", f"{files},ms-illm"]
    words += ["--dataset", "kodak", "--results", str(RESULTS), "--metrics", "psnr,lpips"]
    answer = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    records = {record["codec"]: record for record in answer["records"]}
    assert (records["mine (from file)"]["psnr_db"], records["mine (from file)"]["points"]) == (
        29,
        3,
    )
    assert records["MS-ILLM (published)"]["origin"] == "published"
    absent = {absence["what"]: absence["why"] for absence in answer["absent"]}
    assert "published at bpp=2 to 3" in absent["high (from file)"]
    frame = benchmark.rank(RESULTS / "kodak", "bpp=.2", codecs="vtm", published=f"{files},ms-illm")
    assert frame["codec"].tolist()[:2] == ["vtm", "mine (from file)"]
    on_one = json.loads(
        CliRunner().invoke(app, [*words[:2], "bpp=.02", *words[3:], "--json"]).output
    )
    marked_records = [record for record in on_one["records"] if record["psnr_db_other_rule"]]
    assert all(
        f"of {on_one['records'][0]['images']}" in record["psnr_db_other_rule"]
        for record in marked_records
    )


def test_what_does_not_reach_a_target_is_named_with_what_helps(tmp_path):
    store = Store(tmp_path / "set")
    store.append([*rows_of("webp", 1), *rows_of("bpg", 3), *rows_of("avif", 2, lowest=0.18)])
    words = ["rank", "--at", "bpp=.31", "--metrics", "psnr", "--dataset", "set"]
    output = CliRunner().invoke(app, [*words, "--results", str(tmp_path)]).output
    assert "--budget set" in output
    assert (
        f"`bench run --dataset set --codecs avif --target bpp=0.31 --results {tmp_path}`" in output
    )


def test_a_set_that_does_not_reach_a_target_names_the_settings_that_lack_an_image(tmp_path):
    webp = [
        record | {"psnr_db": None}
        if record["setting_value"] in (55, 80) and record["image"] == "00"
        else record
        for record in rows_of("webp", 1)
    ]
    Store(tmp_path / "set").append([*webp, *rows_of("bpg", 3)])
    words = ["rank", "--at", "bpp=.9", "--metrics", "psnr", "--dataset", "set", "--budget", "set"]
    answer = json.loads(
        CliRunner().invoke(app, [*words, "--results", str(tmp_path), "--json"]).output
    )
    (reason,) = [absence["why"] for absence in answer["absent"] if absence["what"] == "webp"]
    assert "without quality=55, quality=80 (PSNR (dB) of 8 of 9 images: `bench rescore" in reason
    by_image = json.loads(
        CliRunner().invoke(app, [*words[:7], "--results", str(tmp_path), "--json"]).output
    )
    (webp,) = [record for record in by_image["records"] if record["codec"] == "webp"]
    assert webp["images_reached"] > 4


def test_a_decoder_that_draws_has_one_place_and_a_deviation_over_its_seeds():
    drawings = {
        variant: [
            {**record, "psnr_db": record["psnr_db"] + shift}
            for record in rows_of("draws", 3, variant=variant)
        ]
        for variant, shift in (("", 0.0), ("seed=1", 1.0), ("seed=2", 5.0))
    }
    summary = average_seeds(summarise(table([*chain(*drawings.values())])))
    (codec,) = rank_at(summary, parse_target("bpp=0.4"), [PSNR])
    means = [float(np.mean(at_rate(rows, 0.4, "psnr_db"))) for rows in drawings.values()]
    assert codec.record["seeds"] == 3
    assert codec.record["psnr_db"] == pytest.approx(np.mean(means))
    assert codec.record["psnr_db_seeds_standard_deviation"] == pytest.approx(np.std(means, ddof=1))
    (alone,) = rank_at(summarise(table(drawings[""])), parse_target("bpp=0.4"), [PSNR])
    assert "seeds" not in alone.record
