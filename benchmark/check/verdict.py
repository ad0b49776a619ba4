"""Check new rows against a reference: pair them, compute changes, and give a verdict.

docs/check.md explains the verdicts and their error rates. "not comparable" is a verdict, too, so
that nothing passes because it could not be compared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.answer import Absent, Answer
from benchmark.check import text
from benchmark.check.changes import COSTLY_RATIO, Change, changes
from benchmark.check.equivalence import MeanTests, claims, holm, images_needed
from benchmark.check.limits import parse_limits, parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.check.text import VERDICTS
from benchmark.compare.caveats import differences
from benchmark.compare.rule import USUAL_RULE, Form, Rule
from benchmark.metrics.metric import Metric, has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.edition import label_of

USUAL_METRICS = ("psnr", "ms_ssim", "lpips")
CONFIDENCE = 0.95  # over all metrics together, for each kind of claim
MAX_NAMED_IMAGES = 3
ROUNDING = 1e-12  # upper bound on the float error of 1 - .95
MARGIN_KEYS = {"BD-rate": "bd_rate", "BD-metric": "bd_metric"}  # by kind of change
# Verdicts by claim, of claims that pass
CLAIMS = {"equal": "equivalent", "better": "improved", "not_worse": "not worse"}
Finding = Mapping[str, Any]  # a change, or a limit, with its verdict; JSON values


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
    """Compare new rows with a reference image by image, and judge the changes.

    Parameters are the options of `bench check`. metrics: by default, those of `default_metrics`
    that the reference has. The answer's records are findings, one per codec variant and metric or
    limit; `code` is 0 for a pass, 1 for a regression, 3 for undecided, 4 without a verdict.
    """
    requested_metrics = metrics or default_metrics()
    limits, rule = parse_limits(require), Rule(bd=bd)
    limited_metrics = [limit.metric for limit in limits if limit.bpp is not None]
    names = [*dict.fromkeys((*requested_metrics, *limited_metrics))]
    set_names = new.name, reference.name
    try:
        pairs, notes = pair_up(reference, new, names, codec, reference_codec, common, allow_few)
    except NotComparable as error:
        return text.make_answer(*set_names, "not comparable", str(error), confidence, rule)
    all_changes: list[Change] = []
    for pair in pairs:
        # Only metrics of the reference; if new rows lack them, the finding is "nothing measured"
        count_values = pair.reference.count_values
        reference_metrics = [
            name for name in requested_metrics if count_values(metric_class(name).column)
        ]
        all_changes += [changes(pair, name, rule) for name in metrics or reference_metrics]
    known_metrics = {*(change.metric for change in all_changes), *DISTRIBUTION_METRICS}
    if absent_metrics := [name for name in requested_metrics if name not in known_metrics]:
        notes = (*notes, f"not judged: the reference has no {', '.join(absent_metrics)}")
    findings = judge(all_changes, parse_margins(margin), confidence)
    for pair in pairs:
        for limit in limits:
            is_met, sentence = limit.evaluate(pair.test, pair.rows)
            images = () if is_met is None else pair.images
            change = Change(pair.label, limit.metric, limit.text, "limit", images)
            verdict = "nothing measured" if is_met is None else "met" if is_met else "missed"
            findings.append(make_finding(change, verdict, sentence))
    subjects = [_describe_pair(pair, reference.name, new.name) for pair in pairs]
    verdict = overall_verdict(findings)
    return text.make_answer(*set_names, verdict, "", confidence, rule, subjects, findings, notes)


def default_metrics() -> tuple[str, ...]:
    """Return the default metrics: usual ones, and distribution metrics with influences."""
    influence_metrics = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL_METRICS, *influence_metrics)


def judge(
    all_changes: Sequence[Change], margins: Mapping[str, tuple[float, str]], confidence: float
) -> list[Finding]:
    """Return a finding for each change; all changes are one family for Holm's correction."""
    percent_margins = [_margin_percent(change, margins) for change in all_changes]
    tests = {
        index: MeanTests(change.percent)
        for index, change in enumerate(all_changes)
        if len(change.percent)
    }
    p_values = {index: claims(test, percent_margins[index]) for index, test in tests.items()}
    for claim in ("worse", *CLAIMS):
        corrected_p_values = holm([claim_values[claim] for claim_values in p_values.values()])
        for index, value in zip(p_values, corrected_p_values, strict=True):
            p_values[index][claim] = value
    alpha = 1 - confidence + ROUNDING
    level = (1 - confidence) / max(len(tests), 1)  # level of the first step of Holm's method
    findings = []
    for index, (change, percent_margin) in enumerate(
        zip(all_changes, percent_margins, strict=True)
    ):
        numbers: dict[str, Any] = {"margin_percent": percent_margin}
        if index in tests:
            verdict, reason, num_images = decide(
                change, tests[index], percent_margin, p_values[index], alpha, level
            )
            numbers |= _finding_numbers(change, tests[index], confidence)
            numbers |= {"p": p_values[index], "images_needed": num_images}
        else:
            verdict, reason = _judge_without_numbers(change)
        findings.append(make_finding(change, verdict, reason, **numbers))
    return findings


