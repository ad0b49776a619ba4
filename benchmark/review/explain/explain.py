"""Rules of `curve_rules` fitted to a stranger's curve: verdicts, and how often they err."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.review.explain import curve_rules
from benchmark.review.explain.curve_rules import FEW, SAME_RATE, Candidates, Reference, at_rates

# dB that may be left by a rule; by a rough one, as a share of the difference, and at most
EXACT_DB, SHARE, MOST_DB = 0.05, 0.15, 0.3
IMPROVED = 1 / 3  # share of the difference that may be left
LEAST_USED = 0.6  # share of the points that a rule has to reach
DRAWS = 200
MOST_COUNTED = 100  # images

# Index of the parameter, dB left and whether that explains a curve, each of shape (curves,).
Fit = tuple[Int64Array, Float64Array, BoolArray]
Fits = Callable[[Candidates, Float64Array, Float64Array], Fit]


class Verdict(NamedTuple):
    """A rule after its fit."""

    rule: str
    how: Literal["fitted", "measured"]
    causes: tuple[str, ...]  # ids whose range has the parameter
    parameter: float | None
    points: int  # that the rule reaches
    residual_db: float  # root of the squares over points less parameters
    verdict: Literal["explains", "possible", "no"]  # possible: too few points to be tested
    predicted: tuple[float, ...]  # dB at the stranger's rates; NaN where the rule says nothing


class Explanation(NamedTuple):
    """Verdicts on a curve, the likeliest rule first, with what its rates say."""

    before_db: float  # root mean square of the difference itself
    mean_db: float  # theirs minus the reference's
    same_rates: int  # points whose rate is that of a setting of the reference
    # fewest images whose whole bytes the rates are; 0: none up to 100; None: too few digits
    counted: int | None
    verdicts: tuple[Verdict, ...]
    false_alarms: float  # share of simulated curves of no rule that some rule explains as well

    @property
    def explained(self) -> tuple[Verdict, ...]:
        """The rules that explain the curve, or may."""
        return tuple(verdict for verdict in self.verdicts if verdict.verdict != "no")


def counted_images(rates: Sequence[float], pixels: int) -> int | None:
    """Return the fewest images of a size whose whole bytes all mean rates can be.

    0 where there are none up to MOST_COUNTED; None where the rates have too few digits.

    >>> counted_images([8 * bytes / (3 * 393216) for bytes in (10001, 20000, 40003)], 393216)
    3
    """
    digits = min(len(repr(float(rate)).partition(".")[2]) for rate in rates)
    if len(rates) < FEW or 10.0**-digits * MOST_COUNTED * pixels / 8 > 0.02:
        return None
    totals = np.array(rates) * pixels / 8 * np.arange(1, MOST_COUNTED + 1)[:, None]
    whole = (np.abs(totals - totals.round()) < 1e-3).all(axis=1)
    return int(whole.argmax()) + 1 if whole.any() else 0


def explain(
    reference: Reference, rates: Float64Array, decibels: Float64Array, draws: int = DRAWS
) -> Explanation:
    """Return verdicts of all rules on a stranger's curve, the likeliest first.

    rates, decibels: of the stranger, shape (points,). Raises `ValueError` where no point is within
    the reference's rates, even with another unit.
    """
    candidates = [*curve_rules.candidates(reference, rates)]
    base = at_rates(reference.bpp, reference.decibels, rates)
    same = np.abs(rates[:, None] / reference.bpp - 1).min(axis=1) < SAME_RATE
    counted, images = None, reference.images
    if images is not None and len(set(images.pixels.tolist())) == 1:
        counted = counted_images(rates.tolist(), int(images.pixels[0]))
    before = decibels - base
    within = bool(np.isfinite(before).any())
    rms = float(np.sqrt(np.nanmean(before**2))) if within else np.inf
    fits = partial(_fits, rates=rates, same=bool(same.any()), counted=counted)
    verdicts = [
        _verdict(candidate, fits(candidate, decibels[None], np.array([rms])))
        for candidate in candidates
    ]
    if not np.isfinite(base).any() and all(v.verdict == "no" for v in verdicts):
        raise ValueError("no rate in common")
    verdicts = [verdict for verdict in verdicts if np.isfinite(verdict.residual_db)]
    verdicts.sort(key=_order)
    mean = float(np.nanmean(before)) if within else np.nan
    alarms = _false_alarms(candidates, rates, base, fits, draws)
    return Explanation(rms, mean, int(same.sum()), counted, tuple(verdicts), alarms)


def _order(verdict: Verdict) -> tuple[int, float]:
    """Return a sort key: rules that explain, without a parameter first; that may; the others."""
    if verdict.verdict == "possible":
        return 2, 0.0  # in their own order
    place = int(verdict.how == "fitted") if verdict.verdict == "explains" else 3
    return place, verdict.residual_db


def _fits(
    candidate: Candidates,
    decibels: Float64Array,
    before: Float64Array,
    *,
    rates: Float64Array,
    same: bool,
    counted: int | None,
) -> Fit:
    """Fit a rule's parameter to curves.

    decibels: shape (curves, points). before: their differences from the reference, shape (curves,).
    same: whether a rate is the reference's own. counted: as in `Explanation`.
    """
    used = np.isfinite(candidate.predicted).sum(axis=1)
    free = np.maximum(used - (candidate.how == "fitted"), 1)
    squares = np.nansum((decibels[:, None] - candidate.predicted) ** 2, axis=2) / free
    squares[:, used < LEAST_USED * len(rates)] = np.inf
    best = squares.argmin(axis=1)
    residual = np.sqrt(squares[np.arange(len(best)), best])
    parameter = candidate.parameters[best]
    loose = np.minimum(SHARE * before, MOST_DB) if candidate.rough else 0.0
    explains = residual <= np.maximum(EXACT_DB, loose)
    explains &= (residual <= IMPROVED * before) & (before > EXACT_DB)
    if candidate.causes:
        explains &= np.any(
            [(c.low <= parameter) & (parameter <= c.high) for c in candidate.causes], 0
        )
    # rates of the same streams are moved by no rule, but by a header
    if same and candidate.rule in ("ratio", "offset"):
        moved = np.abs(parameter - 1 if candidate.rule == "ratio" else parameter / rates.min())
        explains &= moved <= 2 * SAME_RATE
    if candidate.images and (same or counted == 0 or (counted and candidate.images % counted)):
        explains &= False  # a subset has other rates than the whole, and whole bytes
    return best, residual, explains


def _verdict(candidate: Candidates, fit: Fit) -> Verdict:
    """Judge the fit of a rule to a curve."""
    (at,), (left,), (explains,) = fit
    parameter = float(candidate.parameters[at])
    points = int(np.isfinite(candidate.predicted[at]).sum())
    untested = points < 2 and candidate.how == "fitted"
    return Verdict(
        candidate.rule,
        candidate.how,
        tuple(cause.name for cause in candidate.causes if cause.low <= parameter <= cause.high),
        None if candidate.how == "measured" else parameter,
        points,
        float(left),
        "no" if not explains else "possible" if untested else "explains",
        tuple(candidate.predicted[at].tolist()),
    )


def _false_alarms(
    candidates: Sequence[Candidates],
    rates: Float64Array,
    base: Float64Array,
    fits: Fits,
    draws: int,
) -> float:
    """Return the share of random smooth differences, .1 to 3.5 dB, that some rule explains."""
    if not draws or not np.isfinite(base).any():
        return float("nan")
    x = np.log(rates)
    u = 2 * (x - x.min()) / max(float(np.ptp(x)), 1e-9) - 1
    random = np.random.default_rng(0)
    size = 10 ** random.uniform(-1, 0, (draws, 1))
    a, b, c = (size * random.uniform(-most, most, (draws, 1)) for most in (2.0, 1.0, 0.5))
    difference = a + b * u + c * u**2 + random.normal(0, 0.01, (draws, len(u)))
    before = np.sqrt(np.nanmean(np.where(np.isfinite(base), difference**2, np.nan), axis=1))
    alarms = [fits(candidate, base + difference, before)[2] for candidate in candidates]
    return float(np.any(alarms, axis=0).mean())
