"""Rate-distortion curves, interpolated between their points; BD-rate and BD-metric of two.

Bjøntegaard deltas are by a `Rule`: BD-rate is the mean difference of log rate over the qualities
that both curves reach, in percent; BD-metric is the mean difference of quality over the log rates
that both reach. Quality is the value as figures
have it: MS-SSIM in dB, Frechet and kernel distances by their logarithm, and metrics that are better
when lower (LPIPS) negated, so that a negative BD-rate always means bits saved at equal quality.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array
from benchmark.compare.rule import Form, Rule
from benchmark.metrics.metric import Metric
from benchmark.rows.summary import Point

LEAST_POINTS = 4  # of a Pareto front, for a delta
# Shares of the range that two curves span together: under the first a delta is marked, under the
# second it is given only when asked for.
LEAST_OVERLAP, LEAST_SHOWN_OVERLAP = 0.5, 1 / 3
TOO_LITTLE_OVERLAP = "the curves share less than a third of the range that they span together"
# x, rising along the points, and y of curves, each of shape (curves, points)
Axes = tuple[Float64Array, Float64Array]
CROSSING = 0.01  # of the bits: curves that are closer are not apart
# Beside points of such uneven slopes Akima may overshoot; the bits by which it then is another.
UNEVEN_SLOPES, OVERSHOOT = 10, 0.1
MOST_LEFT_OUT = 0.2  # share of a curve's points off the Pareto front; beyond it there is no delta


class Curve(NamedTuple):
    """Rates and qualities of shape (points,) or (weightings of images, points); more is better."""

    bpp: Float64Array
    quality: Float64Array

    @property
    def log_rate(self) -> Float64Array:
        """The logarithm (base 10) of the rates."""
        return np.log10(self.bpp)


class Delta(NamedTuple):
    """A Bjøntegaard delta: percent of rate, or units of the metric; without a value, `why`."""

    value: float | None = None
    # Share of the range spanned by both curves together that both reach, 0..1
    overlap: float | None = None
    why: str = ""  # there is no value
    overshoots: bool = False  # by PCHIP, which never leaves the points' range, it is another

    @property
    def doubtful(self) -> bool:
        """True if the curves share less than half of what they span, or Akima overshoots."""
        little = (self.overlap or 0.0) < LEAST_OVERLAP or self.overshoots
        return self.value is not None and little

    @property
    def number(self) -> float:
        """The value of a delta that has one, as all have that a figure or a table shows."""
        assert self.value is not None, self.why
        return self.value


def bjontegaard(
    what: Literal["rate", "quality"],
    anchor: Curve,
    test: Curve,
    rule: Rule,
    anchor_name: str = "the anchor",
) -> Delta:
    """Return the mean change of rate at equal quality (%), or of quality at equal rate.

    Both curves are cut where the rule ends them. anchor_name: in reasons.
    """
    anchor, test = cut(anchor, rule), cut(test, rule)
    fronts = pareto_front(anchor), pareto_front(test)
    for front, curve, whose in zip(fronts, (anchor, test), (anchor_name, "it"), strict=True):
        points, kept = len(set(zip(*curve, strict=True))), len(front.bpp)  # equal ones are one
        if kept < LEAST_POINTS:
            below = f"; below it: {below_text(curve)}" if points > kept else ""
            return Delta(
                why=f"{whose} has {kept} of the {LEAST_POINTS} points that are needed on the "
                f"Pareto front ({points} measured{below})"
            )
        if points - kept > MOST_LEFT_OUT * points:
            return Delta(
                why=f"{points - kept} of {points} points of {whose} lie below its Pareto front, "
                f"more than one in five: {below_text(curve)}"
            )
    by_rate = [(front.log_rate, front.quality) for front in fronts]
    axes = [(y, x) for x, y in by_rate] if what == "rate" else by_rate
    spans = [x for x, _ in axes]
    lows, highs = ([end(span) for span in spans] for end in (np.min, np.max))
    # The ranges rise from at least four points of a front, so that none is empty.
    low, high = max(lows), min(highs)
    overlap = max(float((high - low) / (max(highs) - min(lows))), 0.0)
    if overlap <= 0:
        return Delta(None, 0.0, why="the curves have no quality or rate in common")
    if overlap < LEAST_SHOWN_OVERLAP and not rule.any_overlap:
        return Delta(None, overlap, why=TOO_LITTLE_OVERLAP)

    def mean_change(used: Form) -> float:
        first, second = ((x[None], y[None]) for x, y in axes)
        return float(mean_changes(first, second, used)[0])

    change, overshoots = mean_change(rule.bd), False
    slopes = [np.abs(np.diff(y) / np.diff(x)) for x, y in axes]
    uneven = any(s.max() > UNEVEN_SLOPES * s.min() for s in slopes)
    if (what, rule.bd) == ("rate", "akima") and uneven:
        overshoots = abs(change - mean_change("pchip")) > math.log10(1 + OVERSHOOT)
    percent = (10**change - 1) * 100
    value = percent if what == "rate" else change
    return Delta(value, overlap, overshoots=overshoots)


def refused(anchor: Curve, test: Curve, rule: Rule) -> BoolArray:
    """Return which pairs of curves have no delta of rate, as `bjontegaard` refuses them, (pairs,).

    anchor, test: cut curves of shape (pairs, points), see `stacked`.
    """
    result = np.zeros(len(anchor.bpp), np.bool_)
    lows, highs = [], []
    with np.errstate(invalid="ignore"):  # of places without a point
        for curve in (anchor, test):
            (bpp, quality), on_front = in_order(curve)
            new = (np.diff(bpp, prepend=-1) != 0) | (np.diff(quality, prepend=np.nan) != 0)
            points, kept = (new & np.isfinite(bpp)).sum(axis=1), on_front.sum(axis=1)
            result |= (kept < LEAST_POINTS) | (points - kept > MOST_LEFT_OUT * points)
            lows.append(quality[:, 0])
            highs.append(quality.max(axis=1))
        shared = np.minimum(*highs) - np.maximum(*lows)
        overlap = shared / (np.maximum(*highs) - np.minimum(*lows))
        enough = overlap > 0 if rule.any_overlap else overlap >= LEAST_SHOWN_OVERLAP
    return np.asarray(result | ~enough)


bd_rate = partial(bjontegaard, "rate")  # negative for fewer bits
bd_quality = partial(bjontegaard, "quality")  # positive where `test` is better


def bd_metric(anchor: Curve, test: Curve, metric: Metric, rule: Rule) -> Delta:
    """Return the mean change of a metric at equal rate, in units of its axis, sign as measured.

    Of distances of distributions, in percent: that of their geometric mean.
    """
    delta = bd_quality(anchor, test, rule)
    if delta.value is None:
        return delta
    change = delta.value if metric.better == "higher" else -delta.value
    return delta._replace(value=100 * (10**change - 1) if metric.scale == "decades" else change)


def below_text(curve: Curve) -> str:
    """Return the points off the Pareto front, and how much better another one is; "" for none.

    >>> below_text(Curve(np.array([3.0, 1.0, 2.0]), np.array([32.0, 30.0, 29.0])))
    '2 bpp by 1'
    """
    gaps = zip(curve.bpp.tolist(), below_front(curve).tolist(), strict=True)
    return ", ".join(f"{bpp:.4g} bpp by {gap:.3g}" for bpp, gap in gaps if not math.isnan(gap))


def pareto_front(curve: Curve) -> Curve:
    """Return the points that no point of less or equal rate equals or beats, lowest rate first.

    >>> pareto_front(Curve(np.array([3.0, 1.0, 2.0]), np.array([32.0, 30.0, 29.0])))
    Curve(bpp=array([1., 3.]), quality=array([30., 32.]))
    """
    (bpp, quality), on_front = in_order(Curve(curve.bpp[None], curve.quality[None]))
    return Curve(bpp[on_front], quality[on_front])


def below_front(curve: Curve) -> Float64Array:
    """Return how much better another point of less or equal rate is, shape (points,).

    At least 0; NaN for the points on the Pareto front and for others equal to them.

    >>> below_front(Curve(np.array([3.0, 1.0, 2.0]), np.array([32.0, 30.0, 29.0])))
    array([nan, nan,  1.])
    """
    order = np.lexsort((-curve.quality, curve.bpp))
    quality, result = curve.quality[order], np.full(len(order), np.nan)
    if not len(order):
        return result
    gap = np.append(-1.0, np.maximum.accumulate(quality)[:-1] - quality[1:])
    new = np.append(True, (np.diff(curve.bpp[order]) != 0) | (np.diff(quality) != 0))
    gap = gap[np.maximum.accumulate(np.where(new, np.arange(len(gap)), 0))]
    result[order] = np.where(gap < 0, np.nan, gap)
    return result


def stacked(curves: Sequence[Curve]) -> Curve:
    """Return curves as one of shape (curves, points); the longest has a point at every place.

    At the end of others the rate is infinite and the quality below all.
    """
    points = max(len(curve.bpp) for curve in curves)
    bpp, quality = (np.full((len(curves), points), end) for end in (np.inf, -np.inf))
    for place, curve in enumerate(curves):
        bpp[place, : len(curve.bpp)], quality[place, : len(curve.bpp)] = curve
    return Curve(bpp, quality)


def in_order(curve: Curve) -> tuple[Curve, BoolArray]:
    """Return points by their rates, the best of a rate first, and which are on the Pareto front.

    All are of shape (curves, points). Of equal points the first is on the front.
    """
    order = np.lexsort((-curve.quality, curve.bpp))
    bpp, quality = (np.take_along_axis(axis, order, axis=1) for axis in curve)
    best = np.maximum.accumulate(quality, axis=1)
    with np.errstate(invalid="ignore"):  # of a curve without points
        return Curve(bpp, quality), np.diff(best, axis=1, prepend=-np.inf) > 0


def crossing(anchor: Curve, test: Curve, rule: Rule) -> float | None:
    """Return the quality at which one curve begins to need more bits than the other, if any.

    None if over all qualities that both fronts reach the same one is ahead, to CROSSING.
    """
    fronts = [pareto_front(cut(curve, rule)) for curve in (anchor, test)]
    low, high = max(f.quality[0] for f in fronts), min(f.quality[-1] for f in fronts)
    at = np.linspace(low, high, 101)
    first, second = (log_rates_at(front, at, rule.bd) for front in fronts)
    ahead = second - first
    clear = np.flatnonzero(np.abs(ahead) > math.log10(1 + CROSSING))
    turns = np.flatnonzero(np.diff(np.sign(ahead[clear])))
    return float(at[clear[turns[0] + 1]]) if len(turns) else None


def cut(curve: Curve, rule: Rule) -> Curve:
    """Return the points up to a rule's rate, and there a point of the interpolated Pareto front.

    Interpolated over the logarithm of the rate, as for BD-rates. A curve that ends or begins beyond
    the rate stays as it is, or is empty.
    """
    end = rule.up_to_bpp
    if end is None:
        return curve
    front = pareto_front(curve)
    inside = curve.bpp <= end
    bpp, quality = curve.bpp[inside], curve.quality[inside]
    if not inside.any() or front.bpp[-1] <= end or end in front.bpp:
        return Curve(bpp, quality)
    quality_at_end = quality_at(front, math.log10(end), rule.bd)
    return Curve(np.append(bpp, end), np.append(quality, quality_at_end))


def quality_at(front: Curve, log_rate: float, form: Form) -> float:
    """Return the quality of a Pareto front at a rate, given as log10; NaN beyond its ends."""
    x, y = front.log_rate[None], front.quality[None]
    return float(interpolated(x, y, np.array([log_rate]), form)[0])


def qualities_at(fronts: Sequence[Curve], log_rates: Float64Array, form: Form) -> Float64Array:
    """Return `quality_at` of each front at a rate of its own, (fronts,)."""
    result = np.full(len(fronts), np.nan)
    counts = np.array([len(front.bpp) for front in fronts])
    for count in np.unique(counts):  # fronts of as many points are computed together
        alike = np.flatnonzero(counts == count)
        x = np.stack([fronts[place].log_rate for place in alike])
        y = np.stack([fronts[place].quality for place in alike])
        result[alike] = interpolated(x, y, log_rates[alike], form)
    return result


def log_rates_at(front: Curve, at: Float64Array, form: Form) -> Float64Array:
    """Return the rate, as log10, at which a Pareto front has each quality, shape (qualities,).

    NaN beyond its ends.
    """
    axes = front.quality, front.log_rate
    x, y = (np.broadcast_to(axis, (len(at), len(axis))) for axis in axes)
    return interpolated(x, y, at, form)


def mean_curve(points: Sequence[Point], metric: Metric) -> Curve:
    """Return the curve of the points' means."""
    means = [point.means[metric.column] for point in points]
    both = [(m.bpp, m.value) for m in means if m.bpp is not None and m.value is not None]
    return curve_of([bpp for bpp, _ in both], [value for _, value in both], metric)


