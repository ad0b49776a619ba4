import json
import random
from statistics import fmean

import numpy as np
import polars as pl
import pytest

from benchmark.codec import Setting
from benchmark.metrics.metric import protocols
from benchmark.metrics.psnr import psnr
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.schema import metric_columns
from benchmark.rows.summary import SECONDS, TIMED
from benchmark.spec import CodecSpec
from support.rows.measured import PROTOCOLS, failed, row, sweep, table


def point(summary, label, quality):
    (result,) = (
        p
        for p in summary.points
        if label_of(p.edition.spec) == label and p.setting == Setting("quality", quality)
    )
    return result


def test_every_mean_is_over_the_images_and_has_their_count():
    rows = [row("jpeg", 50, name) for name in ("a", "bb", "cccc")] + [row("webp", 9, "a")]
    result = point(summarise(table(rows)), "jpeg", 50)
    assert result.bpp == pytest.approx(fmean(record["bpp"] for record in rows[:3]), abs=1e-12)
    for name in ("psnr_db", "psnr_y_db", "ms_ssim", "lpips_alex", *SECONDS):
        mean = result.means[name]
        assert mean.value == pytest.approx(fmean(record[name] for record in rows[:3]), abs=1e-12)
        assert (mean.images, mean.infinite, mean.missing, mean.bpp) == (3, 0, 0, result.bpp)


def test_a_point_has_bits_per_pixel_and_values_of_every_image():
    rows = [row("jpeg", 50, "b", num_bytes=100, width_px=40, height_px=40, psnr_db=30.0),
            row("jpeg", 50, "a", num_bytes=100, width_px=40, height_px=20, psnr_db=33.0),
            failed("jpeg", 50, "c", "encode", "it broke")]  # fmt: skip
    (result,) = summarise(table(rows)).points
    values = sorted(zip(result.image_bpp, result.image_values["psnr_db"], strict=True))
    assert values == [(0.5, 30.0), (1.0, 33.0)]  # the first is 800 bits on 1600 pixels


def test_the_order_of_rows_changes_no_bit():
    rows = [*sweep("jpeg", "abcdefgh"), *sweep("webp", "abcdefgh")]
    for record in rows:
        record["psnr_db"] = random.Random(record["cell"]).uniform(20, 40)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert summarise(table(rows)).flat_records() == summarise(table(shuffled)).flat_records()


def test_of_two_library_versions_the_later_run_is_shown_and_the_older_is_kept_apart():
    new = sweep("jpeg", run="20250301T000000-aa", fingerprint="new", codec_version="2.0")
    # Filling in a metric of old cells renews finished_utc, and must not make them the latest.
    old = sweep("jpeg", fingerprint="old", finished_utc="2026-01-01", psnr_db=9.0)
    summary = summarise(table([*old, *new, *sweep("webp")]))
    shown = point(summary, "jpeg", 5)
    assert shown.edition.run_facts.version == "2.0"
    expected = fmean(record["psnr_db"] for record in new[:3])
    assert shown.means["psnr_db"].value == pytest.approx(expected, abs=1e-12)
    assert {p.edition.run_facts.version for p in summary.replaced} == {"1.0"}


def test_rows_of_another_revision_or_coding_protocol_are_in_no_mean():
    for first, second in (
        ({"revision": 2, "run": "z"}, {"revision": 1}),
        ({}, {"coding_protocol": "coding/0", "run": "z"}),
    ):
        summary = summarise(table([row("jpeg", 5, "a", **first), row("jpeg", 5, "b", **second)]))
        assert [rate_point.images for rate_point in summary.points] == [1]
    (absent,) = summary.absent
    assert (absent[0], absent[1].split()[-1], absent[2]) == ("jpeg", "coding/0", "")


def test_values_under_another_metric_protocol_never_meet():
    rows = [row("jpeg", 5, name, psnr_db=30.0) for name in "ab"]
    rows.append(row("jpeg", 5, "c", psnr_db=90.0, psnr_db_protocol="psnr-rgb8/0"))
    mean = summarise(table(rows)).points[0].means["psnr_db"]
    assert (mean.value, mean.images) == (30.0, 2)
    assert [(why.split()[-1], n) for why, n in mean.reasons] == [(PROTOCOLS["psnr_db"], 1)]
    older = {"coding": PROTOCOLS["coding"], "psnr_db": "psnr-rgb8/0"}
    assert summarise(table(rows), older).points[0].means["psnr_db"].value == 90.0


