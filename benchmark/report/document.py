"""The report of a dataset as one markdown text, and sentences on what it leaves out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.analysis.interval import draw_spreads
from benchmark.analysis.rate_distortion import Excluded, excluded
from benchmark.analysis.summarise import Edition, Summary
from benchmark.figures.table import Table, draws_table, markdown
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted, markdown_text, one_line

LONGEST_LIST = 100
INCOMPLETE = (
    "points with fewer images than others: `bench run` completes them, or --common restricts all "
    "points to the images that all have"
)
NOT_COMPUTED = "not computed; `bench rescore --metrics NAME` does it from kept streams"


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
    parts = [
        f"# {markdown_text(dataset)}",
        f"{count}. bpp is {average}. Protocols: {markdown_text(ids)}.",
    ]
    if command:
        parts.insert(1, f"Made by `{one_line(command)}`.")
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
    ]
    parts += ["## Means", markdown(means)]
    if spreads := draw_spreads(summary, measures):
        parts += ["## Draws", markdown(draws_table(spreads))]
    parts += ["## Left out", _bullets(left_out(summary, measures, runs))]
    parts += ["## Codecs", markdown(_codecs(summary))]
    if runs:
        last = runs[-1]
        facts = f"commit {last.get('commit')}, {last.get('machine')}, {last.get('started_utc')}"
        parts.append(f"The last of {len(runs)} runs: {markdown_text(facts)}.")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def left_out(
    summary: Summary, measures: Sequence[Measure], runs: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Return sentences on failed cells, points not drawn, older rows, skips and refusals."""
    sentences = []
    for point in summary.points:
        for reason, count in point.failures:
            sentences.append(
                f"failed: {point.label} {point.setting}, {counted(count, 'cell')}, {reason}"
            )
    absent: dict[str, list[str]] = {}
    for measure in measures:
        if not summary.values_of(measure.column):
            absent.setdefault(common_reason(summary, measure), []).append(measure.label)
    sentences += [f"no values of {', '.join(labels)}: {why}" for why, labels in absent.items()]
    measures = [measure for measure in measures if summary.values_of(measure.column)]
    by_reason: dict[tuple[str, str], list[str]] = {}
    reasons: dict[Excluded, list[str]] = {}
    for measure in measures:
        for one in excluded(summary, measure):
            reasons.setdefault(one, []).append(measure.label)
    for one, labels in reasons.items():
        which = "" if len(labels) == len(measures) else f" ({', '.join(labels)})"
        by_reason.setdefault((one.label, one.why + which), []).append(one.setting)
    for (label, why), settings in by_reason.items():
        sentences.append(f"not drawn or compared: {label} {', '.join(settings)}: {why}")
    if any(point.missing for point in summary.points):
        sentences.append(INCOMPLETE)
    for old in summary.left_out:
        sentences.append(f"not counted: {old.rows} rows of {old.label}: {old.why}")
    if runs:
        refused = dict(runs[-1].get("refused_images") or ())
        skipped = dict(runs[-1].get("skipped_codecs") or ())
        sentences += [f"refused by the last run: {name}: {why}" for name, why in refused.items()]
        sentences += [f"skipped by the last run: {name}: {why}" for name, why in skipped.items()]
    return sentences


def common_reason(summary: Summary, measure: Measure) -> str:
    """Return the most frequent reason why a metric has no value."""
    counts: Counter[str] = Counter()
    for point in summary.points:
        counts.update(dict(point.means[measure.column].reasons))
    reason = counts.most_common(1)[0][0] if counts else "not computed"
    return NOT_COMPUTED if reason.startswith("not computed") else reason


def _bullets(sentences: Sequence[str]) -> str:
    if not sentences:
        return "Nothing."
    shown = [f"- {markdown_text(sentence)}" for sentence in sentences[:LONGEST_LIST]]
    more = len(sentences) - len(shown)
    return "\n".join([*shown, *([f"- and {more} more"] if more else [])])


def _codecs(summary: Summary) -> Table:
    editions: dict[str, Edition] = {point.label: point.edition for point in summary.points}
    rows = tuple(
        (label, one.version, f"`{one.command}`", one.timed, ", ".join(one.caveats))
        for label, one in editions.items()
    )
    return Table(("codec", "version", "call", "what is timed", "caveat"), rows, 5)
