"""Rate-distortion curves: interpolation, BD-rate and BD-metric.

BD-rate is the mean difference of log rate over the qualities that both curves reach, in percent;
BD-metric is the mean difference of quality over their common log rates. Quality is the value on a
figure's axis: MS-SSIM in dB, the logarithm of Frechet and kernel distances, and negated metrics
where lower is better (LPIPS), so that a negative BD-rate always means bits saved at equal quality.
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

MIN_POINTS = 4  # minimum number of points on a Pareto front for a delta
# Shares of the range that two curves span together: a delta is marked below the first share, and
# given only on request below the second.
MIN_OVERLAP, MIN_SHOWN_OVERLAP = 0.5, 1 / 3
TOO_LITTLE_OVERLAP = "the curves share less than a third of their joint range"
# x (ascending) and y of curves, each of shape (curves, points)
Axes = tuple[Float64Array, Float64Array]
MIN_RATE_GAP = 0.01  # as a share of the bits; closer curves count as equal
# Akima may overshoot if the ratio of a curve's slopes is above the first number; it does if it
# differs from PCHIP by more than this share of the bits
MAX_SLOPE_RATIO, MIN_OVERSHOOT = 10, 0.1
MAX_DOMINATED_SHARE = 0.2  # maximum share of a curve's points below its front, for a delta


class RateQuality(NamedTuple):
    """Rates and qualities (higher is better), of shape (points,) or (weightings, points)."""

    bpp: Float64Array
    quality: Float64Array

    @property
    def log_rate(self) -> Float64Array:
        """The logarithm (base 10) of the rates."""
        return np.log10(self.bpp)


class Delta(NamedTuple):
    """A Bjøntegaard delta in percent of rate or units of the metric, or why there is none."""

    value: float | None = None
    # Share (0..1) of the curves' joint range that both reach
    overlap: float | None = None
    why: str = ""  # reason if there is no value
    overshoots: bool = False  # True: the value differs from PCHIP's, which never overshoots

    @property
    def doubtful(self) -> bool:
        """True if the curves share less than half of their joint range, or Akima overshoots."""
        is_unreliable = (self.overlap or 0.0) < MIN_OVERLAP or self.overshoots
        return self.value is not None and is_unreliable

    @property
    def number(self) -> float:
        """The value; only for deltas that have one."""
        assert self.value is not None, self.why
        return self.value


def bjontegaard(
    axis: Literal["rate", "quality"],
    anchor: RateQuality,
    test: RateQuality,
    rule: Rule,
    anchor_name: str = "the anchor",
) -> Delta:
    """Return the mean change of rate at equal quality (%), or of quality at equal rate (`axis`).

    Both curves are cut at the rule's rate limit. anchor_name: name of the anchor in reasons.
    """
    anchor, test = cut(anchor, rule), cut(test, rule)
    fronts = pareto_front(anchor), pareto_front(test)
    for front, curve, name in zip(fronts, (anchor, test), (anchor_name, "it"), strict=True):
        num_points, num_front_points = len(set(zip(*curve, strict=True))), len(front.bpp)
        if num_front_points < MIN_POINTS:
            dominated_clause = (
                f"; below it: {dominated_text(curve)}" if num_points > num_front_points else ""
            )
            return Delta(
                why=f"{name} has {num_front_points} of the {MIN_POINTS} points that are needed on "
                f"the Pareto front ({num_points} measured{dominated_clause})"
            )
        if num_points - num_front_points > MAX_DOMINATED_SHARE * num_points:
            return Delta(
                why=f"{num_points - num_front_points} of {num_points} points of {name} lie below "
                f"its Pareto front, more than one in five: {dominated_text(curve)}"
            )
    rate_axes = [(front.log_rate, front.quality) for front in fronts]
    axes = [(y, x) for x, y in rate_axes] if axis == "rate" else rate_axes
    spans = [x for x, _ in axes]
    lows, highs = ([end(span) for span in spans] for end in (np.min, np.max))
    # A front has at least four ascending points, so no range is empty.
    low, high = max(lows), min(highs)
    overlap = max(float((high - low) / (max(highs) - min(lows))), 0.0)
    if overlap <= 0:
        return Delta(None, 0.0, why="the curves have no quality or rate in common")
    if overlap < MIN_SHOWN_OVERLAP and not rule.any_overlap:
        return Delta(None, overlap, why=TOO_LITTLE_OVERLAP)

    def mean_change(form: Form) -> float:
        anchor_axes, test_axes = ((x[None], y[None]) for x, y in axes)
        return float(mean_changes(anchor_axes, test_axes, form)[0])

    change, overshoots = mean_change(rule.bd), False
    slopes = [np.abs(np.diff(y) / np.diff(x)) for x, y in axes]
    is_uneven = any(s.max() > MAX_SLOPE_RATIO * s.min() for s in slopes)
    if (axis, rule.bd) == ("rate", "akima") and is_uneven:
        overshoots = abs(change - mean_change("pchip")) > math.log10(1 + MIN_OVERSHOOT)
    percent = (10**change - 1) * 100
    value = percent if axis == "rate" else change
    return Delta(value, overlap, overshoots=overshoots)


def mark_refused_pairs(anchor: RateQuality, test: RateQuality, rule: Rule) -> BoolArray:
    """Mark the pairs of cut curves (pairs, points) for which `bjontegaard` has no value."""
    is_refused = np.zeros(len(anchor.bpp), np.bool_)
    lows, highs = [], []
    with np.errstate(invalid="ignore"):  # padding
        for curve in (anchor, test):
            (bpp, quality), on_front = sort_by_rate(curve)
            is_new = (np.diff(bpp, prepend=-1) != 0) | (np.diff(quality, prepend=np.nan) != 0)
            num_points, num_front_points = (
                (is_new & np.isfinite(bpp)).sum(axis=1),
                on_front.sum(axis=1),
            )
            is_refused |= (num_front_points < MIN_POINTS) | (
                num_points - num_front_points > MAX_DOMINATED_SHARE * num_points
            )
            lows.append(quality[:, 0])
            highs.append(quality.max(axis=1))
        shared_range = np.minimum(*highs) - np.maximum(*lows)
        overlap = shared_range / (np.maximum(*highs) - np.minimum(*lows))
        has_enough_overlap = overlap > 0 if rule.any_overlap else overlap >= MIN_SHOWN_OVERLAP
    return np.asarray(is_refused | ~has_enough_overlap)


bd_rate = partial(bjontegaard, "rate")  # negative for fewer bits
bd_quality = partial(bjontegaard, "quality")  # positive where `test` is better


def bd_metric(anchor: RateQuality, test: RateQuality, metric: Metric, rule: Rule) -> Delta:
    """Return the mean change of a metric at equal rate, in axis units or % of a geometric mean."""
    delta = bd_quality(anchor, test, rule)
    if delta.value is None:
        return delta
    change = delta.value if metric.better == "higher" else -delta.value
    return delta._replace(value=100 * (10**change - 1) if metric.scale == "decades" else change)


def dominated_text(curve: RateQuality) -> str:
    """Describe the points below the Pareto front and their distances from it; "" for none.

    >>> dominated_text(RateQuality(np.array([3.0, 1.0, 2.0]), np.array([32.0, 30.0, 29.0])))
    '2 bpp by 1'
    """
    gaps = zip(curve.bpp.tolist(), dominance_gaps(curve).tolist(), strict=True)
    return ", ".join(f"{bpp:.4g} bpp by {gap:.3g}" for bpp, gap in gaps if not math.isnan(gap))


def pareto_front(curve: RateQuality) -> RateQuality:
    """Return the points that no point of less or equal rate dominates, lowest rate first."""
    (bpp, quality), on_front = sort_by_rate(RateQuality(curve.bpp[None], curve.quality[None]))
    return RateQuality(bpp[on_front], quality[on_front])


def dominance_gaps(curve: RateQuality) -> Float64Array:
    """Return the distance to the best quality at less or equal rate, shape (points,).

    Distances are at least 0; NaN for points on the Pareto front and for their duplicates.
    """
    order = np.lexsort((-curve.quality, curve.bpp))
    quality, gaps = curve.quality[order], np.full(len(order), np.nan)
    if not len(order):
        return gaps
    gap = np.append(-1.0, np.maximum.accumulate(quality)[:-1] - quality[1:])
    is_new = np.append(True, (np.diff(curve.bpp[order]) != 0) | (np.diff(quality) != 0))
    gap = gap[np.maximum.accumulate(np.where(is_new, np.arange(len(gap)), 0))]
    gaps[order] = np.where(gap < 0, np.nan, gap)
    return gaps


def stack_curves(curves: Sequence[RateQuality]) -> RateQuality:
    """Stack curves to shape (curves, points), padded with infinite rates and qualities of -inf."""
    max_points = max(len(curve.bpp) for curve in curves)
    bpp, quality = (np.full((len(curves), max_points), end) for end in (np.inf, -np.inf))
    for index, curve in enumerate(curves):
        bpp[index, : len(curve.bpp)], quality[index, : len(curve.bpp)] = curve
    return RateQuality(bpp, quality)


def sort_by_rate(curve: RateQuality) -> tuple[RateQuality, BoolArray]:
    """Sort points by rate, then quality, and mark the Pareto front; of shape (curves, points)."""
    order = np.lexsort((-curve.quality, curve.bpp))
    bpp, quality = (np.take_along_axis(axis, order, axis=1) for axis in curve)
    best_quality = np.maximum.accumulate(quality, axis=1)
    with np.errstate(invalid="ignore"):  # a curve without points
        return RateQuality(bpp, quality), np.diff(best_quality, axis=1, prepend=-np.inf) > 0


def crossing(anchor: RateQuality, test: RateQuality, rule: Rule) -> float | None:
    """Return the quality above which the other curve needs fewer bits; None: no crossing."""
    fronts = [pareto_front(cut(curve, rule)) for curve in (anchor, test)]
    low, high = max(f.quality[0] for f in fronts), min(f.quality[-1] for f in fronts)
    grid = np.linspace(low, high, 101)
    anchor_log_rates, test_log_rates = (log_rates_at(front, grid, rule.bd) for front in fronts)
    log_ratios = test_log_rates - anchor_log_rates
    clear_indices = np.flatnonzero(np.abs(log_ratios) > math.log10(1 + MIN_RATE_GAP))
    sign_changes = np.flatnonzero(np.diff(np.sign(log_ratios[clear_indices])))
    return float(grid[clear_indices[sign_changes[0] + 1]]) if len(sign_changes) else None


def cut(curve: RateQuality, rule: Rule) -> RateQuality:
    """Cut a curve at the rule's rate limit, with an interpolated point there.

    A curve that ends below the limit is unchanged; a curve that begins above it becomes empty.
    """
    max_bpp = rule.up_to_bpp
    if max_bpp is None:
        return curve
    front = pareto_front(curve)
    is_in_range = curve.bpp <= max_bpp
    bpp, quality = curve.bpp[is_in_range], curve.quality[is_in_range]
    if not is_in_range.any() or front.bpp[-1] <= max_bpp or max_bpp in front.bpp:
        return RateQuality(bpp, quality)
    quality_at_end = quality_at(front, math.log10(max_bpp), rule.bd)
    return RateQuality(np.append(bpp, max_bpp), np.append(quality, quality_at_end))


def quality_at(front: RateQuality, log_rate: float, form: Form) -> float:
    """Return the quality of a Pareto front at a rate, given as log10; NaN outside its range."""
    x, y = front.log_rate[None], front.quality[None]
    return float(interpolate(x, y, np.array([log_rate]), form)[0])


def qualities_at(
    fronts: Sequence[RateQuality], log_rates: Float64Array, form: Form
) -> Float64Array:
    """Return the quality of each front at its rate, given as log10; shape (fronts,)."""
    qualities = np.full(len(fronts), np.nan)
    counts = np.array([len(front.bpp) for front in fronts])
    for count in np.unique(counts):  # fronts with the same number of points are computed together
        indices = np.flatnonzero(counts == count)
        x = np.stack([fronts[index].log_rate for index in indices])
        y = np.stack([fronts[index].quality for index in indices])
        qualities[indices] = interpolate(x, y, log_rates[indices], form)
    return qualities


def log_rates_at(front: RateQuality, quality: Float64Array, form: Form) -> Float64Array:
    """Return the log10 rate of a Pareto front at each quality; NaN outside its range."""
    axes = front.quality, front.log_rate
    x, y = (np.broadcast_to(axis, (len(quality), len(axis))) for axis in axes)
    return interpolate(x, y, quality, form)


def mean_curve(points: Sequence[Point], metric: Metric) -> RateQuality:
    """Return the curve of the points' means."""
    means = [point.means[metric.column] for point in points]
    coordinates = [(m.bpp, m.value) for m in means if m.bpp is not None and m.value is not None]
    return curve_of([bpp for bpp, _ in coordinates], [value for _, value in coordinates], metric)


