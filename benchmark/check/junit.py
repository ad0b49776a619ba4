"""JUnit XML of a check, for continuous integration: one test case per metric.

A regression is a failure. A metric that is undecided, has no numbers or cannot be compared is an
error, since nobody knows. Seconds are skipped cases unless they are judged.
"""

from xml.etree import ElementTree

from benchmark.check.check import Check
from benchmark.check.verdict import Finding
from benchmark.check.verdict_table import caveat_lines, headline, numbers

ERRORS = ("undecided", "nothing measured")
SUITE = "bench check"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def junit_xml(check: Check) -> str:
    """Return the document, declaration included."""
    suite = ElementTree.Element("testsuite", name=SUITE)
    if not check.findings:
        case = _case(suite, check.name, "comparison")
        _outcome(case, "error", check.verdict, check.why or headline(check))
    for finding in check.findings:
        _add(suite, finding, judged=True)
    for finding in check.timing:
        if check.options.fail_on_timing or finding.verdict != "nothing measured":
            _add(suite, finding, judged=check.options.fail_on_timing)
    for plural, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    caveats = caveat_lines(check)
    if caveats:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(caveats)
    ElementTree.indent(suite)
    return f"{DECLARATION}\n{ElementTree.tostring(suite, 'unicode')}\n"


def _add(suite: ElementTree.Element, finding: Finding, judged: bool) -> None:
    case = _case(suite, finding.label, f"{finding.metric_label} {finding.kind}")
    text = ": ".join(part for part in (numbers(finding), finding.why) if part)
    worst = [f"{image} {percent:+.2f} %" for image, percent in finding.worst]
    details = "\n".join([f"{finding.verdict}: {text}", *worst])
    if not judged:
        _outcome(case, "skipped", "", f"not judged: {finding.verdict}: {text}")
    elif finding.verdict == "regressed":
        _outcome(case, "failure", finding.verdict, f"regressed: {text}", details)
    elif finding.verdict in ERRORS:
        _outcome(case, "error", finding.verdict, f"{finding.verdict}: {text}", details)
    else:
        ElementTree.SubElement(case, "system-out").text = details


def _case(suite: ElementTree.Element, of: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=of.replace(".", "_"), name=name)


def _outcome(
    case: ElementTree.Element, tag: str, kind: str, message: str, details: str = ""
) -> None:
    found = ElementTree.SubElement(case, tag, message=message)
    if kind:
        found.set("type", kind)
    found.text = details or None
