"""Claims of bits saved, judged by made-up rows: the rates are factors of one another."""

import pytest

from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UnknownName
from benchmark.review.claim import judge_claim, parse_claim
from benchmark.rows.store import Store
from support.rows.measured import doubling


def judged(text, rows, results):
    return judge_claim(parse_claim(text), rows, results, "kodak", USUAL_RULE)


@pytest.mark.parametrize(("claim", "verdict"), [
    ("webp 50 % fewer bits than jpeg", "yes"),
    ("WebP 49.9 % less bits than JPEG", "yes"),
    ("webp 51 % fewer bits than jpeg", "no"),
    ("jpeg 100 % more bits than webp", "yes"),
    ("jpeg 98 % more bits than webp", "no"),
])  # fmt: skip
def test_a_claim_is_judged_by_the_rows_that_were_sent(claim, verdict, tmp_path):
    judgement = judged(claim, [*doubling("webp", 0.5), *doubling("jpeg", 1.0)], tmp_path)
    assert (judgement.verdict, judgement.images) == (verdict, 2)
    assert judgement.anchor_source == "what was sent"
    is_reduction = claim.lower().startswith("webp")
    assert judgement.comparison["bd_rate_percent"] == pytest.approx(-50 if is_reduction else 100)
    assert judgement.labels == (("webp", "jpeg") if is_reduction else ("jpeg", "webp"))


def test_an_anchor_that_was_not_sent_is_of_the_results(tmp_path):
    Store(tmp_path / "kodak").append(doubling("jpeg", 1.0, dataset="kodak"))
    judgement = judged("webp 50 % fewer bits than jpeg", doubling("webp", 0.5), tmp_path)
    assert (judgement.verdict, judgement.anchor_source) == ("yes", str(tmp_path))
    assert judgement.labels[1] == ""


@pytest.mark.parametrize(("claim", "reason"), [
    ("webp 9 % fewer bits than TCM:large", " TCM:large on kodak: `bench bd`"),
    ("ours 9 % fewer bits than webp", " ours on kodak: `bench bd`"),
    ("jpeg 9 % fewer bits than JPEG", " same "),
])  # fmt: skip
def test_a_claim_without_rows_of_both_has_no_number_and_says_why(claim, reason, tmp_path):
    judgement = judged(claim, [*doubling("webp", 0.5), *doubling("jpeg", 1.0)], tmp_path)
    assert (judgement.verdict, judgement.comparison) == ("unknown", None)
    assert reason in judgement.reason


def test_rows_of_another_protocol_or_of_other_images_give_no_rate(tmp_path):
    rows = [*doubling("webp", 0.5, coding_protocol="another/1"), *doubling("jpeg", 1.0)]
    judgement = judged("webp 50 % fewer bits than jpeg", rows, tmp_path)
    assert (judgement.verdict, judgement.comparison) == ("unknown", None)
    assert judgement.labels[0] == "webp"
    assert "protocols" in judgement.reason
    webp = [{**r, "image": f"z{r['image']}", "image_sha256": r["image_sha256"][::-1]}
            for r in doubling("webp", 0.5)]  # fmt: skip
    judgement = judged("webp 9 % fewer bits than jpeg", [*doubling("jpeg", 1.0), *webp], tmp_path)
    assert "image" in judgement.reason


def test_a_codec_of_a_file_is_known_by_the_name_that_figures_have(tmp_path):
    rows = [record | {"codec": "./a/mine.py:Wave"} for record in doubling("webp", 0.5)]
    judgement = judged("wave 50 % fewer bits than JPEG", [*rows, *doubling("jpeg", 1.0)], tmp_path)
    assert (judgement.verdict, judgement.labels[0]) == ("yes", "mine.py:Wave")


def test_a_claim_is_in_a_metric_of_single_images():
    with pytest.raises(UnknownName, match="fid256"):
        parse_claim("ours 9 % fewer bits than vtm in fid256")
