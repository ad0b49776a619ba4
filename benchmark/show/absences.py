"""Missing values, points and editions, as records, a table and lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.answer import Absent, Column
from benchmark.metrics.metric import NOT_COMPUTED, Metric, absence, remedies
from benchmark.rows.summary import Summary, excluded_points
from benchmark.show.table import Table
from benchmark.system.text import counted, group_by_key, listed

LAST_RUN_FIELDS = {
    "refused_images": "refused by the last run",
    "skipped_codecs": "skipped by the last run",
}
COLUMNS = Column("what"), Column("why"), Column("remedy")


def problems(summary: Summary, runs: Sequence[Mapping[str, Any]] = ()) -> list[Absent]:
    """Return failed cells, incomplete points, hidden editions and refused inputs."""
    labels = summary.labels
    failed_settings = group_by_key(
        ((labels[point.edition], reason), f"{point.setting} ({counted(count, 'cell')})")
        for point in summary.points
        for reason, count in point.failures
    )
    absences = [
        Absent(f"{label} {', '.join(settings)}", f"failed: {reason}")
        for (label, reason), settings in failed_settings.items()
    ]
    if incomplete_points := [
        f"{labels[p.edition]} {p.setting}" for p in summary.points if p.missing
    ]:
        reason = "fewer images than other points; --common uses common images only"
        absences.append(Absent(listed(incomplete_points), reason, "bench run"))
    absences += summary.absent
    for field, cause in LAST_RUN_FIELDS.items():
        exclusions = dict((runs[-1] if runs else {}).get(field) or ())
        absences += [Absent(name, f"{cause}: {reason}") for name, reason in exclusions.items()]
    return absences


def value_absences(summary: Summary, metrics: Sequence[Metric]) -> list[Absent]:
    """Return metrics without values, grouped by remedy, and points that no curve includes."""
    computed_metrics = [metric for metric in metrics if summary.count_values(metric.column)]
    reasons = list[tuple[tuple[str, str], str]]()
    for metric in (metric for metric in metrics if metric not in computed_metrics):
        reason = summary.absence_reason(metric.column) or NOT_COMPUTED
        if NOT_COMPUTED in reason:
            reasons.append(
                (
                    (NOT_COMPUTED, f"{summary.rescore_command} --metrics {metric.column}"),
                    metric.label,
                )
            )
        else:
            message, command = absence(reason)
            reasons.append(((message, command.strip("`")), metric.label))
    absences = [
        Absent(", ".join(labels), reason, remedy)
        for (reason, remedy), labels in group_by_key(reasons).items()
    ]
    reasons_by_point: dict[tuple[str, str], dict[str, str]] = {}
    labels = summary.labels
    for metric in computed_metrics:
        for point, reason in excluded_points(summary, metric):
            key = labels[point.edition], str(point.setting)
            reasons_by_point.setdefault(key, {})[metric.label] = reason
    points_by_reason: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for (label, setting), reason_by_metric in reasons_by_point.items():
        for reason in dict.fromkeys(reason_by_metric.values()):
            affected_labels = [name for name, cause in reason_by_metric.items() if cause == reason]
            reason_key = (
                reason,
                *(() if len(affected_labels) == len(computed_metrics) else affected_labels),
            )
            points_by_reason.setdefault(reason_key, {}).setdefault(label, []).append(setting)
    point_counts = Counter(labels[point.edition] for point in summary.points)
    for (reason, *affected_labels), codecs in points_by_reason.items():
        codec_texts = (
            label if len(settings) == point_counts[label] else f"{label} {', '.join(settings)}"
            for label, settings in codecs.items()
        )
        scope = f"in no curve of {', '.join(affected_labels) or 'any metric'}"
        absences.append(Absent("; ".join(codec_texts), f"{scope}: {reason}"))
    return absences


def gaps(summary: Summary, metrics: Sequence[Metric]) -> list[Absent]:
    """Return the metrics that some points of a codec have and other points lack."""
    absences, labels = list[Absent](), summary.labels
    points_by_label = group_by_key((labels[point.edition], point) for point in summary.points)
    for metric in metrics:
        for label, points in points_by_label.items():
            num_missing = sum(not point.has(metric.column) for point in points)
            if 0 < num_missing < len(points):
                reason = f"{NOT_COMPUTED} at {num_missing} of {counted(len(points), 'point')}"
                remedy = f"{summary.rescore_command} --metrics {metric.column}"
                absences.append(Absent(f"{metric.label} of {label}", reason, remedy))
    return absences


def absent_table(absences: Sequence[Absent]) -> Table:
    """Return a table with a row per absence."""
    return Table.create(COLUMNS, absences, absent="").drop_empty_columns(num_fixed=2)


def absent_lines(absences: Sequence[Absent]) -> list[str]:
    """Return a line per reason: the affected names, and the commands that help."""
    lines = []
    for reason, group in group_by_key((entry.why, entry) for entry in absences).items():
        names = listed([*dict.fromkeys(entry.what for entry in group)])
        remedies = dict.fromkeys(f"`{entry.remedy}`" for entry in group if entry.remedy)
        lines.append(f"{names}: {reason}" + (f" ({', '.join(remedies)})" if remedies else ""))
    return lines


def hidden_edition_lines(summary: Summary) -> list[str]:
    """Return a line for each edition that is hidden until the user runs a command."""
    return absent_lines(summary.not_shown)


def absent_sentences(names: Sequence[str], summary: Summary) -> list[str]:
    """Return a sentence on each metric without values, with the command that computes them."""
    metrics = {name: Metric.named(name) for name in names}
    reasons = {name: summary.absence_reason(metric.column) for name, metric in metrics.items()}
    return [
        f"No {metric.label}: {remedies([name], reasons[name], summary.rescore_command)}."
        for name, metric in metrics.items()
        if not summary.count_values(metric.column)
    ]
