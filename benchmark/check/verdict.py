"""A check of new rows against a reference: what may be compared, how it changed, the verdict.

    >>> from pathlib import Path
    >>> from benchmark.check.row_sets import read_rows
    >>> from benchmark.check.verdict import check
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).code == 0

docs/check.md says what the verdicts mean, and how often each is wrong. Rows that cannot be compared
are one, too, so that nothing passes for lack of a comparison.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.answer import Absent, Answer
from benchmark.check import text
from benchmark.check.changes import WIDE, Change, changes
from benchmark.check.equivalence import MeanTests, claims, holm, images_needed
from benchmark.check.limits import parse_limits, parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.check.text import VERDICTS
from benchmark.compare.caveats import differences
from benchmark.compare.rule import USUAL_RULE, Form, Rule
from benchmark.metrics.metric import has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import label_of

USUAL = ("psnr", "ms_ssim", "lpips")
CONFIDENCE = 0.95  # of each kind of claim, over all metrics
WORST = 3  # images that are named
ROUNDING = 1e-12  # 1 - .95 is a little less or more than .05
KEYS = {"BD-rate": "bd_rate", "BD-metric": "bd_metric"}  # of margins
CLAIMS = {"equal": "equivalent", "better": "improved", "not_worse": "not worse"}  # that pass
Finding = Mapping[str, Any]  # a change or limit with its verdict, JSON values: `_finding`


def check(
    reference: RowSet,
    new: RowSet,
    metrics: Sequence[str] = (),
    *,
    codec: str = "",
    reference_codec: str = "",
    margin: str = "",
    confidence: float = CONFIDENCE,
    require: Sequence[str] = (),
    common: bool = False,
    allow_few: bool = False,
    bd: Form = USUAL_RULE.bd,
) -> Answer:
    """Compare new rows with a reference, image by image, and judge the changes.

    A record of the answer is a finding: of a codec variant in a metric, or on a limit. `code` is 0
    for rows that pass, 1 for a regression, 3 for an undecided check, 4 without a verdict; `facts`
    has the verdict in words, and what was compared. metrics: names; by default those of
    `judged_by_default` that the reference has. Others are the options of `bench check`.
    """
    asked, limits, rule = metrics or judged_by_default(), parse_limits(require), Rule(bd=bd)
    names = [*dict.fromkeys((*asked, *(of.metric for of in limits if of.bpp is not None)))]
    try:
        pairs, notes = pair_up(reference, new, names, codec, reference_codec, common, allow_few)
    except NotComparable as why:
        return text.answer(new.name, reference.name, "not comparable", str(why), confidence, rule)
    compared: list[Change] = []
    for pair in pairs:
        # The reference has values of these; new rows without them are a finding: nothing measured.
        values_of = pair.reference.values_of
        measured = [name for name in asked if values_of(metric_class(name).column)]
        compared += [changes(pair, name, rule) for name in metrics or measured]
    known = {*(of.metric for of in compared), *DISTRIBUTION_METRICS}
    if absent := [name for name in asked if name not in known]:
        notes = (*notes, f"not judged: the reference has no {', '.join(absent)}")
    findings = judge(compared, parse_margins(margin), confidence)
    for pair in pairs:
        for limit in limits:
            kept, why_kept = limit.kept_by(pair.test, pair.rows)
            images = () if kept is None else pair.images
            of = Change(pair.label, limit.metric, limit.text, "limit", images)
            verdict = "nothing measured" if kept is None else "met" if kept else "missed"
            findings.append(_finding(of, verdict, why_kept))
    subjects = [_subject(pair, reference.name, new.name) for pair in pairs]
    verdict = overall(findings)
    return text.answer(
        new.name, reference.name, verdict, "", confidence, rule, subjects, findings, notes
    )


def judged_by_default() -> tuple[str, ...]:
    """Return the metrics that are judged unless others are asked for.

    A distribution metric without influences cannot be judged, and is left to who names it.
    """
    of_sets = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL, *of_sets)


def judge(
    compared: Sequence[Change], margins: Mapping[str, tuple[float, str]], confidence: float
) -> list[Finding]:
    """Return a finding for each change; all of them are one family for Holm's correction."""
    widths = [_width(of, margins) for of in compared]
    tests = {at: MeanTests(of.percent) for at, of in enumerate(compared) if len(of.percent)}
    p_values = {at: claims(test, widths[at]) for at, test in tests.items()}
    for claim in ("worse", *CLAIMS):
        corrected = holm([of[claim] for of in p_values.values()])
        for at, value in zip(p_values, corrected, strict=True):
            p_values[at][claim] = value
    alpha = 1 - confidence + ROUNDING
    level = (1 - confidence) / max(len(tests), 1)  # of the first of Holm's steps
    findings = []
    for at, (of, width) in enumerate(zip(compared, widths, strict=True)):
        numbers: dict[str, Any] = {"margin_percent": width}
        if at in tests:
            verdict, why, needed = decide(of, tests[at], width, p_values[at], alpha, level)
            numbers |= _numbers(of, tests[at], confidence)
            numbers |= {"p": p_values[at], "images_needed": needed}
        else:
            verdict, why = _without_numbers(of)
        findings.append(_finding(of, verdict, why, **numbers))
    return findings


