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
    point_rows = [row("webp", 5, image) for image in ("a", "bb", "ccc")]
    details, (_, record) = tables([*sweep("jpeg"), *point_rows, *shifted("avif", 6.5)])
    webp, avif = details.rows
    assert webp[3:] == ("–",) * 9
    assert "1 of the 4 points" in webp[2]
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
    assert ("few images" in detail[2]) is few
    assert detail[5:10] == ("–",) * 5
    assert comparisons[0]["few"] is few