def curve_of(
    bpp: Sequence[float] | Float64Array, values: Sequence[float] | Float64Array, metric: Metric
) -> RateQuality:
    """Return the curve of the points that can be plotted."""
    rates = np.array(bpp, np.float64)
    quality, is_plottable = _qualities_and_mask(rates, np.array(values, np.float64), metric)
    return RateQuality(rates[is_plottable], quality[is_plottable])


def _qualities_and_mask(
    bpp: Float64Array, values: Float64Array, metric: Metric
) -> tuple[Float64Array, BoolArray]:
    quality = qualities(values, metric)
    return quality, np.isfinite(quality) & (bpp > 0)


def qualities(values: Float64Array, metric: Metric) -> Float64Array:
    """Convert values to qualities (`Metric.quality`), keeping the shape."""
    position = values
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric.saturating:
            position = np.where(values < 1, -10 * np.log10(1 - values), np.inf)
        if metric.scale == "decades":
            position = np.where(position > 0, np.log10(position), np.nan)
    return position if metric.better == "higher" else -position


def image_curves(points: Sequence[Point], metric: Metric) -> Mapping[int, RateQuality]:
    """Return the curve of each image, by image id."""
    if not points:
        return {}
    ids = np.concatenate([point.image_ids for point in points])
    bpp = np.concatenate([point.image_bpp for point in points])
    values = np.concatenate([point.image_values[metric.column] for point in points])
    quality, is_plottable = _qualities_and_mask(bpp, values, metric)
    order = np.argsort(ids, kind="stable")
    images, starts = np.unique(ids[order], return_index=True)
    groups = zip(images.tolist(), np.split(order, starts[1:]), strict=False)
    valued_images = {*np.unique(ids[~np.isnan(values)]).tolist()}
    plottable_indices = {
        image: indices[is_plottable[indices]] for image, indices in groups if image in valued_images
    }
    return {
        image: RateQuality(bpp[indices], quality[indices])
        for image, indices in plottable_indices.items()
    }