def overall(findings: Sequence[Finding]) -> str:
    """Return the verdict over all findings: the first of `VERDICTS` that any has."""
    verdicts = {finding["verdict"] for finding in findings}
    return next((verdict for verdict in VERDICTS if verdict in verdicts), "nothing measured")


def decide(
    change: Change,
    tests: MeanTests,
    margin: float,
    p: Mapping[str, float],
    alpha: float,
    level: float,
) -> tuple[str, str, int | None]:
    """Return a verdict, a sentence on it, and the number of images that would decide it.

    p: corrected for all metrics, as `alpha` is over them; level: of a single test.
    """
    if change.out_of_reach:
        return "regressed", _out_of_reach(change), None
    if p["worse"] <= alpha:
        return "regressed", "", None
    verdict = next((verdict for claim, verdict in CLAIMS.items() if p[claim] <= alpha), None)
    if verdict is None:
        return "undecided", *_enough(tests, margin, level)
    if unknown := change.unknown:
        which = _count([image.what for image in unknown])  # an unknown change may be the worst
        why = f"the others would pass, but {which} cannot be compared: {unknown[0].why}"
        return "undecided", why, None
    return verdict, "", None


def _without_numbers(change: Change) -> tuple[str, str]:
    if change.out_of_reach:
        return "regressed", _out_of_reach(change)
    if change.beyond and not change.unknown:
        return "improved", f"on {_count(change.beyond)} it lies wholly above the reference"
    compared = change.unknown or change.left_out  # there are values, and no curve to compare
    why = change.nothing or change.unknown[0].why
    return "undecided" if compared else "nothing measured", why


def _width(change: Change, margins: Mapping[str, tuple[float, str]]) -> float:
    value, unit = margins.get(change.metric) or margins[KEYS[change.kind]]
    return value if unit or not change.level else 100 * value / change.level


def _numbers(change: Change, tests: MeanTests, confidence: float) -> dict[str, Any]:
    mean, percent = float(tests.mean[0]), change.percent
    lower, upper = (float(bound[0]) for bound in tests.bounds(confidence))
    order = np.argsort(-percent, kind="stable")[:WORST].tolist()
    return {
        "change_percent": mean,
        # Each bound holds at the confidence, for this metric alone
        "lower_percent": lower if math.isfinite(lower) else None,
        "upper_percent": upper if math.isfinite(upper) else None,
        "deviation_percent": float(tests.deviation[0]) if tests.images > 1 else None,
        "change": None if change.level is None else mean * change.unit,
        "worst": [{"image": change.images[at], "percent": float(percent[at])} for at in order],
    }


def _finding(of: Change, verdict: str, why: str, **judged: Any) -> Finding:
    """Return a finding; why: a sentence, empty where the numbers say it.

    Of images: `change_percent` is their mean change, `deviation_percent` that of single ones. For
    BD-metrics `change` is in units of the metric, its sign as measured. `p` is corrected.
    """
    numbers = ("margin", "change", "lower", "upper", "deviation")
    empty = dict.fromkeys((*(f"{name}_percent" for name in numbers), "change", "p"))
    return {
        "label": of.label,
        "metric": of.metric,
        "metric_label": of.metric_label,
        "kind": of.kind,
        "images": len(of.images),
        "level": of.level,
        "out_of_reach": [*of.out_of_reach],
        "unknown": [*map(Absent._asdict, of.unknown)],
        "left_out": [*map(Absent._asdict, of.left_out)],
        "doubtful": of.doubtful,
        "inferred": of.inferred,
        "verdict": verdict,
        "why": why,
        **empty,
        "images_needed": None,
        "worst": [],
        **judged,
    }


def _out_of_reach(change: Change) -> str:
    below = f"it never reaches the reference's lowest quality, or takes {WIDE:g} times the bits"
    return f"on {_count(change.out_of_reach)} {below}"


def _enough(tests: MeanTests, margin: float, level: float) -> tuple[str, int | None]:
    if tests.images < 2:
        return "one image says nothing of the next: measure more", None
    if level < tests.least_p - ROUNDING:
        return "nothing is this sure of so many metrics: judge fewer, or lower --confidence", None
    needed = images_needed(float(tests.mean[0]), float(tests.deviation[0]), margin, level)
    if needed is None:
        return "the change lies at the margin: no number of images is enough", None
    needed = max(needed, tests.images + 1)
    return f"about {needed} images like these would be needed", needed


def _count(images: Sequence[str]) -> str:
    return images[0] if len(images) == 1 else f"{len(images)} images ({images[0]}, ...)"


def _subject(pair: VariantPair, reference: str, new: str) -> dict[str, Any]:
    """Return what is said of a pair, as JSON values.

    equal_images: images with the same pixels and number of bytes at every setting; name: in
    findings, the label without weights.
    """
    before, after = (side.points[0].edition for side in (pair.reference, pair.test))
    labels = names = label_of(after.spec), label_of(before.spec)
    if labels[0] == labels[1]:
        names = f"{labels[0]} of {new}", f"{labels[1]} of {reference}"
    return {
        "label": labels[0],
        "version": after.ran.version,
        "reference_label": labels[1],
        "reference_version": before.ran.version,
        "images": len(pair.images),
        "settings": [*map(str, sorted(point.setting for point in pair.test.points))],
        "name": pair.label,
        "equal_images": len(pair.equal),
        "protocols": dict(pair.test.protocols),
        "caveats": [*differences(after, before, names)],
    }
