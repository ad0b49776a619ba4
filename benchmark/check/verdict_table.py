"""A check for people to read: tables, sentences, and markdown for a pull request."""

from collections.abc import Sequence

from benchmark.check.check import Check
from benchmark.check.compare import AtSetting
from benchmark.check.verdict import Finding
from benchmark.figures.table import NOTHING, Table, markdown
from benchmark.metrics.measure import Measure
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_class

SIGNS = {
    "regressed": "❌", "improved": "✅", "equivalent": "✅", "undecided": "❔",
    "nothing measured": "⚠️", "not comparable": "⚠️",
}  # fmt: skip
MEANING = {
    "regressed": "worse by more than the margin",
    "improved": "better by more than the margin",
    "equivalent": "every change is inside its margin",
    "undecided": "too few images to say",
    "nothing measured": "something that was to be judged has no numbers",
    "not comparable": "the two sets of rows cannot be compared",
}
SHOWN_IMAGES = 3


def findings_table(check: Check) -> Table:
    """Return the verdicts and the numbers behind them, one row per codec variant and metric."""
    several = len(check.findings)
    percent = f"{100 * check.options.confidence:g} %"
    headers = ("codec", "metric", "by", "verdict", "change", "at least", "at most", "margin")
    notes = [
        "Percent: of bits at equal quality (BD-rate), of the reference's mean value at equal rate "
        "(BD-metric). Positive is worse.",
        f"Each bound holds with {percent} confidence"
        + (f"; verdicts are corrected for {several} of them (Holm)." if several > 1 else "."),
    ]
    return Table((*headers, "images"), tuple(map(_finding_row, check.findings)), 4, tuple(notes))


def timing_table(check: Check) -> Table | None:
    """Return the findings on seconds; None where nothing was timed on both sides."""
    rows = [_finding_row(one) for one in check.timing if one.verdict != "nothing measured"]
    if not rows:
        return None
    judged = "judged" if check.options.fail_on_timing else "reported, not judged"
    headers = ("codec", "seconds", "by", "verdict", "change", "at least", "at most", "margin")
    notes = (f"Seconds of images timed alone on one machine, pair by pair; {judged}.",)
    return Table((*headers, "images"), tuple(rows), 4, notes)


def settings_table(check: Check) -> Table | None:
    """Return the means at equal settings, and by how much they moved; None for none."""
    if not check.at_settings:
        return None
    measures = [
        Measure.named(name)
        for name in dict.fromkeys((*METRICS, *DISTRIBUTION_METRICS, *check.options.metrics))
        if metric_class(name).column in check.at_settings[0].values
    ]
    headers = ["codec", "setting", "bpp", *(measure.label for measure in measures)]
    rows = tuple(_setting_row(one, measures) for one in check.at_settings)
    note = "Means at equal settings, and by how much they moved: not judged, since the rate moves."
    return Table(tuple(headers), rows, 2, (note,))


def sentences(check: Check) -> list[str]:
    """Return the lines below the tables: caveats, reasons, worst images, those without a number."""
    found = [*caveat_lines(check), *_equal_pixels(check)]
    judged = [*check.findings, *(check.timing if check.options.fail_on_timing else ())]
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in judged:
        if one.why:
            reasons.setdefault((f"{one.verdict}: {one.label}", one.why), []).append(
                one.metric_label
            )
    found += [f"{what}, {', '.join(labels)}: {why}" for (what, why), labels in reasons.items()]
    for one in judged:
        name = f"{one.label}, {one.metric_label}"
        if one.worst and one.worst[0].percent > 0:
            worst = ", ".join(f"{image} {by:+.2f} %" for image, by in one.worst if by > 0)
            found.append(f"worst images: {name}: {worst}")
        if one.out_of_reach:
            found.append(f"out of reach: {name}: {_listed(one.out_of_reach)}")
        for what, left in (("not judged", one.left_out), ("no curve", one.unknown)):
            if left and one.verdict != "nothing measured":
                images = _listed([image for image, _ in left])
                found.append(f"{what}: {name}: {images}: {left[0].why}")
        if one.doubtful:
            found.append(f"doubtful: {name}: curves of {one.doubtful} images hardly overlap")
    return [*found, *check.notes]


