"""The sentence on the user's codec, and tables of rankings and BD-rates, over every state."""

import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import polars as pl
import pytest

from benchmark.compare import bd
from benchmark.compare.anchor import headline_candidates
from benchmark.compare.curve import measured_curves
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.metrics.metric import Metric, protocols, remedies
from benchmark.registry import METRICS
from benchmark.rows.edition import Edition
from benchmark.rows.means import summarise
from benchmark.rows.remedies import add_remedies
from benchmark.rows.store import Store
from benchmark.show.bd_rates import bd_table, headline, ranking_heading, ranking_table
from benchmark.show.sections import images_text
from benchmark.spec import parse_codec
from support.rows.by_label import compare, edition, rank_by_bd_rate
from support.rows.measured import (
    HEIGHT,
    WIDTH,
    change_rows,
    failed,
    row,
    scaled_sweep,
    sweep,
    table,
)

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips_squeeze")
MINE = {"codec": "./mine.py:Quantise"}
VTM = scaled_sweep("vtm")


def mine(factor=1.0):
    return change_rows(scaled_sweep("jpeg", factor), **MINE)


def squeezed(rows):
    rule = {"lpips_squeeze_protocol": "lpips-squeeze/0.1.4-31a70309"}
    return [row | rule | {"lpips_squeeze": 1 - row["psnr_db"] / 100} for row in rows]


def sentence(rows, anchor, *codecs, metrics=(PSNR,), intervals=False):
    summary = summarise(table(rows))
    of_anchor = edition(summary, anchor)
    comparisons = bd.compare(summary, metrics, of_anchor, USUAL_RULE) if intervals else None
    ranking = rank_by_bd_rate(summary, metrics, anchor, comparisons)
    return headline(ranking, summary.images, summary.titles(), codecs)


@pytest.mark.parametrize("intervals", [False, True])
def test_the_users_codec_is_beside_the_anchor_whoever_is_best(intervals):
    rows = [*mine(2), *VTM, *scaled_sweep("avif", 0.5), *scaled_sweep("ours", variant="beta=0")]
    text = "Quantise needs 100 % more bits than VTM at equal PSNR on 3 images."
    assert sentence(rows, "vtm", intervals=intervals) == text
    assert "50 % fewer bits than VTM" in sentence([*mine(0.5), *VTM], "vtm")
    assert " VTM (+0.0 %)" in sentence([*mine(), *VTM], "vtm")


def test_without_a_codec_of_the_user_the_best_that_was_named_is_meant():
    sizes = {"jpeg": 3, "vtm": 1, "elic": 2, "avif": 0.5}
    rows = [row for codec, factor in sizes.items() for row in scaled_sweep(codec, factor)]
    assert sentence(rows, "vtm").startswith("AVIF speed 4 needs 50 % fewer bits than VTM")
    for codecs in (("jpeg", "vtm", "elic"), ("elic", "jpeg")):
        assert sentence(rows, "vtm", *codecs).startswith("ELIC needs 100 % more bits than VTM")
    vtm, jpeg, webp = (Edition.create(parse_codec(name)) for name in ("vtm", "jpeg", "webp"))
    bundled = replace(webp, origin="bundled")
    assert headline_candidates([vtm, jpeg, bundled], vtm) == [jpeg]
    assert headline_candidates([vtm, bundled], vtm) == [bundled]


def test_the_next_codec_is_named_where_it_may_be_as_good():
    distant_rows = [*scaled_sweep("jpeg"), *scaled_sweep("webp", 0.5), *scaled_sweep("avif", 0.4)]
    assert "intervals overlap" not in sentence(distant_rows, "jpeg")
    unsteady = [
        record | {"num_bytes": int(record["num_bytes"] * (1.6 if record["image"] == "a" else 0.9))}
        for record in scaled_sweep("webp", 0.4)
    ]
    rows = [*scaled_sweep("jpeg"), *unsteady, *scaled_sweep("avif", 0.45)]
    text = "AVIF speed 4 needs 55 % fewer bits than JPEG (WebP: -55 %, intervals overlap) at equal"
    assert sentence(rows, "jpeg").startswith(text)
    assert sentence(rows, "jpeg", intervals=True).startswith(text)
    assert "overlap" not in sentence(change_rows(rows, {"codec": "webp"}, **MINE), "jpeg")


def test_of_several_variants_the_best_by_each_metric_is_named():
    realistic = squeezed(scaled_sweep("ours", 3, variant="beta=3.84"))
    for record in realistic:
        record["lpips_squeeze"] -= 0.05
    rows = squeezed([*VTM, *scaled_sweep("ours", 2, variant="beta=0")])
    text = sentence([*rows, *realistic], "vtm", metrics=(PSNR, LPIPS))
    assert text.startswith("CRDR β=0 needs 100 % more bits than VTM at equal PSNR and CRDR β=3.84")


