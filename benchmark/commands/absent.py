"""Lines of the terminal on what is absent: metrics not computed, codecs that cannot run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.select import Skipped


def skipped_codecs(skipped: "Iterable[Skipped]", details: bool = False) -> list[str]:
    """Return lines that name every skipped codec and what it lacks.

    Codecs that lack weights, a package or the same other thing share a line; with `details`, each
    has one of its own with its whole reason.
    """
    groups: dict[object, list[Skipped]] = {}
    for one in dict.fromkeys(skipped):
        kind, subject, _ = one.reason
        shared = {"weights": kind, "package": (kind, subject)}.get(kind, one.why)
        groups.setdefault(one if details else shared, []).append(one)
    return [_line(group) for group in groups.values()]


def _line(group: "Sequence[Skipped]") -> str:
    from benchmark.system.weights import SEARCHED

    first = group[0]
    names = ", ".join(dict.fromkeys(one.codec for one in group))
    if len(group) == 1:
        return f"{names}: {first.why}"
    if first.reason.kind == "weights":
        commands = dict.fromkeys(f"`{one.reason.remedy}`" for one in group if one.reason.remedy)
        return f"{names}: no weight files in {SEARCHED}: run {', '.join(commands)}"
    if first.reason.kind == "package":
        return f"{names}: need the Python package {first.reason.subject}"
    return f"{names}: {first.why}"


def metrics_not_measured(
    lacking: Mapping[str, str], details: bool = False, judged: Sequence[str] = ()
) -> list[str]:
    """Return a line for each kind of thing that a run's metrics lack.

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
    if needed := labelled({name: "" for name in lacking if name in judged}):
        lines.append(
            f"the verdict needs {', '.join(needed)}: without values it can only pass if every "
            "image has the pixels of the reference"
        )
    return lines


def without_values(outcome: "Outcome", details: bool = False) -> list[str]:
    """Return a line for each kind of reason why rows of a run have no value of a metric.

    Metrics that cannot be computed here are left out: a run begins with a line on them. details: a
    line for each column and reason, as the rows have it.
    """
    from benchmark.metrics.availability import by_kind
    from benchmark.registry import metric_class, scored_by_image

    absent = outcome.without_value()
    if details:
        return [f"no value {one.column} of {one.cells} cells: {one.reason}" for one in absent]
    labels: dict[str, list[str]] = {}
    for name in outcome.metrics:
        (of_image,) = scored_by_image([name])
        labels.setdefault(metric_class(of_image).column, []).append(metric_class(name).label)
    of_count: dict[int, list[tuple[str, str]]] = {}
    named = {metric_class(name).column for name in scored_by_image(outcome.lacking)}
    for one in (one for one in absent if one.column not in named):
        of_count.setdefault(one.cells, []).append((", ".join(labels[one.column]), one.reason))
    return [
        f"no value in {count} cells: {kind}"
        for count, reasons in of_count.items()
        for kind in by_kind(reasons, then="`bench rescore`")
    ]