def test_a_point_that_lacks_images_others_have_says_how_many():
    summary = summarise(table([*sweep("jpeg", "abc"), *sweep("webp", "ab")]))
    assert summary.images == 3
    points = (point(summary, codec, 5) for codec in ("jpeg", "webp"))
    assert [(p.images, p.missing) for p in points] == [(3, 0), (2, 1)]


def test_points_are_restricted_to_the_images_that_all_have_for_each_metric():
    def summarise_common(*rows):
        summary = summarise(table(rows), common=True)
        return summary, point(summary, "jpeg", 5), point(summary, "webp", 5)

    first, second, third = (row("jpeg", 5, name) for name in ("a", "bb", "ccc"))
    lost = failed("webp", 5, "a", "encode", "no")
    summary, jpeg, webp = summarise_common(first, second, third, row("webp", 5, "bb"))
    assert (summary.images, summary.dropped, jpeg.images, webp.images) == (1, 2, 1, 1)
    assert jpeg.means["psnr_db"].value == second["psnr_db"]
    # A point without any stream does not empty the common images.
    summary, jpeg, webp = summarise_common(first, lost)
    assert (summary.images, jpeg.images, webp.bpp) == (1, 1, None)
    # Images that are left out have not failed.
    _, jpeg, webp = summarise_common(first, second, lost, row("webp", 5, "bb"))
    assert (jpeg.failed, jpeg.failures, webp.failures) == (0, (), (("encode: no", 1),))
    pair = row("webp", 5, "a"), row("webp", 5, "bb", lpips_alex=None)
    _, jpeg, _ = summarise_common(first, second, *pair)
    assert [jpeg.means[name].images for name in ("psnr_db", "lpips_alex")] == [2, 1]
    assert jpeg.means["lpips_alex"].bpp == first["bpp"]


def test_the_psnr_of_the_mean_squared_error_is_that_of_all_pixels_together():
    random = np.random.default_rng(5)
    sources = random.integers(0, 256, (3, 8, 10, 3), np.uint8)
    spread = np.array([1, 20, 90]).reshape(3, 1, 1, 1)
    decoded = (sources + random.normal(0, spread, sources.shape)).clip(0, 255).astype(np.uint8)
    rows = [row("jpeg", 5, name, psnr_db=psnr(*pixels), psnr_y_db=None)
            for name, *pixels in zip("abc", sources, decoded, strict=True)]  # fmt: skip
    error = np.mean((sources.astype(np.float64) - decoded) ** 2)
    (record,) = summarise(table(rows)).flat_records()
    expected = pytest.approx(10 * np.log10(255**2 / error), rel=1e-12)
    assert record["psnr_db_of_mean_mse"] == expected
    assert record["psnr_y_db_of_mean_mse"] is None
    rows += [row("jpeg", 5, "d", psnr_db=float("inf"))]
    (record,) = summarise(table(rows)).flat_records()
    expected = pytest.approx(10 * np.log10(255**2 / (error * 3 / 4)), rel=1e-12)
    assert record["psnr_db_of_mean_mse"] == expected
    (record,) = summarise(table(rows[-1:])).flat_records()
    assert record["psnr_db_of_mean_mse"] is None
    rows = [row("jpeg", 5, name) for name in "ab"] + [row("webp", 5, name) for name in "ab"]
    rows[0]["psnr_db"] = None
    records = summarise(table(rows), common=True).flat_records()
    assert [record["psnr_db_images"] for record in records] == [1, 1]
    assert records[0]["psnr_db_of_mean_mse"] == pytest.approx(records[0]["psnr_db"], rel=1e-12)
    assert records[1]["psnr_db_of_mean_mse"] is None


