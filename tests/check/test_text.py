"""What is said of a made-up check, word for word: sentences, table, markdown and JUnit."""

from dataclasses import replace
from xml.etree import ElementTree

from benchmark.answer import NOTHING, Absent
from benchmark.check.changes import Finding, WorstImage
from benchmark.check.text import (
    answer,
    check_markdown,
    headline,
    junit_xml,
    sentences,
    subject_sentences,
)
from benchmark.check.verdict import Check
from benchmark.show.table import Table

PSNR = Finding(
    "jpeg", "psnr", "PSNR (dB)", "BD-rate", tuple("abcd"), verdict="undecided",
    why="about 30 images", margin_percent=1.0, change_percent=0.25, lower_percent=-0.5,
    worst=(WorstImage("a", 2.0), WorstImage("b", 0.5), WorstImage("c", -1e-9)),
    out_of_reach=("w", "x", "y", "z"), unknown=(Absent("bent", "it has 3"),),
    left_out=(Absent("flat", "it has 1"), Absent("odd", "it has 2")), doubtful=2,
)  # fmt: skip
LPIPS = Finding(
    "jpeg", "lpips", "LPIPS", "BD-metric", tuple("abcde"), verdict="equivalent",
    margin_percent=12.3456, change_percent=0.0, lower_percent=0.0, upper_percent=0.0, inferred=True,
)  # fmt: skip
LOST = Finding(
    "jpeg", "vmaf", "VMAF", "BD-metric", verdict="nothing measured", why="no value",
    unknown=(Absent("a", "no value"),),
)  # fmt: skip
SLOW = Finding(
    "jpeg", "decode_seconds", "decode at most 40 ms", "limit", tuple("abcd"), verdict="missed",
    why="it is 50 ms at q=1",
)  # fmt: skip
JPEG = {
    "label": "jpeg:new", "version": "2.0, more", "reference_label": "jpeg",
    "reference_version": "1.0", "images": 5, "settings": ["q=1", "q=2"],
    "name": "jpeg", "equal_images": 2, "protocols": {}, "caveats": ["a trial"],
}  # fmt: skip
CHECK = Check(
    "new", "old", "undecided", subjects=(JPEG,), findings=(PSNR, LPIPS, LOST), notes=("a note",)
)


def test_every_line_below_the_tables():
    assert sentences(CHECK) == [
        "caveat: a trial",
        "equal: jpeg:new: 2 of 5 images have the pixels and the number of bytes of the reference "
        "at every setting: LPIPS not computed on both sides, but cannot differ",
        "undecided: jpeg, PSNR (dB): about 30 images",
        "nothing measured: jpeg, VMAF: no value",
        "worst images: jpeg, PSNR (dB): a +2.00 %, b +0.50 %",
        "out of reach: jpeg, PSNR (dB): w, x, y and 1 more",
        "not judged: jpeg, PSNR (dB): flat, odd: it has 1",
        "no curve: jpeg, PSNR (dB): bent: it has 3",
        "doubtful: jpeg, PSNR (dB): curves of 2 images hardly overlap",
        "a note",
    ]
    limited = replace(CHECK, findings=(SLOW,), subjects=())
    assert sentences(limited) == [
        "missed: jpeg, decode at most 40 ms: it is 50 ms at q=1",
        "a note",
    ]
    unequal = replace(CHECK, subjects=(JPEG | {"equal_images": 0, "caveats": []},))
    assert sentences(unequal) == sentences(CHECK)[2:]


def test_the_headline_says_the_verdict_and_by_which_metrics():
    near = replace(PSNR, out_of_reach=())
    assert headline(replace(CHECK, findings=(near, LPIPS, LOST))) == "UNDECIDED: PSNR +0.25 %"
    worst = [
        replace(near, verdict="regressed", why="", label=f"jpeg:{label}", change_percent=change)
        for label, change in (("a", 2.0), ("b", 5.0), ("c", 3.0), ("d", 4.0), ("e", 1.0))
    ]
    many = replace(CHECK, verdict="regressed", findings=(*worst, LPIPS), subjects=(JPEG, JPEG))
    assert headline(many) == (
        "FAIL (regressed): jpeg:b PSNR +5.00 %, jpeg:d PSNR +4.00 %, jpeg:c PSNR +3.00 %, "
        "jpeg:a PSNR +2.00 % and 1 more"
    )
    far = replace(PSNR, verdict="regressed", change_percent=-3.0, metric_label="SSIM")
    fallen = replace(many, findings=(*worst[:1], far), subjects=(JPEG,))
    assert headline(fallen) == "FAIL (regressed): SSIM, PSNR +2.00 %"
    gained = replace(many, verdict="improved", subjects=(JPEG,), findings=tuple(
        replace(near, verdict="improved", change_percent=change) for change in (-1.0, -3.0)
    ))  # fmt: skip
    assert headline(gained) == "PASS (improved): PSNR -3.00 %, PSNR -1.00 %"
    lost = replace(CHECK, verdict="nothing measured")
    assert headline(lost) == "NO VERDICT (nothing measured): VMAF"
    refused = replace(CHECK, verdict="not comparable", why="other images", findings=(), subjects=())
    assert answer(refused).title == "NO VERDICT (not comparable): other images"
    assert (answer(refused).code, answer(CHECK).code) == (4, 3)