def interpolate(x: Float64Array, y: Float64Array, x_new: Float64Array, form: Form) -> Float64Array:
    """Interpolate each curve at `x_new`, shape (curves,); NaN outside its range.

    x, y: shape (curves, points), x ascending. Two points give a line.
    """
    if x.shape[1] < 2:
        return np.where(x[:, 0] == x_new, y[:, 0], np.nan)
    segment = np.clip((x <= x_new[:, None]).sum(axis=1) - 1, 0, x.shape[1] - 2)
    curve_index = np.arange(len(x))
    fraction = (x_new - x[curve_index, segment]) / np.diff(x)[curve_index, segment]
    coefficients = enumerate(cubics(x, y, form))
    terms = [
        coefficient[curve_index, segment] * fraction**power for power, coefficient in coefficients
    ]
    is_in_range = (x[:, 0] <= x_new) & (x_new <= x[:, -1])
    return np.asarray(np.where(is_in_range, np.sum(terms, axis=0), np.nan), np.float64)


def mean_changes(anchor: Axes, test: Axes, form: Form) -> Float64Array:
    """Return the mean of test's y minus anchor's y over common x, (curves,); NaN: none."""
    low = np.maximum(anchor[0][:, 0], test[0][:, 0])
    high = np.minimum(anchor[0][:, -1], test[0][:, -1])
    high = np.where(high > low, high, np.nan)
    anchor_integral, test_integral = (integral(*axes, low, high, form) for axes in (anchor, test))
    return np.asarray((test_integral - anchor_integral) / (high - low), np.float64)