def test_failed_cells_are_counted_with_their_three_most_frequent_reasons():
    reasons = ["slow"] * 3 + ["cut off"] * 3 + ["rare"] + ["boom"] * 2
    rows = [failed("jpeg", 5, f"{n}", "encode", reason) for n, reason in enumerate(reasons)]
    (result,) = summarise(table([row("jpeg", 5, "a"), *rows])).points
    assert (result.images, result.failed) == (1, 9)
    assert result.failures == (("encode: cut off", 3), ("encode: slow", 3), ("encode: boom", 2))


def test_a_null_keeps_its_reason_and_an_infinite_value_is_counted_apart():
    rows = [row("jpeg", 5, name) for name in ("a", "bb")]
    rows[1] |= {"ms_ssim": None, "ms_ssim_reason": "image under 161 px"}
    rows.append(row("webp", 5, "bb"))
    mean = point(summarise(table(rows)), "jpeg", 5).means["ms_ssim"]
    assert (mean.images, mean.missing, mean.bpp) == (1, 1, rows[0]["bpp"])
    assert mean.reasons == (("image under 161 px", 1),)
    rows = [row("jpeg", 5, "a", psnr_db=float("inf")), row("jpeg", 5, "b", psnr_db=40.0)]
    mean = summarise(table(rows)).points[0].means["psnr_db"]
    assert (mean.value, mean.images, mean.infinite, mean.missing) == (40.0, 1, 1, 0)
    rows[1]["psnr_db"] = float("inf")
    mean = summarise(table(rows)).points[0].means["psnr_db"]
    assert (mean.value, mean.images, mean.infinite) == (None, 0, 2)


def test_seconds_are_of_one_machine_and_timed_ones_of_timed_rows():
    rows = [
        row("jpeg", 5, "a", timing=True, machine="new", encode_seconds=0.5, run="z"),
        row("jpeg", 5, "b", timing=True, machine="old", encode_seconds=7.0),
        row("jpeg", 5, "c", timing=False, machine="new", encode_seconds=9.0, run="z"),
    ]
    summary = summarise(table(rows))
    mean = summary.points[0].means[TIMED[0]]
    assert summary.machine == "new"
    assert (mean.value, mean.images) == (pytest.approx(0.5 / 0.008, rel=1e-12), 1)
    assert summarise(table(rows[2:])).machine == ""
    rows = [rows[0], rows[1], rows[1] | {"codec": "webp"}]
    means = [point.means[SECONDS[0]] for point in summarise(table(rows)).points]
    assert [(mean.value, mean.images) for mean in means] == [(0.5, 1), (None, 0)]
    old = [point.means[SECONDS[0]].value for point in summarise(table(rows[1:])).points]
    assert old == [7.0, 7.0]


def test_recorded_seconds_are_in_no_mean_and_everything_else_of_the_row_is():
    recorded = row("vtm", 5, "a", recorded=True, timing=True, encode_seconds=99.0)
    (recorded_point,) = summarise(table([recorded])).points
    for name in (*SECONDS, *TIMED):
        assert (recorded_point.means[name].value, recorded_point.means[name].images) == (None, 0)
    rows = [recorded, row("vtm", 5, "bb", timing=True)]
    (result,) = summarise(table(rows)).points
    assert result.means["psnr_db"].value == pytest.approx(fmean(r["psnr_db"] for r in rows))
    assert result.means["encode_seconds"].value == 0.2
    assert result.means["encode_seconds_per_megapixel"].value == pytest.approx(0.2 / 0.008)
    assert result.edition.run_facts.recorded


def test_an_edition_is_its_latest_row_with_the_versions_and_caveats_of_all():
    first = {"codec_version": "1", "caveat": "x", "command": "c1", "run": "1", "revision": None}
    later = {"codec_version": "2", "caveat": "y", "command": "c2", "run": "2", "revision": None}
    rows = [row("jpeg", 5, "a", **first), row("jpeg", 5, "b", **later)]
    edition = summarise(table(rows)).points[0].edition
    facts = edition.run_facts
    assert (facts.version, facts.command, facts.run) == ("2 and 1", "c2", "2")
    assert (sorted(facts.caveats), facts.devices) == (["x", "y"], ("cpu",))
    assert (edition.bundled, facts.recorded, edition.build) == (False, False, ("f" * 64, 0))
    (bundled,) = summarise(table([rows[0] | {"bundled": True}])).points
    assert bundled.edition.bundled
    (latest,) = summarise(table([rows[0], rows[1] | {"status": "failed"}])).points
    assert latest.edition.run_facts.run == "1", "a failed row describes nothing"
    declared = row("mine", 5, "a", caveat="random weights", bytes_origin="declared")
    for shown, caveats in (declared, ("random weights", "bytes=declared")), (row("x", 5, "a"), ()):
        assert summarise(table([shown])).points[0].edition.run_facts.caveats == caveats


