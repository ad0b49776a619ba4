"""Codecs in order of BD-rate, in a distortion and in a metric that none was trained on."""

import pytest

from benchmark.compare.bd import compare, ranking_metrics
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.means import summarise
from benchmark.show.bd_rates import ranking_table
from benchmark.spec import parse_codec
from support.rows.by_label import edition, ends, rank_by_bd_rate
from support.rows.measured import failed, row, sweep, table

PSNR, MS_SSIM, LPIPS = map(Metric.named, ("psnr", "ms_ssim", "lpips"))
MEASURES = [PSNR, MS_SSIM, LPIPS]
NAMES = {"jpeg": "JPEG", "webp": "WebP", "vtm": "VTM", "avif": "AVIF"}


def scale_sizes(codec, factor, **columns):
    return [
        record | {"num_bytes": int(record["num_bytes"] * factor)}
        for record in sweep(codec, **columns)
    ]


def four():
    return [
        *scale_sizes("jpeg", 1),
        *scale_sizes("webp", 1.25),
        *scale_sizes("vtm", 0.5),
        *(row("avif", 5, name) for name in ("a", "bb", "ccc")),
    ]


def test_the_best_comes_first_the_anchor_at_zero_and_those_without_a_number_last():
    rows = four()[:-1]  # one image of AVIF is missing, at its second setting
    rows += [row("avif", 9, name, encode_seconds=0.8, recorded=name == "a") for name in ("a", "bb")]
    summary = summarise(table([*rows, failed("zzz", 5, "a", "encode", "no")]))
    result = rank_by_bd_rate(summary, [PSNR], "jpeg")
    expected = {"vtm": -50, "jpeg": 0, "webp": 25, "avif": None, "zzz": None}
    assert [label_of(codec_edition.spec) for codec_edition in result.records] == [*expected]
    for record in result.records.values():
        codec_rows = [entry for entry in rows if entry["codec"] == record["codec"]]
        by_setting = [
            [r for r in codec_rows if r["setting_value"] == q]
            for q in {r["setting_value"] for r in codec_rows}
        ]
        rates = [
            sum(r["num_bytes"] for r in setting_rows) / len(setting_rows) / 1000
            for setting_rows in by_setting
        ]
        encode, decode = record["encode_seconds"], record["decode_seconds"]
        has_points = record["codec"] != "zzz"
        assert record["lowest_bpp"] == (pytest.approx(min(rates)) if has_points else None)
        assert record["highest_bpp"] == (pytest.approx(max(rates)) if has_points else None)
        assert encode == (
            pytest.approx(0.5 if record["codec"] == "avif" else 0.2) if has_points else None
        )
        assert decode == (pytest.approx(0.1) if has_points else None)
        assert record["images"] == (min(map(len, by_setting)) if has_points else 0)
        rate = expected[record["codec"]]
        near = None if rate is None else pytest.approx(rate, abs=0.5)
        assert (record["anchor"], record["bd_rate_percent"]) == ("jpeg", {"psnr_db": near})
    of_anchor = result.comparisons[edition(summary, "jpeg"), "psnr_db"]
    assert (of_anchor["bd_rate_percent"], of_anchor["bd_rate_overlap"]) == (0.0, 1.0)
    assert result.ranked
    assert not rank_by_bd_rate(summarise(table(sweep("jpeg"))), [PSNR], "jpeg").ranked


def test_a_ranking_of_comparisons_is_that_of_the_rows_with_intervals():
    summary = summarise(table(four()))
    alone = rank_by_bd_rate(summary, MEASURES, "jpeg")
    comparisons = compare(summary, MEASURES, edition(summary, "jpeg"), USUAL_RULE)
    ranking = rank_by_bd_rate(summary, MEASURES, "jpeg", comparisons)
    assert ranking.records == alone.records
    first = ranking.comparisons[next(iter(ranking.records)), "psnr_db"]
    assert ends(first) == pytest.approx((first["bd_rate_percent"],) * 2)  # all images alike
    assert {key: ends(comparison) for key, comparison in alone.comparisons.items()} == {
        key: ends(comparison) for key, comparison in ranking.comparisons.items()
    }


def test_the_second_metric_is_in_no_codecs_training_loss():
    plain = summarise(table([*sweep("jpeg"), *sweep("vtm")]))
    assert ranking_metrics(plain, MEASURES) == (PSNR, LPIPS)
    luma_summary = summarise(table(sweep("jpeg", psnr_y_db=30.0, psnr_y_db_protocol="psnr_y/1")))
    assert ranking_metrics(luma_summary, [PSNR, Metric.named("psnr_y")]) == (PSNR,)
    trained = summarise(table([*sweep("jpeg"), *sweep("ours", variant="beta=3.84")]))
    assert ranking_metrics(trained, MEASURES) == (PSNR, MS_SSIM)  # `ours` is trained with LPIPS
    assert ranking_metrics(trained, [PSNR, LPIPS]) == (PSNR,)
    hific_summary = summarise(table([*sweep("jpeg"), *sweep("hific", variant="name=H")]))
    assert ranking_metrics(hific_summary, MEASURES) == (PSNR, MS_SSIM)  # as HiFiC is, by any name
    # LPIPS has a curve less
    partial_rows = [record | {"lpips_alex": None} for record in sweep("vtm")]
    partial_summary = summarise(table([*sweep("jpeg"), *partial_rows]))
    assert ranking_metrics(partial_summary, MEASURES) == (PSNR, MS_SSIM)


@pytest.mark.parametrize(
    ("recorded", "seconds"), [(False, ("mean encode", "mean decode")), (True, ())]
)
def test_columns_that_would_be_empty_are_not_there(recorded, seconds):
    result = rank_by_bd_rate(summarise(table(sweep("jpeg", recorded=recorded))), [PSNR], "jpeg")
    assert ranking_table(result).headers == ("codec", "PSNR", "bpp", *seconds)


def test_the_network_and_its_default_metric_make_no_variant_less_plain():
    texts = "compressai:metric=mse:model=mbt2018", "jpeg", "ours:beta=3.84"
    variant_texts = texts[0].replace("mse", "ms-ssim"), "jpeg:optimize=1"
    counts = [
        Edition.create(parse_codec(text)).further_options for text in (*texts, *variant_texts)
    ]
    assert counts == [0, 0, 0, 1, 1]
