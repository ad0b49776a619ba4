"""A check of new rows against a reference: what may be compared, how it changed, the verdict.

    >>> from pathlib import Path
    >>> from benchmark.check.row_sets import read_rows
    >>> from benchmark.check.verdict import check
    >>> def passes(reference: Path, new: Path) -> bool:
    ...     return check(read_rows(reference), read_rows(new)).exit_code == 0

docs/check.md says what the verdicts mean, and how often each is wrong. Rows that cannot be compared
are one, too, so that nothing passes for lack of a comparison.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.check.changes import (
    WIDE,
    Finding,
    Verdict,
    WorstImage,
    changes,
)
from benchmark.check.equivalence import Claims, MeanTests, claims, holm, images_needed
from benchmark.check.limits import Limit, Margin, parse_limits, parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up
from benchmark.metrics.metric import has_influence
from benchmark.registry import DISTRIBUTION_METRICS, metric_class, metric_named
from benchmark.rows.summary import caveats

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
    "not comparable": 4,
}
USUAL = ("psnr", "ms_ssim", "lpips")
CONFIDENCE = 0.95  # of each kind of claim, over all metrics
WORST = 3  # images that are named
ROUNDING = 1e-12  # 1 - .95 is a little less or more than .05
KEYS = {"BD-rate": "bd_rate", "BD-metric": "bd_metric"}  # of margins
Subject = Mapping[str, Any]  # of a codec variant and its counterpart: `_subject`


@dataclass(frozen=True, slots=True)
class Check:
    """A finished check: the verdict and the findings behind it."""

    new: str  # name of the rows
    reference: str
    verdict: Verdict
    why: str = ""  # the reason where nothing could be compared
    confidence: float = CONFIDENCE
    subjects: tuple[Subject, ...] = ()
    findings: tuple[Finding, ...] = ()  # on metrics, then limits
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of `bench check`: 0 passed, 1 regressed, 3 undecided, 4 no verdict."""
        return EXIT_CODES[self.verdict]


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
) -> Check:
    """Compare new rows with a reference, image by image, and judge the changes.

    metrics: names; by default those of `judged_by_default` that the reference has. Others are the
    options of `bench check`.
    """
    asked, limits = metrics or judged_by_default(), parse_limits(require)
    names = [*dict.fromkeys((*asked, *(of.metric for of in limits if of.bpp is not None)))]
    try:
        pairs, notes = pair_up(reference, new, names, codec, reference_codec, common, allow_few)
    except NotComparable as why:
        return Check(new.name, reference.name, "not comparable", str(why), confidence)
    compared: list[Finding] = []
    for pair in pairs:
        values_of = pair.reference.summary.values_of
        # The reference has values of these; new rows without them are a finding: nothing measured.
        measured = tuple(name for name in asked if values_of(metric_named(name).column))
        compared += [changes(pair, name) for name in metrics or measured]
    known = {*(of.metric for of in compared), *DISTRIBUTION_METRICS}
    if absent := [name for name in asked if name not in known]:
        notes = (*notes, f"not judged: the reference has no {', '.join(absent)}")
    findings = judge(compared, parse_margins(margin), confidence)
    findings += [_limited(pair, of) for pair in pairs for of in limits]
    subjects = tuple(_subject(pair, reference.name, new.name) for pair in pairs)
    verdict = overall(findings)
    of = "", confidence, subjects, tuple(findings), notes
    return Check(new.name, reference.name, verdict, *of)


def judged_by_default() -> tuple[str, ...]:
    """Return the metrics that are judged unless others are asked for.

    A distribution metric without influences cannot be judged, and is left to who names it.
    """
    of_sets = (name for name in DISTRIBUTION_METRICS if has_influence(metric_class(name)))
    return (*USUAL, *of_sets)


def judge(
    compared: Sequence[Finding], margins: Mapping[str, Margin], confidence: float
) -> list[Finding]:
    """Return the findings with verdicts; all of them are one family for Holm's correction."""
    widths = [_width(of, margins) for of in compared]
    tests = [MeanTests(of.percent) if len(of.percent) else None for of in compared]
    raw = {at: claims(test, widths[at]) for at, test in enumerate(tests) if test is not None}
    by_claim = [holm(p_values) for p_values in zip(*raw.values(), strict=True)]
    corrected = dict(zip(raw, map(Claims, *by_claim), strict=True)) if raw else {}
    alpha = 1 - confidence + ROUNDING
    level = (1 - confidence) / max(len(raw), 1)  # of the first of Holm's steps
    result = []
    for at, (of, test, width) in enumerate(zip(compared, tests, widths, strict=True)):
        p = corrected.get(at)
        if test is None or p is None:
            verdict, why, needed, numbers = *_without_numbers(of), None, {}
        else:
            verdict, why, needed = decide(of, test, width, p, alpha, level)
            numbers = _numbers(of, test, confidence)
        facts = {"verdict": verdict, "why": why, "margin_percent": width, "p": p, **numbers}
        result.append(replace(of, images_needed=needed, **facts))
    return result


