"""Output of a check: an answer, markdown for a pull request, and JUnit XML."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from benchmark.answer import NOTHING, Answer, Column
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import short_version
from benchmark.show.sections import markdown, section
from benchmark.show.table import Table
from benchmark.system.text import counted, group_by_key, listed

Records = Sequence[Mapping[str, Any]]
# Exit code, symbol, word and meaning of each verdict; the overall verdict is the first that occurs
VERDICTS = {
    "regressed": (1, "❌", "FAIL", "worse by more than the margin"),
    "missed": (1, "❌", "FAIL", "a requirement is missed"),
    "nothing measured": (
        4,
        "⚠️",
        "NO VERDICT",
        "a metric has no values to judge (choose others with --metrics)",
    ),
    "undecided": (3, "❔", "UNDECIDED", "too few images to decide, or no curves"),
    "not worse": (0, "✅", "PASS", "no change is above its margin"),
    "improved": (0, "✅", "PASS", "better by more than the margin"),
    "equivalent": (0, "✅", "PASS", "every change is within its margin"),
    "met": (0, "✅", "PASS", "the requirements are met"),
    "not comparable": (4, "⚠️", "NO VERDICT", "the two sets of rows cannot be compared"),
}
MAX_HEADLINE_METRICS = 4
JUNIT_TAGS = {1: "failure", 3: "error", 4: "error"}  # by exit code


def change_text(finding: Mapping[str, Any], value: float | None) -> str | None:
    """Format a finding's change with sign and unit; None if there is no change."""
    return None if value is None else f"{value:+z.2f} {finding['unit']}".rstrip()


def _number_text(name: str, finding: Mapping[str, Any]) -> str | None:
    return change_text(finding, finding[name])


def _margin_text(finding: Mapping[str, Any]) -> str | None:
    margin = finding["margin_percent"]
    return None if margin is None else f"±{margin:.3g} {finding['unit']}".rstrip()


NUMBER_COLUMNS = (
    Column("change", partial(_number_text, "change_percent"), str),
    Column("at least", partial(_number_text, "lower_percent"), str),
    Column("at most", partial(_number_text, "upper_percent"), str),
    Column("margin", _margin_text, str),
    Column("images", form="d"),
)
COLUMNS = (
    Column("codec", "label"),
    Column("metric", "metric_label"),
    Column("measure", "kind"),
    Column("verdict"),
    *NUMBER_COLUMNS,
)


def make_answer(
    new: str,
    reference: str,
    verdict: str,
    reason: str,
    confidence: float,
    rule: Rule,
    subjects: Records = (),
    findings: Records = (),
    notes: Sequence[str] = (),
) -> Answer:
    """Return a check's answer: verdict, one record per finding, and sentences."""
    code, _, word, meaning = VERDICTS[verdict]
    sign = 1 if verdict == "improved" else -1

    def sort_key(finding: Mapping[str, Any]) -> tuple[bool, float]:
        return not finding["out_of_reach"], sign * (finding["change_percent"] or 0)

    decisive_findings = [finding for finding in findings if finding["verdict"] == verdict]
    decisive_findings.sort(key=sort_key)  # out of reach first, then the largest change
    texts = [_finding_text(finding) for finding in decisive_findings]
    if len(subjects) > 1:
        labels = (finding["label"] for finding in decisive_findings)
        texts = [f"{label} {text}" for label, text in zip(labels, texts, strict=True)]
    verdict_text = "" if verdict == "undecided" else f" ({verdict})"
    title = [f"{word}{verdict_text}: {reason or listed(texts, MAX_HEADLINE_METRICS) or meaning}"]
    for subject in subjects:
        version = short_version(subject["version"])
        reference_version = short_version(subject["reference_version"])
        title.append(
            f"{subject['label']} ({version}) against {subject['reference_label']} "
            f"({reference_version}) of {reference}: {counted(subject['images'], 'image')}, "
            f"{counted(len(subject['settings']), 'setting')}"
        )
    num_tests = sum(finding["change_percent"] is not None for finding in findings)
    correction_note = (
        f"; verdicts are corrected for {num_tests} tests (Holm)" if num_tests > 1 else ""
    )
    legend = [
        "Changes: percent of bits at equal quality (BD-rate) or of the reference's mean at equal "
        f"rate (BD-metric){rule.form_words}; without %: in the metric's units. Positive is worse.",
        f"Each bound holds with {100 * confidence:g} % confidence unless changes are very "
        f"skewed{correction_note}.",
    ]
    lines = [*(legend if findings else ()), *_detail_lines(subjects, findings), *notes]
    facts = {
        "verdict": verdict,
        "exit_code": code,
        "why": reason,
        "new": new,
        "reference": reference,
        "confidence": confidence,
        "bd": rule.bd,
        "subjects": [*subjects],
        "notes": [*notes],
    }
    return Answer(
        findings, COLUMNS, "\n".join(lines), facts=facts, code=code, title="\n".join(title)
    )