def integral(
    x: Float64Array, y: Float64Array, low: Float64Array, high: Float64Array, form: Form
) -> Float64Array:
    """Integrate curves through (x, y) from `low` to `high`, both in the range of x; (curves,)."""
    width, coefficients = np.diff(x), cubics(x, y, form)

    def integrate_to(end: Float64Array) -> Float64Array:
        fraction = np.clip((end[:, None] - x[:, :-1]) / width, 0, 1)
        terms = [
            coefficient * fraction**power / power
            for power, coefficient in enumerate(coefficients, 1)
        ]
        return np.asarray((width * np.sum(terms, axis=0)).sum(axis=1), np.float64)

    return integrate_to(high) - integrate_to(low)


def cubics(x: Float64Array, y: Float64Array, form: Form) -> tuple[Float64Array, ...]:
    """Return coefficients 0 to 3 of the cubics between neighbouring points.

    x, y: shape (curves, points), x ascending, at least two points. A cubic's argument is the
    position between its two points, 0..1.
    """
    width = np.diff(x)
    if form == "cubic":
        y, tangent = _fit_polynomial(x, y)
    else:
        slope = np.diff(y) / width
        tangent = _akima(slope) if form == "akima" else _pchip(width, slope)
    rise = np.diff(y)
    start_tangent, end_tangent = width * tangent[:, :-1], width * tangent[:, 1:]
    return (
        y[:, :-1],
        start_tangent,
        3 * rise - 2 * start_tangent - end_tangent,
        start_tangent + end_tangent - 2 * rise,
    )