def test_what_cannot_be_compared_is_said_with_its_reason():
    text = sentence([row("jpeg", 30, name) | MINE for name in ("a", "bb", "ccc")] + VTM, "vtm")
    assert re.match("Quantise .*VTM on 3 images: ", text)
    assert "1 of the" in text
    distant_rows = [record | {"psnr_db": record["psnr_db"] + 99} for record in mine()]
    assert ": " in sentence([*distant_rows, *VTM], "vtm")
    three = [record for record in mine(2) if record["setting_value"] in (20, 30, 60)]
    assert sentence([*three, *VTM], "vtm").startswith("Quantise ")
    rows = [*mine(), *VTM]
    assert re.search("on 3 images: .*metric", sentence(rows, "vtm", metrics=()))
    part = [record for number, record in enumerate(rows) if number % 2]  # of every setting
    assert re.search("on 3 images: vtm .*complete", sentence(part, "vtm"))
    failing = [record for record in mine() if record["image"] != "bb"]
    reason = "VTM on 3 images: .*complete.*; `bench report --common` .*2 images"
    assert re.search(reason, sentence([*failing, *VTM], "vtm"))


def test_an_anchor_alone_and_a_codec_alone_are_no_ranking():
    assert re.match("Quantise .*no other .* 3 images.$", sentence(mine(), "mine.py:Quantise"))
    assert re.match("VTM .*no other .* 3 images.$", sentence(VTM, "vtm"))
    comparison = sentence([*mine(), *scaled_sweep("elic", 2)], "mine.py:Quantise")
    assert comparison == "ELIC needs 100 % more bits than Quantise at equal PSNR on 3 images."


def test_a_little_overlap_is_said_in_the_sentence():
    higher = [record | {"psnr_db": record["psnr_db"] + 6.5} for record in mine()]
    assert re.search(r"\(.* %.*\) on 3 images", sentence([*higher, *VTM], "vtm"))


def test_a_codec_without_the_metric_changes_no_metric_and_says_what_fills_it_in():
    rows = [*squeezed(VTM), *squeezed(scaled_sweep("avif", 2)), *mine(3)]
    metrics = [PSNR, Metric.named("ms_ssim"), LPIPS]
    ranking = rank_by_bd_rate(summarise(table(rows)), metrics, "vtm")
    assert ranking.metrics == (PSNR, LPIPS)
    codec_table = ranking_table(ranking)
    cells = {line[0]: line[1:3] for line in codec_table.rows}
    assert cells["mine.py:Quantise"][1] == "–"
    assert cells["avif"][1] != "–"
    (note,) = codec_table.notes
    assert note.startswith("No LPIPS (SqueezeNet) for some codecs: ")
    assert "`bench rescore --metrics lpips_squeeze`" in note
    ranking = ranking._replace(rescore_command="bench rescore --dataset sample")
    (note,) = ranking_table(ranking).notes
    assert "`bench rescore --dataset sample --metrics lpips_squeeze`" in note
    rows = [*squeezed(rows), failed("jpeg", 30, "a", "encode", "why")]  # which no stream is kept of
    assert ranking_table(rank_by_bd_rate(summarise(table(rows)), metrics, "vtm")).notes == ()


def test_a_metric_of_fewer_images_than_there_are_streams_has_its_own_count():
    rows = change_rows(squeezed([*VTM, *mine(2)]), {"image": "bb"}, lpips_squeeze=None)
    text = sentence(rows, "vtm", metrics=(PSNR, LPIPS))
    assert text.startswith("Quantise needs 100 % more bits than VTM at equal PSNR on 3 images and")
    assert text.endswith("(SqueezeNet) on 2 images.")
    assert sentence(rows, "vtm", metrics=(LPIPS,)).endswith("(SqueezeNet) on 2 images.")
    summary = summarise(table(rows))
    heading = ranking_heading(rank_by_bd_rate(summary, [PSNR, LPIPS], "vtm"), summary.titles())
    assert " PSNR and LPIPS (SqueezeNet) (2 images), " in heading
    panels = [measured_curves(summary, metric) for metric in (PSNR, LPIPS)]
    assert images_text(panels) == "3 images in PSNR and 2 images in LPIPS (SqueezeNet)"
    assert images_text(panels[1:]) == "2 images"