def test_a_sentence_says_what_was_compared():
    against = "jpeg:new (2.0) against jpeg (1.0) of old: 5 images, 2 settings"
    assert subject_sentences(CHECK) == [against]


def test_the_table_has_a_row_for_each_finding():
    made = answer(replace(CHECK, findings=(PSNR, LPIPS, LOST, SLOW)))
    table = Table.of(made.columns, made.records)
    assert table.headers == (
        "codec", "metric", "by", "verdict", "change", "at least", "at most", "margin", "images",
    )  # fmt: skip
    none, nought = [NOTHING] * 4, ["+0.00 %"] * 3
    assert table.rows == (
        ("jpeg", "PSNR (dB)", "BD-rate", "undecided", "+0.25 %", "-0.50 %", NOTHING, "±1 %", "4"),
        ("jpeg", "LPIPS", "BD-metric", "equivalent", *nought, "±12.3 %", "5"),
        ("jpeg", "VMAF", "BD-metric", "nothing measured", *none, "0"),
        ("jpeg", "decode at most 40 ms", "limit", "missed", *none, "4"),
    )
    assert table.words == 4
    assert made.summary.splitlines()[1].endswith(
        "with 95 % confidence if changes are hardly skewed; verdicts are corrected for 2 of them "
        "(Holm)."
    )
    assert made.summary.splitlines()[2:] == sentences(
        replace(CHECK, findings=(PSNR, LPIPS, LOST, SLOW))
    )
    single = answer(replace(CHECK, findings=(PSNR,)))
    assert single.summary.splitlines()[1].endswith("if changes are hardly skewed.")
    assert made.facts["subjects"] == [JPEG]


def test_a_case_for_each_finding_fails_errs_or_passes():
    suite = ElementTree.fromstring(junit_xml(replace(CHECK, findings=(PSNR, LPIPS, LOST, SLOW))))
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "2"]
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    (undecided,) = cases["PSNR (dB) BD-rate"]
    assert undecided.get("message") == (
        "undecided: change +0.25 %, at least -0.50 %, at most –, margin ±1 %, images 4: about 30 "
        "images"
    )
    assert undecided.text.splitlines()[1:] == ["a +2.00 %", "b +0.50 %", "c +0.00 %"]
    (lost,) = cases["VMAF BD-metric"]
    assert (lost.tag, lost.get("message")) == ("error", "nothing measured: no value")
    (passed,) = cases["LPIPS BD-metric"]
    assert passed.tag == "system-out"
    (slow,) = cases["decode at most 40 ms limit"]
    assert (slow.tag, slow.get("message")) == ("failure", "missed: it is 50 ms at q=1")
    assert suite.findtext("system-out") == "caveat: a trial"
    assert "\n  <testcase" in junit_xml(CHECK)


def test_what_cannot_be_compared_is_an_error_and_says_why():
    refused = Check("new", "old", "not comparable", "other images")
    (case,) = ElementTree.fromstring(junit_xml(refused)).iter("testcase")
    (error,) = case
    assert (case.get("classname"), error.tag) == ("new", "error")
    assert (error.get("message"), error.get("type")) == ("other images", "not comparable")
    nothing = replace(refused, verdict="nothing measured", why="", new="a.b")
    (case,) = ElementTree.fromstring(junit_xml(nothing)).iter("testcase")
    assert case.get("classname") == "a_b"
    assert case[0].get("message").startswith("NO VERDICT (nothing measured): something to judge")
    assert check_markdown(refused) == (
        "### ⚠️ bench check: not comparable\n\nNO VERDICT (not comparable): other images\n"
    )


def test_the_markdown_begins_with_the_verdict():
    lines = check_markdown(CHECK).splitlines()
    assert lines[:4] == [
        "### ❔ bench check: undecided", "", "UNDECIDED: PSNR", "",
    ]  # fmt: skip
    assert lines[4] == f"- {subject_sentences(CHECK)[0]}"
    bullets = [f"- {sentence}" for sentence in sentences(CHECK)]
    begin = lines.index(bullets[0])
    assert lines[begin : begin + len(bullets)] == bullets
    assert any(line.startswith("| jpeg | PSNR (dB) | BD-rate | undecided |") for line in lines)