def _finding_text(finding: Mapping[str, Any]) -> str:
    change, metric = finding["change_percent"], str(finding["metric"])
    is_limit = finding["kind"] == "limit"
    name = str(finding["metric_label"]) if is_limit else Metric.named(metric).title
    # The mean change excludes images that are out of reach, but they decide the verdict
    if change is None or finding["out_of_reach"]:
        return name
    return f"{name} {change_text(finding, change)}"


def _detail_lines(subjects: Records, findings: Records) -> list[str]:
    lines = caveat_lines(subjects)
    for subject in subjects:
        if subject["equal_images"]:
            inferred_findings = [
                finding
                for finding in findings
                if finding["label"] == subject["name"] and finding["inferred"]
            ]
            names = ", ".join(finding["metric_label"] for finding in inferred_findings)
            lines.append(
                f"equal: {subject['label']}: {subject['equal_images']} of {subject['images']} "
                "images have the reference's pixels and sizes at every setting"
                + (f"; also equal, though not computed in both: {names}" if names else "")
            )
    reasons = group_by_key(
        ((finding["verdict"], finding["label"], finding["why"]), finding["metric_label"])
        for finding in findings
        if finding["why"]
    )
    for (verdict, label, reason), metrics in reasons.items():
        lines.append(f"{verdict}: {label}, {', '.join(metrics)}: {reason}")
    for finding in findings:
        name = f"{finding['label']}, {finding['metric_label']}"
        worst_images = [
            f"{worst_image['image']} {change_text(finding, worst_image['percent'])}"
            for worst_image in finding["worst"]
            if worst_image["percent"] > 0
        ]
        if worst_images:
            lines.append(f"worst images: {name}: {', '.join(worst_images)}")
        if finding["out_of_reach"]:
            lines.append(f"out of reach: {name}: {listed(finding['out_of_reach'])}")
        for reason_kind, images in (
            ("not judged", finding["left_out"]),
            ("no curve", finding["unknown"]),
        ):
            if images and finding["verdict"] != "nothing measured":
                names = listed([image["what"] for image in images])
                lines.append(f"{reason_kind}: {name}: {names}: {images[0]['why']}")
        if num_doubtful := finding["doubtful"]:
            lines.append(f"doubtful: {name}: curves of {num_doubtful} images hardly overlap")
    return lines


def caveat_lines(subjects: Records) -> list[str]:
    """Return a line for each caveat, such as a different device or version."""
    return [f"caveat: {text}" for subject in subjects for text in subject["caveats"]]


def check_markdown(check: Answer) -> str:
    """Return a check as markdown for a comment: the verdict, then every number."""
    headline, *subjects = check.title.splitlines()
    table = [Table.create(check.columns, check.records)] if check.records else []
    verdict = check.facts["verdict"]
    title = f"{VERDICTS[verdict][1]} bench check: {verdict}"
    comment = section("check", title, headline, subjects, *table, check.summary.splitlines())
    return markdown(comment, level=3)


def junit_xml(check: Answer) -> str:
    """Return a check as JUnit XML: a case for each finding, a failure for each regression."""
    suite = Element("testsuite", name="bench check")
    if not check.records:
        message = check.facts["why"] or check.title
        case = _add_case(suite, check.facts["new"], "comparison")
        SubElement(case, "error", message=message, type=check.facts["verdict"])
    for finding in check.records:
        case = _add_case(suite, finding["label"], f"{finding['metric_label']} {finding['kind']}")
        numbers = (f"{column.name} {column.text(finding, NOTHING)}" for column in NUMBER_COLUMNS)
        number_text = "" if finding["change_percent"] is None else ", ".join(numbers)
        verdict = finding["verdict"]
        message = f"{verdict}: {': '.join(filter(None, [number_text, finding['why']]))}"
        worst_images = (
            f"{image['image']} {change_text(finding, image['percent'])}"
            for image in finding["worst"]
        )
        details = "\n".join([message, *worst_images])
        if tag := JUNIT_TAGS.get(VERDICTS[verdict][0]):
            SubElement(case, tag, message=message, type=verdict).text = details
        else:
            SubElement(case, "system-out").text = details
    for attribute, tag in (("failures", "failure"), ("errors", "error")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    if caveats := caveat_lines(check.facts["subjects"]):
        SubElement(suite, "system-out").text = "\n".join(caveats)
    indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def _add_case(suite: Element, class_name: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=class_name.replace(".", "_"), name=name)
