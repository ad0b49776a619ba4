"""Summary of what a report leaves out, one line for each kind of reason; report.md has all."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.analysis.rate_distortion import excluded
from benchmark.analysis.summarise import Summary
from benchmark.metrics.availability import Absence, absence, by_kind
from benchmark.metrics.measure import Measure
from benchmark.report.document import INCOMPLETE, common_reason
from benchmark.system.text import counted

NAMED = 3  # names in a line; of more, their number

OF_IMAGES = re.compile(r"\S+ of (\d+) of (\d+) images: (.+)")  # as `why_not` says it
# Word, field of a run's record, and what its names are of
_OF_THE_RUN = (("refused", "refused_images", "images"), ("skipped", "skipped_codecs", "codecs"))
NOT_COMPUTED = Absence("not computed", "`bench rescore`")


def left_out_briefly(
    summary: Summary, measures: Sequence[Measure], runs: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Return what `document.left_out` says, one line for each kind of reason."""
    there = [measure for measure in measures if summary.values_of(measure.column)]
    absent = {one.label: common_reason(summary, one) for one in measures if one not in there}
    lines = [*_failures(summary), *(f"no values of {kind}" for kind in by_kind(absent.items()))]
    lines += _not_drawn(summary, there)
    if any(point.missing for point in summary.points):
        lines.append(INCOMPLETE)
    older: dict[str, dict[str, int]] = {}
    for old in summary.left_out:
        rows = older.setdefault(old.why.partition(": ")[0], {})
        rows[old.label] = rows.get(old.label, 0) + old.rows
    lines += [
        f"not counted: {sum(rows.values())} rows of {_names(rows)}: {why}"
        for why, rows in older.items()
    ]
    last = runs[-1] if runs else {}
    for what, key, noun in _OF_THE_RUN:
        reasons = dict(last.get(key) or ())
        if len(reasons) == 1:
            ((name, why),) = reasons.items()
            lines.append(f"{what} by the last run: {name}: {why}")
        elif reasons:
            lines.append(f"{what} by the last run: {_names(reasons, noun)}")
    return lines


def _failures(summary: Summary) -> list[str]:
    found: dict[str, dict[str, int]] = {}
    for point in summary.points:
        for reason, count in point.failures:
            cells = found.setdefault(reason, {})
            cells[point.label] = cells.get(point.label, 0) + count
    return [
        f"failed: {counted(sum(cells.values()), 'cell')} of {_names(cells)}: {reason}"
        for reason, cells in found.items()
    ]


class _NotDrawn:
    """Points that are not drawn for one kind of reason."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, str], None] = {}
        self.metrics: dict[str, None] = {}
        self.commands: dict[str, None] = {}


def _not_drawn(summary: Summary, measures: Sequence[Measure]) -> list[str]:
    kinds: dict[str, _NotDrawn] = {}
    for measure in measures:
        for one in excluded(summary, measure):
            why = _kind(one.why)
            kind = kinds.setdefault(why.what, _NotDrawn())
            kind.points[one.label, one.setting] = None
            kind.metrics[measure.label] = None
            if why.command:
                kind.commands[why.command] = None
    lines = []
    for what, kind in kinds.items():
        codecs = dict.fromkeys(label for label, _ in kind.points)
        of = "" if len(kind.metrics) == len(measures) else f"{', '.join(kind.metrics)} of "
        points = f"{len(kind.points)} point{'s' * (len(kind.points) > 1)}"
        hint = f" ({', '.join(kind.commands)})" if kind.commands else ""
        lines.append(f"not drawn or compared: {of}{_names(codecs)}, {points}: {what}{hint}")
    return lines


def _kind(why: str) -> Absence:
    """Return the kind of reason why a point is not drawn.

    >>> _kind("vmaf of 0 of 4 images: not computed")
    Absence(what='not computed', command='`bench rescore`')
    """
    found = OF_IMAGES.fullmatch(why)
    reason = found[3] if found else why
    if reason.startswith("not computed"):
        return NOT_COMPUTED
    short = absence(re.sub(r"--metrics \w+", "--metrics NAME", reason))
    if found and found[1] != "0":
        return short._replace(what=f"{short.what}, in some of the {found[2]} images")
    return short


def _names(labels: Mapping[str, Any], noun: str = "codecs") -> str:
    names = list(labels)
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} {noun} ({names[0]}, ...)"
