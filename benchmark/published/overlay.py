"""Published curves that may be drawn over measured ones, and those that follow other protocols."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.analysis.summarise import Summary
from benchmark.datasets.dataset import profile
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure
from benchmark.published.curves import SystemCurve, published_curves
from benchmark.published.points import PublishedPoint


class Overlay(NamedTuple):
    """Published curves under one metric, by whether they may stand beside its measured rows."""

    drawn: tuple[SystemCurve, ...]
    refused: tuple[SystemCurve, ...]  # of another protocol


def overlay(curves: Sequence[SystemCurve], protocol: str | None, mix: bool = False) -> Overlay:
    """Return the curves under the protocol of the measured rows as drawn, the others as refused.

    Where nothing is measured, `protocol` is None: then it is that of the first curve. With `mix`
    all are drawn.
    """
    if mix or not curves:
        return Overlay(tuple(curves), ())
    wanted = curves[0].protocols[0] if protocol is None else protocol
    return Overlay(
        tuple(curve for curve in curves if curve.protocols[0] == wanted),
        tuple(curve for curve in curves if curve.protocols[0] != wanted),
    )


def overlays(
    points: Sequence[PublishedPoint],
    summary: Summary,
    measures: Sequence[Measure],
    dataset: str,
    mix: bool,
) -> dict[str, Overlay]:
    """Return the overlay of every measure that has values, by column.

    Raises `UsageError` for means over other images, and for a mixture that was not asked for.
    """
    found = {
        measure.column: overlay(
            published_curves(points, dataset, measure), summary.protocols[measure.column], mix
        )
        for measure in measures
        if summary.values_of(measure.column)
    }
    if any(one.drawn or one.refused for one in found.values()):
        check_same_images(dataset, summary.images, summary.average)
    refuse_mixture(found, summary.protocols)
    return found


def refuse_mixture(found: Mapping[str, Overlay], protocols: Mapping[str, str]) -> None:
    """Raise `UsageError` where a system can be drawn under no metric but by mixing protocols.

    `found` and the `protocols` of the measured rows are by metric column.
    """
    drawn = {_system(curve) for one in found.values() for curve in one.drawn}
    for column, one in found.items():
        for curve in one.refused:
            if _system(curve) not in drawn:
                raise UsageError(
                    f"{curve.name} cannot stand beside these results: its {column} is by "
                    f"{curve.protocols[0]}, theirs by {protocols.get(column, 'another rule')}; "
                    "--mix-protocols draws both, and the figure says so."
                )


def left_out(
    points: Iterable[PublishedPoint], found: Mapping[str, Overlay], dataset: str
) -> list[str]:
    """Return a sentence for each metric and protocol left out, and on systems without any points.

    `points` are those asked for.
    """
    refused: dict[tuple[str, str], dict[str, None]] = {}
    for column, one in found.items():
        for curve in one.refused:
            refused.setdefault((column, curve.protocols[0]), {})[curve.name] = None
    there = {_system(curve) for one in found.values() for curve in (*one.drawn, *one.refused)}
    absent = dict.fromkeys(point.system for point in points if point.system not in there)
    return [
        f"not drawn: published {column} of {', '.join(names)}: {protocol} is another rule than "
        "that of the measured rows (--mix-protocols draws them)"
        for (column, protocol), names in refused.items()
    ] + [f"nothing published on {dataset} in these metrics: {', '.join(absent)}"] * bool(absent)


def check_same_images(dataset: str, images: int, average: str) -> None:
    """Raise `UsageError` where measured means are over other images or averages than published."""
    published = profile(dataset).published_images or images
    if published != images:
        raise UsageError(
            f"published means over {dataset} are of {published} images, these results are of "
            f"{images}: they cannot stand beside each other."
        )
    if average != "per_image":
        raise UsageError("published rates are means of each image's bpp: leave out --pooled.")


def _system(curve: SystemCurve) -> str:
    return curve.system.published[0][0]
