"""The texts about an invented check: headline, table, lines, markdown and JUnit."""

from xml.etree import ElementTree

import pytest

from benchmark.answer import NOTHING, Absent
from benchmark.check.changes import Change
from benchmark.check.text import check_markdown, junit_xml, make_answer
from benchmark.check.verdict import make_finding
from benchmark.compare.rule import USUAL_RULE
from benchmark.show.table import Table

SHIFTED = Change(
    "jpeg", "psnr", "PSNR (dB)", "BD-rate", tuple("abcd"), out_of_reach=("w", "x", "y", "z"),
    unknown=(Absent("bent", "it has 3"),), doubtful=2,
    left_out=(Absent("flat", "it has 1"), Absent("odd", "it has 2")),
)  # fmt: skip
WORST = [{"image": n, "percent": value} for n, value in (("a", 2.0), ("b", 0.5), ("c", -1e-9))]
PSNR = make_finding(
    SHIFTED, "undecided", "about 30 images", margin_percent=1.0, change_percent=0.25,
    lower_percent=-0.5, worst=WORST,
)  # fmt: skip
LPIPS = make_finding(
    Change("jpeg", "lpips", "LPIPS", "BD-metric", tuple("abcde"), inferred=True),
    "equivalent", "", margin_percent=12.3456, **dict.fromkeys(
        ("change_percent", "lower_percent", "upper_percent"), 0.0),
)  # fmt: skip
LOST = make_finding(
    Change("jpeg", "vmaf", "VMAF", "BD-metric", unknown=(Absent("a", "no value"),)),
    "nothing measured", "no value",
)  # fmt: skip
SLOW = make_finding(
    Change("jpeg", "decode_seconds", "decode at most 40 ms", "limit", tuple("abcd")),
    "missed", "it is 50 ms at q=1",
)  # fmt: skip
JPEG = {
    "label": "jpeg:new", "version": "2.0, more", "reference_label": "jpeg",
    "reference_version": "1.0", "images": 5, "settings": ["q=1", "q=2"],
    "name": "jpeg", "equal_images": 2, "protocols": {}, "caveats": ["a trial"],
}  # fmt: skip
LINES = [
    "caveat: a trial",
    "equal: jpeg:new: 2 of 5 images have the reference's pixels and sizes "
    "at every setting; also equal, though not computed in both: LPIPS",
    "undecided: jpeg, PSNR (dB): about 30 images",
    "nothing measured: jpeg, VMAF: no value",
    "missed: jpeg, decode at most 40 ms: it is 50 ms at q=1",
    "worst images: jpeg, PSNR (dB): a +2.00 %, b +0.50 %",
    "out of reach: jpeg, PSNR (dB): w, x, y and 1 more",
    "not judged: jpeg, PSNR (dB): flat, odd: it has 1",
    "no curve: jpeg, PSNR (dB): bent: it has 3",
    "doubtful: jpeg, PSNR (dB): curves of 2 images hardly overlap",
    "a note",
]


def make(*findings, verdict="undecided", reason="", subjects=(JPEG,)):
    outcome = verdict, reason, 0.95, USUAL_RULE
    return make_answer("new", "old", *outcome, subjects, findings, ["a note"])


WHOLE = make(PSNR, LPIPS, LOST, SLOW)
REFUSED = make_answer("a.b", "old", "not comparable", "other images", 0.95, USUAL_RULE)


def test_every_line_above_and_below_the_table():
    first, second, *lines = WHOLE.summary.splitlines()
    assert lines == LINES
    assert "Positive" in first
    assert "Holm" in second
    assert make(PSNR).summary.count("Holm") == 0
    answer = make(PSNR, LPIPS, LOST, SLOW, subjects=[JPEG | {"equal_images": 0, "caveats": []}])
    assert answer.summary.splitlines()[2:] == LINES[2:]
    against = "jpeg:new (2.0) against jpeg (1.0) of old: 5 images, 2 settings"
    assert WHOLE.title.splitlines()[1:] == [against]
    assert (WHOLE.code, WHOLE.facts["subjects"]) == (3, [JPEG])


