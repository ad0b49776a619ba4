"""Codecs in order of BD-rate, in a distortion and in a metric that none was trained on."""

from statistics import fmean

import pytest

from benchmark.compare.bd import compare, ranking_metrics
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.means import summarise
from benchmark.spec import parse_codec
from support.rows.by_label import edition, ends, rank_by_bd_rate
from support.rows.measured import failed, row, scaled_sweep, sweep, table

PSNR, MS_SSIM, LPIPS = map(Metric.named, ("psnr", "ms_ssim", "lpips"))
MEASURES = [PSNR, MS_SSIM, LPIPS]


def four():
    point = [row("avif", 5, name) for name in ("a", "bb", "ccc")]
    sizes = {"jpeg": 1, "webp": 1.25, "vtm": 0.5}
    return [row for codec in sizes for row in scaled_sweep(codec, sizes[codec])] + point


def test_the_best_comes_first_the_anchor_at_zero_and_those_without_a_number_last():
    rows = four()[:-1]  # one image of AVIF is missing, at its second setting
    rows += [row("avif", 9, name, encode_seconds=0.8, recorded=name == "a") for name in ("a", "bb")]
    summary = summarise(table([*rows, failed("zzz", 5, "a", "encode", "no")]))
    result = rank_by_bd_rate(summary, [PSNR], "jpeg")
    expected = {"vtm": -50, "jpeg": 0, "webp": 25, "avif": None, "zzz": None}
    assert [label_of(codec_edition.spec) for codec_edition in result.records] == [*expected]
    columns = "encode_seconds", "decode_seconds", "lowest_bpp", "highest_bpp", "images"
    *records, empty = result.records.values()
    assert [empty[name] for name in columns] == [None, None, None, None, 0]
    for record in records:
        rate = expected[record["codec"]]
        near = None if rate is None else pytest.approx(rate, abs=0.5)
        assert (record["anchor"], record["bd_rate_percent"]) == ("jpeg", {"psnr_db": near})
        sizes = {}
        for entry in rows:
            if entry["codec"] == record["codec"]:
                sizes.setdefault(entry["setting_value"], []).append(entry["num_bytes"] / 1000)
        means = [*map(fmean, sizes.values())]
        seconds, images = (0.5, 2) if record["codec"] == "avif" else (0.2, 3)
        values = [seconds, 0.1, min(means), max(means), images]
        assert [record[name] for name in columns] == pytest.approx(values)
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
    assert [*alone.comparisons] == [*ranking.comparisons]
    assert [*map(ends, alone.comparisons.values())] == [*map(ends, ranking.comparisons.values())]


def test_the_second_metric_is_in_no_codecs_training_loss():
    luma = sweep("jpeg", psnr_y_db=30.0, psnr_y_db_protocol="psnr_y/1")
    jpeg, ours = sweep("jpeg"), sweep("ours", variant="beta=3.84")  # as HiFiC, trained with LPIPS
    for rows, metrics, expected in (
        ([*jpeg, *sweep("vtm")], MEASURES, (PSNR, LPIPS)),
        (luma, [PSNR, Metric.named("psnr_y")], (PSNR,)),
        ([*jpeg, *ours], MEASURES, (PSNR, MS_SSIM)), ([*jpeg, *ours], [PSNR, LPIPS], (PSNR,)),
        ([*jpeg, *sweep("hific", variant="name=H")], MEASURES, (PSNR, MS_SSIM)),
        ([*jpeg, *sweep("vtm", lpips_alex=None)], MEASURES, (PSNR, MS_SSIM)),  # a curve less
    ):  # fmt: skip
        result = ranking_metrics(summarise(table(rows)), metrics)
        assert (rows[-1]["codec"], result) == (rows[-1]["codec"], expected)


def test_the_network_and_its_default_metric_make_no_variant_less_plain():
    texts = "compressai:metric=mse:model=mbt2018", "jpeg", "ours:beta=3.84"
    variant_texts = texts[0].replace("mse", "ms-ssim"), "jpeg:optimize=1"
    editions = [Edition.create(parse_codec(text)) for text in (*texts, *variant_texts)]
    assert [edition.further_options for edition in editions] == [0, 0, 0, 1, 1]