def _equal_pixels(check: Check) -> list[str]:
    """Return a line on each codec variant of which images have the reference's pixels and bytes."""
    found = []
    for one in check.subjects:
        if not one.equal_images:
            continue
        line = (
            f"equal: {one.label}: {one.equal_images} of {one.images} images have the pixels and "
            "the number of bytes of the reference at every setting"
        )
        names = [f.metric_label for f in check.findings if f.label == one.name and f.inferred]
        if names:
            line += f": {', '.join(names)} not computed on both sides, but cannot differ"
        found.append(line)
    return found


def caveat_lines(check: Check) -> list[str]:
    """Return a line for each difference of two codecs that is not one of quality."""
    return [f"caveat: {text}" for one in check.subjects for text in one.caveats]


def headline(check: Check) -> str:
    """Return one line: the verdict, what it means, and the metrics that led to it."""
    due = _due(check)
    return f"verdict: {check.verdict}: {check.why or MEANING[check.verdict]}{due}"


def subjects(check: Check) -> list[str]:
    """Return a sentence on each codec variant and its counterpart."""
    return [
        f"{one.label} ({_short(one.version)}) against {one.reference_label} "
        f"({_short(one.reference_version)}) of {check.reference}: {one.images} images, "
        f"{len(one.settings)} settings"
        + (f", {one.identical} streams of the same bytes" if one.identical else "")
        for one in check.subjects
    ]


def check_markdown(check: Check, title: str = "bench check") -> str:
    """Return the markdown of a comment: verdict first, details folded."""
    lines = [f"### {SIGNS[check.verdict]} {title}: {check.verdict}", ""]
    lines += [(check.why or MEANING[check.verdict]) + _due(check) + ".", ""]
    lines += [f"- {one}" for one in subjects(check)]
    if check.findings:
        lines += ["", markdown(findings_table(check))]
    lines += [f"- {sentence}" for sentence in sentences(check)]
    details = [table for table in (timing_table(check), settings_table(check)) if table]
    if details:
        lines += ["", "<details><summary>Seconds, and means at equal settings</summary>", ""]
        for table in details:
            lines += [markdown(table)]
        lines += ["</details>"]
    return "\n".join(lines).rstrip() + "\n"


def numbers(finding: Finding) -> str:
    """Return the numbers behind a verdict in one line; empty for none."""
    if finding.change_percent is None:
        return ""
    _, _, by, _, change, low, high, margin, images = _finding_row(finding)
    return f"{by} {change} ({low} to {high}), margin {margin}, {images} images"


def _due(check: Check) -> str:
    judged = [*check.findings, *(check.timing if check.options.fail_on_timing else ())]
    names = [f"{f.label} {f.metric_label}" for f in judged if f.verdict == check.verdict]
    return f" ({', '.join(names)})" if names and len(names) < len(judged) else ""


def _finding_row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.label,
        finding.metric_label,
        finding.kind,
        finding.verdict,
        _percent(finding.change_percent),
        _percent(finding.lower_percent),
        _percent(finding.upper_percent),
        NOTHING if finding.margin_percent is None else f"±{finding.margin_percent:.3g} %",
        str(finding.images),
    )


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f} %"


def _setting_row(at: AtSetting, measures: Sequence[Measure]) -> tuple[str, ...]:
    before, after = at.bpp
    cells = [at.label, at.setting, f"{after:.4f} ({100 * (after / before - 1):+.2f} %)"]
    for measure in measures:
        was, now = at.values[measure.column]
        decimals = 2 if "dB" in measure.label else 4
        if was is None or now is None:
            cells.append(NOTHING)
        else:
            cells.append(f"{now:.{decimals}f} ({now - was:+.{decimals}f})")
    return tuple(cells)


def _short(version: str) -> str:
    """Shorten a version; of a checkpoint, digest and steps remain."""
    return version.partition(";")[0].partition(", ")[0]


def _listed(images: Sequence[str]) -> str:
    rest = len(images) - SHOWN_IMAGES
    return ", ".join(images[:SHOWN_IMAGES]) + (f" and {rest} more" if rest > 0 else "")