def test_the_images_of_a_codec_are_those_of_the_points_that_are_compared():
    for setting in (40, 80):
        lost = {("bb", setting), ("a", setting)}
        failing = [r for r in mine(2) if (r["image"], r["setting_value"]) not in lost]
        ranking = rank_by_bd_rate(summarise(table([*failing, *VTM])), [PSNR], "vtm")
        (rank,) = (r for r in ranking.records.values() if r["bd_rate_percent"]["psnr_db"])
        highest_setting = max(r["setting_value"] for r in failing if r["setting_value"] != setting)
        sizes = [8 * r["num_bytes"] for r in mine(2) if r["setting_value"] == highest_setting]
        expected = fmean(sizes) / (WIDTH * HEIGHT)
        assert (rank["images"], rank["highest_bpp"]) == (3, pytest.approx(expected))


def test_a_metric_without_a_column_is_neither_in_the_heading_nor_said_to_be_there():
    summary = summarise(table([*VTM, *squeezed(scaled_sweep("avif", 2)), *squeezed(mine(3))]))
    ranking = rank_by_bd_rate(summary, [PSNR, LPIPS], "vtm")
    heading, codec_table = ranking_heading(ranking, summary.titles()), ranking_table(ranking)
    assert "LPIPS" not in codec_table.headers
    assert "against VTM in PSNR, " in heading
    assert codec_table.notes[0].startswith("No LPIPS (SqueezeNet): ")


def test_the_command_that_fills_a_metric_in_names_the_files_that_it_must_run():
    options = "--dataset photos --codecs all,./mine.py:Quantise --results 'my results'"
    for rows, folder, words in (
        ([*VTM, *mine()], "my results/photos", options), (VTM, "results/x", "--dataset x")
    ):  # fmt: skip
        summary = add_remedies(summarise(table(rows)), Path(folder), ())
        assert summary.rescore_command == f"bench rescore {words}"


def test_the_command_that_fills_a_metric_in_codes_again_what_kept_no_streams(tmp_path):
    request = {"codecs": ["jpeg", "./m.py:M"], "dataset": "my photos", "keep": False, "limit": 2}
    Store(tmp_path).write_record("1", {"request": request})
    summary = add_remedies(summarise(table([*VTM, *mine()])), tmp_path, ["0", "1"])
    run = "bench run --codecs jpeg,./m.py:M --dataset 'my photos' --limit 2 --metrics psnr_y"
    assert remedies(["psnr_y"], command=summary.rescore_command) == f"`{run}` computes it"


def test_an_anchor_that_was_not_named_says_why_and_bundled_codecs_are_marked():
    bundled = scaled_sweep("vtm", bundled=True)
    summary = summarise(table([*mine(2), *bundled]))
    ranking, names = rank_by_bd_rate(summary, [PSNR], "vtm"), summary.titles()
    heading = "BD-rate (%) against VTM (bundled) in PSNR, best first"
    assert ranking_heading(ranking, names) == heading
    reasoned = ranking._replace(anchor_reason="the best")
    assert "VTM (bundled) (the best)" in ranking_heading(reasoned, names)
    marked = [line[0] for line in ranking_table(ranking, marks=True).rows]
    assert marked == ["vtm (bundled)", "mine.py:Quantise"]
    alone = summarise(table(bundled))
    assert alone.titles()[edition(alone, "vtm")] == "VTM"


def test_every_metric_that_was_named_is_a_column_and_only_those_that_rank_a_headline():
    """LPIPS (AlexNet) is in the training loss of `ours`: it ranks nothing, and was asked for."""
    rows = [*sweep("jpeg"), *scaled_sweep("ours", 0.5)]
    summary, alex = summarise(table(rows)), Metric.named("lpips")
    unnamed = rank_by_bd_rate(summary, (PSNR, alex), "jpeg")
    ranking = rank_by_bd_rate(summary, (PSNR, alex), "jpeg", requested_metrics=(PSNR, alex))
    assert unnamed.metrics == (PSNR,)
    assert ranking_table(ranking).headers[1:3] == ("PSNR", "LPIPS")
    rates = {record["codec"]: record["bd_rate_percent"] for record in ranking.records.values()}
    assert [*rates["ours"].values()] == pytest.approx([-50, -50], abs=0.5)
    headlines = [headline(case, 3, summary.titles()) for case in (unnamed, ranking)]
    assert headlines[0] == headlines[1]


@pytest.mark.parametrize(
    ("recorded", "seconds"), [(False, ("mean encode", "mean decode")), (True, ())]
)
def test_columns_that_would_be_empty_are_not_there(recorded, seconds):
    result = rank_by_bd_rate(summarise(table(sweep("jpeg", recorded=recorded))), [PSNR], "jpeg")
    assert ranking_table(result).headers == ("codec", "PSNR", "bpp", *seconds)


FD = Metric.named("fd_alex")