def curve_of(
    bpp: Sequence[float] | Float64Array, values: Sequence[float] | Float64Array, metric: Metric
) -> Curve:
    """Return the points of a curve that have a place on the axes."""
    rates = np.array(bpp, np.float64)
    quality, visible = _visible(rates, np.array(values, np.float64), metric)
    return Curve(rates[visible], quality[visible])


def _visible(
    bpp: Float64Array, values: Float64Array, metric: Metric
) -> tuple[Float64Array, BoolArray]:
    """Return qualities, and which points have a place on the axes: identical images have none."""
    quality = qualities(values, metric)
    return quality, np.isfinite(quality) & (bpp > 0)


def qualities(values: Float64Array, metric: Metric) -> Float64Array:
    """Return the quality of each value (`Metric.quality`), in an array of the same shape."""
    position = values
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric.saturating:
            position = np.where(values < 1, -10 * np.log10(1 - values), np.inf)
        if metric.scale == "decades":
            position = np.where(position > 0, np.log10(position), np.nan)
    return position if metric.better == "higher" else -position


def image_curves(points: Sequence[Point], metric: Metric) -> Mapping[int, Curve]:
    """Return the curve of each image's own values, by the image's number in the points."""
    if not points:
        return {}
    ids = np.concatenate([point.image_ids for point in points])
    bpp = np.concatenate([point.image_bpp for point in points])
    values = np.concatenate([point.image_values[metric.column] for point in points])
    quality, visible = _visible(bpp, values, metric)
    order = np.argsort(ids, kind="stable")
    images, starts = np.unique(ids[order], return_index=True)
    places = zip(images.tolist(), np.split(order, starts[1:]), strict=False)
    known = {*np.unique(ids[~np.isnan(values)]).tolist()}
    shown = {image: at[visible[at]] for image, at in places if image in known}
    return {image: Curve(bpp[at], quality[at]) for image, at in shown.items()}


