"""A check of new rows against a reference: what may be compared, how it changed, the verdict.

    >>> from pathlib import Path
    >>> from benchmark.compare.check.check import check
    >>> from benchmark.compare.check.row_sets import read_rows
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).exit_code == 0

Rows that cannot be compared are a verdict too, so that nothing passes for lack of a comparison. The
verdicts on changes within margins, one for each metric and one over all of them:

regressed          the mean change is above the margin, at the confidence asked for; or every point
                   of the reference is dominated on an image
improved           the mean change is below minus the margin
equivalent         the mean change is inside the margin
not worse          the mean change is below the margin, and may be an improvement
undecided          too few images to say, of which the finding says how many would be needed, or
                   curves that cannot be compared
nothing measured   there are no values to judge by
missed, met        an absolute limit that was asked for (`requirement`), by the mean alone

Each claim is corrected over all metrics and codec variants (Holm's method): the probability that
any metric is wrongly called regressed is at most 1 - confidence, and that any is wrongly called
equivalent if changes are hardly skewed (docs/check.md has the rates of others).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.compare.check.compare import (
    WIDE,
    AtSetting,
    Changes,
    UnjudgedImage,
    at_equal_settings,
    changes,
    time_changes,
)
from benchmark.compare.check.equivalence import Claims, MeanTests, claims, holm, images_needed
from benchmark.compare.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.compare.check.request import CheckRequest, Margin, parse_margins
from benchmark.compare.check.requirement import Requirement, judge_requirement, parse_requirements
from benchmark.metrics.metric import has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class, metric_named
from benchmark.rows.summary import caveats

Verdict = Literal[
    "regressed", "missed", "nothing measured", "undecided", "not worse", "improved", "equivalent",
    "met",
]  # fmt: skip

# The first of these that any metric has is the verdict over all.
EXIT_CODES: Mapping[Verdict, int] = {
    "regressed": 1,
    "missed": 1,
    "nothing measured": 4,
    "undecided": 3,
    "not worse": 0,
    "improved": 0,
    "equivalent": 0,
    "met": 0,
}
WORST = 3  # images that are named
ROUNDING = 1e-12  # 1 - .95 is a little less or more than .05
KEYS = {"BD-rate": "bd_rate", "BD-metric": "bd_metric", "ratio": "time"}
COPIED = (  # fields that a finding has of its changes
    "label", "metric_label", "kind", "level", "doubtful", "inferred", "out_of_reach", "unknown",
    "left_out",
)  # fmt: skip
CheckVerdict = Verdict | Literal["not comparable"]

USUAL = ("psnr", "ms_ssim", "lpips")
NOT_COMPARABLE = 4
LISTS = ("subjects", "findings", "timing", "notes", "required")


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
            return "regressed", _out_of_reach(self.changes), None
        if self.tests is None or p is None:
            return *_without_numbers(self.changes), None
        if p.worse <= alpha:
            return "regressed", "", None
        passed: Sequence[tuple[Verdict, float]] = (
            ("equivalent", p.equal), ("improved", p.better), ("not worse", p.not_worse)
        )  # fmt: skip
        verdict = next((verdict for verdict, value in passed if value <= alpha), None)
        if verdict is None:
            return "undecided", *_enough(self.tests, self.margin, self.level)
        if not unknown:
            return verdict, "", None
        which = _count([image.image for image in unknown])  # an unknown change may be the worst
        why = f"the others would pass, but {which} cannot be compared: {unknown[0].why}"
        return "undecided", why, None


def _without_numbers(changes: Changes) -> tuple[Verdict, str]:
    if changes.beyond and not changes.unknown:
        return "improved", f"on {_count(changes.beyond)} it lies wholly above the reference"
    compared = changes.unknown or changes.left_out  # there are values, and no curve to compare
    why = changes.nothing or changes.unknown[0].why
    return "undecided" if compared else "nothing measured", why


def _out_of_reach(changes: Changes) -> str:
    if below := [image for image in changes.out_of_reach if image not in changes.dominated]:
        return f"on {_count(below)} it never reaches the reference's lowest quality"
    return f"on {_count(changes.dominated)} every quality takes at least {WIDE:g} times the bits"


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


class ComparedCodec(NamedTuple):
    """A codec variant and its counterpart in the reference."""

    label: str
    version: str
    reference_label: str
    reference_version: str
    images: int
    settings: tuple[str, ...]
    identical: int  # cells whose streams have the same bytes on both sides
    name: str  # in findings: the label without weights
    equal_images: int  # images with the same pixels and number of bytes at every setting
    protocols: Mapping[str, str]
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A finished check: the verdict and the findings behind it."""

    name: str  # of the new rows
    reference: str
    verdict: CheckVerdict
    why: str  # the reason where nothing could be compared, else empty
    options: CheckRequest
    subjects: tuple[ComparedCodec, ...] = ()
    findings: tuple[Finding, ...] = ()
    timing: tuple[Finding, ...] = ()
    at_settings: tuple[AtSetting, ...] = ()
    notes: tuple[str, ...] = ()
    required: tuple[Finding, ...] = ()  # a finding for each variant and requirement

    @property
    def exit_code(self) -> int:
        """The exit code of `bench check`: 0 passed, 1 regressed, 3 undecided, 4 no verdict."""
        return NOT_COMPARABLE if self.verdict == "not comparable" else EXIT_CODES[self.verdict]

    @property
    def judged(self) -> tuple[Finding, ...]:
        """The findings that the verdict is over."""
        timing = self.timing if self.options.fail_on_timing else ()
        return (*self.findings, *timing, *self.required)

    def for_machines(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "why": self.why,
            "new": self.name,
            "reference": self.reference,
            "confidence": self.options.confidence,
            "timing_judged": self.options.fail_on_timing,
            "at_equal_settings": _flat(self.at_settings),
            **{name: _flat(getattr(self, name)) for name in LISTS},
        }


