"""Rules of `curve_rules` weighed on a stranger's curve: how likely each cause is, and no known one.

Bayesian model comparison. Every cause predicts the curve to `ERROR_DB`; one whose parameter is not
known pays for its freedom, since its likelihood is the mean over the parameter's range, and each of
many rules of one kind ("without image 7") has a part of the kind's prior. Against all of them
stands a smooth difference of no known cause, with as much of the prior as all of them together, as
has a curve that is the same.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array
from benchmark.review.explain import curve_rules
from benchmark.review.explain.curve_rules import (
    FEW,
    SAME,
    SAME_RATE,
    SUBSET,
    Candidates,
    Reference,
    at_rates,
)
from benchmark.system.text import by_key

ERROR_DB = 0.02  # standard deviation of a point from what its cause predicts
ANYWHERE = 0.1  # density, per dB, of a point that a rule says nothing of
MOST_ERRORS = 3  # standard errors that a rule may leave where nothing else can be compared
SURE = 0.9  # probability from which causes are named, at most MOST_NAMED of them
MOST_NAMED = 2
LEAST_USED = 0.6  # share of the points that a rule has to reach
MOST_COUNTED = 100  # images
WORD_BYTES = 4  # of range coders: streams of such words are whole bytes over a quarter of images
MOST_ROUNDED = 0.01  # share of a rate
# A difference of no known cause, in dB: a polynomial of ln(rate), scaled to [-1, 1], whose
# coefficients are normal, with these standard deviations times one of the sizes.
SMOOTH = np.array([1.0, 0.6, 0.3, 0.15])
SIZES = np.geomspace(0.05, 3, 9)


class Verdict(NamedTuple):
    """A cause after it was weighed."""

    rule: str
    how: Literal["fitted", "measured"]
    cause: str  # id of the cause whose range has the parameter; that of the rule where it has none
    parameter: float | None
    points: int  # that the rule reaches
    residual_db: float  # root mean square that it leaves
    probability: float
    predicted: tuple[float, ...]  # dB at the stranger's rates; NaN where the rule says nothing


class Explanation(NamedTuple):
    """Causes of a curve, the likeliest first, with what its rates say."""

    before_db: float  # root mean square of the difference itself
    mean_db: float  # theirs minus the reference's
    same_rates: int  # points whose rate is that of a setting of the reference
    # fewest images whose whole bytes the rates are; 0: none up to 100; None: too few digits
    counted: int | None
    unknown: float  # probability of no known cause
    verdicts: tuple[Verdict, ...]
    other_images: bool | None = False  # than all of the reference's; None: they may be fewer

    @property
    def named(self) -> tuple[Verdict, ...]:
        """The fewest causes that have `SURE` together; none where two do not.

        The rule "same" is named wherever it is the likeliest. Where the images may be fewer, only
        a subset of them is named.
        """
        kinds = by_key((verdict.cause, verdict) for verdict in self.verdicts)
        shares = sorted(((sum(v.probability for v in of), of[0]) for of in kinds.values()),
                        key=lambda share: -share[0])  # fmt: skip
        for count in range(1, MOST_NAMED + 1):
            sure = sum(p for p, _ in shares[:count]) >= SURE
            if sure or (shares and shares[0][1].rule == SAME and shares[0][0] > self.unknown):
                named = tuple(verdict for _, verdict in shares[:count])
                of_some = all(verdict.rule.startswith(SUBSET) for verdict in named)
                return named if of_some or self.other_images is not None else ()
        return ()


def counted_images(rates: Sequence[float], pixels: int) -> int | None:
    """Return the fewest images of a size whose whole bytes all mean rates can be.

    0 where there are none up to MOST_COUNTED; None where the rates have too few digits.

    >>> counted_images([8 * bytes / (3 * 393216) for bytes in (10001, 20000, 40003)], 393216)
    3
    """
    digits = min(map(_digits, rates))
    if len(rates) < FEW or 10.0**-digits * MOST_COUNTED * pixels / 8 > 0.02:
        return None
    totals = np.array(rates) * pixels / 8 * np.arange(1, MOST_COUNTED + 1)[:, None]
    whole = (np.abs(totals - totals.round()) < 1e-3).all(axis=1)
    return int(whole.argmax()) + 1 if whole.any() else 0


def _digits(rate: float) -> int:
    return len(repr(float(rate)).partition(".")[2])


def explain(reference: Reference, rates: Float64Array, decibels: Float64Array) -> Explanation:
    """Weigh all causes of a stranger's curve, the likeliest first.

    rates, decibels: of the stranger, shape (points,). Raises `ValueError` where no point is within
    the reference's rates, even with another unit.
    """
    others: bool | None = False
    counted, images = None, reference.images
    if images is not None and len(set(images.pixels.tolist())) == 1:
        counted = counted_images(rates.tolist(), int(images.pixels[0]))
        theirs = counted_images(reference.bpp.tolist(), int(images.pixels[0]))
        total = len(images.names)
        others = bool(counted and total % counted)
        if not others and counted not in (None, 0, theirs, total, total / WORD_BYTES):
            others = None
    # a rate printed with few digits is not beyond the end
    inside = np.clip(rates, reference.bpp.min(), reference.bpp.max())
    half = 0.5 * 10.0 ** -max(_digits(rate) for rate in rates.tolist())
    near = np.abs(rates - inside) <= np.minimum(half, MOST_ROUNDED * inside)
    rates = np.where(near, inside, rates)
    base = at_rates(reference.bpp, reference.decibels, rates)
    same = (np.abs(rates[:, None] / reference.bpp - 1).min(axis=1) < SAME_RATE) & (not others)
    before = decibels - base
    within = bool(np.isfinite(before).any())
    rms = float(np.sqrt(np.nanmean(before**2))) if within else np.inf
    own = bool(same.any()) and others is not None
    hypotheses = [
        hypothesis
        for candidate in curve_rules.candidates(reference, rates)
        if not (candidate.images and _other_images(candidate.images, own, counted))
        and not (others and candidate.rule == SAME)
        for hypothesis in _hypotheses(candidate, rates, own)
    ]
    subsets = sum(candidate.images > 0 for candidate, *_ in hypotheses)
    scores, verdicts = [], []
    for candidate, cause, allowed in hypotheses:
        predicted = candidate.predicted[allowed]
        each = _log_likelihoods(decibels - predicted)
        best = int(each.argmax())
        reached = np.isfinite(predicted[best])
        if reached.mean() < LEAST_USED:
            continue
        left = float(np.sqrt(np.mean((decibels - predicted[best])[reached] ** 2)))
        scores.append(_log_mean(each) - np.log(subsets if candidate.images else 1))
        parameter = float(candidate.parameters[allowed][best])
        known = None if candidate.how == "measured" else parameter
        place = int(reached.sum()), left, 0.0, tuple(predicted[best].tolist())
        verdicts.append(Verdict(candidate.rule, candidate.how, cause, known, *place))
    if not within and not any(v.residual_db <= MOST_ERRORS * ERROR_DB for v in verdicts):
        raise ValueError("no rate in common")
    causes = len(verdicts) - sum(v.rule.startswith(SUBSET) for v in verdicts) + bool(subsets)
    usual = np.log(max(causes, 1))  # prior of "same", and of no known cause: of all others together
    scores = [s + usual * (v.rule == SAME) for s, v in zip(scores, verdicts, strict=True)]
    every = np.array([*scores, _log_smooth(rates, before) + usual])
    *shares, unknown = np.exp(every - every.max()) / np.exp(every - every.max()).sum()
    weighed = [v._replace(probability=float(p)) for v, p in zip(verdicts, shares, strict=True)]
    weighed.sort(key=lambda verdict: (-verdict.probability, verdict.residual_db))
    mean = float(np.nanmean(before)) if within else np.nan
    of_rates = int(same.sum()), counted
    return Explanation(rms, mean, *of_rates, float(unknown), tuple(weighed), others)


def _other_images(size: int, same: bool, counted: int | None) -> bool:
    """Return whether rates refuse a subset: it has other ones than the whole, and whole bytes."""
    return same or counted == 0 or bool(counted and size % counted)


def _hypotheses(
    candidate: Candidates, rates: Float64Array, same: bool
) -> Iterator[tuple[Candidates, str, BoolArray]]:
    """Yield each cause of a rule with the mask of the parameters that it allows.

    same: whether a rate is the reference's own: streams that are the same are moved by no rule.
    """
    parameters = candidate.parameters
    allowed = np.full(parameters.shape, True)
    if same and candidate.rule in ("ratio", "offset"):
        moved = np.abs(parameters - 1 if candidate.rule == "ratio" else parameters / rates.min())
        allowed = moved <= 2 * SAME_RATE
    for name in dict.fromkeys(cause.name for cause in candidate.causes):
        ranges = [(c.low, c.high) for c in candidate.causes if c.name == name]
        inside = np.any([(low <= parameters) & (parameters <= high) for low, high in ranges], 0)
        if (inside & allowed).any():
            yield candidate, name, inside & allowed
    if not candidate.causes:
        yield candidate, candidate.rule, allowed


def _log_likelihoods(left: Float64Array) -> Float64Array:
    """Return the logarithm of the likelihood of each row of what predictions leave, in dB."""
    normal = -0.5 * (left / ERROR_DB) ** 2 - np.log(ERROR_DB * np.sqrt(2 * np.pi))
    each = np.where(np.isfinite(left), normal, np.log(ANYWHERE))
    return np.asarray(each.sum(axis=1))


def _log_mean(logs: Float64Array) -> float:
    return float(logs.max() + np.log(np.mean(np.exp(logs - logs.max()))))


def _log_smooth(rates: Float64Array, before: Float64Array) -> float:
    """Return the logarithm of the likelihood of a smooth difference, the mean over its sizes."""
    known = np.isfinite(before)
    x = np.log(rates[known])
    u = 2 * (x - x.min(initial=np.inf)) / max(float(np.ptp(x)) if len(x) else 0, 1e-9) - 1
    basis = u[:, None] ** np.arange(len(SMOOTH)) * SMOOTH
    logs = []
    for size in SIZES:
        covariance = size**2 * basis @ basis.T + ERROR_DB**2 * np.eye(len(u))
        _, log_volume = np.linalg.slogdet(2 * np.pi * covariance)
        logs.append(
            -0.5 * (before[known] @ np.linalg.solve(covariance, before[known]) + log_volume)
        )
    return _log_mean(np.array(logs)) + float((~known).sum() * np.log(ANYWHERE))