def _fit_polynomial(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    midpoint, half_width = (x[:, [-1]] + x[:, [0]]) / 2, (x[:, [-1]] - x[:, [0]]) / 2
    exponents = np.arange(min(4, x.shape[1]))
    powers = ((x - midpoint) / half_width)[..., None] ** exponents
    # A curve with a NaN has no value anywhere, since its widths are NaN.
    coefficients = np.linalg.pinv(np.nan_to_num(powers)) @ y[..., None]
    lower_powers = np.concatenate([np.zeros_like(powers[..., :1]), powers[..., :-1]], axis=-1)
    slopes = (exponents * lower_powers) @ coefficients
    return (powers @ coefficients)[..., 0], slopes[..., 0] / half_width


def _pchip(width: Float64Array, slope: Float64Array) -> Float64Array:
    """Return the tangents of monotone cubics at the points, (curves, slopes + 1).

    F. N. Fritsch and J. Butland, "A Method for Constructing Local Monotone Piecewise Cubic
    Interpolants", SIAM J. Sci. Stat. Comput. 5 (1984), as in scipy.
    """
    if slope.shape[1] == 1:
        return np.hstack([slope, slope])
    previous_width, next_width = width[:, :-1], width[:, 1:]
    previous_slope, next_slope = slope[:, :-1], slope[:, 1:]
    previous_weight, next_weight = 2 * next_width + previous_width, next_width + 2 * previous_width
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_slope = (previous_weight + next_weight) / (
            previous_weight / previous_slope + next_weight / next_slope
        )
    first_tangent = _end_tangent(
        previous_width[:, :1], previous_slope[:, :1], next_width[:, :1], next_slope[:, :1]
    )
    last_tangent = _end_tangent(
        next_width[:, -1:], next_slope[:, -1:], previous_width[:, -1:], previous_slope[:, -1:]
    )
    inner_tangents = np.where(previous_slope * next_slope > 0, mean_slope, 0.0)
    return np.hstack([first_tangent, inner_tangents, last_tangent])


def _end_tangent(
    width: Float64Array, slope: Float64Array, next_width: Float64Array, next_slope: Float64Array
) -> Float64Array:
    tangent = ((2 * width + next_width) * slope - width * next_slope) / (width + next_width)
    changes_sign = np.sign(slope) != np.sign(next_slope)
    tangent = np.where(changes_sign & (np.abs(tangent) > 3 * np.abs(slope)), 3 * slope, tangent)
    return np.where(np.sign(tangent) == np.sign(slope), tangent, 0.0)


def _akima(slope: Float64Array) -> Float64Array:
    """Return Akima's tangents at the points, (curves, slopes + 1).

    H. Akima, "A New Method of Interpolation and Smooth Curve Fitting Based on Local Procedures", J.
    ACM 17 (1970), as in scipy.
    """
    last_index = slope.shape[1] - 1
    slope_before = 2 * slope[:, [0]] - slope[:, [min(1, last_index)]]
    slope_after = 2 * slope[:, [last_index]] - slope[:, [max(last_index - 1, 0)]]
    slope = np.hstack(
        [
            2 * slope_before - slope[:, :1],
            slope_before,
            slope,
            slope_after,
            2 * slope_after - slope[:, -1:],
        ]
    )
    slope_changes = np.abs(np.diff(slope))
    weight = slope_changes[:, 2:] + slope_changes[:, :-2]
    is_defined = weight > 1e-9 * weight.max(axis=1, keepdims=True)
    tangent = np.where(
        is_defined,
        (slope_changes[:, 2:] * slope[:, 1:-2] + slope_changes[:, :-2] * slope[:, 2:-1])
        / np.where(is_defined, weight, 1),
        0.5 * (slope[:, 3:] + slope[:, :-3]),
    )
    return np.asarray(tangent, np.float64)
