"""Points, metrics, codecs and images that a report leaves out, and why: records and sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.compare.curves import excluded
from benchmark.metrics.measure import NOT_COMPUTED, Measure, remedies
from benchmark.rows.summary import Summary
from benchmark.show.sections import Section, section
from benchmark.system.text import counted

INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
FAILED, NO_VALUES, NOT_DRAWN = "failed", "no values of", "not drawn or compared"
INCOMPLETE_HEADING, NOT_COUNTED = "incomplete", "not counted"
DIFFERING = "bundled rows left out, since yours of the same build differ"
GONE = "no longer in the folder"
REFUSED, SKIPPED = "refused by the last run", "skipped by the last run"


class Words(NamedTuple):
    """Words for the gaps under a heading."""

    before: str  # names, in a sentence
    title: str  # before their count
    noun: str = ""  # that is counted, where gaps do not say it


WORDS = {
    NO_VALUES: Words("no values of ", "no values", "metric"),
    INCOMPLETE_HEADING: Words("", ""),
    REFUSED: Words(f"{REFUSED}: ", REFUSED, "image"),
    SKIPPED: Words(f"{SKIPPED}: ", SKIPPED, "codec"),
}


class Gap(NamedTuple):
    """A point, metric, codec or image that a report leaves out, and why."""

    heading: str  # FAILED, NO_VALUES, ...
    name: str  # of a codec, metric or image
    why: str
    setting: str = ""
    metrics: tuple[str, ...] = ()  # that it is left out of; empty for all
    number: int = 1
    unit: str = ""  # that `number` counts


def left_out(
    summary: Summary,
    measures: Sequence[Measure],
    runs: Sequence[Mapping[str, Any]] = (),
    gone: Sequence[str] = (),
) -> list[Gap]:
    """Return failed cells, metrics without values, points not plotted, older rows, refusals.

    gone: photographs that the dataset no longer has.
    """
    result = [
        Gap(FAILED, point.label, reason, str(point.setting), (), count, "cell")
        for point in summary.points
        for reason, count in point.failures
    ]
    with_values = [measure for measure in measures if summary.values_of(measure.column)]
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for measure in measures:
        if measure in with_values:
            for key in excluded(summary, measure):
                metrics.setdefault((key.label, key.setting, key.why), []).append(measure.label)
            continue
        why = summary.why_without(measure.column) or NOT_COMPUTED
        if why == NOT_COMPUTED:
            why += f"; `bench rescore {summary.rows} --metrics NAME` does it from kept streams"
        result.append(Gap(NO_VALUES, measure.label, why))
    for (label, setting, why), labels in metrics.items():
        of = () if len(labels) == len(with_values) else tuple(labels)
        result.append(Gap(NOT_DRAWN, label, why, setting, of, 1, "point"))
    if any(point.missing for point in summary.points):
        result.append(Gap(INCOMPLETE_HEADING, "", INCOMPLETE))
    for old in summary.left_out:
        heading = DIFFERING if old.differ else NOT_COUNTED
        result.append(Gap(heading, old.label, old.why, number=old.rows, unit="row"))
    why = "the dataset has no photograph with its pixels (--all-rows counts it)"
    result += [Gap(GONE, name, why, unit="photograph") for name in gone]
    last = runs[-1] if runs else {}
    for heading, field in ((REFUSED, "refused_images"), (SKIPPED, "skipped_codecs")):
        result += [Gap(heading, name, why) for name, why in dict(last.get(field) or ()).items()]
    return result


def lines_of(gaps: Iterable[Gap], headed: bool = True) -> list[str]:
    """Return a line for each reason, with every name and setting that it applies to."""
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, list[str]]] = {}
    for gap in gaps:
        names = groups.setdefault((gap.heading, gap.why, gap.metrics), {})
        size = f"({counted(gap.number, gap.unit)})" if gap.unit in ("cell", "row") else ""
        names.setdefault(gap.name, []).append(f"{gap.setting} {size}".strip())
    lines = []
    for (heading, why, metrics), names in groups.items():
        parts = (f"{name} {', '.join(places)}".strip() for name, places in names.items())
        line = why
        if heading != INCOMPLETE_HEADING:
            before = _words(heading).before if headed else ""
            line = f"{before}{', '.join(parts)}: {why}"
        lines.append(f"{line} ({', '.join(metrics)})" if metrics else line)
    return lines


def counts_of(gaps: Iterable[Gap]) -> list[str]:
    """Return how much is left out, a text for each heading.

    Without what changes no number that is shown: metrics that nobody has values of, older rows, and
    points that are left out of some metrics alone.

    >>> counts_of([Gap(FAILED, "jpeg", "boom", "", (), 3, "cell"), Gap(SKIPPED, "bpg", "")])
    ['failed: 3 cells', 'skipped by the last run: 1 codec']
    """
    groups: dict[str, list[Gap]] = {}
    for gap in gaps:
        groups.setdefault(gap.heading, []).append(gap)
    for heading in (INCOMPLETE_HEADING, NO_VALUES, NOT_COUNTED):
        groups.pop(heading, None)
    groups[NOT_DRAWN] = [gap for gap in groups.get(NOT_DRAWN, ()) if not gap.metrics]
    texts = []
    for heading, alike in groups.items():
        if not alike:
            continue
        names = [gap.name for gap in alike]
        if heading == GONE:
            texts += gone_sentences(names)
            continue
        number = sum(gap.number for gap in alike)
        if heading == NOT_DRAWN:
            number = len({(gap.name, gap.setting) for gap in alike})
        words = _words(heading)
        count = counted(number, alike[0].unit or words.noun)
        texts.append(f"{words.title}: {', '.join(names) if heading == DIFFERING else count}")
    return texts


def gap_sections(gaps: Sequence[Gap]) -> list[Section]:
    """Return a section for each heading, with a list of its sentences."""
    of_heading: dict[str, list[Gap]] = {}
    for gap in gaps:
        of_heading.setdefault(gap.heading, []).append(gap)
    return [
        section(heading, heading.capitalize(), lines_of(alike, headed=False), folded=True)
        for heading, alike in of_heading.items()
    ]


def absent_sentences(names: Iterable[str], summary: Summary) -> list[str]:
    """Return a sentence on each metric without any value, with the command that fills it in."""
    measures = {name: Measure.named(name) for name in names}
    return [
        f"No {of.label}: {remedies([name], summary.why_without(of.column), summary.rows)}."
        for name, of in measures.items()
        if not summary.values_of(of.column)
    ]


def _words(heading: str) -> Words:
    return WORDS.get(heading) or Words(f"{heading}: ", heading)


def gone_sentences(names: Sequence[str]) -> list[str]:
    """Return the sentence on the rows of photographs that a dataset no longer has, if any."""
    number = counted(len(names), "photograph")
    return [f"{number} {GONE}: left out (--all-rows counts them)"] if names else []