def test_costs_are_means_of_what_rows_state_and_bits_are_compared_with_the_codecs_own_count():
    states = ("a", 110, 800, 2.0), ("b", 120, 800, 4.0), ("c", 9, 0, None)
    rows = [
        row("ours", 5, name, num_bytes=size, estimated_bits=bits, parameters=9, encode_kmac=kmac)
        for name, size, bits, kmac in states
    ]
    (result,) = summarise(table([*rows, failed("ours", 5, "d", "encode", "no")])).points
    assert result.means["real_to_estimated_bits"][:3:2] == (pytest.approx((1.1 + 1.2) / 2), 2)
    assert result.means["parameters"][:3:2] == (9, 3)
    assert result.means["encode_kmac"][:3:2] == (3, 2)
    assert not {"decode_kmac"} & result.means.keys()


def test_codecs_are_in_the_order_of_the_registry_and_variants_of_one_label_by_their_whole_name():
    rows = [*sweep("zzz"), *sweep("webp"), *reversed(sweep("jpeg"))]
    assert [*summarise(table(rows)).labels.values()] == ["jpeg", "webp", "zzz"]
    rows = [row("a/mine.py:Mine", 5, "x"), row("b/mine.py:Mine", 5, "x"), row("c/it.py:It", 5, "x")]
    labels = {*summarise(table(rows)).labels.values()}
    assert labels == {"a/mine.py:Mine", "b/mine.py:Mine", "it.py:It"}
    summary = summarise(table([]))
    assert (summary.points, summary.images, summary.labels) == ((), 0, {})


def test_points_are_sorted_by_rate_and_those_without_a_stream_are_last():
    rows = [row("jpeg", q, "a", num_bytes=size) for q, size in ((7, 300), (6, 200), (5, 200))]
    rows += [failed("jpeg", 4, "a", "encode", "no"), failed("jpeg", 9, "a", "encode", "no")]
    result = [rate_point.setting.value for rate_point in summarise(table(rows)).points]
    assert result == [5, 6, 7, 4, 9]


@pytest.mark.parametrize(("images", "few"), [(0, False), (1, True), (49, True), (50, False)])
def test_a_metric_of_a_set_over_few_images_is_marked(images, few):
    protocol = protocols(["fd_alex"])
    rows = table([row("jpeg", 5, f"{number}") for number in range(max(images, 1))])
    values = (1.0, pl.Float64), (protocol["fd_alex"], pl.String), (None, pl.String)
    for name, (value, kind) in zip(metric_columns("fd_alex"), values, strict=True):
        rows = rows.with_columns(pl.lit(value if images else None, kind).alias(name))
    (record,) = summarise(rows, protocol).flat_records()
    assert (record["fd_alex_images"], record["fd_alex_few"]) == (images, few)


def test_records_for_machines_are_json_without_nan():
    rows = [*sweep("jpeg"), failed("webp", 5, "a", "encode", "no")]
    rows[0]["psnr_db"] = None
    rows[1]["psnr_db"] = float("inf")
    records = summarise(table(rows)).flat_records()
    (first, *_) = json.loads(json.dumps(records, allow_nan=False))
    assert (first["psnr_db_images"], first["psnr_db_infinite"]) == (1, 1)
    assert records[-1]["bpp"] is None


def test_the_short_name_stands_for_the_codec_with_and_without_its_defaults():
    for metric, is_short in (("", True), ("metric=mse:", True), ("metric=ms-ssim:", False)):
        label = label_of(CodecSpec.parse("compressai", f"{metric}model=bmshj2018-hyperprior"))
        assert (metric, label == "hyperprior") == (metric, is_short)
