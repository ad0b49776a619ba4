import math

import numpy as np
import polars as pl
import pytest

from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import METRICS
from benchmark.rows.means import summarise
from benchmark.show.bd_rates import bd_table
from support.rows.by_label import compare
from support.rows.measured import row, sweep, table

PSNR = Metric.named("psnr")
FD = Metric.named("fd_alex")


def shifted(codec, shift_db):
    return [record | {"psnr_db": record["psnr_db"] + shift_db} for record in sweep(codec)]


def tables(rows, metric=PSNR, **options):
    rule = Rule(**options)
    records = compare(summarise(table(rows)), metric, "jpeg", rule)
    return bd_table(records, [metric], "jpeg", rule), records


def test_refused_deltas_are_dashes_with_a_reason_and_doubtful_ones_are_marked():
    rows = [*sweep("jpeg"), row("webp", 5, "a"), row("webp", 5, "bb"), row("webp", 5, "ccc")]
    rows += shifted("avif", 6.5)
    details, (webp_record, avif_record) = tables(rows)
    webp, avif = details.rows
    assert webp[3:] == ("–",) * 9
    assert "1 of the 4 points" in webp[2]
    assert avif[3].endswith("†")
    overlap = (15 - 6.5) / (15 + 6.5)
    assert webp_record["bd_rate_percent"] is None
    assert "1 of the 4" in webp_record["reason"]
    assert avif_record["images_bd_rate_images"] == 3
    assert avif_record["bd_rate_overlap"] == pytest.approx(overlap, abs=0.01)
    assert avif[-1] == f"{100 * avif_record['bd_rate_overlap']:.0f}"


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
    assert record["bd_rate_percent"] is None
    assert record["bd_rate_overlap"] == pytest.approx(0.25)
    assert record["images_bd_rate_percent"] is None
    details, (record,) = tables(rows, any_overlap=True)
    assert "†" in details.rows[0][3]
    assert record["bd_rate_percent"] < -50
    assert record["images_bd_rate_images"] == 3


def uneven():
    """The costly image gains nothing, the two cheap ones a half; mean rates hardly move."""
    rows = [*sweep("jpeg"), *sweep("webp")]
    for record in rows:
        dear = record["image"] == "ccc"
        record["num_bytes"] = int((8000 if dear else 200) * record["setting_value"])
        if record["codec"] == "webp" and not dear:
            record["num_bytes"] //= 2
    return rows


def test_both_averages_are_in_details_and_records():
    details, (record,) = tables(uneven())
    of_curves = 100 * (8200 / 8400 - 1)
    assert details.rows[0][3] == f"{of_curves:+.2f}"
    assert details.rows[0][5].startswith("-33.33")
    assert details.rows[0][7:10] == ("-50.00", "[-50.0, -25.0]", "3")
    ends = ["images_bd_rate_low_percent", "images_bd_rate_high_percent"]
    # Student's t of 2 degrees; a standard error of 1/4 in the logarithm of 2/3, the mean ratio
    by_hand = [100 * (2 / 3 * math.exp(side * 4.302653 / 4) - 1) for side in (-1, 1)]
    assert [record[name] for name in ends] == pytest.approx(by_hand, rel=1e-5)
    assert record["images_bd_rate_median_percent"] == pytest.approx(-50)
    assert (
        record["bd_rate_low_percent"] < record["bd_rate_percent"] < record["bd_rate_high_percent"]
    )
    assert record["few"] is False


def test_an_image_with_too_many_points_below_its_front_is_refused_and_counted():
    rows = [*sweep("jpeg"), *sweep("webp")]
    for entry in rows:
        if (
            entry["codec"] == "webp"
            and entry["image"] == "a"
            and entry["setting_value"] in (20, 60)
        ):
            entry["psnr_db"] -= 4.5
    details, (record,) = tables(rows)
    assert (record["images_bd_rate_images"], record["images_bd_rate_refused"]) == (2, 1)
    assert details.rows[0][9] == "2 of 3"


def of_sets(images):
    """Rows with a distribution metric, its values of single images given."""
    rows = [*sweep("jpeg", images), *sweep("webp", images)]
    result = table(rows)
    values = [1000 / (record["setting_value"] + 5 * (record["codec"] == "webp")) for record in rows]
    ids = protocols([*METRICS, "fd_alex"])
    column = np.array(values)
    result = result.with_columns(
        fd_alex=pl.Series(column),
        fd_alex_protocol=pl.lit(ids["fd_alex"]),
        fd_alex_reason=pl.lit(""),
    )
    return summarise(result, ids)


@pytest.mark.parametrize(("images", "few"), [(49, True), (50, False)])
def test_distribution_metrics_of_few_images_are_marked_and_have_no_median(images, few):
    comparisons = compare(of_sets([f"{n:02d}" for n in range(images)]), FD, "jpeg")
    (detail,) = bd_table(comparisons, [FD], "jpeg", USUAL_RULE).rows
    assert detail[4] == "[-20.8, -20.8]"  # every image has the same values
    assert ("few images" in detail[2]) is few
    assert detail[5:10] == ("–",) * 5
    (record,) = comparisons
    assert record["few"] is few
    assert record["bd_rate_low_percent"] == pytest.approx(record["bd_rate_percent"])
    assert not math.isnan(record["bd_rate_percent"])
