"""What is said of a made-up check, word for word: sentences, tables, markdown and JUnit."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmark.answer import NOTHING
from benchmark.compare.check.check import Check, ComparedCodec, Finding, WorstImage
from benchmark.compare.check.compare import AtSetting, UnjudgedImage
from benchmark.compare.check.request import CheckRequest
from benchmark.show.check_table import (
    check_markdown,
    details,
    findings_table,
    first_lines,
    headline,
    junit_xml,
    sentences,
    subject_sentences,
)

PSNR = Finding(
    "jpeg", "psnr", "PSNR (dB)", "BD-rate", "undecided", "about 30 images", 1.0, 4, 0.25, -0.5,
    worst=(WorstImage("a", 2.0), WorstImage("b", 0.5), WorstImage("c", -1e-9)),
    out_of_reach=("w", "x", "y", "z"), unknown=(UnjudgedImage("bent", "it has 3"),),
    left_out=(UnjudgedImage("flat", "it has 1"), UnjudgedImage("odd", "it has 2")), doubtful=2,
)  # fmt: skip
LPIPS = Finding("jpeg", "lpips", "LPIPS", "BD-metric", "equivalent", "", 12.3456, 5, 0.0, 0.0, 0.0,
                inferred=True)  # fmt: skip
LOST = Finding("jpeg", "vmaf", "VMAF", "BD-metric", "nothing measured", "no value", None, 0,
               unknown=(UnjudgedImage("a", "no value"),))  # fmt: skip
SLOWER = Finding("jpeg", "decode_seconds", "decoding", "ratio", "regressed", "", 25.0, 4, 50.0,
                 40.0, 60.0, worst=(WorstImage("a", 70.0),))  # fmt: skip
UNTIMED = Finding(
    "jpeg", "encode_seconds", "encoding", "ratio", "nothing measured", "not timed", 25.0, 0
)
JPEG = ComparedCodec(
    "jpeg:new", "2.0, more", "jpeg", "1.0", 5, ("q=1", "q=2"), 3, "jpeg", 2, {}, ("a trial",)
)
VALUES = {"psnr_db": (30.0, 30.5), "ms_ssim": (0.9, 0.95), "lpips_alex": (None, 0.1)}
CHECK = Check(
    "new", "old", "undecided", "", CheckRequest(), (JPEG,), (PSNR, LPIPS, LOST), (SLOWER, UNTIMED),
    (AtSetting("jpeg", "q=1", (1.0, 1.05), VALUES),), ("a note",),
)  # fmt: skip


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
    timed = replace(CHECK, options=CheckRequest(fail_on_timing=True), findings=(), subjects=())
    assert sentences(timed) == [
        "nothing measured: jpeg, encoding: not timed",
        "worst images: jpeg, decoding: a +70.00 %",
        "a note",
    ]
    unequal = replace(CHECK, subjects=(JPEG._replace(equal_images=0, caveats=()),))
    assert sentences(unequal) == sentences(CHECK)[2:]
    (message, _) = sentences(replace(timed, subjects=(JPEG,), timing=()))[:2]
    assert message == "caveat: a trial"


def test_the_first_lines_say_the_verdict_by_which_metrics_and_why():
    near = PSNR._replace(out_of_reach=())
    seen = replace(CHECK, findings=(near, LPIPS, LOST))
    assert headline(seen) == "UNDECIDED: PSNR +0.25 %"
    assert first_lines(seen) == [
        headline(seen),
        subject_sentences(CHECK)[0],
        "jpeg, PSNR (dB): BD-rate +0.25 % (-0.50 % to –), margin ±1 %, 4 images: about 30 images",
        "-v shows every metric, means at equal settings, worst images and 1 caveat",
    ]
    worst = [
        near._replace(verdict="regressed", why="", label=f"jpeg:{label}", change_percent=change)
        for label, change in (("a", 2.0), ("b", 5.0), ("c", 3.0), ("d", 4.0), ("e", 1.0))
    ]
    many = replace(CHECK, verdict="regressed", findings=(*worst, LPIPS), subjects=(JPEG, JPEG))
    assert headline(many) == (
        "FAIL (regressed): jpeg:b PSNR +5.00 %, jpeg:d PSNR +4.00 %, jpeg:c PSNR +3.00 %, "
        "jpeg:a PSNR +2.00 % and 1 more"
    )
    lines = first_lines(many)
    assert len(lines) == 5
    assert lines[1].endswith("3 streams of the same bytes; and 1 codec more")
    assert lines[2].startswith("jpeg:b, PSNR (dB): BD-rate +5.00 % (")
    assert lines[2].endswith("; worst a")
    beyond = "on w it never reaches the reference's lowest quality"
    far = PSNR._replace(verdict="regressed", why=beyond, change_percent=-3.0, metric_label="SSIM")
    fallen = replace(many, findings=(*worst[:1], far), subjects=(JPEG,))
    assert headline(fallen) == "FAIL (regressed): SSIM, PSNR +2.00 %"
    assert first_lines(fallen)[2].endswith(f"4 images: {beyond}")
    gained = replace(many, verdict="improved", subjects=(JPEG,), findings=tuple(
        near._replace(verdict="improved", change_percent=change) for change in (-1.0, -3.0)
    ))  # fmt: skip
    assert headline(gained) == "PASS (improved): PSNR -3.00 %, PSNR -1.00 %"
    lost = replace(CHECK, verdict="nothing measured")
    assert headline(lost) == "NO VERDICT (nothing measured): VMAF"
    assert "no value" in first_lines(lost)[2]
    refused = replace(CHECK, verdict="not comparable", why="other images", findings=())
    assert first_lines(replace(refused, subjects=())) == [
        "NO VERDICT (not comparable): other images"
    ]


def test_each_metric_that_was_named_has_its_line_also_a_better_or_an_equal_one():
    worse = PSNR._replace(verdict="regressed", why="", change_percent=5.21, out_of_reach=())
    better = LPIPS._replace(verdict="undecided", change_percent=-24.0)
    named = CheckRequest(metrics=("psnr", "lpips", "vmaf"))
    found = (worse, better, LPIPS._replace(label="avif"), LOST)
    lines = first_lines(replace(CHECK, verdict="regressed", findings=found, options=named))
    assert [line.partition(" (+0.00 %")[0] for line in lines[2:-1]] == [
        "jpeg, PSNR (dB): BD-rate +5.21 % (-0.50 % to –), margin ±1 %, 4 images; worst a",
        "jpeg, LPIPS: undecided: BD-metric -24.00 %",
        "avif, LPIPS: equivalent: BD-metric +0.00 %",
        "jpeg, VMAF: nothing measured: something that was to be judged has no values: no value",
    ]


def test_bounds_inside_the_margin_without_a_verdict_say_why():
    inside = PSNR._replace(out_of_reach=(), unknown=(), lower_percent=-0.92, upper_percent=0.98)
    line = first_lines(replace(CHECK, findings=(inside,)))[2]
    assert line == (
        "jpeg, PSNR (dB): BD-rate +0.25 % (-0.92 % to +0.98 %), margin ±1 % (inside it, but not "
        "once corrected for several metrics and skew), 4 images: about 30 images"
    )
    for other in ({"verdict": "equivalent"}, {"upper_percent": 1.02}, {"unknown": PSNR.unknown}):
        finding = inside._replace(**other)
        assert "corrected" not in junit_xml(replace(CHECK, findings=(finding,)))


def test_the_markdown_of_an_image_out_of_reach_has_no_word_of_a_margin():
    why = "on w it never reaches the reference's lowest quality"
    far = PSNR._replace(verdict="regressed", why=why, change_percent=-3.0)
    check = replace(CHECK, verdict="regressed", findings=(far, LPIPS))
    assert f"{why} (jpeg PSNR (dB))." in check_markdown(check)
    assert "more than the margin" not in check_markdown(check)
    worse = far._replace(out_of_reach=(), why="", change_percent=2.0)
    both = replace(check, findings=(worse, far))
    assert "worse by more than the margin" in check_markdown(both)


def test_a_sentence_says_what_was_compared():
    against = "jpeg:new (2.0) against jpeg (1.0) of old: 5 images, 2 settings"
    assert subject_sentences(CHECK) == [f"{against}, 3 streams of the same bytes"]
    assert subject_sentences(replace(CHECK, subjects=(JPEG._replace(identical=0),))) == [against]


def test_tables_have_a_row_for_each_finding_and_setting():
    table = findings_table(CHECK)
    assert table.headers == (
        "codec", "metric", "by", "verdict", "change", "at least", "at most", "margin", "images",
    )  # fmt: skip
    assert table.rows == (
        ("jpeg", "PSNR (dB)", "BD-rate", "undecided", "+0.25 %", "-0.50 %", NOTHING, "±1 %", "4"),
        (
            "jpeg",
            "LPIPS",
            "BD-metric",
            "equivalent",
            "+0.00 %",
            "+0.00 %",
            "+0.00 %",
            "±12.3 %",
            "5",
        ),
        ("jpeg", "VMAF", "BD-metric", "nothing measured", *[NOTHING] * 4, "0"),
    )
    assert table.notes[1].endswith(
        "with 95 % confidence if changes are hardly skewed; verdicts are corrected for 2 of them "
        "(Holm)."
    )
    single = findings_table(replace(CHECK, findings=(PSNR,)))
    assert single.notes[1].endswith("if changes are hardly skewed.")
    assert (
        "corrected for 2 of them" in findings_table(replace(CHECK, findings=(PSNR, LPIPS))).notes[1]
    )
    assert findings_table(replace(CHECK, findings=())) is None
    means, seconds = details(CHECK)
    assert means.headers == ("codec", "setting", "bpp", "PSNR (dB)", "MS-SSIM", "LPIPS (AlexNet)")
    assert means.rows == (
        ("jpeg", "q=1", "1.0500 (+5.00 %)", "30.50 (+0.50)", "0.9500 (+0.0500)", NOTHING),
    )
    assert [row[:5] for row in seconds.rows] == [
        ("jpeg", "decoding", "ratio", "regressed", "+50.00 %")
    ]
    assert seconds.notes[0].endswith("pair by pair; reported, not judged.")
    judged = replace(CHECK, options=CheckRequest(fail_on_timing=True), at_settings=())
    (seconds,) = details(judged)
    assert seconds.notes[0].endswith("pair by pair; judged.")
    assert details(replace(CHECK, at_settings=(), timing=(UNTIMED,))) == []
    assert [one.words for one in (table, means, seconds)] == [4, 2, 4]


@pytest.mark.parametrize("timing", [False, True])
def test_a_case_for_each_metric_fails_errs_passes_or_is_skipped(timing):
    made = replace(CHECK, options=CheckRequest(fail_on_timing=timing))
    suite = ElementTree.fromstring(junit_xml(made))
    counts = ("tests", "failures", "errors", "skipped")
    assert [suite.get(name) for name in counts] == (
        ["5", "1", "3", "0"] if timing else ["4", "0", "2", "1"]
    )
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    (undecided,) = cases["PSNR (dB) BD-rate"]
    assert undecided.get("message") == (
        "undecided: BD-rate +0.25 % (-0.50 % to –), margin ±1 %, 4 images: about 30 images"
    )
    assert undecided.text.splitlines()[1:] == ["a +2.00 %", "b +0.50 %", "c +0.00 %"]
    (lost,) = cases["VMAF BD-metric"]
    assert (lost.tag, lost.get("message")) == ("error", "nothing measured: no value")
    (passed,) = cases["LPIPS BD-metric"]
    assert passed.tag == "system-out"
    (slower,) = cases["decoding ratio"]
    message = "regressed: ratio +50.00 % (+40.00 % to +60.00 %), margin ±25 %, 4 images"
    assert (slower.tag, slower.get("message")) == (
        ("failure", message) if timing else ("skipped", f"not judged: {message}")
    )
    assert suite.findtext("system-out") == "caveat: a trial"
    assert "\n  <testcase" in junit_xml(made)


def test_what_cannot_be_compared_is_an_error_and_says_why():
    refused = Check("new", "old", "not comparable", "other images", CheckRequest())
    (case,) = ElementTree.fromstring(junit_xml(refused)).iter("testcase")
    (error,) = case
    assert (case.get("classname"), error.tag) == ("new", "error")
    assert (error.get("message"), error.get("type")) == ("other images", "not comparable")
    nothing = replace(refused, verdict="nothing measured", why="", name="a.b")
    (case,) = ElementTree.fromstring(junit_xml(nothing)).iter("testcase")
    assert case.get("classname") == "a_b"
    assert (
        case[0].get("message").startswith("NO VERDICT (nothing measured): something that was to be")
    )
    assert check_markdown(refused) == ("### ⚠️ bench check: not comparable\n\nother images.\n")


def test_the_markdown_begins_with_the_verdict_and_folds_the_details():
    lines = check_markdown(CHECK).splitlines()
    assert lines[:4] == [
        "### ❔ bench check: undecided", "",
        "too few images, or no curves, to say (jpeg PSNR (dB)).", "",
    ]  # fmt: skip
    assert lines[4] == f"- {subject_sentences(CHECK)[0]}"
    bullets = [f"- {sentence}" for sentence in sentences(CHECK)]
    begin = lines.index(bullets[0])
    assert lines[begin : begin + len(bullets)] == bullets
    assert any(line.startswith("| jpeg | PSNR (dB) | BD-rate | undecided |") for line in lines)
    folded = lines.index("<details><summary>Seconds, and means at equal settings</summary>")
    assert [lines[at] for at in (folded - 1, folded + 1, -1)] == ["", "", "</details>"]
    assert "details>" not in check_markdown(replace(CHECK, at_settings=(), timing=()))