def interpolated(x: Float64Array, y: Float64Array, at: Float64Array, form: Form) -> Float64Array:
    """Return the value of each curve at a place, shape (curves,); NaN beyond its ends.

    Two points are joined by a line. x, y: shape (curves, points), x rising along the points. at:
    shape (curves,).

    >>> lines = np.array([[0.0, 1.0]] * 2), np.array([[5.0, 7.0]] * 2)
    >>> interpolated(*lines, np.array([0.5, 2.0]), "akima")
    array([ 6., nan])
    """
    if x.shape[1] < 2:
        return np.where(x[:, 0] == at, y[:, 0], np.nan)
    place = np.clip((x <= at[:, None]).sum(axis=1) - 1, 0, x.shape[1] - 2)
    curve = np.arange(len(x))
    share = (at - x[curve, place]) / np.diff(x)[curve, place]
    pieces = enumerate(cubics(x, y, form))
    parts = [coefficient[curve, place] * share**power for power, coefficient in pieces]
    inside = (x[:, 0] <= at) & (at <= x[:, -1])
    return np.asarray(np.where(inside, np.sum(parts, axis=0), np.nan), np.float64)


def mean_changes(anchor: Axes, test: Axes, form: Form) -> Float64Array:
    """Return the mean of test's y less anchor's over the x that both reach, (curves,).

    NaN where they do not meet.
    """
    low = np.maximum(anchor[0][:, 0], test[0][:, 0])
    high = np.minimum(anchor[0][:, -1], test[0][:, -1])
    high = np.where(high > low, high, np.nan)
    first, second = (integral(*axes, low, high, form) for axes in (anchor, test))
    return np.asarray((second - first) / (high - low), np.float64)


