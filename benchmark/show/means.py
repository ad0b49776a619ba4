"""Tables and sentences of what was measured: means, networks."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmark.answer import Absent, Column, decimals, seconds_text
from benchmark.metrics.metric import FEW_IMAGES, NOT_COMPUTED, Metric, remedies
from benchmark.rows.summary import (
    REAL_TO_ESTIMATED,
    SECONDS,
    Edition,
    Mean,
    Point,
    Summary,
    caveat_notes,
    excluded,
)
from benchmark.rows.systems import training
from benchmark.show.table import ENDLESS, FEW_MARK, Table
from benchmark.system.text import by_key, counted, listed

NETWORK_HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)
COUNT_NOTE = "A count in brackets: the mean is over that number of images only."
IDENTICAL_NOTE = (
    f"{ENDLESS} n: of n images the value is infinite (of PSNR: they came back identical); they are "
    "not in the mean."
)
FEW_NOTE = (
    f"{FEW_MARK} Over fewer than {FEW_IMAGES} images, where such a metric is biased or scattered."
)


def means_table(summary: Summary, metrics: Sequence[Metric]) -> Table:
    """Return a row for each point; each mean is over the row's images unless it says otherwise.

    Columns without any value are left out.
    """

    def images(point: Point) -> str:
        return f"{point.images} of {summary.images}" if point.missing else str(point.images)

    columns = [
        Column("codec", "label"),
        Column("setting", lambda point: str(point.setting)),
        Column("images", images, str),
        Column("bpp", "bpp", ".4f"),
        *(Column(m.label, partial(_mean_of_metric, m), str) for m in metrics),
        Column("real / estimated bits", partial(_mean, REAL_TO_ESTIMATED, "{:.4f}".format), str),
    ]
    columns += [
        Column(name.partition("_")[0], partial(_mean, name, seconds_text), str) for name in SECONDS
    ]
    if any(point.failed for point in summary.points):
        columns.append(Column("failed", lambda point: str(point.failed or ""), str))
    table = Table.of(columns, summary.points)
    text = "".join(cell for row in table.rows for cell in row[3:])
    signs = (("(", COUNT_NOTE), (ENDLESS, IDENTICAL_NOTE), (FEW_MARK, FEW_NOTE))
    notes = [note for sign, note in signs if sign in text]
    notes += caveat_notes(summary.points)
    return table._replace(notes=tuple(notes)).filled(always=4)


def _mean_of_metric(metric: Metric, point: Point) -> str | None:
    mean = point.means[metric.column]
    few = mean.value is not None and metric.few(mean.images)
    form = f"{{:.{decimals(metric.label)}f}}".format
    return _mean(metric.column, form, point, FEW_MARK if few else "")


def _mean(name: str, form: Callable[[float], str], point: Point, mark: str = "") -> str | None:
    """Return a mean of a point in words: over how many images, and how many are infinite."""
    mean: Mean | None = point.means.get(name)
    if mean is None:
        return None
    endless = f"{ENDLESS} {mean.infinite}" if mean.infinite else ""
    if mean.value is None:
        return endless or None
    count = str(mean.images) if mean.images != point.images else ""
    inside = ", ".join(part for part in (count, endless) if part)
    return f"{form(mean.value)}{mark}" + (f" ({inside})" if inside else "")


def few_of(summary: Summary, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics of whole sets that every point has of too few images."""
    return [
        metric
        for metric in metrics
        if metric.of_sets
        and all(metric.few(point.means[metric.column].images) for point in summary.points)
    ]


def training_cells(edition: Edition) -> tuple[str, str, str, str]:
    """Return the cells below `NETWORK_HEADERS`; empty for rows of other than bundled weights."""
    kmac, (petamacs, optimiser, steps, fingerprint) = training(edition.label)
    if not (fingerprint and edition.fingerprint.startswith(fingerprint)):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


OF_LAST_RUN = {"refused_images": "refused by the last run", "skipped_codecs": "skipped by it"}
COLUMNS = Column("what"), Column("why"), Column("remedy")


def problems(summary: Summary, runs: Sequence[Mapping[str, Any]] = ()) -> list[Absent]:
    """Return failed cells, incomplete points, editions that are not shown, and refusals."""
    failed = by_key(
        ((point.label, reason), f"{point.setting} ({counted(count, 'cell')})")
        for point in summary.points
        for reason, count in point.failures
    )
    result = [
        Absent(f"{label} {', '.join(settings)}", f"failed: {reason}")
        for (label, reason), settings in failed.items()
    ]
    if incomplete := [f"{p.label} {p.setting}" for p in summary.points if p.missing]:
        why = "fewer images than others; --common restricts all points to those that all have"
        result.append(Absent(listed(incomplete), why, "bench run"))
    result += summary.absent
    for field, why in OF_LAST_RUN.items():
        of_run = dict((runs[-1] if runs else {}).get(field) or ())
        result += [Absent(what, f"{why}: {reason}") for what, reason in of_run.items()]
    return result


def lacking(summary: Summary, metrics: Sequence[Metric]) -> list[Absent]:
    """Return the metrics without any value, and the points that curves of some metrics lack."""
    known = [metric for metric in metrics if summary.values_of(metric.column)]
    result = [_without_values(metric, summary) for metric in metrics if metric not in known]
    points: dict[tuple[str, str], dict[str, str]] = {}
    for metric in known:
        for point, why in excluded(summary, metric):
            place = point.label, str(point.setting)
            points.setdefault(place, {})[metric.label] = why
    groups: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for (label, setting), whys in points.items():
        for why in dict.fromkeys(whys.values()):
            of = [metric for metric, reason in whys.items() if reason == why]
            key = (why, *(() if len(of) == len(known) else of))
            groups.setdefault(key, {}).setdefault(label, []).append(setting)
    count = Counter(point.label for point in summary.points)
    for (why, *of), codecs in groups.items():
        what = (
            label if len(settings) == count[label] else f"{label} {', '.join(settings)}"
            for label, settings in codecs.items()
        )
        where = f"in no curve of {', '.join(of) or 'any metric'}"
        result.append(Absent("; ".join(what), f"{where}: {why}"))
    return result


def _without_values(metric: Metric, summary: Summary) -> Absent:
    why = summary.why_without(metric.column) or NOT_COMPUTED
    if NOT_COMPUTED in why:
        return Absent(metric.label, NOT_COMPUTED, f"{summary.again} --metrics {metric.column}")
    return Absent(metric.label, why)


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