def finding(change, label="jpeg", verdict="regressed", **fields):
    changed = {"verdict": verdict, "change_percent": change, "label": label, "out_of_reach": []}
    return PSNR | changed | fields


@pytest.mark.parametrize(("headline", "verdict", "findings", "subjects"), [
    ("UNDECIDED: PSNR +0.25 %", "undecided", [finding(0.25, verdict="undecided"), LOST], 1),
    ("FAIL (regressed): b PSNR +5.00 %, d PSNR +4.00 %, c PSNR +3.00 %, a PSNR +2.00 % and 1 "
     "more", "regressed",
     [*map(finding, (2, 5, 3, 4, 1), "abcde"), LPIPS], 2),
    ("FAIL (regressed): SSIM, PSNR +2.00 %", "regressed",
     [finding(2.0), finding(-3.0, out_of_reach=["w"], metric="ssim")], 1),
    ("PASS (improved): PSNR -3.00 %, PSNR -1.00 %", "improved",
     [finding(n, verdict="improved") for n in (-1.0, -3.0)], 1),
    ("NO VERDICT (nothing measured): VMAF", "nothing measured", [PSNR, LPIPS, LOST], 1),
])  # fmt: skip
def test_the_headline_says_the_verdict_and_by_which_metrics(headline, verdict, findings, subjects):
    answer = make(*findings, verdict=verdict, subjects=[JPEG] * subjects)
    assert answer.title.splitlines()[0] == headline


def test_the_table_has_a_row_for_each_finding():
    dashes, nought = [NOTHING] * 4, ["+0.00 %"] * 3
    assert Table.create(WHOLE.columns, WHOLE.records).rows == (
        ("jpeg", "PSNR (dB)", "BD-rate", "undecided", "+0.25 %", "-0.50 %", NOTHING, "±1 %", "4"),
        ("jpeg", "LPIPS", "BD-metric", "equivalent", *nought, "±12.3 %", "5"),
        ("jpeg", "VMAF", "BD-metric", "nothing measured", *dashes, "0"),
        ("jpeg", "decode at most 40 ms", "limit", "missed", *dashes, "4"),
    )


def test_a_case_for_each_finding_fails_errs_or_passes():
    suite = ElementTree.fromstring(junit_xml(WHOLE))
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
    assert cases["LPIPS BD-metric"][0].tag == "system-out"
    (slow,) = cases["decode at most 40 ms limit"]
    assert (slow.tag, slow.get("message")) == ("failure", "missed: it is 50 ms at q=1")
    assert suite.findtext("system-out") == "caveat: a trial"


def test_rows_that_cannot_be_compared_are_an_error_that_says_why():
    assert (REFUSED.title, REFUSED.code) == ("NO VERDICT (not comparable): other images", 4)
    (case,) = ElementTree.fromstring(junit_xml(REFUSED)).iter("testcase")
    (error,) = case
    assert (case.get("classname"), error.tag) == ("a_b", "error")
    assert (error.get("message"), error.get("type")) == ("other images", "not comparable")
    assert check_markdown(REFUSED) == (
        "### ⚠️ bench check: not comparable\n\nNO VERDICT (not comparable): other images\n"
    )


def test_the_markdown_begins_with_the_verdict_and_has_every_line():
    lines = check_markdown(WHOLE).splitlines()
    assert lines[:4] == ["### ❔ bench check: undecided", "", "UNDECIDED: PSNR", ""]
    assert lines[4] == f"- {WHOLE.title.splitlines()[1]}"
    assert [line for line in lines if line.startswith("- ")][3:] == [f"- {text}" for text in LINES]
    assert any(line.startswith("| jpeg | PSNR (dB) | BD-rate | undecided |") for line in lines)
