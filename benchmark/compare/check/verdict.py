"""Verdicts on changes within margins: one for each metric, and one over all of them.

regressed          the mean change is above the margin, at the confidence asked for
improved           the mean change is below minus the margin
equivalent         the mean change is inside the margin
undecided          too few images to say; the finding says how many would be needed
nothing measured   there are no numbers to judge by

Each claim is corrected over all metrics and codec variants (Holm's method): the probability that
any metric is wrongly called regressed is at most 1 - confidence, and that any is wrongly called
equivalent if changes are hardly skewed (`equivalence.ERROR_RATES` has those of others).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.compare.check.compare import Changes, UnjudgedImage
from benchmark.compare.check.equivalence import Claims, MeanTests, claims, holm, images_needed
from benchmark.compare.check.request import Margin

Verdict = Literal["regressed", "improved", "equivalent", "undecided", "nothing measured"]

# The first of these that any metric has is the verdict over all.
EXIT_CODES: Mapping[Verdict, int] = {
    "regressed": 1,
    "nothing measured": 4,
    "undecided": 3,
    "improved": 0,
    "equivalent": 0,
}
WORST = 3  # images that are named
ROUNDING = 1e-12  # 1 - .95 is a little less or more than .05
KEYS = {"BD-rate": "bd_rate", "BD-metric": "bd_metric", "ratio": "time"}
COPIED = (  # fields that a finding has of its changes
    "label", "metric_label", "kind", "level", "doubtful", "inferred", "out_of_reach", "unknown",
    "left_out",
)  # fmt: skip


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


def judge(
    compared: Sequence[Changes], margins: Mapping[str, Margin], confidence: float
) -> list[Finding]:
    """Return a finding for each; all of them are one family for Holm's correction."""
    widths = [_width(changes, margins) for changes in compared]
    tests = [MeanTests(changes.percent) if len(changes.percent) else None for changes in compared]
    raw = {at: claims(test, widths[at]) for at, test in enumerate(tests) if test is not None}
    by_claim = [holm(p_values) for p_values in zip(*raw.values(), strict=True)]
    corrected = dict(zip(raw, map(Claims, *by_claim), strict=True)) if raw else {}
    level = (1 - confidence) / max(len(raw), 1)  # of the first of Holm's steps
    return [
        _Judged(changes, tests[at], widths[at], corrected.get(at), confidence, level).finding()
        for at, changes in enumerate(compared)
    ]


def overall(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over all metrics."""
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in EXIT_CODES if verdict in verdicts), "nothing measured")


def _width(changes: Changes, margins: Mapping[str, Margin]) -> float:
    margin = margins.get(changes.name) or margins[KEYS[changes.kind]]
    if margin.percent or not changes.level:
        return margin.value
    return 100 * margin.value / changes.level


class _Judged(NamedTuple):
    """Changes with their tests: p-values corrected for all metrics, `level` of a single test."""

    changes: Changes
    tests: MeanTests | None
    margin: float
    p: Claims | None
    confidence: float
    level: float

    def finding(self) -> Finding:
        """Return the verdict and the numbers behind it."""
        changes, tests = self.changes, self.tests
        verdict, why, needed = self.verdict()
        numbers: dict[str, Any] = {}
        if tests is not None:
            mean, percent = float(tests.mean[0]), changes.percent
            lower, upper = (float(bound[0]) for bound in tests.bounds(self.confidence))
            order = np.argsort(-percent, kind="stable")[:WORST].tolist()
            numbers = {
                "change_percent": mean,
                "lower_percent": lower if math.isfinite(lower) else None,
                "upper_percent": upper if math.isfinite(upper) else None,
                "deviation_percent": float(tests.deviation[0]) if tests.images > 1 else None,
                "change": None if changes.level is None else mean * changes.unit,
                "p": self.p,
                "images_needed": needed,
                "worst": tuple(WorstImage(changes.images[at], float(percent[at])) for at in order),
            }
        return Finding(
            **{name: getattr(changes, name) for name in COPIED},
            **numbers,
            metric=changes.name,
            verdict=verdict,
            why=why,
            margin_percent=self.margin,
            images=len(changes.images),
        )

    def verdict(self) -> tuple[Verdict, str, int | None]:
        """Return a verdict, a sentence on it, and the number of images that would decide it."""
        p, unknown, alpha = self.p, self.changes.unknown, 1 - self.confidence + ROUNDING
        if self.changes.out_of_reach:
            which = _count(self.changes.out_of_reach)
            return "regressed", f"on {which} it never reaches the reference's lowest quality", None
        if self.tests is None or p is None:
            return *_without_numbers(self.changes), None
        if p.worse <= alpha:
            return "regressed", "", None
        if min(p.equal, p.better) > alpha:
            return "undecided", *_enough(self.tests, self.margin, self.level)
        if not unknown:
            return "equivalent" if p.equal <= alpha else "improved", "", None
        which = _count([image.image for image in unknown])  # an unknown change may be the worst
        why = f"the others would pass, but {which} cannot be compared: {unknown[0].why}"
        return "undecided", why, None


def _without_numbers(changes: Changes) -> tuple[Verdict, str]:
    if changes.beyond and not changes.unknown:
        return "improved", f"on {_count(changes.beyond)} it lies wholly above the reference"
    return "nothing measured", changes.nothing or changes.unknown[0].why


def _enough(tests: MeanTests, margin: float, level: float) -> tuple[str, int | None]:
    if tests.images < 2:
        return "one image says nothing of the next: measure more", None
    needed = images_needed(float(tests.mean[0]), float(tests.deviation[0]), margin, level)
    if needed is None:
        return "the change lies at the margin: no number of images is enough", None
    needed = max(needed, tests.images + 1)
    return f"about {needed} images like these would be needed", needed


def _count(images: Sequence[str]) -> str:
    return images[0] if len(images) == 1 else f"{len(images)} images ({images[0]}, ...)"
