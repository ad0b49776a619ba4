"""Rate, distortion and realism of our codec over q and beta, as arrays. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.builds import Family, one_build, origin
from benchmark.analysis.summarise import Edition, Point, Summary
from benchmark.codec import Setting
from benchmark.metrics.measure import Measure
from benchmark.registry import OWN

LEAST_BETAS, LEAST_RATES = 3, 2


class RealismGrid(NamedTuple):
    """Arrays of shape (betas, rates), both ascending, of one codec and build."""

    distortion: Measure
    realism: Measure
    betas: tuple[float, ...]
    settings: tuple[str, ...]
    bpp: NDArray[np.float64]
    distortion_values: NDArray[np.float64]
    realism_values: NDArray[np.float64]
    images: int
    origin: str  # of all its points, as `builds.origin` says it
    caveats: tuple[str, ...]
    protocols: tuple[str, str]
    left_out: tuple[str, ...] = ()  # sentences on variants and settings that are not in it
    recorded: bool = False  # some points are precomputed


def beta_of(edition: Edition) -> float | None:
    """Return the realism weight of our codec's variant; None for other codecs."""
    beta = edition.options.get("beta", "")
    return float(beta) if edition.codec == OWN and beta else None


def betas(summary: Summary, measures: Sequence[Measure]) -> Family:
    """Return our codec's variants of one build that have these metrics (`builds.one_build`).

    They are of its default checkpoint, or of the one with most betas.
    """
    best = _of_one_checkpoint(summary)
    return one_build(
        summary, lambda edition: edition.codec == OWN and edition.variant in best, measures
    )


def realism_grid(
    summary: Summary, distortion: Measure, realisms: Sequence[Measure]
) -> RealismGrid | str:
    """Return all betas of one build at the settings that all have, or a clause on what is missing.

    Realism is judged by the best founded of `realisms` (`Measure.realism`) that most betas have: a
    distance between distributions or, over few images, between pictures.
    """
    measured = len(_of_one_checkpoint(summary))
    if measured < LEAST_BETAS:
        return f"{measured} values of beta are measured, a surface needs {LEAST_BETAS}"
    known = [one for one in realisms if one.realism is not None and one.column in summary.protocols]
    known.sort(key=lambda measure: measure.realism or 0)
    found: list[RealismGrid] = []
    mixed: dict[str, None] = {}
    for realism in known:
        family = betas(summary, (distortion, realism))
        mixed |= dict.fromkeys(family.left_out)
        whole = sorted(family.points.values(), key=lambda points: beta_of(points[0].edition) or 0)
        by_setting = [{point.setting: point for point in points} for points in whole]
        shared = (
            [at for at in by_setting[0] if all(at in one for one in by_setting)] if whole else []
        )
        if len(whole) >= LEAST_BETAS and len(shared) >= LEAST_RATES:
            shared.sort(key=lambda setting: by_setting[0][setting].bpp or 0.0)
            found.append(_grid(summary, shared, by_setting, distortion, realism, family))
    if found:
        return max(found, key=lambda one: len(one.betas))  # the first of equals
    why = f"no measure of realism has values at {LEAST_RATES} settings of all its betas"
    return "; ".join([why, *mixed])


def _of_one_checkpoint(summary: Summary) -> set[str]:
    """Return the variants of our codec with a beta and the same other options."""
    by_rest: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for edition in {point.label: point.edition for point in summary.points}.values():
        if beta_of(edition) is not None:
            options = edition.options
            del options["beta"]
            by_rest.setdefault(tuple(sorted(options.items())), set()).add(edition.variant)
    return by_rest.get(()) or max(by_rest.values(), key=len, default=set())


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


def _grid(
    summary: Summary,
    settings: Sequence[Setting],
    whole: Sequence[dict[Setting, Point]],
    distortion: Measure,
    realism: Measure,
    family: Family,
) -> RealismGrid:
    def values(column: str) -> NDArray[np.float64]:
        return np.array([[one[at].means[column].value for at in settings] for one in whole], float)

    points = [one[at] for one in whole for at in settings]
    return RealismGrid(
        distortion,
        realism,
        tuple(beta_of(one[settings[0]].edition) or 0.0 for one in whole),
        tuple(map(str, settings)),
        np.array(
            [[one[at].means[distortion.column].bpp for at in settings] for one in whole], float
        ),
        values(distortion.column),
        values(realism.column),
        points[0].means[distortion.column].images,
        origin(points),
        tuple(dict.fromkeys(caveat for point in points for caveat in point.edition.caveats)),
        (summary.protocols[distortion.column], summary.protocols[realism.column]),
        family.left_out,
        any(point.edition.recorded for point in points),
    )