def overall_verdict(findings: Sequence[Finding]) -> str:
    """Return the first of `VERDICTS` that any finding has."""
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
    """Return a verdict, its reason and the number of images needed. p: corrected p-values."""
    if change.out_of_reach:
        return "regressed", _unreachable_text(change), None
    if p["worse"] <= alpha:
        return "regressed", "", None
    verdict = next((verdict for claim, verdict in CLAIMS.items() if p[claim] <= alpha), None)
    if verdict is None:
        return "undecided", *_undecided_reason(tests, margin, level)
    if unknown := change.unknown:
        images = _images_text([image.what for image in unknown])  # any of these may be the worst
        reason = f"the other images would pass, but {images} cannot be compared: {unknown[0].why}"
        return "undecided", reason, None
    return verdict, "", None


def _judge_without_numbers(change: Change) -> tuple[str, str]:
    if change.out_of_reach:
        return "regressed", _unreachable_text(change)
    if change.images_above and not change.unknown:
        images = _images_text(change.images_above)
        return "improved", f"on {images} the new curve lies completely above the reference"
    has_values = change.unknown or change.left_out  # values, but no curve to compare
    reason = change.no_number_reason or change.unknown[0].why
    return "undecided" if has_values else "nothing measured", reason


def _margin_percent(change: Change, margins: Mapping[str, tuple[float, str]]) -> float:
    default_margin = margins[MARGIN_KEYS[change.kind]]
    if change.in_units:
        default_margin = Metric.named(change.metric).margin or 0.0, ""
    value, unit = margins.get(change.metric, default_margin)
    return value if unit or not change.level else 100 * value / change.level


def _finding_numbers(change: Change, tests: MeanTests, confidence: float) -> dict[str, Any]:
    mean, percent = float(tests.mean[0]), change.percent
    lower, upper = (float(bound[0]) for bound in tests.bounds(confidence))
    worst_indices = np.argsort(-percent, kind="stable")[:MAX_NAMED_IMAGES].tolist()
    return {
        "change_percent": mean,
        # Each bound holds for this metric only, without correction
        "lower_percent": lower if math.isfinite(lower) else None,
        "upper_percent": upper if math.isfinite(upper) else None,
        "deviation_percent": float(tests.deviation[0]) if tests.images > 1 else None,
        "change": None if change.level is None else mean * change.unit,
        "worst": [
            {"image": change.images[index], "percent": float(percent[index])}
            for index in worst_indices
        ],
    }


def make_finding(change: Change, verdict: str, reason: str, /, **numbers: Any) -> Finding:
    """Return a finding; `change` of a BD-metric is in the metric's units, with sign."""
    number_names = ("margin", "change", "lower", "upper", "deviation")
    empty_fields = dict.fromkeys((*(f"{name}_percent" for name in number_names), "change", "p"))
    return {
        "label": change.label,
        "metric": change.metric,
        "metric_label": change.metric_label,
        "kind": change.kind,
        "images": len(change.images),
        # Unit of all `*_percent` fields; "": the unit of the metric
        "unit": "" if change.in_units else "%",
        "level": None if change.in_units else change.level,
        "out_of_reach": [*change.out_of_reach],
        "unknown": [*map(Absent._asdict, change.unknown)],
        "left_out": [*map(Absent._asdict, change.left_out)],
        "doubtful": change.doubtful,
        "inferred": change.inferred,
        "verdict": verdict,
        "why": reason,
        **empty_fields,
        "images_needed": None,
        "worst": [],
        **numbers,
    }


def _unreachable_text(change: Change) -> str:
    reason = "the new curve never reaches the reference's lowest quality, or needs"
    return f"on {_images_text(change.out_of_reach)} {reason} {COSTLY_RATIO:g} times the bits"


def _undecided_reason(tests: MeanTests, margin: float, level: float) -> tuple[str, int | None]:
    if tests.images < 2:
        return "a single image is too few for a verdict: measure more images", None
    if level < tests.min_p - ROUNDING:
        return "too many metrics for this confidence: reduce --metrics or --confidence", None
    num_images = images_needed(float(tests.mean[0]), float(tests.deviation[0]), margin, level)
    if num_images is None:
        return "the change lies at the margin, which no number of images can decide", None
    num_images = max(num_images, tests.images + 1)
    return f"about {num_images} images like these are needed", num_images


def _images_text(images: Sequence[str]) -> str:
    return images[0] if len(images) == 1 else f"{len(images)} images ({images[0]}, ...)"


def _describe_pair(pair: VariantPair, reference: str, new: str) -> dict[str, Any]:
    reference_edition, new_edition = (
        side.points[0].edition for side in (pair.reference, pair.test)
    )
    labels = names = label_of(new_edition.spec), label_of(reference_edition.spec)
    if labels[0] == labels[1]:
        names = f"{labels[0]} of {new}", f"{labels[1]} of {reference}"
    return {
        "label": labels[0],
        "version": new_edition.run_facts.version,
        "reference_label": labels[1],
        "reference_version": reference_edition.run_facts.version,
        "images": len(pair.images),
        "settings": [*map(str, sorted(point.setting for point in pair.test.points))],
        "name": pair.label,
        "equal_images": len(pair.identical_images),
        "protocols": dict(pair.test.protocols),
        "caveats": [*differences(new_edition, reference_edition, names)],
    }
