"""The report of a dataset as one markdown text, and lines on what it leaves out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.analysis.interval import draw_spreads
from benchmark.analysis.rate_distortion import excluded
from benchmark.analysis.summarise import Edition, Point, Summary
from benchmark.figures.table import Table, draws_table, markdown
from benchmark.metrics.availability import NOT_COMPUTED, absence
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted, markdown_text, one_line

NAMED = 3  # names in a line; of more, their number
LONGEST_LIST = 100
INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
FAILED, NO_VALUES, NOT_DRAWN = "failed", "no values of", "not drawn or compared"
INCOMPLETE_HEADING, NOT_COUNTED = "incomplete", "not counted"
REFUSED, SKIPPED = "refused by the last run", "skipped by the last run"


class Gap(NamedTuple):
    """A point, metric, codec or image that a report leaves out, and why."""

    heading: str  # FAILED, NO_VALUES, ...
    name: str  # of a codec, metric or image
    why: str
    kind: str  # `why` shortened to what many share
    command: str = ""  # that helps
    setting: str = ""
    metrics: tuple[str, ...] = ()  # that it is left out of; empty for all
    number: int = 1
    unit: str = ""  # that `number` counts


def report_text(
    dataset: str,
    summary: Summary,
    measures: Sequence[Measure],
    captions: Mapping[str, str],
    means: Table,
    deltas: Sequence[Table] | str,
    runs: Sequence[Mapping[str, Any]],
    command: str = "",
) -> str:
    """Return the report; the same results and options give the same text.

    captions: of figures, by file name without suffix. deltas: tables of BD-rates, or why there are
    none. runs: records of the runs, oldest first. command: that makes the report again.
    """
    ids = ", ".join(f"{name}: {protocol}" for name, protocol in summary.protocols_in_use.items())
    average = "the mean of each image's own" if summary.average == "per_image" else "pooled"
    points = f"{counted(len(summary.points), 'point')} of {counted(len(summary.labels), 'codec')}"
    count = f"{counted(summary.images, 'image')}, {points}"
    parts = [f"# {markdown_text(dataset)}"]
    if command:
        parts.append(f"Made by `{one_line(command)}`.")
    parts.append(f"{count}. bpp is {average}. Protocols: {markdown_text(ids)}.")
    if summary.dropped:
        parts.append(f"Restricted to the images that all points have; left out: {summary.dropped}.")
    parts.append("## Figures" if captions else "## No figures\n\nNo points can be drawn.")
    parts += [
        f"![{name}]({name}.png)\n\n{markdown_text(caption)}" for name, caption in captions.items()
    ]
    if "timing" not in captions:
        parts.append("No timing figure: no row was measured alone (`bench run --timing`).")
    parts += [
        "## Bjøntegaard deltas",
        markdown_text(deltas) if isinstance(deltas, str) else "\n".join(map(markdown, deltas)),
        "## Means",
        markdown(means),
    ]
    if spreads := draw_spreads(summary, measures):
        parts += ["## Draws", markdown(draws_table(spreads))]
    lines = lines_of(left_out(summary, measures, runs))
    bullets = [f"- {markdown_text(line)}" for line in lines[:LONGEST_LIST]]
    if len(lines) > LONGEST_LIST:
        bullets.append(f"- and {len(lines) - LONGEST_LIST} more")
    parts += ["## Left out", "\n".join(bullets) or "Nothing."]
    parts += ["## Codecs", markdown(_codecs(summary))]
    if runs:
        last = runs[-1]
        facts = f"commit {last.get('commit')}, {last.get('machine')}, {last.get('started_utc')}"
        parts.append(f"The last of {len(runs)} runs: {markdown_text(facts)}.")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def left_out(
    summary: Summary, measures: Sequence[Measure], runs: Sequence[Mapping[str, Any]] = ()
) -> list[Gap]:
    """Return failed cells, metrics without values, points not drawn, older rows, refusals."""
    there = [measure for measure in measures if summary.values_of(measure.column)]
    found = [
        Gap(FAILED, point.label, reason, reason, "", str(point.setting), (), count, "cell")
        for point in summary.points
        for reason, count in point.failures
    ]
    for measure in measures:
        if measure not in there:
            reasons: Counter[str] = Counter()
            for point in summary.points:
                reasons.update(dict(point.means[measure.column].reasons))
            why = reasons.most_common(1)[0][0] if reasons else NOT_COMPUTED
            found.append(Gap(NO_VALUES, measure.label, *_shortened(why)))
    found += _not_drawn(summary, there)
    if any(point.missing for point in summary.points):
        found.append(Gap(INCOMPLETE_HEADING, "", INCOMPLETE, INCOMPLETE))
    for old in summary.left_out:
        gap = Gap(NOT_COUNTED, old.label, old.why, old.why)
        found.append(gap._replace(number=old.rows, unit="row"))
    last = runs[-1] if runs else {}
    for heading, field in ((REFUSED, "refused_images"), (SKIPPED, "skipped_codecs")):
        reasons_of = dict(last.get(field) or ())
        several = len(reasons_of) > 1  # then their names alone are brief
        found += [
            Gap(heading, name, why, "" if several else why) for name, why in reasons_of.items()
        ]
    return found


def _not_drawn(summary: Summary, measures: Sequence[Measure]) -> Iterator[Gap]:
    points = {(point.label, str(point.setting)): point for point in summary.points}
    metrics: dict[tuple[str, str, str, str, str], list[str]] = {}
    for measure in measures:
        for label, setting, why in excluded(summary, measure):
            kind = _kind(points[label, setting], measure, why)
            metrics.setdefault((label, setting, why, *kind), []).append(measure.label)
    for (label, setting, why, kind_of_why, command), labels in metrics.items():
        some = () if len(labels) == len(measures) else tuple(labels)
        yield Gap(NOT_DRAWN, label, why, kind_of_why, command, setting, some, 1, "point")


def _kind(point: Point, measure: Measure, why: str) -> tuple[str, str]:
    """Return the kind of reason why a point is not drawn in a metric, and the command that helps.

    why: what `rate_distortion.why_not` says.
    """
    mean = point.means[measure.column]
    known = mean.images + mean.infinite
    if point.missing or not point.images or not (mean.missing or not known):
        return why, ""
    what, command = absence(mean.reasons[0][0] if mean.reasons else NOT_COMPUTED)
    return (f"{what}, in some of the {known + mean.missing} images" if known else what), command


def _shortened(why: str) -> tuple[str, str, str]:
    """Return why a metric has no value, its kind, and the command that helps."""
    kind, command = absence(why)
    if kind == NOT_COMPUTED:
        why = f"{NOT_COMPUTED}; `bench rescore --metrics NAME` does it from kept streams"
    return why, kind, command


def lines_of(gaps: Iterable[Gap], headed: bool = True) -> list[str]:
    """Return one line for each reason, with every name and setting that it applies to."""
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, list[str]]] = {}
    for one in gaps:
        names = groups.setdefault((one.heading, one.why, one.metrics), {})
        size = f"({counted(one.number, one.unit)})" if one.unit in ("cell", "row") else ""
        names.setdefault(one.name, []).append(f"{one.setting} {size}".strip())
    lines = []
    for (heading, why, metrics), names in groups.items():
        parts = (f"{name} {', '.join(places)}".strip() for name, places in names.items())
        some = f" ({', '.join(metrics)})" if metrics else ""
        start = _start(heading, ", ".join(parts), headed)
        lines.append(f"{start}{why}{some}")
    return lines


def brief_lines(gaps: Iterable[Gap]) -> list[str]:
    """Return one line for each kind of reason."""
    groups: dict[tuple[str, str], list[Gap]] = {}
    for one in gaps:
        groups.setdefault((one.heading, one.kind), []).append(one)
    lines = []
    for (heading, kind), alike in groups.items():
        names = list(dict.fromkeys(one.name for one in alike))
        noun = {REFUSED: "images", NO_VALUES: "metrics"}.get(heading, "codecs")
        short = heading != NO_VALUES and len(names) > NAMED
        listed = f"{len(names)} {noun} ({names[0]}, ...)" if short else ", ".join(names)
        metrics = dict.fromkeys(metric for one in alike for metric in one.metrics)
        if metrics:
            listed = f"{', '.join(metrics)} of {listed}"
        if alike[0].unit == "point":
            count = len({(one.name, one.setting) for one in alike})
            listed += f", {counted(count, 'point')}"
        elif alike[0].unit:
            listed = f"{counted(sum(one.number for one in alike), alike[0].unit)} of {listed}"
        commands = ", ".join(dict.fromkeys(one.command for one in alike if one.command))
        line = f"{_start(heading, listed)}{kind}{f' ({commands})' if commands else ''}"
        lines.append(line.removesuffix(": "))
    return lines


def _start(heading: str, names: str, headed: bool = True) -> str:
    if heading == INCOMPLETE_HEADING:
        return ""
    return f"{heading}{'' if heading == NO_VALUES else ':'} {names}: " if headed else f"{names}: "


def _codecs(summary: Summary) -> Table:
    editions: dict[str, Edition] = {point.label: point.edition for point in summary.points}
    rows = tuple(
        (label, one.version, f"`{one.command}`", one.timed, ", ".join(one.caveats))
        for label, one in editions.items()
    )
    return Table(("codec", "version", "call", "what is timed", "caveat"), rows, 5)