def integral(
    x: Float64Array, y: Float64Array, low: Float64Array, high: Float64Array, form: Form
) -> Float64Array:
    """Return the integral of the curve through (x, y) between two places on it, (curves,)."""
    width, pieces = np.diff(x), cubics(x, y, form)

    def up_to(end: Float64Array) -> Float64Array:
        share = np.clip((end[:, None] - x[:, :-1]) / width, 0, 1)
        parts = [of * share**power / power for power, of in enumerate(pieces, 1)]
        return np.asarray((width * np.sum(parts, axis=0)).sum(axis=1), np.float64)

    return up_to(high) - up_to(low)


def cubics(x: Float64Array, y: Float64Array, form: Form) -> tuple[Float64Array, ...]:
    """Return the cubic between neighbours, in powers 0 to 3 of the share of the way.

    x, y: shape (curves, points), x rising along the points, of which there are two at least.
    """
    width = np.diff(x)
    if form == "cubic":
        y, tangent = _of_polynomial(x, y)
    else:
        slope = np.diff(y) / width
        tangent = _akima(slope) if form == "akima" else _pchip(width, slope)
    rise = np.diff(y)
    left, right = width * tangent[:, :-1], width * tangent[:, 1:]
    return y[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise


def _of_polynomial(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return values and slopes at the points of the cubic that fits them best, (curves, points)."""
    middle, half = (x[:, [-1]] + x[:, [0]]) / 2, (x[:, [-1]] - x[:, [0]]) / 2
    exponents = np.arange(min(4, x.shape[1]))
    powers = ((x - middle) / half)[..., None] ** exponents
    # A curve with a NaN has no value anywhere, since its widths are NaN.
    coefficients = np.linalg.pinv(np.nan_to_num(powers)) @ y[..., None]
    lower_powers = np.concatenate([np.zeros_like(powers[..., :1]), powers[..., :-1]], axis=-1)
    slopes = (exponents * lower_powers) @ coefficients
    return (powers @ coefficients)[..., 0], slopes[..., 0] / half


def _pchip(width: Float64Array, slope: Float64Array) -> Float64Array:
    """Return the tangents of monotone cubics at the points beside slopes, (curves, slopes + 1).

    F. N. Fritsch and J. Butland, "A Method for Constructing Local Monotone Piecewise Cubic
    Interpolants", SIAM J. Sci. Stat. Comput. 5 (1984), as in scipy.
    """
    if slope.shape[1] == 1:
        return np.hstack([slope, slope])
    before, after, left, right = width[:, :-1], width[:, 1:], slope[:, :-1], slope[:, 1:]
    left_weight, right_weight = 2 * after + before, after + 2 * before
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (left_weight + right_weight) / (left_weight / left + right_weight / right)
    first = _end_tangent(before[:, :1], left[:, :1], after[:, :1], right[:, :1])
    last = _end_tangent(after[:, -1:], right[:, -1:], before[:, -1:], left[:, -1:])
    return np.hstack([first, np.where(left * right > 0, mean, 0.0), last])


def _end_tangent(
    width: Float64Array, slope: Float64Array, next_width: Float64Array, next_slope: Float64Array
) -> Float64Array:
    """Return the tangent at the end of a monotone cubic, from its last two stretches."""
    tangent = ((2 * width + next_width) * slope - width * next_slope) / (width + next_width)
    turns = np.sign(slope) != np.sign(next_slope)
    tangent = np.where(turns & (np.abs(tangent) > 3 * np.abs(slope)), 3 * slope, tangent)
    return np.where(np.sign(tangent) == np.sign(slope), tangent, 0.0)


def _akima(slope: Float64Array) -> Float64Array:
    """Return Akima's tangents at the points between and beside slopes, (curves, slopes + 1).

    H. Akima, "A New Method of Interpolation and Smooth Curve Fitting Based on Local Procedures", J.
    ACM 17 (1970), as in scipy.
    """
    last = slope.shape[1] - 1
    before = 2 * slope[:, [0]] - slope[:, [min(1, last)]]
    after = 2 * slope[:, [last]] - slope[:, [max(last - 1, 0)]]
    slope = np.hstack([2 * before - slope[:, :1], before, slope, after, 2 * after - slope[:, -1:]])
    turn = np.abs(np.diff(slope))
    weight = turn[:, 2:] + turn[:, :-2]
    known = weight > 1e-9 * weight.max(axis=1, keepdims=True)
    tangent = np.where(
        known,
        (turn[:, 2:] * slope[:, 1:-2] + turn[:, :-2] * slope[:, 2:-1]) / np.where(known, weight, 1),
        0.5 * (slope[:, 3:] + slope[:, :-3]),
    )
    return np.asarray(tangent, np.float64)
