"""The details of a report: what is known of each codec, and what is left out and why."""

import json

import pytest

from benchmark.metrics.metric import Metric
from benchmark.rows.means import summarise
from benchmark.rows.remedies import add_remedies
from benchmark.rows.store import Store
from benchmark.rows.stored import read_results
from benchmark.show.absences import absent_lines, gaps, problems, value_absences
from benchmark.show.report.details import details_record, details_text
from support.rows.measured import failed, row, sweep, table


def details(tmp_path, *rows):
    Store(tmp_path / "kodak").append([record for group in rows for record in group])
    stored = read_results(tmp_path, "kodak", "all", ["psnr"])
    record = details_record(stored, "bench report", "jpeg", {}, (), (), None)
    return json.loads(json.dumps(record)), stored.summary


def test_codecs_have_chroma_origin_and_the_mean_bytes_of_their_file_format(tmp_path):
    first, *other_rows = sweep("avif", container_bytes=280, chroma="4:4:4")
    rows = [first | {"container_bytes": 300}, *other_rows]
    record, summary = details(tmp_path, rows, sweep("jpeg", chroma="4:2:0", recorded=True))
    avif, jpeg = sorted(record["codecs"], key=lambda entry: entry["codec"])
    assert avif["container_bytes"] == pytest.approx(280 + 20 / (1 + len(other_rows)))
    assert jpeg["container_bytes"] is None
    assert (avif["chroma"], jpeg["chroma"]) == ("4:4:4", "4:2:0")
    assert (avif["origin"], jpeg["origin"]) == ("measured here", "bundled")
    assert record["protocols"]["psnr_db"] == summary.protocols["psnr_db"]
    counts = {(o["codec"], o["container_bytes_images"]) for o in summary.flat_records()}
    assert {("jpeg", 0), ("avif", 3)} <= counts


@pytest.mark.parametrize("fingerprint", ["64bd0421" + "0" * 56, "0" * 64])
def test_training_is_that_of_rows_with_the_bundled_weights(tmp_path, fingerprint):
    rows = sweep("ours", variant="beta=0", fingerprint=fingerprint)
    (codec,) = details(tmp_path, rows)[0]["codecs"]
    facts = ["41.3", "", "soap, adam", "79,090"]
    assert [*codec["training"].values()] == (facts if fingerprint.strip("0") else [""] * 4)


def test_a_curve_without_some_of_a_codecs_points_is_named_with_what_computes_them(tmp_path):
    without = {"lpips_alex": None, "lpips_alex_protocol": None}
    rows = [row("jpeg", value, "a", **(without if value == 20 else {})) for value in (5, 10, 20)]
    rows += [row("webp", 5, "a", **without)]
    summary = add_remedies(summarise(table(rows)), tmp_path / "set", ())
    (gap,) = gaps(summary, [Metric.named("psnr"), Metric.named("lpips")])
    assert gap.what == "LPIPS (AlexNet) of jpeg"
    assert "1 of 3 points" in gap.why
    assert "--metrics lpips_alex" in gap.remedy


def test_the_text_is_made_of_the_record_and_a_strangers_names_are_no_markup(tmp_path):
    record, _ = details(tmp_path, sweep("jpeg", caveat="<b>a trial</b>", codec_version="7.7"))
    text = details_text(record)
    assert "| jpeg | 7.7 |" in text
    assert "&lt;b>a trial" in text
    for protocol in record["protocols"].values():
        assert protocol in text


def test_everything_that_is_absent_has_its_reason(tmp_path):
    rows = [*sweep("jpeg"), *sweep("jpeg", fingerprint="old", run="1")]
    rows += [row("webp", 5, "a"), failed("webp", 5, "bb", "encode", "boom")]
    runs = [{"skipped_codecs": {"vvenc": "no ffmpeg"}, "refused_images": [["x.png", "16 bit"]]}]
    summary = add_remedies(summarise(table(rows)), tmp_path / "set", ())
    absent = [*problems(summary, runs), *value_absences(summary, [Metric.named("psnr")])]
    reasons = {absence.what: absence.why for absence in absent}
    assert reasons["webp quality=5 (1 cell)"] == "failed: encode: boom"
    assert "--common" in next(absence.why for absence in absent if absence.remedy == "bench run")
    assert reasons["webp"].endswith("1 of 3 images")
    assert " build, 1.0, " in reasons["jpeg"]
    assert reasons["vvenc"].endswith("no ffmpeg")
    assert reasons["x.png"].endswith("16 bit")
    assert len(absent_lines(absent)) == len(absent) == 6


def test_metrics_that_lack_one_file_of_weights_are_one_line():
    reason = "weights (bench fetch x): no weight file"
    names = {"lpips_alex": "lpips", "ms_ssim": "ms_ssim", "psnr_y_db": "psnr_y"}
    nulls = dict.fromkeys(names) | {f"{name}_reason": reason for name in names}
    nulls["psnr_y_db_reason"] = reason.replace("fetch x", "fetch y")
    metrics = [*map(Metric.named, names.values())]
    absent = value_absences(summarise(table(sweep("jpeg", **nulls))), metrics)
    assert [(len(absence.what.split(", ")), absence.remedy) for absence in absent] == [
        (2, "bench fetch x"), (1, "bench fetch y")
    ]  # fmt: skip
