"""Tables and sentences of what was measured: means, networks; and what they leave out, and why."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmark.compare.panel import SystemCurve
from benchmark.metrics.metric import FEW_IMAGES, Metric
from benchmark.metrics.reasons import NOT_COMPUTED, remedies
from benchmark.rows.stored import DatasetResults
from benchmark.rows.summary import (
    REAL_TO_ESTIMATED,
    SECONDS,
    Edition,
    Mean,
    Point,
    Summary,
    excluded,
)
from benchmark.rows.systems import chosen_on, spec_of, training
from benchmark.show.sections import Section, capitalised, section
from benchmark.show.table import ENDLESS, FEW_MARK, NOTHING, Column, Table, decimals, seconds_text
from benchmark.system.text import by_key, counted

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
INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
FAILED, NO_VALUES, NOT_DRAWN = "failed", "no values of", "not drawn or compared"
INCOMPLETE_HEADING, NOT_COUNTED = "incomplete", "not counted"
DIFFERING = "bundled rows left out, since yours of the same build differ"
GONE = "no longer in the folder"
REFUSED, SKIPPED = "refused by the last run", "skipped by the last run"
NOUNS = {REFUSED: "image", SKIPPED: "codec"}  # that are counted, where gaps do not say it


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
    notes += [*chosen_notes(summary.labels), *caveat_notes(summary)]
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
    if not (fingerprint and edition.build.fingerprint.startswith(fingerprint)):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


def shared_label(labels: Sequence[str]) -> str:
    """Return the name and the options that codec variants share; all labels of several codecs.

    >>> shared_label(["ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    'ours:size=micro'
    """
    first, *others = map(spec_of, labels)
    if any(spec.name != first.name for spec in others):
        return ", ".join(labels)
    shared = (at for at in first.options if all(at in spec.options for spec in others))
    return first._replace(options=tuple(shared)).text


def chosen_notes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences on networks whose realism was chosen by a metric on a dataset.

    >>> chosen_notes(["jpeg", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    ('Realism chosen on Kodak by LPIPS (SqueezeNet): ours:size=micro.',)
    """
    choices = [(chosen_on(label), label) for label in dict.fromkeys(labels)]
    return tuple(
        f"Realism chosen on {choice[0]} by {choice[1]}: "
        f"{shared_label([label for of, label in choices if of == choice])}."
        for choice in dict.fromkeys(choice for choice, _ in choices)
        if choice
    )


def caveat_notes(summary: Summary) -> list[str]:
    """Return the sentences on what has to stand beside numbers of codecs: "random weights"."""
    pairs = ((text, point.label) for point in summary.points for text in point.edition.caveats)
    return [
        capitalised(f"{text}: {', '.join(dict.fromkeys(labels))}")
        for text, labels in by_key(pairs).items()
    ]


def network_sentences(curves: Iterable[SystemCurve]) -> list[str]:
    """Return sentences on work and training of the curves' networks, and on how they were chosen.

    Networks are those that are bundled.
    """
    measured = {curve.name: curve.edition for curve in curves if curve.edition}
    names = by_key(
        (", ".join(cell or NOTHING for cell in cells), name)
        for name, edition in measured.items()
        if any(cells := training_cells(edition))
    )
    parts = "; ".join(f"{', '.join(of)}: {cells}" for cells, of in names.items())
    sentences = [capitalised(f"{', '.join(NETWORK_HEADERS)}: {parts}")] if parts else []
    return [*sentences, *chosen_notes(edition.label for edition in measured.values())]


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
    metrics: Sequence[Metric],
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
    with_values = [metric for metric in metrics if summary.values_of(metric.column)]
    labels_by_gap: dict[tuple[str, str, str], list[str]] = {}
    for metric in metrics:
        if metric in with_values:
            for key in excluded(summary, metric):
                labels_by_gap.setdefault((key.label, key.setting, key.why), []).append(metric.label)
            continue
        why = summary.why_without(metric.column) or NOT_COMPUTED
        if NOT_COMPUTED in why:
            why = f"{NOT_COMPUTED}; {summary.again.computes(metric.column)}"
        result.append(Gap(NO_VALUES, metric.label, why))
    for (label, setting, why), labels in labels_by_gap.items():
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
            before = f"{heading}{'' if heading == NO_VALUES else ':'} " if headed else ""
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
    groups = by_key((gap.heading, gap) for gap in gaps)
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
        count = counted(number, alike[0].unit or NOUNS[heading])
        texts.append(f"{heading}: {', '.join(names) if heading == DIFFERING else count}")
    return texts


def gap_sections(gaps: Sequence[Gap]) -> list[Section]:
    """Return a section for each heading, with a list of its sentences."""
    return [
        section(heading, heading.capitalize(), lines_of(alike, headed=False), folded=True)
        for heading, alike in by_key((gap.heading, gap) for gap in gaps).items()
    ]


def absent_sentences(names: Iterable[str], summary: Summary) -> list[str]:
    """Return a sentence on each metric without any value, with the command that fills it in."""
    metrics = {name: Metric.named(name) for name in names}
    return [
        f"No {of.label}: {remedies([name], summary.why_without(of.column), summary.again)}."
        for name, of in metrics.items()
        if not summary.values_of(of.column)
    ]


def newer_sentences(summary: Summary) -> list[str]:
    """Return a sentence on each codec variant that is not of its newest build, which has less."""
    return [
        f"an earlier build of {point.label} ({instead.edition.build_words}, "
        f"{counted(instead.coded, 'image')}) is compared: the newest ({point.edition.build_words}) "
        f"has {point.coded}, and `{command}` measures the others"
        for point, instead, command in summary.newer
    ]


def row_sentences(stored: DatasetResults) -> list[str]:
    """Return sentences on rows of a dataset that no number is of."""
    return [*newer_sentences(stored.summary), *gone_sentences(stored.gone)]


def gone_sentences(names: Sequence[str]) -> list[str]:
    """Return the sentence on the rows of photographs that a dataset no longer has, if any."""
    number = counted(len(names), "photograph")
    return [f"{number} {GONE}: left out (--all-rows counts them)"] if names else []
