"""Rate, distortion and realism of our codec over q and beta, as arrays. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.rate_distortion import curves
from benchmark.analysis.summarise import Point, Summary
from benchmark.codec import Setting
from benchmark.metrics.measure import Measure
from benchmark.registry import parse_codec

OWN = "ours"
LEAST_BETAS, LEAST_RATES = 3, 2


class RealismGrid(NamedTuple):
    """Arrays of shape (betas, rates), both ascending, of one codec and checkpoint."""

    distortion: Measure
    realism: Measure
    betas: tuple[float, ...]
    settings: tuple[str, ...]
    bpp: NDArray[np.float64]
    distortion_values: NDArray[np.float64]
    realism_values: NDArray[np.float64]
    images: int
    version: str
    caveats: tuple[str, ...]
    protocols: tuple[str, str]


def betas(summary: Summary) -> dict[float, list[Point]]:
    """Return our codec's points by beta, of its default checkpoint or the one with most betas."""
    by_rest: dict[tuple[tuple[str, str], ...], dict[float, list[Point]]] = {}
    for point in summary.points:
        if point.edition.codec != OWN or not point.label.startswith(f"{OWN}:"):
            continue
        options = dict(parse_codec(point.label).options)
        beta = options.pop("beta", "")
        if beta:
            rest = by_rest.setdefault(tuple(sorted(options.items())), {})
            rest.setdefault(float(beta), []).append(point)
    best = by_rest.get(()) or max(by_rest.values(), key=len, default={})
    return dict(sorted(best.items()))


def realism_grid(
    summary: Summary, distortion: Measure, realisms: Sequence[Measure]
) -> RealismGrid | str:
    """Return every beta at every setting that all betas have, or a clause on what is missing.

    Realism is judged by the best founded of `realisms` (`Measure.realism`) that all these points
    have: a distance between distributions or, over few images, between pictures.
    """
    by_beta = betas(summary)
    if len(by_beta) < LEAST_BETAS:
        return f"{len(by_beta)} values of beta are measured, a surface needs {LEAST_BETAS}"
    known = [one for one in realisms if one.realism is not None and one.column in summary.protocols]
    known.sort(key=lambda measure: measure.realism or 0)
    for realism in known:
        whole = [
            _whole(summary, points[0].label, distortion, realism) for points in by_beta.values()
        ]
        shared = [setting for setting in whole[0] if all(setting in one for one in whole)]
        if len(shared) >= LEAST_RATES:
            shared.sort(key=lambda setting: whole[0][setting].bpp or 0.0)
            return _grid(summary, tuple(by_beta), shared, whole, distortion, realism)
    return f"no measure of realism has values at {LEAST_RATES} settings of all its betas"


def records(found: RealismGrid) -> list[dict[str, Any]]:
    """Return one flat record for every point."""
    return [
        {
            "beta": beta,
            "setting": setting,
            "bpp": float(found.bpp[row, column]),
            found.distortion.column: float(found.distortion_values[row, column]),
            found.realism.column: float(found.realism_values[row, column]),
            "images": found.images,
        }
        for row, beta in enumerate(found.betas)
        for column, setting in enumerate(found.settings)
    ]


def _whole(
    summary: Summary, label: str, distortion: Measure, realism: Measure
) -> dict[Setting, Point]:
    """Return points of a variant that both metrics' figures may draw, by setting."""
    first, second = (curves(summary, measure).get(label, []) for measure in (distortion, realism))
    return {point.setting: point for point in first if point in second}


def _grid(
    summary: Summary,
    betas: tuple[float, ...],
    settings: Sequence[Setting],
    whole: Sequence[dict[Setting, Point]],
    distortion: Measure,
    realism: Measure,
) -> RealismGrid:
    def values(column: str) -> NDArray[np.float64]:
        return np.array([[one[at].means[column].value for at in settings] for one in whole], float)

    points = [one[at] for one in whole for at in settings]
    return RealismGrid(
        distortion,
        realism,
        betas,
        tuple(map(str, settings)),
        np.array(
            [[one[at].means[distortion.column].bpp for at in settings] for one in whole], float
        ),
        values(distortion.column),
        values(realism.column),
        points[0].means[distortion.column].images,
        points[0].edition.version,
        tuple(dict.fromkeys(caveat for point in points for caveat in point.edition.caveats)),
        (summary.protocols[distortion.column], summary.protocols[realism.column]),
    )
