"""Curves between their points: Akima's and PCHIP's interpolation, a polynomial, and integrals."""

from typing import Literal

import numpy as np

from benchmark.codec import Float64Array

Form = Literal["akima", "pchip", "cubic"]


def area(x: Float64Array, y: Float64Array, low: float, high: float, form: Form) -> float:
    """Return the integral of a curve from `low` to `high`; x and y of shape (points,), x rising."""
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    if form != "cubic":
        by = Akima1DInterpolator if form == "akima" else PchipInterpolator
        return float(by(x, y).integrate(low, high))
    primitive = np.polyint(np.polyfit(x, y, 3))
    return float(np.polyval(primitive, high) - np.polyval(primitive, low))


def interpolated(x: Float64Array, y: Float64Array, at: Float64Array) -> Float64Array:
    """Return the value of each Akima curve at a place, shape (curves,); NaN beyond its ends.

    H. Akima, "A New Method of Interpolation and Smooth Curve Fitting Based on Local Procedures", J.
    ACM 17 (1970), as in scipy and in BD-rates. Two points are joined by a line.

    x, y: shape (curves, points), x rising along the points. at: shape (curves,).

    >>> interpolated(np.array([[0.0, 1.0]] * 2), np.array([[5.0, 7.0]] * 2), np.array([0.5, 2.0]))
    array([ 6., nan])
    """
    if x.shape[1] < 2:
        return np.where(x[:, 0] == at, y[:, 0], np.nan)
    place = np.clip((x <= at[:, None]).sum(axis=1) - 1, 0, x.shape[1] - 2)
    curve = np.arange(len(x))
    share = (at - x[curve, place]) / np.diff(x)[curve, place]
    parts = [
        coefficient[curve, place] * share**power for power, coefficient in enumerate(cubic(x, y))
    ]
    inside = (x[:, 0] <= at) & (at <= x[:, -1])
    return np.asarray(np.where(inside, np.sum(parts, axis=0), np.nan), np.float64)


def cubic(x: Float64Array, y: Float64Array, form: Form = "akima") -> tuple[Float64Array, ...]:
    """Return the cubic between neighbours, in powers 0 to 3 of the share of the way.

    x, y: shape (curves, points), x rising along the points, of which there are two at least. form:
    "pchip" where y does not fall and there are three.
    """
    width = np.diff(x)
    slope, rise = np.diff(y) / width, np.diff(y)
    tangent = _pchip(width, slope) if form == "pchip" else _akima(slope)
    left, right = width * tangent[:, :-1], width * tangent[:, 1:]
    return y[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise


def _pchip(width: Float64Array, slope: Float64Array) -> Float64Array:
    """Return PCHIP's tangents of curves that rise, of three points at least; (curves, points).

    F. N. Fritsch and J. Butland, "A Method for Constructing Local Monotone Piecewise Cubic
    Interpolants", SIAM J. Sci. Stat. Comput. 5 (1984), as in scipy.
    """
    before, after = width[:, :-1], width[:, 1:]
    with np.errstate(divide="ignore"):  # a flat stretch has flat ends
        steepness = (2 * after + before) / slope[:, :-1] + (after + 2 * before) / slope[:, 1:]
    middle = 3 * (before + after) / steepness
    first, last = (
        np.maximum(((2 * h[:, :1] + h[:, 1:2]) * m[:, :1] - h[:, :1] * m[:, 1:2]) / both, 0)
        for h, m in ((width, slope), (width[:, ::-1], slope[:, ::-1]))
        for both in [h[:, :1] + h[:, 1:2]]
    )
    return np.hstack([first, middle, last])


def _akima(slope: Float64Array) -> Float64Array:
    """Return Akima's tangents at the points between and beside slopes, (curves, slopes + 1)."""
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


def integral(
    x: Float64Array, y: Float64Array, to: Float64Array, form: Form = "akima"
) -> Float64Array:
    """Return the integral of the curve through (x, y) from its first point to `to`, (curves,)."""
    width = np.diff(x)
    share = np.clip((to[:, None] - x[:, :-1]) / width, 0, 1)
    terms = enumerate(cubic(x, y, form), 1)
    parts = [coefficient * share**power / power for power, coefficient in terms]
    return np.asarray((width * np.sum(parts, axis=0)).sum(axis=1), np.float64)
