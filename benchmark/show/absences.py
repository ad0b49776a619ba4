"""Absences: what a summary, a metric or a curve lacks, as records, a table and lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.answer import Absent, Column
from benchmark.metrics.metric import NOT_COMPUTED, Metric, absence, remedies
from benchmark.rows.summary import Summary, excluded
from benchmark.show.table import Table
from benchmark.system.text import by_key, counted, listed

OF_LAST_RUN = {"refused_images": "refused by the last run", "skipped_codecs": "skipped by it"}
COLUMNS = Column("what"), Column("why"), Column("remedy")


def problems(summary: Summary, runs: Sequence[Mapping[str, Any]] = ()) -> list[Absent]:
    """Return failed cells, incomplete points, editions that are not shown, and refusals."""
    labels = summary.labels
    failed = by_key(
        ((labels[point.edition], reason), f"{point.setting} ({counted(count, 'cell')})")
        for point in summary.points
        for reason, count in point.failures
    )
    result = [
        Absent(f"{label} {', '.join(settings)}", f"failed: {reason}")
        for (label, reason), settings in failed.items()
    ]
    if incomplete := [f"{labels[p.edition]} {p.setting}" for p in summary.points if p.missing]:
        why = "fewer images than others; --common restricts all points to those that all have"
        result.append(Absent(listed(incomplete), why, "bench run"))
    result += summary.absent
    for field, why in OF_LAST_RUN.items():
        of_run = dict((runs[-1] if runs else {}).get(field) or ())
        result += [Absent(what, f"{why}: {reason}") for what, reason in of_run.items()]
    return result


def lacking(summary: Summary, metrics: Sequence[Metric]) -> list[Absent]:
    """Return the metrics without any value, and the points that curves of some metrics lack.

    Metrics that lack the same weights, program or package are one entry.
    """
    known = [metric for metric in metrics if summary.values_of(metric.column)]
    reasons = list[tuple[tuple[str, str], str]]()
    for metric in (metric for metric in metrics if metric not in known):
        why = summary.why_without(metric.column) or NOT_COMPUTED
        if NOT_COMPUTED in why:
            reasons.append(
                ((NOT_COMPUTED, f"{summary.again} --metrics {metric.column}"), metric.label)
            )
        else:
            missing, command = absence(why)
            reasons.append(((missing, command.strip("`")), metric.label))
    result = [
        Absent(", ".join(labels), why, remedy) for (why, remedy), labels in by_key(reasons).items()
    ]
    points: dict[tuple[str, str], dict[str, str]] = {}
    labels = summary.labels
    for metric in known:
        for point, why in excluded(summary, metric):
            key = labels[point.edition], str(point.setting)
            points.setdefault(key, {})[metric.label] = why
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for (label, setting), whys in points.items():
        for why in dict.fromkeys(whys.values()):
            of = [metric for metric, reason in whys.items() if reason == why]
            group = (why, *(() if len(of) == len(known) else of))
            groups.setdefault(group, {}).setdefault(label, []).append(setting)
    count = Counter(labels[point.edition] for point in summary.points)
    for (why, *of), codecs in groups.items():
        what = (
            label if len(settings) == count[label] else f"{label} {', '.join(settings)}"
            for label, settings in codecs.items()
        )
        where = f"in no curve of {', '.join(of) or 'any metric'}"
        result.append(Absent("; ".join(what), f"{where}: {why}"))
    return result


def gaps(summary: Summary, metrics: Sequence[Metric]) -> list[Absent]:
    """Return the curves that a metric has of some points of a codec, and not of others."""
    labels = summary.labels
    result, by_label = [], by_key((labels[point.edition], point) for point in summary.points)
    for metric in metrics:
        for label, points in by_label.items():
            without = sum(not point.has(metric.column) for point in points)
            if 0 < without < len(points):
                why = f"{NOT_COMPUTED} at {without} of {counted(len(points), 'point')}"
                remedy = f"{summary.again} --metrics {metric.column}"
                result.append(Absent(f"{metric.label} of {label}", why, remedy))
    return result


def absent_table(absent: Sequence[Absent]) -> Table:
    """Return a row for each thing that is absent."""
    return Table.of(COLUMNS, absent, absent="").filled(always=2)


def lines_of(absent: Sequence[Absent]) -> list[str]:
    """Return a line for each reason, with what it is of and the commands that mend it."""
    lines = []
    for why, group in by_key((of.why, of) for of in absent).items():
        names = listed([*dict.fromkeys(of.what for of in group)])
        remedies = dict.fromkeys(f"`{of.remedy}`" for of in group if of.remedy)
        lines.append(f"{names}: {why}" + (f" ({', '.join(remedies)})" if remedies else ""))
    return lines


def not_shown(summary: Summary) -> list[str]:
    """Return a line for each edition measured here that a command would bring to be shown."""
    return lines_of(summary.not_shown)


def absent_sentences(names: Sequence[str], summary: Summary) -> list[str]:
    """Return a sentence on each metric without any value, with the command that fills it in."""
    metrics = {name: Metric.named(name) for name in names}
    return [
        f"No {of.label}: {remedies([name], summary.why_without(of.column), summary.again)}."
        for name, of in metrics.items()
        if not summary.values_of(of.column)
    ]
