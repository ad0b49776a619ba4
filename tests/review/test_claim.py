"""Claims of bits saved, judged by made-up rows and curves: the rates are factors of one another."""

import pytest

from benchmark.errors import UnknownName
from benchmark.published.curve_file import NamedCurve
from benchmark.review.claim import Evidence, judge, parse_claim
from support.figures.published import RESULTS, from_registry
from support.rows.measured import doubling

TCM = from_registry("TCM", "large", "kodak", "psnr_db")


def judged(text, *, rows=(), rates=0.8, above=0.0, results=RESULTS):
    bpp, values = ([rates * rate for rate, _ in TCM], [value + above for _, value in TCM])
    sent = NamedCurve("ours", {"psnr_db": (bpp, values)})
    return judge(parse_claim(text), Evidence(rows, [sent], results, "kodak"))


@pytest.mark.parametrize(
    ("claim", "survival"),
    [
        ("ours 20.0 % fewer bits than TCM:large", "as stated"),
        ("ours 20.1 % fewer bits than TCM:large", "not as stated"),
        ("my own 19 % less bits than TCM:large", "as stated"),
        ("TCM:large 24 % more bits than ours", "not as stated"),
        ("TCM:large 25 % more bits than ours", "as stated"),
    ],
)
def test_a_curve_that_was_sent_is_compared_with_published_means(claim, survival):
    done = judged(claim)
    assert (done.survival, done.interval, done.images) == (survival, None, 0)
    mine = not claim.startswith("TCM")
    assert done.rate.value == pytest.approx(-20 if mine else 25)
    places = (done.anchor_of, done.test_of) if mine else (done.test_of, done.anchor_of)
    assert places[0].startswith("github:jmliu206/LIC_TCM:")
    assert places[1] == ("what was sent: ours" if "my own" in claim else "what was sent")


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("ours 9 % fewer bits than TCM", "TCM has several curves: name one of tcm:"),
        ("ours 9 % fewer bits than TCM:large in lpips", "TCM:large has no curve with LPIPS"),
        ("ours 9 % fewer bits than nobody", "'nobody'"),
    ],
)
def test_a_claim_against_no_one_curve_is_refused_with_the_reason(claim, why):
    done = judged(claim)
    assert (done.survival, done.rate) == ("refused", None)
    assert why in done.reason


def test_curves_that_share_no_quality_and_rows_of_another_protocol_give_no_rate(tmp_path):
    done = judged("ours 9 % fewer bits than TCM:large", above=100)
    assert (done.survival, done.rate, bool(done.reason)) == ("refused", None, True)
    rows = [*doubling("webp", 0.5, coding_protocol="another/1"), *doubling("jpeg", 1.0)]
    done = judged("webp 50 % fewer bits than jpeg", rows=rows, results=tmp_path)
    assert (done.survival, done.rate, done.label) == ("refused", None, "webp")
    assert done.reason == "its rows are of another coding protocol"
    rows = [*doubling("webp", 0.5), *doubling("jpeg", 1.0)]
    done = judged("webp 50 % fewer bits than jpeg", rows=rows, results=tmp_path)
    assert (done.survival, done.rate.value) == ("supported", pytest.approx(-50))
    rows = [record | {"codec": "./a/mine.py:Wave"} if record["codec"] == "webp" else record
            for record in rows]  # fmt: skip
    done = judged("wave 50 % fewer bits than JPEG", rows=rows, results=tmp_path)
    assert (done.survival, done.label) == ("supported", "mine.py:Wave"), "as figures name it"


def test_a_system_beside_itself_and_rows_of_other_images_give_no_rate(tmp_path):
    jpeg = doubling("jpeg", 1.0, dataset="kodak")
    done = judged("jpeg 9 % fewer bits than JPEG", rows=jpeg, results=tmp_path)
    assert (done.survival, done.reason) == ("refused", "both names are of one system")
    done = judged("ours 9 % fewer bits than jpeg", rows=jpeg, results=tmp_path)
    assert done.reason.startswith("jpeg's rows are over 2 of 24 images"), "the curve is over all"
    webp = [{**r, "image": f"z{r['image']}", "image_sha256": r["image_sha256"][::-1]}
            for r in doubling("webp", 0.5)]  # fmt: skip
    done = judged("webp 9 % fewer bits than jpeg", rows=[*jpeg, *webp], results=tmp_path)
    assert done.reason == "their rows have no image in common"


def test_a_claim_is_in_a_metric_of_single_images():
    with pytest.raises(UnknownName, match="metric of single images"):
        parse_claim("ours 9 % fewer bits than vtm in fid256")
