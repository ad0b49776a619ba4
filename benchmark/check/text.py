"""A check for people to read: tables, sentences, markdown for a pull request, and JUnit XML."""

from functools import partial
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from benchmark.answer import NOTHING, Column, decimals
from benchmark.check.changes import AtSetting, Finding
from benchmark.check.verdict import Check
from benchmark.metrics.metric import Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
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
    "nothing measured": ("⚠️", "NO VERDICT", "something that was to be judged has no values"),
    "not comparable": ("⚠️", "NO VERDICT", "the two sets of rows cannot be compared"),
}
FIRST_METRICS, FIRST_REASONS = 4, 3  # that are named above everything else
FAILURES, ERRORS = ("regressed", "missed"), ("undecided", "nothing measured")
JUNIT = {**dict.fromkeys(FAILURES, "failure"), **dict.fromkeys(ERRORS, "error")}


def _percent(value: float) -> str:
    return f"{value:+z.2f} %"


NUMBERS = (
    Column("by", "kind"),
    Column("verdict"),
    Column("change", "change_percent", _percent),
    Column("at least", "lower_percent", _percent),
    Column("at most", "upper_percent", _percent),
    Column("margin", "margin_percent", lambda margin: f"±{margin:.3g} %"),
    Column("images", lambda of: len(of.images), "d"),
)


def tables(check: Check) -> list[Table]:
    """Return the verdicts with the numbers behind them, and the means at equal settings, if any."""
    result = []
    if check.findings:
        several = sum(finding.change_percent is not None for finding in check.findings)
        corrected = f"; verdicts are corrected for {several} of them (Holm)" if several > 1 else ""
        notes = (
            "Percent: of bits at equal quality (BD-rate), of the reference's mean value at equal "
            "rate (BD-metric). Positive is worse.",
            f"Each bound holds with {100 * check.confidence:g} % confidence if changes are hardly "
            f"skewed{corrected}.",
        )
        columns = (Column("codec", "label"), Column("metric", "metric_label"), *NUMBERS)
        result.append(Table.of(columns, check.findings, notes))
    if check.at_settings:
        names = dict.fromkeys((*METRICS, *DISTRIBUTION_METRICS, *check.named))
        values = check.at_settings[0].values
        metrics = [of for of in map(Metric.named, names) if of.column in values]
        means = [Column("codec", "label"), Column("setting"), Column("bpp", _rate, str)]
        means += [Column(of.label, partial(_moved, of), str) for of in metrics]
        note = "Means at equal settings, and how far they moved: not judged, since the rate moves."
        result.append(Table.of(means, check.at_settings, [note]))
    return result


def sentences(check: Check) -> list[str]:
    """Return the lines below the tables: caveats, reasons, worst images, those without a number."""
    result = caveat_lines(check)
    for codec in check.subjects:
        if codec.equal_images:
            inferred = [f for f in check.findings if f.label == codec.name and f.inferred]
            names = ", ".join(finding.metric_label for finding in inferred)
            result.append(
                f"equal: {codec.label}: {codec.equal_images} of {codec.images} images have the "
                "pixels and the number of bytes of the reference at every setting"
                + (f": {names} not computed on both sides, but cannot differ" if names else "")
            )
    reasons = by_key(((f.verdict, f.label, f.why), f.metric_label) for f in check.findings if f.why)
    for (verdict, label, why), metrics in reasons.items():
        result.append(f"{verdict}: {label}, {', '.join(metrics)}: {why}")
    for finding in check.findings:
        name = f"{finding.label}, {finding.metric_label}"
        worst = [f"{image} {by:+z.2f} %" for image, by in finding.worst if by > 0]
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


def caveat_lines(check: Check) -> list[str]:
    """Return a line for each difference of two codecs that is not one of quality."""
    return [f"caveat: {text}" for subject in check.subjects for text in subject.caveats]


def headline(check: Check) -> str:
    """Return one line: whether it passed, the verdict, and the metrics that led to it."""
    several = len(check.subjects) > 1
    due = [f"{of.label} {_brief(of)}" if several else _brief(of) for of in _due(check)]
    what = check.why or listed(due, FIRST_METRICS) or VERDICTS[check.verdict][2]
    by = "" if check.verdict == "undecided" else f" ({check.verdict})"
    return f"{VERDICTS[check.verdict][1]}{by}: {what}"


