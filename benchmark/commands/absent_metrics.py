"""Lines of the terminal on metrics that are not computed: before a run, and on rows after it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome


def before_measuring(
    lacking: Mapping[str, str], details: bool = False, judged: Sequence[str] = ()
) -> list[str]:
    """Return what will not be measured, one line for each kind of thing that is absent.

    lacking: reasons by the names of metrics. details: one line per metric, with the whole reason.
    judged: metrics that a verdict needs.
    """
    from benchmark.metrics.availability import by_kind, labelled

    reasons = labelled(lacking)
    kinds = (
        [f"{label}: {why}" for label, why in reasons.items()]
        if details
        else by_kind(reasons.items())
    )
    lines = [f"not measured: {kind}" for kind in kinds]
    needed = labelled({name: "" for name in lacking if name in judged})
    if needed:
        lines.append(
            f"the verdict needs {', '.join(needed)}: without values it can only pass if every "
            "image has the pixels of the reference"
        )
    return lines


def without_values(outcome: "Outcome", details: bool = False) -> list[str]:
    """Return a line for each kind of reason why rows of a run have no value of a metric.

    details: a line for each column and reason, as the rows have it.
    """
    from benchmark.metrics.availability import by_kind

    found = outcome.without_value()
    if details:
        return [f"no value {one.column} of {one.cells} cells: {one.reason}" for one in found]
    labels = _labels(outcome.metrics)
    of_count: dict[int, list[tuple[str, str]]] = {}
    for one in found:
        of_count.setdefault(one.cells, []).append((labels[one.column], one.reason))
    return [
        f"no value in {count} cells: {kind}"
        for count, reasons in of_count.items()
        for kind in by_kind(reasons, then="`bench rescore`")
    ]


def _labels(metrics: Sequence[str]) -> dict[str, str]:
    """Return the labels of metrics by the columns that are computed per image."""
    from benchmark.registry import metric_class, scored_by_image

    found: dict[str, list[str]] = {}
    for name in metrics:
        (of_image,) = scored_by_image([name])
        found.setdefault(metric_class(of_image).column, []).append(metric_class(name).label)
    return {column: ", ".join(labels) for column, labels in found.items()}
