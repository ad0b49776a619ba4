"""When a cluster would be done with cells, for `bench plan --nodes`: as facts and as a line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.plan.cells import Cell
    from benchmark.plan.request import Request


def simulation(
    cells: "Sequence[Cell]", table: "pa.Table", nodes: int, workers_per_node: int
) -> dict[str, Any]:
    """What to print as json; cells for a GPU have one worker a node beside the others."""
    from benchmark.plan.estimate import CostModel
    from benchmark.plan.simulate import simulate

    model = CostModel(table)
    lanes = {"cpu": nodes * workers_per_node, "cuda": nodes}
    found = [
        simulate(own, model.seconds, workers)
        for device, workers in lanes.items()
        if (own := [cell for cell in cells if cell.info.device == device])
    ]
    slowest = max(found, key=lambda one: one.makespan.seconds, default=None)
    return {
        "nodes": nodes,
        "workers": slowest.workers if slowest else lanes["cpu"],
        "seconds": slowest.makespan.seconds if slowest else 0.0,
        "ideal_seconds": slowest.makespan.ideal if slowest else 0.0,
        "longest_seconds": slowest.makespan.longest if slowest else 0.0,
        "excess": slowest.makespan.excess if slowest else 0.0,
        "cells_without_estimate": sum(one.unknown for one in found),
        "cells_by_typical_times": sum(model.basis(cell) == "typical" for cell in cells),
    }


def simulation_line(facts: dict[str, Any]) -> str:
    """The same for people."""
    unknown, typical = facts["cells_without_estimate"], facts["cells_by_typical_times"]
    return (
        f"on {facts['nodes']} nodes with {facts['workers']} workers: done after "
        f"{_hours(facts['seconds'])}, {100 * facts['excess']:.1f} % more than the ideal "
        f"{_hours(facts['ideal_seconds'])}; metrics, transfers and starting apart"
        + (f"; {typical} cells by typical times, as they were never measured" if typical else "")
        + (f"; without {unknown} cells that nothing is known about" if unknown else "")
    )


def imagined(request: "Request") -> "tuple[list[Cell], pa.Table] | None":
    """Cells of pictures that stand in for a dataset, and its rows; None if its sizes are unknown.

    The dataset's own pictures are taken where they are here and only a codec is missing.
    """
    from benchmark.errors import Unavailable
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.select import parse_points
    from benchmark.plan.simulate import imagined_cells, typical_sources
    from benchmark.rows.store import Store

    try:
        images = list(open_sources(request).images)
    except Unavailable:
        images = typical_sources(request.dataset, request.limit)
    if not images:
        return None
    store = Store(request.results / request.dataset.partition(":")[0])
    points = parse_points(request.points)
    cells = imagined_cells(request.codecs, points, request.dataset, images)
    return cells, store.table()


def _hours(seconds: float) -> str:
    """In the unit that people would use.

    >>> _hours(90.4), _hours(5400), _hours(360000)
    ('90 s', '90.0 min', '100.0 h')
    """
    if seconds < 300:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 36000 else f"{seconds / 3600:.1f} h"
