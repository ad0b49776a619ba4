"""A summary in; rate, distortion and realism of our codec over q and beta, as arrays, out. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.rate_distortion import Measure, curves
from benchmark.analysis.summarise import Point, Summary
from benchmark.codec import Setting
from benchmark.published.traversal import betas

LEAST_BETAS, LEAST_RATES = 3, 2
# Columns that say how real pictures look, the best founded first: distances between distributions,
# then, where fewer images than those take were measured, distances between pictures.
REALISM = ("fid256", "fd_squeeze", "fd_alex", "lpips_squeeze", "lpips_alex")
BETWEEN_PICTURES = ("lpips_squeeze", "lpips_alex")


class Grid(NamedTuple):
    """Arrays are (betas, rates), both ascending."""

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


def grid(summary: Summary, distortion: Measure, realisms: Sequence[Measure]) -> Grid | str:
    """Every beta at every setting that all betas have, or a clause on what is missing.

    Realism is the first of `realisms`, ordered as `REALISM`, that all these points have.
    """
    by_beta = betas(summary)
    if len(by_beta) < LEAST_BETAS:
        return f"{len(by_beta)} values of beta are measured, a surface needs {LEAST_BETAS}"
    known = [one for one in realisms if one.column in REALISM and one.column in summary.protocols]
    known.sort(key=lambda measure: REALISM.index(measure.column))
    for realism in known:
        whole = [
            _whole(summary, points[0].label, distortion, realism) for points in by_beta.values()
        ]
        shared = [setting for setting in whole[0] if all(setting in one for one in whole)]
        if len(shared) >= LEAST_RATES:
            shared.sort(key=lambda setting: whole[0][setting].bpp or 0.0)
            return _grid(summary, tuple(by_beta), shared, whole, distortion, realism)
    return f"no measure of realism has values at {LEAST_RATES} settings of all its betas"


def records(found: Grid) -> list[dict[str, Any]]:
    """One flat record a point."""
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
    """Points of a variant that both figures may draw, by setting."""
    first, second = (curves(summary, measure).get(label, []) for measure in (distortion, realism))
    return {point.setting: point for point in first if point in second}


def _grid(
    summary: Summary,
    betas: tuple[float, ...],
    settings: Sequence[Setting],
    whole: Sequence[dict[Setting, Point]],
    distortion: Measure,
    realism: Measure,
) -> Grid:
    def values(column: str) -> NDArray[np.float64]:
        return np.array([[one[at].means[column].value for at in settings] for one in whole], float)

    points = [one[at] for one in whole for at in settings]
    return Grid(
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
