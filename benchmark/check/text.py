"""A check for people to read: an answer, markdown for a pull request, and JUnit XML."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from benchmark.answer import NOTHING, Answer, Column
from benchmark.check.changes import Finding
from benchmark.check.verdict import Check, Subject
from benchmark.rows.systems import short_version
from benchmark.show.sections import Part, markdown, section
from benchmark.show.table import Table
from benchmark.system.text import by_key, counted, listed

# Sign, word and meaning of each verdict
VERDICTS = {
    "regressed": ("❌", "FAIL", "worse by more than the margin"),
    "missed": ("❌", "FAIL", "a requirement is missed"),
    "improved": ("✅", "PASS", "better by more than the margin"),
    "equivalent": ("✅", "PASS", "every change is inside its margin"),
    "not worse": ("✅", "PASS", "no change is above its margin"),
    "met": ("✅", "PASS", "the requirements are met"),
    "undecided": ("❔", "UNDECIDED", "too few images, or no curves, to say"),
    "nothing measured": (
        "⚠️",
        "NO VERDICT",
        "something to judge has no values (--metrics names what is judged)",
    ),
    "not comparable": ("⚠️", "NO VERDICT", "the two sets of rows cannot be compared"),
}
FIRST_METRICS = 4  # that the headline names
FAILURES, ERRORS = ("regressed", "missed"), ("undecided", "nothing measured")
JUNIT = {**dict.fromkeys(FAILURES, "failure"), **dict.fromkeys(ERRORS, "error")}


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


def answer(check: Check) -> Answer:
    """Return a check as an answer: the verdict, a record for each finding, what is to be said."""
    several = sum(finding.change_percent is not None for finding in check.findings)
    corrected = f"; verdicts are corrected for {several} of them (Holm)" if several > 1 else ""
    notes = [
        "Percent: of bits at equal quality (BD-rate), of the reference's mean value at equal rate "
        "(BD-metric). Positive is worse.",
        f"Each bound holds with {100 * check.confidence:g} % confidence if changes are hardly "
        f"skewed{corrected}.",
    ]
    facts = {
        "verdict": check.verdict,
        "exit_code": check.exit_code,
        "why": check.why,
        "new": check.new,
        "reference": check.reference,
        "confidence": check.confidence,
        "subjects": [*check.subjects],
        "notes": [*check.notes],
    }
    return Answer(
        [finding.record for finding in check.findings],
        COLUMNS,
        "\n".join([*(notes if check.findings else ()), *sentences(check)]),
        facts=facts,
        code=check.exit_code,
        title="\n".join([headline(check), *subject_sentences(check)]),
    )


def headline(check: Check) -> str:
    """Return one line: whether it passed, the verdict, and the metrics that led to it.

    Those out of reach come first, then the largest change.
    """
    due = [finding for finding in check.findings if finding.verdict == check.verdict]
    sign = -1 if check.verdict == "improved" else 1
    due.sort(key=lambda of: (not of.out_of_reach, -sign * (of.change_percent or 0)))
    several = len(check.subjects) > 1
    names = [f"{of.label} {_brief(of)}" if several else _brief(of) for of in due]
    what = check.why or listed(names, FIRST_METRICS) or VERDICTS[check.verdict][2]
    by = "" if check.verdict == "undecided" else f" ({check.verdict})"
    return f"{VERDICTS[check.verdict][1]}{by}: {what}"


def _brief(finding: Finding) -> str:
    change = finding.change_percent
    name = finding.metric_label.removesuffix(" (dB)")
    # A change is without the images out of reach, by which the verdict is.
    return name if change is None or finding.out_of_reach else f"{name} {percent_text(change)}"


def subject_sentences(check: Check) -> list[str]:
    """Return a sentence on each codec variant and its counterpart."""
    return [
        f"{of['label']} ({short_version(of['version'])}) against {of['reference_label']} "
        f"({short_version(of['reference_version'])}) of {check.reference}: "
        f"{counted(of['images'], 'image')}, {counted(len(of['settings']), 'setting')}"
        for of in check.subjects
    ]


def sentences(check: Check) -> list[str]:
    """Return the lines below the table: caveats, reasons, worst images, those without a number."""
    result = caveat_lines(check.subjects)
    for codec in check.subjects:
        if codec["equal_images"]:
            inferred = [f for f in check.findings if f.label == codec["name"] and f.inferred]
            names = ", ".join(finding.metric_label for finding in inferred)
            result.append(
                f"equal: {codec['label']}: {codec['equal_images']} of {codec['images']} images "
                "have the pixels and the number of bytes of the reference at every setting"
                + (f": {names} not computed on both sides, but cannot differ" if names else "")
            )
    reasons = by_key(((f.verdict, f.label, f.why), f.metric_label) for f in check.findings if f.why)
    for (verdict, label, why), metrics in reasons.items():
        result.append(f"{verdict}: {label}, {', '.join(metrics)}: {why}")
    for finding in check.findings:
        name = f"{finding.label}, {finding.metric_label}"
        worst = [f"{image} {percent_text(by)}" for image, by in finding.worst if by > 0]
        if worst:
            result.append(f"worst images: {name}: {', '.join(worst)}")
        if finding.out_of_reach:
            result.append(f"out of reach: {name}: {listed(finding.out_of_reach)}")
        for what, images in (("not judged", finding.left_out), ("no curve", finding.unknown)):
            if images and finding.verdict != "nothing measured":
                names = listed([image.what for image in images])
                result.append(f"{what}: {name}: {names}: {images[0].why}")
        if finding.doubtful:
            result.append(f"doubtful: {name}: curves of {finding.doubtful} images hardly overlap")
    return [*result, *check.notes]


def caveat_lines(subjects: Sequence[Subject]) -> list[str]:
    """Return a line for each difference of two codecs that is not one of quality."""
    return [f"caveat: {text}" for subject in subjects for text in subject["caveats"]]


def check_markdown(check: Check) -> str:
    """Return the markdown of a comment: verdict first, then every number."""
    of = answer(check)
    table = [Table.of(COLUMNS, of.records)] if of.records else []
    parts: list[Part] = [headline(check), subject_sentences(check), *table]
    parts.append(of.summary.splitlines())
    title = f"{VERDICTS[check.verdict][0]} bench check: {check.verdict}"
    return markdown(section("check", title, *parts), level=3)


def junit_xml(check: Check) -> str:
    """Return JUnit XML for continuous integration, declaration included: a case for each finding.

    A regression is a failure. A metric that is undecided, has no numbers or cannot be compared is
    an error, since nobody knows.
    """
    suite = Element("testsuite", name="bench check")
    if not check.findings:
        message = check.why or headline(check)
        case = _case(suite, check.new, "comparison")
        SubElement(case, "error", message=message, type=check.verdict)
    for finding in check.findings:
        case = _case(suite, finding.label, f"{finding.metric_label} {finding.kind}")
        numbers = (f"{of.name} {of.text(finding.record, NOTHING)}" for of in NUMBERS)
        known = "" if finding.change_percent is None else ", ".join(numbers)
        message = f"{finding.verdict}: {': '.join(filter(None, [known, finding.why]))}"
        text = "\n".join([message, *(f"{image} {percent_text(by)}" for image, by in finding.worst)])
        if tag := JUNIT.get(finding.verdict):
            SubElement(case, tag, message=message, type=finding.verdict).text = text
        else:
            SubElement(case, "system-out").text = text
    for plural, tag in (("failures", "failure"), ("errors", "error")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    if caveats := caveat_lines(check.subjects):
        SubElement(suite, "system-out").text = "\n".join(caveats)
    indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def _case(suite: Element, of: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=of.replace(".", "_"), name=name)
