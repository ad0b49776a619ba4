"""Akima interpolation, as BD-rates have it, in arrays whose first axis is the curve.

H. Akima, "A New Method of Interpolation and Smooth Curve Fitting Based on Local Procedures", J. ACM
17 (1970), as in scipy. Two points are joined by a line.
"""

import numpy as np

from benchmark.codec import Float64Array


def interpolated(x: Float64Array, y: Float64Array, at: Float64Array) -> Float64Array:
    """Return the value of each curve at a place, shape (curves,); NaN where it does not reach it.

    x, y: shape (curves, points), x rising along the points. at: shape (curves,).

    >>> interpolated(np.array([[0.0, 1.0]] * 2), np.array([[5.0, 7.0]] * 2), np.array([0.5, 2.0]))
    array([ 6., nan])
    """
    if x.shape[1] < 2:
        return np.where(x[:, 0] == at, y[:, 0], np.nan)
    place = np.clip((x <= at[:, None]).sum(axis=1) - 1, 0, x.shape[1] - 2)
    curve = np.arange(len(x))
    share = (at - x[curve, place]) / np.diff(x)[curve, place]
    parts = [one[curve, place] * share**power for power, one in enumerate(cubic(x, y))]
    inside = (x[:, 0] <= at) & (at <= x[:, -1])
    return np.asarray(np.where(inside, np.sum(parts, axis=0), np.nan), np.float64)


def cubic(x: Float64Array, y: Float64Array) -> tuple[Float64Array, ...]:
    """Return the cubic between neighbours, in powers 0 to 3 of the share of the way.

    x, y: shape (curves, points), x rising along the points, of which there are two at least.
    """
    width = np.diff(x)
    slope = np.diff(y) / width
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
    left, right = width * tangent[:, :-1], width * tangent[:, 1:]
    rise = np.diff(y)
    return y[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise
