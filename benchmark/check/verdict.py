"""Verdicts on changes within margins: one for each metric, and one over all of them.

regressed          the mean change is above the margin, at the confidence asked for
improved           the mean change is below minus the margin
equivalent         the mean change is inside the margin
undecided          too few images to say; the finding says how many would be needed
nothing measured   there are no numbers to judge by

Each of the three claims is corrected by itself over all metrics and codec variants (Holm's method):
the probability that any metric is wrongly called regressed is at most 1 - confidence, and likewise
for the other two, unless the changes of images are heavily skewed: then it is up to twice as large
(docs/checking.md).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.check.compare import Changes, UnjudgedImage
from benchmark.check.equivalence import Claims, MeanTests, claims, holm, images_needed
from benchmark.check.margin import METRIC, RATE, TIME, Margin

Verdict = Literal["regressed", "improved", "equivalent", "undecided", "nothing measured"]

EXIT_CODES: Mapping[Verdict, int] = {
    "equivalent": 0,
    "improved": 0,
    "regressed": 1,
    "undecided": 3,
    "nothing measured": 4,
}
# The first of these that any metric has is the verdict over all.
ORDER: tuple[Verdict, ...] = (
    "regressed",
    "nothing measured",
    "undecided",
    "improved",
    "equivalent",
)
WORST = 3  # images that are named
ROUNDING = 1e-12  # 1 - .95 is a little less or more than .05
KEYS = {"BD-rate": RATE, "BD-metric": METRIC, "ratio": TIME}


class WorstImage(NamedTuple):
    """An image and its change in percent; positive is worse."""

    image: str
    percent: float


class Finding(NamedTuple):
    """A verdict on one metric of one codec variant. Percent; positive is worse."""

    label: str  # of the codec variant
    metric: str  # in the registry, or a column of seconds
    metric_label: str
    kind: str  # "BD-rate", "BD-metric", "ratio"
    verdict: Verdict
    why: str  # a sentence; empty where the numbers say it
    margin_percent: float | None
    images: int  # in the mean
    change_percent: float | None = None
    lower_percent: float | None = None  # each bound holds at the confidence, this metric alone
    upper_percent: float | None = None
    deviation_percent: float | None = None  # of single images
    level: float | None = None  # the value that percent are of, for BD-metrics
    change: float | None = None  # for BD-metrics: in units of the metric, sign as measured
    p: Claims | None = None  # corrected
    images_needed: int | None = None  # of an undecided one
    worst: tuple[WorstImage, ...] = ()
    out_of_reach: tuple[str, ...] = ()
    unknown: tuple[UnjudgedImage, ...] = ()
    left_out: tuple[UnjudgedImage, ...] = ()
    doubtful: int = 0
    inferred: bool = False  # not computed on both sides; the pixels are equal


class LabelledChanges(NamedTuple):
    """The changes of a metric, with the label of the codec variant."""

    label: str
    changes: Changes


def judge(
    compared: Sequence[LabelledChanges], margins: Mapping[str, Margin], confidence: float
) -> list[Finding]:
    """Return a finding for each; all of them are one family for Holm's correction."""
    widths = [_width(one.changes, margins) for one in compared]
    tests = [MeanTests(c.percent) if len(c.percent) else None for _, c in compared]
    raw = {at: claims(one, widths[at]) for at, one in enumerate(tests) if one is not None}
    by_claim = [holm(p_values) for p_values in zip(*raw.values(), strict=True)]
    corrected = dict(zip(raw, map(Claims, *by_claim), strict=True)) if raw else {}
    level = (1 - confidence) / max(len(raw), 1)
    return [
        _finding(
            label,
            _JudgedMetric(changes, tests[at], widths[at], corrected.get(at), confidence, level),
        )
        for at, (label, changes) in enumerate(compared)
    ]


def overall(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over all metrics."""
    verdicts = {finding.verdict for finding in findings}
    return next((one for one in ORDER if one in verdicts), "nothing measured")


def _width(changes: Changes, margins: Mapping[str, Margin]) -> float:
    """Return the margin in percent."""
    margin = margins.get(changes.criterion.name) or margins[KEYS[changes.criterion.kind]]
    if margin.percent:
        return margin.value
    return 100 * margin.value / changes.level if changes.level else margin.value


class _JudgedMetric(NamedTuple):
    """Changes and tests of a metric, with all that its verdict follows from."""

    changes: Changes
    tests: MeanTests | None  # None without numbers
    margin: float  # percent
    p: Claims | None  # corrected
    confidence: float
    level: float  # of the first of Holm's steps


def _finding(label: str, case: _JudgedMetric) -> Finding:
    changes, tests, how = case.changes, case.tests, case.changes.criterion
    verdict, why, needed = _verdict(case)
    found = Finding(
        label,
        how.name,
        how.label,
        how.kind,
        verdict,
        why,
        case.margin,
        len(changes.images),
        out_of_reach=changes.out_of_reach,
        unknown=changes.unknown,
        left_out=changes.left_out,
        doubtful=changes.doubtful,
        inferred=changes.inferred,
        level=changes.level,
    )
    if tests is None:
        return found
    mean = float(tests.mean[0])
    lower, upper = (float(bound[0]) for bound in tests.bounds(case.confidence))
    order = np.argsort(-changes.percent, kind="stable")[:WORST].tolist()
    return found._replace(
        change_percent=mean,
        lower_percent=lower if math.isfinite(lower) else None,
        upper_percent=upper if math.isfinite(upper) else None,
        deviation_percent=float(tests.deviation[0]) if tests.images > 1 else None,
        change=None if changes.level is None else mean * changes.unit,
        p=case.p,
        images_needed=needed,
        worst=tuple(WorstImage(changes.images[at], float(changes.percent[at])) for at in order),
    )


class _Said(NamedTuple):
    verdict: Verdict
    why: str = ""
    images_needed: int | None = None


def _verdict(case: _JudgedMetric) -> _Said:
    changes, tests, p = case.changes, case.tests, case.p
    if changes.out_of_reach:
        which = _count(changes.out_of_reach)
        return _Said("regressed", f"on {which} it never reaches the reference's lowest quality")
    if tests is None or p is None:
        return _without_numbers(changes)
    alpha = 1 - case.confidence + ROUNDING
    if p.worse <= alpha:
        return _Said("regressed")
    if min(p.equal, p.better) > alpha:
        return _undecided(tests, case)
    if changes.unknown:  # an unknown change may be the worst
        which = _count([one.image for one in changes.unknown])
        why = changes.unknown[0].why
        return _Said("undecided", f"the others would pass, but {which} cannot be compared: {why}")
    return _Said("equivalent" if p.equal <= alpha else "improved")


def _without_numbers(changes: Changes) -> _Said:
    if changes.beyond and not changes.unknown:
        which = _count(changes.beyond)
        return _Said("improved", f"on {which} it lies wholly above the reference")
    return _Said("nothing measured", changes.nothing or changes.unknown[0].why)


def _undecided(tests: MeanTests, case: _JudgedMetric) -> _Said:
    if tests.images < 2:
        return _Said("undecided", "one image says nothing of the next: measure more")
    mean, deviation = float(tests.mean[0]), float(tests.deviation[0])
    needed = images_needed(mean, deviation, case.margin, case.level)
    if needed is None:
        return _Said("undecided", "the change lies at the margin: no number of images is enough")
    needed = max(needed, tests.images + 1)
    return _Said("undecided", f"about {needed} images like these would be needed", needed)


def _count(images: Sequence[str]) -> str:
    return images[0] if len(images) == 1 else f"{len(images)} images ({images[0]}, ...)"