def overall(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over all findings."""
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in EXIT_CODES if verdict in verdicts), "nothing measured")


def decide(
    changes: Finding, tests: MeanTests, margin: float, p: Claims, alpha: float, level: float
) -> tuple[Verdict, str, int | None]:
    """Return a verdict, a sentence on it, and the number of images that would decide it.

    p: corrected for all metrics, as `alpha` is over them; level: of a single test.
    """
    if changes.out_of_reach:
        return "regressed", _out_of_reach(changes), None
    if p.worse <= alpha:
        return "regressed", "", None
    passed: Sequence[tuple[Verdict, float]] = (
        ("equivalent", p.equal), ("improved", p.better), ("not worse", p.not_worse)
    )  # fmt: skip
    verdict = next((verdict for verdict, value in passed if value <= alpha), None)
    if verdict is None:
        return "undecided", *_enough(tests, margin, level)
    if unknown := changes.unknown:
        which = _count([image.what for image in unknown])  # an unknown change may be the worst
        why = f"the others would pass, but {which} cannot be compared: {unknown[0].why}"
        return "undecided", why, None
    return verdict, "", None


def _without_numbers(changes: Finding) -> tuple[Verdict, str]:
    if changes.out_of_reach:
        return "regressed", _out_of_reach(changes)
    if changes.beyond and not changes.unknown:
        return "improved", f"on {_count(changes.beyond)} it lies wholly above the reference"
    compared = changes.unknown or changes.left_out  # there are values, and no curve to compare
    why = changes.nothing or changes.unknown[0].why
    return "undecided" if compared else "nothing measured", why


def _width(changes: Finding, margins: Mapping[str, Margin]) -> float:
    margin = margins.get(changes.metric) or margins[KEYS[changes.kind]]
    if margin.percent or not changes.level:
        return margin.value
    return 100 * margin.value / changes.level


def _numbers(changes: Finding, tests: MeanTests, confidence: float) -> dict[str, Any]:
    mean, percent = float(tests.mean[0]), changes.percent
    lower, upper = (float(bound[0]) for bound in tests.bounds(confidence))
    order = np.argsort(-percent, kind="stable")[:WORST].tolist()
    return {
        "change_percent": mean,
        "lower_percent": lower if math.isfinite(lower) else None,
        "upper_percent": upper if math.isfinite(upper) else None,
        "deviation_percent": float(tests.deviation[0]) if tests.images > 1 else None,
        "change": None if changes.level is None else mean * changes.unit,
        "worst": tuple(WorstImage(changes.images[at], float(percent[at])) for at in order),
    }


def _out_of_reach(changes: Finding) -> str:
    below = f"it never reaches the reference's lowest quality, or takes {WIDE:g} times the bits"
    return f"on {_count(changes.out_of_reach)} {below}"


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


def _limited(pair: VariantPair, limit: Limit) -> Finding:
    kept, why = limit.kept_by(pair.test)
    verdict: Verdict = "nothing measured" if kept is None else "met" if kept else "missed"
    images = () if kept is None else pair.images
    return Finding(pair.label, limit.metric, limit.text, "limit", images, verdict=verdict, why=why)


def _subject(pair: VariantPair, reference: str, new: str) -> Subject:
    """Return what is said of a pair, as JSON values.

    equal_images: images with the same pixels and number of bytes at every setting; name: in
    findings, the label without weights.
    """
    before, after = pair.reference, pair.test
    of_new, of_reference = (side.summary.points[0].edition for side in (after, before))
    names = after.label, before.label
    if after.label == before.label:
        names = f"{after.label} of {new}", f"{before.label} of {reference}"
    return {
        "label": after.label,
        "version": after.version,
        "reference_label": before.label,
        "reference_version": before.version,
        "images": len(pair.images),
        "settings": [*map(str, pair.settings)],
        "name": pair.label,
        "equal_images": len(pair.equal),
        "protocols": dict(after.summary.protocols),
        "caveats": [*caveats(of_new, of_reference, names)],
    }
