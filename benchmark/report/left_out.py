"""Everything that a report leaves out, as records, and sentences on it and on the photographs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.analysis.rate_distortion import excluded
from benchmark.analysis.sources import WIDE_SPREAD, SourceFacts
from benchmark.analysis.summarise import Summary
from benchmark.metrics.availability import NOT_COMPUTED
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted

INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
FAILED, NO_VALUES, NOT_DRAWN = "failed", "no values of", "not drawn or compared"
INCOMPLETE_HEADING, NOT_COUNTED = "incomplete", "not counted"
DIFFERING = "not equal to bundled rows of the same build"
GONE = "no longer in the folder"
REFUSED, SKIPPED = "refused by the last run", "skipped by the last run"


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
    """Return failed cells, metrics without values, points not drawn, older rows, refusals.

    gone: photographs that the dataset no longer has.
    """
    there = [measure for measure in measures if summary.values_of(measure.column)]
    result = [
        Gap(FAILED, point.label, reason, str(point.setting), (), count, "cell")
        for point in summary.points
        for reason, count in point.failures
    ]
    for measure in measures:
        if measure not in there:
            reasons: Counter[str] = Counter()
            for point in summary.points:
                reasons.update(dict(point.means[measure.column].reasons))
            why = reasons.most_common(1)[0][0] if reasons else NOT_COMPUTED
            hint = "; `bench rescore --metrics NAME` does it from kept streams"
            result.append(Gap(NO_VALUES, measure.label, why + hint * (why == NOT_COMPUTED)))
    result += _not_drawn(summary, there)
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


def _not_drawn(summary: Summary, measures: Sequence[Measure]) -> Iterator[Gap]:
    metrics: dict[tuple[str, str, str], list[str]] = {}
    for measure in measures:
        for key in excluded(summary, measure):
            metrics.setdefault((key.label, key.setting, key.why), []).append(measure.label)
    for (label, setting, why), labels in metrics.items():
        some = () if len(labels) == len(measures) else tuple(labels)
        yield Gap(NOT_DRAWN, label, why, setting, some, 1, "point")


def lines_of(gaps: Iterable[Gap], headed: bool = True) -> list[str]:
    """Return one line for each reason, with every name and setting that it applies to."""
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, list[str]]] = {}
    for gap in gaps:
        names = groups.setdefault((gap.heading, gap.why, gap.metrics), {})
        size = f"({counted(gap.number, gap.unit)})" if gap.unit in ("cell", "row") else ""
        names.setdefault(gap.name, []).append(f"{gap.setting} {size}".strip())
    lines = []
    for (heading, why, metrics), names in groups.items():
        parts = (f"{name} {', '.join(places)}".strip() for name, places in names.items())
        some = f" ({', '.join(metrics)})" if metrics else ""
        start = _start(heading, ", ".join(parts), headed)
        lines.append(f"{start}{why}{some}")
    return lines


def counts_of(gaps: Iterable[Gap]) -> list[str]:
    """Return how much is left out, a text for each heading.

    >>> counts_of([Gap(FAILED, "jpeg", "boom", "", (), 3, "cell"), Gap(SKIPPED, "bpg", "")])
    ['failed: 3 cells', 'skipped by the last run: 1 codec']
    """
    groups: dict[str, list[Gap]] = {}
    for gap in gaps:
        if gap.heading != INCOMPLETE_HEADING:
            groups.setdefault(gap.heading, []).append(gap)
    nouns = {REFUSED: "image", NO_VALUES: "metric", SKIPPED: "codec"}
    texts = []
    for heading, alike in groups.items():
        number = sum(one.number for one in alike)
        if heading == GONE:
            texts += gone_sentences([one.name for one in alike])
            continue
        if heading == NOT_DRAWN:
            number = len({(one.name, one.setting) for one in alike})
        some = " in some metrics" * all(one.metrics for one in alike)
        noun = alike[0].unit or nouns[heading]
        told = (
            counted(number, noun) if heading != DIFFERING else ", ".join(one.name for one in alike)
        )
        texts.append(f"{heading.removesuffix(' of')}: {told}{some}")
    return texts


def gone_sentences(names: Sequence[str]) -> list[str]:
    """Return the sentence on the rows of photographs that a dataset no longer has, if any."""
    number = counted(len(names), "photograph")
    return [f"{number} {GONE}: left out (--all-rows counts them)"] * bool(names)


def source_sentences(facts: SourceFacts | None) -> list[str]:
    """Return a sentence on lossily coded photographs and one on a wide spread of sizes, if any."""
    if facts is None:
        return []
    result = []
    if facts.lossy:
        share = f"{facts.lossy} of {counted(facts.images, 'image')}"
        result.append(f"lossy sources: {share} had been coded (JPEG, WebP), and artefacts count")
    if facts.spread >= WIDE_SPREAD:
        small, large = facts.smallest, facts.largest
        result.append(
            f"sizes: {small.width_px} x {small.height_px} px ({small.image}) to {large.width_px} x "
            f"{large.height_px}, alike in means (`bench report --pooled`: by pixels)"
        )
    return result


def _start(heading: str, names: str, headed: bool = True) -> str:
    if heading == INCOMPLETE_HEADING:
        return ""
    return f"{heading}{'' if heading == NO_VALUES else ':'} {names}: " if headed else f"{names}: "