def first_lines(check: Check) -> list[str]:
    """Return the headline, what was compared, the first reasons, and what more there is.

    Each metric that was named (`--metrics`) has its line, whatever became of it.
    """
    reasons = subject_sentences(check)[:1]
    if (more := len(check.subjects) - 1) > 0:
        reasons[0] += f"; and {counted(more, 'codec')} more"
    due = _due(check)
    named = [of for of in check.findings if of.metric in check.named and of.kind != "limit"]
    for finding in (*due, *(of for of in named if of not in due)):
        if finding.change_percent is None or (finding.verdict == "equivalent" and not named):
            text = f"{VERDICTS[finding.verdict][2]}: {finding.why}" if finding.why else ""
        else:
            text = f"{_numbers(finding)}{f': {finding.why}' if finding.why else ''}"
            by_mean = finding.verdict == "regressed" and not finding.out_of_reach
            text += f"; worst {finding.worst[0].image}" if by_mean else ""
        if text:
            verdict = "" if finding in due else f"{finding.verdict}: "
            reasons.append(f"{finding.label}, {finding.metric_label}: {verdict}{text}")
    result = [headline(check), *(reasons if named else reasons[:FIRST_REASONS])]
    if check.findings:
        caveats = caveat_lines(check)
        noted = f" and {counted(len(caveats), 'caveat')}" if caveats else ""
        result.append(f"-v shows every metric, means at equal settings, worst images{noted}")
    return result


def _due(check: Check) -> list[Finding]:
    """Return the findings that the verdict is by: out of reach first, then the largest change."""
    due = [finding for finding in check.findings if finding.verdict == check.verdict]
    sign = -1 if check.verdict == "improved" else 1
    return sorted(due, key=lambda of: (not of.out_of_reach, -sign * (of.change_percent or 0)))


def _brief(finding: Finding) -> str:
    change = finding.change_percent
    name = finding.metric_label.removesuffix(" (dB)")
    # A change is without the images out of reach, by which the verdict is.
    return name if change is None or finding.out_of_reach else f"{name} {_percent(change)}"


def _numbers(finding: Finding) -> str:
    by, _, change, low, high, margin, images = (of.text(finding, NOTHING) for of in NUMBERS)
    ends, most = (finding.lower_percent, finding.upper_percent), finding.margin_percent or 0
    inside = all(end is not None and abs(end) < most for end in ends)
    short = finding.verdict == "undecided" and inside and not finding.unknown
    but = " (inside it, but not once corrected for several metrics and skew)" if short else ""
    return f"{by} {change} ({low} to {high}), margin {margin}{but}, {images} images"


def subject_sentences(check: Check) -> list[str]:
    """Return a sentence on each codec variant and its counterpart."""
    return [
        f"{of.label} ({short_version(of.version)}) against {of.reference_label} "
        f"({short_version(of.reference_version)}) of {check.reference}: "
        f"{counted(of.images, 'image')}, {counted(len(of.settings), 'setting')}"
        + (f", {of.identical} streams of the same bytes" if of.identical else "")
        for of in check.subjects
    ]


def check_markdown(check: Check) -> str:
    """Return the markdown of a comment: verdict first, details folded."""
    by = [finding for finding in check.findings if finding.verdict == check.verdict]
    names = [f"{finding.label} {finding.metric_label}" for finding in by]
    beyond = by[0].why if check.verdict == "regressed" and all(f.out_of_reach for f in by) else ""
    due = f" ({', '.join(names)})" if names and len(names) < len(check.findings) else ""
    meaning = f"{check.why or beyond or VERDICTS[check.verdict][2]}{due}."
    parts: list[Part] = [meaning, subject_sentences(check), *tables(check)[:1], sentences(check)]
    if more := tables(check)[1:]:
        parts.append(section("details", "Means at equal settings", *more, folded=True))
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
        numbers = "" if finding.change_percent is None else _numbers(finding)
        message = f"{finding.verdict}: {': '.join(filter(None, [numbers, finding.why]))}"
        text = "\n".join([message, *(f"{image} {by:+z.2f} %" for image, by in finding.worst)])
        if tag := JUNIT.get(finding.verdict):
            SubElement(case, tag, message=message, type=finding.verdict).text = text
        else:
            SubElement(case, "system-out").text = text
    for plural, tag in (("failures", "failure"), ("errors", "error")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    if caveats := caveat_lines(check):
        SubElement(suite, "system-out").text = "\n".join(caveats)
    indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suite, "unicode")}\n'


def _case(suite: Element, of: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=of.replace(".", "_"), name=name)


def _rate(at: AtSetting) -> str:
    before, after = at.bpp
    return f"{after:.4f} ({100 * (after / before - 1):+z.2f} %)"


def _moved(metric: Metric, at: AtSetting) -> str | None:
    was, now = at.values[metric.column]
    if was is None or now is None:
        return None
    form = f".{decimals(metric.label)}f"
    return f"{now:{form}} ({now - was:+z{form}})"
