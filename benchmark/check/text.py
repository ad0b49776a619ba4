"""A check for people to read: an answer, markdown for a pull request, and JUnit XML."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from benchmark.answer import NOTHING, Answer, Column
from benchmark.compare.rule import Rule
from benchmark.rows.edition import short_version
from benchmark.show.sections import markdown, section
from benchmark.show.table import Table
from benchmark.system.text import by_key, counted, listed

Records = Sequence[Mapping[str, Any]]
# Exit code, sign, word and meaning of each verdict; the first that any finding has is that over all
VERDICTS = {
    "regressed": (1, "❌", "FAIL", "worse by more than the margin"),
    "missed": (1, "❌", "FAIL", "a requirement is missed"),
    "nothing measured": (
        4,
        "⚠️",
        "NO VERDICT",
        "something to judge has no values (--metrics names what is judged)",
    ),
    "undecided": (3, "❔", "UNDECIDED", "too few images, or no curves, to say"),
    "not worse": (0, "✅", "PASS", "no change is above its margin"),
    "improved": (0, "✅", "PASS", "better by more than the margin"),
    "equivalent": (0, "✅", "PASS", "every change is inside its margin"),
    "met": (0, "✅", "PASS", "the requirements are met"),
    "not comparable": (4, "⚠️", "NO VERDICT", "the two sets of rows cannot be compared"),
}
FIRST_METRICS = 4  # that the headline names
JUNIT = {1: "failure", 3: "error", 4: "error"}  # by exit code


def percent_text(value: float) -> str:
    """Format a change in percent."""
    return f"{value:+z.2f} %"


NUMBERS = (
    Column("change", "change_percent", percent_text),
    Column("at least", "lower_percent", percent_text),
    Column("at most", "upper_percent", percent_text),
    Column("margin", "margin_percent", lambda margin: f"±{margin:.3g} %"),
    Column("images", form="d"),
)
COLUMNS = (
    Column("codec", "label"),
    Column("metric", "metric_label"),
    Column("by", "kind"),
    Column("verdict"),
    *NUMBERS,
)


def answer(
    new: str,
    reference: str,
    verdict: str,
    why: str,
    confidence: float,
    rule: Rule,
    subjects: Records = (),
    findings: Records = (),
    notes: Sequence[str] = (),
) -> Answer:
    """Return the answer of a check: the verdict, a record for each finding, what is to be said.

    new, reference: names of the rows. why: the reason where nothing could be compared. subjects:
    what was compared, see `verdict._subject`. notes: what was left out.
    """
    code, _, word, meaning = VERDICTS[verdict]
    # Those out of reach come first, then the largest change.
    due = [of for of in findings if of["verdict"] == verdict]
    sign = 1 if verdict == "improved" else -1
    due.sort(key=lambda of: (not of["out_of_reach"], sign * (of["change_percent"] or 0)))
    several = len(subjects) > 1
    names = [f"{of['label']} {_brief(of)}" if several else _brief(of) for of in due]
    by = "" if verdict == "undecided" else f" ({verdict})"
    title = [f"{word}{by}: {why or listed(names, FIRST_METRICS) or meaning}"]
    title += [
        f"{of['label']} ({short_version(of['version'])}) against {of['reference_label']} "
        f"({short_version(of['reference_version'])}) of {reference}: "
        f"{counted(of['images'], 'image')}, {counted(len(of['settings']), 'setting')}"
        for of in subjects
    ]
    changed = sum(of["change_percent"] is not None for of in findings)
    corrected = f"; verdicts are corrected for {changed} of them (Holm)" if changed > 1 else ""
    legend = [
        "Percent: of bits at equal quality (BD-rate), of the reference's mean value at equal rate "
        f"(BD-metric){rule.form_words}. Positive is worse.",
        f"Each bound holds with {100 * confidence:g} % confidence if changes are hardly "
        f"skewed{corrected}.",
    ]
    lines = [*(legend if findings else ()), *_sentences(subjects, findings), *notes]
    facts = {
        "verdict": verdict,
        "exit_code": code,
        "why": why,
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


def _brief(finding: Mapping[str, Any]) -> str:
    change, name = finding["change_percent"], finding["metric_label"].removesuffix(" (dB)")
    # A change is without the images out of reach, by which the verdict is.
    return name if change is None or finding["out_of_reach"] else f"{name} {percent_text(change)}"


def _sentences(subjects: Records, findings: Records) -> list[str]:
    """Return caveats, reasons, worst images, and images without a number."""
    result = caveat_lines(subjects)
    for codec in subjects:
        if codec["equal_images"]:
            inferred = [f for f in findings if f["label"] == codec["name"] and f["inferred"]]
            names = ", ".join(finding["metric_label"] for finding in inferred)
            result.append(
                f"equal: {codec['label']}: {codec['equal_images']} of {codec['images']} images "
                "have the pixels and the number of bytes of the reference at every setting"
                + (f": {names} not computed on both sides, but cannot differ" if names else "")
            )
    reasons = by_key(
        ((f["verdict"], f["label"], f["why"]), f["metric_label"]) for f in findings if f["why"]
    )
    for (verdict, label, why), metrics in reasons.items():
        result.append(f"{verdict}: {label}, {', '.join(metrics)}: {why}")
    for finding in findings:
        name = f"{finding['label']}, {finding['metric_label']}"
        worst = [
            f"{of['image']} {percent_text(of['percent'])}"
            for of in finding["worst"]
            if of["percent"] > 0
        ]
        if worst:
            result.append(f"worst images: {name}: {', '.join(worst)}")
        if finding["out_of_reach"]:
            result.append(f"out of reach: {name}: {listed(finding['out_of_reach'])}")
        for what, images in (("not judged", finding["left_out"]), ("no curve", finding["unknown"])):
            if images and finding["verdict"] != "nothing measured":
                names = listed([image["what"] for image in images])
                result.append(f"{what}: {name}: {names}: {images[0]['why']}")
        if doubtful := finding["doubtful"]:
            result.append(f"doubtful: {name}: curves of {doubtful} images hardly overlap")
    return result


def caveat_lines(subjects: Records) -> list[str]:
    """Return a line for each difference of two codecs that is not one of quality."""
    return [f"caveat: {text}" for subject in subjects for text in subject["caveats"]]


def check_markdown(check: Answer) -> str:
    """Return the markdown of a comment: verdict first, then every number."""
    headline, *subjects = check.title.splitlines()
    table = [Table.of(check.columns, check.records)] if check.records else []
    verdict = check.facts["verdict"]
    title = f"{VERDICTS[verdict][1]} bench check: {verdict}"
    of = section("check", title, headline, subjects, *table, check.summary.splitlines())
    return markdown(of, level=3)


def junit_xml(check: Answer) -> str:
    """Return JUnit XML for continuous integration, declaration included: a case for each finding.

    A regression is a failure. A metric that is undecided, has no numbers or cannot be compared is
    an error, since nobody knows.
    """
    suite = Element("testsuite", name="bench check")
    if not check.records:
        message = check.facts["why"] or check.title
        case = _case(suite, check.facts["new"], "comparison")
        SubElement(case, "error", message=message, type=check.facts["verdict"])
    for finding in check.records:
        case = _case(suite, finding["label"], f"{finding['metric_label']} {finding['kind']}")
        numbers = (f"{of.name} {of.text(finding, NOTHING)}" for of in NUMBERS)
        known = "" if finding["change_percent"] is None else ", ".join(numbers)
        verdict = finding["verdict"]
        message = f"{verdict}: {': '.join(filter(None, [known, finding['why']]))}"
        worst = (f"{of['image']} {percent_text(of['percent'])}" for of in finding["worst"])
        text = "\n".join([message, *worst])
        if tag := JUNIT.get(VERDICTS[verdict][0]):
            SubElement(case, tag, message=message, type=verdict).text = text
        else:
            SubElement(case, "system-out").text = text
    for plural, tag in (("failures", "failure"), ("errors", "error")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    if caveats := caveat_lines(check.facts["subjects"]):
        SubElement(suite, "system-out").text = "\n".join(caveats)
    indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def _case(suite: Element, of: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=of.replace(".", "_"), name=name)