def check(reference: RowSet, new: RowSet, options: CheckRequest = CheckRequest()) -> Check:  # noqa: B008
    """Compare new rows with a reference, image by image, and judge the changes."""
    asked = options.metrics or judged_by_default()
    requirements = parse_requirements(options.require)
    of_values = [of.metric for of in requirements if of.bpp is not None]
    choice = (options.codec, options.reference_codec, options.common, options.allow_few)
    try:
        pairs, notes = pair_up(reference, new, [*dict.fromkeys((*asked, *of_values))], *choice)
    except NotComparable as why:
        return Check(new.name, reference.name, "not comparable", str(why), options)
    compared, times, at_settings, judged = [], [], [], set()
    for pair in pairs:
        values_of = pair.reference.summary.values_of
        # The reference has values of these; new rows without them are a finding: nothing measured.
        measured = tuple(name for name in asked if values_of(metric_named(name).column))
        names = options.metrics or measured
        judged |= {*names}
        compared += [changes(pair, name) for name in names]
        times += time_changes(pair)
        at_settings += at_equal_settings(pair, measured)
    if absent := [name for name in asked if name not in {*judged, *DISTRIBUTION_METRICS}]:
        notes = (*notes, f"not judged: the reference has no {', '.join(absent)}")
    margins = parse_margins(options.margin)
    findings, timing = (judge(of, margins, options.confidence) for of in (compared, times))
    required = tuple(_required(pair, of) for pair in pairs for of in requirements)
    verdict = overall([*findings, *(timing if options.fail_on_timing else []), *required])
    subjects = tuple(_compared_codec(pair, reference.name, new.name) for pair in pairs)
    lists = subjects, tuple(findings), tuple(timing), tuple(at_settings), notes, required
    return Check(new.name, reference.name, verdict, "", options, *lists)


def _required(pair: VariantPair, asked: Requirement) -> Finding:
    kept, why, images = judge_requirement(asked, pair.test)
    verdict: Verdict = "nothing measured" if kept is None else "met" if kept else "missed"
    return Finding(pair.label, asked.metric, asked.text, "limit", verdict, why, None, images)


def judged_by_default() -> tuple[str, ...]:
    """Return the metrics that are judged unless others are asked for.

    A distribution metric without influences cannot be judged, and is left to who names it.
    """
    of_sets = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL, *of_sets)


def _compared_codec(pair: VariantPair, reference: str, new: str) -> ComparedCodec:
    before, after = pair.reference, pair.test
    key = ["image_sha256", "setting_name", "setting_value", "stream_sha256"]
    identical = before.rows.select(key).join(after.rows.select(key), key)
    of_new, of_reference = (side.summary.points[0].edition for side in (after, before))
    names = after.label, before.label
    if after.label == before.label:
        names = f"{after.label} of {new}", f"{before.label} of {reference}"
    return ComparedCodec(
        after.label,
        after.version,
        before.label,
        before.version,
        len(pair.images),
        tuple(map(str, pair.settings)),
        identical.height,
        pair.label,
        len(pair.equal),
        after.summary.protocols,
        caveats(of_new, of_reference, names),
    )


def _flat(value: Any) -> Any:
    """Return records as dicts and tuples as lists, to any depth."""
    if hasattr(value, "_asdict"):
        return {name: _flat(field) for name, field in value._asdict().items()}
    return [*map(_flat, value)] if isinstance(value, tuple) else value