def shifted(codec, shift_db):
    return [record | {"psnr_db": record["psnr_db"] + shift_db} for record in sweep(codec)]


def tables(rows, metric=PSNR, **options):
    rule = Rule(**options)
    records = compare(summarise(table(rows)), metric, "jpeg", rule)
    return bd_table(records, [metric], "jpeg", rule), records


def test_refused_deltas_are_dashes_with_a_reason_and_doubtful_ones_are_marked():
    point_rows = [row("webp", 5, image) for image in ("a", "bb", "ccc")]
    details, (_, record) = tables([*sweep("jpeg"), *point_rows, *shifted("avif", 6.5)])
    webp, avif = details.rows
    assert webp[3:] == ("–",) * 9
    assert "1 of the 4 " in webp[2]
    assert avif[3].endswith("†")
    assert record["bd_rate_overlap"] == pytest.approx((15 - 6.5) / (15 + 6.5), abs=0.01)
    assert avif[-1] == f"{100 * record['bd_rate_overlap']:.0f}"


@pytest.mark.parametrize(
    ("form", "about"), [("akima", "Anchor: jpeg."), ("cubic", "Anchor: jpeg, by the cubic poly")]
)
def test_the_marks_and_dashes_of_a_bd_metric_are_explained(form, about):
    rows = [*sweep("jpeg"), *(r | {"num_bytes": 3 * r["num_bytes"]} for r in sweep("webp"))]
    rows += [r | {"num_bytes": 6 * r["num_bytes"]} for r in sweep("avif")]
    details, _ = tables(rows, bd=form)
    webp, avif = details.rows
    assert webp[-2].endswith("†")
    assert details.notes[0].startswith(about)
    assert "†: overlap below half" in details.notes[0]
    assert ("PCHIP" in details.notes[0]) is (form == "akima")  # only Akima overshoots
    assert (avif[-2], "no BD-metric: the curves share less" in avif[2]) == ("–", True)


def test_an_overlap_under_a_third_is_a_dash_that_says_how_to_get_the_number():
    rows = [*sweep("jpeg"), *shifted("avif", 9)]
    details, (record,) = tables(rows)
    assert details.rows[0][3] == "–"
    assert "--any-overlap" in details.rows[0][2]
    assert details.rows[0][-1] == "25"
    assert record["bd_rate_percent"] is record["images_bd_rate_percent"] is None
    details, (record,) = tables(rows, any_overlap=True)
    assert "†" in details.rows[0][3]
    assert record["bd_rate_percent"] < -50
    assert record["images_bd_rate_images"] == 3


def test_both_averages_are_in_details_with_the_number_of_their_images():
    """The costly image gains nothing, the two cheap ones a half; mean rates hardly move."""
    rows = [*sweep("jpeg"), *sweep("webp")]
    for record in rows:
        dear = record["image"] == "ccc"
        record["num_bytes"] = int((8000 if dear else 200) * record["setting_value"])
        if record["codec"] == "webp" and not dear:
            record["num_bytes"] //= 2
    details, _ = tables(rows)
    assert details.rows[0][3] == f"{100 * (8200 / 8400 - 1):+.2f}"
    assert details.rows[0][5].startswith("-33.33")
    assert details.rows[0][7:10] == ("-50.00", "[-50.0, -25.0]", "3")
    for record in rows:  # too many points of an image below its front
        if (record["codec"], record["image"]) == ("webp", "a"):
            record["psnr_db"] -= 4.5 * (record["setting_value"] in (20, 60))
    details, _ = tables(rows)
    assert details.rows[0][9] == "2 of 3"


def of_sets(images):
    """Rows with a distribution metric, its values of single images given."""
    rows = [*sweep("jpeg", images), *sweep("webp", images)]
    values = [1000 / (record["setting_value"] + 5 * (record["codec"] == "webp")) for record in rows]
    ids = protocols([*METRICS, "fd_alex"])
    columns = {"fd_alex_protocol": pl.lit(ids["fd_alex"]), "fd_alex_reason": pl.lit("")}
    return summarise(table(rows).with_columns(fd_alex=pl.Series(values), **columns), ids)


@pytest.mark.parametrize(("images", "few"), [(49, True), (50, False)])
def test_distribution_metrics_of_few_images_are_marked_and_have_no_median(images, few):
    comparisons = compare(of_sets([f"{n:02d}" for n in range(images)]), FD, "jpeg")
    (detail,) = bd_table(comparisons, [FD], "jpeg", USUAL_RULE).rows
    assert detail[4] == "[-20.8, -20.8]"  # every image has the same values
    assert (" few " in detail[2]) is few
    assert detail[5:10] == ("–",) * 5
    assert comparisons[0]["few"] is few
